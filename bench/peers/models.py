"""The models of the rows: a config of this library and random weights, which every peer is built from."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_ROOT = pathlib.Path(__file__).parents[2]
LOG_MEL = _ROOT / 'docs/models/log_mel'
SILERO = _ROOT / '.deps/silero'
Weights = dict[str, np.ndarray]


@dataclasses.dataclass
class Model:
    """A config with its weights; `kind` names the architecture for the peers, `sizes` its numbers."""

    kind: str
    config: Mapping[str, Any]
    weights: Weights
    channel_shape: tuple[int, ...]
    dtype: str = 'float32'
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def kernel_bytes(self) -> int:
        """Bytes of the kernels, each of which a step reads once."""
        return sum(a.nbytes for n, a in self.weights.items() if n.endswith('kernel'))


class _Draw:
    """Random weights by name: kernels scaled by their depth, scales around one, small biases."""

    def __init__(self, prefix: str = ''):
        self._rng = np.random.default_rng(0)
        self._prefix = prefix
        self.weights: Weights = {}

    def kernel(self, name: str, depth: int, *shape: int) -> np.ndarray:
        array = self._rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(depth))
        self.weights[f'params.{self._prefix}{name}'] = array
        return array

    def small(self, name: str, *shape: int, around: float = 0.0) -> np.ndarray:
        array = around + 0.1 * self._rng.standard_normal(shape, np.float32)
        self.weights[f'params.{self._prefix}{name}'] = array
        return array

    def dense(self, name: str, repeats: int, depth: int, *shape: int) -> None:
        self.kernel(f'{name}.kernel', depth, repeats, *shape)
        self.small(f'{name}.bias', repeats, shape[-1])

    def norm(self, name: str, repeats: int, width: int) -> None:
        self.small(f'{name}.scale', repeats, width, around=1)
        self.small(f'{name}.bias', repeats, width)


def _residual(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'Residual', 'layers': list(layers), 'name': name}


def conformer(
    width: int, blocks: int = 4, units: int = 64, past: int = 64, taps: int = 32
) -> Model:
    """Blocks of a causal conformer with local attention."""
    heads, inner = width // units, 4 * width
    norm = {'type': 'LayerNormalization'}

    def feed_forward(name: str) -> dict[str, Any]:
        return _residual(
            name,
            norm,
            {'type': 'Dense', 'features': inner, 'activation': 'swish'},
            {'type': 'Dropout', 'rate': 0.1},
            {'type': 'Dense', 'features': width},
            {'type': 'Dropout', 'rate': 0.1},
            {'type': 'Scale', 'scale': 0.5},
        )

    attention = {
        'type': 'LocalDotProductSelfAttention',
        'num_heads': heads,
        'units_per_head': units,
        'block_size': past,
        'max_past_horizon': past,
        'max_future_horizon': 0,
        'use_kv_cache_ringbuffer': True,
    }
    mix = (
        {'type': 'Dense', 'features': 2 * width},
        {'type': 'GatedLinearUnit'},
        {'type': 'DepthwiseConv1D', 'kernel_size': taps, 'padding': 'causal'},
        {'type': 'BatchNormalization'},
        {'type': 'Swish'},
        {'type': 'Dense', 'features': width},
    )
    block = [
        feed_forward('feedforward_start'),
        _residual('mhsa', norm, attention, {'type': 'DenseShaped', 'output_shape': [width]}),
        _residual('lconv', norm, *mix),
        feed_forward('feedforward_end'),
        norm,
    ]
    config = {
        'type': 'Repeat',
        'layer': {'type': 'Serial', 'layers': block, 'name': 'conformer_block'},
        'num_repeats': blocks,
        'unroll_step': True,
        'unroll_layer': True,
    }
    draw = _Draw('conformer_block.')
    for name in ('feedforward_start', 'feedforward_end'):
        draw.norm(f'{name}.layers_0', blocks, width)
        draw.dense(f'{name}.layers_1', blocks, width, width, inner)
        draw.dense(f'{name}.layers_3', blocks, inner, inner, width)
    draw.norm('mhsa.layers_0', blocks, width)
    projection = 'mhsa.layers_1.query_key_value_projection.kernel'
    draw.kernel(projection, width, blocks, width, 3, heads, units)
    draw.dense('mhsa.layers_2', blocks, width, heads, units, width)
    draw.norm('lconv.layers_0', blocks, width)
    draw.dense('lconv.layers_1', blocks, width, width, 2 * width)
    draw.dense('lconv.layers_3', blocks, taps, taps, 1, width)
    draw.norm('lconv.layers_4.BatchNorm_0', blocks, width)
    draw.dense('lconv.layers_6', blocks, width, width, width)
    draw.norm('layers_4', blocks, width)
    running = 'conformer_block.lconv.layers_4.BatchNorm_0'
    statistics = np.random.default_rng(1).standard_normal((2, blocks, width), np.float32)
    weights = draw.weights | {
        f'batch_stats.{running}.mean': 0.1 * statistics[0],
        f'batch_stats.{running}.var': np.exp(0.1 * statistics[1]),
    }
    return Model(
        'conformer',
        config,
        weights,
        (width,),
        sizes={'blocks': blocks, 'width': width, 'past': past},
    )


def decoder(blocks: int = 12, width: int = 1024, inner: int = 2752, past: int = 256) -> Model:
    """A decoder of tokens as llama.cpp's architecture `llama`: RMS norm, rotary positions, SwiGLU."""
    units, vocabulary = 64, 2048
    heads = width // units
    norm = {'type': 'RMSNormalization', 'name': 'rms_norm'}
    rotary = {'type': 'ApplyRotaryPositionalEncoding', 'max_wavelength': 10000}
    attention = {
        'type': 'DotProductSelfAttention',
        'num_heads': heads,
        'units_per_head': units,
        'max_past_horizon': past,
        'max_future_horizon': 0,
        'use_bias': False,
        'query_network': rotary,
        'key_network': rotary,
        'use_kv_cache_ringbuffer': True,
        'name': 'attention',
    }

    def dense(name: str, features: int) -> dict[str, Any]:
        return {'type': 'Dense', 'features': features, 'use_bias': False, 'name': name}

    projection = {
        'type': 'DenseShaped',
        'output_shape': [width],
        'use_bias': False,
        'name': 'output_projection',
    }
    gate = {'type': 'GatedUnit', 'feature_activation': 'swish', 'gate_activation': None}
    block = [
        _residual('self_attention', norm, attention, projection),
        _residual('ffn', norm, dense('dense1', 2 * inner), gate, dense('dense2', width)),
    ]
    config = {
        'type': 'Serial',
        'layers': [
            {
                'type': 'Embedding',
                'num_embeddings': vocabulary,
                'dimension': width,
                'name': 'embedding',
            },
            {
                'type': 'Repeat',
                'layer': {'type': 'Serial', 'layers': block, 'name': 'transformer_block'},
                'num_repeats': blocks,
                'unroll_step': True,
                'name': 'transformer_blocks',
            },
            norm | {'name': 'output_rms_norm'},
            dense('to_logits', vocabulary),
        ],
        'name': 'decoder',
    }
    draw = _Draw()
    stack = 'transformer_blocks.transformer_block.'
    draw.kernel('embedding.embedding', 1, vocabulary, width)
    draw.small('output_rms_norm.scale', width, around=1)
    draw.kernel('to_logits.kernel', width, width, vocabulary)
    projection_name = 'self_attention.attention.query_key_value_projection.kernel'
    draw.kernel(stack + projection_name, width, blocks, width, 3, heads, units)
    draw.kernel(
        stack + 'self_attention.output_projection.kernel', width, blocks, heads, units, width
    )
    draw.small(stack + 'self_attention.rms_norm.scale', blocks, width, around=1)
    draw.kernel(stack + 'ffn.dense1.kernel', width, blocks, width, 2 * inner)
    draw.kernel(stack + 'ffn.dense2.kernel', inner, blocks, inner, width)
    draw.small(stack + 'ffn.rms_norm.scale', blocks, width, around=1)
    sizes = {
        'blocks': blocks,
        'width': width,
        'inner': inner,
        'heads': heads,
        'vocabulary': vocabulary,
    }
    return Model(
        'decoder', config, draw.weights, (), 'int32', sizes | {'past': past, 'units': units}
    )


