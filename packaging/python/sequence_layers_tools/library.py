"""Runs models with libsequence_layers, through its C ABI by ctypes.

  layer = Layer.open('model/')
  y, mask = layer.apply(x)              # a whole [batch, time, ...] sequence
  state = layer.new_state()             # a stream
  y, mask = state.step(x)               # its next block
  decoder = layer.new_decoder()         # tokens, each of which is the next input
  token, log_prob, mask = decoder.sample()

Constants, where a model reads some, go by name: a sequence is an array [batch, time, ...] or such a
pair of values and mask, what is no sequence an `Array`.

The library is the one that the environment variable SEQUENCE_LAYERS_LIBRARY names, or else the
installed one.
"""

import ctypes
import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

_MAX_RANK = 10
_MAX_CHANNEL_RANK = 8
_LAYER_WISE, _STEP_WISE = 0, 1
# In order of the values of sl_dtype. bfloat16 has no numpy type.
_DTYPES = ('float32', 'int32', 'bool', 'complex64', None, 'float16', 'int8')

_Status = ctypes.c_int32
_Handle = ctypes.c_void_p


class _Error(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('code', _Status),
        ('message', ctypes.c_char * 1016),
    ]


class _ChannelSpec(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('dtype', ctypes.c_int32),
        ('rank', ctypes.c_int32),
        ('reserved', ctypes.c_int32),
        ('dims', ctypes.c_int64 * _MAX_CHANNEL_RANK),
    ]


class _Sequence(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('dtype', ctypes.c_int32),
        ('rank', ctypes.c_int32),
        ('is_array', ctypes.c_int32),
        ('dims', ctypes.c_int64 * _MAX_RANK),
        ('strides', ctypes.c_int64 * _MAX_RANK),
        ('data', ctypes.c_void_p),
        ('mask', ctypes.c_void_p),
        ('mask_strides', ctypes.c_int64 * 2),
    ]


class _Constant(ctypes.Structure):
    _fields_ = [
        ('name', ctypes.c_char_p),
        ('value', _Sequence),
    ]


class _RunOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('reserved', ctypes.c_int32),
        ('constants', ctypes.c_void_p),
        ('num_constants', ctypes.c_int64),
        ('emits', ctypes.c_void_p),
        ('num_emits', ctypes.c_int64),
        ('state', ctypes.c_void_p),
    ]


class _LayerOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('num_threads', ctypes.c_int32),
        ('registry', ctypes.c_void_p),
        ('allocator', ctypes.c_void_p),
        ('parallel_for', ctypes.c_void_p),
        ('parallel_for_user_data', ctypes.c_void_p),
    ]


class _StateOptions(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('reserved', ctypes.c_int32),
        ('batch', ctypes.c_int64),
        ('max_steps', ctypes.c_int64),
        ('input', _ChannelSpec),
        ('constants', ctypes.c_void_p),
        ('num_constants', ctypes.c_int64),
        ('allocator', ctypes.c_void_p),
        ('max_length', ctypes.c_int64),
    ]


class _DecoderOptions(ctypes.Structure):
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
    ]


_P = ctypes.POINTER
_I64 = ctypes.c_int64
# Name: argument types before the sl_error.
_FUNCTIONS = {
    'sl_layer_open': (ctypes.c_char_p, _P(_LayerOptions), _P(_Handle)),
    'sl_layer_block_size': (_Handle, _P(_I64)),
    'sl_layer_output_ratio': (_Handle, _P(_I64), _P(_I64)),
    'sl_layer_input_latency': (_Handle, _P(_I64)),
    'sl_layer_output_latency': (_Handle, _P(_I64)),
    'sl_layer_supports_step': (_Handle, _P(ctypes.c_int32)),
    'sl_layer_input_spec': (_Handle, _P(_ChannelSpec)),
    'sl_layer_output_shape': (
        _Handle, ctypes.c_int32, _P(_Sequence), _P(_RunOptions), _P(_Sequence),
    ),
    'sl_layer_apply': (_Handle, _P(_Sequence), _P(_Sequence), _P(_RunOptions)),
    'sl_layer_step': (_Handle, _Handle, _P(_Sequence), _P(_Sequence), _P(_RunOptions)),
    'sl_state_alloc': (_Handle, _P(_StateOptions), _P(_Handle)),
    'sl_state_reset': (_Handle,),
    'sl_state_copy': (_Handle, _Handle),
    'sl_decoder_create': (_Handle, _P(_DecoderOptions), _P(_Handle)),
    'sl_decoder_log_prob': (_Handle, _P(_Sequence), _P(_Sequence), _P(_RunOptions)),
    'sl_decoder_prefill': (_Handle, _P(_Sequence), _P(_RunOptions)),
    'sl_decoder_sample': (
        _Handle, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, _P(_RunOptions),
    ),
    'sl_decoder_copy': (_Handle, _Handle),
    'sl_decoder_reset': (_Handle,),
}  # fmt: skip


