"""Layers that are to become a model, as a graph: each reads one value, or combines several."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sequence_layers_import.graph import Graph
from sequence_layers_import.refusal import Refusal, naming, no_bound
from sequence_layers_import.tensors import Node, Role, Tensor

Config = dict[str, Any]
Weights = Mapping[str, np.ndarray]

INPUT = 0  # the number of the value that the model reads


@dataclasses.dataclass(frozen=True)
class Value:
    """A layer's output for a tensor: `axes` are the axes of ONNX that its channels are, in our order.

    Channel axes of size 1 may be left out.
    """

    layer: int
    axes: tuple[int, ...]


@dataclasses.dataclass
class Layer:
    """A layer of one input or, with a `combination` in place of a config, of several."""

    inputs: tuple[int, ...]
    config: Config | None = None
    weights: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    combination: str = ''
    emit: str = ''


class Builder:
    """Makes layers of the nodes of a graph, one after the other."""

    def __init__(self, graph: Graph, *, streaming: bool):
        self.graph, self.streaming = graph, streaming
        self.repeated: set[str] = set()  # tensors without time that each step has
        self.layers: list[Layer] = [Layer(())]
        self.values: dict[str, Value] = {}
        self.sources: dict[
            int, str
        ] = {}  # sequences that attention reads, by the number of their value
        self._made: dict[str, int] = {}

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensor(name)

    def value(self, name: str) -> Value:
        if name in self.values:
            return self.values[name]
        if self.graph.is_constant(name):
            raise Refusal(
                f'its input "{name}" is a constant', 'only operations on the input can be imported'
            )
        if maker := self.graph.producer(name):
            raise Refusal(
                f'"{name}" of {maker.operator} is not computed', 'take its first output only'
            )
        raise Refusal(
            f'its input "{name}" is not given',
            'fix it by --fix, or name it by --mask, --constant or --state',
        )

    def _push(self, layer: Layer) -> int:
        key = ''
        if not layer.weights:
            key = json.dumps([layer.inputs, layer.config, layer.combination])
            if key in self._made:
                return self._made[key]
        number = self.new(layer)
        if key:
            self._made[key] = number
        return number

    def add_source(self, name: str) -> None:
        number = self.new(Layer(()))
        self.sources[number] = name
        self.values[name] = Value(number, self.tensor(name).channel_axes)

    def source_of(self, value: Value) -> str:
        """The source that a value is made of, or ''."""
        waiting = [value.layer]
        while waiting:
            number = waiting.pop()
            if number in self.sources:
                return self.sources[number]
            waiting += self.layers[number].inputs
        return ''

    def new(self, layer: Layer) -> int:
        """The number of the value that a new layer makes."""
        self.layers.append(layer)
        return len(self.layers) - 1

    def apply(
        self, value: Value, config: Config, weights: Weights | None = None,
        *, axes: Sequence[int] | None = None,
    ) -> Value:  # fmt: skip
        """The output of a layer; `weights` by path below the layer's own, with the collection."""
        arrays = {name: np.ascontiguousarray(array) for name, array in (weights or {}).items()}
        made = self._push(Layer((value.layer,), dict(config), arrays))
        return Value(made, value.axes if axes is None else tuple(axes))

    def combine(self, values: Sequence[Value], combination: str) -> Value:
        if len(values) == 1:
            return values[0]
        layers = tuple(value.layer for value in values)
        return Value(self._push(Layer(layers, combination=combination)), values[0].axes)

    def ordered(self, name: str, axes: Sequence[int]) -> Value:
        """The value with exactly these axes in this order: others must have the size 1."""
        tensor = self.tensor(name)
        _check_channels(tensor, axes)
        return self.aligned(self.value(name), tensor, axes)

    def aligned(self, value: Value, tensor: Tensor, axes: Sequence[int]) -> Value:
        axes = tuple(axes)
        if value.axes == axes:
            return value
        left_out = [a for a in tensor.channel_axes if a not in axes and tensor.shape[a] != 1]
        if left_out:
            raise Refusal(
                f'axis {left_out[0]} of "{tensor.name}" cannot be dropped', 'check the axes'
            )
        kept = [axis for axis in value.axes if axis in axes]
        wanted = [axis for axis in axes if axis in value.axes]
        if len(kept) < len(value.axes):
            value = self.reshape(value, tensor.sizes(kept), kept)
        if kept != wanted:
            order = [2 + kept.index(axis) for axis in wanted]
            value = self.apply(value, {'type': 'Transpose', 'axes': order}, axes=wanted)
        if len(wanted) < len(axes):
            value = self.reshape(value, tensor.sizes(axes), axes)
        return value

    def with_axes(self, value: Value, tensor: Tensor, *axes: int) -> Value:
        """The value with these axes after its own, unless it has them."""
        missing = [axis for axis in axes if axis not in value.axes]
        return self.aligned(value, tensor, (*value.axes, *missing))

    def with_last(self, value: Value, tensor: Tensor, *axes: int) -> Value:
        """The value with these axes as its last."""
        _check_channels(tensor, axes)
        others = [axis for axis in value.axes if axis not in axes]
        return self.aligned(value, tensor, (*others, *axes))

    def reshape(self, value: Value, sizes: Sequence[int], axes: Sequence[int]) -> Value:
        config = {'type': 'Reshape', 'output_shape': [int(size) for size in sizes]}
        return self.apply(value, config, axes=axes)

    def function(self, value: Value, function: str | Config) -> Value:
        """A named function for which there is no layer type."""
        return self.apply(value, {'type': 'Function', 'function': function})

    def affine(
        self, value: Value, tensor: Tensor, scale: np.ndarray | None, shift: np.ndarray | None
    ) -> Value:
        """scale x + shift, both given with an axis for each of the value's, or as one number."""
        if scale is not None and (scale == 1).all():
            scale = None
        if scale is None and shift is None:
            return value
        if scale is not None and _is_number(scale) and shift is None:
            return self.scaled(value, float(np.ravel(scale)[0]))
        if shift is not None and _is_number(shift) and scale is None:
            return self.shifted(value, float(np.ravel(shift)[0]))
        if not value.axes:
            if scale is not None:
                value = self.scaled(value, float(np.ravel(scale)[0]))
            return value if shift is None else self.shifted(value, float(np.ravel(shift)[0]))
        parts = {'scale': scale, 'bias': shift}
        shape = np.broadcast_shapes(*(part.shape for part in parts.values() if part is not None))
        trimmed = _trim(shape)
        weights = {
            f'params.{name}': np.broadcast_to(part, shape).reshape(trimmed).astype(np.float32)
            for name, part in parts.items()
            if part is not None
        }
        config = {
            'type': 'Affine', 'shape': list(trimmed),
            'use_scale': scale is not None, 'use_bias': shift is not None,
        }  # fmt: skip
        return self.apply(value, config, weights)

    def scaled(self, value: Value, scale: float) -> Value:
        config = {'type': 'Scale', 'scale': json_number(scale)}
        return value if scale == 1 else self.apply(value, config)

    def shifted(self, value: Value, shift: float) -> Value:
        config = {'type': 'Add', 'shift': json_number(shift)}
        return value if shift == 0 else self.apply(value, config)


