"""This library, by its C ABI: the loops over calls are compiled."""

import ctypes
import functools
import itertools
import os
import pathlib
import re
import shutil
import tempfile
import time

import numpy as np

import sequence_layers_runtime as runtime
from peers import compiled
from peers.rows import LAYER, OPEN, STEP, STREAMS, Row
from peers.runner import Openings, Runner, Skipped, blocks
from sequence_layers_runtime import abi, outputs, views
from sequence_layers_runtime.constants import RunOptions
from sequence_layers_tools import model_directory

_INCLUDE = pathlib.Path(__file__).parents[2] / 'include'
_INVALID_ARGUMENT = 1
# Positions in their streams at which streams in slots are.
_POSITIONS = 8
_TYPES = {'uint32_t': ctypes.c_uint32, 'int32_t': ctypes.c_int32, 'int64_t': ctypes.c_int64}


@functools.cache
def _options_type() -> type[ctypes.Structure]:
    """The struct sl_layer_options of this tree's header, which may be ahead of the binding's."""
    header = (_INCLUDE / 'sequence_layers/sequence_layers.h').read_text()
    name = 'sl_layer_options'
    body = header.partition(f'typedef struct {name} {{')[2].partition(f'}} {name};')[0]
    fields = re.findall(r'(\S+) (\w+);', re.sub(r'/\*.*?\*/', '', body, flags=re.S))
    members = [(field, _TYPES.get(kind, ctypes.c_void_p)) for kind, field in fields]
    return type('Options', (ctypes.Structure,), {'_fields_': members})


def _open(path: bytes, threads: int, **more: object) -> runtime.Layer:
    """Opens a model with options of the header that are set if the header has them."""
    options = _options_type()()
    options.struct_size, options.num_threads = ctypes.sizeof(options), threads
    for name, value in more.items():
        if name in {field for field, *_ in options._fields_}:
            setattr(options, name, value)
    handle = ctypes.c_void_p()
    given = ctypes.cast(ctypes.pointer(options), ctypes.POINTER(abi.LayerOptions))
    abi.call('sl_layer_open', path, given, ctypes.byref(handle))
    return runtime.Layer(handle)


def write_model(row: Row, directory: str | pathlib.Path) -> None:
    model = row.built
    model_directory.write(
        directory,
        model.config,
        model.weights,
        channel_shape=model.channel_shape,
        dtype=model.dtype,
    )


def open_directory(row: Row, directory: str | pathlib.Path, threads: int) -> runtime.Layer:
    path, name = os.fsencode(directory), ctypes.create_string_buffer(row.weight_format.encode())
    formats = {} if row.weight_format == 'float32' else {'weight_format': ctypes.addressof(name)}
    try:
        return _open(path, threads, num_step_threads=threads, **formats)
    except runtime.SequenceLayersError as error:
        if error.code != _INVALID_ARGUMENT:
            raise
        # A build that is older than the header refuses what it does not know.
        if formats:
            raise Skipped(f'this build has no {row.weight_format}: {error}') from error
        return _open(path, threads)


def open_layer(row: Row, threads: int) -> runtime.Layer:
    with tempfile.TemporaryDirectory() as directory:
        write_model(row, directory)
        return open_directory(row, directory, threads)


@functools.cache
def _loops() -> ctypes.CDLL:
    library = compiled.load('loops.c', f'-I{_INCLUDE}', '-pthread')
    for name in ('loop_steps', 'loop_applies', 'loop_streams'):
        getattr(library, name).restype = ctypes.c_double
    return library


def _address(name: str) -> ctypes.c_void_p:
    return ctypes.cast(getattr(abi.load(), name), ctypes.c_void_p)


class Steps(Runner):
    def __init__(self, row: Row, threads: int):
        self._layer = open_layer(row, threads)
        self._input, self._checked = blocks(row), row.checked
        spec = {'channel_shape': row.built.channel_shape, 'dtype': row.built.dtype}
        self._state = self._layer.new_state(row.batch, max_steps=row.block, **spec)
        self._x = views.borrow(self._input[0], None)
        self._y = outputs.new_output(self._layer.handle, abi.MODE_STEP, self._x, RunOptions(None))
        self._y.mask = None
        self._at = 0

    def outputs(self) -> np.ndarray:
        self._state.reset()
        found = [self._state.step(x)[0] for x in self._input[: self._checked]]
        return np.concatenate(found, axis=1)

    def seconds(self, count: int) -> float:
        number, stride = len(self._input), self._input[0].nbytes
        first, self._at = self._at, self._at + count
        result = _loops().loop_steps(
            _address('sl_layer_step'), self._layer.handle, self._state.handle,
            ctypes.byref(self._x), ctypes.byref(self._y), ctypes.c_void_p(self._input.ctypes.data),
            *map(ctypes.c_int64, (stride, number, first, count)),
        )  # fmt: skip
        if result < 0:
            raise RuntimeError('a step failed')
        return float(result)


class Whole(Runner):
    """Whole sequences. Those of a decoder are prompts, with which a stream begins."""

    def __init__(self, row: Row, threads: int):
        self._layer = open_layer(row, threads)
        self._x = views.borrow(row.x, None)
        self._state, mode = None, abi.MODE_LAYER
        if row.built.kind == 'decoder':
            self._state = self._layer.new_state(row.batch, max_steps=row.time)
            mode = abi.MODE_STEP
        self._y = outputs.new_output(self._layer.handle, mode, self._x, RunOptions(None))
        self._y.mask = None

    def outputs(self) -> np.ndarray:
        self.seconds(1)
        return self._y.arrays[0]

    def seconds(self, count: int) -> float:
        result = _loops().loop_applies(
            _address('sl_layer_apply'), _address('sl_state_reset'), self._layer.handle,
            None if self._state is None else self._state.handle,
            ctypes.byref(self._x), ctypes.byref(self._y), ctypes.c_int64(count),
        )  # fmt: skip
        if result < 0:
            raise RuntimeError('a run failed')
        return float(result)


