"""Tests of the binding's streams of whole sequences, its emits, state tensors and handles."""

import gc
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_tools import random_model

_TOOLS = pathlib.Path(__file__).parents[1]
_MODELS = _TOOLS.parents[1] / 'docs' / 'models'


def _open(config: dict, weights: dict[str, np.ndarray] | None = None) -> runtime.Layer:
    from sequence_layers_tools import model_directory

    with tempfile.TemporaryDirectory() as folder:
        model_directory.write(folder, config, weights or {}, channel_shape=())
        return runtime.Layer.open(folder)


def _open_small(name: str) -> runtime.Layer:
    with tempfile.TemporaryDirectory() as folder:
        random_model.make(_MODELS / name / 'small', folder)
        return runtime.Layer.open(folder)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, np.float32)


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class StreamTest(unittest.TestCase):
    def same(self, layer, x, mask=None, *, constants=None, steps=(0,)):
        """Checks that `stream` gives what `apply` gives, in blocks of each of these sizes."""
        want, want_mask = layer.apply(x, mask, constants=constants)
        for block in steps:
            got, got_mask = layer.stream(x, mask, steps=block, constants=constants)
            with self.subTest(block=block, shape=x.shape):
                np.testing.assert_array_equal(got_mask, want_mask)
                self.assertEqual(got.dtype, want.dtype)
                valid = want_mask.reshape(want_mask.shape + (1,) * (want.ndim - 2))
                np.testing.assert_allclose(
                    np.where(valid, got, 0), np.where(valid, want, 0), atol=1e-5
                )

    def test_any_batch_and_length(self):
        layer = _open_small('causal_conformer')
        channels = layer.input_spec[0]
        for batch, time in (1, 16), (3, 21), (2, 1), (2, 3):
            x = _random(batch, time, *channels)
            mask = np.arange(time) < np.arange(1, batch + 1)[:, np.newaxis] * time // batch
            self.same(layer, x, steps=(0, 3 * layer.block_size))
            self.same(layer, x, mask, steps=(0, 3 * layer.block_size))

    def test_latency_is_brought_out_and_dropped(self):
        layer = _open(
            {
                'type': 'Serial',
                'layers': [
                    {'type': 'Lookahead', 'length': 4},
                    {'type': 'Downsample1D', 'rate': 4},
                    {'type': 'Lookahead', 'length': 1},
                ],
            }
        )
        self.assertGreater(layer.output_latency, 0)
        for time in 1, 4, 13, 16:
            self.same(layer, _random(2, time, 3), steps=(0, 8))

    def test_tokens(self):
        layer = _open(
            {'type': 'Serial', 'layers': [{'type': 'OneHot', 'depth': 5}, {'type': 'Flatten'}]}
        )
        tokens = np.random.default_rng(0).integers(0, 5, (2, 7, 2), np.int32)
        self.same(layer, tokens, steps=(1, 3, 10))

    def test_many_channels_and_dtypes(self):
        layer = _open({'type': 'Delay', 'length': 2})
        for dtype in np.float32, np.int32, np.complex64, np.bool_, np.float16, np.int8:
            self.same(layer, (8 * _random(2, 9, 3, 4, 2)).astype(dtype), steps=(1, 4))

    def test_constants(self):
        self.same(
            _open_small('tacotron_decoder'),
            _random(2, 7, 3),
            constants={'source': (_random(2, 6, 5), np.arange(6) < np.array([[3], [6]]))},
        )

    def test_streamed_constants(self):
        config = {'type': 'Conditioning', 'conditioning_name': 'c', 'projection': 'identity'}
        layer = _open(config | {'combination': 'add', 'streaming': True})
        self.assertEqual([(c.name, c.streamed) for c in layer.constants], [('c', True)])
        x, c = _random(2, 10, 3), 2 * _random(2, 10, 3)
        mask = np.arange(10) < np.array([[4], [10]])
        self.same(layer, x, constants={'c': c}, steps=(1, 4))
        self.same(layer, x, constants={'c': (c, mask)}, steps=(1, 4))

    def test_streams_that_need_an_end(self):
        config = json.loads((_MODELS / 'transformer_decoder' / 'small' / 'config.json').read_text())
        text = json.dumps(config).replace('"max_past_horizon": 6', '"max_past_horizon": -1')
        recorded = json.loads(
            (_MODELS / 'transformer_decoder' / 'small' / 'weights.json').read_text()
        )
        layer = _open(json.loads(text), random_model.weights(recorded['weights']))
        self.same(layer, np.array([[1, 2, 3, 4, 5, 6, 7, 8, 9]], np.int32), steps=(1, 4))

    def test_samples_without_a_batch(self):
        layer = _open({'type': 'Delay', 'length': 2})
        for dtype in np.float32, '>i4':
            got = layer.stream(np.arange(1, 4).astype(dtype))
            np.testing.assert_array_equal(got, [0, 0, 1, 2, 3])

    def test_errors(self):
        layer = _open({'type': 'Downsample1D', 'rate': 4})
        with self.assertRaisesRegex(runtime.SequenceLayersError, 'multiple'):
            layer.stream(_random(1, 8, 2), steps=3)
        with self.assertRaises(TypeError):
            layer.stream(_random(1, 8, 2).astype(np.float64))


