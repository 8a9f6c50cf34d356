"""Records what the reference makes of masks with holes and leading invalid steps.

  .deps/reference-venv/bin/python -m sequence_layers_tools.mask_survey tests/golden --out survey/
  sl golden survey

Each golden case keeps its config, weights and input values, but gets a mask with holes, and its
constants masks with a hole. The reference runs twice, with zeros and with NaN in invalid steps of
the input: a case whose valid outputs then differ is recorded without the check of invalid steps.
Needs the reference: requirements-reference.txt.
"""

import argparse
import collections
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

# Before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import recorded_case  # isort: skip
from sequence_layers import jax as sl

Json = dict[str, Any]


def mask_with_holes(batch: int, time: int) -> np.ndarray:
    """Items that begin with invalid steps, have holes, and end with invalid steps."""
    mask = np.ones((batch, time), bool)
    for item in range(batch):
        mask[item, : 1 + item % 3] = item % 2 == 1
        mask[item, 4 + item % 2 :: 5] = False
        mask[item, 7 : 7 + item % 3] = False
        mask[item, time - item % 4 :] = False
    return mask


def _constants(case: Json, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in case.get('constants', {}).items():
        if kind != 'sequence':
            found[name] = jnp.asarray(tensors[f'constants.{name}'])
            continue
        mask = tensors[f'constants.{name}.mask'].copy()
        mask[:, 1 : mask.shape[1] - 1 : 4] = False
        values = jnp.asarray(tensors[f'constants.{name}.values'])
        found[name] = sl.Sequence(values, jnp.asarray(mask)).mask_invalid()
    return found


def _ignores_invalid(
    case: Json, tensors: dict[str, np.ndarray], x: sl.Sequence, constants: dict[str, Any]
) -> bool:
    """Whether NaN in invalid steps of the input changes no valid output."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return True
    layer = recorded_case.bound_layer(case, tensors)
    mask = x.expanded_mask()
    spoilt = sl.Sequence(jnp.where(mask, x.values, jnp.asarray(np.nan, x.dtype)), x.mask)
    with_zeros, _ = recorded_case.run(layer, x, constants)
    with_nans, _ = recorded_case.run(layer, spoilt, constants)
    return bool(jnp.array_equal(with_zeros.values, with_nans.values, equal_nan=True))


def survey(file: pathlib.Path, out: pathlib.Path) -> collections.Counter:
    found: collections.Counter = collections.Counter()
    cases, made = [], {}
    for case, own in recorded_case.read(file):
        mask = mask_with_holes(*own['input.mask'].shape)
        x = sl.Sequence(jnp.asarray(own['input.values']), jnp.asarray(mask)).mask_invalid()
        constants = _constants(case, own)
        try:
            recorded, more = recorded_case.record(case, own, case['name'] + '__holes', x, constants)
            if not _ignores_invalid(case, own, x, constants):
                recorded['test_padding_invariance'] = False
                found['valid outputs depend on invalid steps'] += 1
        except Exception as error:  # pylint: disable=broad-except
            found[f'refused: {type(error).__name__}: {str(error)[:120]}'] += 1
            continue
        cases.append(recorded)
        made.update(more)
    found['recorded'] = len(cases)
    recorded_case.write(out, file.stem, cases, made)
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('--out', type=pathlib.Path, required=True)
    parser.add_argument('--only', type=lambda text: text.split(','))
    options = parser.parse_args()
    for file in recorded_case.files(options.directory, options.only):
        for what, count in survey(file, options.out).items():
            print(f'{file.stem}: {what}: {count}', flush=True)


if __name__ == '__main__':
    main()
