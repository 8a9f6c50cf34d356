"""Axes of the batch and of heads as one, which exporters write before products, as axes of their own."""

import itertools
from collections.abc import Sequence

import numpy as np

from sequence_layers_import.graph import Graph
from sequence_layers_import.tensors import RESHAPES, Node, Role

_UNARY = frozenset(
    ('Softmax', 'LogSoftmax', 'Identity', 'Cast', 'Relu', 'Tanh', 'Sigmoid', 'Exp', 'Neg', 'Sqrt', 'IsNaN')
)  # fmt: skip
_BROADCASTING = frozenset(('Add', 'Sub', 'Mul', 'Div', 'Where', 'Equal', 'Max', 'Min'))
# Operators that keep items apart whose axes are not split: they read items and heads as one axis, and give it.
_KEEPING = frozenset(('Pad', 'Slice', 'GatherElements', 'MatMul'))

Pair = tuple[int, int]


def _with_pair(shape: Sequence[int], axis: int, pair: Pair) -> tuple[int, ...]:
    return (*shape[:axis], *pair, *shape[axis + 1 :])


class _Splitter:
    def __init__(self, graph: Graph, source: str):
        self.graph = graph
        shapes = graph.shapes(source)
        batch = graph.tensor(source).axes(Role.BATCH)
        self.sizes = [shape[batch[0]] for shape in shapes] if len(batch) == 1 else []
        self.axes: dict[str, int] = {}  # the first of the two axes, by tensor
        self.pairs: dict[str, list[Pair]] = {}  # their sizes, for the three sizes of the input
        self._whole: dict[str, str] = {}

    def run(self) -> None:
        if not self.sizes or len(set(self.sizes)) == 1:
            return
        for node in list(self.graph.nodes):
            if node.operator in RESHAPES:
                self._reshape(node)
            elif any(name in self.axes for name in node.inputs):
                self._follow(node)

    def _reshape(self, node: Node) -> None:
        """Gives the output of a reshape an axis more, if it has items and heads as one."""
        name = node.outputs[0]
        if name in self.graph.outputs:
            self._undo(node)
            return
        place = self._merged_axis(node.inputs[0], name)
        if place is None:
            return
        self._split(name, *place)
        node.operator, node.inputs, node.attributes = 'Reshape', node.inputs[:1], {}

    def _merged_axis(self, source: str, name: str) -> tuple[int, list[Pair]] | None:
        """The axis of a reshape's output that was two of its input, and their sizes."""
        first, tensor = self.graph.tensors[name], self.graph.tensors[source]
        batch, time = tensor.axes(Role.BATCH), tensor.axes(Role.TIME)
        if self.graph.is_constant(source) or len(batch) != 1:
            return None
        if tensor.shape[batch[0]] != self.sizes[0] or np.prod(tensor.shape) != np.prod(first.shape):
            return None  # a part of the tensor, or a shape that is wrong
        if len(axes := first.axes(Role.STEPS)) == 1 and len(time) == 1 and time < batch:
            steps = [shape[time[0]] for shape in self.graph.shapes(source)]
            pairs = list(zip(steps, self.sizes, strict=True))
            return (axes[0], pairs) if self._keeps(source, name, axes[0], pairs[0], 1) else None
        axes = first.axes(Role.BATCH)
        count = first.shape[axes[0]] // self.sizes[0] if len(axes) == 1 else 1
        if count == 1 or any(
            shape[axes[0]] != size * count
            for shape, size in zip(self.graph.shapes(name), self.sizes, strict=True)
        ):
            return None
        for place in (0, 1):
            pairs = [(size, count) if place == 0 else (count, size) for size in self.sizes]
            if self._keeps(source, name, axes[0], pairs[0], place):
                return axes[0], pairs
        return None

    def _keeps(self, source: str, name: str, axis: int, pair: Pair, place: int) -> bool:
        """Whether items are those of the source, if an axis is a pair of them and of something else."""
        tensor, shape = self.graph.tensors[source], self.graph.tensors[name].shape
        (batch,) = tensor.axes(Role.BATCH)
        items = np.arange(self.sizes[0])
        along = items.reshape([-1 if i == batch else 1 for i in range(len(tensor.shape))])
        ids = np.broadcast_to(along, tensor.shape).reshape(_with_pair(shape, axis, pair))
        moved = np.moveaxis(ids, axis + place, -1)
        return bool((moved == items).all())

    def _split(self, name: str, axis: int, pairs: list[Pair]) -> None:
        whole = f'{name}.merged'
        self.graph.copy_tensor(whole, name)
        self._whole[name] = whole
        shapes = [
            _with_pair(shape, axis, pair)
            for shape, pair in zip(self.graph.shapes(name), pairs, strict=True)
        ]
        self.graph.reshape_tensor(name, shapes)
        self.axes[name], self.pairs[name] = axis, pairs

    def _undo(self, node: Node) -> None:
        """Lets a node read its inputs as they were."""
        for i, name in enumerate(node.inputs):
            if name in self.axes:
                whole = self._whole[name]
                if self.graph.producer(whole) is None:
                    self.graph.replace(node, Node(node.name, 'Reshape', [name], [whole], {}), node)
                node.inputs[i] = whole

    def _follow(self, node: Node) -> None:
        """Gives the output of another node the axis that its input has more, or leaves the node alone."""
        if self._recur(node):
            return
        merged = [name for name in node.inputs if name in self.axes]
        axis, shape = self.axes[merged[0]], self.graph.tensor(merged[0]).shape
        ranks = {len(self.graph.tensor(name).shape) for name in merged}
        is_alike = all(self.axes[name] == axis for name in merged) and len(ranks) == 1
        rank, made = len(shape), node.outputs[0]
        out = self.graph.tensors.get(made)
        has_axis = (
            is_alike
            and made not in self.graph.outputs
            and out is not None
            and len(out.shape) == rank - 1
        )
        if not has_axis or not self._adapt(node, axis, rank):
            pairs = self.pairs[merged[0]]
            if has_axis and self._group(node, axis, pairs):
                return
            self._undo(node)
            if has_axis and node.operator in _KEEPING:
                self._split_again(node, axis, pairs)
            return
        if node.operator == 'Transpose':
            axis = node.attribute('perm').index(axis)
        self._split(made, axis, self.pairs[merged[0]])
        if node.operator == 'Gemm':
            self._multiply(node)

    def _group(self, node: Node, axis: int, pairs: list[Pair]) -> bool:
        """Makes a convolution of items and parts, as sources of a mixture, one of items with the channels of all parts.

        Each part is a group of channels, with the same weights.
        """
        graph, made = self.graph, node.outputs[0]
        counts = {count for size, count in pairs}
        if (
            node.operator not in ('Conv', 'ConvTranspose')
            or axis
            or len(counts) != 1
            or [size for size, _ in pairs] != self.sizes
            or not all(map(graph.is_constant, node.inputs[1:]))
        ):
            return False
        count, rank = counts.pop(), len(graph.tensor(made).shape) - 2
        names = [f'{made}.parts', f'{made}.all']
        for name, like in zip(names, (node.inputs[0], made), strict=True):
            shapes = [
                (size, np.prod(shape) // (size * np.prod(shape[-rank:])), *shape[-rank:])
                for size, shape in zip(self.sizes, graph.shapes(like), strict=True)
            ]
            graph.copy_tensor(name, like)
            graph.reshape_tensor(name, [tuple(map(int, shape)) for shape in shapes])
        constants = []
        for name in filter(None, node.inputs[1:]):
            array = graph.constant(name)
            constants.append(f'{made}.{len(constants) + 1}')
            graph.add_constant(constants[-1], [np.concatenate([array] * count)] * 3)
        attributes = node.attributes | {'group': count * node.attribute('group', 1)}
        first = Node(f'{node.name}.parts', 'Reshape', node.inputs[:1], names[:1], {})
        conv = Node(node.name, node.operator, [names[0], *constants], names[1:], attributes)
        self._split(made, axis, pairs)
        graph.replace(
            node, first, conv, Node(f'{node.name}.apart', 'Reshape', names[1:], [made], {})
        )
        return True

    def _recur(self, node: Node) -> bool:
        """Makes a recurrence of items and parts, as bands of frequency, one of items with the channels of all parts.

        It runs over the channels of each part alike.
        """
        graph, name, made = self.graph, node.inputs[0], node.outputs[0]
        place = 0 if node.attribute('layout', 0) else 1
        if (
            node.operator not in ('LSTM', 'GRU', 'RNN')
            or self.axes.get(name) != place
            or node.attribute('direction', 'forward') != 'forward'
            or any(graph.readers(n) or n in graph.outputs for n in node.outputs[1:] if n)
            or made in graph.outputs
        ):
            return False
        pairs = self.pairs[name]
        counts = {count for _, count in pairs}
        if len(counts) != 1 or [size for size, _ in pairs] != self.sizes:
            return False
        after = place * 2  # behind the axis of directions
        names = [f'{made}.parts', f'{made}.all']
        for new, like, axis in zip(names, (self._whole[name], made), (place, after), strict=True):
            shapes = [
                (*shape[:axis], size, *shape[axis + 1 : -1], shape[axis] // size * shape[-1])
                for size, shape in zip(self.sizes, graph.shapes(like), strict=True)
            ]
            graph.copy_tensor(new, like)
            graph.reshape_tensor(new, shapes)
        first = Node(f'{node.name}.parts', 'Reshape', [name], names[:1], {})
        recurrence = Node(
            node.name, node.operator, [names[0], *node.inputs[1:]], names[1:],
            node.attributes | {'import.parts': counts.pop()},
        )  # fmt: skip
        self._split(made, after, pairs)
        graph.replace(
            node, first, recurrence, Node(f'{node.name}.apart', 'Reshape', names[1:], [made], {})
        )
        return True

    def _split_again(self, node: Node, axis: int, pairs: list[Pair]) -> None:
        """Splits the output of a node that reads its inputs as they were."""
        made = node.outputs[0]
        sizes = [shape[axis] for shape in self.graph.shapes(made)]
        if sizes == [first * second for first, second in pairs]:
            self._split(made, axis, pairs)
            node.outputs = [self._whole[made]]
            self.graph.replace(node, node, Node(node.name, 'Reshape', node.outputs, [made], {}))

    def _multiply(self, node: Node) -> None:
        """A product and a sum in place of a Gemm, which has two axes."""
        graph, made, name = self.graph, node.outputs[0], node.inputs[1]
        kernel = graph.constant(name) * np.float32(node.attribute('alpha', 1.0))
        kernel = kernel.T if node.attribute('transB', 0) else kernel
        graph.add_constant(f'{made}.kernel', [kernel] * 3)
        product = Node(node.name, 'MatMul', [node.inputs[0], f'{made}.kernel'], [made], {})
        if len(node.inputs) < 3 or not node.inputs[2]:
            graph.replace(node, product)
            return
        product.outputs = [f'{made}.product']
        graph.copy_tensor(product.outputs[0], made)
        bias = graph.constant(node.inputs[2]) * np.float32(node.attribute('beta', 1.0))
        graph.add_constant(f'{made}.bias', [bias] * 3)
        total = Node(node.name, 'Add', [*product.outputs, f'{made}.bias'], [made], {})
        graph.replace(node, product, total)

    def _adapt(self, node: Node, axis: int, rank: int) -> bool:
        """Changes the axes of a node's attributes and constants, if it is known how."""
        if node.operator == 'Transpose':
            order = node.attribute('perm')
            moved = [(a + (a > axis),) if a != axis else (axis, axis + 1) for a in order]
            node.attributes = {'perm': list(itertools.chain(*moved))}
            return True
        if node.operator in ('Softmax', 'LogSoftmax'):
            over = node.attribute('axis', -1) % (rank - 1)
            if over == axis or self.graph.opset < 13:
                return False
            node.attributes = node.attributes | {'axis': over + (over > axis)}
            return True
        if node.operator in ('LayerNormalization', 'RMSNormalization'):
            first = node.attribute('axis', -1) % (rank - 1)
            node.attributes = node.attributes | {'axis': first + 1}
            return first > axis
        if node.operator == 'MatMul':
            if axis >= rank - 3:
                # Rows of one matrix may have any axes.
                first, second = node.inputs
                is_matrix = (
                    self.graph.is_constant(second) and self.graph.tensor(second).shape[:-2] == ()
                )
                return axis == rank - 3 and first in self.axes and is_matrix
            return all(self._widened(node, i, axis, rank) for i in range(2))
        if node.operator == 'Gemm':
            constants = [name for name in node.inputs[1:] if name]
            is_usual = not node.attribute('transA', 0) and all(
                map(self.graph.is_constant, constants)
            )
            # A bias with a row for each item would have to be split too.
            return (
                is_usual
                and axis == 0
                and len(self.graph.tensor(constants[-1]).shape) < 2 + (len(constants) == 1)
            )
        if node.operator in _BROADCASTING:
            return all(self._widened(node, i, axis, rank) for i in range(len(node.inputs)))
        return node.operator in _UNARY

    def _widened(self, node: Node, i: int, axis: int, rank: int) -> bool:
        """Gives a constant the axis more, unless broadcasting does; other inputs have to have it."""
        name, graph = node.inputs[i], self.graph
        if name in self.axes:
            return True
        own = axis - (rank - 1 - len(graph.tensor(name).shape))
        if own < 0:
            return True
        if not graph.is_constant(name):
            return False
        pairs = self.pairs[next(n for n in node.inputs if n in self.axes)]
        values = [
            value.reshape(_with_pair(value.shape, own, (1, 1) if value.shape[own] == 1 else pair))
            for value, pair in zip(graph.folded_constants(name), pairs, strict=True)
        ]
        wide = f'{name}.split{rank}.{axis}'
        graph.add_constant(wide, values)
        node.inputs[i] = wide
        return True


def rewrite(graph: Graph, source: str) -> None:
    """Splits the axes of all tensors between two reshapes; `source` is an input with an axis of the batch alone."""
    _Splitter(graph, source).run()
    for node in graph.nodes:
        name, made = node.inputs[0], node.outputs[0]
        if made not in graph.outputs and (node.operator in RESHAPES or _keeps_order(graph, node)):
            _read_instead(graph, made, name)
    graph.prune()


def _keeps_order(graph: Graph, node: Node) -> bool:
    """Whether a node is a slice, which may take everything, as code that cuts what it padded has it for all lengths."""
    return node.operator == 'Slice' and min(graph.numbers(node, 4, 'steps') or [1]) > 0


def _read_instead(graph: Graph, made: str, name: str) -> None:
    """Lets nodes read what a reshape or slice does not change."""
    if graph.shapes(made) == graph.shapes(name):
        for reader in graph.readers(made):
            reader.inputs = [name if n == made else n for n in reader.inputs]
