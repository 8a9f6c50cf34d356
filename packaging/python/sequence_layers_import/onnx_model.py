"""Makes a model of an ONNX graph."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from sequence_layers_import import (
    attention,
    patterns,
    pointwise,
    products,
    recurrent,
    reductions,
    shapes,
    tree,
)
from sequence_layers_import import graph as graphs
from sequence_layers_import.builder import INPUT, Builder, Value, add_nodes
from sequence_layers_import.graph import Graph, Role, Tensor, TimeAxis
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tree import Model

# The modules whose import registers operators.
OPERATORS = (attention, pointwise, products, recurrent, reductions, shapes)
_DTYPES = {'f': 'float32', 'i': 'int32', 'u': 'int32', 'b': 'bool'}


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output of the graph, and what it is in the model.

    `axes` are the axes of ONNX that batch, time and the channels are; batch may be None, or that of
    time, where each item is a step.
    """

    name: str
    batch: int | None
    time: int
    channels: tuple[int, ...]
    shape: tuple[int, ...]  # of the channels
    dtype: np.dtype
    emit: str = ''  # the path; '' for the model's own output

    @property
    def model_dtype(self) -> str:
        return _DTYPES[self.dtype.kind]

    def to_model(self, array: np.ndarray) -> np.ndarray:
        """An array of the graph as [batch, time, channels...]."""
        dropped = [a for a in range(array.ndim)
                   if a not in (self.batch, self.time, *self.channels)]  # fmt: skip
        steps = [self.time] if self.batch in (None, self.time) else [self.batch, self.time]
        moved = array.transpose(*dropped, *steps, *self.channels)
        lead = [1] if len(steps) == 1 else []
        sizes = [array.shape[a] for a in steps]
        return moved.reshape(*lead, *sizes, *self.shape).astype(self.model_dtype)


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model with the graph's inputs and outputs."""

    model: Model
    original: onnx.ModelProto
    axes: Mapping[str, TimeAxis]
    input: Port
    outputs: Sequence[Port]
    graph: Graph


def _port(tensor: Tensor, value: Value, emit: str = '') -> Port:
    steps = tensor.axes(Role.STEPS)
    batch, time = tensor.axes(Role.BATCH), tensor.axes(Role.TIME)
    if len(steps) == 1 and not batch and not time:
        at: tuple[int | None, int] = (steps[0], steps[0])
    elif len(time) == 1 and len(batch) < 2 and not steps:
        at = (batch[0] if batch else None, time[0])
    else:
        raise Refusal(
            f'"{tensor.name}" of roles {[r.value for r in tensor.roles]} has no single axis of time',
            'a model gives a sequence: take an output with a time axis',
        )
    shape = tuple(tensor.shape[axis] for axis in value.axes)
    return Port(tensor.name, *at, value.axes, shape, tensor.dtype, emit)


def _outputs(graph: Graph, wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in graph.outputs:
            raise Refusal(f'the graph has no output "{name}"', f'choose of {graph.outputs}')
    return list(wanted) or graph.outputs


def import_graph(
    model: onnx.ModelProto, *, name: str = 'model', time_axis: str | None = None,
    outputs: Sequence[str] = (), streaming: bool = False, times: Sequence[int] = (),
) -> Imported:  # fmt: skip
    """Makes the model of a graph.

    Args:
      model: Of opset 11 to 23.
      name: Of the model.
      time_axis: Name or index of the time axis of the first input; without it, its open axis.
      outputs: Names of outputs; without them all. The first is the model's own, others are emits.
      streaming: Whether the model has to step.
      times: Numbers of steps to fold the graph with; the first one that works is taken.

    Raises:
      Refusal: What cannot be imported, and why.
    """
    given = graphs.inputs_of(model)
    if not given:
        raise Refusal('the graph has no input', 'a model reads a sequence')
    axes = {given[0].name: graphs.find_time_axis(given[0], time_axis)}
    for value in given[1:]:
        axes[value.name] = axes[given[0].name]
    graph = graphs.build(model, axes, times)
    graph.outputs = _outputs(graph, outputs)
    graph.prune()
    patterns.rewrite(graph)
    builder = Builder(graph, streaming=streaming)
    tensor = graph.tensor(given[0].name)
    builder.values[tensor.name] = Value(INPUT, tuple(
        a for a in tensor.channel_axes if a != axes[tensor.name].batch
    ))  # fmt: skip
    source = _port(tensor, builder.values[tensor.name])
    add_nodes(builder)
    return _finish(builder, model, axes, source, name)


def _finish(
    builder: Builder, model: onnx.ModelProto, axes: Mapping[str, TimeAxis], source: Port, name: str
) -> Imported:
    ports: list[Port] = []
    for i, output in enumerate(builder.graph.outputs):
        value = builder.value(output)
        if i:
            layer = builder.layers[value.layer]
            if value.layer == INPUT or layer.emit:
                value = builder.apply(value, {'type': 'Identity'})
                layer = builder.layers[value.layer]
            layer.emit = f'output_{i}'
        ports.append(_port(builder.tensor(output), value, f'output_{i}' if i else ''))
    main = builder.value(builder.graph.outputs[0])
    written = tree.write(builder.layers, main.layer, name)
    ports = [dataclasses.replace(p, emit=written.emits.get(p.emit, '')) for p in ports]
    return Imported(written, model, axes, source, ports, builder.graph)


def import_file(path: str | pathlib.Path, **options: object) -> Imported:
    """`import_graph` of a file; its name is the model's."""
    path = pathlib.Path(path)
    return import_graph(graphs.load(path), name=path.stem, **options)  # type: ignore[arg-type]
