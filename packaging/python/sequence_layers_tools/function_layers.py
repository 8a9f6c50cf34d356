"""Turns Python functions of one step's channels into ordinary layers that compute the same.

  layers(lambda x: jnp.clip(x[..., :8], -3, 3), channel_shape=(16,), dtype='float32')

is a list of configs: a Slice, a Maximum, a Minimum. JAX traces the function, and each operation of the
trace becomes a layer; a product of two results becomes a Parallel, for example. The result should still
be compared with the function, which may do things that its trace does not show.

Needs the reference: requirements-reference.txt.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sequence_layers_tools import channel_conditions, channel_moves, channel_values, functions
from sequence_layers_tools.channel_values import Config, NanError, NotLayersError, Value

# Imported after `functions`, which makes the reference importable on Python 3.11.
from sequence_layers import jax as sl  # isort: skip

# Batch and time of two traces: values that depend on either differ between them.
_TRACES = ((2, 5), (3, 7))
_NOTHING = ('copy', 'copy_p', 'stop_gradient', 'optimization_barrier', 'reduce_precision', 'name')
_CALLS = ('jit', 'pjit', 'closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call', 'remat',
          'remat2', 'checkpoint')  # fmt: skip
_FUNCTIONS = ('sin', 'cos', 'floor', 'ceil', 'sign')
_ARITHMETIC = ('add', 'add_any', 'sub', 'mul', 'div', 'max', 'min', 'pow', 'clamp')
# Advice on operations that no layer does.
_INSTEAD = {
    'conv_general_dilated': 'convolutions are layers with weights, such as Conv1D and Conv2D',
    'cumlogsumexp': 'take the logarithm of the cumsum of exponentials',
    'dot_general': 'products with a matrix are layers with weights: Dense, DenseShaped or EinsumDense',
    'scan': 'loops over steps are recurrent layers, such as RNN',
    'sort': 'Max, Min and Argmax find the extremes',
    'top_k': 'Max and Argmax find the largest',
    'while': 'loops over steps are recurrent layers, such as RNN',
}


@dataclasses.dataclass(frozen=True)
class _Failure:
    """A result that no layer makes. That is an error once something needs it."""

    error: NotLayersError


class _Nothing:
    """An array without elements, such as the padding by no element of an axis."""


class _Mask:
    """The mask of a function of sequences, possibly broadcast."""


class _Trace:
    """The values of one trace by their variables."""

    def __init__(self, batch: int, time: int):
        self.moves = channel_moves.Moves(batch, time)
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
            return self.moves.split(equation, given[0])
        if any(isinstance(v, _Mask) for v in given):
            return [self._masked(name, given)]
        if (conditions := _selection(equation, name, given)) is not None:
            return [conditions]
        return [self._one(equation, name, given)]

    def _without_nothing(self, name: str, given: list[Any]) -> Any:
        some = [v for v in given if not isinstance(v, _Nothing)]
        if name != 'concatenate' or len(some) != 1:
            raise NotLayersError('it works on arrays without elements')
        return some[0]

    def _call(self, equation: Any, given: list[Any]) -> list[Any]:
        params, name = equation.params, equation.params.get('name')
        if name == 'remainder' and isinstance(given[1], np.ndarray):
            divisor = channel_values.constant(given[1], given[0])
            return [given[0].then({'type': 'Mod', 'divisor': divisor})]
        if name == 'floor_divide' and isinstance(given[1], np.ndarray):
            aval = equation.outvars[0].aval
            return [
                channel_values.floor_divided(*given, self.moves.channels(aval.shape), aval.dtype)
            ]
        if _is_logaddexp(equation) and any(isinstance(v, Value) for v in given):
            channels = self.moves.channels(equation.outvars[0].aval.shape)
            return [channel_values.log_of_two_exponentials(given, channels)]
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
            if isinstance(value, Value) and isinstance(zeros, np.ndarray) and not zeros.any():
                return value.then({'type': 'MaskInvalid'})
        raise NotLayersError(f'"{name}" of the mask is no layer')

    def _one(self, equation: Any, name: str, given: list[Any]) -> Value:
        aval = equation.outvars[0].aval
        values = [v for v in given if isinstance(v, Value)]
        if name in _NOTHING:
            return values[0]
        if name in channel_values.POINTWISE:
            return values[0].then(*channel_values.POINTWISE[name])
        if name == 'integer_pow':
            return values[0].then({'type': 'Power', 'power': equation.params['y']})
        if name == 'convert_element_type':
            if equation.invars[0].aval.dtype == aval.dtype:
                return values[0]
            return values[0].then({'type': 'Cast', 'dtype': aval.dtype.name})
        if name == 'select_n' and isinstance(given[0], np.ndarray) and given[0].ndim == 0:
            return given[1 + int(given[0])]
        channels = self.moves.channels(aval.shape)
        if name in _ARITHMETIC:
            return channel_values.arithmetic(name, given, channels)
        for rule in (self._function, self._condition, self.moves.result):
            result = rule(equation, name, given, channels)
            if result is not None:
                return result
        instead = f': {_INSTEAD[name]}' if name in _INSTEAD else ''
        raise NotLayersError(f'no layer does "{name}"{instead}')

    def _function(
        self, equation: Any, name: str, given: list[Any], channels: tuple[int, ...]
    ) -> Value | None:
        """Functions of one or two numbers."""
        dtype = equation.invars[0].aval.dtype
        if name in _FUNCTIONS:
            return channel_values.function_of_dtype(given[0], name, dtype)
        if name == 'round':
            to_even = equation.params['rounding_method'] == jax.lax.RoundingMethod.TO_NEAREST_EVEN
            return channel_values.rounded(given[0], to_even)
        if name == 'tan':
            sine, cosine = (channel_values.apply_function(given[0], f) for f in ('sin', 'cos'))
            return channel_values.of_two('div', sine, cosine)
        if name in ('asinh', 'acosh', 'atanh'):
            return channel_values.inverse_hyperbolic(name, given[0])
        if name == 'cbrt':
            return channel_values.cube_root(given[0])
        if name in ('asin', 'acos'):
            return channel_values.inverse_sine_or_cosine(name, given[0])
        if name == 'complex':
            return channel_values.complex_number(given, channels)
        if name == 'atan2':
            return channel_values.angle(*given, channels)
        if name == 'rem' and isinstance(given[1], np.ndarray):
            return channel_values.truncated_remainder(given[0], given[1], channels)
        return None

    def _condition(
        self, equation: Any, name: str, given: list[Any], channels: tuple[int, ...]
    ) -> Value | None:
        dtype = equation.invars[-1].aval.dtype
        if name in channel_conditions.COMPARISONS:
            return channel_conditions.compared(name, given, channels, dtype)
        if name in ('not', 'and', 'or', 'xor'):
            return channel_conditions.logic(name, given, channels, dtype)
        if name == 'is_finite':
            return channel_conditions.finite(given[0], dtype)
        if name == 'select_n' and isinstance(given[0], channel_conditions.FirstCondition):
            return channel_conditions.selected(given[0], given[1:], channels, dtype)
        if name == 'select_n':
            if len(given) != 3 or equation.invars[0].aval.dtype != np.bool_:
                raise NotLayersError('no layer selects by number: nest jnp.where')
            return channel_conditions.choice(*given, channels, dtype)
        return None


def _selection(equation: Any, name: str, given: list[Any]) -> Any:
    """Conditions stacked along a new first axis, or where the first of them is; None otherwise."""
    params = equation.params
    if name == 'stack' and params['axis'] == 0 and equation.outvars[0].aval.dtype == np.bool_:
        return channel_conditions.Conditions(given)
    if name == 'argmax' and isinstance(given[0], channel_conditions.Conditions):
        if params['axes'] == (0,):
            return channel_conditions.FirstCondition(given[0])
    if any(isinstance(v, channel_conditions.Conditions) for v in given):
        raise NotLayersError(f'no layer does "{name}" of conditions')
    return None


def _is_logaddexp(equation: Any) -> bool:
    """JAX keeps the name of such a function only for its error messages."""
    called = equation.params.get('call_jaxpr')
    source = getattr(getattr(called, 'jaxpr', None), 'debug_info', None)
    return source is not None and source.func_name == 'logaddexp'


def _traced(
    function: Callable,
    channel_shape: tuple[int, ...],
    dtype: Any,
    steps: tuple[int, int],
    sequence_input: bool,
) -> Value:
    x = jax.ShapeDtypeStruct((*steps, *channel_shape), dtype)
    given = [Value((), tuple(channel_shape))]
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
    if not isinstance(results[0], Value):
        raise NotLayersError('it gives a constant')
    if sequence_input and not isinstance(results[1], _Mask):
        raise NotLayersError('it changes the mask')
    return channel_values.broadcast(results[0], trace.moves.channels(closed.out_avals[0].shape))


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
    named = guess = None
    is_plain = not sequence_input and jnp.issubdtype(dtype, jnp.floating)
    if is_plain:
        named = functions.named(function)
        if named is not None and channel_values.has_type(named):
            return channel_values.function_layer(named)
        guess = named or functions.recognized(function)
    try:
        traced, error = _of_traces(function, channel_shape, dtype, sequence_input), None
    except NotLayersError as reason:
        traced, error = None, reason
    if isinstance(error, NanError) and named is None:
        raise error  # a function recognized by its results for numbers would ignore it
    if guess is not None and channel_values.has_type(guess):
        return channel_values.function_layer(guess)
    if is_plain and (axis := _softmax_axis(function, channel_shape)) is not None:
        return [{'type': 'Softmax', 'axis': axis}]
    if traced is not None:
        return traced
    if guess is None:
        raise error
    return list(channel_values.apply_function(Value((), tuple(channel_shape)), guess).layers)


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
