"""The importer: graphs of PyTorch's exporters, what is refused, its command and its outputs."""

import collections
import contextlib
import io
import json
import os
import pathlib
import re
import tempfile
import unittest
from typing import Any
from unittest import mock

import numpy as np
import onnx
from importing import backend, refused
from importing.support import GRAPHS, TOLERANCE

import sequence_layers_runtime as runtime
from sequence_layers_import import (
    Refusal,
    command,
    folding,
    graph,
    import_file,
    import_graph,
    importing,
    verify,
)
from sequence_layers_import.onnx_model import Imported
from sequence_layers_runtime import tool

_DOCS = pathlib.Path(__file__).parents[3] / 'docs' / 'importing.md'
# Patterns that cannot run in steps.
_NOT_STREAMED = ('lstm_bidirectional', 'attention', 'attention_own', 'attention_distances', 'attention_merged',
                 'attention_multihead', 'attention_shifted', 'attention_shaw', 'attention_shaw_band', 'attention_gated', 'mask', 'lengths', 'group_norm', 'attentive_pooling')  # fmt: skip
# Options of patterns. All steps are allowed, as the model's mask tells which are there.
_OPTIONS: dict[str, dict[str, Any]] = {
    'mask': {'fixed': {'allowed': np.float32(1)}},
    'fixed': {'time_axis': '1'},
    'lengths': {'fixed': {'allowed': np.float32(1e6)}},
    'speaker': {'repeated': ['speaker']},
    'state_keys_mask': {'mask': 'allowed'},
    'source': {'constants': ['source']},
    'decoder': {'constants': ['source']},
}
# Latency in steps of input and of output, for patterns that look ahead.
_LATENCY = {
    'conv': (0, 2), 'conv_bn': (0, 2), 'conv_same': (2, 2), 'conv_stride': (2, 1),
    'conv_depthwise': (0, 2), 'conv_groups': (0, 2), 'conv_transposed': (1, 1), 'conv2d': (1, 1),
    'conv2d_flat': (1, 1), 'conv2d_last': (0, 3), 'frames': (3, 0), 'up_cut': (1, 1),
    'up_2d': (1, 1), 'up_linear': (1, 1), 'up_cut_end': (1, 1), 'time_padded': (5, 0), 'time_cut': (0, 4),
    'position_unpadded': (0, 2), 'pool_padded': (1, 1), 'windows_of_time': (0, 1), 'maxima': (0, 3), 'fixed': (1, 3),
    'mirrored': (6, 6), 'repeated': (3, 3), 'repeated_images': (3, 3),
    'rounded_thrice': (15, 0), 'rounded_ahead': (24, 2), 'unet_cut': (10, 16), 'pool_ceil': (5, 2), 'sources': (2, 2), 'rounded': (5, 0), 'rounded_mirrored': (12, 2), 'spectrum': (9, 2), 'spectrum_of_window': (15, 3),
}  # fmt: skip


class GraphsTest(unittest.TestCase):
    def _check(self, imported: Imported, layer: runtime.Layer, *, streamed: bool) -> None:
        original = verify.Original(imported)
        for seed, (batch, steps) in enumerate(((1, 24), (2, 48))):
            inputs = verify.random_inputs(imported, batch, steps, seed)
            want = original.run(inputs)
            for found in verify.compare(imported, layer, inputs, want, streamed=streamed):
                self.assertLess(found.relative, TOLERANCE, found)

    def test_there_are_graphs(self) -> None:
        self.assertGreaterEqual(len({p.name.split('.')[0] for p in GRAPHS.glob('*.onnx')}), 40)

    def test_whole(self) -> None:
        for path in sorted(GRAPHS.glob('*.onnx')):
            with self.subTest(path.name):
                imported = import_file(path, **_OPTIONS.get(path.name.split('.')[0], {}))
                self._check(imported, importing.make_layer(imported), streamed=False)

    def test_streamed(self) -> None:
        for path in sorted(GRAPHS.glob('*.onnx')):
            pattern = path.name.split('.')[0]
            with self.subTest(path.name):
                if pattern in _NOT_STREAMED:
                    with self.assertRaisesRegex(
                        Refusal, 'no bound|begins at the end|of the future'
                    ):
                        import_file(path, streaming=True, **_OPTIONS.get(pattern, {}))
                    continue
                imported = import_file(path, streaming=True, **_OPTIONS.get(pattern, {}))
                layer = importing.make_layer(imported)
                latency = layer.input_latency, layer.output_latency
                self.assertEqual(latency, _LATENCY.get(pattern, (0, 0)))
                self._check(imported, layer, streamed=True)


class RelativePositionsTest(unittest.TestCase):
    def test_what_is_beyond_the_table_is_no_number(self) -> None:
        imported = import_file(GRAPHS / 'attention_shifted.legacy.onnx', max_steps=60)
        layer = importing.make_layer(imported)
        x = np.random.default_rng(0).standard_normal((1, 100, 8)).astype(np.float32)
        (want,) = verify.Original(imported).run({'x': x[:, :72]})
        np.testing.assert_allclose(layer.apply(x[:, :72])[0], want, atol=1e-5)
        known = np.isfinite(layer.apply(x)[0]).all(axis=(0, 2))
        # Steps that see none farther than 71 away.
        np.testing.assert_array_equal(np.flatnonzero(known), np.arange(28, 72))

    def test_one_more_unit_holds_the_difference_of_biases(self) -> None:
        shapes = {}
        for name in ('attention_shaw', 'attention_shifted', 'attention_gated'):
            weights = import_file(GRAPHS / f'{name}.legacy.onnx').model.weights
            shapes[name] = next(w.shape[2] for n, w in weights.items() if n.endswith('.embedding'))
        self.assertEqual(
            shapes, {'attention_shaw': 4, 'attention_shifted': 5, 'attention_gated': 5}
        )


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


