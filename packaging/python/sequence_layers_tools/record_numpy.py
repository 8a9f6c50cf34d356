"""Records cases of layers that the reference lacks, computed by NumPy from their definitions.

  python -m sequence_layers_tools.record_numpy tests/golden [--only Graph,Pad]
"""

import argparse
import json
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from sequence_layers_tools import model_directory

_BATCH, _TIME = 3, 13
_rng = np.random.default_rng(17)

Json = dict


def _mask(time: int = _TIME) -> np.ndarray:
    return np.arange(time) < np.array([[time], [max(time - 4, 0)], [time // 2]])


def _input(*channels: int, dtype: str = 'float32', time: int = _TIME, low=0, high=5) -> np.ndarray:
    """Values [batch, time, channels...], zero where they are invalid."""
    shape = (_BATCH, time, *channels)
    if dtype in ('int32', 'int8'):
        x = _rng.integers(low, high, shape)
    elif dtype == 'bool':
        x = _rng.integers(0, 2, shape)
    elif dtype == 'complex64':
        x = _rng.standard_normal(shape) + 1j * _rng.standard_normal(shape)
    else:
        x = _rng.standard_normal(shape)
    return _zeroed(x.astype(dtype), _mask(time))


def _zeroed(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    keep = mask.reshape(mask.shape + (1,) * (x.ndim - 2))
    return np.where(keep, x, np.zeros((), x.dtype))


def _weight(*shape: int) -> np.ndarray:
    return _rng.uniform(-0.8, 0.8, shape).astype(np.float32)


class Case:
    """A config, an input and the output that NumPy gives; metadata as in the golden cases."""

    def __init__(self, config: Json, x, y, mask=None, y_mask=None, weights=None, emits=None,
                 constants=None, **time):  # fmt: skip
        self.config, self.x, self.y = config, x, y
        self.mask = _mask(x.shape[1]) if mask is None else mask
        self.y_mask = self.mask if y_mask is None else y_mask
        self.weights = weights or {}
        self.emits = emits or {}  # path -> (values, mask)
        self.constants = constants or {}  # arrays by name
        field = time.pop('field', [0, 0])
        self.time = {
            'block_size': 1,
            'output_ratio': [1, 1],
            'supports_step': True,
            'input_latency': 0,
            'output_latency': 0,
            'receptive_field': field,
            'receptive_field_per_step': {'0': field},
        } | time

    def metadata(self, name: str) -> Json:
        def spec(x):
            return {'channel_shape': list(x.shape[2:]), 'dtype': x.dtype.name}

        return {
            'name': name,
            **self.time,
            'input': spec(self.x),
            'output': spec(self.y),
            'constants': dict.fromkeys(self.constants, 'array'),
            'stream_constants': False,
            **({'emits': self._emit_names()} if self.emits else {}),
            'rtol': 1e-5,
            'atol': 1e-5,
            'padding_invariance_pad_value': 'nan',
            'test_padding_invariance': True,
            'test_batching': True,
            'test_2x_step': True,
            'config': self.config,
        }

    def _emit_names(self) -> list[str]:
        return sorted(f'{path}.{part}' for path in self.emits for part in ('values', 'mask'))

    def tensors(self, name: str) -> dict[str, np.ndarray]:
        out = {f'weights/{k}': v for k, v in self.weights.items()}
        out |= {'input.values': self.x, 'input.mask': self.mask}
        out |= {'output.values': _zeroed(self.y, self.y_mask), 'output.mask': self.y_mask}
        out |= {f'constants.{name}': value for name, value in self.constants.items()}
        for path, (values, mask) in self.emits.items():
            out |= {f'emits.{path}.values': _zeroed(values, mask), f'emits.{path}.mask': mask}
        return {f'{name}/{k}': v for k, v in out.items()}


def _conv(x: np.ndarray, mask: np.ndarray, kernel: np.ndarray, bias, before: int, after: int):
    """A convolution over time of masked x, in float64."""
    taps = len(kernel)
    padded = np.pad(_zeroed(x, mask).astype(np.float64), ((0, 0), (before, after), (0, 0)))
    time = padded.shape[1] - taps + 1
    y = sum(padded[:, k : k + time] @ kernel[k].astype(np.float64) for k in range(taps))
    return (y + bias).astype(np.float32)


def graph() -> Iterator[Case]:
    # Branches of latencies 0 and 2 that meet twice, with two emits, one of them of the input.
    kernel, bias = _weight(3, 4, 4), _weight(4)
    x, mask = _input(4), _mask()
    total = _conv(x, mask, kernel, bias, 0, 2) * x
    y = np.concatenate([np.tanh(total), x], -1)
    nodes = [
        {'name': 'late', 'inputs': 'input',
         'layer': {'type': 'Conv1D', 'filters': 4, 'kernel_size': 3, 'padding': 'reverse_causal'}},
        {'name': 'total', 'inputs': ['late', 'input'], 'combination': 'product',
         'layer': {'type': 'Tanh'}, 'emit': True},
        {'name': 'again', 'inputs': 'input', 'emit': True},
        {'name': 'both', 'inputs': ['total', 'input'], 'combination': 'concat'},
    ]
    yield Case(
        {'type': 'Graph', 'nodes': nodes}, x, y,
        weights={'params.late.kernel': kernel, 'params.late.bias': bias},
        emits={'total': (np.tanh(total), mask), 'again': (x, mask)},
        input_latency=2, output_latency=2, field=[0, 2],
    )  # fmt: skip
    # Half the rate and back, beside the input; a node that two others read and a node without layer.
    time = 12
    x, mask = _input(3, time=time), _mask(time)
    kernel, bias = _weight(2, 3, 3), _weight(3)
    down = _conv(x, mask, kernel, bias, 1, 0)[:, ::2]
    down_mask = mask[:, ::2]
    quotient = down / (np.abs(down) + 1)
    up, up_mask = np.repeat(quotient, 2, 1), np.repeat(down_mask, 2, 1)
    y_mask = up_mask & mask
    y = np.maximum(up - x, x)
    nodes = [
        {'name': 'down', 'layer': {'type': 'Conv1D', 'filters': 3, 'kernel_size': 2, 'strides': 2,
                                   'padding': 'causal'}},
        {'name': 'size', 'layer': {'type': 'Serial', 'layers': [
            {'type': 'Abs'}, {'type': 'Add', 'shift': 1}]}},
        {'name': 'quotient', 'inputs': ['down', 'size'], 'combination': 'divide'},
        {'name': 'up', 'inputs': ['quotient'], 'layer': {'type': 'Upsample1D', 'rate': 2}},
        {'name': 'difference', 'inputs': ['up', 'input'], 'combination': 'subtract'},
        {'name': 'largest', 'inputs': ['difference', 'input'], 'combination': 'maximum'},
    ]  # fmt: skip
    yield Case(
        {'type': 'Graph', 'nodes': nodes, 'output': 'largest'}, x, y, mask=mask, y_mask=y_mask,
        weights={'params.down.kernel': kernel, 'params.down.bias': bias},
        block_size=2, field=[-2, 0],
        receptive_field_per_step={'0': [-1, 0], '1': [-2, 0]},
    )  # fmt: skip


def divide() -> Iterator[Case]:
    for divisor in (2.5, [0.5, -3, 7]):
        x = _input(2, 3)
        yield Case({'type': 'Divide', 'divisor': divisor}, x, x / np.float32(divisor))
    x = _input(3, dtype='int32', low=-9, high=9)
    yield Case({'type': 'Divide', 'divisor': 4}, x, x.astype(np.float32) / np.float32(4))
    x = _input(2, dtype='complex64')
    divisor = {'complex': [[1, 2], [0.5, -1]]}
    yield Case({'type': 'Divide', 'divisor': divisor}, x,
               x / np.array([1 + 2j, 0.5 - 1j], np.complex64))  # fmt: skip
    # The divisor makes the channels larger.
    x = _input(1)
    yield Case({'type': 'Divide', 'divisor': [2, 4]}, x, x / np.float32([2, 4]))


def pad() -> Iterator[Case]:
    for mode in ('constant', 'edge', 'reflect', 'symmetric', 'wrap'):
        x = _input(3, 4)
        config = {'type': 'Pad', 'paddings': [[2, 1], [0, 3]], 'mode': mode}
        yield Case(config, x, np.pad(x, ((0, 0), (0, 0), (2, 1), (0, 3)), mode))
    for dtype in ('int32', 'int8', 'bool', 'complex64'):
        x = _input(3, dtype=dtype)
        y = np.pad(x, ((0, 0), (0, 0), (0, 2)), constant_values=1)
        yield Case({'type': 'Pad', 'paddings': [[0, 2]], 'value': 1}, x, y)


def tile() -> Iterator[Case]:
    for repeats in ([2], [3, 1], [2, 1, 2]):
        x = _input(2, 3)
        y = np.stack([[np.tile(step, repeats) for step in item] for item in x])
        yield Case({'type': 'Tile', 'repeats': repeats}, x, y)


def roll() -> Iterator[Case]:
    for shift, axis in ((1, 2), (-5, -1), ([2, -1], [3, 2]), ([1, 1], [-1, -1])):
        x = _input(3, 4)
        yield Case({'type': 'Roll', 'shift': shift, 'axis': axis}, x, np.roll(x, shift, axis))


def view_as_real() -> Iterator[Case]:
    for layout, pairs in _layouts():
        x = _input(2, 3, dtype='complex64')
        yield Case({'type': 'ViewAsReal', 'layout': layout}, x, pairs(x))


def view_as_complex() -> Iterator[Case]:
    for layout, pairs in _layouts():
        y = _input(2, 3, dtype='complex64')
        yield Case({'type': 'ViewAsComplex', 'layout': layout}, pairs(y), y)


def _layouts():
    yield 'interleaved', lambda x: x.view(np.float32)
    yield 'pair', lambda x: np.stack([x.real, x.imag], -1)
    yield 'halves', lambda x: np.concatenate([x.real, x.imag], -1)


def function() -> Iterator[Case]:
    x = _input(5)
    yield Case({'type': 'Function', 'function': 'sin'}, x, np.sin(x))
    yield Case({'type': 'Function', 'function': 'asinh'}, 9 * x, np.arcsinh(9 * x))
    yield Case({'type': 'Function', 'function': 'erf'}, x, _erf(x))
    y = 1 / np.where(x == 0, np.float32(1), x)
    yield Case({'type': 'Function', 'function': 'reciprocal'}, x, y)


def soft_cap() -> Iterator[Case]:
    x = 9 * _input(5)
    y = (3 * np.tanh(np.float64(x) / 3)).astype(np.float32)
    yield Case({'type': 'SoftCap', 'cap': 3}, x, y)
    config = {'function': 'soft_cap', 'cap': 3}
    yield Case({'type': 'Function', 'function': config}, x, y)


def reduce_time() -> Iterator[Case]:
    def statistic(name, correction, steps):
        if name == 'last':
            return steps[-1]
        wide = {'i': np.int64, 'b': np.int64, 'c': np.complex128, 'f': np.float64}
        v = steps.astype(wide[steps.dtype.kind])
        if name == 'std':
            return v.std(0, ddof=correction)
        if name == 'variance':
            return v.var(0, ddof=correction)
        return getattr(v, name)(0)

    def case(x, dtype, name, extent='running', correction=0):
        mask = _mask()
        mask[1, 2] = mask[2, 0] = False  # holes, also before the first valid step
        x = _zeroed(x, mask)
        time = x.shape[1]
        last = extent == 'final'
        y = np.zeros((_BATCH, 1 if last else time, *x.shape[2:]), dtype)
        for b, t in np.argwhere(mask):
            steps = x[b, : t + 1] if extent == 'running' else x[b]
            steps = steps[mask[b, : len(steps)]]
            if len(steps) > correction:
                y[b, 0 if last else t] = statistic(name, correction, steps)
        config = {'type': 'ReduceTime', 'statistic': name, 'extent': extent}
        if correction:
            config['correction'] = correction
        steps = extent == 'running'
        return Case(config, x, y, mask=mask, y_mask=mask.any(1, keepdims=True) if last else mask,
                    supports_step=steps, field=['-inf', 0 if steps else 'inf'])  # fmt: skip

    for name in ('mean', 'sum', 'max', 'min', 'std', 'variance', 'last'):
        for extent in ('running', 'final', 'global'):
            yield case(_input(2, 3) + 3, 'float32', name, extent)
    yield case(_input(4), 'float32', 'std', 'final', correction=1)
    for name, dtype in (('mean', 'float32'), ('sum', 'int32'), ('max', 'int32'), ('std', 'float32')):
        yield case(_input(3, dtype='int32', low=-9, high=9), dtype, name)
    yield case(_input(3, dtype='int8', low=-128, high=127), 'int32', 'sum')
    yield case(_input(3, dtype='bool'), 'int32', 'sum')
    yield case(_input(3, dtype='bool'), 'bool', 'max')
    yield case(_input(3, dtype='complex64'), 'complex64', 'mean')
    yield case(_input(3, dtype='complex64'), 'complex64', 'last')


def time_padding() -> Iterator[Case]:
    """Layers whose windows are padded by amounts in time."""

    def lengths_after(before, after, extent, stride, lengths):
        return [max((n + before + after - extent) // stride + 1, 0) for n in lengths]

    def padded_case(config, field, before, after, extent, stride, x, run, weights=None):
        # Each item is computed alone, from its own valid steps.
        lengths = _mask(x.shape[1]).sum(1)
        counts = lengths_after(before, after, extent, stride, lengths)
        time = max(lengths_after(before, after, extent, stride, [x.shape[1]]))
        items = [run(x[b, :n])[:count] for b, (n, count) in enumerate(zip(lengths, counts, strict=True))]
        y = np.zeros((_BATCH, time, *items[0].shape[1:]), items[0].dtype)
        for b, item in enumerate(items):
            y[b, : len(item)] = item
        return Case(config | {field: [before, after]}, x, y,
                    y_mask=np.arange(time) < np.array(counts)[:, None], weights=weights,
                    block_size=stride, output_ratio=[1, stride], input_latency=after,
                    output_latency=(extent - 1 - before) // stride,
                    field=[-before, extent - 1 - before])  # fmt: skip

    def windows(x, extent, stride, dilation=1):
        for t in range(0, len(x) - extent + 1, stride):
            yield x[t : t + extent : dilation]

    for taps, stride, dilation, before, after in (
        (3, 1, 1, 1, 1), (3, 1, 1, 2, 2), (3, 1, 1, 0, 0), (4, 1, 1, 2, 0), (4, 1, 1, 0, 1),
        (5, 2, 1, 2, 2), (5, 2, 1, 1, 1), (4, 3, 1, 2, 2), (5, 3, 1, 0, 4), (3, 1, 2, 2, 2),
        (3, 2, 3, 6, 5),
    ):  # fmt: skip
        kernel, bias = _weight(taps, 3, 2), _weight(2)
        extent = (taps - 1) * dilation + 1

        def convolve(x, taps=taps, stride=stride, dilation=dilation, pads=(before, after),
                     kernel=kernel, bias=bias, extent=extent):  # fmt: skip
            padded = np.pad(x, (pads, (0, 0))).astype(np.float64)
            found = [np.tensordot(w, kernel.astype(np.float64), 2) + bias
                     for w in windows(padded, extent, stride, dilation)]  # fmt: skip
            return np.array(found, np.float32).reshape(-1, 2)

        config = {'type': 'Conv1D', 'filters': 2, 'kernel_size': taps, 'strides': stride,
                  'dilation_rate': dilation}  # fmt: skip
        yield padded_case(config, 'padding', before, after, extent, stride, _input(3), convolve,
                          {'params.kernel': kernel, 'params.bias': bias})  # fmt: skip
    for kind, empty, reduce in (('Max', -np.inf, np.max), ('Average', 0, np.mean)):
        for size, stride, before, after in ((3, 1, 1, 1), (4, 2, 2, 2), (3, 3, 0, 0), (4, 2, 3, 1)):

            def pool(x, size=size, stride=stride, pads=(before, after), reduce=reduce, empty=empty):
                padded = np.pad(x, (pads, (0, 0)), constant_values=empty)
                return np.array([reduce(w, 0) for w in windows(padded, size, stride)], np.float32)

            config = {'type': f'{kind}Pooling1D', 'pool_size': size, 'strides': stride}
            yield padded_case(config, 'padding', before, after, size, stride, _input(2), pool)
    for size, hop, mode in (
        (8, 2, 'constant'), (8, 3, 'constant'), (8, 2, 'reflect'), (8, 3, 'reflect'),
        (7, 2, 'reflect'),
    ):  # fmt: skip
        # The frames of torch.stft and librosa.stft with center=True.
        half = size // 2
        even = size % 2 == 0
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size) if even else np.ones(size)

        def stft(x, size=size, hop=hop, mode=mode, half=half, window=window):
            padded = np.pad(x, half, mode)
            return np.array([np.fft.rfft(w * window) for w in windows(padded, size, hop)],
                            np.complex64)  # fmt: skip

        config = {'type': 'STFT', 'frame_length': size, 'frame_step': hop, 'fft_length': size,
                  'window_fn': 'hann' if even else None, 'pad_mode': mode}  # fmt: skip
        case = padded_case(config, 'time_padding', half, half, size, hop, _input(), stft)
        # The first sample of the window is zero.
        field = [1 - half, size - 1 - half]
        if mode == 'reflect':
            later = max(0, 2 * half - size + 1)
            case.time['input_latency'] += later
            case.time['output_latency'] = (size - 1 - half + later) // hop
            field = [-half - later, size - 1 - half + later]
        case.time |= {'receptive_field': field, 'receptive_field_per_step': {'0': field}}
        yield case


def transposed_padding() -> Iterator[Case]:
    """Transposed convolutions whose output is cut by amounts in time."""
    for taps, stride, dilation, before, after in (
        (4, 2, 1, 1, 1), (4, 2, 1, 0, 2), (5, 2, 1, 2, 1), (3, 1, 1, 1, 1), (6, 3, 1, 3, 0),
        (4, 2, 1, 0, 0), (4, 2, 1, 3, 1), (3, 2, 2, 1, 2), (5, 4, 1, 0, 1), (3, 3, 1, 1, 0),
    ):  # fmt: skip
        kernel, bias = _weight(taps, 3, 2), _weight(2)
        extent = (taps - 1) * dilation + 1
        surplus = extent - stride - before - after
        x = _input(3)
        lengths = _mask().sum(1)
        time = _TIME * stride + surplus
        y = np.zeros((_BATCH, time, 2))
        for b, length in enumerate(lengths):
            full = np.zeros(((length - 1) * stride + extent, 2))
            for t in range(length):
                for k in range(taps):
                    full[t * stride + k * dilation] += x[b, t].astype(float) @ kernel[taps - 1 - k]
            cut = full[before : len(full) - after]
            y[b, : len(cut)] = cut + bias
        counts = lengths * stride + surplus
        fields = [[-((extent - 1 - before - i) // stride), (i + before) // stride]
                  for i in range(stride)]  # fmt: skip
        fields = [field if field[0] <= field[1] else None for field in fields]
        found = [field for field in fields if field]
        config = {'type': 'Conv1DTranspose', 'filters': 2, 'kernel_size': taps, 'strides': stride,
                  'dilation_rate': dilation, 'padding': [before, after]}  # fmt: skip
        yield Case(config, x, y.astype(np.float32), y_mask=np.arange(time) < counts[:, None],
                   weights={'params.kernel': kernel, 'params.bias': bias},
                   output_ratio=[stride, 1], input_latency=-((after + stride - extent) // stride),
                   output_latency=before,
                   field=[min(f[0] for f in found), max(f[1] for f in found)],
                   receptive_field_per_step={str(i): f for i, f in enumerate(fields)})  # fmt: skip


def initial_carry() -> Iterator[Case]:
    """Recurrences whose initial carry layers make of a constant."""

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    constant = _weight(_BATCH, 5)
    first, second, bias = _weight(5, 6), _weight(6, 4), _weight(4)
    network = {'type': 'Serial', 'layers': [
        {'type': 'Dense', 'features': 6, 'activation': 'tanh', 'use_bias': False},
        {'type': 'Dense', 'features': 4}]}  # fmt: skip
    h0 = np.tanh(constant.astype(np.float64) @ first) @ second + bias
    weights = {'layers_0.kernel': first, 'layers_1.kernel': second, 'layers_1.bias': bias}
    made = {f'params.initial_h.{k}': v for k, v in weights.items()}
    mask = _mask()
    mask[1, 3] = mask[2, 0] = False
    x = _zeroed(_input(3), mask)

    def unroll(step, carry):
        y = np.zeros((*x.shape[:2], 4))
        for t in range(x.shape[1]):
            after = step(x[:, t].astype(np.float64), *carry)
            keep = mask[:, t, None]
            carry = [np.where(keep, new, old) for new, old in zip(after, carry, strict=True)]
            y[:, t] = carry[-1]
        return y.astype(np.float32)

    w, u, b = _weight(3, 16), _weight(4, 16), _weight(16)
    c0 = constant.astype(np.float64)[:, :4] * 0.5

    def lstm(v, c, h):
        i, f, g, o = np.split(v @ w + h @ u + b, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return c, sigmoid(o) * np.tanh(c)

    own = {'params.kernel.kernel': w, 'params.recurrent_kernel.kernel': u, 'params.bias': b}
    config = {'type': 'LSTM', 'units': 4, 'initial_constant': 'speaker', 'initial_h': network}
    yield Case(config, x, unroll(lstm, [np.zeros((_BATCH, 4)), h0]), mask=mask,
               weights=own | made, constants={'speaker': constant}, field=['-inf', 0])  # fmt: skip
    both = config | {'initial_c': {'type': 'Serial', 'layers': [
        {'type': 'Slice', 'slices': [[0, 4, 1]]}, {'type': 'Scale', 'scale': 0.5}]}}  # fmt: skip
    yield Case(both, x, unroll(lstm, [c0, h0]), mask=mask, weights=own | made,
               constants={'speaker': constant}, field=['-inf', 0])  # fmt: skip

    names = ('ir', 'iz', 'in', 'hr', 'hz', 'hn')
    gru = {n: _weight(3 if n[0] == 'i' else 4, 4) for n in names}
    biases = {n: _weight(4) for n in ('ir', 'iz', 'in', 'hn')}

    def cell(v, h):
        r = sigmoid(v @ gru['ir'] + biases['ir'] + h @ gru['hr'])
        z = sigmoid(v @ gru['iz'] + biases['iz'] + h @ gru['hz'])
        n = np.tanh(v @ gru['in'] + biases['in'] + r * (h @ gru['hn'] + biases['hn']))
        return ((1 - z) * n + z * h,)

    own = {f'params.cell.{n}.kernel': v for n, v in gru.items()}
    own |= {f'params.cell.{n}.bias': v for n, v in biases.items()}
    config = {'type': 'RNN', 'cell': {'type': 'GRUCell', 'features': 4},
              'initial_constant': 'speaker', 'initial_h': network}  # fmt: skip
    yield Case(config, x, unroll(cell, [h0]), mask=mask, weights=own | made,
               constants={'speaker': constant}, field=['-inf', 0])  # fmt: skip


def _erf(x: np.ndarray) -> np.ndarray:
    """The error function by its series, which converges fast for small x."""
    x = x.astype(np.float64)
    term, total = x.copy(), x.copy()
    for n in range(1, 120):
        term = -term * x * x / n
        total += term / (2 * n + 1)
    return (2 / np.sqrt(np.pi) * total).astype(np.float32)


def multi_channel_embedding() -> Iterator[Case]:
    table = _weight(128, 6)
    reductions = {None: lambda v: v, 'mean': lambda v: v.mean(2), 'sum': lambda v: v.sum(2)}
    for reduction, reduce in (reductions | {'max': lambda v: v.max(2)}).items():
        x = _input(3, dtype='int32', high=7)
        config = {'type': 'MultiChannelEmbedding', 'num_channels': 3, 'dimension': 6,
                  'num_embeddings_per_channel': [7, 8, 9], 'reduction_fn': reduction}  # fmt: skip
        y = reduce(table[x + [0, 7, 15]].astype(np.float64)).astype(np.float32)
        yield Case(config, x, y, weights={'params.embedding': table})
    table = _weight(17, 4)
    x = _input(3, dtype='int32', high=6)
    config = {'type': 'MultiChannelEmbedding', 'num_channels': 3, 'dimension': 4,
              'num_embeddings_per_channel': 5, 'num_reserved_embeddings': 2,
              'round_num_embeddings_to_multiple_of_128': False}  # fmt: skip
    y = table[np.where(x < 2, x, x + [0, 5, 10])]
    yield Case(config, x, y, weights={'params.embedding': table})


def residual_vector_quantizer() -> Iterator[Case]:
    tables = _weight(5, 9, 4)
    config = {'type': 'ResidualVectorQuantizer', 'num_quantizers': 5, 'num_embeddings': 9,
              'embedding_dim': 4, 'use_unique_codes': False}  # fmt: skip
    for levels, unique in ((5, False), (3, True)):
        x = _input(4)
        residual, codes = x.astype(np.float64), []
        for level in range(levels):
            distance = ((residual[..., None, :] - tables[level].astype(np.float64)) ** 2).sum(-1)
            codes.append(distance.argmin(-1))
            residual = residual - tables[level][codes[-1]]
        y = (np.stack(codes, -1) + unique * 9 * np.arange(levels)).astype(np.int32)
        encoder = config | {'direction': 'embeddings_to_codes', 'use_unique_codes': unique,
                            'encoded_truncation_level': levels}  # fmt: skip
        yield Case(encoder, x, y, weights={'params.embedding': tables})
    for levels, truncation, unique in ((5, None, False), (2, 3, True)):
        x = _input(levels, dtype='int32', high=9)
        y = sum(tables[level].astype(np.float64)[x[..., level]] for level in range(levels))
        x = _zeroed(x + np.int32(unique * 9) * np.arange(levels, dtype=np.int32), _mask())
        decoder = config | {'direction': 'codes_to_embeddings', 'use_unique_codes': unique,
                            'truncation_level': truncation}  # fmt: skip
        yield Case(decoder, x, y.astype(np.float32), weights={'params.embedding': tables})


_LAYERS: dict[str, Callable[[], Iterator[Case]]] = {
    'Graph': graph,
    'Divide': divide,
    'Function': function,
    'MultiChannelEmbedding': multi_channel_embedding,
    'ResidualVectorQuantizer': residual_vector_quantizer,
    'Pad': pad,
    'Tile': tile,
    'Roll': roll,
    'ReduceTime': reduce_time,
    'SoftCap': soft_cap,
    'TimePadding': time_padding,
    'TransposedPadding': transposed_padding,
    'InitialCarry': initial_carry,
    'ViewAsReal': view_as_real,
    'ViewAsComplex': view_as_complex,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('--only', help='types, separated by commas')
    arguments = parser.parse_args()
    only = arguments.only.split(',') if arguments.only else list(_LAYERS)
    for kind in only:
        global _rng
        _rng = np.random.default_rng(len(kind))
        cases, tensors = [], {}
        for i, case in enumerate(_LAYERS[kind]()):
            name = f'{kind}__{i}'
            cases.append(case.metadata(name))
            tensors |= case.tensors(name)
        text = json.dumps({'type': kind, 'cases': cases})
        (arguments.directory / f'{kind}.json').write_text(text)
        path = arguments.directory / f'{kind}.safetensors'
        model_directory.write_tensors(path, model_directory.packed(tensors))


if __name__ == '__main__':
    main()
