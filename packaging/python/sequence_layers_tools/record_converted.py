"""Records the output of a small model of the reference beside the model that `convert` writes.

  python -m sequence_layers_tools.record_converted packaging/python/tests/converted

Tests compare with the recording where the reference is not installed. Recording needs the reference:
requirements-reference.txt.
"""

import argparse
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

# Imported before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import convert, model_directory, random_model  # isort: skip
from sequence_layers import jax as sl

CHANNELS = 5


def config() -> sl.Serial.Config:
    """A model with convolution, recurrence and attention, functions, nesting and repeated layers."""
    attention = sl.LocalDotProductSelfAttention.Config(
        num_heads=2, units_per_head=4, block_size=3, max_past_horizon=4, max_future_horizon=0
    )
    block = sl.Residual.Config(
        [
            sl.LayerNormalization.Config(name='norm'),
            attention,
            sl.Flatten.Config(),
            sl.Dense.Config(6, activation=jax.nn.gelu, name='out'),
        ]
    )
    return sl.Serial.Config(
        [
            sl.Conv1D.Config(
                6,
                kernel_size=3,
                strides=2,
                padding='causal',
                activation=functools.partial(jax.nn.leaky_relu, negative_slope=0.2),
                name='conv',
            ),
            sl.BatchNormalization.Config(name='norm'),
            sl.LSTM.Config(6, name='lstm'),
            sl.Repeat.Config(block, num_repeats=2, name='blocks'),
            sl.Dense.Config(3, use_bias=False, name='out'),
        ]
    )


def variables() -> dict:
    """Random variables from a fixed seed."""
    layer = config().make()
    x = sl.Sequence.from_values(jnp.zeros((1, 2, CHANNELS)))
    made = jax.eval_shape(lambda: layer.init(jax.random.key(0), x, training=False))
    return convert.unflatten(random_model.weights(convert.shapes(made)))


def case() -> dict[str, np.ndarray]:
    """A batch of sequences with different lengths, and the reference's output for it."""
    values = np.random.default_rng(1).standard_normal((3, 24, CHANNELS), np.float32)
    mask = np.arange(24) < np.array([[24], [17], [4]])
    values *= mask[..., np.newaxis]
    layer = config().make()
    with jax.default_matmul_precision('highest'):
        x = sl.Sequence(jnp.asarray(values), jnp.asarray(mask))
        y = layer.apply(variables(), x, training=False, method='layer').mask_invalid()
    return {
        'input.values': values,
        'input.mask': mask,
        'output.values': np.asarray(y.values),
        'output.mask': np.asarray(y.mask),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('directory', type=pathlib.Path)
    directory = parser.parse_args().directory
    convert.convert(config(), variables(), directory, channel_shape=(CHANNELS,), verify=False)
    model_directory.write_tensors(directory / 'reference.safetensors', case())


if __name__ == '__main__':
    main()