def tcn(layers: int = 8, channels: int = 16, taps: int = 3) -> Model:
    """Residual causal convolutions whose dilation doubles from layer to layer."""
    config = {
        'type': 'Serial',
        'layers': [
            _residual(
                f'block{i}',
                {
                    'type': 'Conv1D',
                    'filters': channels,
                    'kernel_size': taps,
                    'dilation_rate': 1 << i,
                    'padding': 'causal',
                    'activation': 'relu',
                    'name': 'conv',
                },
            )
            for i in range(layers)
        ],
    }
    draw = _Draw()
    for i in range(layers):
        draw.kernel(f'block{i}.conv.kernel', 2 * taps * channels, taps, channels, channels)
        draw.small(f'block{i}.conv.bias', channels)
    return Model(
        'tcn',
        config,
        draw.weights,
        (channels,),
        sizes={'layers': layers, 'channels': channels, 'taps': taps},
    )


def rnn(kind: str, units: int) -> Model:
    """An LSTM or a GRU as wide as its input; sizes['problem'] has the weights by gate."""
    from sequence_layers_benches import bench_rnn

    problem = bench_rnn.Problem(kind, units, 1)
    config, weights = (bench_rnn.lstm if kind == 'LSTM' else bench_rnn.rnn)(problem)
    return Model(
        'rnn', config, weights, (units,), sizes={'kind': kind, 'units': units, 'problem': problem}
    )


