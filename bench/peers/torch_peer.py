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


class _Inference(Calls):
    """Calls that are timed under inference_mode."""

    def seconds(self, count: int) -> float:
        with torch.inference_mode():
            return super().seconds(count)


class _Recurrent(_Inference):
    def __init__(self, row: Row):
        self._module = row.built.sizes['problem'].torch_module()
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


class _LogMel(Calls):
    how = 'torch.stft and a matrix product'

    def __init__(self, row: Row):
        self._features = log_mel.TorchFeatures(log_mel.Fields(models.LOG_MEL), row.x[0])

    def outputs(self) -> np.ndarray:
        return self._features.run().numpy()[np.newaxis]

    def call(self) -> Callable[[], object]:
        return self._features.run


class _Network(_Inference):
    """Convolutions in the layout with channels last, which oneDNN prefers."""

    how = 'channels last'

    def __init__(self, row: Row):
        self._nodes, weights = row.built.sizes['nodes'], row.built.weights
        self._kernels = {
            name.removesuffix('.kernel'): torch.from_numpy(w.transpose(3, 2, 0, 1).copy()).to(
                memory_format=torch.channels_last
            )
            for name, w in weights.items()
            if name.endswith('.kernel') and w.ndim == 4
        }
        self._biases = {
            name.removesuffix('.bias'): torch.from_numpy(w)
            for name, w in weights.items()
            if name.endswith('.bias')
        }
        if row.built.kind == 'cnn':
            x = torch.from_numpy(np.moveaxis(row.x, 3, 1).copy())
            self._x = x.to(memory_format=torch.channels_last)

    def _run(self, x: torch.Tensor, nodes: tuple[models.Node, ...], path: str) -> torch.Tensor:
        functional = torch.nn.functional
        for i, node in enumerate(nodes):
            name = f'{path}layers_{i}'
            if isinstance(node, models.Branches):
                inner = [self._run(x, b, f'{name}.branch{k}.') for k, b in enumerate(node.branches)]
                x = torch.cat(inner, 1)
            elif isinstance(node, models.Pool):
                x = functional.max_pool2d(x, node.size)
            else:
                past = node.dilation * (node.kernel[0] - 1)
                before, after = models.same_padding(x.shape[3], node.kernel[1], node.stride)
                padding: tuple[int, int] = past // 2, before
                if before != after or past % 2:
                    x = functional.pad(x, (before, after, past // 2, past - past // 2))
                    padding = 0, 0
                kernel, bias = self._kernels[name], self._biases[name]
                x = functional.conv2d(
                    x, kernel, bias, (1, node.stride), padding, (node.dilation, 1)
                )
                if node.activation:
                    x = getattr(torch, f'{node.activation}_')(x)
        return x

    def outputs(self) -> np.ndarray:
        with torch.inference_mode():
            return np.moveaxis(self._run(self._x, self._nodes, 'params.').numpy(), 1, 3)

    def call(self) -> Callable[[], object]:
        return lambda: self._run(self._x, self._nodes, 'params.')


class _Pesto(_Network):
    """Filters over the signal, and the network of convolutions on their magnitudes."""

    def __init__(self, row: Row):
        super().__init__(row)
        weights, self._bank = row.built.weights, row.built.sizes['bank']
        filters = weights['params.filters.kernel'].transpose(2, 1, 0)
        self._filters = torch.from_numpy(filters.copy())
        self._norm = [torch.from_numpy(weights[f'params.norm.{n}']) for n in ('scale', 'bias')]
        self._step = row.is_step
        signal = blocks(row)[: row.checked] if self._step else row.x[np.newaxis]
        self._signal = [torch.from_numpy(x[np.newaxis]) for x in signal.reshape(len(signal), 1, -1)]
        self._reset()

    def _reset(self) -> None:
        self._past = torch.zeros(1, 1, self._bank.taps - 1)

    def _frames(self, x: torch.Tensor) -> torch.Tensor:
        functional, bank = torch.nn.functional, self._bank
        window = torch.cat((self._past, x), 2)
        if self._step:
            self._past = window[:, :, x.shape[2] :]
        y = functional.conv1d(window, self._filters, stride=bank.hop)
        y = y.view(1, 2, bank.bins, -1).square().sum(1).sqrt()
        y = functional.layer_norm(y.transpose(1, 2), (bank.bins,), *self._norm, 1e-6)
        return self._run(y.unsqueeze(1), self._nodes, 'params.network.')

    def outputs(self) -> np.ndarray:
        self._reset()
        with torch.inference_mode():
            found = [np.moveaxis(self._frames(x).numpy(), 1, 3) for x in self._signal]
        return np.concatenate(found, axis=1)

    def call(self) -> Callable[[], object]:
        return lambda: self._frames(self._signal[0])


class _Resemblyzer(_Inference):
    def __init__(self, row: Row):
        sizes, weights = row.built.sizes, row.built.weights
        units, inputs = sizes['units'], row.built.channel_shape[0]
        self._lstm = torch.nn.LSTM(inputs, units, sizes['layers']).eval()
        state = {}
        for i in range(sizes['layers']):
            own = f'params.lstm{i}.'
            state[f'weight_ih_l{i}'] = weights[f'{own}kernel.kernel'].T
            state[f'weight_hh_l{i}'] = weights[f'{own}recurrent_kernel.kernel'].T
            state[f'bias_ih_l{i}'] = weights[f'{own}bias']
            state[f'bias_hh_l{i}'] = np.zeros(4 * units, np.float32)
        self._lstm.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in state.items()})
        self._kernel = torch.from_numpy(weights['params.embedding.kernel'].T.copy())
        self._bias = torch.from_numpy(weights['params.embedding.bias'])
        self._x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(row.x, 0, 1)))

    def _run(self) -> torch.Tensor:
        functional = torch.nn.functional
        y = functional.linear(self._lstm(self._x)[0], self._kernel, self._bias)
        return functional.normalize(torch.relu_(y), dim=-1)

    def outputs(self) -> np.ndarray:
        with torch.inference_mode():
            return np.moveaxis(self._run().numpy(), 0, 1)

    def call(self) -> Callable[[], object]:
        return self._run


_KINDS = {
    'rnn': _Recurrent,
    'log_mel': _LogMel,
    'cnn': _Network,
    'pesto': _Pesto,
    'resemblyzer': _Resemblyzer,
}


def make(row: Row, threads: int) -> Runner:
    torch.set_num_threads(threads)
    if row.built.kind not in _KINDS:
        raise Skipped(f'no module for {row.built.kind}')
    return _KINDS[row.built.kind](row)
