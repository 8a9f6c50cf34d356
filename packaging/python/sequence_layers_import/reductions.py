"""Operators that sum up or normalize channels."""

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, channel_axis, operator
from sequence_layers_import.pointwise import constant_along, keep
from sequence_layers_import.products import dense
from sequence_layers_import.refusal import Refusal, no_bound
from sequence_layers_import.shapes import selected
from sequence_layers_import.tensors import Node, Role, Tensor
from sequence_layers_import.timeline import over_time, reduced

_TYPES = {
    'ReduceSum': 'Sum', 'ReduceMean': 'Mean', 'ReduceMax': 'Max', 'ReduceMin': 'Min',
    'ReduceL2': 'Sum', 'ReduceSumSquare': 'Sum', 'ReduceL1': 'Sum',
    'GlobalAveragePool': 'Mean', 'GlobalMaxPool': 'Max',
}  # fmt: skip

# How many channels TopK may choose, each by some layers.
_MOST_CHOSEN = 16
# What puts a chosen channel below all others, and is finite.
_BELOW_ALL = -3e38

_OTHER_NORMALIZATION = 'use a normalization of channels, or import without --streaming'


@operator(*_TYPES)
def _reduce(builder: Builder, node: Node) -> None:
    tensor, is_pool = builder.tensor(node.inputs[0]), node.operator.startswith('Global')
    rank = len(tensor.shape)
    given = None if is_pool else builder.graph.numbers(node, 1, 'axes')
    if given is None or not given:
        if node.attribute('noop_with_empty_axes', 0):
            keep(builder, node, builder.value(node.inputs[0]))
            return
        given = list(range(2 if is_pool else 0, rank))
    keepdims = is_pool or node.attribute('keepdims', 1)
    value = builder.value(node.inputs[0])
    in_time = [a % rank for a in given if tensor.roles[a % rank] is Role.TIME]
    axes = [channel_axis(tensor, axis, 'it') for axis in given if axis % rank not in in_time]
    if in_time:
        value = over_time(builder, node, value, _TYPES[node.operator].lower())
    if not axes:
        kept = [a - (not keepdims and a > in_time[0]) for a in value.axes]
        keep(builder, node, Value(value.layer, tuple(kept)))
        return
    value = builder.with_axes(value, tensor, *axes)
    if node.operator in ('ReduceL2', 'ReduceSumSquare'):
        value = builder.apply(value, {'type': 'Power', 'power': 2})
    if node.operator == 'ReduceL1':
        value = builder.apply(value, {'type': 'Abs'})
    places = [2 + value.axes.index(axis) for axis in axes]
    kept = [axis for axis in value.axes if axis not in axes]
    value = builder.apply(value, {'type': _TYPES[node.operator], 'axis': places}, axes=kept)
    if node.operator == 'ReduceL2':
        value = builder.apply(value, {'type': 'Power', 'power': 0.5})
    if not keepdims:
        kept = [axis - sum(a < axis for a in (*axes, *in_time)) for axis in kept]
    keep(builder, node, Value(value.layer, tuple(kept)))


@operator('CumSum')
def _running_sum(builder: Builder, node: Node) -> None:
    tensor, value = builder.tensor(node.inputs[0]), builder.value(node.inputs[0])
    rank, kind = len(tensor.shape), tensor.dtype.kind
    axis = int(np.ravel(builder.graph.constant(node.inputs[1]))[0]) % rank
    is_late, is_reverse = node.attribute('exclusive', 0), node.attribute('reverse', 0)
    if tensor.roles[axis] is Role.TIME and not is_reverse:
        total = reduced(builder, value, 'sum', 'running')
        keep(builder, node, builder.combine([total, value], 'subtract') if is_late else total)
        return
    axis = channel_axis(tensor, axis, 'its running sum')
    value = builder.with_last(value, tensor, axis)
    if kind != 'f':
        value = builder.apply(value, {'type': 'Cast', 'dtype': 'float32'})
    kernel = np.triu(np.ones((tensor.shape[axis],) * 2, np.float32), 1 if is_late else 0)
    value = dense(builder, value, kernel.T if is_reverse else kernel)
    if kind != 'f':
        value = builder.apply(value, {'type': 'Cast', 'dtype': 'int32'})
    keep(builder, node, value)


