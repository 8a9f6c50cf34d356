"""Self-attention, of queries, keys and values that are made step by step."""

from collections.abc import Callable, Sequence

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, Weights, operator
from sequence_layers_import.graph import Node, Role, Tensor
from sequence_layers_import.pointwise import keep
from sequence_layers_import.refusal import Refusal


def _heads(builder: Builder, name: str, width_axis: int) -> tuple[Value, int, int]:
    """The value as [heads, width]."""
    tensor = builder.tensor(name)
    if len(tensor.axes(Role.TIME)) != 1:
        raise Refusal(f'"{name}" of attention has no axis of time', 'check the axes')
    width = width_axis % len(tensor.shape)
    rest = [axis for axis in tensor.channel_axes if axis != width and tensor.shape[axis] != 1]
    if len(rest) > 1 or tensor.roles[width] is not Role.CHANNEL:
        raise Refusal('its heads are on several axes', 'put heads on one axis')
    value = builder.aligned(builder.value(name), tensor, (*rest, width))
    heads = tensor.shape[rest[0]] if rest else 1
    if not rest:
        value = builder.reshape(value, [1, tensor.shape[width]], (-1, width))
    return value, heads, tensor.shape[width]


@operator('import.Attention')
def _attention(builder: Builder, node: Node) -> None:
    if is_cross := _reads_source(builder, node):
        _check_cross(node)
    past, future = node.attribute('horizons')
    if not is_cross and builder.streaming and future == -1:
        raise Refusal(
            'attention sees all of the future, so that its look-ahead has no bound',
            'use a causal mask or a window',
        )
    queries, heads, units = _heads(builder, node.inputs[0], -1)
    keys, key_heads, key_units = _heads(builder, node.inputs[1], -2)
    values, value_heads, value_units = _heads(builder, node.inputs[2], -1)
    if not heads == key_heads == value_heads or not units == key_units == value_units:
        raise Refusal(
            'queries, keys and values have other numbers of heads or widths', 'use equal ones'
        )
    forms = [_linear_form(builder, value) for value in (queries, keys, values)]
    if is_cross:
        made = _cross_attention(builder, node, (queries, keys, values), forms, (heads, units))
        keep(
            builder, node, _with_heads(builder, made, builder.tensor(node.outputs[0]), heads, units)
        )
        return
    sources = {form[0] for form in forms if form is not None}
    if len(sources) == 1 and all(form is not None for form in forms):
        source = Value(sources.pop(), (0,))
        arrays = [(form[1], form[2]) for form in forms if form is not None]
    else:
        flat = [builder.reshape(v, [heads * units], (0,)) for v in (queries, keys, values)]
        source = builder.combine(flat, 'concat')
        eye = np.eye(3 * heads * units, dtype=np.float32)
        arrays = [(part, np.zeros(heads * units, np.float32)) for part in np.split(eye, 3, axis=1)]
    weights: dict[str, np.ndarray] = {}
    for name, (kernel, bias) in zip(('query', 'key', 'value'), arrays, strict=True):
        weights[f'params.{name}_projection.kernel'] = kernel.reshape(-1, heads, units)
        weights[f'params.{name}_projection.bias'] = bias.reshape(heads, units)
    config = {
        'type': 'DotProductSelfAttention', 'num_heads': heads, 'units_per_head': units,
        'max_past_horizon': past, 'max_future_horizon': future, 'use_bias': True,
        'query_scale': node.attribute('scale'),
        'input_projection': {'type': 'SeparateQueryKeyValueProjection'},
    }  # fmt: skip
    if (cap := node.attribute('cap')) is not None:
        config['attention_logits_soft_cap'] = cap
    if (rows := node.attribute('distances')) is not None:
        config['relative_position_embedding'] = _by_distance(rows, heads, weights)
    out = builder.tensor(node.outputs[0])
    made = builder.apply(source, config, weights)
    keep(builder, node, _with_heads(builder, made, out, heads, units))


def _reads_source(builder: Builder, node: Node) -> bool:
    return any(builder.source_of(builder.value(name)) for name in node.inputs)


def _check_cross(node: Node) -> None:
    if node.attribute('horizons') != (-1, -1) or node.attribute('distances') is not None:
        raise Refusal(
            'its queries see a part of the source, or by distance', 'let each see all of it'
        )


