"""Tests of the tools that time attention models, on a small decoder."""

import json
import os
import pathlib
import tempfile
import unittest

import numpy as np

from sequence_layers_benches import bench_attention, decode, onnx_attention
from sequence_layers_tools import random_model

_SMALL = pathlib.Path(__file__).parents[3] / 'docs/models/transformer_decoder/small'
_STEPS = 40  # exceeds the window


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class DecoderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.model = folder.name
        random_model.make(_SMALL, self.model)

    def test_the_onnx_graph_computes_what_the_library_does(self):
        config = json.loads((_SMALL / 'config.json').read_text())
        recorded = json.loads((_SMALL / 'weights.json').read_text())
        weights = random_model.weights(recorded['weights'])
        x = np.random.default_rng(0).integers(0, 19, (_STEPS, 1, 1), np.int32)
        ours = bench_attention.Ours(self.model)
        want = np.stack([ours.step(token).copy() for token in x])
        peer = bench_attention.Onnx(onnx_attention.decoder_step(config, weights))
        got = np.stack([peer.step(token).copy() for token in x])
        np.testing.assert_allclose(got, want, atol=1e-5)

    def test_decoding_takes_no_more_memory(self):
        times, memory = decode.run(self.model, 200)
        self.assertEqual(len(times), 200)
        self.assertGreater(times.min(), 0)
        self.assertLess(memory[-1] - memory[0], 1)


if __name__ == '__main__':
    unittest.main()
