"""Tests of the runtime's streams, constants, decoders and handles, on the small models of docs/models."""

import contextlib
import gc
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest
from typing import ClassVar
from unittest import mock

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_runtime import abi
from sequence_layers_tools import model_directory, random_model

_PACKAGES = pathlib.Path(__file__).parents[1]
_MODELS = _PACKAGES.parents[1] / 'docs' / 'models'


def _open(name: str, seed: int = 0) -> runtime.Layer:
    with tempfile.TemporaryDirectory() as folder:
        random_model.make(_MODELS / name / 'small', folder, seed)
        return runtime.Layer.open(folder)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, np.float32)


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class MetadataTest(unittest.TestCase):
    def test_metadata_of_the_weights(self):
        with tempfile.TemporaryDirectory() as folder:
            weights = {'params.kernel': _random(3, 2)}
            config = {'type': 'Dense', 'features': 2, 'use_bias': False}
            metadata = {'sample_rate': '16000', 'source': 'a tést'}
            model_directory.write(folder, config, weights, channel_shape=(3,), metadata=metadata)
            layer = runtime.Layer.open(folder)
        self.assertEqual(layer.sample_rate, 16000)
        self.assertEqual(layer.metadata('source'), 'a tést')
        self.assertIsNone(layer.metadata('sauce'))

    def test_a_model_without_weights_has_none(self):
        layer = runtime.Layer.open(_MODELS / 'stft_round_trip')
        self.assertIsNone(layer.metadata('source'))
        self.assertIsNone(layer.sample_rate)


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class WeightFormatTest(unittest.TestCase):
    config: ClassVar = {'type': 'Dense', 'features': 2, 'use_bias': False}

    def test_a_format_and_packed_weights(self):
        kernel, x = _random(40, 2), _random(1, 3, 40)
        layer = runtime.Layer.create(self.config, {'params.kernel': kernel}, weight_format='int8')
        y = layer.apply(x)[0]
        difference = np.abs(y - x @ kernel).max()
        self.assertGreater(difference, 0)
        self.assertLess(difference, 0.2)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'model.safetensors')
            layer.save_weights(path)
            packed = runtime.Layer.create(self.config, path)
        np.testing.assert_array_equal(packed.apply(x)[0], y)

    def test_an_unknown_format(self):
        for option in ('weight_format', 'kv_format'):
            with self.assertRaisesRegex(runtime.SequenceLayersError, 'int7'):
                runtime.Layer.create(
                    self.config, {'params.kernel': _random(4, 2)}, **{option: 'int7'}
                )


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class StateTest(unittest.TestCase):
    def setUp(self):
        self.layer = _open('tacotron_decoder')
        self.constants = {'source': _random(2, 6, 5)}
        self.x = _random(2, 16, 3)
        self.state = self.layer.new_state(2, constants=self.constants)

    def steps(self, begin: int, end: int) -> np.ndarray:
        blocks = [self.state.step(self.x[:, t : t + 2])[0] for t in range(begin, end, 2)]
        return np.concatenate(blocks, axis=1)

    def test_steps_read_the_constants_of_their_state(self):
        want, _ = self.layer.apply(self.x, constants=self.constants)
        np.testing.assert_allclose(self.steps(0, 16), want, atol=1e-5)
        self.state.reset()
        other = {'source': self.constants['source'] + 1}
        got, _ = self.state.step(self.x[:, :2], constants=other)
        self.assertFalse(np.allclose(got, want[:, :1]))

    def test_an_array_run_again_and_again(self):
        layer = _open('causal_conformer')
        x = _random(1, 8, *layer.input_spec[0])
        applier = layer.applier(x)
        for scale in 1, 2:
            x *= scale
            applier.run()
            np.testing.assert_array_equal(applier.output, layer.apply(x)[0])
        mask = np.arange(8)[np.newaxis] < 4
        applier = layer.applier(x, mask)
        applier.run()
        np.testing.assert_array_equal(applier.output, layer.apply(x, mask)[0])

    def test_masked_constants(self):
        mask = np.arange(6) < np.array([[3], [6]])
        want, _ = self.layer.apply(
            self.x[:1], constants={'source': self.constants['source'][:1, :3].copy()}
        )
        source = (self.constants['source'], mask)
        got, _ = self.layer.apply(self.x, constants={'source': source})
        np.testing.assert_allclose(got[:1], want, atol=1e-5)

    def test_prompt_then_steps(self):
        want, _ = self.layer.apply(self.x, constants=self.constants)
        prompt, mask = self.layer.apply(self.x[:, :10], state=self.state)
        self.assertTrue(mask.all())
        got = np.concatenate([prompt, self.steps(10, 16)], axis=1)
        np.testing.assert_allclose(got, want, atol=1e-5)

    def test_frames_fed_back(self):
        # The output for two frames is the next two frames.
        frames = np.zeros((2, 2, 3), np.float32)
        given, made = [], []
        for _ in range(8):
            given.append(frames)
            made.append(self.state.step(frames)[0])
            frames = made[-1].reshape(2, 2, 3)
        want, _ = self.layer.apply(np.concatenate(given, axis=1), constants=self.constants)
        np.testing.assert_allclose(np.concatenate(made, axis=1), want, atol=1e-5)

    def test_copy(self):
        self.steps(0, 4)
        fork = self.layer.new_state(2, constants=self.constants, max_steps=8)
        fork.copy_from(self.state)
        want = self.steps(4, 12)
        np.testing.assert_allclose(fork.step(self.x[:, 4:12])[0], want, atol=1e-5)

    def test_save_and_load(self):
        self.steps(0, 4)
        saved = self.state.save()
        self.assertIsInstance(saved, bytes)
        want = self.steps(4, 10)
        other = self.layer.new_state(2, constants=self.constants)
        for data in saved, bytearray(saved), np.frombuffer(saved, np.uint8):
            other.load(data)
            got = [other.step(self.x[:, t : t + 2])[0] for t in range(4, 10, 2)]
            np.testing.assert_array_equal(np.concatenate(got, axis=1), want)

    def test_loads_that_are_refused_change_nothing(self):
        self.steps(0, 4)
        saved = self.state.save()
        small = self.layer.new_state(1, constants={'source': self.constants['source'][:1].copy()})
        for data in b'', saved[:-1], saved[:8] + bytes(len(saved) - 8), small.save():
            with self.assertRaises(runtime.SequenceLayersError):
                self.state.load(data)
        with self.assertRaises(TypeError):
            self.state.load(7)
        self.assertEqual(self.state.save(), saved)

    def test_missing_constant(self):
        with self.assertRaisesRegex(runtime.SequenceLayersError, 'source'):
            self.layer.apply(self.x)

    def test_arrays(self):
        with tempfile.TemporaryDirectory() as folder:
            config = '{"type": "Conditioning", "conditioning_name": "c", "projection": "identity", '
            path = pathlib.Path(folder) / 'config.json'
            path.write_text(config + '"combination": "add"}')
            layer = runtime.Layer.open(folder)
        c = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
        got, _ = layer.apply(self.x, constants={'c': runtime.Array(c)})
        np.testing.assert_array_equal(got, self.x + c[:, np.newaxis])


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class DecoderTest(unittest.TestCase):
    def setUp(self):
        self.layer = _open('wavernn')
        self.mel = _random(2, 4, 5)
        self.options = {'start_token': 4, 'constants': {'mel': self.mel}}

    def sample(self, decoder: runtime.Decoder, steps: int) -> tuple[np.ndarray, np.ndarray]:
        tokens, log_probs, masks = zip(*(decoder.sample() for _ in range(steps)), strict=True)
        self.assertTrue(np.all(masks))
        return np.stack(tokens, axis=1), np.stack(log_probs, axis=1)

    def test_log_probs_are_those_of_a_whole_run(self):
        decoder = self.layer.new_decoder(2, seed=3, temperature=1.0, **self.options)
        tokens, log_probs = self.sample(decoder, 12)
        got, mask = decoder.log_prob(tokens)
        self.assertTrue(mask.all())
        np.testing.assert_allclose(got, log_probs, atol=1e-5)
        inputs = np.concatenate([np.full((2, 1), 4, np.int32), tokens[:, :-1]], axis=1)
        logits, _ = self.layer.apply(inputs, constants=self.options['constants'])
        all_probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        want = np.log(np.take_along_axis(all_probs, tokens[..., np.newaxis], axis=-1)[..., 0])
        np.testing.assert_allclose(log_probs, want, atol=1e-5)

    def test_greedy_choices_are_the_most_likely(self):
        decoder = self.layer.new_decoder(2, **self.options)
        token = np.full((2, 1), 4, np.int32)
        state = self.layer.new_state(2, constants=self.options['constants'])
        for _ in range(12):
            logits, _ = state.step(token)
            token = decoder.sample()[0][:, np.newaxis]
            np.testing.assert_array_equal(token, logits.argmax(axis=-1))

    def test_prefill_copy_and_reset(self):
        decoder = self.layer.new_decoder(2, seed=1, temperature=1.0, **self.options)
        tokens, _ = self.sample(decoder, 12)
        decoder.reset()
        decoder.prefill(np.ascontiguousarray(tokens[:, :7]))
        fork = self.layer.new_decoder(2, seed=1, temperature=1.0, **self.options)
        fork.copy_from(decoder)
        np.testing.assert_array_equal(self.sample(decoder, 5)[0], tokens[:, 7:])
        np.testing.assert_array_equal(self.sample(fork, 5)[0], tokens[:, 7:])

    def test_stopping(self):
        greedy = self.layer.new_decoder(2, **self.options)
        tokens, _ = self.sample(greedy, 3)
        stop = int(tokens[0, 0])
        decoder = self.layer.new_decoder(2, stop_token=stop, pad_token=7, **self.options)
        self.assertEqual(decoder.sample()[0][0], stop)
        token, log_prob, mask = decoder.sample()
        self.assertEqual((token[0], log_prob[0], mask[0]), (7, 0, False))

    def test_models_that_are_no_decoders(self):
        with self.assertRaisesRegex(runtime.SequenceLayersError, 'block size 1'):
            _open('causal_conformer').new_decoder()


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class DescribeTest(unittest.TestCase):
    def test_what_the_model_says_it_takes(self):
        with tempfile.TemporaryDirectory() as folder:
            weights = {'params.kernel': _random(3, 2)}
            config = {'type': 'Dense', 'features': 2, 'use_bias': False, 'name': 'projection'}
            model_directory.write(folder, config, weights, channel_shape=(3,))
            layer = runtime.Layer.open(folder)
        found = layer.describe()
        self.assertEqual((found['type'], found['name']), ('Dense', 'projection'))
        self.assertEqual(found['parameters'], 6)
        self.assertEqual(found['input'], {'dtype': 'float32', 'channel_shape': [3]})
        self.assertEqual(found['output'], {'dtype': 'float32', 'channel_shape': [2]})

    def test_another_input(self):
        layer = runtime.Layer.open(_MODELS / 'stft_round_trip')
        found = layer.describe(channel_shape=(2,), dtype='float32')
        self.assertEqual(found['input'], {'dtype': 'float32', 'channel_shape': [2]})
        self.assertEqual(found['block_size'], layer.block_size)
        self.assertEqual(found['output_latency'], layer.output_latency)
        with self.assertRaises(TypeError):
            layer.describe(channel_shape=(2,), dtype='float64')

    def test_constants(self):
        layer = _open('tacotron_decoder')
        constants = {'source': _random(1, 6, 5)}
        self.assertEqual(layer.describe(constants=constants)['type'], 'Serial')
        with self.assertRaisesRegex(runtime.SequenceLayersError, 'source'):
            layer.describe()


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class CloseTest(unittest.TestCase):
    def setUp(self):
        self.constants = {'mel': _random(1, 4, 5)}
        self.layer = _open('wavernn')
        self.token = np.full((1, 1), 4, np.int32)

    def freed(self, block) -> list[str]:
        """The names of the freeing functions that `block` calls, in order."""
        calls = []
        loaded = abi.load()
        names = 'sl_layer_free', 'sl_state_free', 'sl_decoder_free'
        patches = contextlib.ExitStack()
        for name in names:
            free = getattr(loaded, name)

            def noting(pointer, name=name, free=free):
                calls.append(name)
                free(pointer)

            patches.enter_context(mock.patch.object(loaded, name, noting))
        with patches:
            block()
        return calls

    def test_closed_at_the_end_of_with(self):
        def block():
            with _open('wavernn') as layer:
                with layer.new_state(constants=self.constants) as state:
                    state.step(self.token)
                self.assertTrue(state.closed)
                with layer.new_decoder(constants=self.constants) as decoder:
                    decoder.sample()
                self.assertFalse(layer.closed)

        self.assertEqual(self.freed(block), ['sl_state_free', 'sl_decoder_free', 'sl_layer_free'])

    def test_freed_after_all_that_was_made_of_it(self):
        def block():
            layer = _open('wavernn')
            state = layer.new_state(constants=self.constants)
            want, _ = state.step(self.token)
            state.reset()
            decoder = layer.new_decoder(constants=self.constants)
            layer.close()
            decoder.sample()
            np.testing.assert_array_equal(state.step(self.token)[0], want)
            decoder.close()
            state.close()
            layer.close()
            state.close()
            self.kept = layer, state, decoder

        self.assertEqual(self.freed(block), ['sl_decoder_free', 'sl_state_free', 'sl_layer_free'])

    def test_steppers_and_views_keep_the_state(self):
        def block():
            state = self.layer.new_state(constants=self.constants)
            want, _ = state.step(self.token)
            state.reset()
            stepper = state.stepper(1)
            state.close()
            stepper.step(self.token.ctypes.data)
            np.testing.assert_array_equal(stepper.output, want)
            calls.append('stepped')
            del stepper
            gc.collect()

        calls = []
        self.assertEqual(self.freed(block), ['sl_state_free'])
        self.assertEqual(calls, ['stepped'])
        state = self.layer.new_state(constants=self.constants)
        state.step(self.token)
        tensors = state.tensors
        want = {name: tensor.copy() for name, tensor in tensors.items()}
        state.close()
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, want[name])

    def test_errors_close_too(self):
        with self.assertRaisesRegex(runtime.SequenceLayersError, 'rank'):
            with self.layer.new_state(constants=self.constants) as state:
                state.step(np.int32(1))
        self.assertTrue(state.closed)

    def test_use_after_close(self):
        layer = _open('wavernn')
        other = self.layer.new_state(constants=self.constants)
        other_decoder = self.layer.new_decoder(constants=self.constants)
        state = layer.new_state(constants=self.constants)
        decoder = layer.new_decoder(constants=self.constants)
        for closable in decoder, state, layer:
            closable.close()
        uses = {
            'Layer': (
                lambda: layer.block_size,
                lambda: layer.output_ratio,
                lambda: layer.supports_step,
                lambda: layer.input_spec,
                lambda: layer.constants,
                lambda: layer.step_differences,
                lambda: layer.metadata('sample_rate'),
                lambda: layer.describe(channel_shape=(), dtype='int32'),
                lambda: layer.output_shape(self.token, constants=self.constants),
                lambda: layer.emit_specs(self.token, constants=self.constants),
                lambda: layer.apply(self.token, constants=self.constants),
                lambda: layer.applier(self.token),
                lambda: layer.stream(self.token, constants=self.constants),
                lambda: layer.new_state(constants=self.constants),
                lambda: layer.new_decoder(constants=self.constants),
            ),
            'State': (
                lambda: state.step(self.token),
                lambda: state.step_with_emits(self.token),
                lambda: state.stepper(1),
                lambda: state.tensors,
                lambda: state.reset(),
                lambda: state.save(),
                lambda: state.load(b''),
                lambda: state.copy_from(other),
                lambda: other.copy_from(state),
                lambda: self.layer.apply(self.token, state=state),
            ),
            'Decoder': (
                lambda: decoder.sample(),
                lambda: decoder.prefill(self.token),
                lambda: decoder.log_prob(self.token),
                lambda: decoder.reset(),
                lambda: decoder.copy_from(other_decoder),
                lambda: other_decoder.copy_from(decoder),
            ),
        }
        for name, calls in uses.items():
            for index, call in enumerate(calls):
                with self.subTest(name, index=index):
                    with self.assertRaisesRegex(ValueError, f'this {name} is closed'):
                        call()


class PackageTest(unittest.TestCase):
    def test_the_runtime_needs_numpy_only(self):
        code = """
            import sys
            before = set(sys.modules)
            import numpy
            import sequence_layers_runtime as runtime
            for name in runtime.__all__:
                getattr(runtime, name)
            loaded = {name.partition('.')[0] for name in set(sys.modules) - before}
            others = loaded - set(sys.stdlib_module_names) - {'numpy', 'sequence_layers_runtime'}
            print(*sorted(n for n in others if not n.startswith('_')))
        """
        found = subprocess.run(
            [sys.executable, '-c', textwrap.dedent(code)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, 'PYTHONPATH': str(_PACKAGES)},
        )
        self.assertEqual(found.stdout.strip(), '')

    def test_the_former_name(self):
        from sequence_layers_tools import library

        for name in set(library.__all__) - {'Constants', 'Emits', 'load'}:
            self.assertIs(getattr(library, name), getattr(runtime, name))
        self.assertIs(library.load, abi.load)


if __name__ == '__main__':
    unittest.main()
