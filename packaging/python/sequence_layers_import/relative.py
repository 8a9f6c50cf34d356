"""Scores of attention that queries make of a table of relative positions (Transformer-XL, Shaw, gated numbers).

Such a term is a product of a tensor of steps with a constant, moved until it has an axis of queries and one of keys. The
operators that move it are run with numbers of elements in place of the constant, which tells what each query and key reads.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from sequence_layers_import.graph import Graph
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import RESHAPES, Node, Role

_MOVES = (
    *RESHAPES,
    'Slice',
    'Transpose',
    'Pad',
    'Gather',
    'GatherElements',
    'Identity',
    'Expand',
    'Concat',
)
_PRODUCTS = ('MatMul', 'Einsum', 'Mul')
# The number of distances in each direction that are looked up, and of numbers that a table of them may have.
_FARTHEST = 4096
_FAR = (256, 512, 1024)  # for constants of each pair of steps
_LARGEST_TABLE = 1 << 23
_LARGEST_CONSTANT = 1 << 25

Horizons = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Term:
    """A term of the scores: the product of `query` with the table's row of the distance to the key."""

    query: str  # of a step, with at most an axis of heads and one of units, the last
    constant: str
    nodes: Sequence[Node]  # from the query to the term, of `name`
    name: str
    factor: float


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows [distances, heads, units] of the distances from `first` on, those beyond having the row at the end."""

    rows: np.ndarray
    first: int

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    def extended(self, first: int, last: int) -> np.ndarray:
        """The rows of these distances, of which its own are a part."""
        more = (self.first - first, last - self.last)
        return np.pad(self.rows, (more, (0, 0), (0, 0)), 'edge')


def number(graph: Graph, node: Node) -> tuple[str, float] | None:
    """The input of a product or quotient with a number that all lengths have in common, and the factor."""
    if node.operator not in ('Mul', 'Div') or len(node.inputs) != 2:
        return None
    for i, name in enumerate(node.inputs):
        if not graph.is_constant(name) or (node.operator == 'Div' and i == 0):
            continue
        values = {
            float(v.ravel()[0]) if v.size == 1 else np.nan for v in graph.folded_constants(name)
        }
        if len(values) == 1 and not np.isnan(value := values.pop()):
            return node.inputs[1 - i], value if node.operator == 'Mul' else 1 / value
    return None


def find(graph: Graph, name: str) -> Term | None:
    """The term that a tensor is, if it is a product with a constant that moves around."""
    nodes: list[Node] = []
    at, factor = name, 1.0
    product: Node | None = None
    while True:
        node = graph.producer(at)
        if product is not None and _is_query(graph, at):
            return Term(at, _constant_of(graph, product), nodes[::-1], name, factor)
        if node is None:
            return None
        scaled = number(graph, node)
        if scaled is not None:
            at, factor = scaled[0], factor * scaled[1]
            nodes.append(Node(node.name, 'Identity', [at], node.outputs, {}))
            continue
        if node.operator in _PRODUCTS and product is None and _constant_of(graph, node):
            product = node
        elif node.operator not in _MOVES:
            return None
        read = [n for n in node.inputs if n and not graph.is_constant(n)]
        if len(read) != 1:
            return None
        nodes.append(node)
        at = read[0]


def _constant_of(graph: Graph, product: Node) -> str:
    """The constant that a product is with, or ''."""
    constants = [name for name in product.inputs if graph.is_constant(name)]
    return constants[0] if len(product.inputs) == 2 and len(constants) == 1 else ''


def _is_query(graph: Graph, name: str) -> bool:
    """Whether the axes of a tensor are batch, time, heads and units, with the units as the last."""
    tensor = graph.tensor(name)
    batch, channels = tensor.axes(Role.BATCH), tensor.channel_axes
    rank = len(tensor.shape)
    wide = [axis for axis in channels if axis != rank - 1 and tensor.shape[axis] != 1]
    return (
        len(tensor.axes(Role.TIME)) == 1
        and len(batch) <= 1
        and not tensor.axes(Role.STEPS)
        and all(tensor.shape[axis] == graph.batch for axis in batch)
        and rank - 1 in channels
        and len(wide) <= 1
    )


def _no_distance() -> Refusal:
    return Refusal(
        'it adds to the scores of attention what queries make of more than the distance of a key',
        'let them read a table of relative positions',
    )


def table(graph: Graph, term: Term, horizons: Horizons) -> Table:
    """What a term reads at each distance within the horizons."""
    try:
        found = _Places(graph, term, horizons)
        return found.table()
    except Refusal as refusal:
        raise refusal.at(term.nodes[-1].name, term.nodes[-1].operator) from None


class _Places:
    """Where the pairs of queries and keys read the constant of a term."""

    def __init__(self, graph: Graph, term: Term, horizons: Horizons):
        self.graph, self.term, self.horizons = graph, term, horizons
        self.constants = graph.folded_constants(term.constant)
        self.times = graph.tensor(term.constant).axes(Role.TIME)
        self.steps = [shape[-1] for shape in graph.shapes(term.name)]
        self.units = graph.tensor(term.query).shape[-1]

    def table(self) -> Table:
        if not self.times:
            tables = [self._of_gathered(fold) for fold in (0, 2)]
            return self._trimmed(self._checked(*tables), is_longest=False)
        places, others = self._places(0, self.units), self._places(2, 1)
        first = self._affine(places, 0)
        second = self._affine(others, 2)
        if not np.array_equal(first[:, :2], second[:, :2]):
            raise _no_distance()
        grown = self.steps[2] - self.steps[0]
        slope = (second[:, 2] - first[:, 2]) // grown
        offset = first[:, 2] - slope * self.steps[0]
        channels = places[:, :, 0, 0]  # of each unit and head, in the place of query and key 0
        affine = np.column_stack([first[:, :2], slope, offset])
        tables = [
            self._rows(self.constants[fold], self.steps[fold], affine, channels) for fold in (0, 2)
        ]
        short = self._checked(*tables)
        self._check_pairs(tables[0], places)
        return self._trimmed(self._longest(short, affine, channels), is_longest=True)

    def _range(self, steps: int) -> tuple[int, int]:
        """The distances that are seen in so many steps."""
        past, future = (steps - 1 if h < 0 else min(h, steps - 1) for h in self.horizons)
        return -past, future

    def _seen(self, steps: int) -> np.ndarray:
        distance = np.arange(steps)[None, :] - np.arange(steps)[:, None]
        low, high = self._range(steps)
        return (distance >= low) & (distance <= high)

    def _places(self, fold: int, units: int) -> np.ndarray:
        """[units, heads, queries, keys] of the number of an element, or -1 for one that is 0."""
        constant = self.constants[fold]
        numbers = np.arange(1.0, constant.size + 1).reshape(constant.shape)
        evaluator = ReferenceEvaluator(self._model(fold))
        shape = self.graph.shapes(self.term.query)[fold]
        batch = self.graph.tensor(self.term.name).axes(Role.BATCH)
        found = []
        for unit in range(units):
            query = np.zeros(shape)
            query[..., unit] = 1
            (made,) = evaluator.run(None, {'query': query, 'constant': numbers})
            for axis in batch:
                made = made.take([0], axis)
            found.append(made.reshape(-1, *made.shape[-2:]))
        places = np.rint(np.stack(found)).astype(np.int64) - 1
        if (places[:, :, self._seen(self.steps[fold])] < 0).any():
            raise _no_distance()
        return places

    def _model(self, fold: int) -> onnx.ModelProto:
        """The nodes from the query to the term, of one of the three sizes."""
        graph, nodes, constants = self.graph, [], {}
        names = {self.term.query: 'query', self.term.constant: 'constant'}
        for node in self.term.nodes:
            inputs = [names.get(name, name) for name in node.inputs]
            attributes = dict(node.attributes)
            if node.operator in RESHAPES:
                inputs = [inputs[0], f'{node.outputs[0]}.shape']
                constants[inputs[1]] = np.array(graph.shapes(node.outputs[0])[fold], np.int64)
            elif node.operator == 'Pad' and len(inputs) == 1:
                inputs.append(f'{node.outputs[0]}.pads')
                constants[inputs[1]] = np.array(attributes.pop('pads'), np.int64)
            elif node.operator == 'GatherElements':
                # The reference evaluator takes no axis from the end.
                attributes['axis'] = node.attribute('axis', 0) % len(
                    graph.tensor(node.inputs[0]).shape
                )
            for name in node.inputs[: len(inputs) if node.operator not in RESHAPES else 1]:
                if graph.is_constant(name) and name not in names:
                    constants[name] = graph.folded_constants(name)[fold]
            operator = 'Reshape' if node.operator in RESHAPES else node.operator
            attributes = {} if operator == 'Reshape' else attributes
            nodes.append(onnx.helper.make_node(operator, inputs, node.outputs, **attributes))
        values = [_value(name) for name in ('query', 'constant')]
        made = onnx.helper.make_graph(nodes, 'term', values, [_value(self.term.name)], [
            numpy_helper.from_array(_in_float64(value), name) for name, value in constants.items()
        ])  # fmt: skip
        return onnx.helper.make_model(
            made, opset_imports=[onnx.helper.make_opsetid('', max(self.graph.opset, 13))]
        )

    def _coordinates(self, places: np.ndarray, fold: int) -> list[np.ndarray]:
        return list(np.unravel_index(np.maximum(places, 0), self.constants[fold].shape))

    def _affine(self, places: np.ndarray, fold: int) -> np.ndarray:
        """[axes of time, (factor of the query's step, that of the key's, number)] of the place along them."""
        steps, seen = self.steps[fold], self._seen(self.steps[fold])
        queries, keys = (
            grid[seen] for grid in np.meshgrid(np.arange(steps), np.arange(steps), indexing='ij')
        )
        known = np.column_stack([queries, keys, np.ones(len(keys))])
        coordinates = self._coordinates(places, fold)
        found = []
        for axis in self.times:
            wanted = coordinates[axis][:, :, seen]
            fitted = np.rint(np.linalg.lstsq(known, wanted[0, 0], rcond=None)[0])
            if (wanted != known @ fitted).any():
                raise _no_distance()
            found.append(fitted.astype(np.int64))
        rest = [c[:, :, seen] for i, c in enumerate(coordinates) if i not in self.times]
        if any((c != c[:, :, :1]).any() for c in rest):
            raise _no_distance()
        return np.stack(found)

    def _rows(
        self, constant: np.ndarray, steps: int, affine: np.ndarray, channels: np.ndarray
    ) -> Table:
        """The rows of the constant of so many steps."""
        low, high = self._range(steps)
        distance = np.arange(low, high + 1)
        terms = np.stack([np.maximum(-distance, 0), np.maximum(distance, 0),
                          np.full_like(distance, steps), np.ones_like(distance)])  # fmt: skip
        index: list[Any] = list(self._coordinates(channels.T, 0))
        for axis, factors in zip(self.times, affine, strict=True):
            index[axis] = (factors @ terms)[:, np.newaxis, np.newaxis]
        return Table(constant[tuple(index)].astype(np.float64), low)

    def _of_gathered(self, fold: int) -> Table:
        """The rows of a constant that has none for each step."""
        steps = self.steps[fold]
        values = self.constants[fold].ravel()[np.maximum(self._places(fold, self.units), 0)]
        low, high = self._range(steps)
        rows = []
        for distance in range(low, high + 1):
            along = np.diagonal(values, distance, axis1=2, axis2=3)
            if (along != along[..., :1]).any():
                raise _no_distance()
            rows.append(along[..., 0].T)
        return Table(np.stack(rows).astype(np.float64), low)

    def _checked(self, first: Table, second: Table) -> Table:
        """The longer table, of which the shorter has to be a part."""
        start = first.first - second.first
        part = second.rows[start : start + len(first.rows)]
        if start < 0 or not np.allclose(part, first.rows, rtol=1e-5, atol=1e-6):
            raise _no_distance()
        return second

    def _check_pairs(self, found: Table, places: np.ndarray) -> None:
        """Whether all pairs of queries and keys with one distance read the same."""
        values = self.constants[0].ravel()
        for row, distance in zip(found.rows, range(found.first, found.last + 1), strict=True):
            along = np.diagonal(places, distance, axis1=2, axis2=3)
            if not np.allclose(values[along], row.T[..., np.newaxis], rtol=1e-5, atol=1e-6):
                raise _no_distance()

    def _longest(self, short: Table, affine: np.ndarray, channels: np.ndarray) -> Table:
        """The table of as many distances as the graph and the sizes of tables allow."""
        if all(h >= 0 for h in self.horizons) and len(short.rows) == sum(self.horizons) + 1:
            return short
        for times in self._multiples(channels.size):
            constant = self.graph.constant_of(self.term.constant, times)
            if constant is None:
                continue
            made = self._rows(constant, self._steps_of(constant), affine, channels)
            short = self._checked(short, made) if len(made.rows) > len(short.rows) else short
            if len(self.times) == 1 or _steady_ends(short.rows) == (True, True):
                break
        return short

    def _multiples(self, width: int) -> list[int]:
        """How many times as many steps to look up, one after the other."""
        steps, size = self.steps[0], self.constants[0].size
        if len(self.times) > 1:
            # Constants of pairs soon get large, and are steady beyond some distance.
            most = int((_LARGEST_CONSTANT / size) ** 0.5)
            return sorted({min(-(-wanted // steps), most) for wanted in _FAR})
        wanted = min(self.graph.max_steps or _FARTHEST, _LARGEST_TABLE // (2 * width))
        longest = max(wanted // steps, 1)
        return [longest >> i for i in range(longest.bit_length() - 1)]

    def _steps_of(self, constant: np.ndarray) -> int:
        """The number of steps of scores whose constant has this size."""
        axis = self.times[0]
        sizes = [self.constants[fold].shape[axis] for fold in (0, 2)]
        rate = (sizes[1] - sizes[0]) // (self.steps[2] - self.steps[0])
        return self.steps[0] + (constant.shape[axis] - sizes[0]) // rate

    def _trimmed(self, found: Table, *, is_longest: bool) -> Table:
        """The table with its steady ends as one row, or with rows that are no numbers behind those that are known."""
        rows, start, stop = found.rows, 0, len(found.rows)
        before, after = (h < 0 for h in self.horizons)
        moves = np.abs(np.diff(rows, axis=0)).max(axis=(1, 2), initial=0) > 0
        steady = _steady_ends(rows)
        if before and steady[0]:
            start, before = int(moves.argmax()) if moves.any() else len(rows) - 1, False
        if after and steady[1]:
            stop, after = max(len(rows) - int(moves[::-1].argmax()), start + 1), False
        if (before or after) and not is_longest:
            raise Refusal(
                'it is not known what queries make of distances beyond those that were tried',
                'import it with more --steps',
            )
        beyond = np.full_like(rows[:1], np.nan)
        kept = [*([beyond] if before else []), rows[start:stop], *([beyond] if after else [])]
        return Table(np.concatenate(kept), found.first + start - before)


def _steady_ends(rows: np.ndarray) -> tuple[bool, bool]:
    """Whether the first rows and the last ones are equal."""
    return len(rows) > 1 and bool((rows[0] == rows[1]).all()), len(rows) > 1 and bool(
        (rows[-1] == rows[-2]).all()
    )


def _value(name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None)


def _in_float64(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype.kind == 'f' else value
