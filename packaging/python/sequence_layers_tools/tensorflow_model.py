"""Builds a config in the TensorFlow version of sequence_layers, which has no configs of its own.

Types that both versions have keep their JAX names and fields. `Frame` of whole frames stands for
TensorFlow's `Squeeze`, and `LSTM` and `RNN` stand for its RNN of a Keras cell. Any other type exists in
TensorFlow alone, and its fields are the arguments of its constructor.
"""

import dataclasses
import os
import typing
from collections.abc import Callable

import numpy as np

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import sequence_layers.tensorflow as sl  # noqa: E402
import tensorflow as tf  # noqa: E402

Weights = dict[str, np.ndarray]
# Functions by the names that JAX and configs use.
_FUNCTIONS = {
    'gelu': lambda x: tf.nn.gelu(x, approximate=True),
    'relu': tf.nn.relu,
    'sigmoid': tf.nn.sigmoid,
    'softplus': tf.nn.softplus,
    'swish': tf.nn.silu,
    'tanh': tf.nn.tanh,
    'elu': tf.nn.elu,
}


@dataclasses.dataclass
class Node:
    """A layer of the TensorFlow version, with its weights."""

    layer: sl.SequenceLayer
    # Returns the weights in the library's names and layouts; call it after the layer has run.
    weights: Callable[[], Weights]


def _own_weights(layer: sl.SequenceLayer) -> Weights:
    """Weights by TensorFlow's names, as paths below the layer."""
    weights = {}
    for variable in layer.variables:
        parts = variable.name.removesuffix(':0').split('/')
        if parts[0] == layer.name:
            parts = parts[1:]
        weights['.'.join(parts)] = variable.numpy()
    return weights


def _leaf_weights(layer: sl.SequenceLayer) -> Weights:
    """Weights by the last part of their names."""
    return {name.rpartition('.')[2]: array for name, array in _own_weights(layer).items()}


def _below(path: str, weights: Weights) -> Weights:
    return {f'{path}.{name}': array for name, array in weights.items()}


def _named(config: dict, default: str) -> str:
    return config.get('name', default)


def _children(configs: list[dict]) -> tuple[list, Callable[[], Weights]]:
    """Layers in one scope; those without a name are named by their number."""
    nodes = [build(config) for config in configs]
    names = [_named(config, f'layers_{i}') for i, config in enumerate(configs)]

    def weights():
        return {
            key: array
            for name, node in zip(names, nodes, strict=True)
            for key, array in _below(name, node.weights()).items()
        }

    return [node.layer for node in nodes], weights


def _one_or_many(value: dict | list[dict], name: str) -> tuple[typing.Any, Callable[[], Weights]]:
    if isinstance(value, list):
        return _children(value)
    node = build(value)
    return node.layer, lambda: _below(_named(value, name), node.weights())


def _serial(config: dict) -> Node:
    layers, weights = _children(config['layers'])
    return Node(sl.Serial(layers), weights)


def _residual(config: dict) -> Node:
    layers, weights = _children(config['layers'])
    shortcut = config.get('shortcut_layers')
    if not shortcut:
        return Node(sl.Residual(layers), weights)
    node = build(shortcut)
    name = _named(shortcut, 'shortcut_layer')
    return Node(
        sl.Residual(layers, node.layer), lambda: weights() | _below(name, node.weights())
    )


def _autoregressive(config: dict) -> Node:
    layer, weights = _one_or_many(config['layer'], 'layer')
    feedback = config.get('feedback_layer')
    if feedback is None:
        return Node(sl.Autoregressive(layer, name=config.get('name')), weights)
    feedback_layer, feedback_weights = _one_or_many(feedback, 'feedback_layer')

    def all_weights():
        own = feedback_weights()
        return weights() | (_below('feedback_layer', own) if isinstance(feedback, list) else own)

    return Node(sl.Autoregressive(layer, feedback_layer, name=config.get('name')), all_weights)


def _skip(config: dict) -> Node:
    layer, weights = _one_or_many(config['layer'], 'layer')
    return Node(sl.Skip(layer), weights)


def _dense(config: dict) -> Node:
    layer = sl.Dense(
        config['features'],
        activation=_FUNCTIONS.get(config.get('activation')),
        use_bias=config.get('use_bias', True),
    )
    return Node(layer, lambda: _leaf_weights(layer))


def _conv1d(config: dict) -> Node:
    given = {k: v for k, v in config.items() if k not in ('type', 'padding', 'name')}
    if config['padding'] != 'causal_valid':
        raise ValueError(f'padding {config["padding"]} is not built here')
    layer = sl.Conv1D(**given, padding='causal')
    return Node(layer, lambda: _leaf_weights(layer))


