"""Operators that move elements: no numbers change."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from sequence_layers_import import timeline
from sequence_layers_import.builder import Builder, Value, channel_axis, operator
from sequence_layers_import.pointwise import constant_along, keep, repeat_axis
from sequence_layers_import.refusal import Refusal, no_bound
from sequence_layers_import.tensors import Node, Role, Tensor


@operator('Transpose')
def _transpose(builder: Builder, node: Node) -> None:
    value, rank = builder.value(node.inputs[0]), len(builder.tensor(node.inputs[0]).shape)
    order = node.attribute('perm', list(range(rank))[::-1])
    keep(builder, node, Value(value.layer, tuple(order.index(axis) for axis in value.axes)))


@operator('Reshape', 'Flatten', 'Squeeze', 'Unsqueeze')
def _reshape(builder: Builder, node: Node) -> None:
    source, target = builder.tensor(node.inputs[0]), builder.tensor(node.outputs[0])
    keep(builder, node, reshaped(builder, builder.value(node.inputs[0]), source, target))


def _large(axes: Sequence[int], tensor: Tensor) -> list[int]:
    return [axis for axis in axes if tensor.shape[axis] != 1]


def reshaped(builder: Builder, value: Value, source: Tensor, target: Tensor) -> Value:
    """The value with the axes of the target, if each step keeps its own elements."""
    if np.prod(source.shape) != np.prod(target.shape):
        raise Refusal(f'its shape is fixed to {_text(target)}', 'put -1 in place of batch and time')
    before, after = _elements(source), _elements(target)
    if not np.array_equal(before, after):
        return _with_blocks(builder, value, source, target)
    mapping = _moved_axes(source, target)
    if mapping is not None and all(a in mapping or source.shape[a] == 1 for a in value.axes):
        kept = [axis for axis in value.axes if axis in mapping]
        value = builder.aligned(value, source, kept)
        return Value(value.layer, tuple(mapping[axis] for axis in kept))
    value = builder.aligned(value, source, source.channel_axes)
    return builder.reshape(value, target.sizes(target.channel_axes), target.channel_axes)


def _moved_axes(source: Tensor, target: Tensor) -> dict[int, int] | None:
    """Where the axes that are not 1 went, if the reshape only adds or drops ones."""
    before, after = _large(source.channel_axes, source), _large(target.channel_axes, target)
    if source.sizes(before) != target.sizes(after):
        return None
    return dict(zip(before, after, strict=True))


def _elements(tensor: Tensor) -> np.ndarray:
    """The positions of elements in memory as [batch and time, channels]."""
    steps = (*tensor.axes(Role.BATCH), *tensor.axes(Role.TIME), *tensor.axes(Role.STEPS))
    count = int(np.prod(tensor.sizes(steps), dtype=np.int64))
    array = np.arange(np.prod(tensor.shape, dtype=np.int64)).reshape(tensor.shape)
    return array.transpose(*steps, *tensor.channel_axes).reshape(count, -1)


def _with_blocks(builder: Builder, value: Value, source: Tensor, target: Tensor) -> Value:
    """A reshape that makes one step of several neighbours, or several of one."""
    time, new_time = source.axes(Role.TIME), target.axes(Role.TIME)
    if len(time) == len(new_time) == 1:
        steps, new_steps = source.shape[time[0]], target.shape[new_time[0]]
        if steps > new_steps and steps % new_steps == 0:
            return _gathered(builder, value, source, target, steps // new_steps)
        if new_steps > steps and new_steps % steps == 0:
            return _spread(builder, value, source, target, new_steps // steps)
    _mixes(source, target)


def _gathered(builder: Builder, value: Value, source: Tensor, target: Tensor, count: int) -> Value:
    """A reshape that makes one step of several neighbours, whose number is an axis beside the channels."""
    before, after, axes = _elements(source), _elements(target), target.channel_axes
    sizes = source.sizes(source.channel_axes)
    blocks = before.reshape(len(after), count, *sizes)
    for place in range(1, len(sizes) + 2):
        if np.array_equal(np.moveaxis(blocks, 1, place).reshape(after.shape), after):
            break
    else:
        _mixes(source, target)
    value = builder.aligned(value, source, source.channel_axes)
    value = builder.apply(value, {
        'type': 'Frame', 'frame_length': count, 'frame_step': count,
        'padding': 'reverse_causal_valid',
    })  # fmt: skip
    if place > 1:
        # Axes of channels begin with axis 2.
        order = [*range(3, place + 2), 2, *range(place + 2, len(sizes) + 3)]
        value = builder.apply(value, {'type': 'Transpose', 'axes': order})
    return builder.reshape(value, target.sizes(axes), axes)


def _spread(builder: Builder, value: Value, source: Tensor, target: Tensor, count: int) -> Value:
    """A reshape that makes several steps of one, of a part of its channels each."""
    size = int(np.prod(source.sizes(source.channel_axes), dtype=np.int64))
    width, axes = size // count, target.channel_axes
    value = builder.aligned(value, source, source.channel_axes)
    before, by_step = _elements(source)[0], _elements(target)[:count]
    if np.array_equal(before.reshape(width, count).T, by_step):
        value = builder.reshape(value, [size], (0,))
    elif np.array_equal(before.reshape(count, width), by_step):
        value = builder.reshape(value, [count, width], (0, 1))
        value = builder.apply(value, {'type': 'Transpose', 'axes': [3, 2]})
        value = builder.reshape(value, [size], (0,))
    else:
        _mixes(source, target)
    config = {
        'type': 'Conv1DTranspose', 'filters': width, 'kernel_size': count, 'strides': count,
        'groups': width, 'padding': 'causal', 'use_bias': False,
    }  # fmt: skip
    taps = np.repeat(np.eye(count, dtype=np.float32)[::-1, :, np.newaxis], width, axis=2)
    made = builder.apply(value, config, {'params.kernel': taps})
    return builder.reshape(made, target.sizes(axes), axes)


def _mixes(source: Tensor, target: Tensor) -> NoReturn:
    raise Refusal(
        f'it mixes time with channels: {_text(source)} to {_text(target)}',
        'keep batch and time as axes of their own',
    )


def _text(tensor: Tensor) -> str:
    parts = [
        str(size) if role is Role.CHANNEL else role.value
        for size, role in zip(tensor.shape, tensor.roles, strict=True)
    ]
    return f'[{", ".join(parts)}]'


@operator('Expand', 'Tile')
def _expand(builder: Builder, node: Node) -> None:
    source, target = builder.tensor(node.inputs[0]), builder.tensor(node.outputs[0])
    value = builder.value(node.inputs[0])
    by = len(target.shape) - len(source.shape)
    value = Value(value.layer, tuple(axis + by for axis in value.axes))
    source = source.of_rank(len(target.shape))
    for axis, size in enumerate(target.shape):
        if size == source.shape[axis]:
            continue
        if target.roles[axis] is not Role.CHANNEL:
            is_global = builder.graph.is_reduced(node.inputs[0])
            if node.inputs[0] in builder.repeated or is_global:
                continue
            raise Refusal(
                'it repeats one value over all of time',
                'a running value or a window in its place can be streamed',
            )
        value = builder.with_axes(value, source, axis)
        value = repeat_axis(builder, value, value.axes.index(axis), size // source.shape[axis])
        source = source.resized(axis, size)
    keep(builder, node, value)


def sliced(
    builder: Builder, value: Value, tensor: Tensor, axis: int, start: int, stop: int, step: int = 1
) -> Value:
    """Channels start, start + step, ... before stop of an axis; all counted from 0."""
    if axis not in value.axes:
        return value
    if (start, step) == (0, 1) and stop >= tensor.shape[axis]:
        return value
    slices: list[list[int | None]] = [[None, None, None] for _ in value.axes]
    slices[value.axes.index(axis)] = [start, stop, step]
    return builder.apply(value, {'type': 'Slice', 'slices': slices})


@operator('Split')
def _split(builder: Builder, node: Node) -> None:
    tensor = builder.tensor(node.inputs[0])
    axis = channel_axis(tensor, node.attribute('axis', 0), 'its split')
    value, start = builder.value(node.inputs[0]), 0
    value = builder.with_axes(value, tensor, axis)
    for name in node.outputs:
        size = builder.tensor(name).shape[axis] if name else 0
        if name:
            builder.values[name] = sliced(builder, value, tensor, axis, start, start + size)
        start += size


@operator('Slice')
def _slice(builder: Builder, node: Node) -> None:
    tensor, value = builder.tensor(node.inputs[0]), builder.value(node.inputs[0])
    out, limits = builder.tensor(node.outputs[0]), _fixed_stops(builder, node)
    for i, (axis, start, stop, step) in enumerate(slices_of(builder, node, tensor)):
        if tensor.roles[axis] is not Role.CHANNEL and i in limits:
            raise Refusal(
                f'it takes no more than {stop} items of {tensor.roles[axis].value}',
                'cut the input outside of the model',
            )
        if tensor.roles[axis] is Role.CHANNEL:
            value = builder.with_axes(value, tensor, axis)
            value = _slice_channels(builder, value, tensor, axis, start, stop, step)
            tensor = tensor.resized(axis, out.shape[axis])
        elif tensor.roles[axis] is Role.TIME:
            value = _slice_time(builder, node, value, (i, axis), step)
        elif tensor.shape[axis] != out.shape[axis] or step != 1:
            channel_axis(tensor, axis, 'its slice')
    keep(builder, node, value)


def _fixed_stops(builder: Builder, node: Node) -> list[int]:
    """The positions in the list of slices whose stop is the same number for all sizes of the input."""
    if len(node.inputs) > 2:
        stops = [np.ravel(v) for v in builder.graph.folded_constants(node.inputs[2])]
    else:
        stops = [np.ravel(node.attribute('ends', []))]
    same = [len({int(stop) for stop in column}) == 1 for column in zip(*stops, strict=True)]
    # Exporters write a large number for the end: a maximum of integers, or 10^9.
    return [i for i, stop in enumerate(stops[0]) if same[i] and 0 <= stop < 10**9]


def slices_of(builder: Builder, node: Node, tensor: Tensor) -> list[tuple[int, int, int, int]]:
    """(axis, start, stop, step) of each axis, not yet clipped to its size."""
    graph = builder.graph

    def given(index: int, name: str) -> list[int] | None:
        if len(node.inputs) > index and node.inputs[index]:
            return [int(v) for v in np.ravel(graph.folded_constants(node.inputs[index])[0])]
        value = node.attribute(name)
        return None if value is None else [int(v) for v in value]

    starts, stops = given(1, 'starts') or [], given(2, 'ends') or []
    axes = given(3, 'axes') or list(range(len(starts)))
    steps = given(4, 'steps') or [1] * len(starts)
    rank = len(tensor.shape)
    return [(a % rank, s, e, d) for a, s, e, d in zip(axes, starts, stops, steps, strict=True)]


def _slice_channels(
    builder: Builder, value: Value, tensor: Tensor, axis: int, start: int, stop: int, step: int
) -> Value:
    size = tensor.shape[axis]
    if step < 0:
        order = list(range(size))[slice(start, None if stop < -size else stop, step)]
        return selected(builder, value, tensor, axis, order)
    start, stop, step = slice(start, stop, step).indices(size)
    return sliced(builder, value, tensor, axis, start, stop, step)


def _slice_time(
    builder: Builder, node: Node, value: Value, which: tuple[int, int], step: int
) -> Value:
    """Drops steps at the start or the end, takes every n-th, or the last or first alone, or reverses their order.

    `which` is the place in the list of slices, and the axis.
    """
    graph, tensor, axis = builder.graph, builder.tensor(node.inputs[0]), which[1]
    before = [shape[axis] for shape in graph.shapes(node.inputs[0])]
    after = [shape[axis] for shape in graph.shapes(node.outputs[0])]
    starts = _starts(builder, node, which[0], before)
    ends = set(_ends(builder, node, which[0], before))
    if step > 1 and len(set(starts)) == len(ends) == 1:
        value = timeline.cut(builder, value, tensor, starts[0], ends.pop())
        return builder.apply(value, {'type': 'Downsample1D', 'rate': step})
    if step == 1 and set(after) == {1} and len(set(before)) > 1:
        is_last = all(s == b - 1 for s, b in zip(starts, before, strict=True))
        if is_last or not any(starts):
            return timeline.one_step(builder, node, value, is_first=not is_last)
    if step == -1 and before == after:
        if builder.streaming:
            raise no_bound('its reversal', 'import without --streaming')
        return builder.apply(value, {'type': 'ReverseSequence'})
    dropped = {b - a for b, a in zip(before, after, strict=True)}
    if step == 1 and len(dropped) == len(set(starts)) == 1:
        return timeline.cut(builder, value, tensor, starts[0], dropped.pop() - starts[0])
    raise Refusal(
        'it takes a part of time that depends on where the sequence ends',
        'pad the convolution before it on one side only, or cut the output outside of the model',
    )


def _starts(builder: Builder, node: Node, place: int, sizes: Sequence[int]) -> list[int]:
    """The starts of a slice for the three sizes of the input, counted from 0."""
    if len(node.inputs) > 1:
        found = [np.ravel(v)[place] for v in builder.graph.folded_constants(node.inputs[1])]
    else:
        found = [node.attribute('starts')[place]] * len(sizes)
    return [
        max(int(start) + size, 0) if start < 0 else min(int(start), size)
        for start, size in zip(found, sizes, strict=True)
    ]


def _ends(builder: Builder, node: Node, place: int, sizes: Sequence[int]) -> list[int]:
    """How many steps there are behind the stop of a slice, for the three sizes of the input."""
    if len(node.inputs) > 2:
        found = [int(np.ravel(v)[place]) for v in builder.graph.folded_constants(node.inputs[2])]
    else:
        found = [node.attribute('ends')[place]] * len(sizes)
    return [
        min(-stop, size) if stop < 0 else max(size - stop, 0)
        for stop, size in zip(found, sizes, strict=True)
    ]


def selected(
    builder: Builder, value: Value, tensor: Tensor, axis: int, order: Sequence[int]
) -> Value:
    """Channels of one axis in another order, as a product with zeros and ones, which is exact."""
    value = builder.with_last(value, tensor, axis)
    kernel = np.zeros((tensor.shape[axis], len(order)), np.float32)
    kernel[list(order), np.arange(len(order))] = 1
    if tensor.dtype.kind != 'f':
        raise Refusal('it selects integers in an irregular order', 'select them before the model')
    config = {'type': 'Dense', 'features': len(order), 'use_bias': False}
    return builder.apply(value, config, {'params.kernel': kernel})


@operator('Gather')
def _gather(builder: Builder, node: Node) -> None:
    table, indices = node.inputs
    if builder.graph.is_constant(table):
        keep(builder, node, _embedded(builder, node, table, indices))
        return
    tensor = builder.tensor(table)
    if tensor.roles[axis := node.attribute('axis', 0) % len(tensor.shape)] is Role.TIME:
        timeline.picked(builder, node, tensor, axis)
        return
    axis = channel_axis(tensor, axis, 'its selection')
    order = builder.graph.constant(indices)
    value = builder.value(table)
    value = builder.with_axes(value, tensor, axis)
    numbers = [int(i) % tensor.shape[axis] for i in np.ravel(order)]
    if order.ndim == 0:
        made = sliced(builder, value, tensor, axis, numbers[0], numbers[0] + 1)
        dropped = [a for a in made.axes if a != axis]
        made = builder.reshape(made, tensor.sizes(dropped), dropped)
        keep(builder, node, Value(made.layer, tuple(a - (a > axis) for a in dropped)))
        return
    if order.ndim > 1:
        by = order.ndim - 1
        made = selected(builder, value, tensor, axis, numbers)
        rest = made.axes[:-1]
        axes = [*(a + by * (a > axis) for a in rest), *range(axis, axis + order.ndim)]
        keep(builder, node, builder.reshape(made, [*tensor.sizes(rest), *order.shape], axes))
        return
    steps = {b - a for a, b in zip(numbers, numbers[1:], strict=False)}
    if len(steps) <= 1 and min(steps, default=1) > 0:
        step = min(steps, default=1)
        keep(builder, node,
             sliced(builder, value, tensor, axis, numbers[0], numbers[-1] + 1, step))  # fmt: skip
    else:
        keep(builder, node, selected(builder, value, tensor, axis, numbers))


@operator('GatherElements')
def _gather_elements(builder: Builder, node: Node) -> None:
    """A selection of equal numbers, as position numbers select types of tokens that are all 0."""
    table, indices = node.inputs
    values = builder.graph.folded_constants(table) if builder.graph.is_constant(table) else []
    if not values or any((v != values[0].flat[0]).any() for v in values):
        raise Refusal('it selects by the input of what differs', 'look up rows of a matrix')
    number = values[0].flat[0].item()
    value = builder.apply(builder.value(indices), {'type': 'Scale', 'scale': 0})
    if values[0].dtype.kind == 'f':
        value = builder.apply(value, {'type': 'Cast', 'dtype': 'float32'})
    keep(builder, node, builder.shifted(value, number))


def _embedded(builder: Builder, node: Node, table: str, indices: str) -> Value:
    rows, tensor = builder.graph.constant(table), builder.tensor(indices)
    value = builder.value(indices)
    if node.attribute('axis', 0) != 0 or rows.ndim != 2:
        raise Refusal('its table is not [number, width]', 'look up rows of a matrix')
    config = {'type': 'Embedding', 'dimension': rows.shape[1], 'num_embeddings': rows.shape[0]}
    axes = (*value.axes, len(tensor.shape))
    return builder.apply(value, config, {'params.embedding': rows.astype(np.float32)}, axes=axes)


@operator('Concat')
def _concat(builder: Builder, node: Node) -> None:
    out = builder.tensor(node.outputs[0])
    axis = channel_axis(out, node.attribute('axis', 0), 'its concatenation')
    names = [name for name in node.inputs if not builder.graph.is_constant(name)]
    values = [builder.value(name) for name in names]
    longest = max(values, key=lambda value: len(value.axes))
    order = (*(a for a in longest.axes if a != axis), axis)
    aligned = [builder.ordered(name, order) for name in names]
    made = aligned[0] if len(aligned) == 1 else builder.combine(aligned, 'concat')
    keep(
        builder, node, made if names == node.inputs else _with_constants(builder, node, made, axis)
    )


def _with_constants(builder: Builder, node: Node, value: Value, axis: int) -> Value:
    """Constants before or after what was concatenated: zeros, to which they are added."""
    out, is_constant = builder.tensor(node.outputs[0]), builder.graph.is_constant
    flags = [is_constant(name) for name in node.inputs]
    first, last = flags.index(False), len(flags) - 1 - flags[::-1].index(False)
    if any(flags[first:last]):
        raise Refusal('it puts constants between results', 'put them before or after')
    sizes = [builder.tensor(name).shape[axis] for name in node.inputs]
    pads = [[0, 0] for _ in value.axes]
    pads[-1] = [sum(sizes[:first]), sum(sizes[last + 1 :])]
    shape = [1] * len(out.shape)
    shape[axis] = out.shape[axis]
    bias = np.zeros([out.shape[a] if a in value.axes else 1 for a in range(len(shape))], np.float32)
    start = 0
    for name, size in zip(node.inputs, sizes, strict=True):
        if is_constant(name):
            part = [slice(None)] * len(shape)
            part[axis] = slice(start, start + size)
            constant = builder.graph.constant(name)
            steps = [a for a in range(len(shape)) if out.roles[a] is not Role.CHANNEL]
            if any((constant != constant.take([0], a)).any() for a in steps):
                raise Refusal('its constant differs from step to step', 'use one for all steps')
            for a in steps:
                constant = constant.take([0], a)
            bias[tuple(part)] = constant
        start += size
    value = builder.apply(value, {'type': 'Pad', 'paddings': pads, 'mode': 'constant', 'value': 0})
    return builder.affine(value, out, None, constant_along(out, bias, value.axes))


@operator('Pad')
def _pad(builder: Builder, node: Node) -> None:
    tensor, mode = builder.tensor(node.inputs[0]), node.attribute('mode', 'constant')
    pads, value = padding_of(builder, node), builder.value(node.inputs[0])
    for axis, (before, after) in enumerate(pads):
        if tensor.roles[axis] is not Role.CHANNEL and (before or after):
            if cache := node.attribute('import.cache'):
                raise Refusal(
                    f'it puts the cache "{cache}" before steps that no convolution reads',
                    'caches of convolutions can be imported, and those of attention that begin empty: with an open axis',
                )
            if mode != 'constant':
                raise Refusal(
                    f'it pads time by {before} and {after} steps of the sequence itself ({mode})',
                    'pad with zeros: there is no layer for this',
                )
            if tensor.roles[axis] is not Role.TIME or pad_value(builder, node):
                raise Refusal(
                    f'it pads time by {before} and {after} steps that are not zero',
                    'pad by zeros, or in the convolution that follows',
                )
            if before == -after > 0:
                value = _past(builder, value, tensor, before, 1, value.axes)
            else:
                value = timeline.padded(builder, value, tensor, before, after)
            continue
        if before or after:
            value = builder.with_axes(value, tensor, axis)
    for axis in value.axes:
        before, after = (min(p, 0) for p in pads[axis])
        value = sliced(builder, value, tensor, axis, -before, tensor.shape[axis] + after)
    more = [[max(p, 0) for p in pads[axis]] for axis in value.axes]
    if any(map(any, more)):
        config = {'type': 'Pad', 'paddings': more, 'mode': mode}
        if mode == 'constant':
            config['value'] = pad_value(builder, node)
        value = builder.apply(value, config)
    keep(builder, node, value)


def pad_value(builder: Builder, node: Node) -> float:
    if len(node.inputs) > 2 and node.inputs[2]:
        return float(np.ravel(builder.graph.constant(node.inputs[2]))[0])
    return float(node.attribute('value', 0.0))


def padding_of(builder: Builder, node: Node) -> list[tuple[int, int]]:
    """(before, after) of each axis."""
    rank = len(builder.tensor(node.inputs[0]).shape)
    pads = builder.graph.numbers(node, 1, 'pads') or []
    axes = builder.graph.numbers(node, 3, '') or list(range(rank))
    found = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        found[axis % rank] = (pads[i], pads[i + len(axes)])
    return found


@operator('import.Delay')
def _delay(builder: Builder, node: Node) -> None:
    """The value some steps before, and zeros at the start."""
    tensor, value = builder.tensor(node.inputs[0]), builder.value(node.inputs[0])
    keep(builder, node, _past(builder, value, tensor, node.attribute('count'), 1, value.axes))


def _past(
    builder: Builder, value: Value, tensor: Tensor, steps: int, count: int, axes: Sequence[int]
) -> Value:
    """`count` steps from the one `steps` before on, with the axis of steps before the last channel axis."""
    if steps == 0:
        return value
    sizes = tensor.sizes(value.axes)
    framed = builder.apply(value, {
        'type': 'Frame', 'frame_length': steps + 1, 'frame_step': 1, 'padding': 'causal',
    })  # fmt: skip
    slices = [[0, count, None], *([None, None, None] for _ in sizes)]
    framed = builder.apply(framed, {'type': 'Slice', 'slices': slices})
    if count == 1:
        return builder.reshape(framed, sizes, axes)
    last = 2 + len(sizes)
    order = [*range(3, last), 2, last]
    return builder.apply(framed, {'type': 'Transpose', 'axes': order}, axes=axes)


@operator('import.History')
def _history(builder: Builder, node: Node) -> None:
    """The last elements along an axis of what came before the step, as a cache holds them."""
    axis, count = node.attribute('axis'), node.attribute('count')
    tensor = builder.tensor(node.inputs[0])
    value = builder.with_last(builder.value(node.inputs[0]), tensor, axis)
    width = tensor.shape[axis]
    steps = -(-count // width)
    axes = value.axes
    past = _past(builder, value, tensor, steps, steps, axes)
    sizes = [*tensor.sizes(axes[:-1]), steps * width]
    past = builder.reshape(past, sizes, axes) if steps > 1 else past
    whole = tensor.resized(axis, steps * width)
    keep(builder, node, sliced(builder, past, whole, axis, steps * width - count, steps * width))
