"""The importer: operators that simpler ones compute, forms of time, and sizes of an exporter's example in a graph."""

import unittest
from typing import Any

import numpy as np
import onnx
from importing import refused
from importing.support import TOLERANCE
from onnx import TensorProto

from sequence_layers_import import Refusal, import_graph, importing, verify
from sequence_layers_import.refusal import CannotLoad


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class ExpansionsTest(unittest.TestCase):
    def _check(self, model: onnx.ModelProto, *, streaming: bool = True, **options: Any) -> None:
        imported = import_graph(model, streaming=streaming, **options)
        self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def _einsum(self, equation: str, *matrix: int, opset: int = 17, x: Any = None) -> None:
        einsum = refused.node('Einsum', ['x', 'w'], equation=equation)
        shape = {'x': x} if x else {}
        self._check(refused.graph([einsum], {'w': _random(*matrix)}, opset=opset, **shape))

    def test_products_by_labels(self) -> None:
        for equation, *matrix in (
            ('btc,cd->btd', 8, 3), ('btc, cd -> bdt', 8, 3), ('btc,dc->btd', 3, 8), ('btc,c->bt', 8),
            ('btc,c->btc', 8), ('btc,d->btcd', 3), ('...c,cd->...d', 8, 3), ('btc,dec->btde', 3, 2, 8),
        ):  # fmt: skip
            for opset in (12, 17):
                with self.subTest(equation=equation, opset=opset):
                    self._einsum(equation, *matrix, opset=opset)

    def test_products_of_groups(self) -> None:
        x = ['batch', 'time', 2, 3]
        for equation, *matrix in (
            ('btgi,gih->btgh', 2, 3, 4), ('btgi,gih->bthg', 2, 3, 4), ('btgi,gih->bth', 2, 3, 4),
            ('btgi,igo->bto', 3, 2, 4), ('btgi,oi', 4, 3),
        ):  # fmt: skip
            with self.subTest(equation=equation):
                self._einsum(equation, *matrix, x=x)

    def test_a_matrix_before_the_input(self) -> None:
        einsum = refused.node('Einsum', ['w', 'x'], equation='fm,bft->bmt')
        self._check(refused.graph([einsum], {'w': _random(4, 3)}, x=['batch', 4, 'time']))

    def test_attention_by_labels(self) -> None:
        nodes = [
            refused.node('Einsum', ['x', 'x'], ['s'], equation='bid,bjd->bij'),
            refused.node('Softmax', ['s'], ['p'], axis=-1),
            refused.node('Einsum', ['p', 'x'], equation='bij,bjd->bid'),
        ]
        self._check(refused.graph(nodes), streaming=False)

    def test_three_factors(self) -> None:
        einsum = refused.node('Einsum', ['x', 'w', 'v'], equation='btc,cd,d->btd')
        self._check(refused.graph([einsum], {'w': _random(8, 3), 'v': _random(3)}))

    def test_a_diagonal_is_refused(self) -> None:
        einsum = refused.node('Einsum', ['x', 'w'], equation='btc,dd->btc')
        with self.assertRaisesRegex(Refusal, 'Einsum "einsum_y"'):
            import_graph(refused.graph([einsum], {'w': _random(3, 3)}))

    def test_a_choice_by_what_is_no_number(self) -> None:
        nodes = [
            refused.node('IsNaN', outputs=['n']),
            refused.node('Abs', outputs=['a']),
            refused.node('Where', ['n', 'x', 'a']),
        ]
        self._check(refused.graph(nodes))

    def test_channels_by_numbers(self) -> None:
        nodes = [
            refused.node('Transpose', outputs=['t'], perm=[2, 0, 1]),
            refused.node('GatherND', ['t', 'n'], ['g']),
            refused.node('Transpose', ['g'], perm=[1, 2, 0]),
        ]
        self._check(refused.graph(nodes, {'n': np.array([[5], [0], [0]])}))

    def test_blocks_of_channels_and_space(self) -> None:
        for operator, fields in (
            ('DepthToSpace', {'mode': 'CRD'}), ('DepthToSpace', {'mode': 'DCR'}), ('SpaceToDepth', {}),
        ):  # fmt: skip
            moved = refused.node(operator, blocksize=2, **fields)
            with self.subTest(operator=operator, **fields):
                self._check(refused.graph([moved], x=['batch', 8, 6, 'time']))

    def test_parts_of_a_list(self) -> None:
        for axis, number in ((2, 3), (-1, 0)):
            nodes = [
                refused.node('SplitToSequence', outputs=['parts'], axis=axis, keepdims=0),
                refused.node('SequenceAt', ['parts', 'n']),
            ]
            with self.subTest(axis=axis):
                self._check(refused.graph(nodes, {'n': np.int64(number)}))

    def test_a_constant_that_is_repeated_for_each_item(self) -> None:
        nodes = [
            refused.node('Shape', outputs=['s'], end=1),
            refused.node('Concat', ['s', 'k'], ['e'], axis=0),
            refused.node('Expand', ['w', 'e'], ['m']),
            refused.node('MatMul', ['x', 'm']),
        ]
        self._check(refused.graph(nodes, {'k': np.array([8, 3]), 'w': _random(8, 3)}))


