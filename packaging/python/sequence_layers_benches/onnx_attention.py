"""ONNX graphs of the attention models that bench_attention.py measures, written by hand.

They use the operators that run fastest in onnxruntime on a CPU: Attention of opset 24 with
TensorScatter for caches that are ring buffers, or, with `grouped`, onnxruntime's own
GroupQueryAttention. Caches are inputs and outputs of a step, and io binding keeps them in place.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

_POSITIONS = 4096
_FLOAT, _INT32, _INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64


class Graph:
    """A graph to which nodes are added in order; results are named by number."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        self._weights = weights
        self._nodes, self._inputs, self._outputs, self._constants = [], [], [], {}

    def __call__(self, op: str, *inputs: str, domain: str = '', outputs: int = 1, **attributes):
        names = [f'{op}_{len(self._nodes)}_{i}' for i in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: type | None = None) -> str:
        array = np.ascontiguousarray(value, dtype)
        name = f'constant_{len(self._constants)}'
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def array(self, ending: str, repeat: int | None = None) -> np.ndarray:
        """The weight whose name ends with `ending`, or its slice for one block of a Repeat."""
        (name,) = (n for n in self._weights if n.endswith('.' + ending))
        return self._weights[name] if repeat is None else self._weights[name][repeat]

    def weight(self, ending: str, repeat: int | None = None, rows: int = 0) -> str:
        """The weight as a constant of the graph, reshaped to `rows` rows if given."""
        array = self.array(ending, repeat)
        return self.constant(array.reshape(rows, -1) if rows else array)

    def input(self, name: str, dtype: int, shape: list[int]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, shape: list[int]) -> None:
        """Renames the value instead of copying it to an output, which would take time."""
        for node in self._nodes:
            for i, output in enumerate(node.output):
                if output == value:
                    node.output[i] = name
            for i, given in enumerate(node.input):
                if given == value:
                    node.input[i] = name
        self._outputs.append(helper.make_tensor_value_info(name, _FLOAT, shape))

    def model(self) -> bytes:
        graph = helper.make_graph(
            self._nodes, 'model', self._inputs, self._outputs, list(self._constants.values())
        )
        opsets = [helper.make_opsetid('', 24), helper.make_opsetid('com.microsoft', 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString()


def _timing(channels: int) -> np.ndarray:
    half = channels // 2
    frequencies = 1e4 ** (-np.arange(half) / max(half - 1, 1))
    angles = np.arange(_POSITIONS)[:, np.newaxis] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _rotation(units: int) -> tuple[np.ndarray, np.ndarray]:
    half = units // 2
    angles = np.arange(_POSITIONS)[:, np.newaxis] / 1e4 ** (np.arange(half) / half)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


class _Ring:
    """The place of the step at `position` in caches of `slots` steps, and which slots are filled."""

    def __init__(self, graph: Graph, position: str, slots: int):
        self._graph, self._slots = graph, slots
        self._at = graph('Mod', position, graph.constant([slots], np.int64))
        self.mask = graph(
            'LessOrEqual', graph.constant(np.arange(slots)[np.newaxis], np.int64), position
        )

    def append(self, name: str, value: str, heads: int, units: int) -> str:
        """The cache with the value [1, heads, 1, units] written to the current slot."""
        shape = [1, heads, self._slots, units]
        past = self._graph.input(f'past_{name}', _FLOAT, shape)
        present = self._graph('TensorScatter', past, value, self._at, axis=-2, mode='circular')
        self._graph.output(f'present_{name}', present, shape)
        return f'present_{name}'


class _Decoder:
    """A decoder of tokens: embedding, blocks of attention with rotary positions and a gated unit, logits.

    Products have the weights as they are or, with `bits` (4 or 8), by MatMulNBits in groups of 32.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray], bits: int = 0):
        self._repeat = next(layer for layer in config['layers'] if layer['type'] == 'Repeat')
        attend, feed_forward = self._repeat['layer']['layers']
        self.attention = attend['layers'][1]
        self._gate = next(y for y in feed_forward['layers'] if y['type'] == 'GatedUnit')
        self._timed = any(layer['type'] == 'AddTimingSignal' for layer in config['layers'])
        self._classes = config['layers'][-1]['features']
        self.heads, self.units = self.attention['num_heads'], self.attention['units_per_head']
        self.width = self.heads * self.units
        self.graph = Graph(weights)
        self._bits = bits
        self.cos, self.sin = map(self.graph.constant, _rotation(self.units))

    def _product(self, x: str, ending: str, repeat: int | None = None, rows: int = 0) -> str:
        g, array = self.graph, self.graph.array(ending, repeat)
        if rows:
            array = array.reshape(rows, -1)
        if not self._bits:
            return g('MatMul', x, g.constant(array))
        packed, scales = _grouped_integers(array, self._bits)
        depth, width = array.shape
        return g(
            'MatMulNBits', x, g.constant(packed), g.constant(scales), domain='com.microsoft',
            K=depth, N=width, bits=self._bits, block_size=_GROUP, accuracy_level=4,
        )  # fmt: skip

    def _attend(self, qkv: str, i: int) -> str:
        raise NotImplementedError

    def model(self, token: str, positions: str, time: int) -> bytes:
        """The graph for `time` tokens at the positions [1, time]."""
        g = self.graph
        x = g('Gather', g.weight('embedding.embedding'), token)
        if self._timed:
            x = g('Add', x, g('Gather', g.constant(_timing(self.width)), positions))
        for i in range(self._repeat['num_repeats']):
            h = g('RMSNormalization', x, g.weight('self_attention.rms_norm.scale', i), epsilon=1e-6)
            qkv = self._product(h, 'attention.query_key_value_projection.kernel', i, self.width)
            y = self._product(self._attend(qkv, i), 'output_projection.kernel', i, self.width)
            x = g('Add', x, y)
            h = g('RMSNormalization', x, g.weight('ffn.rms_norm.scale', i), epsilon=1e-6)
            h = self._product(h, 'dense1.kernel', i)
            features, gate = g('Split', h, axis=-1, outputs=2, num_outputs=2)
            if self._gate['feature_activation'] == 'gelu':
                features = g('Gelu', features, approximate='tanh')
            else:
                features = g('Mul', features, g('Sigmoid', features))
            x = g('Add', x, self._product(g('Mul', features, gate), 'dense2.kernel', i))
        x = g('RMSNormalization', x, g.weight('output_rms_norm.scale'), epsilon=1e-6)
        g.output('y', self._product(x, 'to_logits.kernel'), [1, time, self._classes])
        return g.model()


class _DecoderStep(_Decoder):
    """A step: token and position to logits. Caches are ring buffers of the window's length."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray], bits: int):
        super().__init__(config, weights, bits)
        g = self.graph
        self.token = g.input('token', _INT32, [1, 1])
        self.position = g.input('position', _INT64, [1])
        self.at = g('Reshape', self.position, g.constant([1, 1], np.int64))
        self._ring = _Ring(g, self.position, self.attention['max_past_horizon'] + 1)
        self._split = g.constant([1, 3, self.heads, self.units], np.int64)
        self._one = g.constant([1, self.heads, 1, self.units], np.int64)
        self._joined = g.constant([1, 1, self.width], np.int64)

    def _attend(self, qkv: str, i: int) -> str:
        g = self.graph
        parts = g('Split', g('Reshape', qkv, self._split), axis=1, outputs=3, num_outputs=3)
        q, k, v = (g('Reshape', s, self._one) for s in parts)
        q, k = (g('RotaryEmbedding', s, self.cos, self.sin, self.at) for s in (q, k))
        k = self._ring.append(f'k{i}', k, self.heads, self.units)
        v = self._ring.append(f'v{i}', v, self.heads, self.units)
        return g('Reshape', g('Attention', q, k, v, self._ring.mask), self._joined)


class _GroupedDecoderStep(_DecoderStep):
    """A step with GroupQueryAttention, whose caches have room for all steps."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray], steps: int):
        super().__init__(config, weights, 0)
        g, self._steps = self.graph, steps
        self._length = g('Cast', self.position, to=_INT32)
        self._total = g('Add', self._length, g.constant([1], np.int32))

    def _attend(self, qkv: str, i: int) -> str:
        g = self.graph
        shape = [1, self.heads, self._steps, self.units]
        past = [g.input(f'past_{kind}{i}', _FLOAT, shape) for kind in 'kv']
        y, *present = g(
            'GroupQueryAttention', qkv, '', '', *past, self._length, self._total, self.cos, self.sin,
            domain='com.microsoft', outputs=3, num_heads=self.heads, kv_num_heads=self.heads,
            local_window_size=self.attention['max_past_horizon'] + 1, do_rotary=1,
        )  # fmt: skip
        for kind, value in zip('kv', present, strict=True):
            g.output(f'present_{kind}{i}', value, shape)
        return y


class _DecoderLayer(_Decoder):
    """A prompt that fits into the window: tokens [1, time] to logits."""

    def __init__(
        self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray], bits: int, time: int
    ):
        super().__init__(config, weights, bits)
        g = self.graph
        self.token = g.input('token', _INT32, [1, time])
        self.at = g.constant(np.arange(time)[np.newaxis], np.int64)
        self._split = g.constant([1, time, 3, self.heads, self.units], np.int64)
        self._joined = g.constant([1, time, self.width], np.int64)

    def _attend(self, qkv: str, i: int) -> str:
        g = self.graph
        parts = g('Transpose', g('Reshape', qkv, self._split), perm=[2, 0, 3, 1, 4])
        parts = g('Split', parts, axis=0, outputs=3, num_outputs=3)
        q, k, v = (g('Squeeze', s, g.constant([0], np.int64)) for s in parts)
        q, k = (g('RotaryEmbedding', s, self.cos, self.sin, self.at) for s in (q, k))
        y = g('Attention', q, k, v, is_causal=1)
        return g('Reshape', g('Transpose', y, perm=[0, 2, 1, 3]), self._joined)


_GROUP = 32


def _grouped_integers(kernel: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """A kernel [depth, width] as MatMulNBits takes it: integers [width, groups, bytes], scales."""
    groups = kernel.T.reshape(kernel.shape[1], -1, _GROUP)
    middle = 1 << (bits - 1)
    scales = np.abs(groups).max(-1, keepdims=True) / (middle - 1)
    integers = np.clip(np.rint(groups / scales) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        integers = integers[..., ::2] | integers[..., 1::2] << 4
    return integers, scales[..., 0].astype(np.float32)


def decoder_step(
    config: Mapping[str, Any], weights: Mapping[str, np.ndarray], *, grouped: int = 0, bits: int = 0
) -> bytes:
    """One step of a decoder as docs/models/transformer_decoder: token and position to logits.

    Caches are ring buffers of the window's length or, with `grouped`, have room for that many steps.
    """
    if grouped:
        step: _DecoderStep = _GroupedDecoderStep(config, weights, grouped)
    else:
        step = _DecoderStep(config, weights, bits)
    return step.model(step.token, step.at, 1)


def decoder_layer(
    config: Mapping[str, Any], weights: Mapping[str, np.ndarray], time: int, *, bits: int = 0
) -> bytes:
    """A whole prompt through such a decoder."""
    layer = _DecoderLayer(config, weights, bits, time)
    return layer.model(layer.token, layer.at, time)


class _Conformer:
    """Blocks of docs/models/causal_conformer; attention and convolution depend on the mode."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]):
        layers = config['layer']['layers']
        self.attention = layers[1]['layers'][1]
        self.taps = layers[2]['layers'][3]['kernel_size']
        self.blocks = config['num_repeats']
        self.heads, self.units = self.attention['num_heads'], self.attention['units_per_head']
        self.width = self.heads * self.units
        self.past = self.attention['max_past_horizon']
        self.graph = Graph(weights)

    def _norm(self, x: str, i: int, name: str) -> str:
        scale, bias = (self.graph.weight(f'{name}.{leaf}', i) for leaf in ('scale', 'bias'))
        return self.graph('LayerNormalization', x, scale, bias, epsilon=1e-6)

    def _dense(self, x: str, i: int, name: str) -> str:
        bias = self.graph.array(f'{name}.bias', i)
        kernel = self.graph.array(f'{name}.kernel', i).reshape(-1, len(bias))
        y = self.graph('MatMul', x, self.graph.constant(kernel))
        return self.graph('Add', y, self.graph.constant(bias))

    def _swish(self, x: str) -> str:
        return self.graph('Mul', x, self.graph('Sigmoid', x))

    def _feed_forward(self, x: str, i: int, name: str) -> str:
        h = self._norm(x, i, f'{name}.layers_0')
        h = self._dense(self._swish(self._dense(h, i, f'{name}.layers_1')), i, f'{name}.layers_3')
        half = self.graph.constant(np.float32(0.5))
        return self.graph('Add', x, self.graph('Mul', h, half))

    def _folded(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Kernel [taps, width] and bias of the convolution, with the next normalization folded in."""
        find = self.graph.array
        norm = 'lconv.layers_4.BatchNorm_0.'
        scale = find(norm + 'scale', i) / np.sqrt(find(norm + 'var', i) + 1e-3)
        kernel = find('lconv.layers_3.kernel', i).reshape(self.taps, self.width)
        bias = find('lconv.layers_3.bias', i) - find(norm + 'mean', i)
        return kernel * scale, bias * scale + find(norm + 'bias', i)

    def _attend(self, qkv: str, i: int) -> str:
        raise NotImplementedError

    def _convolve(self, x: str, i: int) -> str:
        raise NotImplementedError

    def block(self, x: str, i: int) -> str:
        g = self.graph
        x = self._feed_forward(x, i, 'feedforward_start')
        h = self._norm(x, i, 'mhsa.layers_0')
        qkv = g('MatMul', h, g.weight('query_key_value_projection.kernel', i, self.width))
        x = g('Add', x, self._dense(self._attend(qkv, i), i, 'mhsa.layers_2'))
        h = self._dense(self._norm(x, i, 'lconv.layers_0'), i, 'lconv.layers_1')
        features, gate = g('Split', h, axis=-1, outputs=2, num_outputs=2)
        h = self._convolve(g('Mul', features, g('Sigmoid', gate)), i)
        x = g('Add', x, self._dense(self._swish(h), i, 'lconv.layers_6'))
        x = self._feed_forward(x, i, 'feedforward_end')
        return self._norm(x, i, 'conformer_block.layers_4')

    def model(self, x: str, time: int) -> bytes:
        for i in range(self.blocks):
            x = self.block(x, i)
        self.graph.output('y', x, [1, time, self.width])
        return self.graph.model()


class _ConformerStep(_Conformer):
    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]):
        super().__init__(config, weights)
        g = self.graph
        self.x = g.input('x', _FLOAT, [1, 1, self.width])
        self._ring = _Ring(g, g.input('position', _INT64, [1]), self.past + 1)
        self._joined = g.constant([1, 1, self.width], np.int64)

    def _attend(self, qkv: str, i: int) -> str:
        g = self.graph
        shape = g.constant([3, 1, self.heads, 1, self.units], np.int64)
        parts = g('Split', g('Reshape', qkv, shape), axis=0, outputs=3, num_outputs=3)
        step = g.constant([1, self.heads, 1, self.units], np.int64)
        q, k, v = (g('Reshape', s, step) for s in parts)
        k = self._ring.append(f'k{i}', k, self.heads, self.units)
        v = self._ring.append(f'v{i}', v, self.heads, self.units)
        return g('Reshape', g('Attention', q, k, v, self._ring.mask), self._joined)

    def _convolve(self, x: str, i: int) -> str:
        g = self.graph
        history = [1, self.taps - 1, self.width]
        window = g('Concat', g.input(f'past_c{i}', _FLOAT, history), x, axis=1)
        first, last, axis = (g.constant([n], np.int64) for n in (1, self.taps, 1))
        g.output(f'present_c{i}', g('Slice', window, first, last, axis), history)
        kernel, bias = map(g.constant, self._folded(i))
        y = g('ReduceSum', g('Mul', window, kernel), axis, keepdims=1)
        return g('Add', y, bias)


class _ConformerLayer(_Conformer):
    """A whole sequence: each block of `past` queries sees its own and the previous block of keys."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray], time: int):
        super().__init__(config, weights)
        self._time, self._blocks = time, -(-time // self.past)
        self.x = self.graph.input('x', _FLOAT, [1, time, self.width])
        block, query, key = np.ogrid[: self._blocks, : self.past, : 2 * self.past]
        distance = query + self.past - key
        seen = (distance >= 0) & (distance <= self.past) & ((block > 0) | (key >= self.past))
        self._mask = self.graph.constant(seen[:, np.newaxis])

    def _attend(self, qkv: str, i: int) -> str:
        g = self.graph
        padded = self._blocks * self.past
        missing = g.constant([0, 0, 0, 0, padded - self._time, 0], np.int64)
        blocks = g.constant([self._blocks, self.past, 3, self.heads, self.units], np.int64)
        parts = g('Reshape', g('Pad', qkv, missing), blocks)
        parts = g('Transpose', parts, perm=[2, 0, 3, 1, 4])
        parts = g('Split', parts, axis=0, outputs=3, num_outputs=3)
        q, k, v = (g('Squeeze', s, g.constant([0], np.int64)) for s in parts)
        ends = [g.constant([n], np.int64) for n in (0, -1, 0)]
        nothing = g.constant(np.zeros((1, self.heads, self.past, self.units), np.float32))

        def with_previous(s: str) -> str:
            previous = g('Concat', nothing, g('Slice', s, *ends), axis=0)
            return g('Concat', previous, s, axis=2)

        y = g('Attention', q, with_previous(k), with_previous(v), self._mask)
        y = g('Reshape', g('Transpose', y, perm=[0, 2, 1, 3]),
              g.constant([1, padded, self.width], np.int64))  # fmt: skip
        first, last, axis = (g.constant([n], np.int64) for n in (0, self._time, 1))
        return g('Slice', y, first, last, axis)

    def _convolve(self, x: str, i: int) -> str:
        g = self.graph
        kernel, bias = self._folded(i)
        y = g('Transpose', x, perm=[0, 2, 1])
        y = g('Conv', y, g.constant(kernel.T[:, np.newaxis]), g.constant(bias),
              group=self.width, pads=[self.taps - 1, 0])  # fmt: skip
        return g('Transpose', y, perm=[0, 2, 1])


def conformer_step(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> bytes:
    """One step of blocks of docs/models/causal_conformer: frame and position to frame."""
    step = _ConformerStep(config, weights)
    return step.model(step.x, 1)


def conformer_layer(
    config: Mapping[str, Any], weights: Mapping[str, np.ndarray], time: int
) -> bytes:
    """A whole sequence through the blocks of docs/models/causal_conformer, with local attention."""
    layer = _ConformerLayer(config, weights, time)
    return layer.model(layer.x, time)
