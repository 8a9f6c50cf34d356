"""The C ABI by ctypes: its structs, its functions, and the calls that raise an error.

The library is the one that the environment variable SEQUENCE_LAYERS_LIBRARY names. Without it, the
one in this package, as in a wheel, or else the installed one is loaded.
"""

import ctypes
import functools
import os
import pathlib
import sysconfig
import threading
from typing import Any, TypeVar

from sequence_layers_runtime.arrays import MAX_RANK, AnyArray

MAX_CHANNEL_RANK = 8
MODE_LAYER, MODE_STEP = 0, 1
OUT_OF_MEMORY, CALLBACK = 7, 9
Status = ctypes.c_int32


class Error(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('code', Status),
        ('message', ctypes.c_char * 1016),
    ]


class ChannelSpec(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('dtype', ctypes.c_int32),
        ('rank', ctypes.c_int32),
        ('reserved', ctypes.c_int32),
        ('dims', ctypes.c_int64 * MAX_CHANNEL_RANK),
    ]


class Sequence(ctypes.Structure):
    # What the struct borrows: values and mask, kept alive as long as it.
    arrays: tuple[AnyArray, AnyArray | None]
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('dtype', ctypes.c_int32),
        ('rank', ctypes.c_int32),
        ('is_array', ctypes.c_int32),
        ('dims', ctypes.c_int64 * MAX_RANK),
        ('strides', ctypes.c_int64 * MAX_RANK),
        ('data', ctypes.c_void_p),
        ('mask', ctypes.c_void_p),
        ('mask_strides', ctypes.c_int64 * 2),
    ]

    @property
    def output(self) -> tuple[AnyArray, AnyArray]:
        """Values and mask of an output, which has both."""
        values, mask = self.arrays
        assert mask is not None
        return values, mask


class Constant(ctypes.Structure):
    _fields_ = [
        ('name', ctypes.c_char_p),
        ('value', Sequence),
    ]


class ConstantInfo(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('kind', ctypes.c_int32),
        ('name', ctypes.c_char_p),
        ('layer', ctypes.c_char_p),
        ('required', ctypes.c_int32),
        ('streamed', ctypes.c_int32),
        ('dtype', ctypes.c_int32),
        ('rank', ctypes.c_int32),
        ('dims', ctypes.c_int64 * MAX_CHANNEL_RANK),
    ]


class StepDifference(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('condition', ctypes.c_int32),
        ('layer', ctypes.c_char_p),
        ('type', ctypes.c_char_p),
        ('reason', ctypes.c_char_p),
        ('cure', ctypes.c_char_p),
    ]


class RunOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('reserved', ctypes.c_int32),
        ('constants', ctypes.c_void_p),
        ('num_constants', ctypes.c_int64),
        ('emits', ctypes.c_void_p),
        ('num_emits', ctypes.c_int64),
        ('state', ctypes.c_void_p),
        ('profile', ctypes.c_void_p),
    ]


class LayerOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('num_threads', ctypes.c_int32),
        ('registry', ctypes.c_void_p),
        ('allocator', ctypes.c_void_p),
        ('parallel_for', ctypes.c_void_p),
        ('parallel_for_user_data', ctypes.c_void_p),
        ('max_bytes', ctypes.c_int64),
        ('weight_format', ctypes.c_char_p),
        ('num_step_threads', ctypes.c_int32),
        ('matmul_backend', ctypes.c_int32),
        ('kv_format', ctypes.c_char_p),
        ('max_lent_threads', ctypes.c_int32),
        ('reserved', ctypes.c_int32),
    ]


class StateOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('reserved', ctypes.c_int32),
        ('batch', ctypes.c_int64),
        ('max_steps', ctypes.c_int64),
        ('input', ChannelSpec),
        ('constants', ctypes.c_void_p),
        ('num_constants', ctypes.c_int64),
        ('allocator', ctypes.c_void_p),
        ('max_length', ctypes.c_int64),
    ]


# Chooses a logit: user data, slot, part of the step, logits, their number.
CHOOSE = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.POINTER(ctypes.c_float),
    ctypes.c_int64,
)


class DecoderOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('start_token', ctypes.c_int32),
        ('stop_token', ctypes.c_int32),
        ('pad_token', ctypes.c_int32),
        ('batch', ctypes.c_int64),
        ('seed', ctypes.c_uint64),
        ('temperature', ctypes.c_float),
        ('top_p', ctypes.c_float),
        ('top_k', ctypes.c_int64),
        ('constants', ctypes.c_void_p),
        ('num_constants', ctypes.c_int64),
        ('allocator', ctypes.c_void_p),
        ('max_length', ctypes.c_int64),
        ('stop_at_zero', ctypes.c_int32),
        ('reserved', ctypes.c_int32),
        ('num_negatives', ctypes.c_int64),
        ('guidance', ctypes.POINTER(ctypes.c_float)),
        ('choose', CHOOSE),
        ('choose_data', ctypes.c_void_p),
    ]


class PipeOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('channels', ctypes.c_int32),
        ('host_rate', ctypes.c_double),
        ('model_rate', ctypes.c_double),
        ('host_channels', ctypes.c_int64),
        ('max_frames', ctypes.c_int64),
        ('min_latency', ctypes.c_int64),
        ('fade_frames', ctypes.c_int64),
        ('dry', ctypes.c_float),
        ('quality', ctypes.c_int32),
        ('allocator', ctypes.c_void_p),
    ]


class LayerProperties(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('layer_wise_only', ctypes.c_int32),
        ('block_size', ctypes.c_int64),
        ('output_ratio_numerator', ctypes.c_int64),
        ('output_ratio_denominator', ctypes.c_int64),
        ('input_latency', ctypes.c_int64),
        ('output_latency', ctypes.c_int64),
        ('receptive_field_start', ctypes.c_int64),
        ('receptive_field_end', ctypes.c_int64),
        ('reads_invalid_steps', ctypes.c_int32),
        ('counts_invalid_steps', ctypes.c_int32),
    ]


_P = ctypes.POINTER
_I64 = ctypes.c_int64
_Handle = ctypes.c_void_p


def _callback(*arguments: Any) -> Any:
    """The type of a callback that returns a status and takes these and an error."""
    return ctypes.CFUNCTYPE(Status, *arguments, _P(Error))


class LayerCallbacks(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('user_data', ctypes.c_void_p),
        ('create', _callback(_Handle, ctypes.c_char_p, _Handle, _P(_Handle))),
        ('destroy', ctypes.CFUNCTYPE(None, _Handle)),
        ('properties', _callback(_Handle, _P(LayerProperties))),
        ('output_spec', _callback(_Handle, _P(ChannelSpec), _P(ChannelSpec))),
        ('state_size', _callback(_Handle, _P(ChannelSpec), _P(ctypes.c_size_t))),
        ('state_init', _callback(_Handle, _P(ChannelSpec), ctypes.c_void_p)),
        ('layer', _callback(_Handle, _P(Sequence), _P(Sequence))),
        ('step', _callback(_Handle, ctypes.c_void_p, _P(Sequence), _P(Sequence))),
        ('step_slots', ctypes.c_void_p),
    ]


# The callback of sl_log_set: user data, level, message.
LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p)

