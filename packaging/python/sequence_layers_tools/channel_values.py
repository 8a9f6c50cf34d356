"""Results of channels in a trace, and what layers make of them.

A `Value` is the output of some layers for a model's input. Each operation on values gives a value
with more layers: slices, sums, products of two results as a Parallel, and so on.

Needs the reference: requirements-reference.txt.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

Config = dict[str, Any]
# The maximum number of layers that one copy or choice of channels may become.
_MAX_PARTS = 64

NEGATIVE = {'type': 'Scale', 'scale': -1}
# Products with -i and i, of complex numbers.
_TURN_BACK = {'type': 'Scale', 'scale': {'complex': [0, -1]}}
_TURN = {'type': 'Scale', 'scale': {'complex': [0, 1]}}
# A cast to real numbers keeps the real part.
_REAL = {'type': 'Cast', 'dtype': 'float32'}
_COMPLEX = {'type': 'Cast', 'dtype': 'complex64'}
_IMAGINARY = (_TURN_BACK, _REAL)
_HALF = {'type': 'Scale', 'scale': 0.5}
# The smallest normal float32: it keeps the logarithm of 0 finite and changes no larger number.
_TINY = float(np.finfo(np.float32).tiny)


def _mean_of_exponentials(*after: Config) -> Config:
    """The mean of e^x and e^-x, the latter with layers after it."""
    negative = [NEGATIVE, {'type': 'Exp'}, *after]
    branches = [{'type': 'Exp'}, {'type': 'Serial', 'layers': negative}]
    return {'type': 'Parallel', 'combination': 'mean', 'layers': branches}


POINTWISE = {
    'abs': [{'type': 'Abs'}],
    'atan': [_COMPLEX, _TURN, {'type': 'Add', 'shift': 1}, {'type': 'Log'}, *_IMAGINARY],
    'conj': [
        {
            'type': 'Parallel',
            'combination': 'add',
            'layers': [
                _REAL,
                {'type': 'Serial', 'layers': [*_IMAGINARY, _COMPLEX, _TURN_BACK]},
            ],
        }
    ],
    'cosh': [_mean_of_exponentials()],
    'exp': [{'type': 'Exp'}],
    'exp2': [{'type': 'Scale', 'scale': math.log(2)}, {'type': 'Exp'}],
    'imag': _IMAGINARY,
    'expm1': [{'type': 'Exp'}, {'type': 'Add', 'shift': -1}],
    'log': [{'type': 'Log'}],
    'log1p': [{'type': 'Add', 'shift': 1}, {'type': 'Log'}],
    'logistic': [{'type': 'Sigmoid'}],
    'real': [_REAL],
    'neg': [NEGATIVE],
    'rsqrt': [{'type': 'Power', 'power': -0.5}],
    'sqrt': [{'type': 'Power', 'power': 0.5}],
    'sinh': [_mean_of_exponentials(NEGATIVE)],
    'square': [{'type': 'Power', 'power': 2}],
    'tanh': [{'type': 'Tanh'}],
}
# Layer types that apply one named function.
_FUNCTION_TYPES = {
    'elu': 'Elu', 'gelu': 'Gelu', 'leaky_relu': 'LeakyRelu', 'relu': 'Relu', 'sigmoid': 'Sigmoid',
    'silu': 'Swish', 'softplus': 'Softplus', 'swish': 'Swish', 'tanh': 'Tanh', 'abs': 'Abs',
    'exp': 'Exp', 'log': 'Log', 'identity': 'Identity',
}  # fmt: skip


class NotLayersError(ValueError):
    """The reason why ordinary layers cannot compute a function."""


class NanError(NotLayersError):
    """A function that gives NaN another treatment than numbers, which no layer does."""


@dataclasses.dataclass(frozen=True)
class Value:
    """A result of the trace: the output of these layers for the input.

    `channels` may have sizes of one, or lack dimensions, where the array of the trace has the size
    to which they are broadcast.
    """

    layers: tuple[Config, ...]
    channels: tuple[int, ...]

    def then(self, *layers: Config, channels: tuple[int, ...] | None = None) -> 'Value':
        return Value((*self.layers, *layers), self.channels if channels is None else channels)

    def reshaped(self, channels: tuple[int, ...]) -> 'Value':
        if channels == self.channels:
            return self
        return self.then({'type': 'Reshape', 'output_shape': list(channels)}, channels=channels)


def function_layer(function: str | Config) -> list[Config]:
    """Layers that apply a named function to channels of at least one dimension."""
    call = function if isinstance(function, dict) else {'function': function}
    name = call['function']
    if name == 'square':
        return [{'type': 'Power', 'power': 2}]
    if has_type(function):
        return [
            {'type': _FUNCTION_TYPES[name]} | {k: v for k, v in call.items() if k != 'function'}
        ]
    # f(x) times one, as only gates can apply any named function.
    one = _serial([{'type': 'Minimum', 'minimum': 1}, {'type': 'Maximum', 'maximum': 1}])
    both = {'type': 'Parallel', 'combination': 'concat', 'layers': [{'type': 'Identity'}, one]}
    return [both, {'type': 'GatedUnit', 'feature_activation': function, 'gate_activation': None}]


def has_type(function: str | Config) -> bool:
    """Whether there is a layer type that applies only this function."""
    name = function['function'] if isinstance(function, dict) else function
    return name == 'square' or name in _FUNCTION_TYPES


def _serial(layers: Sequence[Config]) -> Config:
    if len(layers) == 1:
        return layers[0]
    return {'type': 'Serial', 'layers': list(layers)} if layers else {'type': 'Identity'}


def _number(value: np.ndarray, keeps_shape: bool = False) -> Any:
    """A constant in a config; float32 numbers become the shortest decimals."""
    if not keeps_shape and value.size and (value == value.flat[0]).all():
        value = value.flat[0]
    if np.iscomplexobj(value):
        return {'complex': _number(np.stack([value.real, value.imag], -1), keeps_shape=True)}
    if np.issubdtype(value.dtype, np.integer) or value.dtype == np.bool_:
        return np.asarray(value).astype(np.int64).tolist()
    return np.vectorize(_decimal, otypes=[object])(np.asarray(value, np.float32)).tolist()


def _decimal(value: np.float32) -> float | str:
    shortest = float(str(value))
    return shortest if math.isfinite(shortest) else str(shortest)


def apply_function(value: Value, function: str | Config) -> Value:
    layers = function_layer(function)
    if len(layers) == 1 or value.channels:
        return value.then(*layers)
    return value.reshaped((1,)).then(*layers).reshaped(())


def sliced(value: Value, ranges: list[tuple[int, int, int]], channels: tuple[int, ...]) -> Value:
    slices = [
        {'slice': [None, None, None] if whole == (0, size, 1) else list(whole)}
        for whole, size in zip(ranges, value.channels, strict=True)
    ]
    return value.then({'type': 'Slice', 'slices': slices}, channels=channels)


def part(value: Value, axis: int, begin: int, end: int) -> Value:
    """These channels of an axis."""
    ranges = [(0, size, 1) for size in value.channels]
    ranges[axis] = (begin, end, 1)
    return sliced(value, ranges, (*value.channels[:axis], end - begin, *value.channels[axis + 1 :]))


def _as_sum_or_product(name: str, b: Value) -> tuple[str, Value]:
    """A difference from, or a quotient by, b as a sum or product with the second result."""
    if name == 'sub':
        return 'add', b.then(NEGATIVE)
    if name == 'div':
        return 'mul', b.then({'type': 'Power', 'power': -1})
    return name, b


def of_two(name: str, a: Value, b: Value) -> Value:
    """The sum or product of two results; layers that both share run once."""
    name, b = _as_sum_or_product(name, b)
    if name == 'mul' and a == b:
        return a.then({'type': 'Power', 'power': 2})
    channels = tuple(np.broadcast_shapes(a.channels, b.channels))
    if name in ('max', 'min'):
        layer = {'type': name.capitalize(), 'axis': 2}
        return _parallel([a, b], 'stack', (2, *channels)).then(layer, channels=channels)
    combination = {'add': 'add', 'add_any': 'add', 'mul': 'product'}.get(name)
    if combination is None:
        raise NotLayersError(f'no layer does "{name}" of two results')
    return _parallel([a, b], combination, channels)


def angle(y: Any, x: Any, channels: tuple[int, ...]) -> Value:
    """The angle of the complex number with these imaginary and real parts."""
    is_both = isinstance(x, Value) and isinstance(y, Value) and x.layers[-1:] == (_REAL,)
    if is_both and y.layers == (*x.layers[:-1], *_IMAGINARY):
        number = Value(x.layers[:-1], x.channels)
    else:
        number = complex_number([x, y], channels)
    return number.then({'type': 'Add', 'shift': _TINY}, {'type': 'Log'}, *_IMAGINARY)


def transposed(value: Value, order: list[int]) -> Value:
    if order == sorted(order):
        return value
    layer = {'type': 'Transpose', 'axes': [axis + 2 for axis in order]}
    return value.then(layer, channels=tuple(value.channels[axis] for axis in order))


def _parallel(values: list[Value], combination: str, channels: tuple[int, ...]) -> Value:
    common = 0
    while all(len(v.layers) > common for v in values) and all(
        v.layers[common] == values[0].layers[common] for v in values
    ):
        common += 1
    branches = [_serial(v.layers[common:]) for v in values]
    layer = {'type': 'Parallel', 'combination': combination, 'layers': branches}
    return Value((*values[0].layers[:common], layer), channels)


def moved(value: Value, source: int, destination: int) -> Value:
    if source == destination:
        return value
    axes = list(range(len(value.channels)))
    axes.insert(destination, axes.pop(source))
    return transposed(value, axes)


def product_of(values: list[Value]) -> Value:
    """The product of values of one shape."""
    if len(values) > _MAX_PARTS:
        raise NotLayersError(f'it has {len(values)} factors, {_MAX_PARTS} at most')
    return values[0] if len(values) == 1 else _parallel(values, 'product', values[0].channels)


def concatenated(values: list[Value], axis: int, channels: tuple[int, ...]) -> Value:
    if len(values) > _MAX_PARTS:
        raise NotLayersError(f'it has {len(values)} parts, {_MAX_PARTS} at most')
    if len(values) == 1:
        return values[0]
    last = len(channels) - 1
    parts = [moved(value, axis, last) for value in values]
    order = [*channels[:axis], *channels[axis + 1 :], channels[axis]]
    return moved(_parallel(parts, 'concat', tuple(order)), last, axis)


def padded(value: Value, axis: int, before: int, after: int, with_what: np.ndarray) -> Value:
    if not before + after:
        return value
    pad = filled(part(value, axis, 0, 1), with_what)
    sizes = list(value.channels)
    sizes[axis] += before + after
    return concatenated([pad] * before + [value] + [pad] * after, axis, tuple(sizes))


def filled(value: Value, constant: np.ndarray) -> Value:
    """A constant, made of any channels of the value: no layer makes output without input."""
    if constant.shape not in ((), value.channels):
        ranges = [(0, 1, 1)] * len(value.channels)
        one = sliced(value, ranges, (1,) * len(ranges)) if ranges else value
        value = broadcast(one.reshaped((1,) * constant.ndim), constant.shape)
    if np.iscomplexobj(constant):
        value = value.then(_REAL)
    number = _number(constant.real)
    value = value.then(
        {'type': 'Minimum', 'minimum': number},
        {'type': 'Maximum', 'maximum': number},
    )
    if constant.imag.any():
        imaginary = _number(np.asarray(1j * constant.imag, np.complex64))
        value = value.then(_COMPLEX, {'type': 'Add', 'shift': imaginary})
    return value


def broadcast(value: Value, channels: tuple[int, ...]) -> Value:
    """The value with all channels present that were so far only assumed by broadcasting."""
    value = value.reshaped((1,) * (len(channels) - len(value.channels)) + value.channels)
    for axis, size in enumerate(channels):
        if value.channels[axis] != size:
            sizes = (*value.channels[:axis], size, *value.channels[axis + 1 :])
            value = concatenated([value] * size, axis, sizes)
    return value


def chosen(value: Value, indices: np.ndarray) -> Value:
    """The channels of the value with these flat indices."""
    own = np.arange(math.prod(value.channels)).reshape(value.channels)
    for axis, size in enumerate(value.channels):
        if indices.ndim != own.ndim:
            break
        where = own.take(0, axis) if size else own
        picked = [(indices.take(i, axis) - where) for i in range(indices.shape[axis])]
        step = own.take(1, axis).flat[0] - where.flat[0] if size > 1 else 1
        at = [int(p.flat[0]) // int(step) for p in picked if p.size]
        if len(at) != len(picked) or max(at, default=0) >= size:
            continue
        if np.array_equal(own.take(at, axis), indices):
            parts = [part(value, axis, i, i + 1) for i in at]
            return concatenated(parts, axis, indices.shape)
    raise NotLayersError('it chooses channels on more than one axis')


def constant(array: np.ndarray, value: Value) -> Any:
    """A constant to be combined with the value, broadcast to the value's channels."""
    if array.ndim > len(value.channels):
        lead, channels = array.shape[: array.ndim - len(value.channels)], value.channels
        flat = array.reshape(-1, *array.shape[len(lead) :])
        if not (flat == flat[:1]).all() and not np.isnan(flat).any():
            raise NotLayersError('it has a constant that is not the same at each step')
        array = flat[0] if len(flat) else array.reshape(channels)
    return _number(array)