@operator('Softmax', 'LogSoftmax')
def _softmax(builder: Builder, node: Node) -> None:
    tensor = builder.tensor(node.inputs[0])
    old = builder.graph.opset < 13
    given = node.attribute('axis', 1 if old else -1) % len(tensor.shape)
    if tensor.roles[given] is Role.TIME and not old:
        value = builder.value(node.inputs[0])
        keep(builder, node, _softmax_over_time(builder, node, value))
        return
    axis = channel_axis(tensor, node.attribute('axis', 1 if old else -1), 'it')
    after = [a for a in range(axis + 1, len(tensor.shape)) if tensor.shape[a] != 1]
    if old and after:
        raise Refusal('it goes over several axes', 'export with opset 13 or later')
    value = builder.with_last(builder.value(node.inputs[0]), tensor, axis)
    if node.operator == 'Softmax':
        value = builder.apply(value, {'type': 'Softmax'})
    else:
        last = [len(value.axes) + 1]
        peak = builder.apply(value, {'type': 'Max', 'axis': last, 'keepdims': True})
        value = builder.combine([value, peak], 'subtract')
        total = builder.apply(value, {'type': 'Exp'})
        total = builder.apply(total, {'type': 'Sum', 'axis': last, 'keepdims': True})
        value = builder.combine([value, builder.apply(total, {'type': 'Log'})], 'subtract')
    keep(builder, node, value)


def _softmax_over_time(builder: Builder, node: Node, value: Value) -> Value:
    """Differences from the maximum of all steps, by the sum of their exponentials."""
    if builder.streaming:
        raise no_bound('it', 'import without --streaming, or use a mean')
    value = builder.combine([value, reduced(builder, value, 'max', 'global')], 'subtract')
    powers = builder.apply(value, {'type': 'Exp'})
    total = reduced(builder, powers, 'sum', 'global')
    if node.operator == 'Softmax':
        return builder.combine([powers, total], 'divide')
    return builder.combine([value, builder.apply(total, {'type': 'Log'})], 'subtract')


@operator('import.Variance')
def _variance(builder: Builder, node: Node) -> None:
    axis, value = node.attribute('axis'), builder.value(node.inputs[0])
    value = over_time(builder, node, value, 'variance')
    if node.attribute('correction'):
        config = builder.layers[value.layer].config
        assert config is not None
        config['correction'] = node.attribute('correction')
    kept = tuple(a - (not node.attribute('keepdims') and a > axis) for a in value.axes)
    keep(builder, node, Value(value.layer, kept))


@operator('import.GroupNormalization')
def _group_normalization(builder: Builder, node: Node) -> None:
    tensor = builder.tensor(node.inputs[0])
    if builder.streaming:
        raise no_bound('it', _OTHER_NORMALIZATION)
    value = builder.with_last(builder.value(node.inputs[0]), tensor, 1)
    config = {
        'type': 'GroupNormalization', 'num_groups': node.attribute('groups'),
        'epsilon': node.attribute('epsilon'),
    }  # fmt: skip
    weights = {f'params.{name}': node.attribute(name) for name in ('scale', 'bias')}
    keep(builder, node, builder.apply(value, config, weights))


@operator('ArgMax', 'ArgMin')
def _argmax(builder: Builder, node: Node) -> None:
    tensor = builder.tensor(node.inputs[0])
    axis = channel_axis(tensor, node.attribute('axis', 0), 'it')
    value = builder.with_last(builder.value(node.inputs[0]), tensor, axis)
    if node.operator == 'ArgMin':
        value = builder.scaled(value, -1)
    is_last, count = node.attribute('select_last_index', 0), tensor.shape[axis]
    if is_last:
        # The layer gives the first of equal maxima.
        value = selected(builder, value, tensor, axis, range(count - 1, -1, -1))
    kept = value.axes[:-1]
    value = builder.apply(value, {'type': 'Argmax'}, axes=kept)
    if is_last:
        value = builder.apply(value, {'type': 'Scale', 'scale': -1})
        value = builder.apply(value, {'type': 'Add', 'shift': count - 1})
    if not node.attribute('keepdims', 1):
        kept = tuple(a - (a > axis) for a in kept)
    keep(builder, node, Value(value.layer, kept))


