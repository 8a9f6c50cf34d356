"""Loads ONNX graphs, and finds which axes of each tensor are batch and time.

onnxruntime folds the graph for three fixed sizes of the input: a first one, one of another batch, and one
of another time. An axis whose size differs between the first and the second is a batch axis, between the
first and the third a time axis, and between both an axis of batch and time as one. Nothing has to be
known about operators for that, and what exporters compute from shapes is constant in each.
"""

import dataclasses
import enum
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from sequence_layers_import import protos
from sequence_layers_import.folding import FOLDER
from sequence_layers_import.refusal import CannotLoad, Refusal, SizeError, cannot_load

# Times to try, in steps of the input: some graphs need a minimum, some a multiple of their strides, some take few.
TIMES = (48, 24, 960)
LONG_TIMES = (15360, 16000, 96000)
_BATCHES = (2, 3)
# How often a node may not fit at lengths of whole strides before no longer one is tried.
_FAILURES = 2
# Numbers of steps to look up tables of positions for: the largest that the graph takes.
_LONG = (4096, 2048, 1024, 512, 256, 128)
_LONGEST = 8192
# The largest number of steps that windows of all strides fill.
_LONGEST_STRIDE = 20000
# Numbers of steps above the first one that have other remainders by strides.
_MORE_STEPS = (1, 2, 3, 5, 7, 11)
# The dtypes of layers by the kinds of NumPy's.
# Operators that give elements other axes, in the same order.
RESHAPES = ('Reshape', 'Flatten', 'Squeeze', 'Unsqueeze')
DTYPES = {'f': 'float32', 'i': 'int32', 'u': 'int32', 'b': 'bool'}


class Role(enum.Enum):
    """The meaning of an axis of a tensor."""

    BATCH = 'batch'
    TIME = 'time'
    STEPS = 'batch and time'  # each item of the batch is a step
    CHANNEL = 'channel'


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `shape` is that of the first size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    roles: tuple[Role, ...]

    def axes(self, *roles: Role) -> tuple[int, ...]:
        return tuple(i for i, role in enumerate(self.roles) if role in roles)

    @property
    def channel_axes(self) -> tuple[int, ...]:
        return self.axes(Role.CHANNEL)

    @property
    def is_timed(self) -> bool:
        return bool(self.axes(Role.TIME, Role.STEPS))

    def sizes(self, axes: Sequence[int]) -> list[int]:
        return [self.shape[axis] for axis in axes]

    def of_rank(self, rank: int) -> 'Tensor':
        """The tensor with the axes of size 1 that broadcasting adds at its start."""
        by = rank - len(self.shape)
        shape, roles = (1,) * by + self.shape, (Role.CHANNEL,) * by + self.roles
        return dataclasses.replace(self, shape=shape, roles=roles)

    def resized(self, axis: int, size: int) -> 'Tensor':
        return dataclasses.replace(self, shape=(*self.shape[:axis], size, *self.shape[axis + 1 :]))


@dataclasses.dataclass
class Node:
    """An operation; `inputs` has empty names for optional inputs that are not given."""

    name: str
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)


