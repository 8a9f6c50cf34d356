"""Tests of the sentence encoder's conversion, with small random weights."""

import os
import tempfile
import unittest

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_tools import minilm, reference_bert

_SETTINGS = {
    'hidden_size': 12,
    'intermediate_size': 20,
    'layer_norm_eps': 1e-12,
    'max_position_embeddings': 9,
    'num_attention_heads': 3,
    'num_hidden_layers': 2,
    'type_vocab_size': 2,
    'vocab_size': 17,
}


def _parameters() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    width, inner = _SETTINGS['hidden_size'], _SETTINGS['intermediate_size']
    shapes = {
        'embeddings.word_embeddings.weight': (_SETTINGS['vocab_size'], width),
        'embeddings.position_embeddings.weight': (_SETTINGS['max_position_embeddings'], width),
        'embeddings.token_type_embeddings.weight': (_SETTINGS['type_vocab_size'], width),
    }
    norms = ['embeddings.LayerNorm']
    for i in range(_SETTINGS['num_hidden_layers']):
        layer = f'encoder.layer.{i}'
        dense = {f'attention.self.{which}': (width, width) for which in ('query', 'key', 'value')}
        dense |= {
            'attention.output.dense': (width, width),
            'intermediate.dense': (inner, width),
            'output.dense': (width, inner),
        }
        for name, shape in dense.items():
            shapes |= {f'{layer}.{name}.weight': shape, f'{layer}.{name}.bias': shape[:1]}
        norms += [f'{layer}.attention.output.LayerNorm', f'{layer}.output.LayerNorm']
    for name in norms:
        shapes |= {f'{name}.weight': (width,), f'{name}.bias': (width,)}
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


class MiniLmTest(unittest.TestCase):
    def test_other_activations_are_refused(self):
        with self.assertRaisesRegex(ValueError, "hidden_act is 'relu'"):
            minilm.config({**_SETTINGS, 'hidden_act': 'relu'})

    @unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
    def test_embeddings_are_those_of_numpy(self):
        parameters = _parameters()
        rng = np.random.default_rng(1)
        # The last sentence has the maximum number of tokens, one for each position.
        lengths = np.array([1, 4, _SETTINGS['max_position_embeddings']])
        mask = np.arange(lengths.max()) < lengths[:, None]
        tokens = rng.integers(0, _SETTINGS['vocab_size'], mask.shape, np.int32)
        want = reference_bert.Bert(_SETTINGS, parameters).embed(tokens, mask)
        with tempfile.TemporaryDirectory() as model:
            minilm.convert(_SETTINGS, parameters, model)
            layer = runtime.Layer.open(model)
            got = minilm.embed(layer, tokens, mask)
            alone = minilm.embed(layer, np.ascontiguousarray(tokens[1:2, :4]), mask[1:2, :4])
        self.assertEqual(got.shape, (3, _SETTINGS['hidden_size']))
        np.testing.assert_allclose(got, want, atol=1e-5)
        np.testing.assert_allclose(alone[0], want[1], atol=1e-5)


if __name__ == '__main__':
    unittest.main()
