"""Operators that compute each element on its own, and those that join two tensors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, json_number, operator
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import DTYPES, Node, Role, Tensor

_SIMPLE: dict[str, list[Config | str]] = {
    'Relu': [{'type': 'Relu'}],
    'Sigmoid': [{'type': 'Sigmoid'}],
    'Tanh': [{'type': 'Tanh'}],
    'Exp': [{'type': 'Exp'}],
    'Log': [{'type': 'Log'}],
    'Softplus': [{'type': 'Softplus'}],
    'Abs': [{'type': 'Abs'}],
    'Sqrt': [{'type': 'Power', 'power': 0.5}],
    'Reciprocal': [{'type': 'Power', 'power': -1.0}],
    'Neg': [{'type': 'Scale', 'scale': -1}],
    'Identity': [],
    'Dropout': [],
    'import.Swish': [{'type': 'Swish'}],
    'HardSwish': ['hard_swish'],
    'Softsign': ['soft_sign'],
    'Sin': ['sin'],
    'Cos': ['cos'],
    'Floor': ['floor'],
    'Ceil': ['ceil'],
    'Round': ['round'],
    'Sign': ['sign'],
    'Mish': ['mish'],
    'Erf': ['erf'],
    'Tan': ['tan'],
    'Asin': ['asin'],
    'Acos': ['acos'],
    'Atan': ['atan'],
    'Sinh': ['sinh'],
    'Cosh': ['cosh'],
    'Asinh': ['asinh'],
    'Acosh': ['acosh'],
    'Atanh': ['atanh'],
}  # fmt: skip


def keep(builder: Builder, node: Node, value: Value) -> None:
    builder.values[node.outputs[0]] = value


@operator(*_SIMPLE)
def _simple(builder: Builder, node: Node) -> None:
    value = builder.value(node.inputs[0])
    if node.operator == 'Dropout' and len(node.inputs) > 2 and node.inputs[2]:
        if builder.graph.constant(node.inputs[2]).any():
            raise Refusal('it drops numbers at random', 'export the model for inference')
    for config in _SIMPLE[node.operator]:
        if isinstance(config, str):
            value = builder.function(value, config)
        else:
            value = builder.apply(value, config)
    keep(builder, node, value)


@operator('LeakyRelu', 'Elu', 'Gelu', 'Selu', 'Celu', 'HardSigmoid', 'ThresholdedRelu')
def _with_parameter(builder: Builder, node: Node) -> None:
    value, alpha = builder.value(node.inputs[0]), node.attribute('alpha')
    if node.operator == 'LeakyRelu':
        slope = 0.01 if alpha is None else alpha
        value = builder.apply(value, {'type': 'LeakyRelu', 'negative_slope': slope})
    elif node.operator == 'Elu':
        value = builder.apply(value, {'type': 'Elu', 'alpha': 1.0 if alpha is None else alpha})
    elif node.operator == 'Gelu':
        approximate = node.attribute('approximate', 'none') == 'tanh'
        value = builder.apply(value, {'type': 'Gelu', 'approximate': approximate})
    elif node.operator == 'Selu':
        alpha = 1.67326319217681884765625 if alpha is None else alpha
        gamma = node.attribute('gamma', 1.05070102214813232421875)
        value = builder.scaled(builder.apply(value, {'type': 'Elu', 'alpha': alpha}), gamma)
    elif node.operator == 'Celu':
        alpha = 1.0 if alpha is None else alpha
        inner = builder.apply(builder.scaled(value, 1 / alpha), {'type': 'Elu', 'alpha': 1.0})
        value = builder.scaled(inner, alpha)
    elif node.operator == 'HardSigmoid':
        slope, shift = 0.2 if alpha is None else alpha, node.attribute('beta', 0.5)
        value = _clipped(builder, builder.shifted(builder.scaled(value, slope), shift), 0.0, 1.0)
    else:
        shifted = builder.shifted(value, -1.0 if alpha is None else -alpha)
        is_above = builder.apply(builder.function(shifted, 'sign'), {'type': 'Relu'})
        value = builder.combine([value, is_above], 'product')
    keep(builder, node, value)


def _clipped(builder: Builder, value: Value, low: float | None, high: float | None) -> Value:
    if low is not None and low > -np.finfo(np.float32).max:
        value = builder.apply(value, {'type': 'Maximum', 'maximum': low})
    if high is not None and high < np.finfo(np.float32).max:
        value = builder.apply(value, {'type': 'Minimum', 'minimum': high})
    return value


@operator('Clip')
def _clip(builder: Builder, node: Node) -> None:
    bounds: list[float | None] = [node.attribute('min'), node.attribute('max')]
    for i, name in enumerate(node.inputs[1:3]):
        if name:
            bounds[i] = float(np.ravel(builder.graph.constant(name))[0])
    keep(builder, node, _clipped(builder, builder.value(node.inputs[0]), bounds[0], bounds[1]))


@operator('PRelu')
def _prelu(builder: Builder, node: Node) -> None:
    value, tensor = builder.value(node.inputs[0]), builder.tensor(node.inputs[0])
    if builder.graph.is_constant(node.inputs[1]):
        slope = builder.graph.constant(node.inputs[1])
        if slope.size == 1:
            config = {'type': 'LeakyRelu', 'negative_slope': float(slope.ravel()[0])}
            keep(builder, node, builder.apply(value, config))
            return
        negative = builder.apply(value, {'type': 'Minimum', 'minimum': 0})
        aligned = constant_along(tensor, slope, value.axes)
        negative = builder.affine(negative, tensor, aligned, None)
    else:
        value, factor = joined(builder, node.inputs, builder.tensor(node.outputs[0]))
        negative = builder.apply(value, {'type': 'Minimum', 'minimum': 0})
        negative = builder.combine([negative, factor], 'product')
    positive = builder.apply(value, {'type': 'Relu'})
    keep(builder, node, builder.combine([positive, negative], 'add'))


@operator('Cast', 'CastLike')
def _cast(builder: Builder, node: Node) -> None:
    source, target = builder.tensor(node.inputs[0]), builder.tensor(node.outputs[0])
    value, dtype = builder.value(node.inputs[0]), DTYPES.get(target.dtype.kind)
    if dtype is None:
        raise Refusal(f'there is no dtype {target.dtype}', 'compute in float32 or int32')
    kept = 'float32' if source.dtype.kind == 'b' else DTYPES.get(source.dtype.kind)
    if dtype == 'bool':
        if source.dtype.kind != 'b':
            value = builder.apply(value, {'type': 'Cast', 'dtype': 'float32'})
            value = builder.apply(builder.function(value, 'sign'), {'type': 'Abs'})
    elif dtype != kept:
        value = builder.apply(value, {'type': 'Cast', 'dtype': dtype})
    keep(builder, node, value)


def constant_along(tensor: Tensor, constant: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """A constant that is broadcast to the tensor, with an axis for each of `axes`."""
    if constant.size == 1:
        return constant.reshape((1,) * len(axes))
    shape = (1,) * (len(tensor.shape) - constant.ndim) + constant.shape
    for axis, size in enumerate(shape):
        if size == 1 or axis in axes:
            continue
        if tensor.roles[axis] is Role.CHANNEL:
            raise Refusal('it broadcasts the input to a larger shape', 'repeat the input before')
        raise Refusal(
            f'its constant of shape {list(constant.shape)} differs from step to step',
            'a layer has the same weights at all steps',
        )
    array = constant.reshape(shape)
    others = [axis for axis in range(len(shape)) if axis not in axes]
    return array.transpose(*others, *axes).reshape([shape[axis] for axis in axes])


def operand(builder: Builder, name: str, out: Tensor) -> Value:
    """An input of a broadcasting operator, with the axes of the output."""
    value, tensor = builder.value(name), builder.tensor(name)
    rank = len(out.shape)
    by, roles = rank - len(tensor.shape), tensor.of_rank(rank).roles
    is_global = not tensor.is_timed and builder.graph.is_joined_with_time(name)
    for axis in out.axes(Role.TIME, Role.STEPS):
        if is_global:
            break
        if roles[axis] is not out.roles[axis]:
            raise Refusal(
                f'"{name}" is one value of the whole sequence, and is joined with each step',
                'a running value or a window in its place can be streamed',
            )
    value = Value(value.layer, tuple(axis + by for axis in value.axes))
    kept = [axis for axis in value.axes if out.roles[axis] is Role.CHANNEL]
    if len(kept) == len(value.axes):
        return value
    # An axis of one element, which is repeated for all items or steps of the output.
    return builder.reshape(value, tensor.of_rank(rank).sizes(kept), kept)


def joined(builder: Builder, names: Sequence[str], out: Tensor) -> list[Value]:
    """The inputs with the same axes in the same order, so that they broadcast as in ONNX."""
    values = [operand(builder, name, out) for name in names]
    longest = max(values, key=lambda value: len(value.axes))
    order, rank = _all_axes(longest, out), len(out.shape)
    return [
        builder.aligned(value, builder.tensor(name).of_rank(rank), order)
        for value, name in zip(values, names, strict=True)
    ]


_COMBINATIONS = {
    'Add': 'add',
    'Sub': 'subtract',
    'Mul': 'product',
    'Div': 'divide',
    'Sum': 'add',
    'Mean': 'mean',
    'Max': 'maximum',
    'Min': 'minimum',
}


@operator('Add', 'Sub', 'Mul', 'Div', 'Sum', 'Mean', 'Max', 'Min')
def _arithmetic(builder: Builder, node: Node) -> None:
    out = builder.tensor(node.outputs[0])
    constants = [name for name in node.inputs if builder.graph.is_constant(name)]
    if len(node.inputs) == 2 and len(constants) == 1:
        keep(builder, node, _with_constant(builder, node, out, constants[0]))
    elif constants:
        raise Refusal('it joins several tensors and constants', 'join two at a time')
    elif len(node.inputs) == 1:
        keep(builder, node, builder.value(node.inputs[0]))
    else:
        keep(builder, node, _of_values(builder, node, out))


def _of_values(builder: Builder, node: Node, out: Tensor) -> Value:
    if node.operator == 'Mul' and node.inputs[0] == node.inputs[1]:
        return builder.apply(builder.value(node.inputs[0]), {'type': 'Power', 'power': 2})
    if node.operator == 'Div' and out.dtype.kind != 'f':
        raise Refusal('there is no layer for this with integers', 'compute in float32')
    values = joined(builder, node.inputs, out)
    return builder.combine(values, _COMBINATIONS[node.operator])


def with_constant(builder: Builder, node: Node, out: Tensor, name: str) -> tuple[Value, np.ndarray]:
    """The two inputs of an operation with a constant, with the same axes."""
    x = next(i for i in node.inputs if i != name)
    value = of_one(builder, x, out)
    constant = constant_along(out, builder.graph.constant(name), value.axes)
    return expanded(builder, value, builder.tensor(x), out, constant), constant


def _with_constant(builder: Builder, node: Node, out: Tensor, name: str) -> Value:
    first = node.inputs[0] != name
    value, constant = with_constant(builder, node, out, name)
    if out.dtype.kind != 'f':
        return _integers(builder, node, value, constant, first)
    constant = constant.astype(np.float32)
    if node.operator == 'Add' or node.operator == 'Sum':
        return builder.affine(value, out, None, constant)
    if node.operator == 'Mul':
        return builder.affine(value, out, constant, None)
    if node.operator == 'Sub':
        if first:
            return builder.affine(value, out, None, -constant)
        return builder.affine(builder.scaled(value, -1), out, None, constant)
    if node.operator == 'Div':
        if first:
            return builder.affine(value, out, 1 / constant, None)
        inverse = builder.apply(value, {'type': 'Power', 'power': -1.0})
        return builder.affine(inverse, out, constant, None)
    field = {'Max': 'maximum', 'Min': 'minimum'}.get(node.operator)
    if field is None:
        raise Refusal('it averages with a constant', 'write it as a product and a sum')
    return builder.apply(value, {'type': field.capitalize(), field: field_of(constant)})


def field_of(constant: np.ndarray) -> Any:
    """A constant as JSON: one number or nested lists, with infinities by name."""

    def numbers(value: Any) -> Any:
        return [numbers(v) for v in value] if isinstance(value, list) else json_number(value)

    if constant.size and (constant == constant.ravel()[0]).all():
        return json_number(constant.ravel()[0].item())
    return numbers(constant.tolist())


def of_one(builder: Builder, name: str, out: Tensor) -> Value:
    """A value with all the axes of the output of its operation with a constant."""
    value, tensor = operand(builder, name, out), builder.tensor(name).of_rank(len(out.shape))
    return builder.aligned(value, tensor, _all_axes(value, out))


def _all_axes(value: Value, out: Tensor) -> tuple[int, ...]:
    missing = [a for a in out.channel_axes if a not in value.axes and out.shape[a] != 1]
    return (*value.axes, *missing)


def expanded(
    builder: Builder, value: Value, source: Tensor, out: Tensor, constant: np.ndarray
) -> Value:
    """Repeats the value where the constant has more channels."""
    shape = source.of_rank(len(out.shape)).shape
    for position, axis in enumerate(value.axes):
        if shape[axis] == 1 and constant.shape[position] > 1:
            value = repeat_axis(builder, value, position, constant.shape[position])
    return value


def repeat_axis(builder: Builder, value: Value, position: int, count: int) -> Value:
    """Repeats channels along one of the value's axes."""
    repeats = [count if i == position else 1 for i in range(len(value.axes))]
    return builder.apply(value, {'type': 'Tile', 'repeats': repeats})