@dataclasses.dataclass(frozen=True)
class TimeAxis:
    """Where an input has its batch and its time; the same axis if each item is a step."""

    batch: int | None
    time: int | None  # None for inputs that are no sequence
    is_mask: bool = False  # an input that says which steps are valid
    is_source: bool = False  # a sequence of its own, which attention of each step reads
    grows: int | None = (
        None  # the axis of a cache that begins empty, and gets the steps of each chunk
    )


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [v.decode() for v in value]
    return value


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs without those that have a value."""
    known = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in known]


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """The sizes of a value; those that are open have a name."""
    found: list[int | str] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField('dim_value') and dim.dim_value > 0:
            found.append(dim.dim_value)
        else:
            found.append(dim.dim_param or f'{value.name}.{axis}')
    return found


def _axis_of(value: onnx.ValueInfoProto, wanted: str, option: str) -> int:
    """The axis of this name or index."""
    sizes = dims(value)
    names = {size: axis for axis, size in enumerate(sizes) if isinstance(size, str)}
    if wanted in names:
        return names[wanted]
    if wanted.lstrip('-').isdigit() and -len(sizes) <= int(wanted) < len(sizes):
        return int(wanted) % len(sizes)
    raise Refusal(
        f'input "{value.name}" of sizes {sizes} has no axis {wanted}',
        f'name one of its axes by {option}',
    )


def find_time_axis(
    value: onnx.ValueInfoProto, wanted: str | None, batch: str | None = None
) -> TimeAxis:
    """The axes of batch and time of the input, of which a user gave names or indices."""
    sizes = dims(value)
    if not sizes:
        raise Refusal(f'input "{value.name}" is one number', 'a model needs an axis of time')
    time = _find_time(value, wanted)
    if batch is not None:
        return TimeAxis(None if batch == 'none' else _axis_of(value, batch, '--batch-axis'), time)
    if time == 0 and (wanted is not None or len(sizes) == 1):
        # Time comes first: the batch is the next open axis, if there is one.
        later = (a for a, size in enumerate(sizes) if a and isinstance(size, str))
        return TimeAxis(batch=next(later, None), time=0)
    return TimeAxis(batch=0, time=time)


def _find_time(value: onnx.ValueInfoProto, wanted: str | None) -> int:
    sizes = dims(value)
    if wanted is not None:
        return _axis_of(value, wanted, '--time-axis')
    others = [axis for axis, size in enumerate(sizes) if axis and isinstance(size, str)]
    if len(others) > 1:
        raise Refusal(
            f'input "{value.name}" of sizes {sizes} has several open axes',
            'say by --time-axis which is time',
        )
    return others[0] if others else 0


def axes_beside(value: onnx.ValueInfoProto, first: onnx.ValueInfoProto, axes: TimeAxis) -> TimeAxis:
    """Where another input has the batch and the time of the first, by name or by place."""
    sizes, known = dims(value), dims(first)

    def beside(axis: int | None) -> int | None:
        if axis is None:
            return None
        if isinstance(known[axis], str) and known[axis] in sizes:
            return sizes.index(known[axis])
        # Open axes without a name are told apart by their place only.
        unnamed = f'{value.name}.{axis}', f'{first.name}.{axis}'
        same = len(sizes) == len(known) and (
            sizes[axis] == known[axis] or (sizes[axis], known[axis]) == unnamed
        )
        return axis if same else None

    batch = beside(axes.batch)
    if batch is None and axes.batch is not None and axes.batch < len(sizes):
        # PyTorch's newer exporter gives each input's batch a name of its own.
        name = sizes[axes.batch]
        is_other = isinstance(name, str) and isinstance(known[axes.batch], str)
        batch = axes.batch if is_other and name not in known else None
    return TimeAxis(batch, beside(axes.time))


@dataclasses.dataclass
class _Fold:
    """The graph for one fixed size of the inputs."""

    nodes: list[Node]
    tensors: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
    constants: dict[str, np.ndarray]
    opset: int


def _with_sizes(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Mapping[str, Sequence[int]]
) -> onnx.ModelProto:
    # The graph is that of valid steps alone, as layers heed a mask by themselves, and of empty caches.
    known = [name for name, axis in axes.items() if axis.is_mask or axis.grows is not None]
    fixed = with_fixed(model, {name: np.ones(sizes[name]) for name in known})
    for value in inputs_of(fixed):
        shape = value.type.tensor_type.shape
        shape.ClearField('dim')
        for size in sizes[value.name]:
            shape.dim.add().dim_value = size
    # Shapes that the exporter recorded hold for its own example: onnxruntime infers them anew.
    fixed.graph.ClearField('value_info')
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField('shape')
    return fixed


def _fold(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Mapping[str, Sequence[int]]
) -> _Fold:
    return _read(FOLDER.fold(_with_sizes(model, axes, sizes)))


def _read(folded: onnx.ModelProto) -> _Fold:
    graph = folded.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {a.name: _attribute(a) for a in node.attribute}
        if node.op_type == 'Constant':
            constants[node.output[0]] = np.asarray(next(iter(attributes.values())))
            continue
        domain = '' if node.domain in ('', 'ai.onnx') else f'{node.domain}.'
        name = node.name or next(iter(node.output), '')
        operator = domain + node.op_type
        nodes.append(Node(name, operator, list(node.input), list(node.output), attributes))
    tensors = {name: (value.shape, value.dtype) for name, value in constants.items()}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if value.name in constants or not kind.elem_type:
            continue
        sizes = [dim.dim_value if dim.HasField('dim_value') else -1 for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        tensors[value.name] = (tuple(sizes), np.dtype(dtype))
    for node in nodes:
        if node.operator == 'Concat':
            # An empty cache adds no steps.
            node.inputs = [n for n in node.inputs if n not in constants or constants[n].size]
            node.operator = 'Concat' if len(node.inputs) > 1 else 'Identity'
    fold = _Fold(nodes, tensors, constants, opset_of(folded))
    _check_windows(fold)
    return fold


def _check_windows(fold: _Fold) -> None:
    """Raises ValueError if a window is larger than what it slides over, for which shapes are wrong."""
    for node in fold.nodes:
        _check_ends(fold, node)
        _check_elements(fold, node)
        if node.operator not in ('Conv', 'MaxPool', 'AveragePool'):
            continue
        kernel = fold.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        sizes = node.attribute('kernel_shape') or (() if kernel is None else kernel.shape[2:])
        shape = fold.tensors.get(node.inputs[0], ((),))[0][2:]
        pads = node.attribute('pads', [0] * 2 * len(sizes))
        dilations = node.attribute('dilations', [1] * len(sizes))
        fixed = node.attribute('auto_pad', 'NOTSET') in ('NOTSET', 'VALID')
        for i, (size, width) in enumerate(zip(sizes, shape, strict=False)):
            extent = (size - 1) * dilations[i] + 1
            if fixed and 0 <= width and width + pads[i] + pads[len(sizes) + i] < extent:
                raise ValueError(f'the window of {node.name} is larger than the sequence')


def _check_elements(fold: _Fold, node: Node) -> None:
    """Raises ValueError if a reshape makes other elements, as with the steps of an exporter's example."""
    if node.operator in RESHAPES and len(node.inputs) > 1 and node.inputs[1] in fold.constants:
        shapes = [fold.tensors.get(n, ((-1,),))[0] for n in (node.inputs[0], node.outputs[0])]
        before, after = (-1 if -1 in shape else math.prod(shape) for shape in shapes)
        if -1 not in (before, after) and before != after:
            text = f'{node.name} reshapes {shapes[0]} to {shapes[1]}'
            raise (ValueError if -1 in fold.constants[node.inputs[1]] else SizeError)(text)


