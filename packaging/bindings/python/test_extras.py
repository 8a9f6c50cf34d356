"""Tests the wheel's extras `convert` and `onednn`, installed into a fresh environment.

SL_SUITE names the directory that packaging/bindings/suite made, SL_SILERO the unpacked wheel of the package silero-vad.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from safetensors.numpy import load_file

import sequence_layers_runtime as runtime


class ExtrasTest(unittest.TestCase):
    def test_the_converter(self) -> None:
        want = pathlib.Path(os.environ['SL_SUITE'], 'vad/model')
        command = pathlib.Path(sys.executable).with_name('sequence-layers-convert-silero-vad')
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder, 'model')
            source = os.environ['SL_SILERO']
            subprocess.run([command, '--source', source, '--out', made], check=True)
            self.assertEqual(
                (made / 'config.json').read_bytes(), (want / 'config.json').read_bytes()
            )
            tensors = [load_file(model / 'model.safetensors') for model in (made, want)]
        self.assertEqual(tensors[0].keys(), tensors[1].keys())
        for name, tensor in tensors[0].items():
            np.testing.assert_array_equal(tensor, tensors[1][name])

    def test_onednn_is_found(self) -> None:
        size = 1024
        weights = {
            'params.kernel': np.eye(size, dtype=np.float32),
            'params.bias': np.ones(size, np.float32),
        }
        layer = runtime.Layer.create(
            {'type': 'Dense', 'features': size}, weights, matmul_backend='onednn'
        )
        x = np.random.default_rng(0).standard_normal((1, 512, size), np.float32)
        np.testing.assert_allclose(layer.apply(x)[0], x + 1, rtol=1e-6)
        maps = pathlib.Path('/proc/self/maps').read_text()
        self.assertIn(f'{sys.prefix}/lib/libdnnl.so.3', maps)


if __name__ == '__main__':
    unittest.main()