def arithmetic(name: str, given: list[Any], channels: tuple[int, ...]) -> Value:
    if name == 'clamp':
        low, value, high = given
        above = arithmetic('max', [value, low], channels)
        return arithmetic('min', [above, high], channels)
    a, b = given
    if isinstance(b, np.ndarray):
        return with_constant(name, a, b, channels)
    if isinstance(a, np.ndarray):
        if name == 'pow':
            return _power_of_constant(a, b, channels)
        return with_constant(*_as_sum_or_product(name, b), a, channels)
    return of_two(name, a, b)


def with_constant(name: str, value: Value, array: np.ndarray, channels: tuple[int, ...]) -> Value:
    if not isinstance(array, np.ndarray):
        raise NotLayersError(f'no layer does "{name}" of two results')
    if array.size > 1 and value.channels != channels:
        value = broadcast(value, channels)
    if (name, str(array)) in (('max', '-inf'), ('min', 'inf')):
        return value
    number = constant(array, value)
    if name == 'pow':
        if not isinstance(number, int | float):
            raise NotLayersError('it takes each channel to another power')
        return value.then({'type': 'Power', 'power': number})
    if name in ('sub', 'div'):
        if name == 'div' and not jnp.issubdtype(array.dtype, jnp.inexact):
            raise NotLayersError('no layer divides integers')
        wide = np.complex128 if np.iscomplexobj(array) else np.float64
        with np.errstate(divide='ignore'):
            inverse = -array if name == 'sub' else 1 / array.astype(wide)
        number = constant(inverse.astype(array.dtype), value)
    kind, field = {
        'add': ('Add', 'shift'), 'add_any': ('Add', 'shift'), 'sub': ('Add', 'shift'),
        'mul': ('Scale', 'scale'), 'div': ('Scale', 'scale'), 'max': ('Maximum', 'maximum'),
        'min': ('Minimum', 'minimum'),
    }[name]  # fmt: skip
    return value.then({'type': kind, field: number})


