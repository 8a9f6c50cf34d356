"""Reads ONNX files, and finds the axes and the sizes of their inputs."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from sequence_layers_import.refusal import Refusal


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


def fixed_times(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> list[int]:
    """Times of two chunks, where the input has chunks of a fixed size."""
    value = inputs_of(model)[0]
    time = axes[value.name].time
    size = dims(value)[time] if time is not None else 1
    return [2 * size] if isinstance(size, int) and size > 1 else []
