"""Opens the axes of batch and time of a graph that was exported for one size of its input.

Exporters write the sizes of their example into the graph. Those that follow from an axis that is opened are computed in
their place: the shapes of reshapes, and the ends of slices, which are counted from the end.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from sequence_layers_import import branches, folding, protos
from sequence_layers_import.folds import try_fold
from sequence_layers_import.graph_inputs import TimeAxis, inputs_of, sizes_for
from sequence_layers_import.refusal import Refusal, cannot_load

_OPEN_SIZE = 7
# Limits of what is taken for the size of an example that stands in the shape of a tensor.
_LONGEST_SHAPE = 8
# How many sizes are tried as that of a result or as that of the input, and up to how many steps of the input.
_MOST_TRIALS = 12
_LONGEST_TRIAL = 16384
Shape = tuple[int, ...]


def fixed_steps(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> int:
    """The number of steps that the first input has, or 0 if its axis of time is open."""
    value = inputs_of(model)[0]
    axis = axes[value.name]
    if axis.time is None or axis.time == axis.batch:
        return 0
    size = value.type.tensor_type.shape.dim[axis.time].dim_value
    return size if size > 1 else 0


def written_steps(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> dict[str, int]:
    """The numbers of steps of an exporter's example, by input, if they stand in a graph with open axes that takes no others.

    PyTorch's older exporter writes the number of keys of nn.MultiheadAttention so. A sequence of its own, as an encoder's
    output, has its own number. Returns nothing if no such numbers are found.
    """
    constants = protos.constants_of(model.graph)
    sequences = _sequences(model, axes)
    found = _Examples(model, axes, sequences, constants).find()
    numbers = {
        int(size)
        for array in constants.values()
        if array.dtype == np.int64 and array.size <= _LONGEST_SHAPE
        for size in array.flat
        if 1 < size <= _LONGEST_TRIAL
    }
    # A sequence of which no number is found takes any.
    known = [[size or max(found) for size in found]] if any(found) else []
    alike = ([size] * len(sequences) for size in sorted(numbers)[:_MOST_TRIALS])
    for sizes in itertools.chain(known, alike):
        steps = _by_input(sequences, sizes)
        twice = {name: 2 * size for name, size in steps.items()}
        if try_fold(model, axes, _sizes(model, axes, steps)) and not try_fold(
            model, axes, _sizes(model, axes, twice)
        ):
            return steps
    return {}


def _sequences(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> list[list[str]]:
    """The inputs with the steps of the first one, and each that is a sequence of its own."""
    names = [v.name for v in inputs_of(model) if axes[v.name].time is not None]
    own = [[name] for name in names if axes[name].is_source]
    return [[name for name in names if not axes[name].is_source], *own]


def _by_input(sequences: Sequence[Sequence[str]], sizes: Sequence[int]) -> dict[str, int]:
    return {name: size for names, size in zip(sequences, sizes, strict=True) for name in names}


def _sizes(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], steps: Mapping[str, int]
) -> dict[str, list[int]]:
    """The shapes of the inputs, which have these numbers of steps; those without are as the first one."""
    first = next(iter(steps.values()))
    return {
        value.name: sizes_for(model, axes, 2, steps.get(value.name, first))[value.name]
        for value in inputs_of(model)
    }


class _Examples:
    """Looks for nodes that fit one number of steps only."""

    def __init__(
        self, model: onnx.ModelProto, axes: Mapping[str, TimeAxis],
        sequences: Sequence[Sequence[str]], constants: Mapping[str, np.ndarray],
    ):  # fmt: skip
        self._model, self._axes = model, axes
        self._sequences, self._constants = sequences, constants
        self._found = [0] * len(sequences)

    def find(self) -> list[int]:
        """The number of steps of each sequence, or 0."""
        trials = [0] * len(self._sequences)
        # The sequences that each tensor is made of.
        read = {name: {i} for i, names in enumerate(self._sequences) for name in names}
        for node in self._model.graph.node:
            if all(self._found):
                break
            if node.op_type not in branches.OF_SHAPES:
                made = set().union(*(read.get(name, set()) for name in node.input))
                read |= dict.fromkeys(node.output, made)
            for name, size in _written_beside(self._model, node, self._constants):
                (which,) = read.get(name, ()) if len(read.get(name, ())) == 1 else (None,)
                if which is None or self._found[which] or trials[which] == _MOST_TRIALS:
                    continue
                trials[which] += 1
                self._found[which] = self._steps_for(which, node, name, size)
        return self._found

    def _steps_for(self, which: int, node: onnx.NodeProto, name: str, size: int) -> int:
        """The number of steps of a sequence for which what a node reads has so many, or 0 if it takes others too."""
        part = self._up_to(name)

        def largest(steps: int) -> int:
            try:
                made: np.ndarray = _run(part, self._inputs(which, steps))[0]
            except Refusal:  # there are too few steps for its windows
                return 0
            return max(made.shape[:2], default=size)

        low, high = 1, 2
        while (made := largest(high)) < size:
            if high > _LONGEST_TRIAL or (high >= 64 and made == largest(high // 8) > 0):
                return 0  # it is no number of steps
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if largest(middle) < size else (low, middle)
        return high if largest(high) == size and self._is_for(which, node, high) else 0

    def _is_for(self, which: int, node: onnx.NodeProto, steps: int) -> bool:
        """Whether a node takes this number of steps, and not twice as many."""
        whole = self._up_to(node.output[0])
        try:
            _run(whole, self._inputs(which, steps))
        except Refusal:
            return False
        try:
            _run(whole, self._inputs(which, 2 * steps))
        except Refusal:
            return True
        return False

    def _up_to(self, name: str) -> onnxruntime.InferenceSession:
        kept, _ = protos.makers(self._model.graph, name)
        return _session(protos.part_of(self._model, kept, [onnx.ValueInfoProto(name=name)]))

    def _inputs(self, which: int, steps: int) -> dict[str, np.ndarray]:
        """Inputs with a number of steps of one sequence, and with those of others that are known."""
        sizes = [steps if i == which else known or steps for i, known in enumerate(self._found)]
        return _random_inputs(
            self._model, 2, _sizes(self._model, self._axes, _by_input(self._sequences, sizes))
        )


def _written_beside(
    model: onnx.ModelProto, node: onnx.NodeProto, constants: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, int]]:
    """Results that a node reads with sizes of an example that may stand in its other input: a shape, or a table of rows."""
    name, found = '', set()
    if node.op_type == 'Reshape':
        name, (made, _) = node.input[0], protos.makers(model.graph, node.input[1])
        parts = made[-1].input if made and made[-1].op_type == 'Concat' else node.input[1:]
        found = {int(size) for part in parts for size in constants.get(part, np.zeros(0)).flat}
    elif node.op_type == 'Add':
        tables = [n for n in node.input if n in constants and constants[n].ndim > 1]
        others = [n for n in node.input if n not in constants]
        if len(tables) == len(others) == 1:
            name, found = others[0], {constants[tables[0]].shape[-2]}
    return ((name, size) for size in sorted(found) if 1 < size <= _LONGEST_TRIAL)


def with_steps(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], steps: Mapping[str, int]
) -> onnx.ModelProto:
    """The graph for these numbers of steps alone."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for value in inputs_of(made):
        axis = axes[value.name].time
        if axis is not None:
            value.type.tensor_type.shape.dim[axis].dim_value = steps[value.name]
    return made