class SequenceLayersError(Exception):
    """A failed call: `code` is its sl_status, the text says what was wrong."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


@functools.cache
def load() -> ctypes.CDLL:
    """The library, its functions declared."""
    library = ctypes.CDLL(os.environ.get('SEQUENCE_LAYERS_LIBRARY', 'libsequence_layers.so.1'))
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes = (*arguments, _P(_Error))
        function.restype = _Status
    for name in ('sl_layer_free', 'sl_state_free', 'sl_decoder_free'):
        getattr(library, name).argtypes = (_Handle,)
        getattr(library, name).restype = None
    return library


def _sized(cls):
    return cls(struct_size=ctypes.sizeof(cls))


def _call(name: str, *arguments) -> None:
    error = _sized(_Error)
    status = getattr(load(), name)(*arguments, ctypes.byref(error))
    if status:
        raise SequenceLayersError(status, error.message.decode('utf-8', 'replace'))


def _view(values: np.ndarray, mask: np.ndarray | None) -> _Sequence:
    """Borrows the arrays: the caller keeps them alive."""
    sequence = _sized(_Sequence)
    if values.dtype.name not in _DTYPES:
        raise TypeError(f'{values.dtype.name} is not a dtype of the library: {_DTYPES}')
    sequence.dtype = _DTYPES.index(values.dtype.name)
    sequence.rank = values.ndim
    sequence.dims[: values.ndim] = values.shape
    sequence.strides[: values.ndim] = values.strides
    sequence.data = values.ctypes.data
    if mask is not None:
        if mask.dtype.itemsize != 1 or mask.shape != values.shape[:2]:
            raise TypeError(
                f'a mask is a bool array {values.shape[:2]}, not {mask.dtype} {mask.shape}'
            )
        sequence.mask = mask.ctypes.data
        sequence.mask_strides[:] = mask.strides
    return sequence


@dataclasses.dataclass(frozen=True)
class Array:
    """A constant that is no sequence: [batch, ...]."""

    values: np.ndarray


Constants = Mapping[str, Any]


class _Options:
    """What calls take constants by: it keeps the arrays that it borrows."""

    def __init__(self, constants: Constants | None, state: ctypes.c_void_p | None = None):
        self.constants = constants or {}
        self.views = (_Constant * len(self.constants))()
        for view, (name, value) in zip(self.views, self.constants.items(), strict=True):
            view.name = name.encode()
            if isinstance(value, Array):
                view.value = _view(value.values, None)
                view.value.is_array = 1
            else:
                view.value = _view(*value) if isinstance(value, tuple) else _view(value, None)
        self.run = _sized(_RunOptions)
        self.put(self.run)
        self.run.state = state

    def put(self, options: _RunOptions | _StateOptions | _DecoderOptions) -> None:
        options.constants = ctypes.cast(self.views, ctypes.c_void_p)
        options.num_constants = len(self.views)


class Layer:
    """A model: immutable, shared by any number of states and threads."""

    def __init__(self, handle: ctypes.c_void_p):
        self._handle = handle

    @classmethod
    def open(cls, directory: str | pathlib.Path, *, threads: int = 1) -> 'Layer':
        """The model of a directory with config.json and model.safetensors.

        Whole sequences run on that many threads, steps on the caller's alone.
        """
        handle, options = _Handle(), _sized(_LayerOptions)
        options.num_threads = threads
        path = os.fsencode(directory)
        _call('sl_layer_open', path, ctypes.byref(options), ctypes.byref(handle))
        return cls(handle)

    def __del__(self):
        load().sl_layer_free(self._handle)

    def _integers(self, name: str, count: int = 1) -> list[int]:
        values = [_I64() for _ in range(count)]
        _call(name, self._handle, *map(ctypes.byref, values))
        return [v.value for v in values]

    @property
    def block_size(self) -> int:
        return self._integers('sl_layer_block_size')[0]

    @property
    def output_ratio(self) -> Fraction:
        return Fraction(*self._integers('sl_layer_output_ratio', 2))

    @property
    def input_latency(self) -> int:
        return self._integers('sl_layer_input_latency')[0]

    @property
    def output_latency(self) -> int:
        return self._integers('sl_layer_output_latency')[0]

    @property
    def supports_step(self) -> bool:
        value = ctypes.c_int32()
        _call('sl_layer_supports_step', self._handle, ctypes.byref(value))
        return value.value != 0

    @property
    def input_spec(self) -> tuple[tuple[int, ...], str]:
        """Channel shape and dtype that the model says it takes."""
        spec = _sized(_ChannelSpec)
        _call('sl_layer_input_spec', self._handle, ctypes.byref(spec))
        return tuple(spec.dims[: spec.rank]), _DTYPES[spec.dtype]

    def _output_like(
        self, mode: int, x: _Sequence, options: _Options
    ) -> tuple[np.ndarray, np.ndarray, _Sequence]:
        shape = _sized(_Sequence)
        _call(
            'sl_layer_output_shape',
            self._handle,
            mode,
            ctypes.byref(x),
            ctypes.byref(options.run),
            ctypes.byref(shape),
        )
        if _DTYPES[shape.dtype] is None:
            raise TypeError('the output is bfloat16, which numpy lacks')
        values = np.empty(shape.dims[: shape.rank], _DTYPES[shape.dtype])
        mask = np.empty(values.shape[:2], np.bool_)
        return values, mask, _view(values, mask)

    def apply(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
        state: 'State | None' = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs a whole sequence [batch, time, ...]; no mask means that every step is valid.

        With a state the sequence, of a multiple of the block size, goes on in that stream: it gives
        what steps would, and leaves the state where they would.
        """
        x = _view(values, mask)
        if state is not None and constants is None:
            constants = state.constants
        options = _Options(constants, state._handle if state is not None else None)
        mode = _LAYER_WISE if state is None else _STEP_WISE
        y_values, y_mask, y = self._output_like(mode, x, options)
        run = ctypes.byref(options.run)
        _call('sl_layer_apply', self._handle, ctypes.byref(x), ctypes.byref(y), run)
        return y_values, y_mask

    def applier(self, values: np.ndarray, mask: np.ndarray | None = None) -> 'Applier':
        """A way to run those same arrays again and again without making anything."""
        return Applier(self, values, mask)

    def new_state(
        self,
        batch: int = 1,
        *,
        max_steps: int = 0,
        max_length: int = 0,
        channel_shape: tuple[int, ...] | None = None,
        dtype: str = 'float32',
        constants: Constants | None = None,
    ) -> 'State':
        """A stream at its start; without a `channel_shape` it takes the model's own input spec."""
        if channel_shape is None:
            channel_shape, dtype = self.input_spec
        return State(self, batch, max_steps, max_length, channel_shape, dtype, constants)

    def new_decoder(self, batch: int = 1, **options: Any) -> 'Decoder':
        """Streams of tokens at their start; `options` as of `Decoder`."""
        return Decoder(self, batch, **options)

    def stream(self, samples: np.ndarray) -> np.ndarray:
        """What steps of one block make of float32 numbers [time], whole blocks, latency included."""
        stepper = self.new_state(channel_shape=()).stepper(self.block_size)
        out = []
        for block in np.ascontiguousarray(samples, np.float32).reshape(-1, self.block_size):
            stepper.step(block.ctypes.data)
            out.append(stepper.output[0].copy())
        return np.concatenate(out)