# Functions that return a status: the types of their arguments before the sl_error.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    'sl_layer_open': (ctypes.c_char_p, _P(LayerOptions), _P(_Handle)),
    'sl_layer_create': (
        ctypes.c_char_p, ctypes.c_size_t, _Handle, _P(LayerOptions), _P(_Handle),
    ),
    'sl_layer_save_weights': (_Handle, ctypes.c_char_p),
    'sl_layer_block_size': (_Handle, _P(_I64)),
    'sl_layer_output_ratio': (_Handle, _P(_I64), _P(_I64)),
    'sl_layer_input_latency': (_Handle, _P(_I64)),
    'sl_layer_output_latency': (_Handle, _P(_I64)),
    'sl_layer_supports_step': (_Handle, _P(ctypes.c_int32)),
    'sl_layer_input_spec': (_Handle, _P(ChannelSpec)),
    'sl_layer_output_shape': (
        _Handle, ctypes.c_int32, _P(Sequence), _P(RunOptions), _P(Sequence),
    ),
    'sl_layer_constant': (_Handle, _I64, _P(ConstantInfo)),
    'sl_layer_step_difference': (_Handle, _I64, _P(StepDifference)),
    'sl_layer_emit_shape': (
        _Handle, ctypes.c_int32, _P(Sequence), _P(RunOptions), _I64, ctypes.c_char_p,
        ctypes.c_size_t, _P(Sequence),
    ),
    'sl_layer_describe': (
        _Handle, _P(ChannelSpec), ctypes.c_void_p, _I64, ctypes.c_char_p, ctypes.c_size_t,
        _P(ctypes.c_size_t),
    ),
    'sl_layer_apply': (_Handle, _P(Sequence), _P(Sequence), _P(RunOptions)),
    'sl_layer_step': (_Handle, _Handle, _P(Sequence), _P(Sequence), _P(RunOptions)),
    'sl_layer_step_slots': (
        _Handle, _Handle, ctypes.c_void_p, _I64, _P(Sequence), _P(Sequence), _P(RunOptions),
    ),
    'sl_layer_receptive_field': (_Handle, _P(ctypes.c_int32), _P(_I64), _P(_I64)),
    'sl_state_alloc': (_Handle, _P(StateOptions), _P(_Handle)),
    'sl_state_prepare': (_Handle, ctypes.c_void_p, _I64),
    'sl_state_reset': (_Handle,),
    'sl_state_reset_item': (_Handle, _I64),
    'sl_state_copy': (_Handle, _Handle),
    'sl_state_copy_item': (_Handle, _I64, _Handle, _I64),
    'sl_state_save': (_Handle, ctypes.c_void_p, ctypes.c_size_t),
    'sl_state_load': (_Handle, ctypes.c_void_p, ctypes.c_size_t),
    'sl_state_save_item': (_Handle, _I64, ctypes.c_void_p, ctypes.c_size_t),
    'sl_state_load_item': (_Handle, _I64, ctypes.c_void_p, ctypes.c_size_t),
    'sl_state_tensor': (_Handle, _I64, _P(ctypes.c_char_p), _P(Sequence)),
    'sl_decoder_create': (_Handle, _P(DecoderOptions), _P(_Handle)),
    'sl_decoder_log_prob': (_Handle, _P(Sequence), _P(Sequence), _P(RunOptions)),
    'sl_decoder_prefill': (_Handle, _P(Sequence), _P(RunOptions)),
    'sl_decoder_sample': (
        _Handle, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, _P(RunOptions),
    ),
    'sl_decoder_start_slot': (_Handle, _I64, _P(DecoderOptions)),
    'sl_decoder_prefill_slot': (_Handle, _I64, _P(Sequence), _P(RunOptions)),
    'sl_decoder_sample_slots': (
        _Handle, ctypes.c_void_p, _I64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
        _P(RunOptions),
    ),
    'sl_decoder_copy_slot': (_Handle, _I64, _Handle, _I64),
    'sl_decoder_save_slot': (_Handle, _I64, ctypes.c_void_p, ctypes.c_size_t),
    'sl_decoder_load_slot': (_Handle, _I64, ctypes.c_void_p, ctypes.c_size_t),
    'sl_decoder_copy': (_Handle, _Handle),
    'sl_decoder_reset': (_Handle,),
    'sl_weights_create': (_P(_Handle),),
    'sl_weights_open': (ctypes.c_char_p, _P(_Handle)),
    'sl_weights_read': (ctypes.c_char_p, ctypes.c_size_t, _P(_Handle)),
    'sl_weights_add': (_Handle, ctypes.c_char_p, _P(Sequence)),
    'sl_weight_source_find': (_Handle, ctypes.c_char_p, ctypes.c_char_p, _P(Sequence)),
    'sl_pipe_create': (_Handle, _P(PipeOptions), _P(_Handle)),
    'sl_pipe_process': (_Handle, ctypes.c_void_p, ctypes.c_void_p, _I64),
    'sl_pipe_reset': (_Handle,),
    'sl_pipe_set_dry': (_Handle, ctypes.c_float),
    'sl_pipe_swap': (_Handle, _Handle),
    'sl_profile_create': (_P(_Handle),),
    'sl_profile_reset': (_Handle,),
    'sl_profile_describe': (_Handle, ctypes.c_char_p, ctypes.c_size_t, _P(ctypes.c_size_t)),
    'sl_registry_create': (_P(_Handle),),
    'sl_registry_add': (_Handle, ctypes.c_char_p, _P(LayerCallbacks)),
}  # fmt: skip
# Functions that return a count, or -1 after an error: the types of their arguments before the sl_error.
_COUNTS: dict[str, tuple[Any, ...]] = {
    'sl_layer_emit_count': (_Handle, _P(ChannelSpec), ctypes.c_void_p, _I64),
    'sl_pipe_flush': (_Handle, ctypes.c_void_p, _I64),
}
# Functions that cannot fail: the types of their arguments and of their result.
_INFALLIBLE: dict[str, tuple[tuple[Any, ...], Any]] = {
    'sl_layer_metadata': ((_Handle, ctypes.c_char_p), ctypes.c_char_p),
    'sl_layer_constant_count': ((_Handle,), _I64),
    'sl_layer_step_difference_count': ((_Handle,), _I64),
    'sl_state_tensor_count': ((_Handle,), _I64),
    'sl_state_save_size': ((_Handle,), ctypes.c_size_t),
    'sl_state_save_item_size': ((_Handle,), ctypes.c_size_t),
    'sl_decoder_save_slot_size': ((_Handle,), ctypes.c_size_t),
    'sl_decoder_step_tokens': ((_Handle,), ctypes.c_int64),
    'sl_profile_free': ((_Handle,), None),
    'sl_log_set': ((LogCallback, ctypes.c_void_p, ctypes.c_int32), None),
    'sl_layer_free': ((_Handle,), None),
    'sl_state_free': ((_Handle,), None),
    'sl_decoder_free': ((_Handle,), None),
    'sl_pipe_latency': ((_Handle,), _I64),
    'sl_pipe_host_channels': ((_Handle,), _I64),
    'sl_pipe_is_fading': ((_Handle,), ctypes.c_int32),
    'sl_pipe_free': ((_Handle,), None),
    'sl_weights_free': ((_Handle,), None),
    'sl_registry_free': ((_Handle,), None),
    'sl_registry_type_count': ((_Handle,), _I64),
    'sl_registry_type': ((_Handle, _I64), ctypes.c_char_p),
    'sl_version': ((), ctypes.c_uint32),
}


