"""Tests how the converter handles users' functions, recipes and layers, and what it refuses."""

import contextlib
import dataclasses
import functools
import importlib.util
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_runtime import abi

_HAS_REFERENCE = importlib.util.find_spec('sequence_layers') is not None
if _HAS_REFERENCE:
    import jax
    import jax.numpy as jnp

    from sequence_layers_tools import (
        channel_values,
        check_converted,
        config_map,
        convert,
        function_layers,
        functions,
        random_model,
        reference_config,
    )

    # Imported after python_311, which makes the reference importable on Python 3.11.
    from sequence_layers import jax as sl  # isort: skip
    from sequence_layers.jax import combinators  # isort: skip

    @dataclasses.dataclass(frozen=True)
    class Recipe(sl.SequenceLayerConfig):
        """A config that makes ordinary layers."""

        width: int = 4
        name: str | None = None

        def make(self):
            layers = [sl.Dense.Config(self.width), sl.Lambda.Config(jnp.sin)]
            return sl.Serial.Config(layers, name=self.name).make()

    class Wide(sl.Dense):
        @dataclasses.dataclass(frozen=True)
        class Config(sl.Dense.Config):
            """The reference's config with other defaults."""

            features: int = 4
            use_bias: bool = False

    @dataclasses.dataclass(frozen=True)
    class BlockConfig(sl.SequenceLayerConfig):
        name: str | None = None

        def make(self):
            return Block(self, name=self.name)

    class Block(combinators.SerialCombinatorMixin, sl.Emitting):
        """A layer that runs its own layers one after the other."""

        config: BlockConfig

        def setup(self):
            self.up = sl.Dense.Config(8, activation=jax.nn.gelu).make()
            self.down = sl.Dense.Config(4).make()
            self.layers = [self.up, self.down]

    class Halve(sl.Stateless):
        """A layer that no config of an ordinary layer describes."""

        @dataclasses.dataclass(frozen=True)
        class Config(sl.SequenceLayerConfig):
            factor: float = 0.5
            name: str | None = None

            def make(self):
                return Halve(self, name=self.name)

        config: Config

        def get_output_shape(self, input_shape, *, constants=None):
            return tuple(input_shape)

        def get_output_dtype(self, input_dtype, *, constants=None):
            return input_dtype

        def layer(self, x, *, training, constants=None):
            return x.apply_values(lambda v: v * self.config.factor)

    def squash(x):
        return jnp.tanh(jnp.sort(x, axis=-1))

    def fails():
        raise KeyError('no luck')

    def with_recipe():
        return _model(Recipe())

    text, number, configs = 'a text', 3, [1]
    of_squash = sl.Lambda.Config(squash)
    made = sl.Dense.Config(2, name='made').make()


def _model(*middle):
    first = sl.Conv1D.Config(4, kernel_size=2, padding='causal', name='first')
    return sl.Serial.Config([first, *middle, sl.Dense.Config(2, name='last')])


def _variables(config):
    layer = config if isinstance(config, sl.SequenceLayer) else config.make()
    x = sl.Sequence.from_values(jnp.zeros((1, 4, 3)))
    made = jax.eval_shape(lambda: layer.init(jax.random.key(0), x, training=False))
    return convert.unflatten(random_model.weights(convert.shapes(made)))


