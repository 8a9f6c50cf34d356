"""Makes a model of an ONNX graph."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx

import sequence_layers_runtime as runtime
from sequence_layers_import import (
    attention,
    conditions,
    graph_inputs,
    merged,
    opening,
    patterns,
    pointwise,
    positions,
    products,
    recurrent,
    reductions,
    resizing,
    shapes,
    spectra,
    states,
    tree,
)
from sequence_layers_import.builder import INPUT, Builder, Layer, Value, add_nodes, check_operators
from sequence_layers_import.graph import Graph, build
from sequence_layers_import.graph_inputs import TimeAxis
from sequence_layers_import.lengths import LONG_TIMES, TIMES
from sequence_layers_import.refusal import CannotLoad, Refusal
from sequence_layers_import.tensors import DTYPES, Role, Tensor
from sequence_layers_import.tree import Model

# The modules whose import registers operators.
OPERATORS = (
    attention, conditions, pointwise, positions, products, recurrent, reductions, resizing, shapes,
    spectra,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output of the graph, and what it is in the model.

    Batch, time and channels are axes of ONNX. Batch may be that of time, where each item is a step. An
    output without time is one value of the whole sequence: one step of the model or, in streams, the
    last valid one.
    """

    name: str
    batch: int | None
    time: int | None
    channels: tuple[int, ...]
    shape: tuple[int, ...]  # the sizes of the channels
    rank: int
    dtype: np.dtype
    emit: str = ''  # the path; '' for the model's own output

    @property
    def model_dtype(self) -> str:
        return DTYPES[self.dtype.kind]

    def to_model(self, array: np.ndarray) -> np.ndarray:
        """An array of the graph as [batch, time, channels...]."""
        if array.ndim < self.rank:
            # A graph may squeeze a batch of one item.
            array = array.reshape((1,) * (self.rank - array.ndim) + array.shape)
        dropped = [a for a in range(array.ndim)
                   if a not in (self.batch, self.time, *self.channels)]  # fmt: skip
        steps = [a for a in dict.fromkeys((self.batch, self.time)) if a is not None]
        moved = array.transpose(*dropped, *steps, *self.channels)
        sizes = [1 if a is None else array.shape[a] for a in (self.batch, self.time)]
        if self.batch == self.time and self.batch is not None:
            sizes[0] = 1
        return moved.reshape(*sizes, *self.shape).astype(self.model_dtype)


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model with the graph's inputs and outputs.

    Several inputs are one of the model: all their channels, one input after the other.
    """

    model: Model
    original: onnx.ModelProto
    axes: Mapping[str, TimeAxis]
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    graph: Graph
    states: Mapping[str, str] = dataclasses.field(default_factory=dict)  # outputs by inputs
    constants: Sequence[str] = ()  # inputs that each run gets
    fixed: Sequence[str] = ()  # inputs that are constants of the model

    @property
    def input(self) -> Port:
        """The first input of the graph."""
        return self.inputs[0]

    @property
    def channel_shape(self) -> tuple[int, ...]:
        """The channels of the model's input."""
        if len(self.inputs) == 1:
            return self.input.shape
        return (sum(math.prod(port.shape) for port in self.inputs),)

    @property
    def model_dtype(self) -> str:
        """The dtype of the model's input."""
        dtypes = {port.model_dtype for port in self.inputs}
        return dtypes.pop() if len(dtypes) == 1 else 'float32'

    def to_model(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Inputs of the graph as the model's."""
        found = [port.to_model(arrays[port.name]) for port in self.inputs]
        if len(found) == 1:
            return found[0]
        flat = [array.reshape(*array.shape[:2], -1).astype(self.model_dtype) for array in found]
        # Inputs without time are the same at all steps.
        steps = flat[0].shape[:2]
        return np.concatenate([np.broadcast_to(a, (*steps, a.shape[2])) for a in flat], axis=-1)

    def constants_of(
        self, arrays: Mapping[str, np.ndarray]
    ) -> dict[str, runtime.Array | np.ndarray]:
        """The constants of a run as the model's: [batch, channels...], and [batch, time, channels] of sources."""
        found: dict[str, runtime.Array | np.ndarray] = {}
        for name in self.constants:
            batch, time = self.axes[name].batch, self.axes[name].time
            if time is not None:
                order = [axis for axis in (batch, time) if axis is not None]
                moved = np.moveaxis(arrays[name], order, range(len(order)))
                rest = moved if batch is not None else moved[np.newaxis]
                found[name] = rest.reshape(*rest.shape[:2], -1)
                continue
            array = arrays[name] if batch is None else np.moveaxis(arrays[name], batch, 0)
            found[name] = runtime.Array(array.reshape(1 if batch is None else len(array), -1))
        return found


def _port(tensor: Tensor, value: Value, emit: str = '') -> Port:
    steps = tensor.axes(Role.STEPS)
    batch, time = tensor.axes(Role.BATCH), tensor.axes(Role.TIME)
    if len(steps) == 1 and not batch and not time:
        at: tuple[int | None, int | None] = (steps[0], steps[0])
    elif len(time) < 2 and len(batch) < 2 and not steps:
        at = (batch[0] if batch else None, time[0] if time else None)
    else:
        raise Refusal(
            f'"{tensor.name}" of roles {[r.value for r in tensor.roles]} has no single axis of time',
            'a model gives a sequence: take an output with a time axis',
        )
    shape, rank = tuple(tensor.sizes(value.axes)), len(tensor.shape)
    return Port(tensor.name, *at, value.axes, shape, rank, tensor.dtype, emit)


def _check_dtype(value: onnx.ValueInfoProto) -> None:
    kind = value.type.tensor_type.elem_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind).kind if kind else 'O'
    if dtype not in DTYPES:
        name = onnx.TensorProto.DataType.Name(kind).lower() if kind else 'no tensor'
        raise Refusal(
            f'input "{value.name}" is of dtype {name}', 'a model reads numbers or conditions'
        )


