"""Loads ONNX graphs, and finds which axes of each tensor are batch and time.

onnxruntime folds the graph for three fixed sizes of the input: a first one, one of another batch, and one
of another time. An axis whose size differs between the first and the second is a batch axis, between the
first and the third a time axis, and between both an axis of batch and time as one. Nothing has to be
known about operators for that, and what exporters compute from shapes is constant in each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx

from sequence_layers_import.folds import Fold, fold_all
from sequence_layers_import.graph_inputs import TimeAxis, sizes_for
from sequence_layers_import.lengths import BATCHES, Lengths, short_times, total_stride
from sequence_layers_import.refusal import CannotLoad, Refusal, SizeError, cannot_load
from sequence_layers_import.tensors import Node, Role, Tensor

# How often a node may not fit at lengths of whole strides before no longer one is tried.
_FAILURES = 2


class Graph:
    """The folded graph with the roles of the axes of all its tensors."""

    def __init__(self, folds: Sequence[Fold], outputs: Sequence[str], lengths: Lengths):
        first = folds[0]
        self._lengths = lengths
        self.opset = first.opset
        self.nodes = first.nodes
        self.outputs = list(outputs)
        self._folds = folds
        self._constants = dict(first.constants)
        self.tensors: dict[str, Tensor] = {}
        for name, (shape, dtype) in first.tensors.items():
            others = [fold.tensors.get(name, (shape, dtype))[0] for fold in folds[1:]]
            self.tensors[name] = Tensor(name, dtype, shape, _roles(shape, *others))

    def tensor(self, name: str) -> Tensor:
        if name not in self.tensors or -1 in self.tensors[name].shape:
            raise Refusal(
                f'the shape of "{name}" depends on the values of the input',
                "only shapes that follow from the input's shape can be imported",
            )
        return self.tensors[name]

    def is_constant(self, name: str) -> bool:
        return name in self._constants

    def constant(self, name: str) -> np.ndarray:
        """A constant that is the same for all lengths."""
        self._check_constant(name)
        roles = self.tensors[name].roles
        first = self._constants[name]
        value, *others = (_once(fold.constants.get(name, first), roles) for fold in self._folds)
        for other in others:
            if other.shape != value.shape or not np.array_equal(
                other, value, equal_nan=value.dtype.kind == 'f'
            ):
                raise Refusal(
                    f'the constant "{name}" differs with the length of the sequence',
                    'a layer has one value for all lengths',
                )
        return value

    def copy_tensor(self, name: str, like: str, order: Sequence[int] | None = None) -> None:
        """Makes a tensor with the shapes of another, whose axes may be in another order."""
        tensor = self.tensors[like]
        axes = range(len(tensor.shape)) if order is None else order
        roles = tuple(tensor.roles[axis] for axis in axes)
        self.tensors[name] = Tensor(name, tensor.dtype, tuple(tensor.sizes(axes)), roles)
        for fold in self._folds:
            shape, dtype = fold.tensors[like]
            fold.tensors[name] = tuple(shape[axis] for axis in axes), dtype

    def reshape_tensor(self, name: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """Gives a tensor other shapes, for the three sizes."""
        dtype = self.tensors[name].dtype
        for fold, shape in zip(self._folds, shapes, strict=True):
            fold.tensors[name] = shape, dtype
        self.tensors[name] = Tensor(name, dtype, shapes[0], _roles(*shapes))

    @property
    def batch(self) -> int:
        """The number of items of the first size."""
        return BATCHES[0]

    @property
    def max_steps(self) -> int:
        """The number of rows of tables of positions that a user wants, or 0."""
        return self._lengths.max_steps

    def longer_constants(self, name: str) -> Iterator[np.ndarray]:
        """The constant for fewer and fewer of the numbers of steps that it is looked up for."""
        for steps in self._lengths.many:
            if (value := self._lengths.constant(self.tensors[name], steps)) is not None:
                yield value

    def constant_of(self, name: str, times: int) -> np.ndarray | None:
        """The constant for a multiple of the first number of steps, if the graph takes it."""
        return self._lengths.constant(self.tensors[name], times * self._lengths.time)

    def other_constants(self, name: str) -> Iterator[np.ndarray]:
        """The constant for some more numbers of steps, if it is computed from that number."""
        if self._lengths.computes(name):
            for steps in self._lengths.others:
                if (value := self._lengths.constant(self.tensors[name], steps)) is not None:
                    yield value

    @property
    def total_stride(self) -> int:
        """A number of steps of which windows of all strides are full."""
        return self._lengths.total_stride

    def uneven_cut(self, steps: int) -> Node | None:
        """A slice of time that leaves another number of steps out at this length than at others."""
        first, other = self._folds[0], self._lengths.fold(steps)
        for node in other.nodes if other else ():
            names = node.inputs[0] if node.inputs else '', node.outputs[0]
            if node.operator != 'Slice' or any(name not in first.tensors for name in names):
                continue
            before, after = (
                np.subtract(*(fold.tensors[name][0] for name in names)) for fold in (first, other)
            )
            axes = self.tensors[names[0]].axes(Role.TIME) if names[0] in self.tensors else ()
            if any(before[axis] != after[axis] for axis in axes):
                return node
        return None

    def _check_constant(self, name: str) -> None:
        if name not in self._constants:
            raise Refusal(
                f'its input "{name}" is no constant', 'layers have fixed weights and fields'
            )

    def numbers(self, node: Node, index: int, attribute: str) -> list[int] | None:
        """Integers that new opsets give as a constant input and old ones as an attribute."""
        if len(node.inputs) > index and node.inputs[index]:
            value = self.constant(node.inputs[index])
        else:
            value = node.attribute(attribute)
        return None if value is None else [int(v) for v in np.ravel(value)]

    def folded_constants(self, name: str) -> list[np.ndarray]:
        """The constant for the first size, another batch and another time."""
        self._check_constant(name)
        return [fold.constants[name] for fold in self._folds]

    def add_constant(self, name: str, values: Sequence[np.ndarray]) -> None:
        """Adds a constant, by its values for the three sizes."""
        for fold, value in zip(self._folds, values, strict=True):
            fold.constants[name] = value
            fold.tensors[name] = value.shape, value.dtype
        self._constants[name] = values[0]
        roles = _roles(*(value.shape for value in values))
        self.tensors[name] = Tensor(name, values[0].dtype, values[0].shape, roles)

    def drop_constant(self, name: str) -> None:
        """Lets a constant be a tensor that a node makes."""
        del self._constants[name]

    def shapes(self, name: str) -> list[tuple[int, ...]]:
        """The shape for the first size, another batch and another time."""
        return [fold.tensors[name][0] for fold in self._folds]

    def producer(self, name: str) -> Node | None:
        return next((node for node in self.nodes if name in node.outputs), None)

    def made_by(self, name: str, *operators: str) -> Node | None:
        """The node that makes a tensor, if it is of one of these operators."""
        node = self.producer(name)
        return node if node is not None and node.operator in operators else None

    def origin(self, name: str, operators: Sequence[str]) -> str:
        """The tensor of which nodes of these operators make another, each of its first input."""
        while node := self.made_by(name, *operators):
            name = node.inputs[0]
        return name

    def replace(self, node: Node, *others: Node) -> None:
        """Puts other nodes in the place of one."""
        index = next(i for i, known in enumerate(self.nodes) if known is node)
        self.nodes[index : index + 1] = others

    def readers(self, name: str) -> list[Node]:
        return [node for node in self.nodes if name in node.inputs]

    def made_of(self, names: Iterable[str]) -> set[str]:
        """These tensors and those that nodes make of them and of constants, as long as they have no time."""
        found = set(names)
        for node in self.nodes:
            read = [name for name in node.inputs if name and not self.is_constant(name)]
            if read and found.issuperset(read):
                found |= {name for name in node.outputs if name and not self.tensor(name).is_timed}
        return found

    def is_joined_with_time(self, name: str) -> bool:
        """Whether what is made of a value of the whole sequence meets values of steps."""
        waiting, seen = [name], {name}
        while waiting:
            at = waiting.pop()
            for reader in self.readers(at):
                others = [
                    n for n in reader.inputs if n and n not in seen and n not in self._constants
                ]
                if any(n in self.tensors and self.tensors[n].is_timed for n in others):
                    return True
                new = [n for n in reader.outputs if n and n not in seen]
                if any(n in self.tensors and self.tensors[n].is_timed for n in new):
                    return True  # it is repeated for all steps
                seen.update(new)
                waiting += new
        return False

    def is_reduced(self, name: str) -> bool:
        """Whether a tensor without time is made of one with time."""
        waiting, seen = [name], {name}
        while waiting:
            node = self.producer(waiting.pop())
            for read in node.inputs if node else ():
                if read and read not in seen and read not in self._constants:
                    if read in self.tensors and self.tensors[read].is_timed:
                        return True
                    seen.add(read)
                    waiting.append(read)
        return False

    def prune(self) -> None:
        """Drops the nodes whose outputs nothing reads."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]


