"""Comparisons of channels, conditions, and the choice between results by a condition.

A condition is a `Value` whose last layer casts zeros and ones to bool.

Needs the reference: requirements-reference.txt.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sequence_layers_tools import channel_values
from sequence_layers_tools.channel_values import NEGATIVE, Config, NanError, NotLayersError, Value

Operand = Value | np.ndarray
Channels = tuple[int, ...]

COMPARISONS = ('eq', 'ne', 'lt', 'le', 'gt', 'ge')
_BOOL = {'type': 'Cast', 'dtype': 'bool'}
_FLOAT = {'type': 'Cast', 'dtype': 'float32'}
_NOT = (NEGATIVE, {'type': 'Add', 'shift': 1})
_RELU = {'type': 'Relu'}
# Turns ones and minus ones into infinities.
_INFINITE = {'type': 'Scale', 'scale': 'inf'}


def _flag(condition: Value) -> Value:
    """Ones where the condition holds, and zeros."""
    return condition.then(_FLOAT)


def compared(name: str, given: list[Operand], channels: Channels, dtype: Any) -> Value:
    """The condition `a name b` of operands of that dtype, by the sign of their difference."""
    if np.issubdtype(dtype, np.complexfloating):
        raise NotLayersError('no layer compares complex numbers')
    if all(isinstance(v, Value) for v in given) and given[0] == given[1]:
        raise NanError('it compares a result with itself, and no layer tells NaN from numbers')
    if dtype == np.bool_:
        given = [_flag(v) if isinstance(v, Value) else v.astype(np.float32) for v in given]
    if name in ('eq', 'ne') and any(np.isinf(v).any() for v in given if isinstance(v, np.ndarray)):
        return _with_infinity(name, given, channels, dtype)
    difference = channel_values.arithmetic('sub', given, channels)
    if not jnp.issubdtype(dtype, jnp.floating):
        difference = difference.then(_FLOAT)
    sign = channel_values.apply_function(difference, 'sign')
    layers: dict[str, tuple[Config, ...]] = {
        'ne': ({'type': 'Abs'},),
        'gt': (_RELU,),
        'lt': (NEGATIVE, _RELU),
    }
    layers |= {'eq': (*layers['ne'], *_NOT), 'le': (*layers['gt'], *_NOT)}
    layers |= {'ge': (*layers['lt'], *_NOT)}
    return sign.then(*layers[name], _BOOL)


def _with_infinity(name: str, given: list[Operand], channels: Channels, dtype: Any) -> Value:
    """Whether a value is infinite, told by the largest number: infinity minus itself is NaN."""
    value, infinity = given if isinstance(given[0], Value) else reversed(given)
    if not (infinity == infinity.flat[0]).all():
        raise NotLayersError('it compares with infinity in some channels only')
    largest = np.asarray(np.copysign(jnp.finfo(dtype).max, infinity.flat[0]), dtype)
    beyond = {'eq': ('gt', 'lt'), 'ne': ('le', 'ge')}[name][int(largest < 0)]
    return compared(beyond, [value, largest], channels, dtype)


def finite(value: Value, dtype: Any) -> Value:
    largest = np.asarray(jnp.finfo(dtype).max, dtype)
    return compared('le', [value.then({'type': 'Abs'}), largest], value.channels, dtype)


def logic(name: str, given: list[Operand], channels: Channels, dtype: Any) -> Value:
    """`not`, `and`, `or` and `xor` of conditions."""
    if dtype != np.bool_:
        raise NotLayersError(f'no layer does "{name}" of the bits of integers')
    if name == 'xor':
        return compared('ne', given, channels, dtype)
    flags = [_flag(v) if isinstance(v, Value) else v.astype(np.float32) for v in given]
    if name == 'not':
        return flags[0].then(*_NOT, _BOOL)
    extreme = {'and': 'min', 'or': 'max'}[name]
    return channel_values.arithmetic(extreme, flags, channels).then(_BOOL)


def any_or_all(name: str, condition: Value, axes: list[int], channels: Channels) -> Value:
    kind = {'reduce_or': 'Max', 'reduce_and': 'Min'}[name]
    return _flag(condition).then({'type': kind, 'axis': axes}, _BOOL, channels=channels)


def choice(
    condition: Operand, otherwise: Operand, chosen: Operand, channels: Channels, dtype: Any
) -> Value:
    """`chosen` where the condition holds, and `otherwise` elsewhere."""
    if isinstance(chosen, Value) and isinstance(otherwise, Value) and chosen == otherwise:
        return chosen
    if np.issubdtype(dtype, np.complexfloating):
        raise NotLayersError('no layer chooses between complex numbers')
    if jnp.issubdtype(dtype, jnp.floating):
        result = _choice_of_floats(condition, otherwise, chosen, channels)
        return result if dtype == np.float32 else result.then(_cast(dtype))
    return _choice_of_integers(condition, otherwise, chosen, channels, dtype)


class Conditions(tuple):
    """Conditions stacked before batch and time, as `jnp.select` does."""


class FirstCondition(tuple):
    """The position of the first of these conditions that holds, 0 if none does."""


def selected(
    first: FirstCondition, results: list[Operand], channels: Channels, dtype: Any
) -> Value:
    """The result at that position."""
    result = results[0]
    for condition, chosen in reversed(list(zip(first[1:], results[1:], strict=True))):
        result = choice(condition, result, chosen, channels, dtype)
    if isinstance(first[0], Value) or first[0].any():
        result = choice(first[0], result, results[0], channels, dtype)
    return result


def _cast(dtype: Any) -> Config:
    return {'type': 'Cast', 'dtype': np.dtype(dtype).name}


def _choice_of_floats(
    condition: Operand, otherwise: Operand, chosen: Operand, channels: Channels
) -> Value:
    """max(min(chosen, bound), min(otherwise, -bound)), with a bound of plus or minus infinity.

    It does not round, and an infinity that is not chosen does not reach it; NaN would.
    """
    for result in (otherwise, chosen):
        if isinstance(result, Value) and _state_after(result.layers) == _MAY_BE_NAN:
            raise NotLayersError(
                'what "where" does not choose may be NaN, a logarithm, a root or a quotient of any'
                ' number: choose its argument too, as in jnp.log(jnp.where(x > 0, x, 1))'
            )
    if isinstance(condition, np.ndarray):
        bound: Operand = np.where(condition, np.float32(np.inf), np.float32(-np.inf))
        opposite: Operand = -bound
    else:
        flag = _flag(condition)
        if _is_number(chosen, 1) and _is_number(otherwise, 0):
            return flag
        bound = flag.then({'type': 'Scale', 'scale': 2}, {'type': 'Add', 'shift': -1}, _INFINITE)
        opposite = flag.then({'type': 'Scale', 'scale': -2}, {'type': 'Add', 'shift': 1}, _INFINITE)
    kept = [_least(chosen, bound, channels), _least(otherwise, opposite, channels)]
    return channel_values.arithmetic('max', kept, channels)


def _is_number(operand: Operand, number: float) -> bool:
    return isinstance(operand, np.ndarray) and bool((operand == number).all())


def _least(a: Operand, b: Operand, channels: Channels) -> Operand:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.asarray(np.minimum(a.astype(np.float32), b))
    return channel_values.arithmetic('min', [a, b], channels)


def _choice_of_integers(
    condition: Operand, otherwise: Operand, chosen: Operand, channels: Channels, dtype: Any
) -> Value:
    """The sum of both, one of them times zero."""
    number = np.dtype(np.float32 if dtype == np.bool_ else dtype)

    def as_number(operand: Operand) -> Operand:
        if isinstance(operand, np.ndarray):
            return operand.astype(number)
        return operand if number == dtype else operand.then(_cast(number))

    def kept(operand: Operand, flag: Operand) -> Operand:
        if isinstance(operand, np.ndarray) and isinstance(flag, np.ndarray):
            return np.asarray(operand * flag)
        return channel_values.arithmetic('mul', [operand, flag], channels)

    if isinstance(condition, np.ndarray):
        flag: Operand = condition.astype(number)
        opposite: Operand = 1 - flag
    else:
        flag = condition.then(_cast(number))
        opposite = flag.then(*_NOT)
    parts = [kept(as_number(chosen), flag), kept(as_number(otherwise), opposite)]
    total = channel_values.arithmetic('add', parts, channels)
    return total.then(_BOOL) if dtype == np.bool_ else total


# Ranges of the numbers that layers may give, from the widest to the narrowest.
_MAY_BE_NAN, _MAY_BE_INFINITE, _ANY, _NOT_NEGATIVE, _POSITIVE = range(5)
_RANGES = {
    'Abs': _NOT_NEGATIVE, 'Exp': _POSITIVE, 'Relu': _NOT_NEGATIVE, 'Sigmoid': _POSITIVE,
    'Softmax': _POSITIVE, 'Softplus': _POSITIVE,
}  # fmt: skip
_KEEPING = 'Cast Max Min Reshape Slice Transpose Identity MaskInvalid'.split()


def _state_after(layers: tuple[Config, ...] | list[Config], state: int = _ANY) -> int:
    for layer in layers:
        state = _state_after_one(layer, state)
        if state == _MAY_BE_NAN:
            return state
    return state


def _state_after_one(layer: Config, state: int) -> int:
    kind = layer['type']
    if kind == 'Serial':
        return _state_after(layer['layers'], state)
    if kind == 'Parallel':
        return _state_after_branches(layer, state)
    if kind in _KEEPING:
        return state
    if kind in ('Add', 'Maximum', 'Minimum', 'Scale'):
        return _state_after_number(kind, next(v for k, v in layer.items() if k != 'type'), state)
    if state == _MAY_BE_INFINITE and kind != 'Abs':
        return _MAY_BE_NAN
    if kind == 'Power':
        return _state_after_power(layer['power'], state)
    if kind == 'Log':
        return _MAY_BE_NAN if state == _ANY else _ANY
    if kind in ('Mean', 'Sum'):
        return state
    return _RANGES.get(kind, _ANY)


def _state_after_branches(layer: Config, state: int) -> int:
    if _is_choice(layer):
        return _POSITIVE  # a choice is trusted to leave only valid arguments
    least = min(_state_after_one(branch, state) for branch in layer['layers'])
    mixes = layer['combination'] not in ('stack', 'concat')
    return _MAY_BE_NAN if mixes and least == _MAY_BE_INFINITE else least


def _state_after_power(power: float, state: int) -> int:
    if power != round(power) and state == _ANY:
        return _MAY_BE_NAN
    if power < 0 and state != _POSITIVE:
        return _MAY_BE_INFINITE
    return _NOT_NEGATIVE if state == _ANY and power % 2 == 0 else state


def _state_after_number(kind: str, number: Any, state: int) -> int:
    if isinstance(number, dict):
        return _ANY  # complex
    least = np.asarray(number, np.float32).min()
    if kind == 'Maximum':
        return _POSITIVE if least > 0 else max(state, _NOT_NEGATIVE if least == 0 else _ANY)
    if state <= _ANY or kind == 'Minimum':
        return min(state, _ANY)
    if kind == 'Add':
        return _ANY if least < 0 else _POSITIVE if least > 0 else state
    return state if least > 0 else _ANY


def _is_choice(layer: Config) -> bool:
    """Whether a Parallel compares bounds of infinity, as a choice does."""
    layers = layer.get('layers', ())
    return any(
        v == _INFINITE or v['type'] in ('Serial', 'Parallel') and _is_choice(v) for v in layers
    )
