"""Tests that the models of docs/models build with random weights and keep the contract."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import sequence_layers_runtime as runtime
from sequence_layers_tools import random_model

_MODELS = pathlib.Path(__file__).parents[3] / 'docs' / 'models'
# Each of these is a model's own config with smaller sizes.
_SMALL = sorted(path.parent for path in _MODELS.glob('*/small/weights.json'))


def _constants(source: pathlib.Path) -> list[str]:
    """Arguments that describe to the tool the constants that a model reads."""
    recorded = json.loads((source / 'weights.json').read_text())
    return [
        f'--constant={name}={",".join(map(str, shape))}'
        for name, shape in recorded.get('constants', {}).items()
    ]


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class ModelsTest(unittest.TestCase):
    def setUp(self):
        self.sl = pathlib.Path(os.environ['SEQUENCE_LAYERS_LIBRARY']).parent / 'sl'

    def test_small_models_keep_the_contract(self):
        self.assertGreaterEqual(len(_SMALL), 7)
        for source in _SMALL:
            with self.subTest(source.parent.name), tempfile.TemporaryDirectory() as model:
                random_model.make(source, model)
                runtime.Layer.open(model)
                command = [self.sl, 'verify', model, *_constants(source)]
                run = subprocess.run(command, capture_output=True, text=True)
                self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


if __name__ == '__main__':
    unittest.main()
