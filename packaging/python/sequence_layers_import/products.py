"""Matrix products and convolutions."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, channel_axis, operator
from sequence_layers_import.pointwise import constant_along, keep
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Role, Tensor


@operator('MatMul')
def _matmul(builder: Builder, node: Node) -> None:
    first, second = (builder.graph.is_constant(name) for name in node.inputs)
    if first == second:
        raise Refusal(
            'it multiplies two results with each other',
            'only attention can: softmax(q k) v of one sequence, with time as keys',
        )
    if second:
        keep(builder, node, _times_matrix(builder, node.inputs[0], node.inputs[1]))
    else:
        keep(builder, node, _matrix_times(builder, node))


def dense(
    builder: Builder, value: Value, kernel: np.ndarray, bias: np.ndarray | None = None
) -> Value:
    """A product of the last channel axis with a kernel [in, out]."""
    weights = {'params.kernel': kernel.astype(np.float32)}
    if bias is not None:
        weights['params.bias'] = bias.astype(np.float32)
    last = builder.layers[value.layer]
    if last.config is not None and last.config['type'] == 'OneHot' and bias is None:
        table = {'type': 'Embedding', 'dimension': kernel.shape[1], 'num_embeddings': len(kernel)}
        source = Value(last.inputs[0], value.axes)
        return builder.apply(source, table, {'params.embedding': weights['params.kernel']})
    config = {'type': 'Dense', 'features': kernel.shape[1], 'use_bias': bias is not None}
    return builder.apply(value, config, weights)


def last_axis(builder: Builder, name: str, axis: int, what: str) -> Value:
    """The value with this channel axis as its last."""
    tensor = builder.tensor(name)
    return builder.with_last(builder.value(name), tensor, channel_axis(tensor, axis, what))


def _times_matrix(builder: Builder, name: str, matrix: str) -> Value:
    kernel = builder.graph.constant(matrix)
    value = last_axis(builder, name, -1, 'its sum')
    rank = len(builder.tensor(name).shape)
    if kernel.ndim == 1:
        made = dense(builder, value, kernel[:, np.newaxis])
        rest = made.axes[:-1]
        return builder.reshape(made, builder.tensor(name).sizes(rest), rest)
    if kernel.ndim > 2 and any(size != 1 for size in kernel.shape[:-2]):
        return _times_matrices(builder, value, builder.tensor(name), kernel)
    made = dense(builder, value, kernel.reshape(kernel.shape[-2:]))
    by = max(kernel.ndim - rank, 0)
    return Value(made.layer, tuple(axis + by for axis in made.axes))


def _times_matrices(builder: Builder, value: Value, tensor: Tensor, kernel: np.ndarray) -> Value:
    """A matrix for each element of other axes, as of heads."""
    axes = [axis for axis in value.axes if axis < len(tensor.shape) - 1]
    offset = len(tensor.shape) - kernel.ndim
    stacked = [axis for axis in axes if axis >= offset and kernel.shape[axis - offset] != 1
               and axis < len(tensor.shape) - 2]  # fmt: skip
    others = [size for i, size in enumerate(kernel.shape[:-2]) if i + offset not in stacked]
    if (
        offset < 0
        or any(size != 1 for size in others)
        or any(tensor.shape[axis] != kernel.shape[axis - offset] for axis in stacked)
    ):
        raise Refusal('its matrices are of axes that the input lacks', 'repeat the input before')
    letters = {axis: 'abcdefghij'[i] for i, axis in enumerate(value.axes)}
    before = ''.join(letters[axis] for axis in value.axes)
    of_kernel = ''.join(letters[axis] for axis in stacked) + before[-1] + 'z'
    shape = [*tensor.sizes(stacked), *kernel.shape[-2:]]
    config = {
        'type': 'EinsumDense',
        'equation': f'...{before},{of_kernel}->...{before[:-1]}z',
        'output_shape': [None] * len(axes) + [kernel.shape[-1]],
    }
    weights = {'params.kernel': kernel.reshape(shape).astype(np.float32)}
    return builder.apply(value, config, weights)


def _matrix_times(builder: Builder, node: Node) -> Value:
    matrix, name = builder.graph.constant(node.inputs[0]), node.inputs[1]
    if matrix.ndim != 2:
        raise Refusal('its first factor is no matrix', 'put the constant second')
    tensor = builder.tensor(name)
    axis = len(tensor.shape) - 2
    value = last_axis(builder, name, axis, 'its sum')
    return dense(builder, value, matrix.T)


@operator('Gemm')
def _gemm(builder: Builder, node: Node) -> None:
    graph = builder.graph
    if not graph.is_constant(node.inputs[1]) or node.attribute('transA', 0):
        raise Refusal('it multiplies two results, or a transposed one', 'use a constant matrix')
    kernel = graph.constant(node.inputs[1]) * np.float32(node.attribute('alpha', 1.0))
    kernel = kernel.T if node.attribute('transB', 0) else kernel
    value, bias = last_axis(builder, node.inputs[0], -1, 'its sum'), None
    if len(node.inputs) > 2 and node.inputs[2]:
        given = graph.constant(node.inputs[2]) * np.float32(node.attribute('beta', 1.0))
        out = builder.tensor(node.outputs[0])
        bias = np.broadcast_to(constant_along(out, given, (1,)), (kernel.shape[1],))
    keep(builder, node, dense(builder, value, kernel, bias))


@dataclasses.dataclass(frozen=True)
class Window:
    """A window of a convolution or pooling along one axis."""

    axis: int
    size: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def extent(self) -> int:
        return (self.size - 1) * self.dilation + 1


_NO_WINDOW = Window(0, 1, 1, 1, 0, 0)


def windows(node: Node, tensor: Tensor, sizes: Sequence[int]) -> list[Window]:
    """The windows of all spatial axes, which are those from 2 on."""
    count = len(sizes)
    strides = node.attribute('strides', [1] * count)
    dilations = node.attribute('dilations', [1] * count)
    pads = node.attribute('pads', [0] * 2 * count)
    auto = node.attribute('auto_pad', 'NOTSET')
    found = []
    for i, size in enumerate(sizes):
        extent = (size - 1) * dilations[i] + 1
        before, after = pads[i], pads[count + i]
        if auto.startswith('SAME'):
            before, after = _same(node, tensor, i + 2, extent, strides[i])
        elif auto == 'VALID':
            before = after = 0
        found.append(Window(i + 2, size, strides[i], dilations[i], before, after))
    return found


def _same(node: Node, tensor: Tensor, axis: int, extent: int, stride: int) -> tuple[int, int]:
    upper = node.attribute('auto_pad') == 'SAME_UPPER'
    if node.operator == 'ConvTranspose':
        extra = node.attribute('output_padding', [0] * (axis - 1))[axis - 2]
        return _halves(max(extent - stride + extra, 0), upper)
    size = tensor.shape[axis]
    if tensor.roles[axis] is Role.CHANNEL:
        return _halves(max((-(-size // stride) - 1) * stride + extent - size, 0), upper)
    # The last window has 1 to stride steps of its own.
    befores = {_halves(max(extent - own, 0), upper)[0] for own in range(1, stride + 1)}
    if len(befores) > 1:
        raise Refusal(
            f'its padding before time (auto_pad) depends on the length, as its stride is {stride}',
            'export it with pads',
        )
    before = befores.pop()
    return before, extent - 1 - before


def _halves(total: int, upper: bool) -> tuple[int, int]:
    """Padding before and after, of which the latter is larger with `upper`."""
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def time_padding(window: Window | None) -> str | list[int]:
    """The padding in time: amounts step too, with the latency that they need."""
    if window is None or (window.before, window.after) == (window.extent - 1, 0):
        return 'causal'
    if max(window.before, window.after) >= window.extent:
        raise Refusal(
            f'it pads time by {window.before} and {window.after} steps, more than its window less one',
            'pad less',
        )
    return [window.before, window.after]


def arrange(tensor: Tensor, found: Sequence[Window]) -> tuple[Window | None, list[Window]]:
    """The window in time, if there is one, and those over channels."""
    in_time = [w for w in found if tensor.roles[w.axis] in (Role.TIME, Role.STEPS)]
    if any(tensor.roles[w.axis] is Role.BATCH for w in found):
        raise Refusal('it slides over the batch', 'each item of a batch is computed alone')
    if any(tensor.roles[w.axis] is Role.STEPS for w in found):
        raise Refusal('it slides over batch and time as one axis', 'name the time axis')
    spatial = [w for w in found if tensor.roles[w.axis] is Role.CHANNEL]
    # An axis of size 1 needs no dimension of its own.
    spatial = [
        w for w in spatial if tensor.shape[w.axis] != 1 or w.size != 1 or w.before or w.after
    ]
    if len(spatial) > 2:
        raise Refusal('it slides over three axes besides time', 'there are layers for two')
    if tensor.roles[1] is not Role.CHANNEL:
        raise Refusal('its channels are time', 'name another time axis')
    return (in_time[0] if in_time else None), spatial


@operator('Conv')
def _conv(builder: Builder, node: Node) -> None:
    tensor, graph = builder.tensor(node.inputs[0]), builder.graph
    kernel = graph.constant(node.inputs[1])
    bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    found = windows(node, tensor, kernel.shape[2:])
    if mirrored := node.attribute('import.mirrored'):
        keep(builder, node, _of_own_steps(builder, node, tensor, found, mirrored))
        return
    time, spatial = arrange(tensor, found)
    group, axes = node.attribute('group', 1), [*(w.axis for w in spatial), 1]
    value = builder.ordered(node.inputs[0], axes)
    weights = {} if bias is None else {'params.bias': bias.astype(np.float32)}
    used = [*([time] if time else []), *spatial] or found[:1]
    order = [*(w.axis for w in used), *(w.axis for w in found if w not in used)]
    taps = kernel.transpose(*order, 1, 0)
    taps = taps.reshape(*taps.shape[: len(used)], *taps.shape[-2:])
    if time is None and spatial:
        taps = taps[np.newaxis]
    pointwise = all(w.extent == 1 and w.stride == 1 and not w.before and not w.after for w in used)
    if pointwise and group == 1:
        made = dense(builder, value, taps.reshape(taps.shape[-2:]), bias)
        keep(builder, node, made)
        return
    config = _convolution(time, spatial, kernel.shape[0], group, tensor.shape[1])
    config['use_bias'] = bias is not None
    if config['type'] == 'DepthwiseConv1D':
        taps = taps.reshape(taps.shape[0], 1, kernel.shape[0])
    value = builder.apply(value, config, {'params.kernel': taps.astype(np.float32)} | weights)
    keep(builder, node, Value(value.layer, tuple(axes)))


def _of_own_steps(
    builder: Builder, node: Node, tensor: Tensor, found: Sequence[Window], pads: Sequence[int]
) -> Value:
    """A convolution as a product of windows, which can repeat or mirror steps at the ends."""
    time, spatial = arrange(tensor, found)
    if time is None or len(spatial) > 1 or max(pads) >= time.extent:
        raise Refusal(
            f'it is padded by {pads[0]} and {pads[1]} steps of the sequence itself',
            'pad no more than its window less one, with one axis besides time at most',
        )
    kernel = builder.graph.constant(node.inputs[1])
    bias = builder.graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    axes = [*(w.axis for w in spatial), 1]
    framed = builder.apply(builder.ordered(node.inputs[0], axes), {
        'type': 'Frame', 'frame_length': time.extent, 'frame_step': time.stride,
        'padding': list(pads), 'pad_mode': node.attribute('import.mode'),
    })  # fmt: skip
    if time.dilation > 1:
        taps = [[0, time.extent, time.dilation], *([None, None, None] for _ in axes)]
        framed = builder.apply(framed, {'type': 'Slice', 'slices': taps})
    order = [
        *(w.axis for w in (time, *spatial)),
        *(w.axis for w in found if w not in (time, *spatial)),
    ]
    weights = kernel.transpose(*order, 1, 0)  # [time, axis besides, in / group, out]
    weights = weights.reshape(time.size, *(w.size for w in spatial), *weights.shape[-2:])
    group, channels = node.attribute('group', 1), tensor.shape[1]
    if spatial:
        return _of_images(builder, node, framed, tensor, weights, (spatial[0], bias))
    if group > 1:
        return _of_groups(builder, framed, tensor, weights, (group, bias))
    flat = builder.reshape(framed, [time.size * channels], (1,))
    return dense(builder, flat, weights.reshape(-1, len(kernel)), bias)


def _of_groups(
    builder: Builder, framed: Value, tensor: Tensor, weights: np.ndarray,
    parts: tuple[int, np.ndarray | None],
) -> Value:  # fmt: skip
    """A product of windows [steps, channels] with a kernel [steps, in / group, out]."""
    (group, bias), (size, own, filters) = parts, weights.shape
    grouped = builder.reshape(framed, [size, group, own], (0, 1, 2))
    kernel = weights.reshape(size, own, group, -1).transpose(0, 2, 1, 3)
    made = builder.apply(grouped, {
        'type': 'EinsumDense', 'equation': '...tgc,tgcd->...gd', 'output_shape': [group, filters // group],
    }, {'params.kernel': kernel.astype(np.float32)})  # fmt: skip
    made = builder.reshape(made, [filters], (1,))
    return made if bias is None else builder.affine(made, tensor, None, bias)


def _of_images(
    builder: Builder, node: Node, framed: Value, tensor: Tensor, weights: np.ndarray,
    parts: tuple[Window, np.ndarray | None],
) -> Value:  # fmt: skip
    """A convolution over an axis of windows [steps, axis, channels], whose steps are channels more."""
    (window, bias), (size, taps, own, filters) = parts, weights.shape
    if node.attribute('group', 1) > 1:
        raise Refusal(
            'it has groups, two axes and padding by steps of the sequence itself', 'pad by zeros'
        )
    moved = builder.apply(framed, {'type': 'Transpose', 'axes': [3, 2, 4]})
    width = tensor.shape[window.axis]
    flat = builder.reshape(moved, [width, size * own], (window.axis, 1))
    config = _convolution(None, [window], filters, 1, size * own)
    config['use_bias'] = bias is not None
    arrays = {
        'params.kernel': weights.transpose(1, 0, 2, 3)
        .reshape(1, taps, size * own, filters)
        .astype(np.float32)
    }
    if bias is not None:
        arrays['params.bias'] = bias.astype(np.float32)
    return builder.apply(flat, config, arrays)


def _fields(time: Window | None, spatial: Sequence[Window], size: str) -> Config:
    """The fields of a layer with these windows, whose sizes have the name `size`."""
    first, padding = time or _NO_WINDOW, time_padding(time)
    if not spatial:
        return {
            size: first.size, 'strides': first.stride, 'dilation_rate': first.dilation,
            'padding': padding,
        }  # fmt: skip
    every = [first, *spatial]
    pads: list[Any] = [[w.before, w.after] for w in spatial]
    return {
        size: [w.size for w in every], 'strides': [w.stride for w in every],
        'dilation_rate': [w.dilation for w in every], 'time_padding': padding,
        'spatial_padding': pads[0] if len(pads) == 1 else pads,
    }  # fmt: skip


def _convolution(
    time: Window | None, spatial: Sequence[Window], filters: int, group: int, channels: int
) -> Config:
    fields = _fields(time, spatial, 'kernel_size')
    if not spatial and group == channels and group > 1:
        return {'type': 'DepthwiseConv1D', 'depth_multiplier': filters // group} | fields
    groups = {'groups': group} if group > 1 else {}
    return {'type': f'Conv{1 + len(spatial)}D', 'filters': filters} | fields | groups


@operator('ConvTranspose')
def _conv_transpose(builder: Builder, node: Node) -> None:
    tensor, graph = builder.tensor(node.inputs[0]), builder.graph
    kernel = graph.constant(node.inputs[1])  # [in, out / group, sizes...]
    found = windows(node, tensor, kernel.shape[2:])
    time, spatial = arrange(tensor, found)
    if len(spatial) > 1:
        raise Refusal('it slides over two axes besides time', 'there is a layer for one')
    if node.attribute('output_shape'):
        raise Refusal('its output has a fixed length', 'export it with pads')
    group, extra = node.attribute('group', 1), node.attribute('output_padding', [0] * len(found))
    axes = [*(w.axis for w in spatial), 1]
    used = [w for w in (time, *spatial) if w is not None] or found[:1]
    order = [*(w.axis for w in used), *(w.axis for w in found if w not in used)]
    # [in, out / group] of each group are side by side: [in / group, out].
    taps = np.concatenate(np.split(kernel, group), axis=1).transpose(*order, 0, 1)
    taps = taps.reshape(*taps.shape[: len(used)], *taps.shape[-2:])
    taps = np.flip(taps, range(len(used)))
    cuts = [_cut(window, extra[window.axis - 2]) for window in used]
    config: Config = {
        'type': f'Conv{1 + len(spatial)}DTranspose', 'filters': kernel.shape[1] * group,
        'groups': group, 'use_bias': len(node.inputs) > 2,
    }  # fmt: skip
    if time is None and spatial:
        taps, used, cuts = taps[np.newaxis], [_NO_WINDOW, *used], ['causal', *cuts]
    sizes = {
        'kernel_size': [w.size for w in used], 'strides': [w.stride for w in used],
        'dilation_rate': [w.dilation for w in used],
    }  # fmt: skip
    if spatial:
        config |= sizes | {'time_padding': cuts[0], 'spatial_padding': cuts[1]}
    else:
        config |= {name: values[0] for name, values in sizes.items()} | {'padding': cuts[0]}
    weights = {'params.kernel': taps.astype(np.float32)}
    if config['use_bias']:
        weights['params.bias'] = graph.constant(node.inputs[2]).astype(np.float32)
    value = builder.apply(builder.ordered(node.inputs[0], axes), config, weights)
    keep(builder, node, Value(value.layer, tuple(axes)))


def _cut(window: Window, extra: int) -> str | list[int]:
    """The padding of a transposed convolution: what it cuts off at the start and at the end."""
    before, after = window.before, window.after - extra
    if before == 0 and after == window.extent - window.stride:
        return 'causal'
    if not (0 <= before < window.extent and 0 <= after < window.extent):
        raise Refusal(
            f'its output is cut by {before} and {after} steps',
            'cut from 0 to the kernel less one at each end',
        )
    return [before, after]


@operator('MaxPool', 'AveragePool')
def _pool(builder: Builder, node: Node) -> None:
    tensor, out = builder.tensor(node.inputs[0]), builder.tensor(node.outputs[0])
    found = windows(node, tensor, node.attribute('kernel_shape'))
    time, spatial = arrange(tensor, found)
    spatial = [w for w in spatial if (w.size, w.stride, w.before, w.after) != (1, 1, 0, 0)]
    padded = [_to_the_end(window, tensor, out) for window in spatial]
    kind = node.operator.replace('Pool', 'Pooling')
    if node.operator == 'MaxPool' and len(node.outputs) > 1 and node.outputs[1]:
        raise Refusal('it gives the indices of its maxima', 'take the maxima only')
    masked = kind == 'AveragePooling' and not node.attribute('count_include_pad', 0)
    if node.attribute('ceil_mode', 0) and time and time.stride > 1:
        masked = _without_end(node, time, spatial, masked)
        time = dataclasses.replace(time, after=time.after + time.stride - 1)
    value = builder.value(node.inputs[0])
    rest = [a for a in value.axes if a not in [w.axis for w in spatial]]
    value = builder.aligned(value, tensor, (*(w.axis for w in spatial), *rest))
    value = builder.apply(value, _pooling(kind, time, padded, masked))
    if kind == 'AveragePooling':
        for window, whole in zip(spatial, padded, strict=True):
            value = _counted(
                builder, value, out, (window, whole), tensor.shape[window.axis], masked
            )
    keep(builder, node, value)


def _without_end(node: Node, time: Window, spatial: Sequence[Window], masked: bool) -> bool:
    """Whether means of windows that reach beyond the end, as ceil_mode has them, leave out what is there."""
    if time.after + time.stride > time.extent:
        raise Refusal(
            'its last window (ceil_mode) may begin behind the end',
            'pool without ceil_mode, or by windows of no fewer steps than the stride and the padding',
        )
    if node.operator == 'MaxPool' or masked:
        return masked
    if time.before or time.after or any(w.before or w.after for w in spatial):
        raise Refusal(
            'its means count padding, but not what its last window (ceil_mode) lacks',
            'pool with count_include_pad=False, or without ceil_mode',
        )
    return True


def _to_the_end(window: Window, tensor: Tensor, out: Tensor) -> Window:
    """The window with padding up to the end of its last place, which ceil_mode may put over the end."""
    reach = (out.shape[window.axis] - 1) * window.stride + window.extent
    after = max(reach - tensor.shape[window.axis] - window.before, 0)
    return dataclasses.replace(window, after=after)


def _counted(
    builder: Builder, value: Value, out: Tensor, windows: tuple[Window, Window], size: int,
    masked: bool,
) -> Value:  # fmt: skip
    """Means of windows of zeros too, as means of those elements that count."""
    given, padded = windows
    counts = np.ones(padded.before + size + padded.after)
    counts[padded.before + size + (0 if masked else given.after) :] = 0
    if masked:
        counts[: padded.before] = 0
    starts = np.arange(out.shape[given.axis]) * given.stride
    numbers = np.array([counts[s : s + given.extent : given.dilation].sum() for s in starts])
    if (numbers == given.size).all():
        return value
    scale = (given.size / numbers).astype(np.float32)
    shape = [-1 if axis == given.axis else 1 for axis in value.axes]
    return builder.affine(value, out, scale.reshape(shape), None)


def _pooling(kind: str, time: Window | None, spatial: Sequence[Window], masked: bool) -> Config:
    config: Config = {'type': f'{kind}{1 + len(spatial)}D'}
    config |= _fields(time, spatial, 'pool_size')
    if masked and time and (time.before or time.after):
        config['masked_average'] = True
    return config
