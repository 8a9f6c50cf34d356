"""A diagonal recurrence as a loop in C."""

import ctypes
from collections.abc import Callable

import numpy as np

from peers import compiled
from peers.rows import Row
from peers.runner import Calls, Runner, Skipped


class _Diagonal(Calls):
    how = '-O3 -march=native -ffast-math'

    def __init__(self, row: Row, threads: int):
        w = {n.removeprefix('params.'): v.astype(np.float64) for n, v in row.built.weights.items()}
        system = -np.exp(w['log_neg_lambda_re']) + 1j * w['lambda_im']
        discrete = np.exp(np.exp(w['log_step'])[:, np.newaxis] * system)
        # The input matrix is folded into that of the output.
        output = 2 * (w['c'][..., 0] + 1j * w['c'][..., 1]) * (discrete - 1) / system
        pairs = [np.stack([v.real, v.imag], 1) for v in (discrete, output)]
        self._arrays = [np.ascontiguousarray(v, np.float32) for v in (*pairs, w['d'], row.x[0])]
        self._y = np.zeros_like(row.x)
        self._sizes = row.time, row.x.shape[2], threads
        flags = '-ffast-math', '-mprefer-vector-width=512', '-pthread'
        self._run = compiled.load('c_loop.c', *flags).diagonal_run

    def outputs(self) -> np.ndarray:
        self.call()()
        return self._y

    def call(self) -> Callable[[], object]:
        arrays = [ctypes.c_void_p(a.ctypes.data) for a in (*self._arrays, self._y)]
        sizes = [ctypes.c_int64(n) for n in self._sizes]
        return lambda: self._run(*arrays, *sizes)


def make(row: Row, threads: int) -> Runner:
    if row.built.kind != 's4d':
        raise Skipped(f'no loop for {row.built.kind}')
    return _Diagonal(row, threads)