def _check_ends(fold: _Fold, node: Node) -> None:
    """Raises ValueError if a sequence is too short for its spectra, or to be mirrored at its ends."""
    shape = fold.tensors.get(node.inputs[0], ((),))[0] if node.inputs else ()
    if node.operator == 'STFT' and len(node.inputs) > 3 and node.inputs[3] in fold.constants:
        too_short = 0 <= shape[1] < fold.constants[node.inputs[3]].ravel()[0]
    elif node.operator == 'Pad' and node.attribute('mode') == 'reflect':
        pads = (
            fold.constants.get(node.inputs[1]) if len(node.inputs) > 1 else node.attribute('pads')
        )
        given = np.ravel(pads) if pads is not None else np.zeros(0)
        largest = given.reshape(2, -1).max(0) if given.size == 2 * len(shape) else np.zeros(0)
        too_short = any(0 <= s <= p for s, p in zip(shape, largest, strict=False) if p > 0)
    else:
        too_short = False
    if too_short:
        raise ValueError(f'the sequence is too short for {node.name}')


class Graph:
    """The folded graph with the roles of the axes of all its tensors."""

    def __init__(self, folds: Sequence[_Fold], outputs: Sequence[str], lengths: '_Lengths'):
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
        return _BATCHES[0]

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


def opset_of(model: onnx.ModelProto) -> int:
    opsets = {o.domain: o.version for o in model.opset_import}
    return int(opsets.get('', opsets.get('ai.onnx', 0)))


