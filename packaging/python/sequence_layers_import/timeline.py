"""Operators that move or sum up steps: parts of time, zeros before or after it, windows, running sums."""

from collections.abc import Sequence

import numpy as np

from sequence_layers_import.builder import Builder, Value, channel_axis
from sequence_layers_import.pointwise import keep
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Role, Tensor


def reduced(builder: Builder, value: Value, statistic: str, extent: str) -> Value:
    """A statistic of steps: those so far, or all, for each step or as a single one."""
    return builder.apply(value, {'type': 'ReduceTime', 'statistic': statistic, 'extent': extent})


def over_time(builder: Builder, node: Node, value: Value, statistic: str, name: str = '') -> Value:
    """A statistic of all steps: one step, or one for each step where it is joined with them."""
    if node.operator in ('ReduceL2', 'ReduceSumSquare', 'ReduceL1'):
        raise Refusal('it sums up all of time', 'write it as ReduceSum of squares')
    is_joined = builder.graph.is_joined_with_time(name or node.outputs[0])
    if is_joined and builder.streaming:
        raise Refusal(
            'it goes over all of time and is joined with each step, so that its look-ahead has no'
            ' bound',
            'a window or a running value in its place can be streamed',
        )
    extent = 'global' if is_joined else 'running' if builder.streaming else 'final'
    value = reduced(builder, value, statistic, extent)
    ahead = _steps_ahead(builder, node) if extent == 'running' else 0
    return builder.apply(value, {'type': 'Lookahead', 'length': ahead}) if ahead else value


def _steps_ahead(builder: Builder, node: Node) -> int:
    """How many steps more than the shortest a running value has, with which it may meet: their last ones belong together."""
    graph = builder.graph

    def lengths(reduction: Node) -> list[int] | None:
        name = next((n for n in reduction.inputs if n), '')
        if graph.is_constant(name) or name not in graph.tensors or not any(reduction.outputs):
            return None
        axes = graph.tensor(name).axes(Role.TIME)
        outputs = [graph.tensors[n] for n in reduction.outputs if n in graph.tensors]
        if len(axes) != 1 or any(tensor.is_timed for tensor in outputs):
            return None
        return [shape[axes[0]] for shape in graph.shapes(name)]

    own, ahead = lengths(node), 0
    for other in map(lengths, graph.nodes):
        if own is not None and other is not None:
            gaps = {a - b for a, b in zip(own, other, strict=True)}
            ahead = max(ahead, gaps.pop() if len(gaps) == 1 else 0)
    return ahead


def _shifted(
    builder: Builder, value: Value, tensor: Tensor, taps: Sequence[int], distance: int, padding: int
) -> Value:
    """A sum of steps at a distance, which is exact with taps of 0 and 1."""
    axes, sizes = value.axes, tensor.sizes(value.axes)
    count = int(np.prod(sizes))
    if tensor.dtype.kind != 'f':
        raise Refusal('it takes a part of a sequence of integers', 'take it outside of the model')
    flat = builder.reshape(value, [count], (0,))
    config = {
        'type': 'DepthwiseConv1D', 'depth_multiplier': 1, 'kernel_size': 2, 'strides': 1,
        'dilation_rate': distance, 'padding': [padding, padding], 'use_bias': False,
    }  # fmt: skip
    kernel = np.repeat(np.array(taps, np.float32)[:, np.newaxis, np.newaxis], count, axis=2)
    made = builder.apply(flat, config, {'params.kernel': kernel})
    return builder.reshape(made, sizes, axes)


def cut(builder: Builder, value: Value, tensor: Tensor, start: int, end: int) -> Value:
    """The value without so many steps at the start and at the end."""
    if start:
        value = builder.apply(value, {'type': 'Lookahead', 'length': start})
    return _shifted(builder, value, tensor, (1, 0), end, 0) if end else value


def padded(builder: Builder, value: Value, tensor: Tensor, before: int, after: int) -> Value:
    """The value with so many zeros before and after; negative numbers cut."""
    value = cut(builder, value, tensor, max(-before, 0), max(-after, 0))
    if before > 0:
        value = _shifted(builder, value, tensor, (1, 0), before, before)
    return _shifted(builder, value, tensor, (0, 1), after, after) if after > 0 else value


def one_step(builder: Builder, node: Node, value: Value, *, is_first: bool) -> Value:
    """The first or the last step of the sequence."""
    if is_first and builder.streaming:
        raise Refusal(
            'it takes the first step of the sequence, and no layer keeps that in a stream',
            'import without --streaming, or take the last step',
        )
    if is_first:
        value = builder.apply(value, {'type': 'ReverseSequence'})
    return over_time(builder, node, value, 'last')