def _outputs(graph: Graph, wanted: Sequence[str], states: Mapping[str, str]) -> list[str]:
    for name in wanted:
        if name not in graph.outputs:
            raise Refusal(f'the graph has no output "{name}"', f'choose of {graph.outputs}')
        if name in states.values():
            raise Refusal(f'output "{name}" is a state', 'the states of a model are its own')
    return list(wanted) or [name for name in graph.outputs if name not in states.values()]


def import_graph(
    model: onnx.ModelProto, *, name: str = 'model', time_axis: str | None = None,
    batch_axis: str | None = None, outputs: Sequence[str] = (), streaming: bool = False,
    times: Sequence[int] = (), fixed: Mapping[str, np.ndarray] = MappingProxyType({}),
    state: Mapping[str, str] = MappingProxyType({}), mask: str = '', constants: Sequence[str] = (),
    repeated: Sequence[str] = (),
    sizes: Mapping[str, int] = MappingProxyType({}), max_steps: int = 0,
) -> Imported:  # fmt: skip
    """Makes the model of a graph.

    Args:
      model: A graph of opset 11 to 23.
      name: The name of the model that is made.
      time_axis: Name or index of the time axis of the first input; without it, its open axis.
      batch_axis: Name or index of the batch axis, or 'none'; without it, axis 0 if that is not time.
      outputs: Names of outputs; without them all. The first is the model's own, others are emits.
      streaming: Whether the model has to step.
      state: The output that gives back an input, for states that begin with zeros, of one chunk for the next;
        pairs of like names are found.
      sizes: Sizes of open axes by their names; those without are `input.1` and alike.
      fixed: Values of other inputs, which become part of the model; one number fills the input.
      max_steps: The number of rows of tables of positions; without it, 4096 or what the graph's own tables have.
      times: Numbers of steps to fold the graph with; the first one that works is taken.
      mask: The name of an input that says which steps are valid, as the mask of a sequence does.
      repeated: Names of inputs without time that are a part of the model's input, the same at all steps.
      constants: Names of inputs without time that are given with each run, as initial states of recurrences.

    Raises:
      Refusal: What cannot be imported, and why.
    """
    inputs = {value.name: value for value in model.graph.input}
    model = graph_inputs.with_fixed(graph_inputs.with_sizes(model, sizes), fixed)
    given = graph_inputs.inputs_of(model)
    if not given:
        raise Refusal('the graph has no input', 'a model reads a sequence')
    for value in given:
        _check_dtype(value)
    first = graph_inputs.find_time_axis(given[0], time_axis, batch_axis)
    shared = {size for name in fixed for size in graph_inputs.dims(inputs[name])}
    if (
        first.batch not in (None, first.time)
        and graph_inputs.dims(given[0])[first.batch or 0] in shared
    ):
        # The batch is one item, as that of an input with a fixed value is.
        first = dataclasses.replace(first, batch=None)
    axes, pairs = _axes(model, first, state, mask, (*constants, *repeated))
    model, graph = _build(model, axes, times, max_steps, has_states=bool(pairs))
    graph.outputs = _outputs(graph, outputs, pairs)
    graph.prune()
    check_operators(graph)
    states.rewrite(graph, pairs)
    patterns.rewrite_weights_of_time(graph)
    merged.rewrite(graph, given[0].name)
    positions.rewrite(graph, given[0].name)
    patterns.rewrite(graph)
    recurrent.begin_with(graph, constants)
    builder = Builder(graph, streaming=streaming)
    builder.repeated = graph.made_of(repeated)
    for source in (name for name, axis in axes.items() if axis.is_source):
        builder.add_source(source)
    read = [n for n, a in axes.items() if a.time is not None and not a.is_mask or n in repeated]
    read = [name for name in read if not axes[name].is_source]
    ports = _read_inputs(builder, {name: axes[name] for name in read if name not in pairs})
    add_nodes(builder)
    made = _finish(builder, model, axes, ports, name)
    return dataclasses.replace(made, states=pairs, constants=constants, fixed=list(fixed))