@unittest.skipUnless(_HAS_REFERENCE, 'the reference is not installed')
class NamesTest(unittest.TestCase):
    def test_functions_are_told_by_what_they_give(self):
        want = {
            'relu': lambda x: jnp.maximum(x, 0),
            'swish': lambda x: x / (1 + jnp.exp(-jnp.clip(x, -80))),
            'gelu': lambda x: jax.nn.gelu(x),
            'square': lambda x: x * x,
            'identity': lambda x: x,
            'relu6': lambda x: jnp.clip(x, 0, 6),
        }
        for name, function in want.items():
            self.assertIn(functions.recognized(function), (name, 'silu'))
        call = functions.recognized(lambda x: jnp.where(x > 0, x, 0.2 * x))
        self.assertEqual(call, {'function': 'leaky_relu', 'negative_slope': 0.2})
        call = functions.recognized(lambda x: jax.nn.elu(x, 1.5))
        self.assertEqual(call, {'function': 'elu', 'alpha': 1.5})
        call = functions.recognized(lambda x: 0.5 * x * jax.lax.erfc(-x / np.sqrt(2.0)))
        self.assertEqual(call, {'function': 'gelu', 'approximate': False})

    def test_others_are_not(self):
        for function in (
            lambda x: x[:, ::-1],
            lambda x: jnp.cumsum(x, -1),
            lambda x: x / x.shape[1],
            lambda x: x * 1.0001,
            lambda x: x[..., :3],
            lambda x: x.reshape(*x.shape[:2], -1),
            lambda x: jnp.moveaxis(x, 2, -1),
            lambda: 0,
        ):
            self.assertIsNone(functions.recognized(function))


