"""Converts a model of the JAX reference into a model directory.

  python -m sequence_layers_tools.convert my_models:encoder --variables variables.safetensors \\
      --input 80 --out encoder/

`my_models:encoder` is a config or a function that returns one. Variables are a safetensors file with
dotted paths (`params.dense.kernel`) or what flax.serialization.to_bytes wrote (.msgpack). In Python:

  convert(config, variables, 'encoder/', channel_shape=(80,))

Needs the reference: requirements-reference.txt.
"""

import argparse
import importlib
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import flax
import numpy as np
from safetensors.numpy import load_file

from sequence_layers_tools import model_directory, reference_config


def _by_path(variables: Mapping[str, Any]) -> dict[str, Any]:
    tree = flax.core.unfreeze(flax.core.meta.unbox(variables))
    return flax.traverse_util.flatten_dict(tree, sep='.')


def flatten(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Variable collections as arrays by dotted path, collection first."""
    return {path: np.asarray(value) for path, value in _by_path(variables).items()}


def shapes(variables: Mapping[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """Dtypes and shapes by dotted path."""
    return {path: (v.dtype.name, list(v.shape)) for path, v in _by_path(variables).items()}


def unflatten(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The variable collections of arrays by dotted path."""
    return flax.traverse_util.unflatten_dict(weights, sep='.')


def _stored(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Complex arrays become pairs of (real, imaginary), marked in their names."""
    stored = {}
    for name, array in weights.items():
        if np.iscomplexobj(array):
            pair = np.stack([array.real, array.imag], axis=-1).astype(np.float32)
            stored[f'{name}@complex64'] = pair
        else:
            stored[name] = array
    return stored


def convert(
    config: Any,
    variables: Mapping[str, Any],
    directory: str | pathlib.Path,
    *,
    channel_shape: tuple[int, ...],
    dtype: str = 'float32',
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a config of the reference and its layer's variables as a model directory.

    Args:
      config: A `SequenceLayerConfig` of the reference.
      variables: What `config.make().init(...)` gave, or the trained ones; boxes are removed.
      directory: Made if it is not there.
      channel_shape: What one input step holds.
      dtype: Its dtype.
      metadata: More string entries for the weights file.
    """
    model_directory.write(
        directory,
        reference_config.to_json(config),
        _stored(flatten(variables)),
        channel_shape=channel_shape,
        dtype=dtype,
        metadata=metadata,
    )


def read_variables(path: str | pathlib.Path) -> Mapping[str, Any]:
    path = pathlib.Path(path)
    if path.suffix == '.msgpack':
        return flax.serialization.msgpack_restore(path.read_bytes())
    return unflatten(load_file(path))


def find_config(name: str) -> Any:
    """The config that `module:attribute` is or returns."""
    module, _, attribute = name.partition(':')
    if not attribute:
        raise SystemExit(f'{name!r} is not module:attribute')
    sys.path.insert(0, os.getcwd())
    found = getattr(importlib.import_module(module), attribute)
    is_function = callable(found) and not hasattr(found, 'make')
    return found() if is_function else found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='module:attribute, a config or a function that returns one')
    parser.add_argument('--variables', required=True, help='.safetensors or .msgpack')
    parser.add_argument('--input', required=True, type=model_directory.shape, help='such as 80, or scalar')
    parser.add_argument('--dtype', default='float32', help='of the input')
    parser.add_argument('--out', required=True, help='the model directory')
    args = parser.parse_args()
    try:
        convert(
            find_config(args.config),
            read_variables(args.variables),
            args.out,
            channel_shape=args.input,
            dtype=args.dtype,
        )
    except reference_config.ConfigError as error:
        sys.exit(str(error))
    print(args.out)


if __name__ == '__main__':
    main()
