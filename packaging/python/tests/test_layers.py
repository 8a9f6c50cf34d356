"""Layers that carry their weights."""

import pathlib
import tempfile
import unittest

import numpy as np
import onnx
from importing.support import GRAPHS
from onnx import numpy_helper

import sequence_layers_runtime as runtime
from sequence_layers_import import verify
from sequence_layers_import.layers import Layer, State, create, residual, save, serial, write
from sequence_layers_import.onnx_model import import_file

_TOLERANCE = 1e-5


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class StateTest(unittest.TestCase):
    """Layers of the parameters of PyTorch's modules, beside the graphs that its exporter made of them."""

    def _check(self, pattern: str, make: object) -> None:
        path = GRAPHS / f'{pattern}.legacy.onnx'
        tensors = onnx.load(path).graph.initializer
        state = State({t.name: numpy_helper.to_array(t) for t in tensors if t.data_type == 1})
        layer = create(make(state))  # type: ignore[operator]
        state.check_all_read()
        imported = import_file(path)
        for seed, steps in enumerate((24, 48)):
            inputs = verify.random_inputs(imported, 2, steps, seed)
            want = verify.Original(imported).run(inputs)
            for found in verify.compare(imported, layer, inputs, want, streamed=False):
                self.assertLess(found.relative, _TOLERANCE, found)

    def test_convolutions(self) -> None:
        self._check('conv', lambda state: state.conv1d(''))
        self._check('conv_same', lambda state: state.conv1d('', padding=2))
        self._check('conv_stride', lambda state: state.conv1d('', stride=2, padding=2))
        self._check('conv_groups', lambda state: state.conv1d('', groups=2))
        self._check('up_cut', lambda state: state.conv_transpose1d('', stride=2, padding=1))

    def test_skip_connections(self) -> None:
        def make(state: State) -> Layer:
            relu = Layer('Relu')
            down = (state.conv1d(f'down{i}', stride=2, padding=(2, 0)) for i in (1, 2))
            nodes = [
                {'name': 'first', 'layer': serial(next(down), relu)},
                {'name': 'up', 'layer': serial(
                    next(down), relu, state.conv_transpose1d('up2', stride=2))},
                {'name': 'both', 'inputs': ['up', 'first'], 'combination': 'concat',
                 'layer': state.conv_transpose1d('up1', stride=2)},
            ]  # fmt: skip
            return Layer('Graph', {'nodes': nodes})

        self._check('unet', make)

    def test_normalization(self) -> None:
        self._check('layer_norm', lambda state: state.layer_norm(''))
        parameters = {
            'weight': _random(4), 'bias': _random(4, seed=1), 'running_mean': _random(4, seed=2),
            'running_var': np.full(4, 0.25, np.float32), 'num_batches_tracked': np.array(3),
        }  # fmt: skip
        state = State(parameters)
        x, (y, _) = (
            _random(1, 5, 4),
            create(state.batch_norm('', epsilon=0)).apply(_random(1, 5, 4)),
        )
        want = (x - parameters['running_mean']) / 0.5 * parameters['weight'] + parameters['bias']
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
        state.check_all_read()

    def test_recurrences(self) -> None:
        for kind in ('lstm', 'gru'):
            with self.subTest(kind):
                self._check(f'state_{kind}_cell', lambda state, kind=kind: serial(
                    getattr(state, kind)('cell', suffix=''), state.linear('out')))  # fmt: skip

    def test_what_is_missing_or_left(self) -> None:
        state = State({'a.weight': _random(3, 8), 'b.weight': _random(3, 8)})
        self.assertEqual(dict(state.linear('a').fields), {'features': 3, 'use_bias': False})
        with self.assertRaisesRegex(ValueError, r"no layer has these parameters: \['b.weight'\]"):
            state.check_all_read()
        with self.assertRaisesRegex(KeyError, 'no parameter "c.weight" among'):
            state.linear('c')


class LayersTest(unittest.TestCase):
    def test_weights_of_layers_in_layers(self) -> None:
        """The names are those that the library asks for, in combinators of all kinds."""
        state = State({'w': _random(8, 8), 'weight': _random(8, 8), 'bias': _random(8)})
        dense = state.linear('')
        stacked = Layer(
            'Dense', dense.fields, {n: np.stack([w, w]) for n, w in dense.weights.items()}
        )
        layers = [
            residual(serial(dense, Layer('Relu')), dense),
            Layer('Parallel', {'layers': [dense, serial(dense)], 'combination': 'add'}),
            Layer('Bidirectional', {'forward': dense, 'backward': serial(dense), 'combination': 'add'}),
            Layer('Repeat', {'layer': stacked, 'num_repeats': 2}),
            serial(dense, dense),
        ]  # fmt: skip
        x, w, b = _random(1, 4, 8), dense.weights['kernel'], dense.weights['bias']

        def once(x: np.ndarray) -> np.ndarray:
            made: np.ndarray = x @ w + b
            return made

        want = [x + once(np.maximum(once(x), 0) @ np.eye(8)), 2 * once(x), 2 * once(x)]
        want += [once(once(x)), once(once(x))]
        for layer, expected in zip(layers, want, strict=True):
            with self.subTest(layer.type):
                y, _ = create(layer).apply(x)
                np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)

    def test_a_name_is_kept(self) -> None:
        dense = Layer(
            'Dense', {'features': 2}, {'kernel': _random(3, 2), 'bias': _random(2)}, 'out'
        )
        self.assertEqual(
            set(write(serial(dense)).weights), {'params.out.kernel', 'params.out.bias'}
        )

    def test_saves_a_model_that_opens(self) -> None:
        dense = Layer('Dense', {'features': 2}, {'kernel': _random(3, 2), 'bias': _random(2)})
        with tempfile.TemporaryDirectory() as folder:
            save(serial(dense), pathlib.Path(folder) / 'model', channel_shape=(3,))
            layer = runtime.Layer.open(pathlib.Path(folder) / 'model')
            y, _ = layer.apply(_random(1, 4, 3))
        want = _random(1, 4, 3) @ dense.weights['kernel'] + dense.weights['bias']
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)

    def test_the_library_names_a_wrong_weight(self) -> None:
        dense = Layer('Dense', {'features': 2}, {'kernel': _random(3, 2)}, 'out')
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(runtime.SequenceLayersError, 'params.out.bias'):
                save(serial(dense), pathlib.Path(folder) / 'model', channel_shape=(3,))
            self.assertFalse((pathlib.Path(folder) / 'model').exists())


if __name__ == '__main__':
    unittest.main()
