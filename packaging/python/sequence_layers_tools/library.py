"""Runs models with libsequence_layers, through its C ABI by ctypes.

  layer = Layer.open('model/')
  y, mask = layer.apply(x)              # a whole [batch, time, ...] sequence
  state = layer.new_state()             # a stream
  y, mask = state.step(x)               # its next block
  decoder = layer.new_decoder()         # tokens, each of which is the next input
  token, log_prob, mask = decoder.sample()

Constants, where a model reads some, go by name: a sequence is an array [batch, time, ...] or such a
pair of values and mask, what is no sequence an `Array`.

Arrays are of the library's dtypes: others, such as float64, are a TypeError. Arrays of the other byte
order, unaligned ones, and views with negative or zero strides are copied.

The library is the one that the environment variable SEQUENCE_LAYERS_LIBRARY names, or else the
installed one.
"""

import ctypes
import dataclasses
import functools
import os
import pathlib
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from sequence_layers_tools import arrays, streaming

_MAX_RANK = arrays.MAX_RANK
_MAX_CHANNEL_RANK = 8
_MAX_PATH = 4096
_LAYER_WISE, _STEP_WISE = 0, 1

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


class _ConstantInfo(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('kind', ctypes.c_int32),
        ('name', ctypes.c_char_p),
        ('layer', ctypes.c_char_p),
        ('required', ctypes.c_int32),
        ('streamed', ctypes.c_int32),
        ('dtype', ctypes.c_int32),
        ('rank', ctypes.c_int32),
        ('dims', ctypes.c_int64 * _MAX_CHANNEL_RANK),
    ]


class _StepDifference(ctypes.Structure):
    _fields_ = [
        ('struct_size', ctypes.c_uint32),
        ('condition', ctypes.c_int32),
        ('layer', ctypes.c_char_p),
        ('type', ctypes.c_char_p),
        ('reason', ctypes.c_char_p),
        ('cure', ctypes.c_char_p),
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
        ('max_bytes', ctypes.c_int64),
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
        ('stop_at_zero', ctypes.c_int32),
        ('reserved', ctypes.c_int32),
    ]


_P = ctypes.POINTER
_I64 = ctypes.c_int64
# Functions by name, with the types of their arguments before the sl_error.
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
    'sl_layer_constant': (_Handle, _I64, _P(_ConstantInfo)),
    'sl_layer_step_difference': (_Handle, _I64, _P(_StepDifference)),
    'sl_layer_emit_shape': (
        _Handle, ctypes.c_int32, _P(_Sequence), _P(_RunOptions), _I64, ctypes.c_char_p,
        ctypes.c_size_t, _P(_Sequence),
    ),
    'sl_layer_apply': (_Handle, _P(_Sequence), _P(_Sequence), _P(_RunOptions)),
    'sl_layer_step': (_Handle, _Handle, _P(_Sequence), _P(_Sequence), _P(_RunOptions)),
    'sl_state_alloc': (_Handle, _P(_StateOptions), _P(_Handle)),
    'sl_state_reset': (_Handle,),
    'sl_state_copy': (_Handle, _Handle),
    'sl_state_tensor': (_Handle, _I64, _P(ctypes.c_char_p), _P(_Sequence)),
    'sl_decoder_create': (_Handle, _P(_DecoderOptions), _P(_Handle)),
    'sl_decoder_log_prob': (_Handle, _P(_Sequence), _P(_Sequence), _P(_RunOptions)),
    'sl_decoder_prefill': (_Handle, _P(_Sequence), _P(_RunOptions)),
    'sl_decoder_sample': (
        _Handle, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, _P(_RunOptions),
    ),
    'sl_decoder_copy': (_Handle, _Handle),
    'sl_decoder_reset': (_Handle,),
}  # fmt: skip


# Functions that return a count, or -1 after an error, with the types of their arguments.
_COUNTS = {
    'sl_layer_emit_count': (_Handle, _P(_ChannelSpec), ctypes.c_void_p, _I64),
}


