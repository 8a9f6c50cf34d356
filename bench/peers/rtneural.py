"""RTNeural, compiled for each row by its templates, with Eigen and with xsimd: the faster of both is measured.

No registry has its headers: RTNEURAL_DIR names a copy of its source tree, with modules/Eigen and modules/xsimd.
"""

import ctypes
import os
import pathlib

import numpy as np

from peers import compiled
from peers.rows import Row
from peers.runner import Runner, Skipped

_GATES = {'LSTM': 'ifgo', 'GRU': 'zrn'}
_BACKENDS = {
    'Eigen': ('-DRTNEURAL_USE_EIGEN=1', 'modules/Eigen', 32),
    'xsimd': ('-DRTNEURAL_USE_XSIMD=1', 'modules/xsimd/include', 64),
}


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes, as the templates demand of their input."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class _Net(Runner):
    def __init__(self, row: Row, folder: pathlib.Path, backend: str):
        self.how = backend
        model, sizes = row.built, row.built.sizes
        if model.kind == 'rnn':
            gates = _GATES[sizes['kind']]
            flags = [
                f'-DLAYER=RTNeural::{sizes["kind"]}LayerT',
                f'-DUNITS={sizes["units"]}',
                f'-DGATES={len(gates)}',
            ]
            problem = sizes['problem']
            kernels = [problem.joined(k, gates).T for k in (problem.kernel, problem.recurrent)]
            biases = [problem.joined(b, gates) for b in (problem.bias, problem.recurrent_bias)]
        else:
            flags = ['-DTCN', f'-DUNITS={sizes["channels"]}', f'-DTAPS={sizes["taps"]}']
            names = [f'params.block{i}.conv' for i in range(sizes['layers'])]
            # Its first tap is that of the current frame.
            kernels = [model.weights[f'{n}.kernel'][::-1].transpose(2, 1, 0) for n in names]
            biases = [model.weights[f'{n}.bias'] for n in names]
        definition, include, alignment = _BACKENDS[backend]
        self._library = compiled.load(
            'rtneural.cc', '-ffast-math', '-DNDEBUG', f'-I{folder}', f'-I{folder / include}', definition,
            f'-DRTNEURAL_DEFAULT_ALIGNMENT={alignment}', '-DRTNEURAL_NAMESPACE=RTNeural',
            '-DEIGEN_STACK_ALLOCATION_LIMIT=0', *flags,
        )  # fmt: skip
        self._library.net_make.restype = ctypes.c_void_p
        self._library.net_run.restype = ctypes.c_double
        given = [np.ascontiguousarray(np.stack(a)).ctypes for a in (kernels, biases)]
        self._net = ctypes.c_void_p(
            self._library.net_make(*(ctypes.c_void_p(a.data) for a in given))
        )
        self._x, self._y = _aligned(row.x[0]), np.zeros(row.x.shape[1:], np.float32)
        # A whole sequence is run as one block, since there is nothing but steps.
        self._block = row.block if row.is_step else row.time
        self._checked = row.checked * row.block if row.is_step else row.time

    def outputs(self) -> np.ndarray:
        self._library.net_reset(self._net)
        self._run(self._checked // self._block)
        return self._y[np.newaxis, : self._checked]

    def _run(self, count: int) -> float:
        blocks = len(self._x) // self._block
        sizes = map(ctypes.c_int64, (blocks, self._block, count))
        arrays = (ctypes.c_void_p(a.ctypes.data) for a in (self._x, self._y))
        return float(self._library.net_run(self._net, *arrays, *sizes))

    def seconds(self, count: int) -> float:
        return self._run(count)


def make(row: Row, threads: int) -> Runner:
    folder = os.environ.get('RTNEURAL_DIR')
    if not folder:
        raise Skipped('no registry has its headers, and RTNEURAL_DIR names none')
    if row.batch > 1 or row.built.kind not in ('rnn', 'tcn'):
        raise Skipped('no such layers')
    backends = _BACKENDS if row.built.kind == 'rnn' else ['Eigen']
    path = pathlib.Path(folder)
    nets = [_Net(row, path, name) for name in backends if (path / _BACKENDS[name][1]).exists()]
    return min(nets, key=lambda net: min(net.seconds(3) for _ in range(5)))
