"""The importer: graphs of PyTorch's exporters, and what is refused."""

import collections
import contextlib
import io
import json
import pathlib
import re
import tempfile
import unittest
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from importing import backend, refused
from onnx import TensorProto

import sequence_layers_runtime as runtime
from sequence_layers_import import (
    Refusal,
    branches,
    command,
    folding,
    import_file,
    import_graph,
    importing,
    states,
    verify,
)
from sequence_layers_import.float64 import Exact
from sequence_layers_import.onnx_model import Imported

_GRAPHS = pathlib.Path(__file__).parent / 'importing' / 'graphs'
_DOCS = pathlib.Path(__file__).parents[3] / 'docs' / 'importing.md'
_TOLERANCE = 1e-5
# Patterns that cannot run in steps.
_NOT_STREAMED = ('lstm_bidirectional', 'attention', 'attention_own', 'attention_distances', 'attention_merged',
                 'attention_multihead', 'mask', 'lengths', 'group_norm', 'attentive_pooling')  # fmt: skip
# Options of patterns. All steps are allowed, as the model's mask tells which are there.
_OPTIONS: dict[str, dict[str, Any]] = {
    'mask': {'fixed': {'allowed': np.float32(1)}},
    'fixed': {'time_axis': '1'},
    'lengths': {'fixed': {'allowed': np.float32(1e6)}},
    'speaker': {'repeated': ['speaker']},
    'state_keys_mask': {'mask': 'allowed'},
    'source': {'constants': ['source']},
}
# Latency in steps of input and of output, for patterns that look ahead.
_LATENCY = {
    'conv': (0, 2), 'conv_bn': (0, 2), 'conv_same': (2, 2), 'conv_stride': (2, 1),
    'conv_depthwise': (0, 2), 'conv_groups': (0, 2), 'conv_transposed': (1, 1), 'conv2d': (1, 1),
    'conv2d_flat': (1, 1), 'conv2d_last': (0, 3), 'frames': (3, 0), 'up_cut': (1, 1),
    'up_2d': (1, 1), 'up_linear': (1, 1), 'up_cut_end': (1, 1), 'time_padded': (5, 0), 'time_cut': (0, 4),
    'position_unpadded': (0, 2), 'pool_padded': (1, 1), 'windows_of_time': (3, 1), 'maxima': (0, 3), 'fixed': (1, 3),
    'mirrored': (6, 6), 'spectrum': (9, 2), 'spectrum_of_window': (15, 3),
}  # fmt: skip


def _model(imported: Imported) -> runtime.Layer:
    return runtime.Layer.create(imported.model.config, imported.model.weights)


class GraphsTest(unittest.TestCase):
    def _check(self, imported: Imported, layer: runtime.Layer, *, streamed: bool) -> None:
        original = verify.Original(imported)
        for seed, (batch, steps) in enumerate(((1, 24), (2, 48))):
            inputs = verify.random_inputs(imported, batch, steps, seed)
            want = original.run(inputs)
            for found in verify.compare(imported, layer, inputs, want, streamed=streamed):
                self.assertLess(found.relative, _TOLERANCE, found)

    def test_there_are_graphs(self) -> None:
        self.assertGreaterEqual(len({p.name.split('.')[0] for p in _GRAPHS.glob('*.onnx')}), 40)

    def test_whole(self) -> None:
        for path in sorted(_GRAPHS.glob('*.onnx')):
            with self.subTest(path.name):
                imported = import_file(path, **_OPTIONS.get(path.name.split('.')[0], {}))
                self._check(imported, _model(imported), streamed=False)

    def test_streamed(self) -> None:
        for path in sorted(_GRAPHS.glob('*.onnx')):
            pattern = path.name.split('.')[0]
            with self.subTest(path.name):
                if pattern in _NOT_STREAMED:
                    with self.assertRaisesRegex(Refusal, 'no bound|begins at the end'):
                        import_file(path, streaming=True, **_OPTIONS.get(pattern, {}))
                    continue
                imported = import_file(path, streaming=True, **_OPTIONS.get(pattern, {}))
                layer = _model(imported)
                latency = layer.input_latency, layer.output_latency
                self.assertEqual(latency, _LATENCY.get(pattern, (0, 0)))
                self._check(imported, layer, streamed=True)


