"""Gives a config random weights, so that models too large to keep can be run and measured.

  python -m sequence_layers_tools.random_model docs/models/causal_conformer --out conformer/

The directory has config.json and weights.json, which lists the input and the shapes of the weights. If
weights.json is missing or the config has changed, the reference (requirements-reference.txt) records
it:

  python -m sequence_layers_tools.random_model DIRECTORY --record --input 128

For models with layers that only its TensorFlow version has, add `--tensorflow`, and
`--constant NAME=TIME,CHANNELS` for each constant that they read.
"""

import argparse
import json
import math
import pathlib
from typing import Any

import numpy as np

from sequence_layers_tools import model_directory


def record(directory: pathlib.Path, channel_shape: tuple[int, ...], dtype: str) -> None:
    """Asks the reference which weights the config has and writes weights.json."""
    # Only this function needs JAX, and only the next one TensorFlow.
    import jax
    from sequence_layers import jax as sl

    from sequence_layers_tools import convert, reference_config

    config = json.loads((directory / 'config.json').read_text())
    layer = reference_config.from_json(config).make()
    block = layer.bind({}).block_size
    x = sl.Sequence(
        jax.ShapeDtypeStruct((1, block, *channel_shape), dtype),
        jax.ShapeDtypeStruct((1, block), bool),
    )
    key = jax.ShapeDtypeStruct((2,), np.uint32)
    variables = jax.eval_shape(lambda k, x: layer.init(k, x, training=False), key, x)
    _write(directory, convert.shapes(variables), channel_shape, dtype, {})


def record_tensorflow(
    directory: pathlib.Path,
    channel_shape: tuple[int, ...],
    dtype: str,
    constants: dict[str, tuple[int, ...]],
) -> None:
    """As record, for the TensorFlow version, which must run the model on one step of each input."""
    import sequence_layers.tensorflow as sl
    import tensorflow as tf

    from sequence_layers_tools import tensorflow_model

    node = tensorflow_model.build(json.loads((directory / 'config.json').read_text()))
    given = {k: tf.zeros((1, *shape)) for k, shape in constants.items()}
    sequences = {k: sl.Sequence(v, tf.ones(v.shape[:2])) for k, v in given.items()}
    time = node.layer.block_size
    x = sl.Sequence(tf.zeros((1, time, *channel_shape), dtype), tf.ones((1, time)))
    state = node.layer.get_initial_state(x, sequences)
    node.layer.step(x, state, training=False, constants=sequences)
    weights = {f'params.{k}': v for k, v in node.weights().items()}
    shapes = {name: [str(array.dtype), list(array.shape)] for name, array in weights.items()}
    _write(directory, shapes, channel_shape, dtype, constants)


def _write(
    directory: pathlib.Path,
    shapes: dict[str, Any],
    channel_shape: tuple[int, ...],
    dtype: str,
    constants: dict[str, tuple[int, ...]],
) -> None:
    lines = [f'  {json.dumps(name)}: {json.dumps(spec)}' for name, spec in sorted(shapes.items())]
    spec = json.dumps({'channel_shape': list(channel_shape), 'dtype': dtype})
    # Time and channels of each constant.
    read = f' "constants": {json.dumps(constants)},\n' if constants else ''
    text = f'{{"input": {spec},\n{read} "weights": {{\n' + ',\n'.join(lines) + '}}\n'
    (directory / 'weights.json').write_text(text)


def weights(shapes: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random arrays with the given names, dtypes and shapes, without trivial values."""
    rng = np.random.default_rng(seed)
    result = {}
    for name, (dtype, shape) in shapes.items():
        noise = rng.standard_normal(shape, np.float32)
        leaf = name.rpartition('.')[2]
        if leaf in ('scale', 'var'):  # around one, as scales are, and positive, as variances are
            array = np.exp(0.1 * noise)
        elif leaf in ('bias', 'mean'):
            array = 0.1 * noise
        else:
            array = noise / math.sqrt(max(shape, default=1))
        result[name] = array.astype(dtype)
    return result


def make(source: str | pathlib.Path, out: str | pathlib.Path, seed: int = 0) -> None:
    """Writes the model of a directory with config.json and weights.json."""
    source = pathlib.Path(source)
    config = json.loads((source / 'config.json').read_text())
    recorded = json.loads((source / 'weights.json').read_text())
    model_directory.write(
        out,
        config,
        weights(recorded['weights'], seed),
        channel_shape=tuple(recorded['input']['channel_shape']),
        dtype=recorded['input']['dtype'],
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('--out', help='the model directory to write')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--record', action='store_true', help='write weights.json')
    parser.add_argument('--input', type=model_directory.shape, help='with --record: such as 128, or scalar')
    parser.add_argument('--dtype', default='float32', help='with --record: of the input')
    parser.add_argument('--tensorflow', action='store_true', help='with --record: ask that version')
    parser.add_argument('--constant', action='append', default=[], metavar='NAME=TIME,CHANNELS')
    args = parser.parse_args()
    if args.record:
        if args.input is None:
            parser.error('--record needs --input')
        if args.tensorflow:
            pairs = (text.split('=') for text in args.constant)
            constants = {name: model_directory.shape(sizes) for name, sizes in pairs}
            record_tensorflow(args.directory, args.input, args.dtype, constants)
        else:
            record(args.directory, args.input, args.dtype)
    if args.out:
        make(args.directory, args.out, args.seed)


if __name__ == '__main__':
    main()
