"""Tests how model directories are written: modes, layouts, and that failures leave nothing."""

import json
import os
import pathlib
import stat
import tempfile
import unittest

import numpy as np
from safetensors.numpy import load_file

from sequence_layers_tools import model_directory

_CONFIG = {'type': 'Dense', 'features': 2}


def _write(directory: pathlib.Path, value: float, **options) -> None:
    weights = {'params.kernel': np.full((3, 2), value, np.float32)}
    model_directory.write(directory, _CONFIG, weights, channel_shape=(3,), **options)


class WriteTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob('*'))

    def test_modes_follow_the_umask(self):
        for umask in 0o022, 0o002, 0o077, 0o000:
            before = os.umask(umask)
            try:
                model = self.folder / f'{umask:o}' / 'model'
                _write(model, 1)
                _write(model, 2)
                model_directory.write_tensors(model / 'more.safetensors', {})
            finally:
                os.umask(before)
            for path in model.iterdir():
                with self.subTest(path.name, umask=oct(umask)):
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o666 & ~umask)
            self.assertEqual(stat.S_IMODE(model.stat().st_mode), 0o777 & ~umask)

    def test_layouts(self):
        tensors = {
            'big': np.arange(6, dtype='>f4').reshape(2, 3),
            'transposed': np.arange(6, dtype=np.float32).reshape(2, 3).T,
            'reversed': np.arange(6, dtype=np.float32)[::-1],
            'scalar': np.array(3, np.float32),
            'broadcast': np.broadcast_to(np.float32(2), (2, 2)),
            'empty': np.zeros((0, 2), np.float32),
        }
        path = self.folder / 'a.safetensors'
        model_directory.write_tensors(path, tensors)
        read = load_file(path)
        self.assertEqual(set(read), set(tensors))
        for name, want in tensors.items():
            np.testing.assert_array_equal(read[name], want)
            self.assertEqual(read[name].shape, want.shape)

    def test_replaces_a_model_and_nothing_else(self):
        model = self.folder / 'model'
        _write(model, 1)
        (model / 'README').write_text('mine')
        _write(model, 2)
        self.assertEqual(load_file(model / 'model.safetensors')['params.kernel'][0, 0], 2)
        self.assertEqual(json.loads((model / 'config.json').read_text()), _CONFIG)
        self.assertEqual((model / 'README').read_text(), 'mine')
        self.assertEqual(len(self.names()), 4)

    def test_failures_leave_all_as_it_was(self):
        def refuse(directory: pathlib.Path) -> None:
            self.assertTrue((directory / 'model.safetensors').is_file())
            raise RuntimeError('refused')

        model = self.folder / 'model'
        for place in model, self.folder / 'not' / 'there' / 'yet':
            with self.assertRaisesRegex(RuntimeError, 'refused'):
                _write(place, 1, check=refuse)
            self.assertEqual(self.names(), [])
        _write(model, 1)
        with self.assertRaisesRegex(RuntimeError, 'refused'):
            _write(model, 2, check=refuse)
        with self.assertRaises(model_directory.WriteError):
            model_directory.write(model, _CONFIG, {'a': np.array(['text'])}, channel_shape=(3,))
        self.assertEqual(load_file(model / 'model.safetensors')['params.kernel'][0, 0], 1)
        self.assertEqual(len(self.names()), 3)

    def test_files_in_the_way(self):
        (self.folder / 'file').write_text('mine')
        for place in self.folder / 'file', self.folder / 'file' / 'model':
            with self.assertRaises(NotADirectoryError):
                _write(place, 1)
        self.assertEqual((self.folder / 'file').read_text(), 'mine')


if __name__ == '__main__':
    unittest.main()