class RefusedTest(unittest.TestCase):
    def test_the_page_says_what_the_importer_answers(self) -> None:
        text = _DOCS.read_text()
        self.assertEqual(refused.page(text), text)
        self.assertNotIn('| imported |', text)
        self.assertGreaterEqual(len(refused.cases()), 15)

    def test_names_the_node(self) -> None:
        for title, (model, options) in refused.cases().items():
            with self.subTest(title), self.assertRaises(Refusal) as caught:
                import_graph(model, **options)
            if caught.exception.operator:
                names = {node.name for node in model.graph.node}
                self.assertIn(caught.exception.node, names)


class CommandTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name) / 'model'
        self.graph = str(_GRAPHS / 'conv_stride.legacy.onnx')

    def _run(self, *arguments: str) -> tuple[int, str]:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = command.main([self.graph, str(self.out), '--seconds', '0', *arguments])
        return status, printed.getvalue()

    def test_writes_a_model_that_opens(self) -> None:
        status, text = self._run('--streaming')
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r'y, streamed: differs by at most .*e-0[78] of the peak')
        self.assertIn('latency: 2 steps of input, 1 of output', text)
        self.assertRegex(text, r'sl verify: \d+ passed, 0 failed')
        layer = runtime.Layer.open(self.out)
        self.assertEqual(layer.input_spec.shape, (4,))
        self.assertEqual(json.loads(layer.metadata('imported_outputs') or ''), {'y': ''})
        self.assertEqual(json.loads(layer.metadata('imported_inputs') or ''), {'x': [4]})

    def test_options_of_a_graph_with_states(self) -> None:
        self.graph = str(_GRAPHS / 'state_lstm_cell.legacy.onnx')
        options = ['--time-axis', '0', '--batch-axis', '0', '--state', 'h=h_out', '--streaming']
        status, text = self._run(*options)
        self.assertEqual(status, 0, text)
        self.assertRegex(self._run('--state', 'h')[1], '--state h has no =')
        self.assertRegex(self._run('--size', 'x.1=8')[1], 'no open axis "x.1"; it has .*batch')

    def test_writes_nothing_that_disagrees(self) -> None:
        status, text = self._run('--tolerance', '0')
        self.assertEqual(status, 1)
        self.assertRegex(text, 'differs by .* nothing was written')
        self.assertFalse(self.out.exists())
        self.assertEqual(self._run('--tolerance', '0', '--force')[0], 0)
        self.assertTrue((self.out / 'config.json').exists())

    def test_refuses_what_is_no_graph(self) -> None:
        self.graph = __file__
        status, text = self._run()
        self.assertEqual(status, 1)
        self.assertIn('is no ONNX file', text)

    def test_given_data_are_compared(self) -> None:
        imported = import_file(self.graph)
        x = np.random.default_rng(0).standard_normal((1, 4, 480)).astype(np.float32)
        np.save(self.out.with_suffix('.npy'), x)
        data = importing.read_data(imported, self.out.with_suffix('.npy'))
        report = importing.run(imported, None, data=[data], seconds=0)
        self.assertIn(240, [found.steps for found in report.differences])

    def test_a_wrong_weight_is_found(self) -> None:
        imported = import_file(self.graph)
        name = next(iter(imported.model.weights))
        imported.model.weights[name] = imported.model.weights[name] + np.float32(0.1)
        with self.assertRaisesRegex(Refusal, 'differs by'):
            importing.run(imported, self.out, seconds=0)
        self.assertFalse(self.out.exists())


class OperatorsTest(unittest.TestCase):
    """Operators that PyTorch's exporters do not write for the patterns above."""

    def _check(self, model: onnx.ModelProto, *, streaming: bool = True, **options: Any) -> None:
        imported = import_graph(model, streaming=streaming, **options)
        report = importing.run(imported, None, seconds=0)
        self.assertEqual(report.not_streamed == '', streaming)
        self.assertLess(report.largest, _TOLERANCE)

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
        self.assertLess(importing.run(imported, None, seconds=0).largest, _TOLERANCE)

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

    def test_a_length_that_is_no_multiple_is_compared(self) -> None:
        imported = import_graph(refused.graph([refused.node('Relu')]))
        original = verify.Original(imported)
        report = importing.compare(imported, original, _model(imported), [])
        self.assertEqual({found.steps for found in report.differences}, {48, 72, 73})

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
            self.assertLess(importing.run(imported, None, seconds=0).largest, _TOLERANCE)

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