def _once(value: np.ndarray, roles: Sequence[Role]) -> np.ndarray:
    """A constant with one item in place of those that are equal for all of batch or time."""
    for axis, role in enumerate(roles):
        if role is not Role.CHANNEL and value.shape[axis] > 1:
            item = value.take([0], axis)
            value = item if (value == item).all() else value
    return value


def _roles(
    shape: tuple[int, ...], with_batch: tuple[int, ...], with_time: tuple[int, ...]
) -> tuple[Role, ...]:
    if not len(shape) == len(with_batch) == len(with_time):
        raise Refusal(
            'the number of axes depends on the length of the sequence',
            'only graphs with the same axes for all lengths can be imported',
        )
    roles = []
    for size, other_batch, other_time in zip(shape, with_batch, with_time, strict=True):
        in_batch, in_time = size != other_batch, size != other_time
        if in_batch and in_time:
            roles.append(Role.STEPS)
        elif in_batch:
            roles.append(Role.BATCH)
        elif in_time:
            roles.append(Role.TIME)
        else:
            roles.append(Role.CHANNEL)
    return tuple(roles)


def build(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], times: Iterable[int] = (),
    max_steps: int = 0, example: int = 0,
) -> Graph:  # fmt: skip
    """The graph, folded with the first time of `times` that it takes.

    `example` is a number of steps that it was exported for, as many as its tables may have.

    Raises:
      CannotLoad: It takes none of them.
    """
    error: Exception | None = None
    crash: Refusal | None = None
    failures: list[tuple[int, Exception]] = []
    for time in tuple(times) or short_times(model, axes):
        settings = ((BATCHES[0], time), (BATCHES[1], time), (BATCHES[0], time * 3 // 2))
        try:
            sizes = [sizes_for(model, axes, *setting) for setting in settings]
            folds = fold_all(model, axes, sizes)
        except Refusal as refusal:
            crash = crash or refusal
            continue
        except Exception as failure:
            error = error or failure
            failures.append((time, failure))
            continue
        return _joined(folds, model, Lengths(model, axes, time, max_steps, example))
    refusal = CannotLoad(crash.reason, crash.cure) if crash else cannot_load(error)
    refusal.is_at_any_length = _is_fixed(model, failures)
    raise refusal


def _is_fixed(model: onnx.ModelProto, failures: Sequence[tuple[int, Exception]]) -> bool:
    """Whether sizes of a node do not fit each other at any length, so that longer ones need not be tried.

    That takes long where a mask has an element for each pair of steps.
    """
    total = total_stride(model)
    found = [_place(error) for time, error in failures if time % total == 0]
    return len(found) > _FAILURES and len(set(found)) == 1 and bool(found[0])


def _place(error: Exception) -> str:
    """Where sizes do not fit, without the sizes, which may be those of the sequence; '' for other errors."""
    if isinstance(error, SizeError):
        return str(error).partition('(')[0]
    text = cannot_load(error).reason
    return text if 'Incompatible dimensions' in text else ''


def _joined(folds: Sequence[Fold], model: onnx.ModelProto, lengths: Lengths) -> Graph:
    kinds = [[node.operator for node in fold.nodes] for fold in folds]
    if kinds[0] != kinds[1] or kinds[0] != kinds[2]:
        raise Refusal(
            'the nodes of the graph depend on the length of the sequence',
            'export it with a dynamic axis and without loops over time',
        )
    graph = Graph(folds, [value.name for value in model.graph.output], lengths)
    graph.prune()
    return graph