@unittest.skipUnless(_HAS_REFERENCE, 'the reference is not installed')
@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class LayersTest(unittest.TestCase):
    def compare(self, function, shape=(6,), dtype='float32'):
        layers = function_layers.layers(function, channel_shape=shape, dtype=dtype)
        with tempfile.TemporaryDirectory() as folder:
            config = json.dumps({'type': 'Serial', 'layers': layers})
            (pathlib.Path(folder) / 'config.json').write_text(config)
            layer = runtime.Layer.open(folder)
        rng = np.random.default_rng(0)
        x = 3 * rng.standard_normal((2, 9, *shape))
        if dtype == 'complex64':
            x = x + 3j * rng.standard_normal(x.shape)
            x[0, :2] = np.reshape([0, -2], (2, *(1 for _ in shape)))
        x = x.astype(dtype)
        want, got = np.asarray(function(jnp.asarray(x))), layer.apply(x)[0]
        self.assertEqual((got.shape, got.dtype), (want.shape, want.dtype))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        return layers

    def test_one_layer(self):
        want = {
            'Abs': jnp.abs,
            'Tanh': lambda x: jnp.tanh(x),
            'Slice': lambda x: x[..., 1:4],
            'Sum': lambda x: jnp.sum(x, axis=-1),
            'Max': functools.partial(jnp.max, axis=-1),
            'Power': lambda x: x**3,
            'Softmax': jax.nn.softmax,
            'Reshape': lambda x: x.reshape(*x.shape[:2], 2, 3),
            'Argmax': lambda x: jnp.argmax(x, -1),
            'Cast': lambda x: x.astype(jnp.int32),
            'Mod': lambda x: jnp.mod(x, 2.0),
            'Identity': lambda x: x,
            'Gelu': functools.partial(jax.nn.gelu, approximate=False),
            'LeakyRelu': functools.partial(jax.nn.leaky_relu, negative_slope=0.3),
        }
        for kind, function in want.items():
            with self.subTest(kind):
                self.assertEqual([layer['type'] for layer in self.compare(function)], [kind])

    def test_several_layers(self):
        clip = self.compare(lambda x: jnp.clip(x, -3, 3))
        self.assertEqual(
            clip, [{'type': 'Maximum', 'maximum': -3}, {'type': 'Minimum', 'minimum': 3}]
        )
        for name, function in {
            'an index': lambda x: x[..., -1],
            'a mean': lambda x: x.mean(-1, keepdims=True),
            'a beta': lambda x: x * jax.nn.sigmoid(1.7 * x),
            'of each channel': lambda x: x * jnp.arange(6.0) - 1,
            'reversed': lambda x: x[..., ::-2],
            'indices': lambda x: jnp.take(x, jnp.array([5, 0, 2]), axis=-1),
            'halves': jax.nn.glu,
            'sine and cosine': lambda x: jnp.concatenate([jnp.sin(x), jnp.cos(x)], -1),
            'stacked': lambda x: jnp.stack([x, 2 * x], axis=2),
            'repeated': lambda x: jnp.repeat(x, 2, axis=-1),
            'padded': lambda x: jnp.pad(x, ((0, 0), (0, 0), (1, 2))),
            'normalized': lambda x: (x - x.mean(-1, keepdims=True)) / jnp.std(x, -1, keepdims=True),
            'without a layer': jax.nn.mish,
            'decibels': lambda x: 10 * jnp.log10(jnp.maximum(jnp.abs(x), 1e-5)),
            'one over': lambda x: 1 / (1 + x * x),
            'cube root': jnp.cbrt,
            'differences': lambda x: jnp.diff(x, axis=-1, prepend=0.5),
            'with a constant': lambda x: jnp.concatenate([x, jnp.ones_like(x[..., :2])], -1),
            'spectrum': lambda x: jnp.abs(jnp.fft.rfft(x)) ** 2,
            'autocorrelation': lambda x: jnp.fft.irfft(jnp.abs(jnp.fft.rfft(x)) ** 2, 6),
            'spectrum of complex': lambda x: jnp.fft.ifft(2 * jnp.fft.fft(x)).real,
        }.items():
            with self.subTest(name):
                self.compare(function)
        self.compare(lambda x: jnp.swapaxes(x, 2, 3)[..., 0], (2, 3))
        self.compare(lambda x: jnp.sum(x, axis=(2, 3)), (2, 3))
        self.compare(jax.nn.mish, ())
        self.compare(lambda x: (x + 1) * 2, (3,), 'int32')

    def test_axes(self):
        for name, shape, function in [
            ('maximum', (2, 3), lambda x: x.max(2, keepdims=True)),
            ('minimum at', (6,), lambda x: x.argmin(-1)),
            ('maximum at', (2, 3), lambda x: x.argmax(2)),
            ('product and sum', (2, 3), lambda x: jnp.einsum('btcd,btcd->btc', x, x + 1)),
            ('Gram matrix', (2, 3), lambda x: jnp.einsum('btcd,bted->btce', x, 2 * x)),
            ('outer product', (3,), lambda x: jnp.einsum('btc,btd->btdc', x, x * x)),
            ('product', (2, 3), lambda x: jnp.prod(x, (2, 3))),
            ('flat', (2, 3), lambda x: x.reshape(*x.shape[:2], -1)),
            ('moved', (2, 3, 4), lambda x: jnp.moveaxis(x, 2, -1)),
            ('edges', (3,), lambda x: jnp.pad(x, ((0, 0), (0, 0), (2, 1)), mode='edge')),
            ('cut', (6,), lambda x: jax.lax.pad(x, 1.0, ((0, 0, 0), (0, 0, 0), (-1, 2, 0)))),
        ]:
            with self.subTest(name):
                self.compare(function, shape)

    def test_conditions(self):
        for name, function in {
            'threshold': lambda x: jnp.where(x > 0.5, x, 0),
            'dead zone': lambda x: jnp.where(jnp.abs(x) < 1, 0, x - jnp.sign(x)),
            'two results': lambda x: jnp.where(x < jnp.cos(x), jnp.exp(x), x[..., ::-1]),
            'infinity beside': lambda x: jnp.where(x > 0, x, jnp.exp(200 * x)),
            'zeros and ones': lambda x: (x > 0).astype(jnp.float32),
            'a step': lambda x: jnp.where(x >= 0, 1.0, 0.0),
            'two numbers': lambda x: jnp.where(x <= 0, -2.5, 0.3),
            'a condition': lambda x: x >= 1,
            'logic': lambda x: jnp.where((x > -1) & ~(x > 1) | (x > 2), x, -1),
            'either': lambda x: jnp.logical_xor(x > 0, x > 1),
            'by channel': lambda x: jnp.where(jnp.arange(6) < 3, x, -1),
            'equal': lambda x: jnp.round(x) == 2,
            'unequal': lambda x: jnp.round(x) != jnp.round(x[..., ::-1]),
            'the largest': lambda x: jnp.where(x == x.max(-1, keepdims=True), x, 0),
            'any': lambda x: jnp.any(x > 4, -1),
            'all': lambda x: jnp.all(x > -4, -1),
            'finite': lambda x: jnp.isfinite(jnp.exp(50 * x)),
            'nested': lambda x: jnp.where(x > 1, 1.0, jnp.where(x < -1, -1.0, x)),
            'logarithm': lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), 0),
            'root': lambda x: jnp.where(x > 0, jnp.sqrt(jnp.abs(x)), x),
            'quotient': jnp.sinc,
            'clipped': lambda x: jnp.clip(x, -jnp.abs(x[..., :1]), 1),
            'first of conditions': lambda x: jnp.select([x < 0, x < 1], [x, 2 * x], 0.5),
            'infinite': lambda x: jnp.exp(50 * x) == jnp.inf,
            'not infinite': lambda x: -jnp.exp(50 * x) != -jnp.inf,
            'root of squares': lambda x: jnp.hypot(x, x[..., ::-1]),
        }.items():
            with self.subTest(name):
                self.compare(function)
        for name, function in {
            'integers': lambda x: jnp.where(x > 2, x, 2 * x),
            'an integer': lambda x: jnp.where(x == 1, 7, x),
            'their signs': jnp.sign,
            'conditions': lambda x: jnp.where(x > 2, x < 4, x < 0),
        }.items():
            with self.subTest(name):
                self.compare(function, (3,), 'int32')

    def test_what_is_not_chosen_is_not_heard(self):
        layers = function_layers.layers(
            lambda x: jnp.where(x > 0, 1 / x, x), channel_shape=(2,), dtype='float32'
        )
        layer = runtime.Layer.create(json.dumps({'type': 'Serial', 'layers': layers}))
        x = np.array([[[0, 2], [-3, 1e-30]]], np.float32)
        np.testing.assert_allclose(layer.apply(x)[0], [[[0, 0.5], [-3, 1e30]]], rtol=1e-5)

    def test_rounding(self):
        for name, function in {
            'sign': jnp.sign,
            'floor': jnp.floor,
            'ceil': jnp.ceil,
            'round': jnp.round,
            'one digit': lambda x: jnp.round(x, 1),
            'away from zero': lambda x: jax.lax.round(2 * x) / 2,
            'trunc': jnp.trunc,
            'steps': lambda x: jnp.floor(x * 8) / 8,
            'quotient': lambda x: x // 0.7,
            'remainder': lambda x: jnp.fmod(x, 1.5),
        }.items():
            with self.subTest(name):
                self.compare(function)
        self.compare(jnp.floor, ())

    def test_running(self):
        for name, function in {
            'sums': lambda x: jnp.cumsum(x, -1),
            'products': lambda x: jnp.cumprod(x, -1),
            'sums back': lambda x: jax.lax.cumsum(x, 2, reverse=True),
            'maxima': lambda x: jax.lax.cummax(x, 2),
            'minima': lambda x: jax.lax.cummin(x, 2),
        }.items():
            with self.subTest(name):
                self.compare(function)
                self.compare(function, (2, 3))

    def test_updates(self):
        for name, function in {
            'set': lambda x: x.at[..., 0].set(0.5),
            'set channels': lambda x: x.at[..., 1:3].set(jnp.array([1.0, -2.0])),
            'add': lambda x: x.at[..., 1].add(2),
            'multiply': lambda x: x.at[..., ::2].multiply(3),
        }.items():
            with self.subTest(name):
                self.compare(function)

    def test_named_functions_in_lambdas(self):
        for name, function in functions.elementwise().items():
            with self.subTest(name):
                self.compare(lambda x, f=function: f(x))

    def test_angles_and_exponentials(self):
        for name, function in {
            'of two': lambda x: jnp.arctan2(x, x[..., ::-1]),
            'of a number': lambda x: jnp.arctan2(2.0, x),
            'arctan': jnp.arctan,
            'arcsin': lambda x: jnp.arcsin(jnp.tanh(x)),
            'arccos': lambda x: jnp.arccos(jnp.tanh(x)),
            'asinh': jnp.arcsinh,
            'acosh': lambda x: jnp.arccosh(1 + jnp.abs(x)),
            'atanh': lambda x: jnp.arctanh(jnp.tanh(x / 4)),
            'sinh': lambda x: jnp.sinh(x / 4),
            'logsumexp': lambda x: jax.nn.logsumexp(x, -1),
            'logsumexp of rows': lambda x: jax.nn.logsumexp(x, -1, keepdims=True),
            'logaddexp': lambda x: jnp.logaddexp(x, 2 * x),
        }.items():
            with self.subTest(name):
                self.compare(function)

    def test_two_results(self):
        largest = self.compare(lambda x: jnp.maximum(x[..., :3], x[..., 3:]))
        self.assertEqual(largest[-1], {'type': 'Max', 'axis': 2})
        self.compare(lambda x: jnp.minimum(jnp.sin(x), jnp.cos(x)))
        self.compare(jnp.cosh)
        self.compare(lambda x: jnp.tan(x / 8))
        self.compare(lambda x: jnp.power(10.0, x / 20))
        self.compare(lambda x: jnp.array([1.0, 2, 3]) ** x, (3,))

    def test_complex_numbers(self):
        for name, function in {
            'real': jnp.real,
            'imaginary': jnp.imag,
            'conjugate': jnp.conj,
            'angle': jnp.angle,
            'power': lambda x: x.real**2 + x.imag**2,
            'parts': lambda x: jnp.concatenate([x.real, x.imag], -1),
            'constants': lambda x: (x * (1 + 2j) + 0.5) / (3 - 1j),
            'channels': lambda x: x * jnp.array([1, 1j, -1]),
            'padded': lambda x: jnp.pad(x, ((0, 0), (0, 0), (1, 2)), constant_values=1 - 2j),
            'decibels': lambda x: 20 * jnp.log10(jnp.abs(x) + 1e-6),
            'product': lambda x: x * jnp.conj(x),
        }.items():
            with self.subTest(name):
                self.compare(function, (3,), 'complex64')
        self.compare(lambda x: jnp.exp(1j * x))
        self.compare(lambda x: jax.lax.complex(x, 2 * x))
        self.compare(lambda x: jax.lax.complex(x, jnp.ones_like(x)))

    def test_functions_of_rows_over_other_axes(self):
        name = functions.named(functools.partial(jax.nn.log_softmax, axis=-2))
        self.assertEqual(name, {'function': 'log_softmax', 'axis': -2})
        name = functions.named(functools.partial(jax.nn.softmax, axis=(2, -1)))
        self.assertEqual(name, {'function': 'softmax', 'axis': [2, -1]})
        self.assertIsNone(functions.named(functools.partial(jax.nn.softmax, axis=None)))
        self.compare(functools.partial(jax.nn.softmax, axis=-2), (2, 3))
        self.compare(lambda x: jax.nn.log_softmax(x, axis=2), (2, 3))

    def test_nan_is_not_forgotten(self):
        for function in (
            jnp.nan_to_num,
            lambda x: jnp.nan_to_num(jax.nn.relu(x)),
            lambda x: jnp.where(jnp.isnan(x), 0, x),
            lambda x: jnp.nan_to_num(jax.nn.softmax(x)),
        ):
            with self.assertRaisesRegex(channel_values.NanError, 'no layer tells NaN'):
                function_layers.layers(function, channel_shape=(6,))

    def test_what_layers_cannot_do_says_why(self):
        for reason, function in {
            'mixes batch or time': lambda x: x[:, ::-1],
            'batch and time': lambda x: x - x.mean(1, keepdims=True),
            'number of steps': lambda x: x / x.shape[1],
            'cumsum': lambda x: jnp.cumsum(x, 1),
            'Dense': lambda x: x @ jnp.ones((6, 2)),
            'constant': lambda x: jnp.zeros_like(x),
            'it fails': lambda x: x + jnp.ones((7,)),
            'sort.*Max, Min and Argmax': lambda x: jnp.sort(x, -1),
            'top_k.*Argmax': lambda x: jax.lax.top_k(x, 2)[0],
            'by a result': lambda x: x.at[..., 0].set(x[..., 1]),
            'more than one axis': lambda x: jnp.fft.fft2(x[..., None]),
            'choose its argument too': lambda x: jnp.where(x > 0, jnp.log(x), 0),
            'choose its argument': lambda x: jnp.where(x == 0, 1, jnp.sin(x) / x),
            'layer with a state': lambda x: jnp.cumsum(x, 1),
            'bits': lambda x: x.astype(jnp.int32) & 3,
            'compares complex': lambda x: (x + 1j) == (x * 1j),
            'between complex': lambda x: jnp.where(x > 0, x + 1j, x - 1j),
            'not positive': lambda x: (-2.0) ** x,
            'between channels': lambda x: jax.lax.pad(x, 0.0, ((0, 0, 0), (0, 0, 0), (0, 0, 1))),
        }.items():
            with self.assertRaisesRegex(channel_values.NotLayersError, reason):
                function_layers.layers(function, channel_shape=(6,))


