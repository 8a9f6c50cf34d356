"""The importer: operators that PyTorch's exporters do not write for the graphs of `importing/graphs`."""

import json
import pathlib
import tempfile
import unittest
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from importing import refused
from importing.support import GRAPHS, TOLERANCE
from onnx import TensorProto

from sequence_layers_import import (
    Refusal,
    branches,
    import_file,
    import_graph,
    importing,
    states,
    verify,
)
from sequence_layers_import.float64 import Exact
from sequence_layers_import.onnx_model import Imported


class OperatorsTest(unittest.TestCase):
    """Operators that PyTorch's exporters do not write for the patterns above."""

    def _check(self, model: onnx.ModelProto, *, streaming: bool = True, **options: Any) -> None:
        imported = import_graph(model, streaming=streaming, **options)
        report = importing.run(imported, None, seconds=0)
        self.assertEqual(report.not_streamed == '', streaming)
        self.assertLess(report.largest, TOLERANCE)

    def test_statistics_of_all_time(self) -> None:
        for streaming in (False, True):
            with self.subTest(streaming=streaming):
                mean = refused.node('ReduceMean', axes=[1])
                self._check(refused.graph([mean]), streaming=streaming)

    def test_a_statistic_joined_with_each_step(self) -> None:
        nodes = [
            refused.node('ReduceMax', outputs=['m'], axes=[1, 2]),
            refused.node('Sub', ['x', 'm']),
        ]
        self._check(refused.graph(nodes), streaming=False)

    def test_choices(self) -> None:
        nodes = [
            refused.node('Less', ['x', 'c'], ['l']),
            refused.node('Abs', outputs=['a']),
            refused.node('Greater', ['a', 'x'], ['g']),
            refused.node('Or', ['l', 'g'], ['o']),
            refused.node('Not', ['o'], ['n']),
            refused.node('Where', ['n', 'x', 'a']),
        ]
        self._check(refused.graph(nodes, {'c': np.float32(-0.5)}))

    def test_division_by_zero_is_zero(self) -> None:
        nodes = [
            refused.node('Relu', outputs=['r']),
            refused.node('Div', ['x', 'r'], ['d']),
            refused.node('Equal', ['r', 'z'], ['e']),
            refused.node('Where', ['e', 'z', 'd']),
        ]
        self._check(refused.graph(nodes, {'z': np.float32(0)}))

    def test_one_hot_product_is_an_embedding(self) -> None:
        table = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
        nodes = [
            refused.node('Equal', ['x', 'c'], ['e']),
            refused.node('Cast', ['e'], ['h'], to=onnx.TensorProto.FLOAT),
            refused.node('MatMul', ['h', 't']),
        ]
        model = refused.graph(
            nodes, {'c': np.arange(5, dtype=np.int32), 't': table}, x=['batch', 'time', 1],
            dtype=onnx.TensorProto.INT32,
        )  # fmt: skip
        self._check(model)
        self.assertIn('Embedding', json.dumps(import_graph(model).model.config))

    def test_padded_and_sliced_channels(self) -> None:
        nodes = [
            refused.node('Pad', ['x', 'p'], ['w'], mode='reflect'),
            refused.node('Slice', ['w', 'a', 'b', 'c', 'd']),
        ]
        constants = {
            'p': np.array([0, 0, 2, 0, 0, 3]), 'a': np.array([-1]), 'b': np.array([-100]),
            'c': np.array([2]), 'd': np.array([-2]),
        }  # fmt: skip
        self._check(refused.graph(nodes, constants))

    def test_constants_beside_channels(self) -> None:
        constants = {'c': np.full((1, 1, 2), 0.5, np.float32), 'd': np.ones((1, 1, 1), np.float32)}
        nodes = [
            refused.node('Transpose', outputs=['t'], perm=[1, 0, 2]),
            refused.node('ReduceMean', ['t'], ['m'], axes=[0]),
            refused.node('Concat', ['c', 'm', 'm', 'd'], axis=2),
        ]
        self._check(refused.graph(nodes, constants, x=[1, 'time', 8]), streaming=False)

    def test_windows_as_steps(self) -> None:
        kernel = np.random.default_rng(0).standard_normal((4, 1, 5)).astype(np.float32)
        nodes = [
            refused.node('Conv', ['x', 'k'], ['c'], strides=[2], pads=[2, 2]),
            refused.node('GlobalAveragePool', ['c']),
        ]
        self._check(refused.graph(nodes, {'k': kernel}, x=['batch', 1, 32]))

    def test_a_fixed_input_is_a_constant(self) -> None:
        model = refused.graph(
            [refused.node('Add', ['x', 'z'])],
            more=[onnx.helper.make_tensor_value_info('z', onnx.TensorProto.FLOAT, [8])],
        )
        self._check(model, fixed={'z': np.float32(0.5)})

    def test_final_states_of_both_directions(self) -> None:
        rng = np.random.default_rng(0)
        w, r = (rng.standard_normal((2, 12, n)).astype(np.float32) for n in (8, 4))
        nodes = [
            refused.node('Transpose', outputs=['t'], perm=[1, 0, 2]),
            refused.node(
                'GRU',
                ['t', 'w', 'r'],
                ['', 'h'],
                hidden_size=4,
                direction='bidirectional',
                linear_before_reset=1,
            ),  # fmt: skip
            refused.node('Transpose', ['h'], perm=[1, 0, 2]),
        ]
        self._check(refused.graph(nodes, {'w': w, 'r': r}), streaming=False)

    def test_a_condition_as_input(self) -> None:
        nodes = [refused.node('Not', outputs=['n']), refused.node('Cast', ['n'], to=1)]
        self._check(refused.graph(nodes, dtype=onnx.TensorProto.BOOL))

    def test_windows_larger_than_the_first_lengths(self) -> None:
        kernel = np.random.default_rng(0).standard_normal((2, 4, 100)).astype(np.float32)
        conv = refused.node('Conv', ['x', 'k'], strides=[20])
        imported = import_graph(refused.graph([conv], {'k': kernel}, x=['batch', 4, 'time']))
        self.assertEqual(imported.graph.shapes('x')[0][2], 960)
        self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def test_strides_behind_latencies_that_they_do_not_divide(self) -> None:
        """The look-ahead of the first is one step of its output, of which the second takes two."""
        rng = np.random.default_rng(0)
        kernels = {
            name: rng.standard_normal((4, 4, size)).astype(np.float32)
            for name, size in (('k', 10), ('l', 3), ('m', 2))
        }
        nodes = [
            refused.node('Conv', ['x', 'k'], ['a'], strides=[5]),
            refused.node('Conv', ['a', 'l'], ['b'], strides=[2]),
            refused.node('Conv', ['b', 'm'], strides=[2]),
        ]
        self._check(refused.graph(nodes, kernels, x=['batch', 4, 'time']))

    def test_weights_of_8_bits_are_those_of_the_graph(self) -> None:
        rng = np.random.default_rng(0)
        constants = {
            'q': rng.integers(-128, 127, (8, 4), np.int8), 's': rng.random(4).astype(np.float32),
            'p': rng.integers(-9, 9, 4, np.int8),
        }  # fmt: skip
        nodes = [
            refused.node('DequantizeLinear', ['q', 's', 'p'], ['w'], axis=1),
            refused.node('MatMul', ['x', 'w']),
        ]
        self._check(refused.graph(nodes, constants))

    def test_a_batch_of_another_name(self) -> None:
        more = [onnx.helper.make_tensor_value_info('z', onnx.TensorProto.FLOAT, ['s17', 'time', 8])]
        self._check(refused.graph([refused.node('Add', ['x', 'z'])], more=more))

    def test_a_choice_that_is_the_same_everywhere(self) -> None:
        for condition in (True, False):
            nodes = [
                refused.node('Tanh', outputs=['t']), refused.node('Where', ['c', 't', 'x']),
            ]  # fmt: skip
            model = refused.graph(nodes, {'c': np.full((1, 1, 8), condition)})
            self._check(model)
        with self.assertRaisesRegex(Refusal, 'its condition is a constant'):
            import_graph(refused.graph(nodes, {'c': np.arange(8) > 3}))

    def test_a_selection_of_equal_numbers(self) -> None:
        table = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
        nodes = [
            refused.node('GatherElements', ['threes', 'x'], ['i'], axis=1),
            refused.node('Gather', ['t', 'i']),
        ]
        constants = {'threes': np.full((99, 9), 3), 't': table}
        model = refused.graph(
            nodes, constants, x=['batch', 'time'], dtype=onnx.TensorProto.INT64
        )  # fmt: skip
        self._check(model)
        model = refused.graph(
            nodes, constants | {'threes': np.arange(9) + np.zeros((99, 1), int)}, x=['batch', 'time'],
            dtype=onnx.TensorProto.INT64,
        )  # fmt: skip
        with self.assertRaisesRegex(Refusal, 'selects by the input of what differs'):
            import_graph(model)

    def test_caches_by_the_names_that_exporters_give(self) -> None:
        for old, new in (
            ('past_key_values.0.key', 'present.0.key'), ('past_0_key', 'present_0_key'),
            ('h0', 'hn'), ('cache_in', 'cache_out'),
        ):  # fmt: skip
            self.assertEqual(states._stem(old), states._stem(new))

    def test_a_large_stop_is_the_end(self) -> None:
        stop = np.array([10**9])
        cut = refused.node('Slice', ['x', 'zero', 'stop', 'one'])
        self._check(
            refused.graph([cut], {'zero': np.array([0]), 'stop': stop, 'one': np.array([1])})
        )

    def test_in_float64(self) -> None:
        imported = import_graph(refused.graph([refused.node('Tanh')]))
        report = importing.run(imported, None, exact=True, seconds=0)
        self.assertLess(report.largest, 3e-7)
        inputs = verify.random_inputs(imported, 1, 50)
        (exact,) = Exact(imported).run(inputs)
        self.assertEqual(exact.dtype, np.float64)
        np.testing.assert_array_equal(exact, np.tanh(inputs['x'].astype(np.float64)))

    def test_padding_that_depends_on_the_length(self) -> None:
        """Windows of 4 by 2 begin at the same place for all lengths with SAME_UPPER, those of 3 do not."""
        for size, auto, is_fixed in (
            (4, 'SAME_UPPER', True), (4, 'SAME_LOWER', False),
            (3, 'SAME_UPPER', False), (3, 'SAME_LOWER', True),
        ):  # fmt: skip
            kernel = np.random.default_rng(0).standard_normal((4, 4, size)).astype(np.float32)
            conv = refused.node('Conv', ['x', 'k'], strides=[2], auto_pad=auto)
            model = refused.graph([conv], {'k': kernel}, x=['batch', 4, 'time'])
            with self.subTest(size=size, auto=auto):
                if is_fixed:
                    self._check(model)
                else:
                    with self.assertRaisesRegex(Refusal, 'depends on the length'):
                        import_graph(model)

    def test_last_windows_that_reach_beyond_the_end(self) -> None:
        channels = ['batch', 4, 'time']
        for operator, size, pads, counted in (
            ('MaxPool', 3, 0, 0), ('MaxPool', 4, 1, 0), ('AveragePool', 3, 0, 1), ('AveragePool', 4, 1, 0),
        ):  # fmt: skip
            options = {'kernel_shape': [size], 'strides': [2], 'pads': [pads] * 2, 'ceil_mode': 1}
            if operator == 'AveragePool':
                options['count_include_pad'] = counted
            with self.subTest(operator=operator, size=size):
                self._check(refused.graph([refused.node(operator, **options)], x=channels))
        for options, message in (
            ({'kernel_shape': [2], 'strides': [3]}, 'may begin behind the end'),
            ({'kernel_shape': [4], 'strides': [2], 'pads': [1, 1], 'count_include_pad': 1}, 'means count padding'),
        ):  # fmt: skip
            pool = refused.node('AveragePool', ceil_mode=1, **options)
            with self.assertRaisesRegex(Refusal, message):
                import_graph(refused.graph([pool], x=channels))

    def test_the_largest_channels(self) -> None:
        for largest in (0, 1):
            top = refused.node('TopK', ['x', 'k'], ['y', 'i'], largest=largest)
            model = refused.graph([top], {'k': np.array([3])})
            model.graph.output.append(
                onnx.helper.make_tensor_value_info('i', TensorProto.INT64, None)
            )
            self._check(model)
            with self.assertRaisesRegex(Refusal, 'it chooses 17 of 32'):
                import_graph(refused.graph([top], {'k': np.array([17])}, x=['batch', 'time', 32]))
        nodes = [
            refused.node('TopK', ['x', 'k'], ['v', 'i']),
            refused.node('OneHot', ['i', 'depth', 'values'], ['h'], axis=2),
            refused.node('ReduceSum', ['h', 'axes']),
        ]
        constants = {
            'k': np.array([2]), 'depth': np.array(8), 'axes': np.array([3]),
            'values': np.array([-1, 2], np.float32),
        }  # fmt: skip
        self._check(refused.graph(nodes, constants))

    def test_values_at_places_that_may_be_the_same(self) -> None:
        nodes = [
            refused.node('ArgMax', outputs=['i'], axis=-1),
            refused.node('ReduceMax', outputs=['v'], axes=[-1]),
            refused.node('ScatterElements', ['x', 'i', 'v'], axis=-1),
        ]
        with self.assertRaisesRegex(Refusal, 'at the places of TopK'):
            import_graph(refused.graph(nodes))

    def test_a_length_that_is_no_multiple_is_compared(self) -> None:
        imported = import_graph(refused.graph([refused.node('Relu')]))
        original = verify.Original(imported)
        report = importing.compare(imported, original, importing.make_layer(imported), [])
        self.assertEqual({found.steps for found in report.differences}, {48, 71, 72, 73})

    def test_several_inputs_are_one_of_the_model(self) -> None:
        more = [
            onnx.helper.make_tensor_value_info(
                'z', onnx.TensorProto.FLOAT, ['batch', 'time', 3, 2]
            ),
            onnx.helper.make_tensor_value_info('k', onnx.TensorProto.INT64, ['batch', 'time']),
        ]
        nodes = [
            refused.node('Reshape', ['z', 's'], ['f']),
            refused.node('Gather', ['t', 'k'], ['e']),
            refused.node('Concat', ['f', 'x', 'e'], axis=2),
        ]
        table = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
        model = refused.graph(nodes, {'s': np.array([0, 0, 6]), 't': table}, more=more)
        self._check(model)
        imported = import_graph(model)
        self.assertEqual([port.shape for port in imported.inputs], [(8,), (3, 2), ()])
        self.assertEqual(imported.channel_shape, (15,))

    def test_a_choice_by_a_fixed_input(self) -> None:
        for rate, operator in ((8000, 'Relu'), (16000, 'Tanh')):
            imported = import_graph(refused.choice(), fixed={'rate': np.asarray(float(rate))})
            self.assertIn(f'"{operator}"', json.dumps(imported.model.config))
            self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def test_time_interpolated_linearly(self) -> None:
        for rate in (2, 3, 4):
            for mode in ('half_pixel', 'asymmetric'):
                resize = refused.node(
                    'Resize', ['x', '', 'f'], mode='linear', coordinate_transformation_mode=mode
                )
                factors = np.array([1, 1, rate], np.float32)
                with self.subTest(rate=rate, mode=mode):
                    self._check(refused.graph([resize], {'f': factors}, x=['batch', 4, 'time']))

    def test_transposed_convolutions_cut_at_both_ends(self) -> None:
        rng = np.random.default_rng(0)
        for pads, extra, group in (([1, 1], 0, 1), ([2, 1], 1, 2), ([0, 2], 0, 4)):
            kernel = rng.standard_normal((4, 4 // group, 4)).astype(np.float32)
            node = refused.node(
                'ConvTranspose', ['x', 'k', 'b'], strides=[2], pads=pads, output_padding=[extra],
                group=group,
            )  # fmt: skip
            constants = {'k': kernel, 'b': kernel[:, 0, 0]}
            with self.subTest(pads=pads):
                self._check(refused.graph([node], constants, x=['batch', 4, 'time']))

    def test_transposed_convolutions_of_time_and_channels(self) -> None:
        kernel = np.random.default_rng(0).standard_normal((2, 3, 3, 4)).astype(np.float32)
        node = refused.node('ConvTranspose', ['x', 'k'], strides=[1, 2], pads=[1, 1, 1, 1])
        for x, axis in ((['batch', 2, 'time', 6], '2'), (['batch', 2, 6, 'time'], '3')):
            with self.subTest(axis=axis):
                self._check(refused.graph([node], {'k': kernel}, x=x), time_axis=axis)

    def test_a_batch_may_be_none(self) -> None:
        """The first axis is one of channels."""
        model = refused.graph([refused.node('ReduceMean', axes=[0], keepdims=0)], x=[5, 'time'])
        self._check(model, batch_axis='none')
        with self.assertRaisesRegex(Refusal, 'over the batch'):
            import_graph(refused.graph([refused.node('ReduceMean', axes=[0])], x=['b', 5, 'time']))


def _contrib(operator: str, inputs: Sequence[str], **fields: Any) -> onnx.NodeProto:
    return refused.node(operator, inputs, domain='com.microsoft', **fields)


class RuntimesOperatorsTest(unittest.TestCase):
    """Operators that onnxruntime's optimizer writes."""

    def _check(self, model: onnx.ModelProto, *, streaming: bool) -> Imported:
        model.opset_import.append(onnx.helper.make_opsetid('com.microsoft', 1))
        imported = import_graph(model, streaming=streaming)
        self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)
        return imported

    def test_optimized_graphs(self) -> None:
        for name in ('gelu', 'conv_bn', 'attention_causal', 'attention_own', 'residual'):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / 'optimized.onnx'
                options = onnxruntime.SessionOptions()
                options.optimized_model_filepath = str(path)
                level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
                options.graph_optimization_level = level
                onnxruntime.InferenceSession(str(GRAPHS / f'{name}.legacy.onnx'), options)
                imported = import_file(path)
                report = importing.run(imported, None, seconds=0)
                self.assertLess(report.largest, TOLERANCE)

    def test_attention(self) -> None:
        rng = np.random.default_rng(0)
        constants = {
            'w': rng.standard_normal((8, 24)).astype(np.float32),
            'b': rng.standard_normal(24).astype(np.float32),
        }
        for causal in (0, 1):
            node = _contrib('Attention', ['x', 'w', 'b'], num_heads=2, unidirectional=causal)
            imported = self._check(refused.graph([node], constants), streaming=bool(causal))
            self.assertIn('DotProductSelfAttention', json.dumps(imported.model.config))
        node = _contrib('MultiHeadAttention', ['x', 'x', 'x', 'b'], num_heads=2)
        self._check(refused.graph([node], constants), streaming=False)

    def test_sums_that_are_normalized(self) -> None:
        constants = {
            's': np.linspace(0.5, 2, 8, dtype=np.float32),
            'b': np.arange(8, dtype=np.float32),
        }
        relu = refused.node('Relu', outputs=['r'])
        for kind, names in (
            ('SkipLayerNormalization', ['s', 'b', 's']), ('SkipSimplifiedLayerNormalization', ['s', 'b']),
        ):  # fmt: skip
            model = refused.graph([relu, _contrib(kind, ['x', 'r', *names])], constants)
            self._check(model, streaming=True)

    def test_embedded_words(self) -> None:
        rng = np.random.default_rng(0)
        constants = {
            name: rng.standard_normal((count, 8)).astype(np.float32)
            for name, count in (('words', 9), ('places', 200))
        }
        constants |= {'s': np.ones(8, np.float32), 'b': np.zeros(8, np.float32)}
        names = ['x', '', 'words', 'places', '', 's', 'b']
        model = refused.graph(
            [_contrib('EmbedLayerNormalization', names, outputs=['y', ''])], constants,
            x=['batch', 'time'], dtype=TensorProto.INT32,
        )  # fmt: skip
        imported = self._check(model, streaming=True)
        rows = [len(w) for name, w in imported.model.weights.items() if 'embedding' in name]
        self.assertIn(9, rows)

    def test_activations(self) -> None:
        for operator in ('Gelu', 'FastGelu', 'QuickGelu', 'BiasGelu'):
            inputs = ['x', 'b'] if operator == 'BiasGelu' else ['x']
            model = refused.graph([_contrib(operator, inputs)], {'b': np.ones(8, np.float32)})
            self._check(model, streaming=True)

    def test_others_are_refused(self) -> None:
        model = refused.graph([_contrib('Inverse', ['x'])], x=['batch', 'time', 3, 3])
        model.opset_import.append(onnx.helper.make_opsetid('com.microsoft', 1))
        with self.assertRaisesRegex(Refusal, 'none of ONNX; .* not optimized'):
            import_graph(model)


def _branch(nodes: Sequence[onnx.NodeProto], output: str) -> onnx.GraphProto:
    value = onnx.helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return onnx.helper.make_graph(list(nodes), output, [], [value])


def _nested_choices() -> onnx.ModelProto:
    """A choice by the rate, and in each branch one by the number of axes: Tanh, Exp or Relu."""
    node = refused.node

    def inner(name: str, first: str, second: str) -> onnx.GraphProto:
        branches = {
            'then_branch': _branch([node(first, ['x'], [f'{name}_a'])], f'{name}_a'),
            'else_branch': _branch([node(second, ['x'], [f'{name}_b'])], f'{name}_b'),
        }
        nodes = [
            node('Shape', ['x'], ['shape']), node('Size', ['shape'], ['count']),
            node('Equal', ['count', 'three'], ['is_three']),
            node('If', ['is_three'], [f'{name}_out'], **branches),
        ]  # fmt: skip
        return _branch(nodes, f'{name}_out')

    nodes = [
        node('Equal', ['rate', 'wanted'], ['is_wanted']),
        node('If', ['is_wanted'], then_branch=inner('t', 'Tanh', 'Relu'),
             else_branch=inner('e', 'Exp', 'Relu')),
    ]  # fmt: skip
    rate = onnx.helper.make_tensor_value_info('rate', TensorProto.INT64, [])
    constants = {'wanted': np.int64(16000), 'three': np.int64(3)}
    return refused.graph(nodes, constants, more=[rate])


class BranchesTest(unittest.TestCase):
    def test_nested_choices_by_a_fixed_input_and_by_shapes(self) -> None:
        for rate, layer in ((16000, 'Tanh'), (8000, 'Exp')):
            with self.subTest(rate=rate):
                imported = import_graph(_nested_choices(), fixed={'rate': np.float32(rate)})
                config = json.dumps(imported.model.config)
                self.assertIn(f'"{layer}"', config)
                self.assertNotIn('Relu', config)
                self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def test_a_choice_by_values_stays(self) -> None:
        options = onnxruntime.SessionOptions()
        self.assertTrue(branches.has_choices(branches.inline(refused.choice(), options)))


if __name__ == '__main__':
    unittest.main()
