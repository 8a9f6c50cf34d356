"""This library, by its C ABI: the loops over calls are compiled."""

import ctypes
import functools
import os
import pathlib
import tempfile

import numpy as np

import sequence_layers_runtime as runtime
from peers import compiled
from peers.rows import Row
from peers.runner import Runner, blocks
from sequence_layers_runtime import abi, outputs, views
from sequence_layers_runtime.constants import RunOptions
from sequence_layers_tools import model_directory


def open_layer(row: Row, threads: int) -> runtime.Layer:
    model = row.built
    folder = os.environ.get('SL_PEERS_MODELS')
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        model_directory.write(
            directory,
            model.config,
            model.weights,
            channel_shape=model.channel_shape,
            dtype=model.dtype,
        )
        return runtime.Layer.open(directory, threads=threads)


@functools.cache
def _loops() -> ctypes.CDLL:
    include = pathlib.Path(__file__).parents[2] / 'include'
    library = compiled.load('loops.c', f'-I{include}')
    for name in ('loop_steps', 'loop_applies'):
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
    def __init__(self, row: Row, threads: int):
        self._layer = open_layer(row, threads)
        self._x = views.borrow(row.x, None)
        self._y = outputs.new_output(self._layer.handle, abi.MODE_LAYER, self._x, RunOptions(None))
        self._y.mask = None

    def outputs(self) -> np.ndarray:
        self.seconds(1)
        return self._y.arrays[0]

    def seconds(self, count: int) -> float:
        x, y = ctypes.byref(self._x), ctypes.byref(self._y)
        apply = _address('sl_layer_apply')
        result = _loops().loop_applies(apply, self._layer.handle, x, y, ctypes.c_int64(count))
        if result < 0:
            raise RuntimeError('a run failed')
        return float(result)


def make(row: Row, threads: int) -> Runner:
    return (Steps if row.is_step else Whole)(row, threads)