@unittest.skipUnless(_HAS_REFERENCE, 'the reference is not installed')
@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class ConvertTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def convert(self, config, **options):
        report = convert.convert(
            config, _variables(config), self.folder / 'model', channel_shape=(3,), **options
        )
        return report, json.loads((self.folder / 'model' / 'config.json').read_text())

    def refused(self, config, what: str, kind=None, **options):
        kind = kind or reference_config.ConfigError
        with self.assertRaisesRegex(kind, what):
            self.convert(config, **options)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_functions_recipes_and_own_classes(self):
        config = _model(
            sl.Lambda.Config(lambda x: jnp.clip(x, -3, 3), name='clip'),
            sl.Lambda.Config(lambda x: x.apply_values(jnp.tanh), sequence_input=True),
            sl.Dense.Config(4, activation=lambda x: x * jax.nn.sigmoid(1.7 * x)),
            sl.Repeat.Config(
                sl.Dense.Config(4, activation=lambda x: x * jnp.tanh(x)), num_repeats=2
            ),
            Recipe(name='recipe'),
            Wide.Config(name='wide'),
            BlockConfig(),
        )
        report, written = self.convert(config)
        self.assertLess(report.layer_wise, 1e-5)
        self.assertLess(report.step_wise, 1e-5)
        layers = written['layers']
        self.assertEqual([layers[i].get('name') for i in (1, 5, 6)], ['clip', 'recipe', 'wide'])
        self.assertEqual(
            layers[6], {'type': 'Dense', 'features': 4, 'use_bias': False, 'name': 'wide'}
        )
        self.assertEqual(layers[3]['share_scope'][0], True)

    def test_layers_that_are_made(self):
        config = _model()
        _, written = self.convert(config.make())
        self.assertEqual(written, reference_config.to_json(config))

    def test_own_layers_and_functions_are_refused_or_mapped(self):
        config = _model(Halve.Config(0.25, name='halve'), sl.Lambda.Config(squash))
        self.refused(config, r'\$\.layers\[1\]: Halve is a layer of your own.*--map')
        half = {'type': 'Scale', 'scale': '$factor'}
        tanh = {'type': 'Tanh'}
        mapping = config_map.ConfigMap({f'{__name__}:Halve': half})
        self.refused(
            config, r'\$\.layers\[2\]\.fn: the function squash .*"sort".*--map', mapping=mapping
        )
        # These functions are mapped to layers that compute something else.
        entries = {f'{__name__}:Halve': half, '$.layers[2].fn': tanh}
        mapping = config_map.ConfigMap(entries)
        self.refused(config, 'other numbers', check_converted.CheckError, mapping=mapping)
        mapping = config_map.ConfigMap(entries)
        _, written = self.convert(config, mapping=mapping, verify=False)
        self.assertEqual(written['layers'][1], {'type': 'Scale', 'scale': 0.25, 'name': 'halve'})
        self.assertEqual(written['layers'][2], tanh)

    def test_maps_that_map_nothing(self):
        mapping = config_map.ConfigMap({'here:nothing': {'type': 'Tanh'}})
        self.refused(_model(), 'nothing of that name', config_map.MapError, mapping=mapping)
        for argument in 'nonsense', 'a:b={', '[]':
            with self.assertRaises(config_map.MapError):
                config_map.ConfigMap.parse([argument])

    def test_wrong_weights(self):
        config, kind = _model(), check_converted.CheckError
        variables = _variables(config)
        del variables['params']['last']['bias']
        with mock.patch(f'{__name__}._variables', lambda config: variables):
            self.refused(config, r'params\.last\.bias', kind)
            variables['params']['last']['bias'] = np.zeros(3, np.float32)
            self.refused(config, r'params\.last\.bias', kind)
            variables['params']['last']['bias'] = np.zeros(2, np.float32)
            variables['params']['more'] = np.zeros(2, np.float32)
            self.refused(config, 'more', kind)

    def test_without_the_library(self):
        config = _model()
        with mock.patch.object(abi, 'load', side_effect=OSError('no such file')):
            self.refused(config, 'SEQUENCE_LAYERS_LIBRARY.*--no-verify', check_converted.CheckError)