def _build(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], times: Sequence[int], max_steps: int, *,
    has_states: bool,
) -> tuple[onnx.ModelProto, Graph]:  # fmt: skip
    """The graph, and the model that it was folded of: with open axes where sizes of an example are written in it."""
    steps = 0 if has_states else opening.fixed_steps(model, axes)
    if steps:
        return _opened(model, axes, times, max_steps, steps)
    try:
        return model, build(model, axes, times, max_steps)
    except CannotLoad as refusal:
        if times:
            raise
        written = {} if has_states else opening.written_steps(model, axes)
        if written:
            fixed = opening.with_steps(model, axes, written)
            return _opened(fixed, axes, times, max_steps, max(written.values()))
        if refusal.is_at_any_length:
            raise
        try:
            return model, build(model, axes, LONG_TIMES, max_steps)
        except CannotLoad:
            raise refusal from None


def _opened(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], times: Sequence[int], max_steps: int,
    steps: int,
) -> tuple[onnx.ModelProto, Graph]:  # fmt: skip
    try:
        model = opening.open_axes(model, axes)
        times = times or (2 * steps, *TIMES)
        return model, build(model, axes, times, max_steps, steps)
    except Refusal as refusal:
        raise Refusal(
            f'it was exported for {steps} steps only: {refusal.reason}',
            'export it with an open axis of time',
        ) from refusal


def _axes(
    model: onnx.ModelProto, first: TimeAxis, state: Mapping[str, str], mask: str,
    constants: Sequence[str],
) -> tuple[dict[str, TimeAxis], dict[str, str]]:  # fmt: skip
    """Where each input has its batch and time, and the pairs of states."""
    given = graph_inputs.inputs_of(model)
    axes = {value.name: graph_inputs.axes_beside(value, given[0], first) for value in given}
    axes[given[0].name] = first
    axes |= {name: _constant_axes(given, name) for name in constants}
    is_step = first.batch == first.time
    others = [v.name for v in given[1:] if v.name not in (mask, *constants)]
    others = [name for name in others if is_step or axes[name].time is None]
    pairs = states.find(model, state, others)
    new = {value.name: graph_inputs.dims(value) for value in model.graph.output}
    axes |= {
        v.name: states.axes_of(v, new[pairs[v.name]], given[0], first)
        for v in given
        if v.name in pairs
    }
    if mask:
        axes[mask] = _mask_axes(given, mask, axes)
    if pairs and not is_step and all(axes[name].batch is None for name in pairs):
        axes = {name: dataclasses.replace(axis, batch=None) for name, axis in axes.items()}
    return axes, pairs


