"""FFTW 3, single precision, inside a loop in C that computes log-mel features."""

import ctypes
import subprocess
from collections.abc import Callable

import numpy as np

from peers import compiled, models
from peers.rows import Row
from peers.runner import Calls, Runner, Skipped
from sequence_layers_benches import log_mel

_MOST_THREADS = 64


class _Features(ctypes.Structure):
    _fields_ = [
        ('length', ctypes.c_int64),
        ('step', ctypes.c_int64),
        ('size', ctypes.c_int64),
        ('bins', ctypes.c_int64),
        ('window', ctypes.c_void_p),
        ('starts', ctypes.c_void_p),
        ('first', ctypes.c_void_p),
        ('weights', ctypes.c_void_p),
        ('floor', ctypes.c_float),
        ('threads', ctypes.c_int32),
        ('plan', ctypes.c_void_p),
        ('in', ctypes.c_void_p * _MOST_THREADS),
        ('out', ctypes.c_void_p * _MOST_THREADS),
    ]


class _LogMel(Calls):
    how = 'one plan, PATIENT, a frame at a time'

    def __init__(self, row: Row, threads: int):
        try:
            self._library = compiled.load('fftw.c', '-ffast-math', '-pthread', '-lfftw3f', '-lm')
        except subprocess.CalledProcessError as error:
            raise Skipped('libfftw3-dev is missing') from error
        fields = log_mel.Fields(models.LOG_MEL)
        filters = fields.filters().astype(np.float32)
        used = [np.flatnonzero(column) for column in filters.T]
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fields.length) / fields.length)
        self._arrays = [
            window.astype(np.float32),
            np.cumsum([0, *map(len, used)]).astype(np.int32),
            np.array([bins[0] if len(bins) else 0 for bins in used], np.int32),
            np.concatenate([filters[bins, i] for i, bins in enumerate(used)]),
        ]
        sizes = fields.length, fields.step, fields.size, fields.bins
        addresses = [a.ctypes.data for a in self._arrays]
        self._features = _Features(*sizes, *addresses, fields.floor, threads)
        if self._library.features_plan(ctypes.byref(self._features)):
            raise MemoryError('FFTW made no plan')
        samples = row.x[0]
        self._samples = np.pad(samples, (fields.length - 1, 0))
        self._result = np.zeros((1, len(samples) // fields.step, fields.bins), np.float32)

    def outputs(self) -> np.ndarray:
        self.call()()
        return self._result

    def call(self) -> Callable[[], object]:
        return lambda: self._library.features_run(
            ctypes.byref(self._features),
            ctypes.c_void_p(self._samples.ctypes.data),
            ctypes.c_int64(self._result.shape[1]),
            ctypes.c_void_p(self._result.ctypes.data),
        )


def make(row: Row, threads: int) -> Runner:
    if row.built.kind != 'log_mel':
        raise Skipped(f'no transform in {row.built.kind}')
    return _LogMel(row, threads)
