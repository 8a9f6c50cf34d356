"""PyTorch: the module of the layer, under inference_mode."""

import os
import sys
from collections.abc import Callable

import numpy as np

from peers import models
from peers.rows import Row
from peers.runner import Calls, Runner, Skipped, blocks
from sequence_layers_benches import log_mel

# The libraries of CUDA that stand beside PyTorch may lack symbols, of functions that are never called.
sys.setdlopenflags(os.RTLD_LAZY)
import torch  # noqa: E402


class _Recurrent(Calls):
    def __init__(self, row: Row):
        sizes = row.built.sizes
        problem, units = sizes['problem'], sizes['units']
        self._module = getattr(torch.nn, sizes['kind'])(units, units).eval()
        parts = {
            'weight_ih_l0': problem.kernel,
            'weight_hh_l0': problem.recurrent,
            'bias_ih_l0': problem.bias,
            'bias_hh_l0': problem.recurrent_bias,
        }
        joined = {n: problem.joined(part, problem.gates) for n, part in parts.items()}
        self._module.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in joined.items()})
        self._step = row.is_step
        if self._step:
            self._frames = [torch.from_numpy(x) for x in blocks(row)[: row.checked]]
        else:
            self._x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(row.x, 0, 1)))

    def outputs(self) -> np.ndarray:
        with torch.inference_mode():
            if not self._step:
                return np.moveaxis(self._module(self._x)[0].numpy(), 0, 1)
            state, found = None, []
            for x in self._frames:
                y, state = self._module(x, state)
                found.append(y.numpy())
        self._state = state
        return np.concatenate(found, axis=1)

    def call(self) -> Callable[[], object]:
        module = self._module
        if not self._step:
            return lambda: module(self._x)

        def step() -> None:
            _, self._state = module(self._frames[0], self._state)

        return step

    def seconds(self, count: int) -> float:
        with torch.inference_mode():
            return super().seconds(count)


class _LogMel(Calls):
    how = 'torch.stft and a matrix product'

    def __init__(self, row: Row):
        self._fields = fields = log_mel.Fields(models.LOG_MEL)
        self._window = torch.hann_window(fields.length)
        self._filters = torch.from_numpy(fields.filters().T.astype(np.float32))
        self._before = (fields.size - fields.length) // 2 + fields.length - 1
        self._samples = torch.from_numpy(row.x[0])

    def _run(self) -> torch.Tensor:
        fields = self._fields
        with torch.inference_mode():
            # The transform pads its frame on both sides, so the sound needs that padding too.
            padded = torch.nn.functional.pad(self._samples, (self._before, fields.size))
            spectrum = torch.stft(
                padded,
                fields.size,
                fields.step,
                fields.length,
                self._window,
                center=False,
                return_complex=True,
            )
            spectrum = spectrum[:, : len(self._samples) // fields.step].abs()
            return torch.log(self._filters @ spectrum + fields.floor).T

    def outputs(self) -> np.ndarray:
        return self._run().numpy()[np.newaxis]

    def call(self) -> Callable[[], object]:
        return self._run


_KINDS = {'rnn': _Recurrent, 'log_mel': _LogMel}


def make(row: Row, threads: int) -> Runner:
    torch.set_num_threads(threads)
    if row.built.kind not in _KINDS:
        raise Skipped(f'no module for {row.built.kind}')
    return _KINDS[row.built.kind](row)
