"""Compares converted models with the reference: with what it recorded, and live if it is installed."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from safetensors.numpy import load_file, save_file

import sequence_layers_runtime as runtime

_TOOLS = pathlib.Path(__file__).parents[1]
_RECORDED = pathlib.Path(__file__).parent / 'converted'


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class ConvertedTest(unittest.TestCase):
    def compare(self, model: str | pathlib.Path, case: dict[str, np.ndarray]) -> None:
        """Runs the model on the case's input, layer-wise and step by step."""
        x, mask = case['input.values'], case['input.mask']
        want, want_mask = case['output.values'], case['output.mask']
        layer = runtime.Layer.open(model)
        state = layer.new_state(x.shape[0])
        steps = range(0, x.shape[1], layer.block_size)
        blocks = [np.s_[:, t : t + layer.block_size] for t in steps]
        values, masks = zip(*(state.step(x[b], mask[b]) for b in blocks), strict=True)
        streamed = np.concatenate(values, axis=1), np.concatenate(masks, axis=1)
        for got, got_mask in (layer.apply(x, mask), streamed):
            np.testing.assert_array_equal(got_mask, want_mask)
            got[~got_mask] = 0
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)

    def test_recorded(self):
        self.compare(_RECORDED, load_file(_RECORDED / 'reference.safetensors'))

    def test_wrong_weights_show(self):
        weights = load_file(_RECORDED / 'model.safetensors')
        weights['params.lstm.recurrent_kernel.kernel'] *= 1.01
        with tempfile.TemporaryDirectory() as model:
            config = (_RECORDED / 'config.json').read_text()
            (pathlib.Path(model) / 'config.json').write_text(config)
            spec = json.dumps({'channel_shape': [5], 'dtype': 'float32'})
            save_file(weights, pathlib.Path(model) / 'model.safetensors', {'input': spec})
            with self.assertRaisesRegex(AssertionError, 'Not equal to tolerance'):
                self.compare(model, load_file(_RECORDED / 'reference.safetensors'))

    @unittest.skipUnless(importlib.util.find_spec('sequence_layers'), 'no reference installed')
    def test_command_and_live_reference(self):
        from sequence_layers_tools import convert, record_converted

        variables = record_converted.variables()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'variables.safetensors'
            save_file(convert.flatten(variables), path)
            model = pathlib.Path(folder) / 'model'
            command = [sys.executable, '-m', 'sequence_layers_tools.convert']
            command += ['sequence_layers_tools.record_converted:config', '--variables', path]
            command += ['--input', str(record_converted.CHANNELS), '--out', model]
            run = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual(run.stdout.strip(), str(model))
            recorded = (_RECORDED / 'config.json').read_text()
            self.assertEqual((model / 'config.json').read_text(), recorded)
            self.compare(model, record_converted.case())


@unittest.skipUnless(importlib.util.find_spec('sequence_layers'), 'no reference installed')
@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class CommandTest(unittest.TestCase):
    def run_with(self, source: str, *arguments: str) -> subprocess.CompletedProcess:
        """Runs `convert` in a folder with a module of that source and the variables `v.msgpack`."""
        import flax

        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            (place / 'my_model.py').write_text(source)
            kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
            variables = flax.serialization.to_bytes({'params': {'kernel': kernel}})
            (place / 'v.msgpack').write_bytes(variables)
            command = [sys.executable, '-m', 'sequence_layers_tools.convert', *arguments]
            command += ['--variables', 'v.msgpack', '--input', '3', '--out', 'out']
            environment = {**os.environ, 'PYTHONPATH': str(_TOOLS)}
            run = subprocess.run(
                command, capture_output=True, text=True, cwd=folder, env=environment
            )
            if run.returncode == 0:
                weights = load_file(place / 'out' / 'model.safetensors')
                np.testing.assert_array_equal(weights['params.kernel'], kernel)
            return run

    def test_msgpack_and_a_config_of_the_users(self):
        source = (
            'from sequence_layers_tools import reference_config\n'
            'from sequence_layers import jax as sl\n'
            'encoder = sl.Dense.Config(2, use_bias=False)\n'
            'import jax.numpy as jnp\n'
            'other = sl.Dense.Config(2, activation=lambda x: jnp.sort(x))\n'
        )
        run = self.run_with(source, 'my_model:encoder')
        self.assertEqual(run.returncode, 0, run.stderr)
        run = self.run_with(source, 'my_model:other')
        self.assertEqual(run.returncode, 1)
        self.assertIn('$.activation: the function', run.stderr)
        self.assertNotIn('Traceback', run.stderr)


if __name__ == '__main__':
    unittest.main()
