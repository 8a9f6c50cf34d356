"""Records what the JAX reference gives for the models of the bindings' suite.

  PYTHONPATH=packaging/python python packaging/bindings/record.py packaging/bindings/recorded

Writes for each model its directory and, beside it, `reference.safetensors`: inputs, constants, outputs.
Needs the reference: requirements-reference.txt.
"""

import argparse
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sequence_layers import jax as sl

# Imported before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import (
    convert,
    model_directory,
    random_model,
    recording,
    reference_config,
)  # isort: skip

Json = dict[str, Any]

BATCH, TIME, CHANNELS, SOURCE_TIME = 2, 48, 8, 9
VOCABULARY, START, PROMPT, GENERATED = 24, 1, (5, 17, 3, 3, 11), 32
# How much more likely the greedy choice is than any other, so that rounding does not change it.
MARGIN = 1e-3


def _residual(name: str, *layers: Json) -> Json:
    return {
        'type': 'Residual',
        'layers': [{'type': 'LayerNormalization', 'name': 'norm'}, *layers],
        'name': name,
    }


def _dense(features: int, name: str, activation: str | None = None) -> Json:
    config = {'type': 'Dense', 'features': features, 'name': name}
    return config | ({'activation': activation} if activation else {})


def _attention(past: int) -> Json:
    return {
        'type': 'LocalDotProductSelfAttention',
        'num_heads': 2,
        'units_per_head': 8,
        'block_size': 4,
        'max_past_horizon': past,
        'max_future_horizon': 0,
        'name': 'attention',
    }


def _project() -> Json:
    return {'type': 'DenseShaped', 'output_shape': [16], 'name': 'project'}


def _feedforward(name: str) -> Json:
    return _residual(name, _dense(32, 'dense1', 'swish'), _dense(16, 'dense2'))


def conformer() -> Json:
    """A causal conformer that reads all kinds of constants: streamed, whole, and without time."""
    convolution = _residual(
        'convolution',
        _dense(32, 'dense1'),
        {'type': 'GatedLinearUnit'},
        {'type': 'DepthwiseConv1D', 'kernel_size': 5, 'padding': 'causal', 'name': 'depthwise'},
        {'type': 'BatchNormalization', 'name': 'batch_norm'},
        {'type': 'Swish'},
        _dense(16, 'dense2'),
    )
    block = {
        'type': 'Serial',
        'layers': [
            _feedforward('feedforward_start'),
            _residual('self_attention', _attention(8), _project()),
            convolution,
            _feedforward('feedforward_end'),
            {'type': 'LayerNormalization', 'name': 'norm'},
        ],
        'name': 'block',
    }
    source = {
        'type': 'DotProductAttention',
        'source_name': 'source',
        'num_heads': 2,
        'units_per_head': 8,
        'name': 'attention',
    }
    return {
        'type': 'Serial',
        'layers': [
            {
                'type': 'Conditioning',
                'conditioning_name': 'control',
                'projection': 'linear',
                'combination': 'add',
                'streaming': True,
                'name': 'control',
            },
            {
                'type': 'Conv1D',
                'filters': 16,
                'kernel_size': 3,
                'strides': 2,
                'padding': 'causal',
                'activation': 'swish',
                'name': 'subsample',
            },
            {
                'type': 'Conditioning',
                'conditioning_name': 'speaker',
                'projection': 'linear_affine',
                'combination': 'affine',
                'name': 'speaker',
            },
            {'type': 'Repeat', 'layer': block, 'num_repeats': 2, 'name': 'blocks'},
            _residual('cross_attention', source, _project()),
            {'type': 'NamedEmit', 'emit_name': 'encoded'},
            _dense(6, 'out'),
        ],
        'name': 'conformer',
    }


def decoder() -> Json:
    """A transformer over tokens with a window of the past."""
    block = {
        'type': 'Serial',
        'layers': [
            _residual('self_attention', _attention(12), _project()),
            _feedforward('feedforward'),
        ],
        'name': 'block',
    }
    return {
        'type': 'Serial',
        'layers': [
            {
                'type': 'Embedding',
                'num_embeddings': VOCABULARY,
                'dimension': 16,
                'name': 'embedding',
            },
            {'type': 'Repeat', 'layer': block, 'num_repeats': 2, 'name': 'blocks'},
            {'type': 'LayerNormalization', 'name': 'norm'},
            _dense(VOCABULARY, 'logits'),
        ],
        'name': 'decoder',
    }


