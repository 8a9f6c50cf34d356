"""Converts a model of the JAX reference into a model directory.

  python -m sequence_layers_tools.convert my_models:encoder --variables variables.safetensors \\
      --input 80 --out encoder/

`my_models:encoder` is a config, a layer, or a function that returns one of them. The variables are a
safetensors file with dotted paths (`params.dense.kernel`), or a file that
flax.serialization.to_bytes wrote (.msgpack). In Python:

  convert(config, variables, 'encoder/', channel_shape=(80,))

The written model is loaded and compared with the reference on random input before it replaces an
older one.

Functions, such as those of `Lambda` layers, become ordinary layers that compute the same, if there are
such layers. For all other functions, and for your own layers, --map names the replacement (KEY is
`module:name`, or a path in the config):

  --map my_models:squash='{"type": "Tanh"}' --map '$.layers[2].fn={"type": "Abs"}'
  --map my_models:LeakyMean='{"type": "LeakyMean", "decay": "$decay"}' --no-verify

The second example maps to a layer written in C (docs/adding-a-layer.md), which only the program that
registers it can load.

Needs the reference: requirements-reference.txt.
"""

import argparse
import functools
import importlib
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import flax
import numpy as np
from safetensors.numpy import load_file

from sequence_layers_tools import (
    check_converted,
    config_map,
    model_directory,
    reference_config,
    traced_specs,
)

# Imported after python_311, which makes the reference importable on Python 3.11.
from sequence_layers import jax as sl  # isort: skip


class ConvertError(Exception):
    """The reason why a model cannot be converted, and what to do."""


def _by_path(variables: Mapping[str, Any]) -> dict[str, Any]:
    tree = flax.core.unfreeze(flax.core.meta.unbox(variables))
    return flax.traverse_util.flatten_dict(tree, sep='.')


def flatten(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Variable collections as arrays by dotted path that begins with the collection."""
    return {path: np.asarray(value) for path, value in _by_path(variables).items()}


def shapes(variables: Mapping[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """Dtypes and shapes by dotted path."""
    return {path: (v.dtype.name, list(v.shape)) for path, v in _by_path(variables).items()}


def unflatten(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The variable collections of arrays by dotted path."""
    return flax.traverse_util.unflatten_dict(weights, sep='.')


def convert(
    config: Any,
    variables: Mapping[str, Any],
    directory: str | pathlib.Path,
    *,
    channel_shape: tuple[int, ...],
    dtype: str = 'float32',
    metadata: Mapping[str, str] | None = None,
    mapping: config_map.ConfigMap | None = None,
    constants: Mapping[str, tuple[int, ...]] | None = None,
    verify: bool = True,
    tolerance: float = check_converted.TOLERANCE,
) -> check_converted.Report | None:
    """Writes a config of the reference and its layer's variables as a model directory.

    After an exception the directory is as it was before.

    Args:
      config: A `SequenceLayerConfig` of the reference, or a layer.
      variables: The result of `config.make().init(...)`, or trained variables; boxes are removed.
      directory: Created if it does not exist.
      channel_shape: The shape of one input step.
      dtype: The dtype of the input.
      metadata: More string entries for the weights file.
      mapping: Replacements for functions and layers that are not the reference's.
      constants: Shapes, time first, of constants whose shapes the model does not determine.
      verify: Whether to load the written model and compare it with the reference.
      tolerance: The largest difference from it, relative to the largest value.

    Returns:
      The result of the comparison, if there was one.

    Raises:
      reference_config.ConfigError: The config has a value that a config file cannot express.
      check_converted.CheckError: The written model does not load, or gives other numbers.
    """
    mapping = mapping or config_map.ConfigMap({})
    if not isinstance(config, sl.SequenceLayerConfig):
        config = reference_config.config_of(config)
    given = check_converted.constant_specs(constants or {})
    specs = traced_specs.record(config, channel_shape, dtype, given)
    written = reference_config.to_json(config, mapping=mapping, specs=specs)
    mapping.check_used()
    report = None

    def check(made: pathlib.Path) -> None:
        nonlocal report
        report = check_converted.check(
            made, config, unflatten(flatten(variables)), written, constants or {}, tolerance
        )

    model_directory.write(
        directory,
        written,
        model_directory.packed(flatten(variables)),
        channel_shape=channel_shape,
        dtype=dtype,
        metadata=metadata,
        check=check if verify else None,
    )
    return report


def read_variables(path: str | pathlib.Path) -> Mapping[str, Any]:
    path = pathlib.Path(path)
    if not path.exists():
        raise ConvertError(f'there is no file {path}')
    if path.is_dir():
        raise ConvertError(f'{path} is a directory: expected a .safetensors or .msgpack file')
    try:
        if path.suffix == '.msgpack':
            variables = flax.serialization.msgpack_restore(path.read_bytes())
        else:
            variables = unflatten(load_file(path))
    except Exception as error:  # readers raise exceptions of their own types
        kind = 'flax' if path.suffix == '.msgpack' else 'safetensors'
        raise ConvertError(f'{path} is not a {kind} file of variables: {_line(error)}') from error
    if not isinstance(variables, Mapping):
        raise ConvertError(f'{path} holds a {type(variables).__name__}, not variables by name')
    return variables


def _line(error: BaseException) -> str:
    """The text of an exception in one line."""
    text = str(error).strip() or type(error).__name__
    return ' '.join(text.split())


def _import(module: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f'{error.name}.')):
            raise ConvertError(f'there is no module {error.name!r} here or in PYTHONPATH') from error
        raise ConvertError(f'{module} cannot be imported: {_line(error)}') from error
    except (Exception, SystemExit) as error:  # user code may raise anything
        kind = type(error).__name__
        raise ConvertError(f'{module} cannot be imported: {kind}: {_line(error)}') from error


