"""Tests of the binding's streams, constants and decoders, on the small models of docs/models."""

import os
import pathlib
import tempfile
import unittest

import numpy as np

from sequence_layers_tools import library, model_directory, random_model

_MODELS = pathlib.Path(__file__).parents[3] / 'docs' / 'models'


def _open(name: str, seed: int = 0) -> library.Layer:
    with tempfile.TemporaryDirectory() as folder:
        random_model.make(_MODELS / name / 'small', folder, seed)
        return library.Layer.open(folder)


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
            layer = library.Layer.open(folder)
        self.assertEqual(layer.sample_rate, 16000)
        self.assertEqual(layer.metadata('source'), 'a tést')
        self.assertIsNone(layer.metadata('sauce'))

    def test_a_model_without_weights_has_none(self):
        layer = library.Layer.open(_MODELS / 'stft_round_trip')
        self.assertIsNone(layer.metadata('source'))
        self.assertIsNone(layer.sample_rate)


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

    def test_missing_constant(self):
        with self.assertRaisesRegex(library.SequenceLayersError, 'source'):
            self.layer.apply(self.x)

    def test_arrays(self):
        with tempfile.TemporaryDirectory() as folder:
            config = '{"type": "Conditioning", "conditioning_name": "c", "projection": "identity", '
            path = pathlib.Path(folder) / 'config.json'
            path.write_text(config + '"combination": "add"}')
            layer = library.Layer.open(folder)
        c = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
        got, _ = layer.apply(self.x, constants={'c': library.Array(c)})
        np.testing.assert_array_equal(got, self.x + c[:, np.newaxis])


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class DecoderTest(unittest.TestCase):
    def setUp(self):
        self.layer = _open('wavernn')
        self.mel = _random(2, 4, 5)
        self.options = {'start_token': 4, 'constants': {'mel': self.mel}}

    def sample(self, decoder: library.Decoder, steps: int) -> tuple[np.ndarray, np.ndarray]:
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
        with self.assertRaisesRegex(library.SequenceLayersError, 'block size 1'):
            _open('causal_conformer').new_decoder()


if __name__ == '__main__':
    unittest.main()