def _integers(
    builder: Builder, node: Node, value: Value, constant: np.ndarray, first: bool
) -> Value:
    number: Any = constant.tolist() if constant.size > 1 else int(constant.ravel()[0])
    if node.operator == 'Add':
        return builder.apply(value, {'type': 'Add', 'shift': number})
    if node.operator == 'Mul':
        return builder.apply(value, {'type': 'Scale', 'scale': number})
    if node.operator == 'Sub' and first:
        return builder.apply(value, {'type': 'Add', 'shift': (-constant).tolist()})
    raise Refusal('there is no layer for this with integers', 'compute in float32')


@operator('Pow')
def _pow(builder: Builder, node: Node) -> None:
    base, out = node.inputs[0], builder.tensor(node.outputs[0])
    if builder.graph.is_constant(base):
        _exponential(builder, node, out, builder.graph.constant(base))
        return
    if not builder.graph.is_constant(node.inputs[1]):
        raise Refusal('its exponent is no constant', 'write it by Exp and Log')
    power = builder.graph.constant(node.inputs[1])
    value = builder.value(base)
    if power.size == 1:
        exponent = float(power.ravel()[0])
        if not math.isclose(exponent, 1.0):
            value = builder.apply(value, {'type': 'Power', 'power': exponent})
        keep(builder, node, value)
        return
    if (power == np.round(power)).any():
        raise Refusal('its exponents are several, with integers', 'use one for all channels')
    value = of_one(builder, base, out)
    exponents = constant_along(out, power.astype(np.float32), value.axes)
    value = expanded(builder, value, builder.tensor(base), out, exponents)
    value = builder.affine(builder.apply(value, {'type': 'Log'}), out, exponents, None)
    keep(builder, node, builder.apply(value, {'type': 'Exp'}))


def _exponential(builder: Builder, node: Node, out: Tensor, base: np.ndarray) -> None:
    """A positive number to the power of a result."""
    if base.size != 1 or not base > 0:
        raise Refusal('its base is not one positive number', 'write it by Exp')
    value = builder.scaled(of_one(builder, node.inputs[1], out), float(np.log(base.ravel()[0])))
    keep(builder, node, builder.apply(value, {'type': 'Exp'}))