class StatesTest(unittest.TestCase):
    """States beyond those in the graphs of exporters in `importing/graphs/state_*`."""

    def _lstm(self) -> onnx.ModelProto:
        rng = np.random.default_rng(0)
        w, r = (rng.standard_normal((1, 16, n)).astype(np.float32) for n in (8, 4))
        nodes = [
            refused.node('Transpose', outputs=['t'], perm=[1, 0, 2]),
            refused.node('LSTM', ['t', 'w', 'r', '', '', 'a', 'b'], ['o', 'c', 'd'], hidden_size=4),
            refused.node('Squeeze', ['o', 'n'], ['s']),
            refused.node('Transpose', ['s'], perm=[1, 0, 2]),
        ]
        floats, shape = onnx.TensorProto.FLOAT, [1, 'batch', 4]
        more = [onnx.helper.make_tensor_value_info(name, floats, shape) for name in 'ab']
        model = refused.graph(nodes, {'w': w, 'r': r, 'n': np.array([1])}, more=more)
        outputs = [onnx.helper.make_tensor_value_info(name, floats, shape) for name in 'cd']
        model.graph.output.extend(outputs)
        return model

    def test_pairs_that_a_user_gives(self) -> None:
        imported = import_graph(self._lstm(), streaming=True, state={'a': 'c', 'b': 'd'})
        report = importing.run(imported, None, seconds=0)
        self.assertLess(report.largest, _TOLERANCE)
        # Each run has several chunks, as only the first begins with zeros.
        self.assertEqual(verify.chunk_of(imported), 24)
        self.assertEqual({found.steps for found in report.differences}, {48, 72})

    def test_wrong_pairs_disagree(self) -> None:
        imported = import_graph(self._lstm(), state={'a': 'd', 'b': 'c'})
        with self.assertRaisesRegex(Refusal, 'differs by'):
            importing.run(imported, None, seconds=0)

    def test_states_that_are_no_pairs(self) -> None:
        with self.assertRaisesRegex(Refusal, 'its input "b" is not given|initial state "a"'):
            import_graph(self._lstm())
        with self.assertRaisesRegex(Refusal, 'has no state "a" to "e"'):
            import_graph(self._lstm(), state={'a': 'e'})
        with self.assertRaisesRegex(Refusal, 'output "c" is a state'):
            import_graph(self._lstm(), state={'a': 'c', 'b': 'd'}, outputs=['c'])

    def test_a_cache_longer_than_its_window(self) -> None:
        """A step of 4 elements with the 10 before, of three steps."""
        kernel = np.random.default_rng(0).standard_normal((14, 3)).astype(np.float32)
        nodes = [
            refused.node('Concat', ['cache', 'x'], ['both'], axis=1),
            refused.node('MatMul', ['both', 'k']),
            refused.node('Slice', ['both', 'from', 'to', 'axis'], ['cache_out']),
        ]
        constants = {
            'k': kernel, 'from': np.array([-10]), 'to': np.array([100]), 'axis': np.array([1])
        }  # fmt: skip
        cache = onnx.helper.make_tensor_value_info('cache', onnx.TensorProto.FLOAT, ['batch', 10])
        model = refused.graph(nodes, constants, x=['batch', 4], more=[cache])
        model.graph.output.append(
            onnx.helper.make_tensor_value_info('cache_out', onnx.TensorProto.FLOAT, None)
        )
        imported = import_graph(model, streaming=True)
        self.assertLess(importing.run(imported, None, seconds=0).largest, _TOLERANCE)