def _power_of_constant(array: np.ndarray, value: Value, channels: tuple[int, ...]) -> Value:
    if np.iscomplexobj(array) or not (array > 0).all():
        raise NotLayersError('no layer takes a constant that is not positive to a power')
    logarithm = np.asarray(np.log(array.astype(np.float64)), array.dtype)
    return with_constant('mul', value, logarithm, channels).then({'type': 'Exp'})


def complex_number(given: list[Any], channels: tuple[int, ...]) -> Value:
    real, imaginary = given
    if isinstance(imaginary, np.ndarray):
        return with_constant('add', real.then(_COMPLEX), np.asarray(1j * imaginary), channels)
    turned = imaginary.then(_COMPLEX, _TURN)
    if isinstance(real, np.ndarray):
        return with_constant('add', turned, np.asarray(real, np.complex64), channels)
    return of_two('add', real, turned)


def function_of_dtype(value: Value, name: str, dtype: Any) -> Value:
    """A function that keeps the dtype of integers."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return apply_function(value, name)
    back = {'type': 'Cast', 'dtype': np.dtype(dtype).name}
    return apply_function(value.then(_REAL), name).then(back)


def rounded(value: Value, to_even: bool) -> Value:
    """The nearest integer; of two as near, the even one or the one away from zero."""
    if to_even:
        return apply_function(value, 'round')
    above = value.then({'type': 'Abs'}, {'type': 'Add', 'shift': 0.5})
    return of_two('mul', apply_function(value, 'sign'), apply_function(above, 'floor'))


def truncated_remainder(value: Value, divisor: np.ndarray, channels: tuple[int, ...]) -> Value:
    """The remainder with the sign of the value, as C's fmod."""
    if not jnp.issubdtype(divisor.dtype, jnp.floating):
        raise NotLayersError('no layer does "rem" of integers: use jnp.mod')
    if divisor.size > 1:
        value = broadcast(value, channels)
    remainder = value.then(
        {'type': 'Abs'}, {'type': 'Mod', 'divisor': constant(abs(divisor), value)}
    )
    return of_two('mul', apply_function(value, 'sign'), remainder)