def log_mel() -> Model:
    """Log-mel features of speech at 16 kHz: frames of 25 ms every 10 ms, 80 bands."""
    config = json.loads((LOG_MEL / 'config.json').read_text())
    return Model('log_mel', config, {}, ())


def s4() -> Model:
    """256 channels with 64 states each, which whole sequences convolve."""
    from sequence_layers_benches import bench_s4

    weights = bench_s4.random_weights()
    config = {'type': 'S4', 'state_size': 64, 'kernel_length': 5000}
    return Model('s4', config, weights, (len(weights['params.d']),))


def s4d() -> Model:
    """256 channels with 32 diagonal complex states each."""
    channels, states = 256, 32
    rng = np.random.default_rng(0)
    step = rng.uniform(np.log(0.001), np.log(0.1), channels)
    weights = {
        'lambda_im': np.pi * np.arange(states) + 0.01 * rng.standard_normal((channels, states)),
        'log_neg_lambda_re': np.log(0.5) + 0.01 * rng.standard_normal((channels, states)),
        'c': np.sqrt(0.5) * rng.standard_normal((channels, states, 2)),
        'log_step': step,
        'd': rng.standard_normal(channels),
    }
    typed = {f'params.{name}': value.astype(np.float32) for name, value in weights.items()}
    return Model('s4d', {'type': 'S4D', 'state_size': 2 * states}, typed, (channels,))


def silero_vad() -> Model:
    """The voice activity detector with its own weights."""
    from sequence_layers_tools import silero_vad as vad

    parameters = vad.read_parameters(vad.onnx_path(SILERO, 'silero_vad_16k_op15'))
    return Model('vad', vad.config(), vad.weights(parameters), ())


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution over time and bins, with zeros around so that a stride of one keeps their numbers."""

    filters: int
    kernel: tuple[int, int]
    stride: int = 1  # over bins
    dilation: int = 1  # over time
    activation: str | None = 'relu'  # also 'sigmoid'


@dataclasses.dataclass(frozen=True)
class Pool:
    """The maximum of each field, without overlap; what is left over at the end is dropped."""

    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Branches:
    """Networks side by side, whose channels are joined."""

    branches: tuple[tuple['Node', ...], ...]


Node = Conv | Pool | Branches


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of that size, as SAME has them."""
    missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return missing // 2, missing - missing // 2