class Applier:
    """Runs a layer on an array that stays where it is: `output` holds the last run's result."""

    def __init__(self, layer: Layer, values: np.ndarray, mask: np.ndarray | None = None):
        self._layer, self._values, self._valid = layer, values, mask
        self._x = _view(values, mask)
        self.output, self._mask, self._y = layer._output_like(_LAYER_WISE, self._x, _Options(None))

    def run(self) -> None:
        x, y = ctypes.byref(self._x), ctypes.byref(self._y)
        _call('sl_layer_apply', self._layer._handle, x, y, None)


class State:
    """One stream (of a fixed batch) through a layer: used by one thread at a time.

    Steps read the constants that it was made with, unless they are given others of these shapes. Of
    a constant that is streamed they must be given the share of each block.
    """

    def __init__(
        self,
        layer: Layer,
        batch: int,
        max_steps: int,
        max_length: int,
        channel_shape: tuple[int, ...],
        dtype: str,
        constants: Constants | None = None,
    ):
        self._layer = layer  # the layer must outlive its states
        self._handle = _Handle()
        self._batch, self._channel_shape, self._dtype = batch, tuple(channel_shape), dtype
        self._options = _Options(constants)
        options = _sized(_StateOptions)
        options.batch = batch
        options.max_steps = max_steps
        options.max_length = max_length
        options.input = _sized(_ChannelSpec)
        options.input.dtype = _DTYPES.index(dtype)
        options.input.rank = len(channel_shape)
        options.input.dims[: len(channel_shape)] = channel_shape
        self._options.put(options)
        _call('sl_state_alloc', layer._handle, ctypes.byref(options), ctypes.byref(self._handle))

    def __del__(self):
        load().sl_state_free(self._handle)

    @property
    def constants(self) -> Constants:
        return self._options.constants

    def reset(self) -> None:
        """Back to the start of the stream."""
        _call('sl_state_reset', self._handle)

    def copy_from(self, source: 'State') -> None:
        """Goes on where `source`, of the same layer and options but max_steps, stands."""
        _call('sl_state_copy', self._handle, source._handle)

    def step(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs the next block of the stream."""
        x = _view(values, mask)
        options = self._options if constants is None else _Options(constants)
        y_values, y_mask, y = self._layer._output_like(_STEP_WISE, x, options)
        _call(
            'sl_layer_step',
            self._layer._handle,
            self._handle,
            ctypes.byref(x),
            ctypes.byref(y),
            ctypes.byref(options.run),
        )
        return y_values, y_mask

    def stepper(self, steps: int) -> 'Stepper':
        """A way to run many blocks of `steps` steps, all valid, without making anything in each."""
        return Stepper(self, steps)


class Stepper:
    """Steps a state in place, block after block of one size: `output` holds the last one's result.

    The input is given by the address of a contiguous block, of which nothing is checked.
    """

    def __init__(self, state: State, steps: int):
        self._state = state
        self._input = np.zeros((state._batch, steps, *state._channel_shape), state._dtype)
        self._x = _view(self._input, None)
        self.output, self._mask, self._y = state._layer._output_like(
            _STEP_WISE, self._x, state._options
        )
        self._error = _sized(_Error)
        self._step = load().sl_layer_step
        self._arguments = (
            state._layer._handle,
            state._handle,
            ctypes.byref(self._x),
            ctypes.byref(self._y),
            ctypes.byref(state._options.run),
            ctypes.byref(self._error),
        )

    def step(self, address: int) -> None:
        self._x.data = address
        if status := self._step(*self._arguments):
            raise SequenceLayersError(status, self._error.message.decode('utf-8', 'replace'))


class Decoder:
    """Streams of tokens in which a model's choices are its next inputs (docs/decoding.md).

    Its calls read the constants that it was made with, unless they are given others. `log_prob` and
    `prefill` want those that run along with the tokens in the length that goes with theirs.
    """

    def __init__(
        self,
        layer: Layer,
        batch: int = 1,
        *,
        start_token: int = 0,
        stop_token: int = -1,
        pad_token: int = 0,
        seed: int = 0,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_length: int = 0,
        constants: Constants | None = None,
    ):
        self._layer = layer  # the layer must outlive its decoders
        self._handle = _Handle()
        self._options = _Options(constants)
        options = _sized(_DecoderOptions)
        options.batch = batch
        options.start_token, options.stop_token = start_token, stop_token
        options.pad_token, options.seed = pad_token, seed
        options.temperature, options.top_p, options.top_k = temperature, top_p, top_k
        options.max_length = max_length
        self._options.put(options)
        _call('sl_decoder_create', layer._handle, ctypes.byref(options), ctypes.byref(self._handle))
        self._batch = batch

    def __del__(self):
        load().sl_decoder_free(self._handle)

    def _options_of(self, constants: Constants | None) -> _Options:
        return self._options if constants is None else _Options(constants)

    def reset(self) -> None:
        """Back to the start of all streams."""
        _call('sl_decoder_reset', self._handle)

    def copy_from(self, source: 'Decoder') -> None:
        """Goes on where `source`, of the same layer, batch and constants, stands."""
        _call('sl_decoder_copy', self._handle, source._handle)

    def prefill(
        self,
        tokens: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> None:
        """Goes on as if int32 tokens [batch, time] had been sampled."""
        x = _view(tokens, mask)
        options = self._options_of(constants)
        _call('sl_decoder_prefill', self._handle, ctypes.byref(x), ctypes.byref(options.run))

    def sample(
        self, *, constants: Constants | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next token of each stream, its log probability and its mask: [batch] each."""
        tokens = np.empty(self._batch, np.int32)
        log_probs = np.empty(self._batch, np.float32)
        mask = np.empty(self._batch, np.bool_)
        out = (array.ctypes.data for array in (tokens, log_probs, mask))
        options = self._options_of(constants)
        _call('sl_decoder_sample', self._handle, *out, ctypes.byref(options.run))
        return tokens, log_probs, mask

    def log_prob(
        self,
        tokens: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log probabilities of int32 tokens [batch, time] from the start on, and their mask."""
        x = _view(tokens, mask)
        log_probs = np.empty(tokens.shape, np.float32)
        out_mask = np.empty(tokens.shape, np.bool_)
        y = _view(log_probs, out_mask)
        options = self._options_of(constants)
        _call(
            'sl_decoder_log_prob',
            self._handle,
            ctypes.byref(x),
            ctypes.byref(y),
            ctypes.byref(options.run),
        )
        return log_probs, out_mask