class _Reference:
    """A model of the reference with random weights."""

    def __init__(self, config: Json, x: sl.Sequence, constants: Any = None, seed: int = 0):
        self._layer = reference_config.from_json(config).make()
        made = jax.eval_shape(
            lambda: self._layer.init(jax.random.key(0), x, training=False, constants=constants)
        )
        self.weights = random_model.weights(convert.shapes(made), seed)
        self._variables = convert.unflatten(self.weights)

    def __call__(self, x: sl.Sequence, constants: Any = None) -> tuple[sl.Sequence, Any]:
        with jax.default_matmul_precision('highest'):
            y, emits = self._layer.apply(
                self._variables,
                x,
                training=False,
                constants=constants,
                method='layer_with_emits',
            )
        return y.mask_invalid(), emits


def _sequence(rng: np.random.Generator, lengths: tuple[int, ...], channels: int) -> sl.Sequence:
    """Random steps, of which those at or after an item's length are invalid and zero."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]
    values = rng.standard_normal((*mask.shape, channels), np.float32) * mask[..., np.newaxis]
    return sl.Sequence(jnp.asarray(values), jnp.asarray(mask))


def _arrays(name: str, sequence: sl.Sequence) -> dict[str, np.ndarray]:
    return {
        f'{name}.values': np.asarray(sequence.values),
        f'{name}.mask': np.asarray(sequence.mask),
    }


def record_conformer(directory: pathlib.Path) -> None:
    rng = np.random.default_rng(1)
    # Item 1 ends in the middle of a block.
    x = _sequence(rng, (TIME, TIME - 11), CHANNELS)
    control = _sequence(rng, (TIME, TIME), 3)
    source = _sequence(rng, (SOURCE_TIME, SOURCE_TIME - 4), 6)
    speaker = rng.standard_normal((BATCH, 4), np.float32)
    constants = {'control': control, 'source': source, 'speaker': jnp.asarray(speaker)}
    model = _Reference(conformer(), x, constants)
    y, emits = model(x, constants)
    tensors = _arrays('input', x) | _arrays('output', y)
    tensors |= _arrays('constants.control', control) | _arrays('constants.source', source)
    tensors['constants.speaker'] = speaker
    tensors |= {f'emits.{path}': array for path, array in recording.flat_emits(emits).items()}
    model_directory.write(directory, conformer(), model.weights, channel_shape=(CHANNELS,))
    model_directory.write_tensors(directory / 'reference.safetensors', tensors)


def record_decoder(directory: pathlib.Path) -> None:
    tokens = [START, *PROMPT]
    model = _Reference(decoder(), sl.Sequence.from_values(jnp.asarray([tokens])), seed=4)
    log_probs = []
    for _ in range(GENERATED):
        # Always of the same length, so that it is compiled once; the layers are causal.
        padded = np.zeros((1, 1 + len(PROMPT) + GENERATED), np.int32)
        padded[0, : len(tokens)] = tokens
        y, _ = model(sl.Sequence.from_values(jnp.asarray(padded)))
        scores = np.asarray(jax.nn.log_softmax(y.values[0, len(tokens) - 1]))
        second, first = np.sort(scores)[-2:]
        if first - second < MARGIN:
            raise ValueError(f'two tokens are about equally likely: {first} and {second}')
        tokens.append(int(scores.argmax()))
        log_probs.append(scores.max())
    generated = tokens[1 + len(PROMPT) :]
    print(f'{len(set(generated))} different tokens: {generated}')
    tensors = {
        'prompt': np.array(PROMPT, np.int32),
        'tokens': np.array(generated, np.int32),
        'log_probs': np.array(log_probs, np.float32),
    }
    model_directory.write(directory, decoder(), model.weights, channel_shape=(), dtype='int32')
    model_directory.write_tensors(directory / 'reference.safetensors', tensors)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('directory', type=pathlib.Path)
    directory = parser.parse_args().directory
    record_conformer(directory / 'conformer')
    record_decoder(directory / 'decoder')


if __name__ == '__main__':
    main()