class TimeTest(unittest.TestCase):
    """Forms of steps before and of windows as PyTorch's code has them."""

    def _check(self, model: onnx.ModelProto) -> importing.Report:
        report = importing.run(import_graph(model, streaming=True), None, seconds=0)
        self.assertLess(report.largest, TOLERANCE)
        return report

    def test_zeros_that_fill_the_last_window(self) -> None:
        """EnCodec computes how many steps the last window lacks."""
        nodes = [
            refused.node('Shape', outputs=['s'], start=2, end=3), refused.node('Neg', ['s'], ['n']),
            refused.node('Mod', ['n', 'three'], ['lacking']),
            refused.node('Concat', ['zeros', 'two', 'zeros', 'lacking'], ['pads'], axis=0),
            refused.node('Pad', ['x', 'pads'], ['p']),
            refused.node('Conv', ['p', 'w'], strides=[3]),
        ]  # fmt: skip
        constants = {'three': np.array([3]), 'two': np.array([2]), 'zeros': np.zeros(2, np.int64)}
        model = refused.graph(nodes, constants | {'w': _random(4, 4, 5)}, x=['batch', 4, 'time'])
        self.assertIn(25, {found.steps for found in self._check(model).differences})

    def test_windows_of_a_padded_sequence_beside_it(self) -> None:
        """A window of the last three steps, as torch.Tensor.unfold takes it, times each step."""
        nodes = [
            refused.node('Pad', ['x', 'pads'], ['p']), refused.node('Shape', ['x'], ['s'], start=1, end=2),
            refused.node('Squeeze', ['s'], ['n']), refused.node('Range', ['zero', 'n', 'one'], ['r']),
            refused.node('Unsqueeze', ['r', 'last'], ['u']), refused.node('Add', ['u', 'offsets'], ['i']),
            refused.node('Gather', ['p', 'i'], ['w'], axis=1),
            refused.node('Unsqueeze', ['x', 'two'], ['e']), refused.node('Mul', ['w', 'e']),
        ]  # fmt: skip
        constants = {
            'pads': np.array([0, 2, 0, 0, 0, 0]), 'zero': np.array(0), 'one': np.array(1),
            'last': np.array([1]), 'two': np.array([2]), 'offsets': np.arange(3),
        }  # fmt: skip
        self.assertEqual(self._check(refused.graph(nodes, constants)).latency, (0, 0))

    def test_a_difference_to_the_step_before(self) -> None:
        far = np.iinfo(np.int64).max
        constants = {
            'zero': np.array([0]), 'one': np.array([1]), 'minus': np.array([-1]), 'far': np.array([far]),
            'factor': np.float32(0.97),
        }  # fmt: skip
        for operator in ('Sub', 'Add'):
            nodes = [
                refused.node('Slice', ['x', 'zero', 'one', 'one'], ['first']),
                refused.node('Slice', ['x', 'one', 'far', 'one'], ['later']),
                refused.node('Slice', ['x', 'zero', 'minus', 'one'], ['past']),
                refused.node('Mul', ['past', 'factor'], ['scaled']),
                refused.node(operator, ['later', 'scaled'], ['rest']),
                refused.node('Concat', ['first', 'rest'], axis=1),
            ]
            with self.subTest(operator):
                self._check(refused.graph(nodes, constants))

    def test_every_third_step_between(self) -> None:
        for start, stop in ((3, -3), (2, np.iinfo(np.int64).max), (0, -1)):
            constants = {
                'start': np.array([start]),
                'stop': np.array([stop]),
                'axis': np.array([1]),
            }
            part = refused.node('Slice', ['x', 'start', 'stop', 'axis', 'three'])
            with self.subTest(start=start):
                self._check(refused.graph([part], constants | {'three': np.array([3])}))

    def test_instances_that_are_steps(self) -> None:
        nodes = [
            refused.node('Reshape', ['x', 'flat'], ['f']),
            refused.node('InstanceNormalization', ['f', 'scale', 'bias'], ['n']),
            refused.node('Shape', ['x'], ['s']), refused.node('Reshape', ['n', 's']),
        ]  # fmt: skip
        constants = {'flat': np.array([-1, 2, 4]), 'scale': _random(2), 'bias': _random(2)}
        self._check(refused.graph(nodes, constants))

    def test_a_slice_of_everything_before_a_convolution(self) -> None:
        nodes = [
            refused.node('Pad', ['x', 'pads'], ['p'], mode='reflect'),
            refused.node('Shape', ['p'], ['stop'], start=2, end=3),
            refused.node('Slice', ['p', 'zero', 'stop', 'axis'], ['s']), refused.node('Conv', ['s', 'w']),
        ]  # fmt: skip
        constants = {
            'pads': np.array([0, 0, 2, 0, 0, 0]),
            'zero': np.array([0]),
            'axis': np.array([2]),
        }
        self._check(
            refused.graph(nodes, constants | {'w': _random(4, 4, 3)}, x=['batch', 4, 'time'])
        )

    def test_steps_in_reverse_order(self) -> None:
        constants = {
            'start': np.array([-1]),
            'stop': np.array([np.iinfo(np.int64).min]),
            'axis': np.array([1]),
        }
        model = refused.graph(
            [refused.node('Slice', ['x', 'start', 'stop', 'axis', 'start'])], constants
        )
        self.assertEqual(importing.run(import_graph(model), None, seconds=0).largest, 0)
        with self.assertRaisesRegex(Refusal, 'reversal goes over all of time'):
            import_graph(model, streaming=True)

    def test_each_step_several_times_by_numbers(self) -> None:
        """torch.repeat_interleave and interpolation by selected steps, as PyTorch's newer exporter writes them."""
        nodes = [
            refused.node('Shape', outputs=['s'], start=1, end=2), refused.node('Squeeze', ['s'], ['n']),
            refused.node('Mul', ['n', 'two'], ['count']), refused.node('Range', ['zero', 'count', 'one'], ['r']),
        ]  # fmt: skip
        repeated = [
            refused.node('Div', ['r', 'two'], ['i']), refused.node('Gather', ['x', 'i'], axis=1),
        ]  # fmt: skip
        interpolated = [
            refused.node('Cast', ['r'], ['f'], to=TensorProto.FLOAT), refused.node('Mul', ['f', 'half'], ['g']),
            refused.node('Sub', ['g', 'quarter'], ['h']), refused.node('Relu', ['h'], ['place']),
            refused.node('Cast', ['place'], ['low'], to=TensorProto.INT64), refused.node('Add', ['low', 'one'], ['next']),
            refused.node('Sub', ['n', 'one'], ['end']), refused.node('Min', ['next', 'end'], ['high']),
            refused.node('Cast', ['low'], ['floor'], to=TensorProto.FLOAT), refused.node('Sub', ['place', 'floor'], ['p']),
            refused.node('Unsqueeze', ['p', 'last'], ['weight']),
            refused.node('Gather', ['x', 'low'], ['a'], axis=1), refused.node('Gather', ['x', 'high'], ['b'], axis=1),
            refused.node('Sub', ['b', 'a'], ['d']), refused.node('Mul', ['d', 'weight'], ['m']),
            refused.node('Add', ['a', 'm']),
        ]  # fmt: skip
        constants = {
            'zero': np.array(0), 'one': np.array(1), 'two': np.array(2), 'last': np.array([1]),
            'half': np.float32(0.5), 'quarter': np.float32(0.25),
        }  # fmt: skip
        for chosen in (repeated, interpolated):
            self._check(refused.graph([*nodes, *chosen], constants))

    def test_a_product_of_two_results_in_each_step(self) -> None:
        """The outer product of a step, times its first half."""
        nodes = [
            refused.node('Unsqueeze', ['x', 'two'], ['row']),
            refused.node('Unsqueeze', ['x', 'three'], ['column']),
            refused.node('MatMul', ['column', 'row'], ['outer']),
            refused.node('MatMul', ['outer', 'column'], ['product']),
            refused.node('Squeeze', ['product', 'three']),
        ]
        self._check(refused.graph(nodes, {'two': np.array([2]), 'three': np.array([3])}))

    def test_steps_times_a_value_of_the_whole_sequence(self) -> None:
        """Scores of steps for a query made of their mean."""
        nodes = [
            refused.node('ReduceMean', ['x'], ['mean'], axes=[1]),
            refused.node('Transpose', ['mean'], ['query'], perm=[0, 2, 1]),
            refused.node('MatMul', ['x', 'query']),
        ]
        imported = import_graph(refused.graph(nodes))
        self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def test_powers(self) -> None:
        exponents = np.linspace(0.3, 0.9, 8, dtype=np.float32)
        nodes = [refused.node('Abs', outputs=['a']), refused.node('Pow', ['a', 'e'])]
        self._check(refused.graph(nodes, {'e': exponents}))
        self._check(refused.graph([refused.node('Pow', ['ten', 'x'])], {'ten': np.float32(10)}))
        with self.assertRaisesRegex(Refusal, 'several, with integers'):
            import_graph(refused.graph(nodes, {'e': np.arange(8, dtype=np.float32)}))