def find_config(name: str) -> Any:
    """The config or layer that `module:attribute` is, or returns if it is a function."""
    module, _, attribute = name.partition(':')
    if not module or not attribute:
        raise ConvertError(f'{name!r} is not module:attribute')
    try:
        found = functools.reduce(getattr, attribute.split('.'), _import(module))
    except AttributeError as error:
        raise ConvertError(f'{module} has no {attribute!r}') from error
    label = f'{module}:{attribute}'
    if callable(found) and not isinstance(found, type | sl.SequenceLayer | sl.SequenceLayerConfig):
        label += '()'
        try:
            found = found()
        except (Exception, SystemExit) as error:  # user code may raise anything
            raise ConvertError(f'{label} fails: {type(error).__name__}: {_line(error)}') from error
    if isinstance(found, type) or not isinstance(found, sl.SequenceLayerConfig | sl.SequenceLayer):
        what = f'the class {found.__qualname__}' if isinstance(found, type) else _described(found)
        raise ConvertError(f'{label} is {what}: expected a config of sequence_layers or a layer')
    return found


def _described(value: Any) -> str:
    text = repr(value)
    return f'a {type(value).__name__}, {text if len(text) < 60 else text[:57] + "..."}'


def _shape(text: str) -> tuple[int, ...]:
    try:
        sizes = model_directory.shape(text)
    except ValueError:
        sizes = (-1,)
    if min(sizes, default=0) < 0:
        raise argparse.ArgumentTypeError(f'{text!r} is no shape, such as 80, 3,80 or scalar')
    return sizes


def _constant(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, sizes = text.partition('=')
    if not name or not equals:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=TIME,CHANNELS')
    return name, _shape(sizes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='module:attribute, a config or a function that returns one')
    parser.add_argument('--variables', required=True, help='.safetensors or .msgpack')
    parser.add_argument('--input', required=True, type=_shape, help='such as 80, or scalar')
    parser.add_argument(
        '--dtype',
        default='float32',
        choices=('float32', 'int32', 'bool', 'complex64', 'bfloat16', 'float16', 'int8'),
        help='of the input',
    )
    parser.add_argument('--out', required=True, help='the model directory')
    parser.add_argument(
        '--map',
        action='append',
        default=[],
        metavar='KEY=CONFIG',
        help='what stands for a function or layer of your own; or a JSON file of an object of them',
    )
    parser.add_argument(
        '--constant',
        action='append',
        default=[],
        type=_constant,
        metavar='NAME=TIME,CHANNELS',
        help='shape of a constant that the model reads, where it does not say it',
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        default=check_converted.TOLERANCE,
        help='of the comparison with the reference, relative to the largest value',
    )
    parser.add_argument(
        '--no-verify',
        action='store_true',
        help='write what is neither loaded nor compared with the reference',
    )
    return parser


def main():
    args = _parser().parse_args()
    try:
        report = convert(
            find_config(args.config),
            read_variables(args.variables),
            args.out,
            channel_shape=args.input,
            dtype=args.dtype,
            mapping=config_map.ConfigMap.parse(args.map),
            constants=dict(args.constant),
            verify=not args.no_verify,
            tolerance=args.tolerance,
        )
    except (
        ConvertError,
        reference_config.ConfigError,
        config_map.MapError,
        check_converted.CheckError,
        model_directory.WriteError,
        OSError,
    ) as error:
        sys.exit(f'convert: {_line(error)}')
    except RecursionError:
        sys.exit('convert: the config holds itself, or is nested too deeply')
    print(report or 'convert: neither loaded nor compared with the reference', file=sys.stderr)
    print(args.out)


if __name__ == '__main__':
    main()