class BackendTest(unittest.TestCase):
    """ONNX's own tests of operators; `importing/backend.py` runs all."""

    def test_the_first_of_each_operator(self) -> None:
        answers = collections.Counter()
        for case in backend.quick_cases():
            result = backend.run_case(case)
            answers[result.answer] += 1
            self.assertNotEqual(result.answer, 'failed', result)
        self.assertGreaterEqual(answers['passed'], 90)

    def test_the_page_counts_all(self) -> None:
        head = _DOCS.read_text().split(backend.MARK)[1]
        counts = [int(number) for number in re.findall(r'\d+', head.splitlines()[0])]
        self.assertEqual(sum(counts), len(backend.cases()))
        self.assertEqual(counts[2], 0)


class TablesTest(unittest.TestCase):
    def _rows(self, pattern: str, **options: Any) -> int:
        imported = import_file(_GRAPHS / f'{pattern}.legacy.onnx', **options)
        (table,) = (w for name, w in imported.model.weights.items() if name.endswith('.embedding'))
        return len(table)

    def test_a_table_of_positions_is_whole(self) -> None:
        self.assertEqual(self._rows('position_table'), 200)

    def test_computed_positions_have_as_many_rows_as_a_user_says(self) -> None:
        self.assertEqual(self._rows('position_sines'), 4096)
        self.assertEqual(self._rows('position_sines', max_steps=777), 777)

    def test_a_constant_that_differs_with_the_length(self) -> None:
        """Positions counted from the end."""
        nodes = [
            refused.node('Shape', outputs=['s']),
            refused.node('Gather', ['s', 'one'], ['n']),
            refused.node('Range', ['zero', 'n', 'one'], ['r']),
            refused.node('Sub', ['n', 'r'], ['b']),
            refused.node('Cast', ['b'], ['f'], to=onnx.TensorProto.FLOAT),
            refused.node('Unsqueeze', ['f', 'axis'], ['u']),
            refused.node('Add', ['x', 'u']),
        ]
        constants = {'zero': np.int64(0), 'one': np.int64(1), 'axis': np.array([1])}
        with self.assertRaisesRegex(Refusal, 'differs with the length'):
            import_graph(refused.graph(nodes, constants))


def _embedder() -> onnx.ModelProto:
    """Positions, attention and the mean of steps, of which an input "m" says which are valid."""
    rng = np.random.default_rng(0)
    table, w = rng.standard_normal((100, 8)), rng.standard_normal((8, 8))
    constants = {
        'table': table.astype(np.float32), 'w': w.astype(np.float32), 'one': np.array([1]),
        'two': np.array([2]), 'c0': np.array(0), 'c1': np.array(1), 'i1': np.array(1),
        'low': np.float32(-3e38), 'zero': np.float32(0), 'eps': np.float32(1e-9),
    }  # fmt: skip
    node = refused.node
    nodes = [
        node('Shape', outputs=['shape']), node('Gather', ['shape', 'i1'], ['steps']),
        node('Range', ['c0', 'steps', 'c1'], ['places']), node('Gather', ['table', 'places'], ['rows']),
        node('Unsqueeze', ['rows', 'unsqueezed'], ['positions']), node('Add', ['x', 'positions'], ['a']),
        node('MatMul', ['a', 'w'], ['q']), node('Transpose', ['a'], ['k'], perm=[0, 2, 1]),
        node('MatMul', ['q', 'k'], ['s']), node('Cast', ['m'], ['valid'], to=TensorProto.BOOL),
        node('Unsqueeze', ['valid', 'one'], ['keys']), node('Where', ['keys', 'zero', 'low'], ['bias']),
        node('Add', ['s', 'bias'], ['masked']), node('Softmax', ['masked'], ['p']),
        node('IsNaN', ['p'], ['nan']), node('Where', ['nan', 'zero', 'p'], ['weights']),
        node('MatMul', ['weights', 'a'], ['z']), node('Cast', ['m'], ['f'], to=TensorProto.FLOAT),
        node('Unsqueeze', ['f', 'two'], ['column']), node('Expand', ['column', 'shape'], ['full']),
        node('Mul', ['z', 'full'], ['kept']), node('ReduceSum', ['kept', 'one'], ['sum'], keepdims=0),
        node('ReduceSum', ['full', 'one'], ['count'], keepdims=0),
        node('Clip', ['count', 'eps'], ['clipped']), node('Div', ['sum', 'clipped']),
    ]  # fmt: skip
    constants['unsqueezed'] = np.array([0])
    mask = onnx.helper.make_tensor_value_info('m', TensorProto.INT64, ['batch', 'time'])
    model = refused.graph(nodes, constants, more=[mask])
    model.graph.output.append(onnx.helper.make_tensor_value_info('z', TensorProto.FLOAT, None))
    return model