def _read_inputs(builder: Builder, axes: Mapping[str, TimeAxis]) -> list[Port]:
    """Makes the values of the inputs, which are parts of the model's if there are several."""
    values: list[Value] = []
    ports: list[Port] = []
    for name, axis in axes.items():
        tensor = builder.tensor(name)
        if ports and not builder.graph.readers(name) and name not in builder.graph.outputs:
            continue
        values.append(Value(INPUT, tuple(a for a in tensor.channel_axes if a != axis.batch)))
        ports.append(_port(tensor, values[-1]))
    flat, start = Value(INPUT, (0,)), 0
    kinds = {port.model_dtype for port in ports}
    for port, value in zip(ports, values, strict=True):
        if len(ports) > 1:
            stop = start + math.prod(port.shape)
            part = builder.apply(flat, {'type': 'Slice', 'slices': [[start, stop, None]]})
            value, start = builder.reshape(part, port.shape, port.channels), stop
        if len(kinds) > 1 and port.model_dtype == 'int32':
            value = builder.apply(value, {'type': 'Cast', 'dtype': 'int32'})
        if kinds == {'bool'}:
            # Conditions are the numbers 0 and 1.
            value = builder.apply(value, {'type': 'Cast', 'dtype': 'float32'})
        builder.values[port.name] = value
    return ports


def _beside_first(given: Sequence[onnx.ValueInfoProto], name: str) -> onnx.ValueInfoProto:
    """The input of this name, which is not the first."""
    others = {value.name: value for value in given[1:]}
    if name not in others:
        raise Refusal(f'the graph has no input "{name}" beside its first', f'it has {list(others)}')
    return others[name]


def _constant_axes(given: Sequence[onnx.ValueInfoProto], name: str) -> TimeAxis:
    """The batch of an input without time: the axis that has the name of the first input's.

    One that has another open axis is a sequence of its own.
    """
    sizes, first = graph_inputs.dims(_beside_first(given, name)), graph_inputs.dims(given[0])
    shared = [size for size in first if isinstance(size, str) and size in sizes]
    places = [axis for axis, size in enumerate(sizes) if isinstance(size, str)]
    batch = sizes.index(shared[0]) if shared else None
    if batch is None and len(places) == 2 and isinstance(first[places[0]], str):
        batch = places[0]
    others = [axis for axis in places if axis != batch]
    if batch is not None and len(others) == 1 and len(sizes) == 3:
        return TimeAxis(batch, others[0], is_source=True)
    return TimeAxis(batch, None)


def _mask_axes(
    given: Sequence[onnx.ValueInfoProto], mask: str, axes: Mapping[str, TimeAxis]
) -> TimeAxis:
    sizes = graph_inputs.dims(_beside_first(given, mask))
    if axes[mask].time is None:
        # The newer exporter names each input's axes anew, and the mask of caches has their steps too.
        others = [a for a, s in enumerate(sizes) if a != axes[mask].batch and isinstance(s, str)]
        if len(others) == 1:
            return dataclasses.replace(axes[mask], is_mask=True, time=others[0])
    if axes[mask].time is None:
        raise Refusal(f'input "{mask}" has no axis of time', 'name its axes as those of the first')
    return dataclasses.replace(axes[mask], is_mask=True)


def _finish(
    builder: Builder,
    model: onnx.ModelProto,
    axes: Mapping[str, TimeAxis],
    inputs: Sequence[Port],
    name: str,
) -> Imported:
    graph = builder.graph
    main = builder.value(graph.outputs[0])
    ports = [_port(builder.tensor(graph.outputs[0]), main)]
    for i, output in enumerate(graph.outputs[1:], start=1):
        value = builder.value(output)
        if value.layer in (INPUT, main.layer) or builder.layers[value.layer].emit:
            # A node has one name, so that another output of the same values needs its own node.
            value = Value(builder.new(Layer((value.layer,), {'type': 'Identity'})), value.axes)
        builder.layers[value.layer].emit = f'output_{i}'
        ports.append(_port(builder.tensor(output), value, f'output_{i}'))
    for number in tree.needed(builder.layers, main.layer):
        if read := [
            builder.sources[n] for n in builder.layers[number].inputs if n in builder.sources
        ]:
            raise Refusal(
                f'the constant "{read[0]}" is read by more than keys and values of attention',
                'it is a sequence of its own: give what is made of it',
            )
    written = tree.write(builder.layers, main.layer, name)
    return Imported(written, model, axes, inputs, ports, graph)


def import_file(path: str | pathlib.Path, **options: object) -> Imported:
    """`import_graph` of a file; its name is the model's."""
    path = pathlib.Path(path)
    return import_graph(graph_inputs.load(path), name=path.stem, **options)  # type: ignore[arg-type]
