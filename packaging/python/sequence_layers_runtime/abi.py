"""The C ABI by ctypes: its structs, its functions, and the calls that raise an error.

The library is the one that the environment variable SEQUENCE_LAYERS_LIBRARY names. Without it, the
installed one is loaded.
"""

import ctypes
import functools
import os
from typing import TypeVar

from sequence_layers_runtime.arrays import MAX_RANK

MAX_CHANNEL_RANK = 8
MODE_LAYER, MODE_STEP = 0, 1
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
    ]


_P = ctypes.POINTER
_I64 = ctypes.c_int64
_Handle = ctypes.c_void_p
# Functions that return a status: the types of their arguments before the sl_error.
_FUNCTIONS = {
    'sl_layer_open': (ctypes.c_char_p, _P(LayerOptions), _P(_Handle)),
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
    'sl_state_alloc': (_Handle, _P(StateOptions), _P(_Handle)),
    'sl_state_reset': (_Handle,),
    'sl_state_copy': (_Handle, _Handle),
    'sl_state_save': (_Handle, ctypes.c_void_p, ctypes.c_size_t),
    'sl_state_load': (_Handle, ctypes.c_void_p, ctypes.c_size_t),
    'sl_state_tensor': (_Handle, _I64, _P(ctypes.c_char_p), _P(Sequence)),
    'sl_decoder_create': (_Handle, _P(DecoderOptions), _P(_Handle)),
    'sl_decoder_log_prob': (_Handle, _P(Sequence), _P(Sequence), _P(RunOptions)),
    'sl_decoder_prefill': (_Handle, _P(Sequence), _P(RunOptions)),
    'sl_decoder_sample': (
        _Handle, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, _P(RunOptions),
    ),
    'sl_decoder_copy': (_Handle, _Handle),
    'sl_decoder_reset': (_Handle,),
}  # fmt: skip
# Functions that return a count, or -1 after an error: the types of their arguments before the sl_error.
_COUNTS = {
    'sl_layer_emit_count': (_Handle, _P(ChannelSpec), ctypes.c_void_p, _I64),
}
# Functions that cannot fail: the types of their arguments and of their result.
_INFALLIBLE = {
    'sl_layer_metadata': ((_Handle, ctypes.c_char_p), ctypes.c_char_p),
    'sl_layer_constant_count': ((_Handle,), _I64),
    'sl_layer_step_difference_count': ((_Handle,), _I64),
    'sl_state_tensor_count': ((_Handle,), _I64),
    'sl_state_save_size': ((_Handle,), ctypes.c_size_t),
    'sl_layer_free': ((_Handle,), None),
    'sl_state_free': ((_Handle,), None),
    'sl_decoder_free': ((_Handle,), None),
}


class SequenceLayersError(Exception):
    """A failed call: `code` is its sl_status, the text says what was wrong."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


@functools.cache
def load() -> ctypes.CDLL:
    """The library, with the types of its functions declared."""
    library = ctypes.CDLL(os.environ.get('SEQUENCE_LAYERS_LIBRARY', 'libsequence_layers.so.1'))
    declarations = dict(_INFALLIBLE)
    for functions, result in (_FUNCTIONS, Status), (_COUNTS, _I64):
        for name, arguments in functions.items():
            declarations[name] = (*arguments, _P(Error)), result
    for name, (arguments, result) in declarations.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


_Struct = TypeVar('_Struct', bound=ctypes.Structure)


def sized(struct: type[_Struct]) -> _Struct:
    """A struct of zeros but for its first field, its size."""
    return struct(ctypes.sizeof(struct))


def failure(code: int, error: Error) -> SequenceLayersError:
    """The exception of a call that filled in `error`."""
    return SequenceLayersError(code, error.message.decode('utf-8', 'replace'))


def call(name: str, *arguments) -> None:
    """Calls a function that returns a status.

    Raises:
      SequenceLayersError: The call failed.
    """
    error = sized(Error)
    if status := getattr(load(), name)(*arguments, ctypes.byref(error)):
        raise failure(status, error)


def count(name: str, *arguments) -> int:
    """Calls a function that returns a count.

    Raises:
      SequenceLayersError: The call failed.
    """
    error = sized(Error)
    result = getattr(load(), name)(*arguments, ctypes.byref(error))
    if result < 0:
        raise failure(error.code, error)
    return result