def floor_divided(
    value: Value, divisor: np.ndarray, channels: tuple[int, ...], dtype: Any
) -> Value:
    if not jnp.issubdtype(dtype, jnp.floating):
        raise NotLayersError('no layer divides integers')
    divisor = divisor.astype(dtype)
    if divisor.size > 1:
        value = broadcast(value, channels)
    remainder = value.then({'type': 'Mod', 'divisor': constant(divisor, value)})
    whole = of_two('sub', value, remainder)
    return apply_function(with_constant('div', whole, divisor, channels), 'round')


def log_of_two_exponentials(given: list[Any], channels: tuple[int, ...]) -> Value:
    """log(e^a + e^b) = max(a, b) + softplus(-|a - b|)."""
    difference = arithmetic('sub', given, channels)
    small = difference.then({'type': 'Abs'}, NEGATIVE, {'type': 'Softplus'})
    return of_two('add', arithmetic('max', given, channels), small)


def inverse_sine_or_cosine(name: str, value: Value) -> Value:
    """The angle whose sine or cosine the value is: of a point on the unit circle."""
    complement = value.then(NEGATIVE, {'type': 'Add', 'shift': 1})
    other = of_two('mul', complement, value.then({'type': 'Add', 'shift': 1}))
    other = other.then({'type': 'Power', 'power': 0.5})
    points = (value, other) if name == 'asin' else (other, value)
    return angle(*points, value.channels)


def inverse_hyperbolic(name: str, value: Value) -> Value:
    """The logarithms that asinh, acosh and atanh are."""
    if name == 'atanh':
        below = value.then(NEGATIVE, *POINTWISE['log1p'])
        return of_two('sub', value.then(*POINTWISE['log1p']), below).then(_HALF)
    size = value.then({'type': 'Abs'}) if name == 'asinh' else value
    shift = {'asinh': 1, 'acosh': -1}[name]
    root = size.then(*POINTWISE['square'], {'type': 'Add', 'shift': shift}, *POINTWISE['sqrt'])
    result = of_two('add', size, root).then({'type': 'Log'})
    return of_two('mul', apply_function(value, 'sign'), result) if name == 'asinh' else result


def cube_root(value: Value) -> Value:
    root = value.then({'type': 'Abs'}, {'type': 'Power', 'power': 1 / 3})
    return of_two('mul', apply_function(value, 'sign'), root)