def _emitting() -> runtime.Layer:
    return _open(
        {
            'type': 'Serial',
            'layers': [
                {'type': 'Scale', 'scale': 2, 'name': 'double'},
                {'type': 'Emit', 'name': 'first'},
                {'type': 'MaxPooling1D', 'pool_size': 2, 'padding': 'causal', 'name': 'late'},
                {'type': 'Sum', 'keepdims': True},
                {'type': 'Emit', 'name': 'second'},
            ],
        }
    )


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class EmitsTest(unittest.TestCase):
    def test_emits_of_runs_and_steps(self):
        layer, x = _emitting(), _random(2, 4, 3)
        mask = np.arange(4) < np.array([[4], [2]])
        specs = layer.emit_specs(x)
        self.assertEqual(len(specs), 2)
        first, second = sorted(specs)
        self.assertEqual(specs[first], ((2, 4, 3), 'float32'))
        self.assertEqual(specs[second], ((2, 4, 1), 'float32'))
        y, y_mask, emits = layer.apply_with_emits(x, mask)
        np.testing.assert_array_equal(y, layer.apply(x, mask)[0])
        np.testing.assert_array_equal(emits[first][0][mask], 2 * x[mask])
        np.testing.assert_array_equal(emits[first][1], mask)
        np.testing.assert_array_equal(emits[second][0], y)
        np.testing.assert_array_equal(emits[second][1], y_mask)
        state = layer.new_state(2, channel_shape=(3,), max_steps=2)
        for t in 0, 2:
            y, _, step = state.step_with_emits(x[:, t : t + 2], mask[:, t : t + 2])
            values, valid = step[first]
            np.testing.assert_array_equal(valid, mask[:, t : t + 2])
            np.testing.assert_array_equal(values[valid], 2 * x[:, t : t + 2][valid])
            np.testing.assert_array_equal(step[second][0], y)
        state.reset()
        y, _, whole = layer.apply_with_emits(x[:, :2], mask[:, :2], state=state)
        np.testing.assert_array_equal(whole[first][0], 2 * x[:, :2])

    def test_attention_emits_what_it_looks_at(self):
        layer = _open_small('tacotron_decoder')
        constants = {'source': _random(2, 6, 5)}
        x = _random(2, 4, 3)
        _, _, emits = layer.apply_with_emits(x, constants=constants)
        probabilities = [v for v, _ in emits.values() if v.shape[-1] == 6]
        self.assertTrue(probabilities)
        np.testing.assert_allclose(probabilities[0].sum(axis=-1), 1, atol=1e-5)
        state = layer.new_state(2, constants=constants)
        self.assertEqual(set(layer.emit_specs(x[:, :2], state=state)), set(emits))
        _, _, step = state.step_with_emits(x[:, :2])
        for path, (values, _) in step.items():
            np.testing.assert_allclose(values, emits[path][0][:, : values.shape[1]], atol=1e-5)

    def test_models_without(self):
        layer, x = _open({'type': 'Identity'}), _random(1, 2, 3)
        self.assertEqual(layer.emit_specs(x), {})
        self.assertEqual(layer.apply_with_emits(x)[2], {})


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class TensorsTest(unittest.TestCase):
    def setUp(self):
        kernel, recurrent = _random(3, 8), 0.5 * _random(2, 8)
        weights = {
            'params.kernel.kernel': kernel,
            'params.recurrent_kernel.kernel': recurrent,
            'params.bias': np.zeros(8, np.float32),
        }
        self.layer = _open({'type': 'LSTM', 'units': 2}, weights)
        self.x = _random(2, 4, 3)

    def state(self) -> runtime.State:
        return self.layer.new_state(2, channel_shape=(3,))

    def test_carry_is_read_and_set(self):
        first, second = self.state(), self.state()
        y, _ = first.step(self.x[:, :1])
        tensors = first.tensors
        self.assertEqual({n: (t.shape, t.dtype.name) for n, t in tensors.items()}, {
            'c': ((2, 2), 'float32'), 'h': ((2, 2), 'float32'),
        })  # fmt: skip
        np.testing.assert_array_equal(tensors['h'], y[:, 0])
        for name, tensor in second.tensors.items():
            np.testing.assert_array_equal(tensor, 0)
            tensor[...] = tensors[name]
        want, _ = first.step(self.x[:, 1:2])
        np.testing.assert_array_equal(second.step(self.x[:, 1:2])[0], want)
        np.testing.assert_array_equal(tensors['h'], want[:, 0])  # a view, not a copy

    def test_views_keep_the_state(self):
        state = self.state()
        h = state.tensors['h'][1:, ::-1]
        state.tensors['h'][...] = 7
        del state, self.layer
        gc.collect()
        np.testing.assert_array_equal(h, 7)
        h[...] = 3
        np.testing.assert_array_equal(h, 3)

    def test_indices_are_read_only(self):
        state = _open({'type': 'Delay', 'length': 2}).new_state(channel_shape=(3,))
        tensors = state.tensors
        self.assertEqual(tensors['values'].shape, (1, 2, 3))
        self.assertEqual(tensors['mask'].dtype, np.bool_)
        with self.assertRaises(ValueError):
            tensors['position'][...] = 1

    def test_layers_outlive_their_states_in_cycles(self):
        for _ in range(20):
            layer = _open({'type': 'Delay', 'length': 2})
            state = layer.new_state(channel_shape=(3,))
            layer.state, layer.itself = state, layer
            state.layer, state.view = layer, state.tensors['values']
            del layer, state
        gc.collect()


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class ExitTest(unittest.TestCase):
    def run_code(self, code: str) -> None:
        """Runs the code after creating one of each handle; the process must end without output."""
        with tempfile.TemporaryDirectory() as folder:
            random_model.make(_MODELS / 'wavernn' / 'small', folder)
            prelude = f"""
                import numpy as np, sys
                import sequence_layers_runtime as runtime
                layer = runtime.Layer.open({folder!r})
                constants = {{'mel': np.zeros((1, 4, 5), np.float32)}}
                state = layer.new_state(constants=constants)
                decoder = layer.new_decoder(constants=constants)
                stepper = state.stepper(1)
                tensors = state.tensors
                decoder.sample()
            """
            source = textwrap.dedent(prelude) + textwrap.dedent(code)
            run = subprocess.run(
                [sys.executable, '-W', 'error', '-X', 'dev', '-c', source],
                capture_output=True,
                text=True,
                env={**os.environ, 'PYTHONPATH': str(_TOOLS)},
            )
        self.assertEqual((run.returncode, run.stderr, run.stdout), (0, '', ''))

    def test_globals_at_exit(self):
        self.run_code('')

    def test_kept_by_what_dies_late(self):
        self.run_code(
            """
            sys.kept = [decoder, state, layer]
            class Late:
                handles = [layer, decoder, tensors]
            runtime.Kept, np.kept = Late, (tensors, stepper)
            Late.itself = Late
            """
        )

    def test_cycles_at_exit(self):
        self.run_code('layer.state, state.decoder, decoder.layer = state, decoder, layer')

    def test_without_the_module(self):
        self.run_code(
            """
            del runtime
            for name in [n for n in sys.modules if n.startswith('sequence_layers_')]:
                del sys.modules[name]
            """
        )

    def test_failed_handles(self):
        self.run_code(
            """
            for make in (
                lambda: runtime.Layer.open('no_such_model'),
                lambda: layer.new_state(-1, constants=constants),
                lambda: layer.new_state(dtype='float64', channel_shape=()),
                lambda: layer.new_decoder(-1, constants=constants),
            ):
                try:
                    make()
                except (runtime.SequenceLayersError, TypeError):
                    continue
                sys.exit('made')
            """
        )


if __name__ == '__main__':
    unittest.main()