class LengthsTest(unittest.TestCase):
    def test_windows_are_filled_up_at_any_length(self) -> None:
        for name in ('rounded', 'rounded_mirrored'):
            imported = import_file(GRAPHS / f'{name}.legacy.onnx')
            lengths = {steps % 6 for steps in importing.steps_to_try(imported)}
            self.assertEqual(lengths, {0, 1, 5})
            self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def test_windows_are_filled_up_behind_others_that_are(self) -> None:
        for name in ('rounded_thrice', 'rounded_ahead'):
            for exporter in ('legacy', 'dynamo'):
                imported = import_file(GRAPHS / f'{name}.{exporter}.onnx')
                report = importing.run(imported, None, seconds=0)
                self.assertLess(report.largest, TOLERANCE)
                self.assertEqual(report.lengths, '')

    def test_lengths_have_whole_windows_of_strides_behind_each_other(self) -> None:
        kernel = {'k': np.ones((4, 4, 7), np.float32)}
        beside = [refused.node('Conv', ['x', 'k'], [n], strides=[7]) for n in ('a', 'b', 'c')]
        added = [refused.node('Add', ['a', 'b'], ['d']), refused.node('Add', ['c', 'd'])]
        behind = [refused.node('Conv', [a, 'k'], [b], strides=[7]) for a, b in ('xa', 'ab', 'by')]
        for nodes, wanted in (([*beside, *added], 28), (behind, 4 * 7**3)):
            model = refused.graph(nodes, kernel, x=['batch', 4, 'time'])
            shape = import_graph(model).graph.shapes('x')[0]
            self.assertEqual(shape[2], wanted)

    def test_skips_that_are_cut_differently_are_for_lengths_of_whole_windows(self) -> None:
        for exporter in ('legacy', 'dynamo'):
            imported = import_file(GRAPHS / f'unet_cut.{exporter}.onnx', streaming=True)
            report = importing.run(imported, None, seconds=0)
            self.assertRegex(report.lengths, 'multiples of 4 steps only: Slice ".*" cuts another')
            self.assertLess(report.largest, TOLERANCE)

    def test_a_part_that_may_be_all_that_a_graph_takes_is_kept(self) -> None:
        model, options = refused.cases()['no more than a number of steps']
        with self.assertRaisesRegex(Refusal, 'no more than 100 items'):
            import_graph(model, **options)

    def test_sizes_that_fit_at_no_length_are_not_tried_at_long_ones(self) -> None:
        nodes = [refused.node('Add', ['x', 'm'], ['a']), refused.node('Add', ['a', 'n'])]
        masks = {name: np.ones((rows, 8), np.float32) for name, rows in (('m', 7), ('n', 9))}
        reshapes = [
            refused.node('Reshape', ['x', 'm'], ['a']),
            refused.node('Reshape', ['a', 'n']),
        ]
        shapes = {'m': np.array([7, 2, 8]), 'n': np.array([9, 2, 8])}
        for model in (refused.graph(nodes, masks), refused.graph(reshapes, shapes)):
            self.assertEqual(self._lengths(model), [48, 24, 960])

    def _lengths(self, model: onnx.ModelProto) -> list[int]:
        """The numbers of steps that are tried for a graph that takes none."""
        lengths = []

        def record(*arguments: Any) -> Any:
            lengths.append(arguments[2][0]['x'][1])
            return fold_all(*arguments)

        fold_all = graph.fold_all
        with mock.patch.object(graph, 'fold_all', record), self.assertRaises(Refusal):
            import_graph(model)
        return lengths


class CommandTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name) / 'model'
        self.graph = str(GRAPHS / 'conv_stride.legacy.onnx')

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
        self.graph = str(GRAPHS / 'state_lstm_cell.legacy.onnx')
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


class ToolTest(unittest.TestCase):
    def test_that_of_the_wheel_is_found_where_no_other_is_named(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            packaged, named = pathlib.Path(folder, 'sl'), pathlib.Path(folder, 'named')
            packaged.touch()
            named.touch()
            path = {'PATH': folder}
            with mock.patch.object(tool, '_PACKAGED', packaged):
                for found, variables in (
                    (packaged, path),
                    (packaged, {'SEQUENCE_LAYERS_LIBRARY': f'{folder}/none/library.so'}),
                    (named, {'SEQUENCE_LAYERS_TOOL': str(named)}),
                ):
                    with mock.patch.dict(os.environ, variables, clear=True):
                        self.assertEqual(tool.find_tool(), str(found))

    def test_what_lacks_it_says_so(self) -> None:
        imported = import_file(GRAPHS / 'conv_stride.legacy.onnx')
        with mock.patch.object(importing, 'find_tool', return_value=None):
            text = importing.check_contract(imported, pathlib.Path())
        self.assertRegex(text, 'not run: .* the wheel has')


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
        self.assertLess(report.largest, TOLERANCE)

    def test_an_output_on_the_way_is_an_emit(self) -> None:
        model = refused.graph([refused.node('Relu', outputs=['z']), refused.node('Tanh', ['z'])])
        model.graph.output.append(
            onnx.helper.make_tensor_value_info('z', onnx.TensorProto.FLOAT, None)
        )
        imported = import_graph(model)
        report = importing.run(imported, None, seconds=0)
        self.assertEqual({d.output for d in report.differences}, {'y', 'z'})
        self.assertLess(report.largest, TOLERANCE)


if __name__ == '__main__':
    unittest.main()
