"""FFTW 3, single precision, inside a loop in C that computes log-mel features."""

import ctypes
import subprocess
from collections.abc import Callable

import numpy as np

from peers import compiled, models
from peers.rows import Row
from peers.runner import Calls, Runner, Skipped
from sequence_layers_benches import bench_s4, log_mel

_MOST_THREADS = 64


def _load() -> ctypes.CDLL:
    try:
        return compiled.load('fftw.c', '-ffast-math', '-pthread', '-lfftw3f', '-lm')
    except subprocess.CalledProcessError as error:
        raise Skipped('libfftw3-dev is missing') from error


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
        self._library = _load()
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


class _Convolution(ctypes.Structure):
    _fields_ = [
        ('time', ctypes.c_int64),
        ('size', ctypes.c_int64),
        ('channels', ctypes.c_int64),
        ('spectra', ctypes.c_void_p),
        ('threads', ctypes.c_int32),
        ('forward', ctypes.c_void_p),
        ('backward', ctypes.c_void_p),
        ('real', ctypes.c_void_p * _MOST_THREADS),
        ('spectrum', ctypes.c_void_p * _MOST_THREADS),
    ]


class _S4(Calls):
    how = 'plans of 16 channels; the spectrum is given'

    def __init__(self, row: Row, threads: int):
        self._library = _load()
        kernel = bench_s4.System(row.built.weights, row.time).kernel()
        size = 2 * row.time
        spectra = np.fft.rfft(kernel.T, size) / size
        self._spectra = np.ascontiguousarray(spectra.astype(np.complex64))
        address = self._spectra.ctypes.data
        self._plan = _Convolution(row.time, size, row.x.shape[2], address, threads)
        if self._library.convolution_plan(ctypes.byref(self._plan)):
            raise MemoryError('FFTW made no plan')
        self._x, self._y = row.x, np.zeros_like(row.x)

    def outputs(self) -> np.ndarray:
        self.call()()
        return self._y

    def call(self) -> Callable[[], object]:
        arrays = [ctypes.c_void_p(a.ctypes.data) for a in (self._x, self._y)]
        return lambda: self._library.convolution_run(ctypes.byref(self._plan), *arrays)


_KINDS = {'log_mel': _LogMel, 's4': _S4}


def make(row: Row, threads: int) -> Runner:
    if row.built.kind not in _KINDS:
        raise Skipped(f'no transform in {row.built.kind}')
    return _KINDS[row.built.kind](row, threads)