@operator('TopK')
def _top(builder: Builder, node: Node) -> None:
    """The largest channels, one after the other: each is the maximum of those that were not chosen before."""
    graph, tensor = builder.graph, builder.tensor(node.inputs[0])
    (count,) = graph.numbers(node, 1, 'k') or [1]
    axis = channel_axis(tensor, node.attribute('axis', -1), 'it')
    if count > _MOST_CHOSEN:
        raise Refusal(
            f'it chooses {count} of {tensor.shape[axis]}', f'choose {_MOST_CHOSEN} at most'
        )
    if tensor.dtype.kind != 'f':
        raise Refusal('it chooses of integers', 'cast them to float32')
    sign = 1 if node.attribute('largest', 1) else -1
    left = builder.with_last(builder.value(node.inputs[0]), tensor, axis)
    left = builder.scaled(left, sign)
    axes, last = left.axes, [len(left.axes) + 1]
    values, indices = [], []
    for i in range(count):
        values.append(builder.apply(left, {'type': 'Max', 'axis': last, 'keepdims': True}))
        place = builder.apply(left, {'type': 'Argmax'}, axes=axes[:-1])
        indices.append(builder.aligned(place, tensor.resized(axis, 1), axes))
        if i + 1 < count:
            chosen = builder.apply(
                place, {'type': 'OneHot', 'depth': tensor.shape[axis]}, axes=axes
            )
            left = builder.combine([left, builder.scaled(chosen, _BELOW_ALL)], 'add')
    made = builder.scaled(builder.combine(values, 'concat'), sign)
    for name, value in zip(node.outputs, (made, builder.combine(indices, 'concat')), strict=False):
        if name:
            builder.values[name] = value


@operator('OneHot')
def _one_hot(builder: Builder, node: Node) -> None:
    graph, out = builder.graph, builder.tensor(node.outputs[0])
    axis = node.attribute('axis', -1) % len(out.shape)
    off, on = (float(number) for number in graph.constant(node.inputs[2]))
    value = builder.value(node.inputs[0])
    if builder.tensor(node.inputs[0]).dtype.kind == 'f':
        value = builder.apply(value, {'type': 'Cast', 'dtype': 'int32'})
    axes = (*(a + (a >= axis) for a in value.axes), axis)
    value = builder.apply(value, {'type': 'OneHot', 'depth': out.shape[axis]}, axes=axes)
    value = builder.shifted(builder.scaled(value, on - off), off)
    if out.dtype.kind != 'f':
        value = builder.apply(value, {'type': 'Cast', 'dtype': 'int32'})
    keep(builder, node, value)


@operator('ScatterElements')
def _scatter(builder: Builder, node: Node) -> None:
    """Values at the places of the largest channels, and zeros elsewhere, as weights of experts."""
    graph, out = builder.graph, builder.tensor(node.outputs[0])
    zeros, places, values = node.inputs
    is_zero = graph.is_constant(zeros) and not any(a.any() for a in graph.folded_constants(zeros))
    axis = node.attribute('axis', 0) % len(out.shape)
    if not is_zero or graph.made_by(graph.origin(places, ('Cast', 'Identity')), 'TopK') is None:
        raise Refusal(
            'it puts values into other ones, or at places of which several may be the same',
            'put them into zeros, at the places of TopK',
        )
    axis = channel_axis(out, axis, 'it')
    indices = builder.with_last(builder.value(places), builder.tensor(places), axis)
    given = builder.aligned(builder.value(values), builder.tensor(values), indices.axes)
    rank, count = len(indices.axes), builder.tensor(places).shape[axis]
    sizes = [*builder.tensor(places).sizes(indices.axes[:-1]), count]
    chosen = builder.apply(indices, {'type': 'OneHot', 'depth': out.shape[axis]})
    wide = builder.reshape(given, [*sizes, 1], (*given.axes, len(out.shape)))
    both = builder.combine([Value(chosen.layer, wide.axes), wide], 'product')
    total = builder.apply(both, {'type': 'Sum', 'axis': [1 + rank]}, axes=indices.axes)
    keep(builder, node, total)


def _normalized_channels(builder: Builder, node: Node, tensor: Tensor) -> Value:
    """An instance normalization of each step: a layer normalization of all axes behind the first of channels."""
    axes = tuple(channel_axis(tensor, axis, 'it') for axis in range(2, len(tensor.shape)))
    value = builder.with_last(builder.value(node.inputs[0]), tensor, *axes)
    value = builder.apply(value, {
        'type': 'LayerNormalization', 'axis': [2 + value.axes.index(axis) for axis in axes],
        'epsilon': node.attribute('epsilon', 1e-5), 'use_scale': False, 'use_bias': False,
    })  # fmt: skip
    shape = (1, -1) + (1,) * len(axes)
    value = builder.with_axes(value, tensor, 1)
    scale, bias = (
        constant_along(tensor, builder.graph.constant(name).reshape(shape), value.axes)
        for name in node.inputs[1:3]
    )
    return builder.affine(value, tensor, scale, bias)


