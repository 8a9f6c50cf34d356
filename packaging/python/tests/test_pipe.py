"""Tests of pipes in the runtime."""

import unittest

import numpy as np

import sequence_layers_runtime as runtime

LATE = {'type': 'Serial', 'layers': [{'type': 'Lookahead', 'length': 37}]}


def _pipe(config: dict, **options) -> runtime.Pipe:
    return runtime.Layer.create(config).new_pipe(host_rate=48000.0, **options)


class PipeTest(unittest.TestCase):
    def setUp(self):
        self.x = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)

    def test_any_sizes_give_the_whole_run_late_by_the_latency(self):
        pipe = _pipe(LATE, host_channels=2, max_frames=64)
        sizes = [0, 1, 63, 200, 736]
        parts = np.split(self.x, np.cumsum(sizes)[:-1], axis=1)
        y = np.concatenate([pipe.process(part) for part in parts] + [pipe.flush()], axis=1)
        expected, _ = runtime.Layer.create(LATE).apply(self.x)
        self.assertEqual(pipe.latency, 37)
        np.testing.assert_array_equal(y[:, :37], 0)
        np.testing.assert_array_equal(y[:, 37:1000], expected)
        np.testing.assert_array_equal(y[:, 1000:], 0)

    def test_reset_starts_again(self):
        pipe = _pipe(LATE, host_channels=2)
        first = pipe.process(self.x)
        pipe.reset()
        np.testing.assert_array_equal(pipe.process(self.x), first)

    def test_dry_is_the_late_input(self):
        pipe = _pipe({'type': 'Scale', 'scale': 0.0}, dry=1.0)
        np.testing.assert_array_equal(pipe.process(self.x[:1]), self.x[:1])
        pipe.set_dry(0.0)
        np.testing.assert_array_equal(pipe.process(np.ones((1, 4800)))[0, -10:], np.zeros(10))

    def test_rates_are_converted(self):
        pipe = _pipe({'type': 'Scale', 'scale': 0.5}, model_rate=16000.0, quality='best')
        t = np.arange(48000) / 48000
        tone = np.sin(2 * np.pi * 440 * t).astype(np.float32)[np.newaxis]
        y = np.concatenate([pipe.process(tone), pipe.flush()], axis=1)[:, pipe.latency :]
        error = np.abs(y[0, 2000:-2000] - 0.5 * tone[0, 2000:-2000]).max()
        self.assertGreater(pipe.latency, 0)
        self.assertLess(error, 1e-4)

    def test_swap_changes_the_model_and_frees_the_old_one(self):
        pipe, following = (
            _pipe({'type': 'Scale', 'scale': 1.0}),
            _pipe({'type': 'Scale', 'scale': 3.0}),
        )
        pipe.swap(following)
        self.assertTrue(following.closed)
        self.assertTrue(pipe.is_fading)
        with self.assertRaises(runtime.SequenceLayersError):
            pipe.swap(_pipe({'type': 'Scale', 'scale': 4.0}))
        y = pipe.process(np.ones((1, 4800)))
        self.assertLess(y[0, 0], 1.01)
        self.assertEqual(y[0, -1], 3.0)
        self.assertFalse(pipe.is_fading)
        pipe.swap(_pipe({'type': 'Scale', 'scale': 4.0}))

    def test_errors_name_what_was_expected(self):
        pipe = _pipe({'type': 'Scale', 'scale': 1.0}, host_channels=2)
        with self.assertRaisesRegex(ValueError, r'\(1, 4\): expected \[2, frames\]'):
            pipe.process(np.ones((1, 4)))
        with self.assertRaisesRegex(ValueError, "quality 'good' is none of"):
            _pipe({'type': 'Scale', 'scale': 1.0}, quality='good')
        with self.assertRaisesRegex(runtime.SequenceLayersError, 'output steps|one output step'):
            _pipe({'type': 'Downsample1D', 'rate': 2})
        pipe.close()
        with self.assertRaisesRegex(ValueError, 'this Pipe is closed'):
            pipe.process(np.ones((2, 4)))


if __name__ == '__main__':
    unittest.main()