def open_axes(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> onnx.ModelProto:
    """The graph with open axes in place of those of fixed sizes, which gives the same numbers for these sizes."""
    shapes = _shapes(model)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for value in inputs_of(made):
        axis, sizes = axes[value.name], value.type.tensor_type.shape.dim
        for index in (axis.batch, axis.time):
            # A batch of one item may be part of the graph's own shapes.
            if index is not None and sizes[index].dim_value > 1:
                sizes[index].Clear()
    made.graph.ClearField('value_info')
    for value in made.graph.output:
        value.type.tensor_type.ClearField('shape')
    _Opener(made, shapes).run()
    _check(model, made)
    return made


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shapes of all tensors in a run; open axes have a size that others hardly have."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = list(dict.fromkeys(name for node in model.graph.node for name in node.output if name))
    watched.graph.ClearField('output')
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    inputs = _random_inputs(model, _OPEN_SIZE)
    found = {name: array.shape for name, array in inputs.items()}
    found |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for name, value in zip(names, _run(_session(watched), inputs), strict=True):
        if isinstance(value, np.ndarray):
            found[name] = value.shape
    return found


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Axes of a reshape's input and output that have the same elements; axes of one element are left out."""
    groups: list[tuple[list[int], list[int]]] = []
    old, new = ([i for i, size in enumerate(shape) if size != 1] for shape in (before, after))
    while old and new:
        group = [old.pop(0)], [new.pop(0)]
        while (left := math.prod(before[i] for i in group[0])) != (
            right := math.prod(after[i] for i in group[1])
        ):
            shorter, rest = (group[0], old) if left < right else (group[1], new)
            if not rest:
                return None
            shorter.append(rest.pop(0))
        groups.append(group)
    return None if old or new else groups


class _Opener:
    def __init__(self, model: onnx.ModelProto, shapes: Mapping[str, Shape]):
        self.graph, self.shapes = model.graph, shapes
        self.constants = protos.constants_of(model.graph)
        self.nodes: list[onnx.NodeProto] = []
        self._count = itertools.count()

    def run(self) -> None:
        rules: dict[str, Callable[[onnx.NodeProto], None]] = {
            'Reshape': self._reshape, 'Slice': self._slice, 'Gather': self._gather,
            'Add': self._add,
        }  # fmt: skip
        for node in self.graph.node:
            if node.op_type in rules and node.input[0] in self.shapes:
                rules[node.op_type](node)
            self.nodes.append(node)
        protos.set_nodes(self.graph, self.nodes)

    def _constant(self, value: np.ndarray) -> str:
        name = f'opened.{next(self._count)}'
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _new(self, operator: str, inputs: Sequence[str], **fields: Any) -> str:
        name = f'opened.{next(self._count)}'
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **fields))
        return name

    def _reshape(self, node: onnx.NodeProto) -> None:
        """Computes the shape from that of the input: in each group of axes, the first fixed one has what the others leave."""
        after = self.shapes.get(node.output[0])
        if after is None:
            return
        before, is_fixed = self.shapes[node.input[0]], self._fixed(node.input[1], len(after))
        groups = _groups(before, after) if math.prod(before) == math.prod(after) else None
        if groups is None or not any(is_fixed):
            return
        sizes = [
            self._constant(np.array([size], np.int64)) if fixed else self._part(node.input[1], i)
            for i, (size, fixed) in enumerate(zip(after, is_fixed, strict=True))
        ]
        shape = ''
        for old, new in groups:
            wanted = next((i for i in new if is_fixed[i]), None)
            if wanted is None:
                continue
            shape = shape or self._new('Shape', node.input[:1])
            total = self._product([self._part(shape, i) for i in old])
            others = [sizes[i] for i in new if i != wanted]
            sizes[wanted] = self._new('Div', [total, self._product(others)]) if others else total
        node.input[1] = self._new('Concat', sizes, axis=0)

    def _fixed(self, shape: str, count: int) -> list[bool]:
        """Which sizes of a shape are numbers, and not computed from other shapes."""
        if shape in self.constants:
            return [True] * count
        made = next((n for n in self.graph.node if shape in n.output), None)
        if made is None or made.op_type != 'Concat':
            return [False] * count
        found: list[bool] = []
        for name in made.input:
            size = (
                self.constants[name].size
                if name in self.constants
                else self.shapes.get(name, (count,))[0]
            )
            found += [name in self.constants] * size
        return found if len(found) == count else [False] * count

    def _part(self, shape: str, index: int) -> str:
        return self._new('Gather', [shape, self._constant(np.array([index], np.int64))])

    def _product(self, sizes: Sequence[str]) -> str:
        return functools.reduce(lambda a, b: self._new('Mul', [a, b]), sizes)

    def _slice(self, node: onnx.NodeProto) -> None:
        """Counts ends from the end."""
        if len(node.input) < 4 or any(name not in self.constants for name in node.input[2:4]):
            return
        shape, ends = self.shapes[node.input[0]], self.constants[node.input[2]].copy()
        for i, axis in enumerate(self.constants[node.input[3]]):
            if ends[i] > 0:
                behind = int(ends[i]) - shape[axis]
                ends[i] = behind if behind < 0 else np.iinfo(ends.dtype).max
        node.input[2] = self._constant(ends)

    def _add(self, node: onnx.NodeProto) -> None:
        """Takes as many rows of a table as there are steps, where it has one for each."""
        for i, name in enumerate(node.input):
            array, other = self.constants.get(name), node.input[1 - i]
            before = self.shapes.get(other, ())
            if array is None or array.ndim < 2 or len(before) < 2 or other in self.constants:
                continue
            if before[-2] == array.shape[-2] > 1:
                count = self._part(self._new('Shape', [other]), len(before) - 2)
                start, axis = (self._constant(np.array([n])) for n in (0, array.ndim - 2))
                node.input[i] = self._new('Slice', [name, start, count, axis])

    def _gather(self, node: onnx.NodeProto) -> None:
        """Counts the last element from the end."""
        index = self.constants.get(node.input[1])
        axis = next((a.i for a in node.attribute if a.name == 'axis'), 0)
        size = self.shapes[node.input[0]][axis]
        if index is not None and index.size == 1 and size > 1 and index.ravel()[0] == size - 1:
            node.input[1] = self._constant(np.full_like(index, -1))