@unittest.skipUnless(_HAS_REFERENCE, 'the reference is not installed')
class CommandTest(unittest.TestCase):
    def run_main(self, *arguments: str):
        """Runs the command in a new folder; returns its exit message and the files left behind."""
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            pathlib.Path('bad.safetensors').write_bytes(b'no tensors')
            pathlib.Path('bad.msgpack').write_bytes(b'\xc1\xc1')
            pathlib.Path('syntax_error.py').write_text('def (')
            pathlib.Path('needs_more.py').write_text('import no_such_dependency')
            there = set(os.listdir())
            command = ['convert', '--input', '3', '--out', 'model', *arguments]
            with (
                mock.patch.object(sys, 'argv', command),
                mock.patch.object(sys, 'path', [*sys.path]),
                contextlib.redirect_stderr(io.StringIO()) as stderr,
                self.assertRaises(SystemExit) as stopped,
            ):
                convert.main()
            left = {name for name in set(os.listdir()) - there if name != '__pycache__'}
            code = stopped.exception.code
            return stderr.getvalue() if isinstance(code, int) else code, left

    def test_one_line_and_nothing_left(self):
        good = f'{__name__}:made'
        for what, arguments in {
            "no module 'no_such_module'": ['no_such_module:a'],
            "has no 'absent'": [f'{__name__}:absent'],
            'is not module:attribute': ['no_such_module'],
            'SyntaxError': ['syntax_error:a'],
            'no_such_dependency': ['needs_more:a'],
            "is a str, 'a text'": [f'{__name__}:text'],
            'is a int, 3': [f'{__name__}:number'],
            'is a list': [f'{__name__}:configs'],
            'is the class Wide.Config': [f'{__name__}:Wide.Config'],
            'is the class Wide:': [f'{__name__}:Wide'],
            'KeyError': [f'{__name__}:fails'],
            'fails: TypeError': [f'{__name__}:squash'],
            'no file v.msgpack': [good, '--variables', 'v.msgpack'],
            'is a directory': [good, '--variables', '.'],
            'not a safetensors file': [good, '--variables', 'bad.safetensors'],
            'not a flax file': [good, '--variables', 'bad.msgpack'],
        }.items():
            with self.subTest(what):
                message, left = self.run_main('--variables', 'v.safetensors', *arguments)
                self.assertIn(what, message)
                self.assertNotIn('\n', message)
                self.assertEqual(left, set())
        for arguments in ['--input', '3,x'], ['--dtype', 'float64'], ['--constant', 'c']:
            message, _ = self.run_main(good, '--variables', 'v.safetensors', *arguments)
            self.assertIn('error: argument', message)


if __name__ == '__main__':
    unittest.main()
