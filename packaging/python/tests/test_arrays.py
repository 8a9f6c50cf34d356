"""Tests which arrays the binding reads in place, which it copies and which it refuses."""

import json
import os
import pathlib
import tempfile
import unittest

import numpy as np

import sequence_layers_runtime as runtime

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None


def _open(config: dict) -> runtime.Layer:
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / 'config.json').write_text(json.dumps(config))
        return runtime.Layer.open(folder)


def _unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert array.dtype.itemsize == 1 or not view.flags.aligned
    return view


def _layouts(array: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays [2, 4, 3] equal to the given one, with other layouts in memory."""
    record = np.zeros(array.shape, [('a', 'i1'), ('b', array.dtype)])
    record['b'] = array
    aligned = np.zeros(array.shape, np.dtype([('a', array.dtype), ('b', array.dtype)], align=True))
    aligned['b'] = array
    every_second = np.zeros((2, 8, 6), array.dtype)
    every_second[:, ::2, ::2] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    return {
        'big-endian': array.astype(array.dtype.newbyteorder('>')),
        'little-endian': array.astype(array.dtype.newbyteorder('<')),
        'Fortran order': np.asfortranarray(array),
        'transposed': array.transpose(2, 1, 0).copy().transpose(2, 1, 0),
        'negative strides': array[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        'every second': every_second[:, ::2, ::2],
        'field of packed records': record['b'],
        'field of aligned records': aligned['b'],
        'unaligned': _unaligned(array),
        'big-endian, unaligned': _unaligned(array.astype(array.dtype.newbyteorder('>'))),
        'read-only': frozen,
    }


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class ArraysTest(unittest.TestCase):
    def setUp(self):
        self.layer = _open({'type': 'Identity'})
        self.x = np.random.default_rng(0).standard_normal((2, 4, 3), np.float32)

    def runs(self, x: np.ndarray, mask: np.ndarray | None = None):
        """Yields the output of each way to run the layer on an input."""
        yield self.layer.apply(x, mask)
        state = self.layer.new_state(2, channel_shape=(3,), max_steps=4, dtype=x.dtype)
        yield state.step(x, mask)
        yield self.layer.stream(x, mask)
        applier = self.layer.applier(x, mask)
        applier.run()
        yield applier.output, np.ones((2, 4), np.bool_) if mask is None else mask

    def test_layouts_of_every_dtype(self):
        for dtype in np.float32, np.int32, np.bool_, np.complex64, np.float16, np.int8:
            want = (10 * self.x).astype(dtype)
            for name, x in _layouts(want).items():
                for got, mask in self.runs(x):
                    with self.subTest(name, dtype=dtype):
                        np.testing.assert_array_equal(got, want)
                        self.assertTrue(got.dtype.isnative)
                        self.assertTrue(mask.all())

    def test_broadcast_arrays(self):
        wants = {
            'one number': np.broadcast_to(np.float32(3), (2, 4, 3)),
            'one batch': np.broadcast_to(self.x[:1], (2, 4, 3)),
            'one step': np.broadcast_to(self.x[:, :1], (2, 4, 3)),
            'one channel': np.broadcast_to(self.x[..., :1], (2, 4, 3)),
        }
        for name, x in wants.items():
            for got, _ in self.runs(x):
                with self.subTest(name):
                    np.testing.assert_array_equal(got, x)

    def test_bfloat16(self):
        if ml_dtypes is None:
            self.skipTest('no ml_dtypes')
        x = self.x.astype(ml_dtypes.bfloat16)
        for got, _ in self.runs(x):
            self.assertEqual(got.dtype, ml_dtypes.bfloat16)
            np.testing.assert_array_equal(got, x)

    def test_appliers_follow_their_arrays(self):
        x = self.x.astype('>f4')
        mask = np.ones((2, 8), np.bool_)[:, ::-2]
        applier = self.layer.applier(x, mask)
        for scale in 1, 2:
            x *= scale
            applier.run()
            np.testing.assert_array_equal(applier.output, x)

    def test_refused_arrays(self):
        refused = {
            'float64': self.x.astype(np.float64),
            'big-endian float64': self.x.astype('>f8'),
            'int64': self.x.astype(np.int64),
            'int16': self.x.astype(np.int16),
            'uint8': self.x.astype(np.uint8),
            'complex128': self.x.astype(np.complex128),
            'object': self.x.astype(object),
            'text': self.x.astype(str),
            'bytes': self.x.astype('S'),
            'records': np.zeros((2, 4, 3), [('a', 'f4')]),
            'time': np.zeros((2, 4, 3), 'm8[s]'),
            'masked': np.ma.masked_array(self.x, self.x > 0),
            'a list': self.x.tolist(),
            'a number': 1.0,
            'nothing': None,
            'too many dimensions': np.zeros((1,) * 11, np.float32),
        }
        for name, x in refused.items():
            with self.subTest(name):
                with self.assertRaises(TypeError):
                    self.layer.apply(x)
                with self.assertRaises(TypeError):
                    self.layer.new_state(2, channel_shape=(3,), max_steps=4).step(x)
                with self.assertRaises(TypeError):
                    self.layer.apply(self.x, constants={'c': x})
        for rank in 0, 1:
            with self.assertRaisesRegex(runtime.SequenceLayersError, f'rank is {rank}'):
                self.layer.apply(np.zeros((2,) * rank, np.float32))
        with self.assertRaisesRegex(TypeError, r'astype\(np.float32\)'):
            self.layer.apply(self.x.astype(np.float64))

    def test_masks(self):
        want = np.array([[True, True, False, True], [True, False, False, False]])
        wide = np.zeros((2, 8), np.bool_)
        wide[:, ::2] = want
        masks = {
            'as it is': want,
            'Fortran order': np.asfortranarray(want),
            'negative strides': want[::-1, ::-1].copy()[::-1, ::-1],
            'every second': wide[:, ::2],
            'uint8': want.astype(np.uint8),
            'int8': -want.astype(np.int8),
        }
        for name, mask in masks.items():
            for _, got in self.runs(self.x, mask):
                with self.subTest(name):
                    np.testing.assert_array_equal(np.asarray(got) != 0, want)
        for value in False, True:
            mask = np.broadcast_to(np.bool_(value), (2, 4))
            for _, got in self.runs(self.x, mask):
                np.testing.assert_array_equal(got, mask)

    def test_refused_masks(self):
        mask = np.ones((2, 4), np.bool_)
        refused = {
            'float32': mask.astype(np.float32),
            'int32': mask.astype(np.int32),
            'bytes': mask.astype('S1'),
            'a list': mask.tolist(),
            'masked': np.ma.masked_array(mask),
            'of every channel': np.ones((2, 4, 3), np.bool_),
            'of another length': mask[:, :3],
            'without batch': mask[0],
        }
        for name, wrong in refused.items():
            with self.subTest(name), self.assertRaises(TypeError):
                self.layer.apply(self.x, wrong)

    def test_constants(self):
        config = {'type': 'Conditioning', 'conditioning_name': 'c'}
        layer = _open(config | {'projection': 'identity', 'combination': 'add'})
        for name, c in _layouts(self.x).items():
            with self.subTest(name):
                got, _ = layer.apply(self.x, constants={'c': c})
                np.testing.assert_array_equal(got, 2 * self.x)
                got, _ = layer.stream(self.x, constants={'c': (c, np.ones((2, 4), np.bool_))})
                np.testing.assert_array_equal(got, 2 * self.x)
        got, _ = layer.apply(self.x, constants={'c': runtime.Array(self.x[:, 0].astype('>f4'))})
        np.testing.assert_array_equal(got, self.x + self.x[:, :1])
        got, _ = layer.apply(
            self.x, constants={'c': runtime.Array(np.broadcast_to(np.float32(2), (2, 3)))}
        )
        np.testing.assert_array_equal(got, self.x + 2)


if __name__ == '__main__':
    unittest.main()
