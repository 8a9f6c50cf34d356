"""Comparisons, logic and choices: conditions are the numbers 0 and 1."""

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, operator
from sequence_layers_import.pointwise import (
    constant_along,
    expanded,
    field_of,
    joined,
    keep,
    of_one,
    with_constant,
)
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Tensor

_NEGATIVE: Config = {'type': 'Scale', 'scale': -1}
_NOT: tuple[Config, ...] = (_NEGATIVE, {'type': 'Add', 'shift': 1})
_RELU: Config = {'type': 'Relu'}
# Layers that make the result of a comparison from the sign of a difference.
_RESULTS: dict[str, tuple[Config, ...]] = {
    'Greater': (_RELU,),
    'Less': (_NEGATIVE, _RELU),
    'Equal': ({'type': 'Abs'}, *_NOT),
    'LessOrEqual': (_RELU, *_NOT),
    'GreaterOrEqual': (_NEGATIVE, _RELU, *_NOT),
}
_SWAPPED = {
    'Greater': 'Less',
    'Less': 'Greater',
    'Equal': 'Equal',
    'LessOrEqual': 'GreaterOrEqual',
    'GreaterOrEqual': 'LessOrEqual',
}


def _all(builder: Builder, value: Value, configs: tuple[Config, ...]) -> Value:
    for config in configs:
        value = builder.apply(value, config)
    return value


def _as_float(builder: Builder, value: Value, tensor: Tensor) -> Value:
    """Integers as floats; conditions are floats already."""
    if tensor.dtype.kind in 'iu':
        return builder.apply(value, {'type': 'Cast', 'dtype': 'float32'})
    return value


@operator(*_RESULTS)
def _compare(builder: Builder, node: Node) -> None:
    out, operator_name = builder.tensor(node.outputs[0]), node.operator
    if any(builder.tensor(name).dtype.kind not in 'fiub' for name in node.inputs):
        raise Refusal('it compares text', 'compare numbers')
    constants = [name for name in node.inputs if builder.graph.is_constant(name)]
    if not constants:
        values = [
            _as_float(builder, value, builder.tensor(name))
            for value, name in zip(joined(builder, node.inputs, out), node.inputs, strict=True)
        ]
        difference = builder.combine(values, 'subtract')
    else:
        x = next(name for name in node.inputs if name not in constants)
        if x != node.inputs[0]:
            operator_name = _SWAPPED[operator_name]
        value = of_one(builder, x, out)
        constant = constant_along(out, builder.graph.constant(constants[0]), value.axes)
        if operator_name == 'Equal' and _is_one_hot(builder.tensor(x), value, constant, out):
            keep(builder, node, _one_hot(builder, value, builder.tensor(x), constant))
            return
        value = expanded(builder, value, builder.tensor(x), out, constant)
        value = _as_float(builder, value, builder.tensor(x))
        difference = builder.affine(value, out, None, -constant.astype(np.float32))
    keep(
        builder, node, _all(builder, builder.function(difference, 'sign'), _RESULTS[operator_name])
    )


def _is_one_hot(tensor: Tensor, value: Value, constant: np.ndarray, out: Tensor) -> bool:
    """Whether integers are compared with 0, 1, 2... on a last axis of their own."""
    if tensor.dtype.kind not in 'iu' or not value.axes:
        return False
    last = len(out.shape) - 1
    return (
        last in value.axes
        and tensor.of_rank(len(out.shape)).shape[last] == 1
        and constant.size == out.shape[last]
        and np.array_equal(constant.ravel(), np.arange(constant.size))
    )


def _one_hot(builder: Builder, value: Value, tensor: Tensor, constant: np.ndarray) -> Value:
    last = max(value.axes)
    rest = tuple(axis for axis in value.axes if axis != last)
    position = value.axes.index(last)
    if position != len(value.axes) - 1:
        raise Refusal('its axis of classes is not the last', 'put classes last')
    value = builder.apply(value, {'type': 'Squeeze', 'axis': [2 + position]}, axes=rest)
    config = {'type': 'OneHot', 'depth': constant.size}
    return builder.apply(value, config, axes=(*rest, last))


