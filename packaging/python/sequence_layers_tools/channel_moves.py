"""Operations of a trace that move, copy, choose or reduce channels, as layers.

Needs the reference: requirements-reference.txt.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sequence_layers_tools import channel_conditions, channel_values
from sequence_layers_tools.channel_values import NotLayersError, Value

Channels = tuple[int, ...]

_REDUCTIONS = {'reduce_sum': 'Sum', 'reduce_max': 'Max', 'reduce_min': 'Min'}
# Running reductions: each channel's is that of the channels up to it.
_RUNNING = {'cumsum': 'Sum', 'cummax': 'Max', 'cummin': 'Min'}
# Updates of channels: the number that makes an update show, and the operation that it does with a
# channel, none if it replaces it.
_UPDATES = {'scatter': (0, None), 'scatter-add': (0, 'add'), 'scatter-mul': (1, 'mul')}


class Moves:
    """The rules, for a trace of this batch and time."""

    def __init__(self, batch: int, time: int):
        self._steps = (batch, time)

    def result(
        self, equation: Any, name: str, given: list[Any], channels: Channels
    ) -> Value | None:
        """The result of the operation for its operands; None if no rule is for it."""
        rule = getattr(self, f'_rule_{name.replace("-", "_")}', None)
        return None if rule is None else rule(equation, given, channels)

    def channels(self, shape: Sequence[int]) -> Channels:
        """The channels of an array in the trace, which must keep batch and time."""
        if tuple(shape[:2]) != self._steps:
            raise NotLayersError(f'it gives {list(shape)} of batch and time {list(self._steps)}')
        return tuple(shape[2:])

    def whole(self, variable: Any, value: Value) -> Value:
        """The value broadcast to its shape in the trace."""
        return channel_values.broadcast(value, self.channels(variable.aval.shape))

    def split(self, equation: Any, value: Value) -> list[Value]:
        axis, value = equation.params['axis'], self.whole(equation.invars[0], value)
        self._keeps_steps(axis >= 2)
        parts, begin = [], 0
        for size in map(int, equation.params['sizes']):
            parts.append(channel_values.part(value, axis - 2, begin, begin + size))
            begin += size
        return parts

    def _keeps_steps(self, keeps: bool) -> None:
        if not keeps:
            raise NotLayersError('it mixes batch or time')

    def _rule_reshape(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        return self.whole(equation.invars[0], given[0]).reshaped(channels)

    _rule_squeeze = _rule_expand_dims = _rule_reshape

    def _rule_broadcast_in_dim(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        value, places = given[0], equation.params['broadcast_dimensions']
        self._keeps_steps(places[:2] == (0, 1))
        missing = len(equation.invars[0].aval.shape) - 2 - len(value.channels)
        sizes = (1,) * missing + value.channels
        placed = [1] * len(channels)
        for place, size in zip(places[2:], sizes, strict=True):
            placed[place - 2] = size
        return value.reshaped(tuple(placed))

    def _rule_transpose(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        order = equation.params['permutation']
        self._keeps_steps(tuple(order[:2]) == (0, 1))
        value = self.whole(equation.invars[0], given[0])
        return channel_values.transposed(value, [int(axis) - 2 for axis in order[2:]])

    def _rule_slice(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        value, params = self.whole(equation.invars[0], given[0]), equation.params
        strides = params['strides'] or (1,) * (2 + len(channels))
        bounds = zip(params['start_indices'], params['limit_indices'], strides, strict=True)
        ranges = [tuple(map(int, b)) for b in bounds]
        self._keeps_steps(ranges[:2] == [(0, size, 1) for size in self._steps])
        return channel_values.sliced(value, ranges[2:], channels)

    def _rule_rev(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        dimensions = equation.params['dimensions']
        self._keeps_steps(min(dimensions) >= 2)
        value = self.whole(equation.invars[0], given[0])
        slices = [
            {'slice': [None, None, -1 if axis + 2 in dimensions else None]}
            for axis in range(len(channels))
        ]
        return value.then({'type': 'Slice', 'slices': slices})

    def _rule_tile(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        copies = [int(n) for n in equation.params['reps']]
        self._keeps_steps(copies[:2] == [1, 1])
        value = self.whole(equation.invars[0], given[0])
        for axis, count in enumerate(copies[2:]):
            sizes = list(value.channels)
            sizes[axis] *= count
            value = channel_values.concatenated([value] * count, axis, tuple(sizes))
        return value

    def _rule_pad(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        padding = [tuple(map(int, p)) for p in equation.params['padding_config']]
        self._keeps_steps(padding[:2] == [(0, 0, 0)] * 2)
        value, with_what = self.whole(equation.invars[0], given[0]), given[1]
        if not isinstance(with_what, np.ndarray):
            raise NotLayersError('it pads with what it has computed')
        for axis, (before, after, between) in enumerate(padding[2:]):
            if between:
                raise NotLayersError('no layer pads between channels')
            if min(before, after) < 0:
                size = value.channels[axis]
                begin, end = max(0, -before), size - max(0, -after)
                value = channel_values.part(value, axis, begin, max(begin, end))
            value = channel_values.padded(value, axis, max(0, before), max(0, after), with_what)
        return value

    def _rule_argmax(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        value = self.whole(equation.invars[0], given[0])
        (axis,) = equation.params['axes']
        self._keeps_steps(axis >= 2)
        moved = channel_values.moved(value, axis - 2, len(value.channels) - 1)
        return moved.then({'type': 'Argmax'}, channels=channels)

    def _rule_argmin(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        negative = self.whole(equation.invars[0], given[0]).then(channel_values.NEGATIVE)
        return self._rule_argmax(equation, [negative], channels)

    def _reduce(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        name, value = equation.primitive.name, self.whole(equation.invars[0], given[0])
        axes = [int(axis) for axis in equation.params['axes']]
        self._keeps_steps(min(axes) >= 2)
        if name not in _REDUCTIONS:
            return channel_conditions.any_or_all(name, value, axes, channels)
        return value.then({'type': _REDUCTIONS[name], 'axis': axes}, channels=channels)

    _rule_reduce_sum = _rule_reduce_max = _rule_reduce_min = _reduce
    _rule_reduce_or = _rule_reduce_and = _reduce

    def _rule_reduce_prod(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        value = self.whole(equation.invars[0], given[0])
        for axis in sorted(equation.params['axes'], reverse=True):
            self._keeps_steps(axis >= 2)
            without = (*value.channels[: axis - 2], *value.channels[axis - 1 :])
            value = channel_values.product_of(_parts(value, axis - 2)).reshaped(without)
        return value

    def _running(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        name, axis = equation.primitive.name, equation.params['axis']
        if axis < 2:
            raise NotLayersError(
                f'its "{name}" mixes batch or time: that needs a layer with a state'
            )
        value = self.whole(equation.invars[0], given[0])
        size, results = channels[axis - 2], []
        one = (*channels[: axis - 2], 1, *channels[axis - 1 :])
        without = (*channels[: axis - 2], *channels[axis - 1 :])
        for i in range(size):
            some = (i, size) if equation.params['reverse'] else (0, i + 1)
            part = channel_values.part(value, axis - 2, *some)
            if name == 'cumprod':
                result = channel_values.product_of(_parts(part, axis - 2))
            else:
                result = part.then({'type': _RUNNING[name], 'axis': axis}, channels=without)
            results.append(result.reshaped(one))
        return channel_values.concatenated(results, axis - 2, channels)

    _rule_cumsum = _rule_cummax = _rule_cummin = _rule_cumprod = _running

    def _concatenate(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        is_stack = equation.primitive.name == 'stack'
        axis = equation.params['axis' if is_stack else 'dimension'] - 2
        self._keeps_steps(axis >= 0)
        some = next(v for v in given if isinstance(v, Value))
        whole = []
        for variable, value in zip(equation.invars, given, strict=True):
            if isinstance(value, np.ndarray):
                value = channel_values.filled(some, self._of_each_step(value))
            value = self.whole(variable, value)
            if is_stack:
                value = value.reshaped((*value.channels[:axis], 1, *value.channels[axis:]))
            whole.append(value)
        return channel_values.concatenated(whole, axis, channels)

    _rule_concatenate = _rule_stack = _concatenate

    def _of_each_step(self, array: np.ndarray) -> np.ndarray:
        """The channels of an array that is the same at each step."""
        self.channels(array.shape)
        if not np.array_equal(array, np.broadcast_to(array[:1, :1], array.shape), equal_nan=True):
            raise NotLayersError('it has a constant that is not the same at each step')
        return array[0, 0]

    def _of_indices(self, equation: Any, given: list[Any], value: np.ndarray) -> np.ndarray:
        """The result of the operation for this array in place of the values."""
        inputs = [value if isinstance(v, Value) else v for v in given]
        name, inputs = equation.primitive.name, list(map(jnp.asarray, inputs))
        result = np.asarray(equation.primitive.bind(*inputs, **equation.params))
        self.channels(result.shape)
        if not (result == result[:1, :1]).all():  # also if one is NaN, for an index out of bounds
            raise NotLayersError(f'"{name}" mixes steps or leaves the channels')
        return result[0, 0]

    def _chosen(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        """An operation that only selects channels, such as `jnp.take`: it is run on indices."""
        if not isinstance(given[0], Value) or any(isinstance(v, Value) for v in given[1:]):
            raise NotLayersError('it chooses channels by a result')
        value = self.whole(equation.invars[0], given[0])
        indices = np.arange(math.prod(value.channels), dtype=np.float32).reshape(value.channels)
        chosen = self._of_indices(
            equation, given, np.broadcast_to(indices, (*self._steps, *indices.shape))
        )
        return channel_values.chosen(value, chosen.astype(np.int64))

    _rule_gather = _rule_dynamic_slice = _rule_take = _chosen

    def _updated(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        """An update of channels by constants, such as `x.at[..., 0].set(0)`: it is run on constants."""
        name = equation.primitive.name
        value, dtype = given[0], equation.outvars[0].aval.dtype
        if not isinstance(value, Value) or any(isinstance(v, Value) for v in given[1:]):
            raise NotLayersError('it updates channels by a result: use jnp.concatenate')
        unchanged, combine = _UPDATES[name]
        start = np.full((*self._steps, *channels), unchanged, dtype)
        update = self._of_indices(equation, given, start)
        if combine is not None:
            return channel_values.arithmetic(combine, [value, update], channels)
        other = self._of_indices(equation, given, start + np.asarray(1, dtype))
        value = channel_values.broadcast(value, channels)
        return channel_conditions.choice(update == other, value, update, channels, dtype)

    _rule_scatter = _rule_scatter_add = _rule_scatter_mul = _updated

    def _rule_fft(self, equation: Any, given: list[Any], channels: Channels) -> Value:
        (length, *more), kind = equation.params['fft_lengths'], equation.params['fft_type'].name
        self._keeps_steps(len(channels) > len(more))
        if more:
            raise NotLayersError('no layer transforms more than one axis: take one after the other')
        layer = {'type': kind}
        if kind == 'IRFFT':
            layer['fft_length'] = int(length)
        return self.whole(equation.invars[0], given[0]).then(layer, channels=channels)

    def _rule_dot_general(
        self, equation: Any, values: list[Any], channels: Channels
    ) -> Value | None:
        """A product of two results, summed over the axes that it contracts."""
        if not all(isinstance(v, Value) for v in values):
            return None
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
            value = channel_values.transposed(
                self.whole(variable, value), [int(axis) - 2 for axis in order]
            )
            groups = batched[i][2:], free[i], contracted[i]
            sizes = [[shape[axis] for axis in axes] for axes in groups]
            # The free axes of the first come before those of the second, as in the result.
            before, after = (0, len(free[1])) if i == 0 else (len(free[0]), 0)
            sizes[1] = [1] * before + sizes[1] + [1] * after
            operands.append(value.reshaped(tuple(sum(sizes, []))))
        product = channel_values.of_two('mul', *operands)
        count = len(contracted[0])
        if not count:
            return product
        axes = list(range(2 + len(product.channels) - count, 2 + len(product.channels)))
        return product.then({'type': 'Sum', 'axis': axes}, channels=channels)


def _parts(value: Value, axis: int) -> list[Value]:
    """The channels of an axis, one by one."""
    return [channel_values.part(value, axis, i, i + 1) for i in range(value.channels[axis])]