class _Network:
    """Configs and weights of nodes, with the numbers of bins and channels between them."""

    def __init__(self) -> None:
        self.draw = _Draw()

    def layers(self, nodes: tuple[Node, ...], bins: int, channels: int, path: str):
        """The layers of a chain; also bins and channels behind it."""
        made = []
        for i, node in enumerate(nodes):
            name = f'layers_{i}'
            layer, bins, channels = self._layer(node, bins, channels, f'{path}{name}', name)
            made.append(layer)
        return made, bins, channels

    def _layer(self, node: Node, bins: int, channels: int, path: str, name: str):
        if isinstance(node, Branches):
            made = []
            for k, branch in enumerate(node.branches):
                inner, out, width = self.layers(branch, bins, channels, f'{path}.branch{k}.')
                made.append(({'type': 'Serial', 'layers': inner, 'name': f'branch{k}'}, width))
            layers = [layer for layer, _ in made]
            joined = {'type': 'Parallel', 'layers': layers, 'combination': 'concat', 'name': name}
            return joined, out, sum(width for _, width in made)
        if isinstance(node, Pool):
            pooled = {
                'type': 'MaxPooling2D', 'pool_size': list(node.size), 'strides': list(node.size),
                'time_padding': 'valid', 'spatial_padding': 'valid', 'name': name,
            }  # fmt: skip
            return pooled, bins // node.size[1], channels
        time, width = node.kernel
        self.draw.kernel(
            f'{path}.kernel', time * width * channels / 2, time, width, channels, node.filters
        )
        self.draw.small(f'{path}.bias', node.filters)
        layer = {
            'type': 'Conv2D', 'filters': node.filters, 'kernel_size': list(node.kernel),
            'strides': [1, node.stride], 'dilation_rate': [node.dilation, 1],
            'time_padding': 'same' if time > 1 else 'causal',  # which is the same, but steps
            'spatial_padding': list(same_padding(bins, width, node.stride)),
            'activation': node.activation, 'name': name,
        }  # fmt: skip
        return layer, -(-bins // node.stride), node.filters


def cnn(nodes: tuple[Node, ...], bins: int, channels: int = 1) -> Model:
    """A network of convolutions over time and bins."""
    network = _Network()
    layers, _, _ = network.layers(nodes, bins, channels, '')
    config = {'type': 'Serial', 'layers': layers}
    return Model('cnn', config, network.draw.weights, (bins, channels), sizes={'nodes': nodes})


# Convolutions of the shapes that published networks have, with random weights.
PLCMOS = (
    Conv(32, (3, 3), dilation=2), Pool((1, 4)), Conv(64, (3, 3), dilation=2), Pool((1, 4)),
    Conv(128, (3, 3), dilation=2), Pool((1, 4)), Conv(128, (1, 4)),
)  # fmt: skip
DNSMOS = (
    Conv(128, (3, 3)), Conv(64, (3, 3)), Conv(64, (3, 3)), Conv(32, (3, 3)), Pool((2, 2)), Conv(32, (3, 3)),
    Pool((2, 2)), Conv(32, (3, 3)), Pool((2, 2)), Conv(64, (3, 3)),
)  # fmt: skip
BASIC_PITCH = (
    Branches((
        (Conv(8, (3, 39)), Conv(1, (5, 5), activation='sigmoid'), Conv(32, (7, 7), stride=3),
         Conv(1, (7, 3), activation='sigmoid')),
        (Conv(32, (5, 5), stride=3),),
    )),
    Conv(1, (3, 3), activation='sigmoid'),
)  # fmt: skip
CREPE = (
    Conv(1024, (1, 512), stride=4), Pool((1, 2)), Conv(128, (1, 64)), Pool((1, 2)), Conv(128, (1, 64)), Pool((1, 2)),
    Conv(128, (1, 64)), Pool((1, 2)), Conv(256, (1, 64)), Pool((1, 2)), Conv(512, (1, 64)), Pool((1, 2)),
    Conv(360, (1, 4), stride=4, activation='sigmoid'),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FilterBank:
    """Magnitudes of complex filters over a signal: the constant-Q transform of a pitch tracker."""

    bins: int
    taps: int
    hop: int


PESTO_BANK = FilterBank(bins=251, taps=16384, hop=160)
PESTO = (
    Conv(40, (1, 39)), Conv(40, (1, 39)), Conv(30, (1, 1)), Conv(30, (1, 1)), Conv(10, (1, 1)), Conv(3, (1, 1)),
    Conv(384, (1, 251), stride=251, activation=None),
)  # fmt: skip


def pesto() -> Model:
    """A network of the shape of PESTO on a signal at 16 kHz: filters, normalization, convolutions over bins."""
    bank, network = PESTO_BANK, _Network()
    draw = network.draw
    nodes, _, _ = network.layers(PESTO, bank.bins, 1, 'network.')
    draw.kernel('filters.kernel', bank.taps, bank.taps, 1, 2 * bank.bins)
    draw.small('norm.scale', bank.bins, around=1)
    draw.small('norm.bias', bank.bins)
    layers = [
        {'type': 'ExpandDims', 'axis': -1},
        {
            'type': 'Conv1D', 'filters': 2 * bank.bins, 'kernel_size': bank.taps, 'strides': bank.hop,
            'padding': 'causal', 'use_bias': False, 'name': 'filters',
        },
        {'type': 'Reshape', 'output_shape': [2, bank.bins]},
        {'type': 'Power', 'power': 2.0},
        {'type': 'Sum', 'axis': -2},
        {'type': 'Power', 'power': 0.5},
        {'type': 'LayerNormalization', 'name': 'norm'},
        {'type': 'ExpandDims', 'axis': -1},
        {'type': 'Serial', 'layers': nodes, 'name': 'network'},
    ]  # fmt: skip
    config = {'type': 'Serial', 'layers': layers}
    return Model('pesto', config, draw.weights, (), sizes={'bank': bank, 'nodes': PESTO})


def resemblyzer(bands: int = 40, units: int = 256, layers: int = 3) -> Model:
    """LSTMs on mel bands and an embedding of unit length, as the speaker encoder of Resemblyzer has them."""
    draw, made = _Draw(), []
    for i in range(layers):
        inputs = units if i else bands
        draw.kernel(f'lstm{i}.kernel.kernel', 2 * inputs, inputs, 4 * units)
        draw.kernel(f'lstm{i}.recurrent_kernel.kernel', 2 * units, units, 4 * units)
        draw.small(f'lstm{i}.bias', 4 * units)
        made.append({'type': 'LSTM', 'units': units, 'name': f'lstm{i}'})
    draw.kernel('embedding.kernel', units, units, units)
    draw.small('embedding.bias', units)
    made += [
        {'type': 'Dense', 'features': units, 'activation': 'relu', 'name': 'embedding'},
        {'type': 'L2Normalize'},
    ]
    config = {'type': 'Serial', 'layers': made}
    sizes = {'units': units, 'layers': layers}
    return Model('resemblyzer', config, draw.weights, (bands,), sizes=sizes)