def _check(model: onnx.ModelProto, opened: onnx.ModelProto) -> None:
    """Runs both with random inputs of the fixed sizes."""
    inputs = _random_inputs(model, 2)
    for first, second in zip(*(_run(_session(m), inputs) for m in (model, opened)), strict=True):
        peak = np.abs(first[np.isfinite(first)]).max(initial=0)
        if first.shape != second.shape or not np.allclose(
            first, second, 1e-3, 1e-3 * peak, equal_nan=True
        ):
            raise Refusal('its axes cannot be opened', 'export it with an open axis of time')


def _random_inputs(
    model: onnx.ModelProto,
    open_size: int,
    known: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> dict[str, np.ndarray]:
    rng, inputs = np.random.default_rng(0), {}
    for value in inputs_of(model):
        kind = value.type.tensor_type
        sizes = known.get(value.name) or [
            max(dim.dim_value, 0) or open_size for dim in kind.shape.dim
        ]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        inputs[value.name] = rng.standard_normal(sizes).astype(dtype)
        if dtype.kind != 'f':
            inputs[value.name] = rng.integers(0, 2, sizes).astype(dtype)
    return inputs


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = folding.quiet_options()
    # Optimized, a reshape to sizes that do not fit may become one to others.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options)
    except Exception as error:  # onnxruntime raises anything
        raise cannot_load(error) from error


def _run(session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]) -> list[Any]:
    try:
        return session.run(None, dict(inputs))  # type: ignore[no-any-return]
    except Exception as error:  # onnxruntime raises anything
        raise cannot_load(error) from error