@operator('BatchNormalization')
def _batch_normalization(builder: Builder, node: Node) -> None:
    tensor, graph = builder.tensor(node.inputs[0]), builder.graph
    scale, bias, mean, variance = (graph.constant(n).astype(np.float64) for n in node.inputs[1:5])
    factor = scale / np.sqrt(variance + node.attribute('epsilon', 1e-5))
    shape = (1, -1) + (1,) * (len(tensor.shape) - 2)
    value = builder.value(node.inputs[0])
    parts = [
        constant_along(tensor, part.reshape(shape).astype(np.float32), value.axes)
        for part in (factor, bias - mean * factor)
    ]
    keep(builder, node, builder.affine(value, tensor, parts[0], parts[1]))


@operator('LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization')
def _layer_normalization(builder: Builder, node: Node) -> None:
    tensor, graph = builder.tensor(node.inputs[0]), builder.graph
    rank = len(tensor.shape)
    axes = [channel_axis(tensor, a, 'it') for a in range(node.attribute('axis', -1) % rank, rank)]
    value = builder.with_last(builder.value(node.inputs[0]), tensor, *axes)
    shape = tensor.sizes(axes)
    names = dict(zip(('scale', 'bias'), node.inputs[1:], strict=False))
    weights = {
        f'params.{name}': np.broadcast_to(graph.constant(tensor_name), shape).astype(np.float32)
        for name, tensor_name in names.items()
        if tensor_name
    }
    is_layer = node.operator == 'LayerNormalization'
    config = {
        'type': 'LayerNormalization' if is_layer else 'RMSNormalization',
        'axis': [2 + value.axes.index(axis) for axis in axes],
        'epsilon': node.attribute('epsilon', 1e-5), 'use_scale': 'params.scale' in weights,
    }  # fmt: skip
    if is_layer:
        config['use_bias'] = 'params.bias' in weights
    keep(builder, node, builder.apply(value, config, weights))
    if len(node.outputs) > 1:
        _statistics(builder, node, value, config)


def _statistics(builder: Builder, node: Node, value: Value, config: Config) -> None:
    """The mean and the inverse deviation that a layer normalization divides by."""
    over = {'axis': config['axis'], 'keepdims': True}
    mean = builder.apply(value, {'type': 'Mean'} | over)
    made = [mean]
    if len(node.outputs) > 2:
        centred = builder.combine([value, mean], 'subtract')
        squares = builder.apply(centred, {'type': 'Power', 'power': 2})
        variance = builder.shifted(
            builder.apply(squares, {'type': 'Mean'} | over), config['epsilon']
        )
        made.append(builder.apply(variance, {'type': 'Power', 'power': -0.5}))
    for name, statistic in zip(node.outputs[1:], made, strict=True):
        if name:
            builder.values[name] = statistic


@operator('InstanceNormalization')
def _instance_normalization(builder: Builder, node: Node) -> None:
    tensor, graph = builder.tensor(node.inputs[0]), builder.graph
    over_time = tensor.axes(Role.TIME)
    if builder.streaming and over_time:
        raise no_bound('it', _OTHER_NORMALIZATION)
    if Role.BATCH in tensor.roles[1:] or Role.TIME in tensor.roles[:2]:
        raise Refusal('its channels or batch are time', 'name another time axis')
    if tensor.roles[0] is Role.CHANNEL and tensor.shape[0] != 1:
        raise Refusal('its batch is no batch', 'name it by --batch-axis')
    if not over_time:
        keep(builder, node, _normalized_channels(builder, node, tensor))
        return
    value = builder.with_last(builder.value(node.inputs[0]), tensor, 1)
    config = {'type': 'InstanceNormalization', 'epsilon': node.attribute('epsilon', 1e-5)}
    weights = {'params.gamma': graph.constant(node.inputs[1]),
               'params.beta': graph.constant(node.inputs[2])}  # fmt: skip
    keep(builder, node, builder.apply(value, config, weights))