def _decoder(rnn: str = 'GRU') -> onnx.ModelProto:
    """A recurrence that begins with the input "h" [batch, 4]."""
    rng, gates = np.random.default_rng(0), 3 if rnn == 'GRU' else 4
    constants = {
        'w': rng.standard_normal((1, 4 * gates, 8)).astype(np.float32), 'zero': np.array([0]),
        'r': rng.standard_normal((1, 4 * gates, 4)).astype(np.float32), 'one': np.array([1]),
    }  # fmt: skip
    nodes = [
        refused.node('Transpose', outputs=['t'], perm=[1, 0, 2]),
        refused.node('Unsqueeze', ['h', 'zero'], ['h0']),
        refused.node(rnn, ['t', 'w', 'r', '', '', 'h0'], ['s'], hidden_size=4),
        refused.node('Squeeze', ['s', 'one'], ['q']),
        refused.node('Transpose', ['q'], perm=[1, 0, 2]),
    ]
    h = onnx.helper.make_tensor_value_info('h', TensorProto.FLOAT, ['batch', 4])
    return refused.graph(nodes, constants, more=[h])


class ConstantTest(unittest.TestCase):
    def test_a_recurrence_begins_with_it(self) -> None:
        for rnn in ('GRU', 'LSTM'):
            with self.subTest(rnn):
                imported = import_graph(_decoder(rnn), constants=['h'], streaming=True)
                report = importing.run(imported, None, seconds=0.01)
                self.assertEqual({d.run for d in report.differences}, {'whole', 'streamed'})
                self.assertLess(report.largest, _TOLERANCE)
                self.assertEqual([c.name for c in _model(imported).constants], ['h'])

    def test_attention_to_a_sequence_of_its_own(self) -> None:
        for name in ('legacy', 'dynamo'):
            with self.subTest(name):
                path = _GRAPHS / f'source.{name}.onnx'
                imported = import_file(path, constants=['source'], streaming=True)
                report = importing.run(imported, None, seconds=0.01)
                self.assertEqual({d.run for d in report.differences}, {'whole', 'streamed'})
                self.assertLess(report.largest, _TOLERANCE)
                self.assertEqual([c.name for c in _model(imported).constants], ['source'])

    def test_a_sequence_of_its_own_that_steps_read(self) -> None:
        source = onnx.helper.make_tensor_value_info(
            'source', TensorProto.FLOAT, ['batch', 'other', 8]
        )
        model = refused.graph([refused.node('Add', ['x', 'source'])], more=[source])
        with self.assertRaisesRegex(Refusal, 'read by more than keys and values of attention'):
            import_graph(model, constants=['source'])

    def test_is_named(self) -> None:
        with self.assertRaisesRegex(Refusal, '"h" is not given; .*--constant'):
            import_graph(_decoder())