class SequenceLayersError(Exception):
    """A failed call: `code` is its sl_status, the text says what was wrong."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


@functools.cache
def load() -> ctypes.CDLL:
    """The library with its functions declared."""
    library = ctypes.CDLL(os.environ.get('SEQUENCE_LAYERS_LIBRARY', 'libsequence_layers.so.1'))
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes = (*arguments, _P(_Error))
        function.restype = _Status
    for name, arguments in _COUNTS.items():
        function = getattr(library, name)
        function.argtypes = (*arguments, _P(_Error))
        function.restype = _I64
    library.sl_layer_metadata.argtypes = (_Handle, ctypes.c_char_p)
    library.sl_layer_metadata.restype = ctypes.c_char_p
    for name in ('sl_layer_free', 'sl_state_free', 'sl_decoder_free'):
        getattr(library, name).argtypes = (_Handle,)
        getattr(library, name).restype = None
    for name in (
        'sl_layer_constant_count',
        'sl_layer_step_difference_count',
        'sl_state_tensor_count',
    ):
        getattr(library, name).argtypes = (_Handle,)
        getattr(library, name).restype = _I64
    return library


def _sized(cls):
    return cls(struct_size=ctypes.sizeof(cls))


def _call(name: str, *arguments) -> None:
    error = _sized(_Error)
    status = getattr(load(), name)(*arguments, ctypes.byref(error))
    if status:
        raise SequenceLayersError(status, error.message.decode('utf-8', 'replace'))


def _count(name: str, *arguments) -> int:
    error = _sized(_Error)
    count = getattr(load(), name)(*arguments, ctypes.byref(error))
    if count < 0:
        raise SequenceLayersError(error.code, error.message.decode('utf-8', 'replace'))
    return count


class _Resource:
    """A handle of the library, freed after everything that was made of it.

    Counted apart from Python's own references: in what the garbage collector takes down at once, a
    layer may come before its states. The counting function is kept, as modules are gone at exit.
    """

    # One lock for all resources, as a garbage collection can run one release inside another.
    _lock = threading.RLock()

    def __init__(
        self,
        handle: ctypes.c_void_p,
        free: Callable[[ctypes.c_void_p], None],
        parent: '_Resource | None' = None,
    ):
        self._handle, self._free, self._parent, self._users = handle, free, parent, 1
        if parent is not None:
            with self._lock:
                parent._users += 1

    def __del__(self):
        self._release()

    def _release(self) -> None:
        with self._lock:
            self._users -= 1
            unused = self._users == 0
        if unused:
            self._free(self._handle)
            if self._parent is not None:
                self._parent._release()


def _view(values: Any, mask: Any = None, *, what: str = 'the input') -> _Sequence:
    """A view for the library to read. It keeps the arrays, or their copies, in `arrays`."""
    values = arrays.readable(values, what)
    mask = None if mask is None else arrays.readable_mask(mask, values.shape)
    return _borrow(values, mask)


def _borrow(values: np.ndarray, mask: np.ndarray | None) -> _Sequence:
    """A view of arrays that the library can read and write in place."""
    sequence = _sized(_Sequence)
    sequence.arrays = values, mask
    sequence.dtype = arrays.dtype_index(values.dtype)
    sequence.rank = values.ndim
    sequence.dims[: values.ndim] = values.shape
    sequence.strides[: values.ndim] = values.strides
    sequence.data = values.ctypes.data
    if mask is not None:
        sequence.mask = mask.ctypes.data
        sequence.mask_strides[:] = mask.strides
    return sequence


def _new_output(shape: _Sequence) -> _Sequence:
    """A new output array of that dtype and those dims, with a mask."""
    values = np.empty(shape.dims[: shape.rank], arrays.numpy_dtype(shape.dtype))
    return _borrow(values, np.empty(values.shape[:2], np.bool_))


def _channel_spec(channel_shape: tuple[int, ...], dtype: Any) -> _ChannelSpec:
    spec = _sized(_ChannelSpec)
    spec.dtype = arrays.dtype_index(dtype)
    if len(channel_shape) > _MAX_CHANNEL_RANK:
        raise TypeError(f'{len(channel_shape)} channel dimensions, {_MAX_CHANNEL_RANK} at most')
    spec.rank = len(channel_shape)
    spec.dims[: spec.rank] = channel_shape
    return spec


Array = arrays.Array
Constants = Mapping[str, Any]


def _constant_view(name: str, value: Any) -> _Sequence:
    what = f'the constant {name!r}'
    if isinstance(value, Array):
        view = _view(value.values, what=what)
        view.is_array = 1
        return view
    return _view(*value, what=what) if isinstance(value, tuple) else _view(value, what=what)


class _Options:
    """The options of a call with constants. It keeps the arrays that it borrows."""

    def __init__(self, constants: Constants | None, state: ctypes.c_void_p | None = None):
        self.constants = constants or {}
        self._sequences = [_constant_view(*item) for item in self.constants.items()]
        self.views = (_Constant * len(self.constants))()
        for view, name, value in zip(self.views, self.constants, self._sequences, strict=True):
            view.name = name.encode()
            view.value = value
        self.run = _sized(_RunOptions)
        self.put(self.run)
        self.run.state = state

    def put(self, options: _RunOptions | _StateOptions | _DecoderOptions) -> None:
        options.constants = ctypes.cast(self.views, ctypes.c_void_p)
        options.num_constants = len(self.views)


Emits = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class ConstantInfo:
    """A constant that a model reads; unknown properties are None, unknown sizes -1."""

    name: str
    layer: str  # the path of the first layer that reads it
    kind: str  # 'sequence', 'array', or 'any' for either
    required: bool
    streamed: bool  # streams take it block by block along with x
    dtype: str | None
    shape: tuple[int, ...] | None  # without the batch and, for a sequence, without time


@dataclasses.dataclass(frozen=True)
class StepDifference:
    """A layer for which steps give other values than whole runs."""

    layer: str  # its path; '' for the model itself
    type: str
    condition: str  # 'always'; 'holes': invalid steps before valid ones; 'padding': of whole runs
    reason: str
    cure: str


class Layer:
    """A model: immutable, shared by any number of states and threads."""

    def __init__(self, handle: ctypes.c_void_p):
        self._resource = _Resource(handle, load().sl_layer_free)
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

    def metadata(self, key: str) -> str | None:
        """The metadata entry of the model's weights with that name, such as 'sample_rate'."""
        value = load().sl_layer_metadata(self._handle, key.encode())
        return None if value is None else value.decode()

    @property
    def sample_rate(self) -> float | None:
        """Input steps per second, if the model states it."""
        value = self.metadata('sample_rate')
        return None if value is None else float(value)

    @property
    def input_spec(self) -> tuple[tuple[int, ...], str]:
        """Channel shape and dtype of the model's input, if the model states them."""
        spec = _sized(_ChannelSpec)
        _call('sl_layer_input_spec', self._handle, ctypes.byref(spec))
        return tuple(spec.dims[: spec.rank]), arrays.DTYPES[spec.dtype]

    @property
    def constants(self) -> list[ConstantInfo]:
        """The constants that the model reads."""
        infos = []
        for index in range(load().sl_layer_constant_count(self._handle)):
            info = _sized(_ConstantInfo)
            _call('sl_layer_constant', self._handle, index, ctypes.byref(info))
            infos.append(
                ConstantInfo(
                    name=info.name.decode(),
                    layer=info.layer.decode(),
                    kind=('any', 'sequence', 'array')[info.kind],
                    required=info.required != 0,
                    streamed=info.streamed != 0,
                    dtype=arrays.DTYPES[info.dtype] if info.dtype >= 0 else None,
                    shape=tuple(info.dims[: info.rank]) if info.rank >= 0 else None,
                )
            )
        return infos

    @property
    def step_differences(self) -> list[StepDifference]:
        """Layers whose steps cannot give what whole runs give, with reason and cure."""
        differences = []
        for index in range(load().sl_layer_step_difference_count(self._handle)):
            found = _sized(_StepDifference)
            _call('sl_layer_step_difference', self._handle, index, ctypes.byref(found))
            differences.append(
                StepDifference(
                    layer=found.layer.decode(),
                    type=found.type.decode(),
                    condition=('always', 'holes', 'padding')[found.condition],
                    reason=found.reason.decode(),
                    cure=found.cure.decode(),
                )
            )
        return differences

    def _output_like(self, mode: int, x: _Sequence, options: _Options) -> _Sequence:
        shape = _sized(_Sequence)
        _call(
            'sl_layer_output_shape',
            self._handle,
            mode,
            ctypes.byref(x),
            ctypes.byref(options.run),
            ctypes.byref(shape),
        )
        return _new_output(shape)

    def output_shape(
        self, values: np.ndarray, *, constants: Constants | None = None
    ) -> tuple[int, ...]:
        """The shape [batch, time, ...] of the output of `apply` for such an input."""
        return self._output_like(_LAYER_WISE, _view(values), _Options(constants)).arrays[0].shape

    def _emit_shapes(
        self, mode: int, x: _Sequence, options: _Options, state: ctypes.c_void_p | None
    ) -> dict[str, _Sequence]:
        spec = _channel_spec(tuple(x.dims[2 : x.rank]), arrays.DTYPES[x.dtype])
        run = _sized(_RunOptions)
        options.put(run)
        run.state = state
        constants = run.constants, run.num_constants
        count = _count('sl_layer_emit_count', self._handle, ctypes.byref(spec), *constants)
        shapes, path = {}, ctypes.create_string_buffer(_MAX_PATH)
        for index in range(count):
            shape = _sized(_Sequence)
            _call(
                'sl_layer_emit_shape',
                self._handle,
                mode,
                ctypes.byref(x),
                ctypes.byref(run),
                index,
                path,
                _MAX_PATH,
                ctypes.byref(shape),
            )
            shapes[path.value.decode()] = shape
        return shapes

    def emit_specs(
        self,
        values: np.ndarray,
        *,
        constants: Constants | None = None,
        state: 'State | None' = None,
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape [batch, time, ...] and dtype of each emit, by path, for such an input.

        With a state they are those of its next step.
        """
        handle = state._handle if state is not None else None
        mode = _LAYER_WISE if state is None else _STEP_WISE
        options = _Options(constants if constants or state is None else state.constants)
        shapes = self._emit_shapes(mode, _view(values), options, handle)
        return {
            path: (tuple(shape.dims[: shape.rank]), arrays.DTYPES[shape.dtype])
            for path, shape in shapes.items()
        }

    def _put_emits(
        self, mode: int, x: _Sequence, options: _Options, state: ctypes.c_void_p | None
    ) -> Emits:
        """Sets the options so that the next call writes emits into the returned arrays."""
        shapes = self._emit_shapes(mode, x, options, state)
        sequences = [_new_output(shape) for shape in shapes.values()]
        options.emits = (_Sequence * len(sequences))(*sequences)
        options.run.emits = ctypes.cast(options.emits, ctypes.c_void_p)
        options.run.num_emits = len(sequences)
        return {path: s.arrays for path, s in zip(shapes, sequences, strict=True)}

    def apply(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
        state: 'State | None' = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs a whole sequence [batch, time, ...]; no mask means that every step is valid.

        With a state, the sequence, a multiple of the block size, continues that stream: it gives
        what steps would, and leaves the state where they would.
        """
        y, _ = self._apply(values, mask, constants, state, with_emits=False)
        return y

    def apply_with_emits(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
        state: 'State | None' = None,
    ) -> tuple[np.ndarray, np.ndarray, Emits]:
        """Like `apply`, and also returns the auxiliary outputs: values and mask by path."""
        y, emits = self._apply(values, mask, constants, state, with_emits=True)
        return *y, emits

    def _apply(
        self,
        values: np.ndarray,
        mask: np.ndarray | None,
        constants: Constants | None,
        state: 'State | None',
        *,
        with_emits: bool,
    ) -> tuple[tuple[np.ndarray, np.ndarray], Emits]:
        x = _view(values, mask)
        if state is not None and constants is None:
            constants = state.constants
        handle = state._handle if state is not None else None
        options = _Options(constants, handle)
        mode = _LAYER_WISE if state is None else _STEP_WISE
        y = self._output_like(mode, x, options)
        emits = self._put_emits(mode, x, options, handle) if with_emits else {}
        run = ctypes.byref(options.run)
        _call('sl_layer_apply', self._handle, ctypes.byref(x), ctypes.byref(y), run)
        return y.arrays, emits

    def applier(self, values: np.ndarray, mask: np.ndarray | None = None) -> 'Applier':
        """An Applier, which runs these arrays repeatedly without allocating anything."""
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
        """A new stream; without `channel_shape` it takes the model's own input spec."""
        if channel_shape is None:
            channel_shape, dtype = self.input_spec
        return State(self, batch, max_steps, max_length, channel_shape, dtype, constants)

    def new_decoder(self, batch: int = 1, **options: Any) -> 'Decoder':
        """New streams of tokens; for `options` see `Decoder`."""
        return Decoder(self, batch, **options)

    def stream(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        steps: int = 0,
        constants: Constants | None = None,
    ) -> Any:
        """Runs a whole sequence step by step; the result is that of `apply`.

        Blocks of `steps` input steps (0: one block of the model) run through a new stream; invalid
        steps fill the last one and bring out what the latency holds back, and the latency is dropped.

        Args:
          values: [batch, time, ...]; or [time], one stream of scalars.
          mask: [batch, time]; no mask means that every step is valid.
          steps: A multiple of the block size.
          constants: As `apply` takes them, of all steps.

        Returns:
          Values and mask [batch, time, ...]; of values [time] the values alone, without the batch.
        """
        values = arrays.readable(values)
        if values.ndim == 1:
            if mask is not None:
                mask = np.asarray(mask)[np.newaxis]
            y, _ = self.stream(values[np.newaxis], mask, steps=steps, constants=constants)
            return y[0]
        return streaming.run(self, values, mask, steps or self.block_size, constants or {})


class Applier:
    """Runs a layer on fixed arrays; `output` holds the result of the last run."""

    def __init__(self, layer: Layer, values: np.ndarray, mask: np.ndarray | None = None):
        self._layer = layer
        self._x = _view(values, mask)
        # Arrays that the library cannot read in place are copied before each run.
        pairs = zip(self._x.arrays, (values, mask), strict=True)
        self._copies = [pair for pair in pairs if pair[0] is not pair[1]]
        self._y = layer._output_like(_LAYER_WISE, self._x, _Options(None))
        self.output = self._y.arrays[0]

    def run(self) -> None:
        for copy, source in self._copies:
            copy[...] = source
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
        self._layer = layer
        self._handle = _Handle()
        self._batch, self._channel_shape = batch, tuple(channel_shape)
        self._options = _Options(constants)
        options = _sized(_StateOptions)
        options.batch = batch
        options.max_steps = max_steps
        options.max_length = max_length
        options.input = _channel_spec(self._channel_shape, dtype)
        self._dtype = arrays.numpy_dtype(options.input.dtype)
        self._options.put(options)
        _call('sl_state_alloc', layer._handle, ctypes.byref(options), ctypes.byref(self._handle))
        self._resource = _Resource(self._handle, load().sl_state_free, layer._resource)

    @property
    def constants(self) -> Constants:
        return self._options.constants

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The state's tensors by name: views of the state itself, to read a carry or set it.

        Integers are indices of the library's own, and read-only. A view keeps the state alive.
        """
        found = {}
        for index in range(load().sl_state_tensor_count(self._handle)):
            name, tensor = ctypes.c_char_p(), _sized(_Sequence)
            _call('sl_state_tensor', self._handle, index, ctypes.byref(name), ctypes.byref(tensor))
            shape = tuple(tensor.dims[: tensor.rank])
            strides = tuple(tensor.strides[: tensor.rank])
            view = arrays.at_address(
                tensor.data, tensor.dtype, shape, strides, owner=self._resource
            )
            view.flags.writeable = not np.issubdtype(view.dtype, np.integer)
            found[name.value.decode()] = view
        return found

    def reset(self) -> None:
        """Returns to the start of the stream."""
        _call('sl_state_reset', self._handle)

    def copy_from(self, source: 'State') -> None:
        """Continues from the position of `source`, of the same layer and options except max_steps."""
        _call('sl_state_copy', self._handle, source._handle)

    def step(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs the next block of the stream."""
        y, _ = self._step(values, mask, constants, with_emits=False)
        return y

    def step_with_emits(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> tuple[np.ndarray, np.ndarray, Emits]:
        """Like `step`, and also returns the auxiliary outputs of the block: values and mask by path."""
        y, emits = self._step(values, mask, constants, with_emits=True)
        return *y, emits

    def _step(
        self,
        values: np.ndarray,
        mask: np.ndarray | None,
        constants: Constants | None,
        *,
        with_emits: bool,
    ) -> tuple[tuple[np.ndarray, np.ndarray], Emits]:
        x = _view(values, mask)
        own = constants is None and not with_emits
        given = self.constants if constants is None else constants
        options = self._options if own else _Options(given)
        y = self._layer._output_like(_STEP_WISE, x, options)
        emits = self._layer._put_emits(_STEP_WISE, x, options, self._handle) if with_emits else {}
        _call(
            'sl_layer_step',
            self._layer._handle,
            self._handle,
            ctypes.byref(x),
            ctypes.byref(y),
            ctypes.byref(options.run),
        )
        return y.arrays, emits

    def stepper(self, steps: int) -> 'Stepper':
        """A Stepper, which runs blocks of `steps` valid steps without allocating anything per block."""
        return Stepper(self, steps)


class Stepper:
    """Steps a state in place, block after block of one size: `output` holds the last one's result.

    The input is given by the address of a contiguous block, of which nothing is checked.
    """

    def __init__(self, state: State, steps: int):
        self._state = state
        self._x = _view(np.zeros((state._batch, steps, *state._channel_shape), state._dtype))
        self._y = state._layer._output_like(_STEP_WISE, self._x, state._options)
        self.output = self._y.arrays[0]
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
        self._layer = layer
        self._handle = _Handle()
        self._options = _Options(constants)
        options = _sized(_DecoderOptions)
        options.batch = batch
        options.start_token, options.stop_token = start_token, stop_token
        options.stop_at_zero = stop_token == 0
        options.pad_token, options.seed = pad_token, seed
        options.temperature, options.top_p, options.top_k = temperature, top_p, top_k
        options.max_length = max_length
        self._options.put(options)
        _call('sl_decoder_create', layer._handle, ctypes.byref(options), ctypes.byref(self._handle))
        self._resource = _Resource(self._handle, load().sl_decoder_free, layer._resource)
        self._batch = batch

    def _options_of(self, constants: Constants | None) -> _Options:
        return self._options if constants is None else _Options(constants)

    def reset(self) -> None:
        """Returns to the start of all streams."""
        _call('sl_decoder_reset', self._handle)

    def copy_from(self, source: 'Decoder') -> None:
        """Continues from the position of `source`, of the same layer, batch and constants."""
        _call('sl_decoder_copy', self._handle, source._handle)

    def prefill(
        self,
        tokens: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> None:
        """Continues as if the int32 tokens [batch, time] had been sampled."""
        x = _view(tokens, mask, what='tokens')
        options = self._options_of(constants)
        _call('sl_decoder_prefill', self._handle, ctypes.byref(x), ctypes.byref(options.run))

    def sample(
        self, *, constants: Constants | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples the next token of each stream; returns tokens, log probabilities and mask [batch]."""
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
        """Log probabilities of int32 tokens [batch, time] from the start token on, and their mask."""
        x = _view(tokens, mask, what='tokens')
        shape = x.arrays[0].shape
        y = _borrow(np.empty(shape, np.float32), np.empty(shape, np.bool_))
        options = self._options_of(constants)
        _call(
            'sl_decoder_log_prob',
            self._handle,
            ctypes.byref(x),
            ctypes.byref(y),
            ctypes.byref(options.run),
        )
        return y.arrays
