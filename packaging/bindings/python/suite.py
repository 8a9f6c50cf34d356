"""The data of the suite that every binding passes (packaging/bindings/README.md), and what its tests share.

SL_SUITE names the directory that packaging/bindings/suite made. Needs NumPy and the binding only.
"""

import json
import os
import pathlib
import unittest
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_layers_runtime import Layer

Json = dict[str, Any]
AnyArray = npt.NDArray[Any]

SUITE = pathlib.Path(os.environ['SL_SUITE'])
MANIFEST: Json = json.loads((SUITE / 'suite.json').read_text())


def tensor(described: Json) -> AnyArray:
    dtype = np.dtype(described['dtype']).newbyteorder('<')
    return np.fromfile(SUITE / described['file'], dtype).reshape(described['shape'])


def sequence(described: Json) -> tuple[AnyArray, AnyArray]:
    return tensor(described['values']), tensor(described['mask'])


def open_model(path: str, **options: Any) -> Layer:
    return Layer.open(SUITE / path, **options)


class SuiteTest(unittest.TestCase):
    def check(self, got: AnyArray, want: AnyArray, tolerance: float) -> None:
        self.assertEqual(got.shape, want.shape)
        self.assertTrue(np.all(np.abs(got - want) <= tolerance), np.abs(got - want).max())

    def check_sequence(
        self, got: tuple[AnyArray, AnyArray], described: Json, tolerance: float
    ) -> None:
        values, mask = sequence(described)
        np.testing.assert_array_equal(got[1], mask)
        self.check(got[0][mask], values[mask], tolerance)