def _embedding(config: dict) -> Node:
    layer = sl.Embedding(config['dimension'], config['num_embeddings'])
    return Node(layer, lambda: {'embedding': _leaf_weights(layer)['embeddings']})


def _frame(config: dict) -> Node:
    if config['frame_step'] != config['frame_length'] or config['padding'] != 'causal_valid':
        raise ValueError('TensorFlow has no other frames than those of a Squeeze')
    return Node(sl.Squeeze(config['frame_length']), dict)


def _squeeze_time(config: dict) -> Node:
    return Node(sl.Squeeze(config['factor'], config.get('padding', 'causal')), dict)


def _assert_channel_spec(config: dict) -> Node:
    shape, dtype = config.get('expected_channel_shape'), config.get('expected_dtype')
    layer = sl.AssertChannelSpec(
        None if shape is None else tf.TensorShape(shape),
        None if dtype is None else tf.as_dtype(dtype),
    )
    return Node(layer, dict)


def _lstm(config: dict) -> Node:
    layer = sl.RNN(tf.keras.layers.LSTMCell(config['units']))

    def weights():
        own = _leaf_weights(layer)
        return {
            'kernel.kernel': own['kernel'],
            'recurrent_kernel.kernel': own['recurrent_kernel'],
            'bias': own['bias'],
        }

    return Node(layer, weights)


def _rnn(config: dict) -> Node:
    cell = config['cell']
    if cell['type'] != 'GRUCell':
        raise ValueError(f'a {cell["type"]} is not built here')
    layer = sl.RNN(tf.keras.layers.GRUCell(cell['features']))

    def weights():
        own = _leaf_weights(layer)
        kernels = np.split(own['kernel'], 3, axis=1)
        recurrent = np.split(own['recurrent_kernel'], 3, axis=1)
        bias, recurrent_bias = (np.split(b, 3) for b in own['bias'])
        result = {'hn.bias': recurrent_bias[2], 'in.bias': bias[2]}
        for i, gate in enumerate('zrn'):
            result |= {f'i{gate}.kernel': kernels[i], f'h{gate}.kernel': recurrent[i]}
        for i, gate in enumerate('zr'):
            result[f'i{gate}.bias'] = bias[i] + recurrent_bias[i]
        return _below('cell', result)

    return Node(layer, weights)


def _upsample_conditioning(config: dict) -> Node:
    kind = sl.UpsampleConditioning
    layer = kind(
        config['conditioning_name'],
        kind.Projection[config['projection'].upper()],
        kind.Combination[config['combination'].upper()],
        config['upsample_ratio'],
        name=config.get('name'),
    )
    return Node(layer, _mixing_weights(layer, config))


class _NoNoise(sl.NoiseSampler):
    """Noise for inference: zero."""

    def sample(self, sample_spec):
        return tf.zeros(sample_spec.shape, sample_spec.dtype)


def _noise_conditioning(config: dict) -> Node:
    kind = sl.NoiseConditioning
    layer = kind(
        config['noise_channel_shape'],
        _NoNoise(),
        kind.Projection[config['projection'].upper()],
        kind.Combination[config['combination'].upper()],
        name=config.get('name'),
    )
    return Node(layer, _mixing_weights(layer, config))


def _mixing_weights(layer: sl.SequenceLayer, config: dict) -> Callable[[], Weights]:
    """The weights of the projection, which TensorFlow stores as a matrix."""

    def weights():
        if config['projection'] == 'identity':
            return {}
        own = _leaf_weights(layer)
        shape = list(layer._dense_shaped._output_shape)
        inputs = config.get('noise_channel_shape') or list(own['kernel'].shape[:-1])
        return {
            'dense.kernel': own['kernel'].reshape(inputs + shape),
            'dense.bias': own['bias'].reshape(shape),
        }

    return weights


_BUILDERS = {
    'AssertChannelSpec': _assert_channel_spec,
    'Autoregressive': _autoregressive,
    'Conv1D': _conv1d,
    'Dense': _dense,
    'Embedding': _embedding,
    'Frame': _frame,
    'LSTM': _lstm,
    'NoiseConditioning': _noise_conditioning,
    'RNN': _rnn,
    'Residual': _residual,
    'Serial': _serial,
    'Skip': _skip,
    'SqueezeTime': _squeeze_time,
    'UpsampleConditioning': _upsample_conditioning,
}


def build(config: dict) -> Node:
    """Builds the layer of a config's object."""
    if make := _BUILDERS.get(config['type']):
        return make(config)
    arguments = {k: v for k, v in config.items() if k != 'type'}
    for key, value in arguments.items():
        if key.endswith('activation') and value is not None:
            arguments[key] = _FUNCTIONS[value]
    layer = getattr(sl, config['type'])(**arguments)
    return Node(layer, lambda: _own_weights(layer))
