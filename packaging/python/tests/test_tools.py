"""Tests what the tools compute themselves, and the binding if SL_TEST_MODEL is set."""

import os
import pathlib
import tempfile
import unittest

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_benches import log_mel, reference_vad
from sequence_layers_tools import silero_vad, wav


class SileroVadTest(unittest.TestCase):
    def test_folded_filters_act_as_reflection_does(self):
        rng = np.random.default_rng(0)
        frame = rng.standard_normal(576)
        filters = rng.standard_normal((256, 5))
        want = np.pad(frame, (0, 64), 'reflect')[-256:] @ filters
        got = frame[-192:] @ silero_vad.fold_reflection(filters)
        np.testing.assert_allclose(got, want, rtol=1e-12)

    def test_frames_carry_their_context(self):
        samples = np.arange(1, 1101, dtype=np.float32)
        frames = reference_vad.frames(samples)
        self.assertEqual(frames.shape, (3, 1, 576))
        np.testing.assert_array_equal(frames[0, 0, :64], 0)
        np.testing.assert_array_equal(frames[1, 0], samples[512 - 64 : 1024])
        np.testing.assert_array_equal(frames[2, 0, 64 + 76 :], 0)


class WavTest(unittest.TestCase):
    def test_round_trip(self):
        samples = np.array([0, 0.5, -1, 32767 / 32768, 3], np.float32)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'a.wav'
            wav.write(path, samples, 8000)
            got, rate = wav.read(path)
        self.assertEqual(rate, 8000)
        np.testing.assert_array_equal(got, np.minimum(samples, 32767 / 32768))


_MODELS = pathlib.Path(__file__).parents[3] / 'docs' / 'models'


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class FrontEndTest(unittest.TestCase):
    def setUp(self):
        rng = np.random.default_rng(0)
        self.samples = 0.1 * rng.standard_normal(50 * 160, np.float32)

    def test_log_mel_is_what_numpy_computes(self):
        layer = runtime.Layer.open(_MODELS / 'log_mel')
        want = log_mel.Fields(_MODELS / 'log_mel').features(self.samples)
        got, mask = layer.apply(self.samples[np.newaxis])
        self.assertTrue(mask.all())
        np.testing.assert_allclose(got[0], want, atol=1e-5)
        np.testing.assert_array_equal(layer.stream(self.samples), got[0])

    def test_inverse_stft_inverts(self):
        copy = runtime.Layer.open(_MODELS / 'stft_round_trip').stream(self.samples)
        np.testing.assert_allclose(copy[240:], self.samples[:-240], atol=1e-6)


@unittest.skipUnless('SL_TEST_MODEL' in os.environ, 'no model given')
class LibraryTest(unittest.TestCase):
    def setUp(self):
        self.layer = runtime.Layer.open(os.environ['SL_TEST_MODEL'])

    def test_properties(self):
        self.assertEqual(self.layer.block_size, 512)
        self.assertEqual(self.layer.output_ratio * 512, 1)
        self.assertEqual(self.layer.input_latency, 0)
        self.assertEqual(self.layer.output_latency, 0)
        self.assertEqual(self.layer.input_spec, ((), 'float32'))
        self.assertEqual(self.layer.sample_rate, 16000)

    def test_steps_equal_layer(self):
        x = np.random.default_rng(0).standard_normal((2, 4 * 512)).astype(np.float32)
        want, mask = self.layer.apply(x)
        self.assertEqual(want.shape, (2, 4, 1))
        self.assertTrue(mask.all())
        state = self.layer.new_state(batch=2)
        # The blocks are strided views of x.
        got = [state.step(x[:, t : t + 512])[0] for t in range(0, x.shape[1], 512)]
        np.testing.assert_allclose(np.concatenate(got, axis=1), want, atol=1e-5)

    def test_mask(self):
        x = np.zeros((1, 2 * 512), np.float32)
        mask = np.arange(2 * 512)[None] < 512
        self.assertEqual(self.layer.apply(x, mask)[1].tolist(), [[True, False]])

    def test_stepper(self):
        x = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)
        want = self.layer.apply(x.reshape(1, -1))[0].ravel()
        state = self.layer.new_state()
        stepper = state.stepper(512)
        for _ in range(2):
            state.reset()
            for block, probability in zip(x, want, strict=True):
                stepper.step(block.ctypes.data)
                self.assertAlmostEqual(stepper.output.item(), probability, places=5)

    def test_errors(self):
        with self.assertRaisesRegex(runtime.SequenceLayersError, 'no_such_model'):
            runtime.Layer.open('no_such_model')
        with self.assertRaises(runtime.SequenceLayersError):
            self.layer.apply(np.zeros((1, 512, 7), np.float32))
        with self.assertRaises(runtime.SequenceLayersError):
            self.layer.new_state().step(np.zeros((1, 500), np.float32))
        with self.assertRaises(TypeError):
            self.layer.apply(np.zeros((1, 512), np.float64))


if __name__ == '__main__':
    unittest.main()