class WrittenSizesTest(unittest.TestCase):
    def _heads(self, steps: int) -> onnx.ModelProto:
        """A reshape to heads with the steps of an example and the batch of the input."""
        nodes = [
            refused.node('Shape', outputs=['s'], end=1),
            refused.node('Concat', ['s', 'k'], ['h'], axis=0),
            refused.node('Reshape', ['x', 'h'], ['r']),
            refused.node('Softmax', ['r'], axis=-1),
        ]
        return refused.graph(nodes, {'k': np.array([steps, 2, 4])})

    def test_steps_of_an_example_in_a_graph_with_open_axes(self) -> None:
        for steps in (20, 48, 500):
            with self.subTest(steps=steps):
                imported = import_graph(self._heads(steps), streaming=True)
                report = importing.run(imported, None, seconds=0)
                self.assertLess(report.largest, TOLERANCE)
                self.assertIn(2 * steps, {found.steps for found in report.differences})

    def test_steps_behind_a_stride(self) -> None:
        nodes = [
            refused.node('Conv', ['x', 'w'], ['c'], strides=[2]),
            refused.node('Transpose', ['c'], ['t'], perm=[2, 0, 1]),
            refused.node('Shape', ['x'], ['s'], end=1),
            refused.node('Concat', ['k', 's', 'h'], ['heads'], axis=0),
            refused.node('Reshape', ['t', 'heads'], ['r']),
            refused.node('Softmax', ['r'], axis=-1),
        ]
        constants = {'w': _random(8, 4, 3), 'k': np.array([23]), 'h': np.array([2, 4])}
        imported = import_graph(refused.graph(nodes, constants, x=['batch', 4, 'time']))
        self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)

    def test_a_table_with_a_row_for_each_step_of_an_example(self) -> None:
        """Whisper's encoder adds a whole table of positions behind a stride."""
        nodes = [
            refused.node('Conv', ['x', 'w'], ['c'], strides=[2], pads=[1, 1]),
            refused.node('Transpose', ['c'], ['t'], perm=[0, 2, 1]), refused.node('Add', ['t', 'table']),
        ]  # fmt: skip
        for axis in ('time', 80):
            constants = {'w': _random(8, 4, 3), 'table': _random(40, 8)}
            model = refused.graph(nodes, constants, x=['batch', 4, axis])
            imported = import_graph(model, time_axis='2', streaming=True)
            self.assertLess(importing.run(imported, None, seconds=0).largest, TOLERANCE)
            inputs = {'x': _random(1, 4, 80)}
            (want,) = verify.Original(imported).run(inputs)
            made, _ = importing.make_layer(imported).apply(imported.to_model(inputs))
            np.testing.assert_allclose(made, want, rtol=0, atol=1e-5)

    def test_a_graph_that_takes_no_number_of_steps(self) -> None:
        reshape = refused.node('Reshape', ['x', 's'])
        with self.assertRaises(CannotLoad):
            import_graph(refused.graph([reshape], {'s': np.array([7, 11])}))
