"""Tests of the converter, if the reference is installed (packaging/setup.sh --reference)."""

import importlib.util
import json
import pathlib
import tempfile
import unittest

_GOLDEN = pathlib.Path(__file__).parents[3] / 'tests' / 'golden'
# Layers that are not in the reference's package.
_WITHOUT_REFERENCE = set(
    'RNN S4 S4D S5 LRU StopGradient Graph Divide Function SoftCap ReduceTime Pad Tile Roll ViewAsReal'
    ' ViewAsComplex MultiChannelEmbedding ResidualVectorQuantizer MultivariateDecoder'.split()
)
# Files of cases with fields that only this library has.
_OWN_FIELDS = {'TimePadding', 'TransposedPadding', 'InitialCarry'}
# Fields that only a newer revision of the reference has.
_NEWER = ('recompute_kv_per_step', 'use_separate_kv_projections')


@unittest.skipUnless(importlib.util.find_spec('sequence_layers'), 'the reference is not installed')
class ConvertTest(unittest.TestCase):
    def test_recorded_configs_survive_the_round_trip(self):
        from sequence_layers_tools import reference_config

        count = 0
        for path in sorted(_GOLDEN.glob('*.json')):
            if path.stem in _OWN_FIELDS:
                continue
            for case in json.loads(path.read_text()).get('cases', []):
                config = case['config']
                text = json.dumps(config)
                if '__tensorflow' in case['name'] or config['type'] in _WITHOUT_REFERENCE:
                    continue
                if any(name in text for name in _NEWER):
                    continue
                with self.subTest(case['name']):
                    first = reference_config.from_json(config)
                    written = reference_config.to_json(first)
                    again = reference_config.from_json(written)
                    if '"function"' in text:  # calls with parameters are equal to themselves alone
                        self.assertEqual(reference_config.to_json(again), written)
                    else:
                        self.assertEqual(first, again)
                count += 1
        self.assertGreater(count, 1000)

    def test_unknown_functions_name_their_field(self):
        from sequence_layers import jax as sl

        from sequence_layers_tools import reference_config

        config = sl.Serial.Config([sl.Dense.Config(2, activation=lambda x: x * x[..., :1])])
        with self.assertRaisesRegex(reference_config.ConfigError, r'\$\.layers\[0\]\.activation'):
            reference_config.to_json(config)

    def test_convert_writes_config_and_weights(self):
        import numpy as np
        from safetensors.numpy import load_file
        from sequence_layers import jax as sl

        from sequence_layers_tools import convert

        config = sl.Dense.Config(2, use_bias=False, name='dense')
        kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
        with tempfile.TemporaryDirectory() as folder:
            variables = {'params': {'kernel': kernel}}
            convert.convert(config, variables, folder, channel_shape=(3,), verify=False)
            read = json.loads((pathlib.Path(folder) / 'config.json').read_text())
            weights = load_file(pathlib.Path(folder) / 'model.safetensors')
        want = {'type': 'Dense', 'features': 2, 'use_bias': False, 'name': 'dense'}
        self.assertEqual(read, want)
        np.testing.assert_array_equal(weights['params.kernel'], kernel)


if __name__ == '__main__':
    unittest.main()