def load(path: pathlib.Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except Exception as error:
        raise Refusal(f'{path} is no ONNX file: {error}', 'export the model to ONNX') from error
    version = opset_of(model)
    if not 7 <= version <= 24:
        raise Refusal(f'{path} is of opset {version}', 'export it with an opset from 11 to 23')
    return model


def with_fixed(model: onnx.ModelProto, fixed: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The model with these inputs as constants."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.ir_version = max(made.ir_version, 4)  # the first in which constants are no inputs
    by_name = {value.name: value for value in made.graph.input}
    for name, array in fixed.items():
        if name not in by_name:
            raise Refusal(f'the graph has no input "{name}"', f'it has {sorted(by_name)}')
        value = by_name[name]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if np.ndim(array) == 0:
            array = np.full([1 if isinstance(s, str) else s for s in dims(value)], array)
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        made.graph.input.remove(value)
    return made


def with_sizes(model: onnx.ModelProto, sizes: Mapping[str, int]) -> onnx.ModelProto:
    """The model with these open axes fixed; those without a name are `input.1` and alike."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    found = set()
    for value in inputs_of(made):
        for name, dim in zip(dims(value), value.type.tensor_type.shape.dim, strict=True):
            if isinstance(name, str) and name in sizes:
                dim.dim_value = sizes[name]
                found.add(name)
    if missing := set(sizes) - found:
        names = sorted({str(s) for v in inputs_of(model) for s in dims(v) if isinstance(s, str)})
        raise Refusal(f'the graph has no open axis "{missing.pop()}"', f'it has {names}')
    return made


def sizes_for(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], batch: int, time: int
) -> dict[str, list[int]]:
    """The shapes of the inputs for a batch and a time."""
    by_name: dict[str, int] = {}
    for value in inputs_of(model):
        axis, sizes = axes[value.name], dims(value)
        joint = batch * time if axis.batch == axis.time else 0
        for index, size in ((axis.batch, batch), (axis.time, time)):
            if index is not None and isinstance(sizes[index], str):
                by_name.setdefault(str(sizes[index]), joint or size)
    return {
        value.name: _sizes(dims(value), axes[value.name], by_name, batch, time)
        for value in inputs_of(model)
    }


def _sizes(
    sizes: Sequence[int | str], axis: TimeAxis, by_name: Mapping[str, int], batch: int, time: int
) -> list[int]:
    shape = [by_name.get(size, 1) if isinstance(size, str) else size for size in sizes]
    if axis.grows is not None:
        shape[axis.grows] = 0
    if axis.time is not None and axis.time == axis.batch:
        shape[axis.time] = batch * time
        return shape
    if axis.time is not None:
        shape[axis.time] = time
    # A fixed batch of 1 may be part of the graph's own shapes.
    if axis.batch is not None and sizes[axis.batch] != 1:
        shape[axis.batch] = batch
    return shape


def _fixed_times(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> list[int]:
    """Times of two chunks, where the input has chunks of a fixed size."""
    value = inputs_of(model)[0]
    time = axes[value.name].time
    size = dims(value)[time] if time is not None else 1
    return [2 * size] if isinstance(size, int) and size > 1 else []


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
        settings = ((_BATCHES[0], time), (_BATCHES[1], time), (_BATCHES[0], time * 3 // 2))
        try:
            sizes = [sizes_for(model, axes, *setting) for setting in settings]
            folds = _fold_all(model, axes, sizes)
        except Refusal as refusal:
            crash = crash or refusal
            continue
        except Exception as failure:
            error = error or failure
            failures.append((time, failure))
            continue
        return _joined(folds, model, _Lengths(model, axes, time, max_steps, example))
    refusal = CannotLoad(crash.reason, crash.cure) if crash else cannot_load(error)
    refusal.is_at_any_length = _is_fixed(model, failures)
    raise refusal


def short_times(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> tuple[int, ...]:
    if any(axis.batch == axis.time is not None for axis in axes.values()):
        return (2,)
    # First those with two windows of all strides at least, so that what has steps has other numbers of them for other
    # lengths, and of which the windows are full, also with half as many steps more.
    two = 2 * _total_stride(model)
    more = (2 * two,) if 2 < two <= _LONGEST_STRIDE else ()
    times = sorted((*TIMES, *more), key=lambda time: (time < two, time % two > 0))
    return (*_fixed_times(model, axes), *times)


def takes(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Mapping[str, Sequence[int]]
) -> bool:
    """Whether the graph can be folded for these shapes of its inputs."""
    try:
        _fold(model, axes, sizes)
    except Exception:  # onnxruntime raises anything
        return False
    return True


def _is_fixed(model: onnx.ModelProto, failures: Sequence[tuple[int, Exception]]) -> bool:
    """Whether sizes of a node do not fit each other at any length, so that longer ones need not be tried.

    That takes long where a mask has an element for each pair of steps.
    """
    total = _total_stride(model)
    found = [_place(error) for time, error in failures if time % total == 0]
    return len(found) > _FAILURES and len(set(found)) == 1 and bool(found[0])


def _total_stride(model: onnx.ModelProto) -> int:
    """A number of steps that windows of all strides over one axis fill, one after the other."""
    total, strides = 1, dict[str, int]()
    for node in model.graph.node:
        stride = max((max(a.ints) for a in node.attribute if a.name == 'strides'), default=1)
        made = math.lcm(*(strides.get(name, 1) for name in node.input))
        if node.op_type == 'ConvTranspose':
            made = made // stride if made % stride == 0 else made
        else:
            made *= stride
        strides |= dict.fromkeys(node.output, made)
        total = math.lcm(total, made)
    return total


def _place(error: Exception) -> str:
    """Where sizes do not fit, without the sizes, which may be those of the sequence; '' for other errors."""
    if isinstance(error, SizeError):
        return str(error).partition('(')[0]
    text = cannot_load(error).reason
    return text if 'Incompatible dimensions' in text else ''


def _fold_all(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Sequence[dict[str, list[int]]]
) -> list[_Fold]:
    """The graph for each of the sizes, of which some may be equal."""
    folds: list[_Fold] = []
    for i, wanted in enumerate(sizes):
        first = sizes.index(wanted)
        folds.append(folds[first] if first < i else _fold(model, axes, wanted))
    return folds


class _Lengths:
    """Constants for other numbers of steps than the three sizes have."""

    def __init__(
        self, model: onnx.ModelProto, axes: Mapping[str, TimeAxis], time: int, max_steps: int,
        example: int,
    ):  # fmt: skip
        self._model, self._axes, self.time = model, axes, time
        self.max_steps = max_steps
        # Large numbers of steps that the graph may take, such as the sizes of tables of its own.
        sizes = {size for tensor in model.graph.initializer for size in tensor.dims[:2]}
        known = {size for size in (*sizes, example) if 2 * time < size <= _LONGEST}
        found: list[int] = []
        for steps in sorted(known | set(_LONG), reverse=True):
            steps = min(steps, max_steps) if max_steps else steps
            found += [steps, steps - steps % time]
        self.many = list(dict.fromkeys(found))
        # Windows of all strides are full with the first of these numbers, and have one step of their own with the second.
        self.total_stride = total = _total_stride(model)
        full = [-(-time // total) * total] if total <= _LONGEST_STRIDE else []
        self.others = [*full, *(steps + 1 for steps in full), *(time + n for n in _MORE_STEPS)]
        self._known: dict[tuple[str, int], np.ndarray | None] = {}

    def computes(self, name: str) -> bool:
        """Whether nodes of the graph make a tensor."""
        made = (n for n in self._model.graph.node if name in n.output)
        return any(node.op_type != 'Constant' for node in made)

    def constant(self, tensor: Tensor, steps: int) -> np.ndarray | None:
        """A constant, if the graph takes so many steps."""
        key = tensor.name, steps
        if key not in self._known:
            self._known[key] = self._fold(tensor, steps)
        return self._known[key]

    def fold(self, steps: int) -> _Fold | None:
        """The whole graph, if it takes so many steps."""
        try:
            sizes = sizes_for(self._model, self._axes, _BATCHES[0], steps)
            return _fold(self._model, self._axes, sizes)
        except Exception:  # the graph is not for as many steps
            return None

    def _fold(self, tensor: Tensor, steps: int) -> np.ndarray | None:
        sizes = sizes_for(self._model, self._axes, _BATCHES[0], steps)
        try:
            folded = _fold(_up_to(self._model, tensor), self._axes, sizes)
            return folded.constants.get(tensor.name)
        except Exception:  # the graph is not for as many steps
            return None


def _up_to(model: onnx.ModelProto, tensor: Tensor) -> onnx.ModelProto:
    """The nodes that make a tensor: folding the others for many steps would take long."""
    kept, _ = protos.makers(model.graph, tensor.name)
    if any(map(protos.has_bodies, model.graph.node)) or not kept:
        return model
    kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
    output = onnx.helper.make_tensor_value_info(tensor.name, kind, None)
    return protos.part_of(model, kept, [output])


def _joined(folds: Sequence[_Fold], model: onnx.ModelProto, lengths: _Lengths) -> Graph:
    kinds = [[node.operator for node in fold.nodes] for fold in folds]
    if kinds[0] != kinds[1] or kinds[0] != kinds[2]:
        raise Refusal(
            'the nodes of the graph depend on the length of the sequence',
            'export it with a dynamic axis and without loops over time',
        )
    graph = Graph(folds, [value.name for value in model.graph.output], lengths)
    graph.prune()
    return graph