def _check_channels(tensor: Tensor, axes: Sequence[int]) -> None:
    for axis in axes:
        if 0 <= axis < len(tensor.shape) and tensor.roles[axis] is not Role.CHANNEL:
            raise Refusal(
                f'axis {axis} of "{tensor.name}" is of {tensor.roles[axis].value}',
                'name other axes by --time-axis or --batch-axis',
            )


def _is_number(array: np.ndarray) -> bool:
    return array.size == 1


def json_number(value: float) -> float | str:
    """A number in a config, which has infinities by name."""
    if math.isinf(value):
        return 'inf' if value > 0 else '-inf'
    return value


def _trim(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without the ones that broadcasting adds at its start."""
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape) - 1)
    return tuple(shape[first:])


Handler = Callable[[Builder, Node], None]
HANDLERS: dict[str, Handler] = {}


def operator(*names: str) -> Callable[[Handler], Handler]:
    """Registers the function that makes layers of these operators."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


def channel_axis(tensor: Tensor, axis: int, what: str) -> int:
    """The axis counted from the start, which must be one of channels."""
    axis %= len(tensor.shape)
    role = tensor.roles[axis]
    if role is Role.CHANNEL:
        return axis
    if role is Role.BATCH:
        raise Refusal(f'{what} goes over the batch', 'each item of a batch is computed alone')
    if role is Role.STEPS:
        raise Refusal(f'{what} goes over all items of the batch, which are the steps',
                      'each step is computed alone')  # fmt: skip
    raise no_bound(what, 'a running value or a window in its place can be streamed')


_CONTROL = {
    'If': ('it chooses by a condition that is no constant',
           'fix the input that it depends on by --fix, or choose by Where'),
    'Loop': ('it is a loop', 'export recurrences as LSTM or GRU, and windows without a loop'),
    'Scan': ('it is a loop over an axis', 'export recurrences as LSTM or GRU'),
}  # fmt: skip


def check_operators(graph: Graph) -> None:
    """Refuses control flow, and numbers of other kinds than those of layers."""
    for node in graph.nodes:
        where = {'node': node.name, 'operator': node.operator}
        if node.operator in _CONTROL:
            raise Refusal(*_CONTROL[node.operator], **where)
        if 'Quant' in node.operator or node.operator.endswith('Integer'):
            raise Refusal(
                'it computes with quantized numbers',
                'import the float model, and pack it with a weight format',
                **where,
            )


def add_nodes(builder: Builder) -> None:
    """Makes the layers of all nodes."""
    for node in builder.graph.nodes:
        handler = HANDLERS.get(node.operator)
        with naming(node.name, node.operator):
            if handler is None and '.' in node.operator:
                raise Refusal(
                    'there is no layer for this operator, which is none of ONNX',
                    'import the graph that was not optimized for a runtime',
                )
            if handler is None:
                raise Refusal(
                    'there is no layer for this operator',
                    'export the graph without it, or write it as a custom layer',
                )
            handler(builder, node)
