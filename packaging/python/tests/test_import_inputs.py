"""The importer: inputs that are states, constants and masks, and positions, which depend on their length."""

import unittest
from typing import Any

import numpy as np
import onnx
from importing import refused
from importing.support import GRAPHS, TOLERANCE
from onnx import TensorProto

from sequence_layers_import import (
    Refusal,
    import_file,
    import_graph,
    importing,
    verify,
)


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
        self.assertLess(report.largest, TOLERANCE)
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
        self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)


class TablesTest(unittest.TestCase):
    def _rows(self, pattern: str, **options: Any) -> int:
        imported = import_file(GRAPHS / f'{pattern}.legacy.onnx', **options)
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
                self.assertLess(report.largest, TOLERANCE)
                self.assertEqual([c.name for c in importing.make_layer(imported).constants], ['h'])

    def test_attention_to_a_sequence_of_its_own(self) -> None:
        for name in ('legacy', 'dynamo'):
            with self.subTest(name):
                path = GRAPHS / f'source.{name}.onnx'
                imported = import_file(path, constants=['source'], streaming=True)
                report = importing.run(imported, None, seconds=0.01)
                self.assertEqual({d.run for d in report.differences}, {'whole', 'streamed'})
                self.assertLess(report.largest, TOLERANCE)
                self.assertEqual(
                    [c.name for c in importing.make_layer(imported).constants], ['source']
                )

    def test_a_sequence_of_its_own_that_steps_read(self) -> None:
        source = onnx.helper.make_tensor_value_info(
            'source', TensorProto.FLOAT, ['batch', 'other', 8]
        )
        model = refused.graph([refused.node('Add', ['x', 'source'])], more=[source])
        with self.assertRaisesRegex(Refusal, 'read by more than keys and values of attention'):
            import_graph(model, constants=['source'])

    def test_a_repeated_input_with_an_axis_of_one_element(self) -> None:
        given = onnx.helper.make_tensor_value_info('v', TensorProto.FLOAT, ['batch', 1, 8])
        nodes = [refused.node('Mul', ['x', 'v'], ['m']), refused.node('Add', ['m', 'v'])]
        imported = import_graph(refused.graph(nodes, more=[given]), repeated=['v'], streaming=True)
        self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def test_is_named(self) -> None:
        with self.assertRaisesRegex(Refusal, '"h" is not given; .*--constant'):
            import_graph(_decoder())


class MaskTest(unittest.TestCase):
    def test_lengths_are_those_of_the_input(self) -> None:
        imported = import_graph(_embedder(), mask='m')
        inputs = verify.random_inputs(imported, 3, 40)
        self.assertGreater(len(set(inputs['m'].sum(axis=1))), 1)
        layer, original = importing.make_layer(imported), verify.Original(imported)
        want = original.run(inputs)
        for found in verify.compare(imported, layer, inputs, want, streamed=False):
            self.assertLess(found.relative, TOLERANCE, found)
        wrong = dict(inputs) | {'m': np.ones_like(inputs['m'])}
        found = verify.compare(imported, layer, wrong, want, streamed=False)
        self.assertGreater(min(d.relative for d in found), 1e-2)

    def test_positions_end_with_their_table(self) -> None:
        layer = importing.make_layer(import_graph(_embedder(), mask='m', outputs=['z']))
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
        found = verify.compare(
            imported, importing.make_layer(imported), inputs, want, streamed=False
        )
        self.assertLess(max(d.relative for d in found), TOLERANCE)

    def test_axes_of_the_mask_may_have_other_names(self) -> None:
        model = _embedder()
        dims = model.graph.input[1].type.tensor_type.shape.dim
        dims[0].dim_param, dims[1].dim_param = 's17', 's18'
        self.assertEqual(import_graph(model, mask='m').axes['m'].time, 1)

    def test_names_the_mask(self) -> None:
        with self.assertRaisesRegex(Refusal, 'has no input "mask" beside its first; it has .*m'):
            import_graph(_embedder(), mask='mask')


if __name__ == '__main__':
    unittest.main()
