"""Tests what the binding reports about steps that differ from whole runs."""

import os
import tempfile
import unittest

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_tools import model_directory

_LATE = {'type': 'Delay', 'length': 2, 'delay_layer_output': False}


def _open(layers: list[dict], weights: dict[str, np.ndarray]) -> runtime.Layer:
    with tempfile.TemporaryDirectory() as folder:
        config = {'type': 'Serial', 'layers': layers}
        model_directory.write(folder, config, weights, channel_shape=(2,))
        return runtime.Layer.open(folder)


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class StepDifferencesTest(unittest.TestCase):
    def test_layer_reason_and_cure(self):
        dense = {'type': 'SequenceDense', 'features': 2, 'num_steps': 9, 'name': 'dense'}
        weights = {
            'params.dense.kernel': np.ones((9, 2, 2), np.float32),
            'params.dense.bias': np.ones((9, 2), np.float32),
        }
        (found,) = _open([_LATE, dense], weights).step_differences
        self.assertEqual((found.layer, found.type), ('dense', 'SequenceDense'))
        self.assertEqual(found.condition, 'always')
        self.assertIn('late by 2 steps', found.reason)
        self.assertTrue(found.cure)

    def test_holes(self):
        (found,) = _open([{'type': 'Lookahead', 'length': 1}], {}).step_differences
        self.assertEqual(found.condition, 'holes')

    def test_none(self):
        self.assertEqual(_open([_LATE, {'type': 'Relu'}], {}).step_differences, [])


if __name__ == '__main__':
    unittest.main()