class _StreamsRun(ctypes.Structure):
    """The struct streams_run of loops.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ('step', 'step_slots', 'layer', 'states', 'slots')),
        ('x', abi.Sequence),
        ('y', abi.Sequence),
        *((name, ctypes.c_void_p) for name in ('input', 'output')),
        *((name, ctypes.c_int64) for name in ('input_bytes', 'output_bytes', 'streams', 'blocks')),
        *((name, ctypes.c_int64) for name in ('first', 'count', 'threads')),
    ]


class _Streams(Runner):
    """As many streams as the row's batch, shared between threads; the time is that of a step of all."""

    def __init__(self, row: Row, threads: int, batches: list[int], function: str):
        """Makes states of those batches, which `function` steps."""
        self._layer = open_layer(row, 1)
        self._row, self._batches = row, batches
        self._input, self._at = blocks(row), 0
        self._spec = {'channel_shape': row.built.channel_shape, 'dtype': row.built.dtype}
        self._states = [
            self._layer.new_state(n, max_steps=row.block, **self._spec) for n in batches
        ]
        self._handles = (ctypes.c_void_p * len(batches))(*(s.handle.pointer for s in self._states))
        self._slots = np.arange(row.batch)
        x = views.borrow(np.ascontiguousarray(self._input[0][:1]), None)
        y = outputs.new_output(self._layer.handle, abi.MODE_STEP, x, RunOptions(None))
        self._shape = y.arrays[0].shape[1:]
        self._output = np.zeros((row.batch, *self._shape), np.float32)
        y.mask = None
        self._run = _StreamsRun(
            layer=self._layer.handle.pointer, states=ctypes.addressof(self._handles),
            slots=self._slots.ctypes.data, x=x, y=y, input=self._input.ctypes.data,
            output=self._output.ctypes.data, input_bytes=self._input[0][:1].nbytes,
            output_bytes=self._output[:1].nbytes, streams=row.batch, blocks=len(self._input),
            threads=threads,
        )  # fmt: skip
        setattr(self._run, function, _address(f'sl_layer_{function}').value)

    def outputs(self) -> np.ndarray:
        for state in self._states:
            state.reset()
        self._at, found = 0, []
        for _ in range(self._row.checked):
            self.seconds(1)
            found.append(self._output.copy())
        self._fill_caches(self._row.built.sizes.get('past', 0))
        return np.concatenate(found, axis=1)

    def _fill_caches(self, past: int) -> None:
        """Makes all streams continue one whose caches of keys and values are full."""
        if past == 0:
            return
        full = self._layer.new_state(1, max_steps=self._row.block, **self._spec)
        for at in range(past + 1):
            full.step(self._input[at % len(self._input)][:1])
        for state, batch in zip(self._states, self._batches, strict=True):
            for item in range(batch):
                state.copy_item_from(full, 0, item)

    def seconds(self, count: int) -> float:
        self._run.first, self._run.count = self._at, count
        self._at += count
        result = _loops().loop_streams(ctypes.byref(self._run))
        if result < 0:
            raise RuntimeError('a step failed')
        return float(result)


class SingleStreams(_Streams):
    """Each stream in a state of its own: they step one after another, on each thread its share."""

    how = 'a state each'

    def __init__(self, row: Row, threads: int):
        super().__init__(row, threads, [1] * row.batch, 'step')


class Slots(_Streams):
    """Each thread has its share of the streams in the slots of one state, at different positions."""

    how = 'slots of a state for each thread'

    def __init__(self, row: Row, threads: int):
        shares = [row.batch * t // threads for t in range(threads + 1)]
        batches = [after - before for before, after in itertools.pairwise(shares)]
        super().__init__(row, threads, batches, 'step_slots')

    def outputs(self) -> np.ndarray:
        found = super().outputs()
        if _loops().spread_streams(ctypes.byref(self._run), ctypes.c_int64(_POSITIONS)):
            raise RuntimeError('a step failed')
        return found


class Opening(Openings):
    """Opening a model directory until a stream can step; also tells the memory that this takes."""

    def __init__(self, row: Row, threads: int):
        self._row, self._threads = row, threads
        self._folder = tempfile.TemporaryDirectory()
        self._model = pathlib.Path(self._folder.name) / 'model'
        write_model(row, self._model)
        if row.packed:
            self._model = self._pack(self._model)
        self.measure_memory()
        start = time.perf_counter()
        kept = self._open_model()
        self.how += f', {1e3 * (time.perf_counter() - start):.1f} ms without the state'
        del kept

    def _pack(self, model: pathlib.Path) -> pathlib.Path:
        """Writes the model as `sl pack` does."""
        packed = model.with_name('packed')
        packed.mkdir()
        layer = open_directory(self._row, model, self._threads)
        layer.save_weights(packed / 'model.safetensors')
        shutil.copy(model / 'config.json', packed)
        return packed

    def _open_model(self) -> runtime.Layer:
        if self._row.packed:  # in the format that it is packed in
            return _open(os.fsencode(self._model), self._threads)
        return open_directory(self._row, self._model, self._threads)

    def open(self) -> tuple[object, ...]:
        layer = self._open_model()
        return layer, layer.new_state()


_MODES = {LAYER: Whole, STEP: Steps, STREAMS: Slots, OPEN: Opening}


def make(row: Row, threads: int) -> Runner:
    return _MODES[row.mode](row, threads)