@operator('Not')
def _not(builder: Builder, node: Node) -> None:
    keep(builder, node, _all(builder, builder.value(node.inputs[0]), _NOT))


@operator('import.Never')
def _never(builder: Builder, node: Node) -> None:
    """Whether a number is none, in what makes NaN of it anyway."""
    x = builder.tensor(node.inputs[0])
    sign = builder.function(_as_float(builder, builder.value(x.name), x), 'sign')
    keep(builder, node, builder.apply(sign, {'type': 'Scale', 'scale': 0}))


@operator('And', 'Or', 'Xor')
def _logic(builder: Builder, node: Node) -> None:
    out = builder.tensor(node.outputs[0])
    constants = [name for name in node.inputs if builder.graph.is_constant(name)]
    if len(constants) == 1:
        keep(builder, node, _logic_with_constant(builder, node, out, constants[0]))
        return
    values = joined(builder, node.inputs, out)
    if node.operator == 'Xor':
        difference = builder.combine(values, 'subtract')
        keep(builder, node, builder.apply(difference, {'type': 'Abs'}))
    else:
        how = 'minimum' if node.operator == 'And' else 'maximum'
        keep(builder, node, builder.combine(values, how))


def _logic_with_constant(builder: Builder, node: Node, out: Tensor, name: str) -> Value:
    value, constant = with_constant(builder, node, out, name)
    constant = constant.astype(np.float32)
    if node.operator == 'Xor':
        return builder.apply(builder.affine(value, out, None, -constant), {'type': 'Abs'})
    field = 'minimum' if node.operator == 'And' else 'maximum'
    return builder.apply(value, {'type': field.capitalize(), field: field_of(constant)})


@operator('import.DivideOrZero')
def _divide_or_zero(builder: Builder, node: Node) -> None:
    """a / b, or 0 where b is 0."""
    out = builder.tensor(node.outputs[0])
    dividend, divisor = joined(builder, node.inputs, out)
    other = builder.apply(builder.function(divisor, 'sign'), {'type': 'Abs'})
    safe = builder.combine([divisor, _all(builder, other, _NOT)], 'add')
    quotient = builder.combine([dividend, safe], 'divide')
    keep(builder, node, builder.combine([quotient, other], 'product'))


@operator('Where')
def _where(builder: Builder, node: Node) -> None:
    """max(min(a, bound), min(b, -bound)), where the bound is infinity with the condition's sign."""
    out, graph = builder.tensor(node.outputs[0]), builder.graph
    if graph.is_constant(node.inputs[0]):
        conditions = graph.folded_constants(node.inputs[0])
        found = {bool(c.all()) if c.all() or not c.any() else None for c in conditions}
        name = node.inputs[1 if found == {True} else 2]
        is_one = len(found) == 1 and None not in found
        if is_one and not graph.is_constant(name) and builder.tensor(name).shape == out.shape:
            keep(builder, node, builder.value(name))
            return
        raise Refusal('its condition is a constant', 'write it as a product and a sum')
    names = [name for name in node.inputs if not graph.is_constant(name)]
    values = dict(zip(names, joined(builder, names, out), strict=True))
    centred = builder.apply(values[node.inputs[0]], {'type': 'Add', 'shift': -0.5})
    bound = builder.apply(centred, {'type': 'Scale', 'scale': 'inf'})
    chosen = []
    for name, limit in zip(node.inputs[1:], (bound, builder.apply(bound, _NEGATIVE)), strict=True):
        if graph.is_constant(name):
            number = constant_along(out, graph.constant(name), limit.axes)
            config = {'type': 'Minimum', 'minimum': field_of(number.astype(np.float32))}
            chosen.append(builder.apply(limit, config))
        else:
            chosen.append(builder.combine([values[name], limit], 'minimum'))
    keep(builder, node, builder.combine(chosen, 'maximum'))