class MaskTest(unittest.TestCase):
    def test_lengths_are_those_of_the_input(self) -> None:
        imported = import_graph(_embedder(), mask='m')
        inputs = verify.random_inputs(imported, 3, 40)
        self.assertGreater(len(set(inputs['m'].sum(axis=1))), 1)
        layer, original = _model(imported), verify.Original(imported)
        want = original.run(inputs)
        for found in verify.compare(imported, layer, inputs, want, streamed=False):
            self.assertLess(found.relative, _TOLERANCE, found)
        wrong = dict(inputs) | {'m': np.ones_like(inputs['m'])}
        found = verify.compare(imported, layer, wrong, want, streamed=False)
        self.assertGreater(min(d.relative for d in found), 1e-2)

    def test_positions_end_with_their_table(self) -> None:
        layer = _model(import_graph(_embedder(), mask='m', outputs=['z']))
        values, _ = layer.apply(np.zeros((1, 101, 8), np.float32))
        self.assertTrue(np.isnan(values[0, 100]).all())

    def test_a_sum_by_another_number_is_no_mean(self) -> None:
        model = _embedder()
        for node in model.graph.node:
            if node.op_type == 'Clip':
                node.input[1] = 'many'
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1000), 'many'))
        imported = import_graph(model, mask='m')
        inputs = verify.random_inputs(imported, 1, 40)
        want = verify.Original(imported).run(inputs)
        found = verify.compare(imported, _model(imported), inputs, want, streamed=False)
        self.assertLess(max(d.relative for d in found), _TOLERANCE)

    def test_axes_of_the_mask_may_have_other_names(self) -> None:
        model = _embedder()
        dims = model.graph.input[1].type.tensor_type.shape.dim
        dims[0].dim_param, dims[1].dim_param = 's17', 's18'
        self.assertEqual(import_graph(model, mask='m').axes['m'].time, 1)

    def test_names_the_mask(self) -> None:
        with self.assertRaisesRegex(Refusal, 'has no input "mask" beside its first; it has .*m'):
            import_graph(_embedder(), mask='mask')


def _contrib(operator: str, inputs: Sequence[str], **fields: Any) -> onnx.NodeProto:
    return refused.node(operator, inputs, domain='com.microsoft', **fields)


class RuntimesOperatorsTest(unittest.TestCase):
    """Operators that onnxruntime's optimizer writes."""

    def _check(self, model: onnx.ModelProto, *, streaming: bool) -> Imported:
        model.opset_import.append(onnx.helper.make_opsetid('com.microsoft', 1))
        imported = import_graph(model, streaming=streaming)
        self.assertLess(importing.run(imported, None, seconds=0).largest, _TOLERANCE)
        return imported

    def test_optimized_graphs(self) -> None:
        for name in ('gelu', 'conv_bn', 'attention_causal', 'attention_own', 'residual'):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / 'optimized.onnx'
                options = onnxruntime.SessionOptions()
                options.optimized_model_filepath = str(path)
                level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
                options.graph_optimization_level = level
                onnxruntime.InferenceSession(str(_GRAPHS / f'{name}.legacy.onnx'), options)
                imported = import_file(path)
                report = importing.run(imported, None, seconds=0)
                self.assertLess(report.largest, _TOLERANCE)

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
                self.assertLess(importing.run(imported, None, seconds=0).largest, _TOLERANCE)

    def test_a_choice_by_values_stays(self) -> None:
        options = onnxruntime.SessionOptions()
        self.assertTrue(branches.has_choices(branches.inline(refused.choice(), options)))


class FoldingTest(unittest.TestCase):
    def test_a_crash_is_a_refusal(self) -> None:
        graph = refused.graph([refused.node('Relu')])
        import_graph(graph)
        process = folding.FOLDER.process
        assert process is not None
        process.kill()
        process.wait()
        with self.assertRaisesRegex(Refusal, r'crashes on the graph \(SIGKILL\)'):
            import_graph(graph, times=[48])
        import_graph(graph)


class OutputsTest(unittest.TestCase):
    def test_an_output_beside_the_first(self) -> None:
        model = refused.graph([refused.node('Relu'), refused.node('Tanh', outputs=['z'])])
        model.graph.output.append(
            onnx.helper.make_tensor_value_info('z', onnx.TensorProto.FLOAT, None)
        )
        report = importing.run(import_graph(model), None, seconds=0)
        self.assertEqual({d.output for d in report.differences}, {'y', 'z'})
        self.assertLess(report.largest, _TOLERANCE)

    def test_an_output_on_the_way_is_an_emit(self) -> None:
        model = refused.graph([refused.node('Relu', outputs=['z']), refused.node('Tanh', ['z'])])
        model.graph.output.append(
            onnx.helper.make_tensor_value_info('z', onnx.TensorProto.FLOAT, None)
        )
        imported = import_graph(model)
        report = importing.run(imported, None, seconds=0)
        self.assertEqual({d.output for d in report.differences}, {'y', 'z'})
        self.assertLess(report.largest, _TOLERANCE)


if __name__ == '__main__':
    unittest.main()
