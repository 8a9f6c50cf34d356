"""Tests the tool `sl` of the wheel and its extras `convert`, `import` and `onednn`, installed into a fresh environment.

SL_SUITE names the directory that packaging/bindings/suite made, SL_SILERO the unpacked wheel of the package silero-vad.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
from safetensors.numpy import load_file

import sequence_layers_runtime as runtime


def _program(name: str, *arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Runs a script of the environment, of which the path has nothing else."""
    command = [pathlib.Path(sys.executable).with_name(name), *arguments]
    return subprocess.run(command, env={'PATH': ''}, capture_output=True, text=True, check=False)


class ToolTest(unittest.TestCase):
    def test_verifies_a_model(self) -> None:
        model = pathlib.Path(os.environ['SL_SUITE'], 'vad/model')
        done = _program('sl', 'verify', model)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r'\n\d+ passed, 0 failed')

    def test_refuses_sounds_and_figures_before_it_runs(self) -> None:
        model = pathlib.Path(os.environ['SL_SUITE'], 'vad/model')
        for arguments in (['x.wav'], ['x.npy', '--plot', 'x.png'], ['x.npy', '--output', 'x.wav']):
            with tempfile.TemporaryDirectory() as folder:
                for name in ('x.wav', 'x.npy'):
                    pathlib.Path(folder, name).write_bytes(b'RIFF')
                paths = [a if a.startswith('-') else f'{folder}/{a}' for a in arguments]
                done = _program('sl', 'run', model, *paths)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertRegex(done.stderr, 'x.(wav|png): this sl is built without sounds')

    def test_the_importer_runs_it(self) -> None:
        step = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, ['batch', 'time', 4])
        made = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, None)
        node = onnx.helper.make_node('Relu', ['x'], ['y'])
        graph = onnx.helper.make_graph([node], 'graph', [step], [made])
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=9
        )
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'graph.onnx')
            onnx.save(model, path)
            done = _program('sl_import', path, pathlib.Path(folder, 'model'), '--seconds', '0')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r'sl verify: \d+ passed, 0 failed')


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
