"""Records what the reference computes for random nested trees of layers, as golden cases.

  .deps/reference-venv/bin/python -m sequence_layers_tools.random_trees --count 300 --out trees/
  sl golden trees

Trees have up to `--depth` nested combinators, with shared scopes, emits and constants. Trees that the
reference refuses are counted and left out. A seed always gives the same trees. Needs the reference:
requirements-reference.txt.
"""

import argparse
import collections
import json
import pathlib
import random
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

# Imported before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import model_directory, recording, reference_config  # isort: skip
from sequence_layers import jax as sl

Json = dict[str, Any]

_POINTWISE = ('Relu', 'Tanh', 'Sigmoid', 'Swish', 'Gelu', 'Elu', 'Softplus', 'Abs', 'Softmax')
_ACTIVATIONS = (None, 'relu', 'tanh', 'gelu', 'swish')
_PADDINGS = ('causal', 'causal_valid', 'reverse_causal', 'reverse_causal_valid', 'same', 'semicausal')
_CONSTANT = 'conditioning'
_SOURCE = 'source'
_CONSTANT_CHANNELS, _SOURCE_CHANNELS, _SOURCE_TIME = 3, 4, 5


class Generator:
    """Makes random layer configs for sequences of vectors, with the size of their outputs."""

    def __init__(self, seed: int, depth: int):
        self._random = random.Random(seed)
        self._depth = depth
        self._names = 0
        self._steppable = self._random.random() < 0.8
        self.constants: set[str] = set()

    def tree(self, channels: int) -> Json:
        return self._combinator(channels, self._depth)[0]

    def _named(self, config: Json) -> Json:
        self._names += 1
        if self._random.random() < 0.6:
            config['name'] = f'n{self._names}'
        return config

    def _layer(self, channels: int, depth: int, keeps: bool = False) -> tuple[Json, int]:
        if depth > 1 and self._random.random() < 0.5:
            return self._combinator(channels, depth - 1, keeps)
        return self._leaf(channels, keeps)

    def _chain(self, channels: int, depth: int, keeps: bool) -> list[Json]:
        """One to three layers. If `keeps` is true, the output has the size of the input."""
        layers, size = [], channels
        for _ in range(self._random.randint(1, 3)):
            config, size = self._layer(size, depth, keeps)
            layers.append(config)
        if keeps and size != channels:
            layers.append(self._named({'type': 'Dense', 'features': channels}))
        self._size = channels if keeps else size
        return layers

    def _combinator(self, channels: int, depth: int, keeps: bool = False) -> tuple[Json, int]:
        kinds = ['Serial', 'Residual', 'Parallel', 'Repeat', 'CheckpointGradient']
        if not self._steppable:
            kinds.append('Bidirectional')
        kind = self._random.choice(kinds)
        return getattr(self, '_' + kind.lower())(channels, depth, keeps)

    def _serial(self, channels: int, depth: int, keeps: bool) -> tuple[Json, int]:
        layers = self._chain(channels, depth, keeps)
        config = {'type': 'Serial', 'layers': layers}
        if self._random.random() < 0.25:
            config['share_scope'] = [self._random.random() < 0.5 for _ in layers]
        return self._named(config), self._size

    def _residual(self, channels: int, depth: int, keeps: bool) -> tuple[Json, int]:
        config = {'type': 'Residual', 'layers': self._chain(channels, depth, True)}
        return self._named(config), channels

    def _parallel(self, channels: int, depth: int, keeps: bool) -> tuple[Json, int]:
        if keeps or self._random.random() < 0.5:
            branches = [self._chain(channels, depth, True) for _ in range(2)]
            combination, size = self._random.choice(('add', 'mean')), channels
        else:
            branches, sizes = [], []
            for _ in range(2):
                branches.append(self._chain(channels, depth, False))
                sizes.append(self._size)
            combination, size = 'concat', sum(sizes)
        layers = [self._named({'type': 'Serial', 'layers': branch}) for branch in branches]
        config = {'type': 'Parallel', 'layers': layers, 'combination': combination}
        return self._named(config), size

    def _repeat(self, channels: int, depth: int, keeps: bool) -> tuple[Json, int]:
        body = self._named({'type': 'Serial', 'layers': self._chain(channels, depth, True)})
        config = {'type': 'Repeat', 'layer': body, 'num_repeats': self._random.randint(1, 3)}
        return self._named(config), channels

    def _checkpointgradient(self, channels: int, depth: int, keeps: bool) -> tuple[Json, int]:
        layer, size = self._layer(channels, depth, keeps)
        return self._named({'type': 'CheckpointGradient', 'layer': layer}), size

    def _bidirectional(self, channels: int, depth: int, keeps: bool) -> tuple[Json, int]:
        forward, backward = (
            self._named({'type': 'Serial', 'layers': self._chain(channels, depth, True)})
            for _ in range(2)
        )
        combination = 'add' if keeps else self._random.choice(('add', 'concat'))
        config = {
            'type': 'Bidirectional',
            'forward': forward,
            'backward': backward,
            'combination': combination,
        }
        return self._named(config), channels * (2 if combination == 'concat' else 1)

    def _leaf(self, channels: int, keeps: bool) -> tuple[Json, int]:
        pick = self._random
        size = channels if keeps else pick.choice((2, 4, 6))
        padding = pick.choice(_PADDINGS[:2] if self._steppable and pick.random() < 0.7 else _PADDINGS)
        kernel = {'kernel_size': pick.randint(1, 4), 'padding': padding}
        makers = {
            'pointwise': lambda: ({'type': pick.choice(_POINTWISE)}, channels),
            'dense': lambda: (
                {'type': 'Dense', 'features': size, 'activation': pick.choice(_ACTIVATIONS)},
                size,
            ),
            'conv': lambda: ({'type': 'Conv1D', 'filters': size, **kernel}, size),
            'strided': lambda: ({'type': 'Conv1D', 'filters': size, 'strides': 2, **kernel}, size),
            'transposed': lambda: (
                {
                    'type': 'Conv1DTranspose',
                    'filters': size,
                    'kernel_size': pick.randint(2, 4),
                    'strides': 2,
                    'padding': 'causal',
                },
                size,
            ),
            'depthwise': lambda: ({'type': 'DepthwiseConv1D', **kernel}, channels),
            'norm': lambda: (
                {
                    'type': pick.choice(
                        ('LayerNormalization', 'RMSNormalization', 'BatchNormalization')
                    )
                },
                channels,
            ),
            'lstm': lambda: ({'type': 'LSTM', 'units': size}, size),
            'rglru': lambda: ({'type': 'RGLRU', 'units': size, 'num_heads': 1}, size),
            'attention': lambda: (
                {
                    'type': 'Serial',
                    'layers': [
                        self._named(
                            {
                                'type': 'DotProductSelfAttention',
                                'num_heads': 2,
                                'units_per_head': size // 2,
                                'max_past_horizon': pick.randint(1, 5),
                                'max_future_horizon': pick.choice((0, 0, 1)),
                            }
                        ),
                        {'type': 'Flatten'},
                    ],
                },
                size,
            ),
            'source': lambda: self._source(size),
            'conditioning': lambda: self._conditioning(channels),
            'emit': lambda: ({'type': 'Emit'}, channels),
            'delay': lambda: ({'type': 'Delay', 'length': pick.randint(1, 3)}, channels),
            'scale': lambda: ({'type': 'Scale', 'scale': pick.choice((0.5, -2.0))}, channels),
            'timing': lambda: ({'type': 'AddTimingSignal'}, channels),
            'pooling': lambda: (
                {
                    'type': pick.choice(('MaxPooling1D', 'AveragePooling1D')),
                    'pool_size': 2,
                    'padding': padding,
                },
                channels,
            ),
        }
        if size % 2:
            makers.pop('attention')
        if keeps or self._depth > 2 and pick.random() < 0.7:
            # Layers that change the rate rarely match the branch beside them.
            makers.pop('strided'), makers.pop('transposed')
        config, size = makers[pick.choice(sorted(makers))]()
        return self._named(config), size

    def _source(self, size: int) -> tuple[Json, int]:
        self.constants.add(_SOURCE)
        attention = {
            'type': 'DotProductAttention',
            'source_name': _SOURCE,
            'num_heads': 2,
            'units_per_head': max(1, size // 2),
        }
        config = {'type': 'Serial', 'layers': [self._named(attention), {'type': 'Flatten'}]}
        return config, 2 * max(1, size // 2)

    def _conditioning(self, channels: int) -> tuple[Json, int]:
        self.constants.add(_CONSTANT)
        combination = self._random.choice(('add', 'affine', 'mul'))
        projection = 'linear_affine' if combination == 'affine' else 'linear'
        config = {
            'type': 'Conditioning',
            'conditioning_name': _CONSTANT,
            'projection': projection,
            'combination': combination,
        }
        return config, channels


def _random_sequence(rng: np.random.Generator, time: int, channels: int) -> sl.Sequence:
    values = rng.standard_normal((2, time, channels), np.float32)
    lengths = np.array([time, max(1, time - 3)])
    return sl.Sequence.from_lengths(jnp.asarray(values), jnp.asarray(lengths)).mask_invalid()


def _variables(layer: sl.SequenceLayer, rng: np.random.Generator, x: sl.Sequence, constants) -> Json:
    """Initialized variables, changed so that no value stays trivial."""
    made = layer.init(jax.random.key(0), x, training=False, constants=constants)
    flat = flax.traverse_util.flatten_dict(flax.core.unfreeze(flax.core.meta.unbox(made)))
    for path, value in flat.items():
        noise = rng.standard_normal(value.shape, np.float32)
        spread = value * np.exp(0.3 * noise) if path[-1] == 'var' else value + 0.1 * noise
        flat[path] = jnp.asarray(spread, value.dtype)
    return flat


def record(seed: int, depth: int) -> tuple[Json, dict[str, np.ndarray]]:
    """Records one case and its tensors; raises what the reference raises."""
    generator, rng = Generator(seed, depth), np.random.default_rng(seed)
    channels = rng.choice((3, 4, 6)).item()
    config = generator.tree(channels)
    layer = reference_config.from_json(config).make()
    block = layer.bind({}).block_size
    time = max(8, -(-10 // block) * block)
    x = _random_sequence(rng, time, channels)
    constants = {}
    if _CONSTANT in generator.constants:
        constants[_CONSTANT] = _random_sequence(rng, time, _CONSTANT_CHANNELS)
    if _SOURCE in generator.constants:
        constants[_SOURCE] = _random_sequence(rng, _SOURCE_TIME, _SOURCE_CHANNELS)
    flat = _variables(layer, rng, x, constants or None)
    variables = flax.traverse_util.unflatten_dict(flat)
    bound = layer.clone(name=layer.name or 'top').bind(variables)
    with jax.default_matmul_precision('highest'):
        y, emits = bound.layer_with_emits(x, training=False, constants=constants or None)
    y = y.mask_invalid()
    name = f'tree_{depth}_{seed}'
    found = recording.flat_emits(emits)
    case = {
        'name': name,
        **recording.metadata(bound),
        'input': {'channel_shape': [channels], 'dtype': 'float32'},
        'output': {'channel_shape': list(y.channel_shape), 'dtype': y.dtype.name},
        'constants': {key: 'sequence' for key in constants},
        'stream_constants': bool(constants.get(_CONSTANT)),
        'emits': sorted(found),
        'rtol': 1e-4,
        'atol': 1e-4,
        'padding_invariance_pad_value': 'nan',
        'test_padding_invariance': True,
        'test_batching': True,
        'test_2x_step': True,
        'config': config,
    }
    tensors = {'weights/' + '.'.join(path): value for path, value in flat.items()}
    for key, value in {'input': x, 'output': y}.items():
        tensors[f'{key}.values'], tensors[f'{key}.mask'] = value.values, value.mask
    for key, value in constants.items():
        tensors[f'constants.{key}.values'], tensors[f'constants.{key}.mask'] = value.values, value.mask
    tensors.update({f'emits.{path}': value for path, value in found.items()})
    return case, {f'{name}/{key}': np.asarray(value) for key, value in tensors.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--count', type=int, default=300)
    parser.add_argument('--depth', type=int, default=3)
    parser.add_argument('--seed', type=int, default=0, help='of the first tree')
    parser.add_argument('--out', type=pathlib.Path, required=True)
    options = parser.parse_args()
    cases, tensors, refused = [], {}, collections.Counter()
    seed = options.seed
    while len(cases) < options.count:
        try:
            case, its_tensors = record(seed, options.depth)
            cases.append(case)
            tensors.update(its_tensors)
        except Exception as error:  # pylint: disable=broad-except
            refused[f'{type(error).__name__}: {str(error)[:80]}'] += 1
        seed += 1
    options.out.mkdir(parents=True, exist_ok=True)
    model_directory.write_tensors(options.out / 'Trees.safetensors', tensors)
    document = {'type': 'Trees', 'cases': cases}
    (options.out / 'Trees.json').write_text(json.dumps(document, separators=(',', ':')))
    print(f'{len(cases)} trees recorded, {sum(refused.values())} refused by the reference')
    for reason, count in refused.most_common(20):
        print(f'{count:5} {reason}')


if __name__ == '__main__':
    main()
