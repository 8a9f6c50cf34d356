"""Records what the reference computes for inputs of other dtypes, for every type with golden cases.

  .deps/reference-venv/bin/python -m sequence_layers_tools.dtype_survey tests/golden --out survey/
  sl golden survey

Each chosen golden case keeps its config and weights, while its input, and then each of its constants,
is converted to every dtype. Cases that the reference refuses are counted and left out. `sl golden`
then lists what this library refuses and where its results differ. Needs the reference:
requirements-reference.txt.
"""

import argparse
import collections
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import recorded_case  # isort: skip
from sequence_layers import jax as sl

Json = dict[str, Any]

DTYPES = ('float32', 'int32', 'bool', 'complex64', 'bfloat16', 'float16', 'int8')

def cast(values: np.ndarray, dtype: str) -> jax.Array:
    """Values of the dtype that are as varied as those given."""
    values = np.asarray(values)
    real = np.asarray(values.real if np.iscomplexobj(values) else values, np.float32)
    if dtype == 'complex64':
        return jnp.asarray(real + 1j * np.roll(real, 1, axis=1).astype(np.complex64), jnp.complex64)
    if dtype == 'bool':
        return jnp.asarray(real > 0)
    if dtype in ('int32', 'int8'):
        whole = (real == np.round(real)).all()
        return jnp.asarray(np.clip(np.round(real if whole else 3 * real), -100, 100), dtype)
    return jnp.asarray(real, dtype)


def _constants(case: Json, tensors: dict[str, np.ndarray], dtype: str | None) -> dict[str, Any]:
    found = {}
    for name, kind in case.get('constants', {}).items():
        key = f'constants.{name}.values' if kind == 'sequence' else f'constants.{name}'
        values = tensors[key]
        values = cast(values, dtype) if dtype else jnp.asarray(values)
        if kind == 'sequence':
            values = sl.Sequence(values, jnp.asarray(tensors[f'constants.{name}.mask']))
        found[name] = values
    return found


def record(case: Json, tensors: dict[str, np.ndarray], dtype: str, constants_dtype: str | None):
    """One case and its tensors; raises what the reference raises."""
    values, mask = cast(tensors['input.values'], dtype), jnp.asarray(tensors['input.mask'])
    x = sl.Sequence(values, mask).mask_invalid()
    constants = _constants(case, tensors, constants_dtype)
    name = f'{case["name"]}__{dtype}' + (f'__{constants_dtype}' if constants_dtype else '')
    return recorded_case.record(case, tensors, name, x, constants)


def chosen(cases: list[tuple[Json, Any]], count: int) -> list[tuple[Json, Any]]:
    """Cases, with their tensors, whose configs have different fields or cells."""
    found: dict[tuple, tuple[Json, Any]] = {}
    for case, tensors in cases:
        config = case['config']
        key = (*sorted(config), config.get('cell', {}).get('type'))
        found.setdefault(key, (case, tensors))
    return list(found.values())[:count]


def survey(file: pathlib.Path, out: pathlib.Path, dtypes: list[str], count: int) -> collections.Counter:
    refused = collections.Counter()
    cases, made = [], {}
    for case, tensors in chosen(recorded_case.read(file), count):
        for dtype in dtypes:
            of_constants = [None] if not case.get('constants') else [None, dtype]
            for constants_dtype in of_constants:
                if dtype == case['input']['dtype'] and constants_dtype is None:
                    continue
                try:
                    recorded, more = record(case, tensors, dtype, constants_dtype)
                    cases.append(recorded)
                    made.update(more)
                except Exception as error:  # pylint: disable=broad-except
                    what = f'{case["config"]["type"]} {dtype}/{constants_dtype}'
                    refused[f'{what}: {type(error).__name__}: {str(error)[:120]}'] += 1
    recorded_case.write(out, file.stem, cases, made)
    return refused


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('--out', type=pathlib.Path, required=True)
    parser.add_argument('--only', type=lambda text: text.split(','))
    parser.add_argument('--dtypes', type=lambda text: text.split(','), default=list(DTYPES))
    parser.add_argument('--count', type=int, default=2, help='cases of a type')
    options = parser.parse_args()
    for file in recorded_case.files(options.directory, options.only):
        for reason, count in survey(file, options.out, options.dtypes, options.count).items():
            print(f'refused by the reference, {count} times: {reason}', flush=True)


if __name__ == '__main__':
    main()