class SequenceLayersError(Exception):
    """A failed call: `code` is its sl_status, the text says what was wrong."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


_FILE = 'libsequence_layers.so.1'


def _path() -> str:
    if named := os.environ.get('SEQUENCE_LAYERS_LIBRARY'):
        return named
    packaged = pathlib.Path(__file__).parent / _FILE
    if not packaged.exists():
        return _FILE
    # Where the package of the extra `onednn` is installed, which the library would not find by itself.
    onednn = pathlib.Path(sysconfig.get_path('data'), 'lib', 'libdnnl.so.3')
    if onednn.exists():
        os.environ.setdefault('SEQUENCE_LAYERS_ONEDNN', str(onednn))
    return str(packaged)


@functools.cache
def load() -> ctypes.CDLL:
    """The library, with the types of its functions declared."""
    library = ctypes.CDLL(_path())
    declarations = dict(_INFALLIBLE)
    for functions, result in (_FUNCTIONS, Status), (_COUNTS, _I64):
        for name, arguments in functions.items():
            declarations[name] = (*arguments, _P(Error)), result
    for name, (arguments, result) in declarations.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def version() -> tuple[int, int, int]:
    """The library's version: major, minor, patch."""
    number: int = load().sl_version()
    return number >> 16, number >> 8 & 0xFF, number & 0xFF


def enum_index(names: tuple[str, ...], name: str, what: str) -> int:
    """The number of an enum of C, whose names are in order.

    Raises:
      ValueError: It has no such name.
    """
    if name not in names:
        raise ValueError(f'{what} {name!r} is none of {", ".join(names)}')
    return names.index(name)


_Struct = TypeVar('_Struct', bound=ctypes.Structure)


def sized(struct: type[_Struct]) -> _Struct:
    """A struct of zeros but for its first field, its size."""
    return struct(ctypes.sizeof(struct))


class _Raised(threading.local):
    """What a custom layer raised in a callback of the library, until the call that ran it fails."""

    exception: BaseException | None = None


raised = _Raised()


def failure(code: int, error: Error) -> SequenceLayersError:
    """The exception of a call that filled in `error`."""
    found = SequenceLayersError(code, error.message.decode('utf-8', 'replace'))
    cause, raised.exception = raised.exception, None
    if code in (OUT_OF_MEMORY, CALLBACK):
        found.__cause__ = cause
    return found


def call(name: str, *arguments: Any) -> None:
    """Calls a function that returns a status.

    Raises:
      SequenceLayersError: The call failed.
    """
    error = sized(Error)
    if status := getattr(load(), name)(*arguments, ctypes.byref(error)):
        raise failure(status, error)


def count(name: str, *arguments: Any) -> int:
    """Calls a function that returns a count.

    Raises:
      SequenceLayersError: The call failed.
    """
    error = sized(Error)
    result: int = getattr(load(), name)(*arguments, ctypes.byref(error))
    if result < 0:
        raise failure(error.code, error)
    return result


def text(name: str, *arguments: Any) -> bytes:
    """The text of a function that takes a buffer, its capacity, and where to put the size needed."""
    needed = ctypes.c_size_t()
    call(name, *arguments, None, 0, ctypes.byref(needed))
    buffer = ctypes.create_string_buffer(needed.value)
    call(name, *arguments, buffer, needed, ctypes.byref(needed))
    return buffer.value


def save(name: str, handle: Any, *item: int) -> bytes:
    """The bytes that a function saves of a handle, or of an item of it."""
    size = getattr(load(), f'{name}_size')(handle)
    buffer = ctypes.create_string_buffer(size)
    call(name, handle, *item, buffer, size)
    return buffer.raw


def restore(name: str, handle: Any, *item: int, data: bytes) -> None:
    """Gives a function what was saved, for a handle or an item of it."""
    data = bytes(memoryview(data))
    call(name, handle, *item, data, len(data))
