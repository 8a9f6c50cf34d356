"""Turns Python functions of one step's channels into ordinary layers that compute the same.

  layers(lambda x: jnp.clip(x[..., :8], -3, 3), channel_shape=(16,), dtype='float32')

is a list of configs: a Slice, a Maximum, a Minimum. JAX traces the function, and each operation of the
trace becomes a layer; a product of two results becomes a Parallel, for example. The result should still
be compared with the function, which may do things that its trace does not show.

Needs the reference: requirements-reference.txt.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sequence_layers_tools import functions

# Imported after `functions`, which makes the reference importable on Python 3.11.
from sequence_layers import jax as sl  # isort: skip

Config = dict[str, Any]
# Batch and time of two traces: values that depend on either differ between them.
_TRACES = ((2, 5), (3, 7))
# The maximum number of layers that one copy or choice of channels may become.
_MAX_PARTS = 64

# Products with -i and i, of complex numbers.
_TURN_BACK = {'type': 'Scale', 'scale': {'complex': [0, -1]}}
_TURN = {'type': 'Scale', 'scale': {'complex': [0, 1]}}
# A cast to real numbers keeps the real part.
_REAL = {'type': 'Cast', 'dtype': 'float32'}
_COMPLEX = {'type': 'Cast', 'dtype': 'complex64'}
_IMAGINARY = (_TURN_BACK, _REAL)
# The smallest normal float32: it keeps the logarithm of 0 finite and changes no larger number.
_TINY = float(np.finfo(np.float32).tiny)

_POINTWISE = {
    'abs': [{'type': 'Abs'}],
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
    'cosh': [
        {
            'type': 'Parallel',
            'combination': 'mean',
            'layers': [
                {'type': 'Exp'},
                {'type': 'Serial', 'layers': [{'type': 'Scale', 'scale': -1}, {'type': 'Exp'}]},
            ],
        }
    ],
    'exp': [{'type': 'Exp'}],
    'exp2': [{'type': 'Scale', 'scale': math.log(2)}, {'type': 'Exp'}],
    'imag': _IMAGINARY,
    'expm1': [{'type': 'Exp'}, {'type': 'Add', 'shift': -1}],
    'log': [{'type': 'Log'}],
    'log1p': [{'type': 'Add', 'shift': 1}, {'type': 'Log'}],
    'logistic': [{'type': 'Sigmoid'}],
    'real': [_REAL],
    'neg': [{'type': 'Scale', 'scale': -1}],
    'rsqrt': [{'type': 'Power', 'power': -0.5}],
    'sqrt': [{'type': 'Power', 'power': 0.5}],
    'square': [{'type': 'Power', 'power': 2}],
    'tanh': [{'type': 'Tanh'}],
}
_NOTHING = ('copy', 'copy_p', 'stop_gradient', 'optimization_barrier', 'reduce_precision', 'name')
_CALLS = ('jit', 'pjit', 'closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call', 'remat',
          'remat2', 'checkpoint')  # fmt: skip
_REDUCTIONS = {'reduce_sum': 'Sum', 'reduce_max': 'Max', 'reduce_min': 'Min'}
# Layer types that apply one named function.
_FUNCTION_TYPES = {
    'elu': 'Elu', 'gelu': 'Gelu', 'leaky_relu': 'LeakyRelu', 'relu': 'Relu', 'sigmoid': 'Sigmoid',
    'silu': 'Swish', 'softplus': 'Softplus', 'swish': 'Swish', 'tanh': 'Tanh', 'abs': 'Abs',
    'exp': 'Exp', 'log': 'Log', 'identity': 'Identity',
}  # fmt: skip


class NotLayersError(ValueError):
    """The reason why ordinary layers cannot compute a function."""


@dataclasses.dataclass(frozen=True)
class _Value:
    """A result of the trace: the output of these layers for the input.

    `channels` may have sizes of one, or lack dimensions, where the array of the trace has the size
    to which they are broadcast.
    """

    layers: tuple[Config, ...]
    channels: tuple[int, ...]

    def then(self, *layers: Config, channels: tuple[int, ...] | None = None) -> '_Value':
        return _Value((*self.layers, *layers), self.channels if channels is None else channels)

    def reshaped(self, channels: tuple[int, ...]) -> '_Value':
        if channels == self.channels:
            return self
        return self.then({'type': 'Reshape', 'output_shape': list(channels)}, channels=channels)


@dataclasses.dataclass(frozen=True)
class _Failure:
    """A result that no layer makes. That is an error once something needs it."""

    error: NotLayersError


class _Nothing:
    """An array without elements, such as the padding by no element of an axis."""


class _Mask:
    """The mask of a function of sequences, possibly broadcast."""


def function_layer(function: str | Config) -> list[Config]:
    """Layers that apply a named function to channels of at least one dimension."""
    call = function if isinstance(function, dict) else {'function': function}
    name = call['function']
    if name == 'square':
        return [{'type': 'Power', 'power': 2}]
    if has_type(function):
        return [{'type': _FUNCTION_TYPES[name]} | {k: v for k, v in call.items() if k != 'function'}]
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


class _Trace:
    """The values of one trace by their variables."""

    def __init__(self, batch: int, time: int):
        self._steps = (batch, time)
        self._values: dict[Any, Any] = {}

    def run(self, closed: Any, given: Sequence[Any]) -> list[Any]:
        jaxpr = closed.jaxpr
        self._values |= dict(zip(jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
        self._values |= dict(zip(jaxpr.invars, given, strict=True))
        for equation in jaxpr.eqns:
            results = self._results(equation)
            self._values |= dict(zip(equation.outvars, results, strict=True))
        return [self._read(variable) for variable in jaxpr.outvars]

    def _read(self, variable: Any) -> Any:
        if isinstance(variable, jax.extend.core.Literal):
            return np.asarray(variable.val, variable.aval.dtype)
        return self._values[variable]

    def _results(self, equation: Any) -> list[Any]:
        try:
            return self._equation(equation)
        except NotLayersError as error:
            return [_Nothing() if 0 in v.aval.shape else _Failure(error) for v in equation.outvars]

    def _equation(self, equation: Any) -> list[Any]:
        name, given = equation.primitive.name, [self._read(v) for v in equation.invars]
        for value in given:
            if isinstance(value, _Failure):
                raise value.error
        if any(isinstance(v, _Nothing) for v in given):
            return [self._without_nothing(name, given)]
        if all(isinstance(v, np.ndarray) for v in given):
            out = equation.primitive.bind(*given, **equation.params)
            many = equation.primitive.multiple_results
            return [np.asarray(v) for v in (out if many else [out])]
        if name in _CALLS:
            return self._call(equation, given)
        if name == 'split':
            return self._split(equation, given[0])
        if any(isinstance(v, _Mask) for v in given):
            return [self._masked(name, given)]
        return [self._one(equation, name, given)]

    def _without_nothing(self, name: str, given: list[Any]) -> Any:
        some = [v for v in given if not isinstance(v, _Nothing)]
        if name != 'concatenate' or len(some) != 1:
            raise NotLayersError('it works on arrays without elements')
        return some[0]

    def _call(self, equation: Any, given: list[Any]) -> list[Any]:
        params, name = equation.params, equation.params.get('name')
        if name == 'remainder' and isinstance(given[1], np.ndarray):
            divisor = self._constant(given[1], given[0])
            return [given[0].then({'type': 'Mod', 'divisor': divisor})]
        if name == '_one_hot' and len(given) == 1:
            aval = equation.outvars[0].aval
            layer = {'type': 'OneHot', 'depth': aval.shape[-1], 'compute_dtype': aval.dtype.name}
            if given[0].channels == tuple(aval.shape[2:-1]):
                return [given[0].then(layer, channels=tuple(aval.shape[2:]))]
        inner = params.get('jaxpr', params.get('call_jaxpr'))
        if not hasattr(inner, 'consts'):
            inner = jax.extend.core.ClosedJaxpr(inner, [])
        return _Trace(*self._steps).run(inner, given)

    def _masked(self, name: str, given: list[Any]) -> Any:
        """An operation on the mask: it may be broadcast, and may select between values and zero."""
        if name in ('broadcast_in_dim', 'reshape', 'copy'):
            return given[0]
        if name == 'select_n' and isinstance(given[0], _Mask):
            _, zeros, value = given
            if isinstance(value, _Value) and isinstance(zeros, np.ndarray) and not zeros.any():
                return value.then({'type': 'MaskInvalid'})
        raise NotLayersError(f'"{name}" of the mask is no layer')

    def _channels(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The channels of an array in the trace, which must keep batch and time."""
        if tuple(shape[:2]) != self._steps:
            raise NotLayersError(f'it gives {list(shape)} of batch and time {list(self._steps)}')
        return tuple(shape[2:])

    def _constant(self, array: np.ndarray, value: _Value) -> Any:
        """A constant to be combined with the value, broadcast to the value's channels."""
        if array.ndim > len(value.channels):
            lead, channels = array.shape[: array.ndim - len(value.channels)], value.channels
            flat = array.reshape(-1, *array.shape[len(lead) :])
            if not (flat == flat[:1]).all() and not np.isnan(flat).any():
                raise NotLayersError('it has a constant that is not the same at each step')
            array = flat[0] if len(flat) else array.reshape(channels)
        return _number(array)

    def _one(self, equation: Any, name: str, given: list[Any]) -> _Value:
        aval = equation.outvars[0].aval
        values = [v for v in given if isinstance(v, _Value)]
        if name in _NOTHING:
            return values[0]
        if name in _POINTWISE:
            return values[0].then(*_POINTWISE[name])
        if name == 'integer_pow':
            return values[0].then({'type': 'Power', 'power': equation.params['y']})
        if name in ('sin', 'cos'):
            return _apply_function(values[0], name)
        if name == 'tan':
            return _of_two('div', _apply_function(values[0], 'sin'), _apply_function(values[0], 'cos'))
        if name == 'complex':
            return self._complex(given, self._channels(aval.shape))
        if name == 'atan2':
            return _angle(*given)
        if name == 'convert_element_type':
            if equation.invars[0].aval.dtype == aval.dtype:
                return values[0]
            return values[0].then({'type': 'Cast', 'dtype': aval.dtype.name})
        if name in ('add', 'add_any', 'sub', 'mul', 'div', 'max', 'min', 'pow', 'clamp'):
            return self._arithmetic(name, given, self._channels(aval.shape))
        if name == 'select_n' and isinstance(given[0], np.ndarray) and given[0].ndim == 0:
            return given[1 + int(given[0])]
        channels = self._channels(aval.shape)
        shaping = getattr(self, f'_shape_{name}', None)
        if shaping is not None:
            return shaping(equation, values[0], channels)
        if name in _REDUCTIONS:
            return self._reduce(equation, self._whole(equation.invars[0], values[0]), channels)
        if name in ('concatenate', 'stack') and len(values) == len(given):
            return self._concatenate(equation, values, channels)
        if name == 'dot_general' and len(values) == 2:
            return self._product(equation, values, channels)
        if name == 'dot_general':
            raise NotLayersError(
                'products with a matrix are layers with weights: Dense, DenseShaped or EinsumDense'
            )
        if len(values) == 1:
            return self._choice(equation, given, self._whole(equation.invars[0], values[0]))
        raise NotLayersError(f'no layer does "{name}"')

    def _arithmetic(self, name: str, given: list[Any], channels: tuple[int, ...]) -> _Value:
        if name == 'clamp':
            low, value, high = given
            return self._with_constant('min', self._with_constant('max', value, low, channels), high,
                                       channels)  # fmt: skip
        a, b = given
        if isinstance(b, np.ndarray):
            return self._with_constant(name, a, b, channels)
        if isinstance(a, np.ndarray):
            if name == 'sub':
                name, b = 'add', b.then({'type': 'Scale', 'scale': -1})
            elif name == 'div':
                name, b = 'mul', b.then({'type': 'Power', 'power': -1})
            elif name == 'pow':
                return self._power_of_constant(a, b, channels)
            return self._with_constant(name, b, a, channels)
        return _of_two(name, a, b)

    def _with_constant(
        self, name: str, value: _Value, array: np.ndarray, channels: tuple[int, ...]
    ) -> _Value:
        if not isinstance(array, np.ndarray):
            raise NotLayersError(f'no layer does "{name}" of two results')
        if array.size > 1 and value.channels != channels:
            value = _broadcast(value, channels)
        if (name, str(array)) in (('max', '-inf'), ('min', 'inf')):
            return value
        constant = self._constant(array, value)
        if name == 'pow':
            if not isinstance(constant, int | float):
                raise NotLayersError('it takes each channel to another power')
            return value.then({'type': 'Power', 'power': constant})
        if name in ('sub', 'div'):
            if name == 'div' and not jnp.issubdtype(array.dtype, jnp.inexact):
                raise NotLayersError('no layer divides integers')
            wide = np.complex128 if np.iscomplexobj(array) else np.float64
            with np.errstate(divide='ignore'):
                inverse = -array if name == 'sub' else 1 / array.astype(wide)
            constant = self._constant(inverse.astype(array.dtype), value)
        kind, field = {
            'add': ('Add', 'shift'), 'add_any': ('Add', 'shift'), 'sub': ('Add', 'shift'),
            'mul': ('Scale', 'scale'), 'div': ('Scale', 'scale'), 'max': ('Maximum', 'maximum'),
            'min': ('Minimum', 'minimum'),
        }[name]  # fmt: skip
        return value.then({'type': kind, field: constant})

    def _power_of_constant(
        self, array: np.ndarray, value: _Value, channels: tuple[int, ...]
    ) -> _Value:
        if np.iscomplexobj(array) or not (array > 0).all():
            raise NotLayersError('no layer takes a constant that is not positive to a power')
        logarithm = np.asarray(np.log(array.astype(np.float64)), array.dtype)
        return self._with_constant('mul', value, logarithm, channels).then({'type': 'Exp'})

    def _complex(self, given: list[Any], channels: tuple[int, ...]) -> _Value:
        real, imaginary = given
        if isinstance(imaginary, np.ndarray):
            return self._with_constant('add', real.then(_COMPLEX), 1j * imaginary, channels)
        turned = imaginary.then(_COMPLEX, _TURN)
        if isinstance(real, np.ndarray):
            return self._with_constant('add', turned, real + np.complex64(0), channels)
        return _of_two('add', real, turned)

    def _product(self, equation: Any, values: list[_Value], channels: tuple[int, ...]) -> _Value:
        """A product of two results, summed over the axes that it contracts."""
        contracted, batched = equation.params['dimension_numbers']
        self._keeps_steps(all(tuple(axes[:2]) == (0, 1) for axes in batched))
        variables = equation.invars
        free = [
            [a for a in range(2, v.aval.ndim) if a not in own and a not in same]
            for v, own, same in zip(variables, contracted, batched, strict=True)
        ]
        operands = []
        for i, (variable, value) in enumerate(zip(variables, values, strict=True)):
            shape = variable.aval.shape
            order = [*batched[i][2:], *free[i], *contracted[i]]
            value = _transposed(self._whole(variable, value), [int(axis) - 2 for axis in order])
            groups = batched[i][2:], free[i], contracted[i]
            sizes = [[shape[axis] for axis in axes] for axes in groups]
            # The free axes of the first come before those of the second, as in the result.
            before, after = (0, len(free[1])) if i == 0 else (len(free[0]), 0)
            sizes[1] = [1] * before + sizes[1] + [1] * after
            operands.append(value.reshaped(tuple(sum(sizes, []))))
        product = _of_two('mul', *operands)
        count = len(contracted[0])
        if not count:
            return product
        axes = list(range(2 + len(product.channels) - count, 2 + len(product.channels)))
        return product.then({'type': 'Sum', 'axis': axes}, channels=channels)

    def _whole(self, variable: Any, value: _Value) -> _Value:
        """The value broadcast to its shape in the trace."""
        return _broadcast(value, self._channels(variable.aval.shape))

    def _shape_reshape(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        return self._whole(equation.invars[0], value).reshaped(channels)

    def _shape_squeeze(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        return self._whole(equation.invars[0], value).reshaped(channels)

    def _shape_expand_dims(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        return self._whole(equation.invars[0], value).reshaped(channels)

    def _shape_broadcast_in_dim(
        self, equation: Any, value: _Value, channels: tuple[int, ...]
    ) -> _Value:
        places = equation.params['broadcast_dimensions']
        self._keeps_steps(places[:2] == (0, 1))
        missing = len(equation.invars[0].aval.shape) - 2 - len(value.channels)
        sizes = (1,) * missing + value.channels
        placed = [1] * len(channels)
        for place, size in zip(places[2:], sizes, strict=True):
            placed[place - 2] = size
        return value.reshaped(tuple(placed))

    def _shape_transpose(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        order = equation.params['permutation']
        self._keeps_steps(tuple(order[:2]) == (0, 1))
        value = self._whole(equation.invars[0], value)
        axes = [int(axis) for axis in order[2:]]
        return value.then({'type': 'Transpose', 'axes': axes}, channels=channels)

    def _shape_slice(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        value, params = self._whole(equation.invars[0], value), equation.params
        strides = params['strides'] or (1,) * (2 + len(channels))
        bounds = zip(params['start_indices'], params['limit_indices'], strides, strict=True)
        ranges = [tuple(map(int, b)) for b in bounds]
        self._keeps_steps(ranges[:2] == [(0, size, 1) for size in self._steps])
        return _sliced(value, ranges[2:], channels)

    def _shape_rev(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        dimensions = equation.params['dimensions']
        self._keeps_steps(min(dimensions) >= 2)
        value = self._whole(equation.invars[0], value)
        slices = [
            {'slice': [None, None, -1 if axis + 2 in dimensions else None]}
            for axis in range(len(channels))
        ]
        return value.then({'type': 'Slice', 'slices': slices})

    def _shape_tile(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        copies = [int(n) for n in equation.params['reps']]
        self._keeps_steps(copies[:2] == [1, 1])
        value = self._whole(equation.invars[0], value)
        for axis, count in enumerate(copies[2:]):
            sizes = list(value.channels)
            sizes[axis] *= count
            value = _concatenated([value] * count, axis, tuple(sizes))
        return value

    def _shape_pad(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        padding = [tuple(map(int, p)) for p in equation.params['padding_config']]
        self._keeps_steps(padding[:2] == [(0, 0, 0)] * 2)
        value = self._whole(equation.invars[0], value)
        with_what = self._read(equation.invars[1])
        if not isinstance(with_what, np.ndarray):
            raise NotLayersError('it pads with what it has computed')
        for axis, (before, after, between) in enumerate(padding[2:]):
            if between:
                raise NotLayersError('no layer pads between channels')
            if min(before, after) < 0:
                size = value.channels[axis]
                ranges = [(0, s, 1) for s in value.channels]
                ranges[axis] = (max(0, -before), size - max(0, -after), 1)
                sizes = tuple(max(0, stop - start) for start, stop, _ in ranges)
                value = _sliced(value, ranges, sizes)
            value = _padded(value, axis, max(0, before), max(0, after), with_what)
        return value

    def _shape_argmax(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        value = self._whole(equation.invars[0], value)
        (axis,) = equation.params['axes']
        self._keeps_steps(axis >= 2)
        moved = _moved(value, axis - 2, len(value.channels) - 1)
        return moved.then({'type': 'Argmax'}, channels=channels)

    def _shape_argmin(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        negative = self._whole(equation.invars[0], value).then({'type': 'Scale', 'scale': -1})
        return self._shape_argmax(equation, negative, channels)

    def _split(self, equation: Any, value: _Value) -> list[_Value]:
        axis, value = equation.params['axis'], self._whole(equation.invars[0], value)
        self._keeps_steps(axis >= 2)
        parts, begin = [], 0
        for size in map(int, equation.params['sizes']):
            ranges = [(0, s, 1) for s in value.channels]
            ranges[axis - 2] = (begin, begin + size, 1)
            channels = tuple(stop - start for start, stop, _ in ranges)
            parts.append(_sliced(value, ranges, channels))
            begin += size
        return parts

    def _reduce(self, equation: Any, value: _Value, channels: tuple[int, ...]) -> _Value:
        axes = [int(axis) for axis in equation.params['axes']]
        self._keeps_steps(min(axes) >= 2)
        kind = _REDUCTIONS[equation.primitive.name]
        return value.then({'type': kind, 'axis': axes}, channels=channels)

    def _concatenate(
        self, equation: Any, values: list[_Value], channels: tuple[int, ...]
    ) -> _Value:
        is_stack = equation.primitive.name == 'stack'
        axis = equation.params['axis' if is_stack else 'dimension'] - 2
        self._keeps_steps(axis >= 0)
        whole = [self._whole(v, value) for v, value in zip(equation.invars, values, strict=True)]
        if is_stack:
            whole = [v.reshaped((*v.channels[:axis], 1, *v.channels[axis:])) for v in whole]
        return _concatenated(whole, axis, channels)

    def _choice(self, equation: Any, given: list[Any], value: _Value) -> _Value:
        """An operation that only selects channels, such as `jnp.take`: it is run on indices."""
        size = math.prod(value.channels)
        indices = np.arange(size, dtype=np.float32).reshape(1, 1, *value.channels)
        indices = np.broadcast_to(indices, (*self._steps, *value.channels))
        name = equation.primitive.name
        if name not in ('gather', 'dynamic_slice', 'take') or equation.primitive.multiple_results:
            raise NotLayersError(f'no layer does "{name}"')
        inputs = [indices if isinstance(v, _Value) else v for v in given]
        chosen = np.asarray(equation.primitive.bind(*map(jnp.asarray, inputs), **equation.params))
        self._channels(chosen.shape)
        if not (chosen == chosen[:1, :1]).all():  # also if one is NaN, for an index out of bounds
            raise NotLayersError(f'"{name}" mixes steps or leaves the channels')
        return _chosen(value, chosen[0, 0].astype(np.int64))

    def _keeps_steps(self, keeps: bool) -> None:
        if not keeps:
            raise NotLayersError('it mixes batch or time')


def _apply_function(value: _Value, function: str | Config) -> _Value:
    layers = function_layer(function)
    if len(layers) == 1 or value.channels:
        return value.then(*layers)
    return value.reshaped((1,)).then(*layers).reshaped(())


def _sliced(
    value: _Value, ranges: list[tuple[int, int, int]], channels: tuple[int, ...]
) -> _Value:
    slices = [
        {'slice': [None, None, None] if whole == (0, size, 1) else list(whole)}
        for whole, size in zip(ranges, value.channels, strict=True)
    ]
    return value.then({'type': 'Slice', 'slices': slices}, channels=channels)


def _of_two(name: str, a: _Value, b: _Value) -> _Value:
    """The sum or product of two results; layers that both share run once."""
    if name == 'sub':
        name, b = 'add', b.then({'type': 'Scale', 'scale': -1})
    elif name == 'div':
        name, b = 'mul', b.then({'type': 'Power', 'power': -1})
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


def _angle(y: Any, x: Any) -> _Value:
    """The angle of a complex number, if these are its imaginary and real parts."""
    is_both = isinstance(x, _Value) and isinstance(y, _Value) and x.layers[-1:] == (_REAL,)
    if not is_both or y.layers != (*x.layers[:-1], *_IMAGINARY):
        raise NotLayersError('no layer does "atan2" of other than the parts of a complex number')
    number = _Value(x.layers[:-1], x.channels)
    return number.then({'type': 'Add', 'shift': _TINY}, {'type': 'Log'}, *_IMAGINARY)


def _transposed(value: _Value, order: list[int]) -> _Value:
    if order == sorted(order):
        return value
    layer = {'type': 'Transpose', 'axes': [axis + 2 for axis in order]}
    return value.then(layer, channels=tuple(value.channels[axis] for axis in order))


def _parallel(values: list[_Value], combination: str, channels: tuple[int, ...]) -> _Value:
    common = 0
    while all(len(v.layers) > common for v in values) and all(
        v.layers[common] == values[0].layers[common] for v in values
    ):
        common += 1
    branches = [_serial(v.layers[common:]) for v in values]
    layer = {'type': 'Parallel', 'combination': combination, 'layers': branches}
    return _Value((*values[0].layers[:common], layer), channels)


def _moved(value: _Value, source: int, destination: int) -> _Value:
    if source == destination:
        return value
    axes = list(range(len(value.channels)))
    axes.insert(destination, axes.pop(source))
    return _transposed(value, axes)


def _concatenated(values: list[_Value], axis: int, channels: tuple[int, ...]) -> _Value:
    if len(values) > _MAX_PARTS:
        raise NotLayersError(f'it has {len(values)} parts, {_MAX_PARTS} at most')
    if len(values) == 1:
        return values[0]
    last = len(channels) - 1
    moved = [_moved(value, axis, last) for value in values]
    order = [*channels[:axis], *channels[axis + 1 :], channels[axis]]
    return _moved(_parallel(moved, 'concat', tuple(order)), last, axis)


def _padded(value: _Value, axis: int, before: int, after: int, with_what: np.ndarray) -> _Value:
    if not before + after:
        return value
    ranges = [(0, size, 1) for size in value.channels]
    ranges[axis] = (0, 1, 1)
    ones = (*value.channels[:axis], 1, *value.channels[axis + 1 :])
    # Any channel, replaced by the constant: no layer makes output without input.
    pad, is_complex = _sliced(value, ranges, ones), np.iscomplexobj(with_what)
    constant = _number(with_what.real)
    pad = pad.then(
        *([_REAL] if is_complex else []),
        {'type': 'Minimum', 'minimum': constant},
        {'type': 'Maximum', 'maximum': constant},
    )
    if with_what.imag.any():
        imaginary = _number(np.asarray(1j * with_what.imag, np.complex64))
        pad = pad.then(_COMPLEX, {'type': 'Add', 'shift': imaginary})
    sizes = list(value.channels)
    sizes[axis] += before + after
    return _concatenated([pad] * before + [value] + [pad] * after, axis, tuple(sizes))


def _broadcast(value: _Value, channels: tuple[int, ...]) -> _Value:
    """The value with all channels present that were so far only assumed by broadcasting."""
    value = value.reshaped((1,) * (len(channels) - len(value.channels)) + value.channels)
    for axis, size in enumerate(channels):
        if value.channels[axis] != size:
            sizes = (*value.channels[:axis], size, *value.channels[axis + 1 :])
            value = _concatenated([value] * size, axis, sizes)
    return value


def _chosen(value: _Value, indices: np.ndarray) -> _Value:
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
            parts = []
            for i in at:
                ranges = [(0, s, 1) for s in value.channels]
                ranges[axis] = (i, i + 1, 1)
                sizes = (*value.channels[:axis], 1, *value.channels[axis + 1 :])
                parts.append(_sliced(value, ranges, sizes))
            return _concatenated(parts, axis, indices.shape)
    raise NotLayersError('it chooses channels on more than one axis')


def _traced(
    function: Callable,
    channel_shape: tuple[int, ...],
    dtype: Any,
    steps: tuple[int, int],
    sequence_input: bool,
) -> _Value:
    x = jax.ShapeDtypeStruct((*steps, *channel_shape), dtype)
    given = [_Value((), tuple(channel_shape))]
    try:
        if sequence_input:
            given.append(_Mask())
            mask = jax.ShapeDtypeStruct(steps, np.bool_)

            def of_sequence(values, mask):
                y = function(sl.Sequence(values, mask))
                return y.values, y.mask

            closed = jax.make_jaxpr(of_sequence)(x, mask)
        else:
            closed = jax.make_jaxpr(function)(x)
    except NotLayersError:
        raise
    except Exception as error:  # user code may raise anything
        reason = str(error).strip().partition('\n')[0]
        raise NotLayersError(f'it fails for {list(x.shape)}: {reason}') from error
    if len(closed.out_avals) != 1 + sequence_input:
        raise NotLayersError(f'it gives {len(closed.out_avals)} arrays')
    trace = _Trace(*steps)
    results = trace.run(closed, given)
    for result in results:
        if isinstance(result, _Failure):
            raise result.error
    if not isinstance(results[0], _Value):
        raise NotLayersError('it gives a constant')
    if sequence_input and not isinstance(results[1], _Mask):
        raise NotLayersError('it changes the mask')
    return _broadcast(results[0], trace._channels(closed.out_avals[0].shape))


def layers(
    function: Callable,
    *,
    channel_shape: tuple[int, ...],
    dtype: Any = 'float32',
    sequence_input: bool = False,
) -> list[Config]:
    """Configs of layers that do what a function does with each step of [batch, time, channels...].

    Args:
      function: Takes an array or, with `sequence_input`, a `Sequence`.
      channel_shape: The channels of its input, or of the input of the layer that holds it.
      dtype: The dtype of that input.

    Raises:
      NotLayersError: The function has an operation that no layer does; the message names it.
    """
    name = None
    if not sequence_input and jnp.issubdtype(dtype, jnp.floating):
        name = functions.named(function) or functions.recognized(function)
        if name is not None and has_type(name):
            return function_layer(name)
        if (axis := _softmax_axis(function, channel_shape)) is not None:
            return [{'type': 'Softmax', 'axis': axis}]
    try:
        return _of_traces(function, channel_shape, dtype, sequence_input)
    except NotLayersError:
        if name is None:
            raise
    return list(_apply_function(_Value((), tuple(channel_shape)), name).layers)


def _of_traces(
    function: Callable, channel_shape: tuple[int, ...], dtype: Any, sequence_input: bool
) -> list[Config]:
    first, second = (
        _traced(function, channel_shape, jnp.dtype(dtype), steps, sequence_input)
        for steps in _TRACES
    )
    if first != second:
        raise NotLayersError('it depends on the size of the batch or on the number of steps')
    return list(first.layers) or [{'type': 'Identity'}]


def _softmax_axis(function: Callable, channel_shape: tuple[int, ...]) -> int | None:
    x = np.random.default_rng(0).standard_normal((1, 3, *channel_shape), np.float32)
    try:
        got = np.asarray(function(jnp.asarray(x)))
    except Exception:  # user code may raise anything
        return None
    for axis in range(2, x.ndim):
        if x.shape[axis] > 1 and got.shape == x.shape:
            if np.allclose(got, jax.nn.softmax(x, axis), rtol=1e-5, atol=1e-6):
                return axis - x.ndim
    return None