def _cross_attention(
    builder: Builder, node: Node, values: Sequence[Value], forms: Sequence['_Form | None'],
    sizes: tuple[int, int],
) -> Value:  # fmt: skip
    """Attention of each step to a sequence of its own."""
    heads, units = sizes
    query, key, value = forms
    sources = {form[0] for form in (key, value) if form is not None}
    if key is None or value is None or len(sources) > 1 or not sources <= set(builder.sources):
        name = builder.source_of(values[1]) or builder.source_of(values[2])
        raise Refusal(
            f'its keys and values are no products of the source "{name}" alone',
            'make them by one matrix each',
        )
    if query is None or query[0] in builder.sources:
        flat = builder.reshape(values[0], [heads * units], (0,))
        eye = np.eye(heads * units, dtype=np.float32)
        query = flat.layer, eye, np.zeros(heads * units, np.float32)
    keys = [np.stack([k.reshape(-1, heads, units), v.reshape(-1, heads, units)], -3)
            for k, v in ((key[1], value[1]), (key[2][None], value[2][None]))]  # fmt: skip
    weights = {
        'params.query_projection.kernel': query[1].reshape(-1, heads, units),
        'params.query_projection.bias': query[2].reshape(heads, units),
        'params.key_value_projection.kernel': keys[0], 'params.key_value_projection.bias': keys[1][0],
    }  # fmt: skip
    config = {
        'type': 'DotProductAttention', 'source_name': builder.sources[key[0]], 'num_heads': heads,
        'units_per_head': units, 'use_bias': True, 'query_scale': node.attribute('scale'),
        'attention_logits_soft_cap': node.attribute('cap'),
    }  # fmt: skip
    return builder.apply(Value(query[0], (0,)), config, weights)


def _by_distance(rows: np.ndarray, heads: int, weights: dict[str, np.ndarray]) -> Config:
    """A number of each head for each distance, those beyond having the last one's."""
    reach = len(rows) // 2 + 1
    past, future = rows[reach - 1 :: -1], rows[reach - 1 :]
    # The first half of the buckets of a direction are those of one distance.
    parts = [np.pad(part, ((0, reach), (0, 0)), 'edge') for part in (past, future)]
    if len(parts[0]) == 2:
        parts = [np.pad(part, ((0, 2), (0, 0)), 'edge') for part in parts]
    table = np.broadcast_to(np.concatenate(parts), (2 * len(parts[0]), max(heads, rows.shape[1])))
    weights['params.relative_position_embedding.embedding'] = table.astype(np.float32)
    return {
        'type': 'T5RelativePositionEmbedding', 'num_buckets': len(table), 'num_heads': heads,
        'bidirectional': True, 'max_distance': len(table) // 4 + 1,
    }  # fmt: skip


def _with_heads(builder: Builder, made: Value, out: Tensor, heads: int, units: int) -> Value:
    width = len(out.shape) - 1
    rest = [axis for axis in out.channel_axes if axis != width and out.shape[axis] != 1]
    if not rest:
        return builder.reshape(made, [units], (width,))
    return Value(made.layer, (rest[0], width))


_Form = tuple[int, np.ndarray, np.ndarray]


def _linear_form(builder: Builder, value: Value) -> _Form | None:
    """(input, matrix, bias) of a chain of layers, if it is a product with a matrix and a sum."""
    chain = []
    at = value.layer
    while True:
        layer = builder.layers[at]
        if layer.config is None or len(layer.inputs) != 1:
            return None
        if layer.config['type'] == 'Dense' and layer.weights['params.kernel'].ndim == 2:
            break
        if layer.config['type'] not in _MOVES:
            return None
        chain.append(layer)
        at = layer.inputs[0]
    kernel = layer.weights['params.kernel']
    bias = layer.weights.get('params.bias', np.zeros(kernel.shape[1], np.float32))
    rows = np.concatenate([kernel, bias[np.newaxis]])
    for moved in reversed(chain):
        assert moved.config is not None
        rows = _MOVES[moved.config['type']](rows, moved.config, moved.weights)
    if not _is_flat(builder, layer.inputs[0]):
        return None
    flat = rows.reshape(len(rows), -1)
    return layer.inputs[0], flat[:-1], flat[-1]


def _is_flat(builder: Builder, number: int) -> bool:
    """Whether a value has one channel axis, as far as is known."""
    return number in {v.layer for v in builder.values.values() if len(v.axes) == 1}


def _affine(rows: np.ndarray, config: Config, weights: Weights) -> np.ndarray:
    rows = rows * weights.get('params.scale', np.float32(1))
    rows[-1] = rows[-1] + weights.get('params.bias', np.float32(0))
    return rows


def _shifted(rows: np.ndarray, config: Config, weights: Weights) -> np.ndarray:
    rows = rows.copy()
    rows[-1] = rows[-1] + np.float32(config['shift'])
    return rows


def _slice(rows: np.ndarray, config: Config, weights: Weights) -> np.ndarray:
    return rows[(slice(None), *(slice(*parts) for parts in config['slices']))]


_MOVES: dict[str, Callable[[np.ndarray, Config, Weights], np.ndarray]] = {
    'Reshape': lambda rows, config, _: rows.reshape(len(rows), *config['output_shape']),
    'Transpose': lambda rows, config, _: rows.transpose(0, *(a - 1 for a in config['axes'])),
    'Scale': lambda rows, config, _: rows * np.float32(config['scale']),
    'Add': _shifted,
    'Affine': _affine,
    'Slice': _slice,
}