def picked(builder: Builder, node: Node, tensor: Tensor, axis: int) -> None:
    """One step by its number, or windows of steps by a table of numbers."""
    table, value = node.inputs[1], builder.value(node.inputs[0])
    if not builder.graph.is_constant(table):
        channel_axis(tensor, axis, 'its selection')
    forms = builder.graph.folded_constants(table)
    lengths = [shape[axis] for shape in builder.graph.shapes(node.inputs[0])]
    forms = [
        np.where(form < 0, form + length, form) for form, length in zip(forms, lengths, strict=True)
    ]
    if forms[0].size == 1:
        numbers = [int(form.ravel()[0]) for form in forms]
        is_last = all(n == length - 1 for n, length in zip(numbers, lengths, strict=True))
        if not is_last and any(numbers):
            raise Refusal(
                f'it takes step {numbers[0]} of {lengths[0]}, though a model computes all steps alike',
                'take the first or the last, or export a recurrence as LSTM or GRU, not as a loop',
            )
        made = one_step(builder, node, value, is_first=not is_last)
        rank = forms[0].ndim - 1
        keep(builder, node, Value(made.layer, tuple(a + rank * (a > axis) for a in made.axes)))
        return
    rate = forms[0].size // lengths[0]
    if forms[0].ndim == 1 and rate > 1 and all(
        np.array_equal(form, np.arange(rate * length) // rate)
        for form, length in zip(forms, lengths, strict=True)
    ):  # fmt: skip
        keep(builder, node, builder.apply(value, {'type': 'Upsample1D', 'rate': rate}))
        return
    _windows(builder, node, tensor, axis, forms, lengths)


def _without_zeros(builder: Builder, name: str, axis: int) -> tuple[str, list[int]]:
    """What zeros before and after time were added to, and how many."""
    pad = builder.graph.made_by(name, 'Pad')
    if pad is None or pad.attribute('mode', 'constant') != 'constant' or len(pad.inputs) > 2:
        return name, [0, 0]
    pads = builder.graph.numbers(pad, 1, 'pads') or []
    rank = len(builder.tensor(name).shape)
    own = [pads[axis], pads[axis + rank]] if len(pads) == 2 * rank else [0, 0]
    if pad.attribute('value', 0) or min(own) < 0 or sum(map(abs, pads)) != sum(own):
        return name, [0, 0]
    return pad.inputs[0], own


def _windows(
    builder: Builder, node: Node, tensor: Tensor, axis: int, forms: Sequence[np.ndarray],
    lengths: Sequence[int],
) -> None:  # fmt: skip
    """Windows, as torch.Tensor.unfold and torch.nn.Unfold gather them by a matrix of step numbers."""
    out = builder.tensor(node.outputs[0])
    places = [a for a in range(axis, axis + forms[0].ndim) if out.roles[a] is Role.TIME]
    others = [a for a in range(axis, axis + forms[0].ndim) if a not in places and out.shape[a] > 1]
    if len(places) != 1 or len(others) > 1:
        channel_axis(tensor, axis, 'its selection')
    order = [a - axis for a in (*places, *others)]
    rest = [a for a in range(forms[0].ndim) if a not in order]
    tables = [f.transpose(*rest, *order).reshape(f.shape[order[0]], -1) for f in forms]
    offsets, table = tables[0][0], tables[0]
    step = int(table[1, 0] - table[0, 0]) if len(table) > 1 else 1
    length, first = int(offsets.max() - offsets.min()) + 1, int(offsets.min())
    for table, total in zip(tables, lengths, strict=True):
        wanted = offsets + step * np.arange(len(table))[:, np.newaxis]
        if (
            step < 1
            or not np.array_equal(table, wanted)
            or len(table) != (total - first - length) // step + 1
        ):
            raise Refusal(
                'it selects steps that are not windows at equal distances',
                'select them outside of the model',
            )
    source, padding = _without_zeros(builder, node.inputs[0], axis)
    if first or length == 1:
        source, padding = node.inputs[0], [0, 0]
    value = cut(builder, builder.value(source), tensor, first, 0)
    value = Value(value.layer, tuple(a + (forms[0].ndim - 1) * (a > axis) for a in value.axes))
    if length == 1:
        if step > 1:
            value = builder.apply(value, {'type': 'Downsample1D', 'rate': step})
        keep(builder, node, value)
        return
    framed = builder.apply(value, {
        'type': 'Frame', 'frame_length': length, 'frame_step': step, 'padding': padding,
    })  # fmt: skip
    framed = Value(framed.layer, (others[0], *value.axes))
    wanted_offsets = offsets - first
    if not np.array_equal(wanted_offsets, np.arange(length)):
        gap = int(wanted_offsets[1] - wanted_offsets[0])
        if not np.array_equal(wanted_offsets, np.arange(0, length, gap)):
            raise Refusal('its windows take steps in an irregular order', 'take them in order')
        slices = [[0, length, gap], *([None, None, None] for _ in value.axes)]
        framed = builder.apply(framed, {'type': 'Slice', 'slices': slices})
    keep(builder, node, framed)
