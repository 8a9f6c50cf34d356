"""Self-attention, of queries, keys and values that are made step by step."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, Weights, operator
from sequence_layers_import.pointwise import keep
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.relative import Table
from sequence_layers_import.tensors import Node, Role, Tensor


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
    made = [queries, keys, values]
    if is_cross:
        forms = [_linear_form(builder, value) for value in made]
        result = _cross_attention(builder, node, made, forms, (heads, units))
    else:
        result = _self_attention(builder, node, made, (heads, units))
    out = builder.tensor(node.outputs[0])
    keep(builder, node, _with_heads(builder, result, out, heads, units))


def _self_attention(
    builder: Builder, node: Node, values: Sequence[Value], sizes: tuple[int, int]
) -> Value:
    heads, units = sizes
    terms: Sequence[tuple[Table, float]] = node.attribute('terms', ())
    past, future = node.attribute('horizons')
    if terms and builder.streaming and future:
        raise Refusal(
            'its queries make scores of relative positions of the future, which no layer does in a stream',
            'use a causal mask, or import without --streaming',
        )
    readers = [_heads(builder, name, -1) for name in node.inputs[3:]]
    source, forms = _of_one_source(builder, [*values, *(reader[0] for reader in readers)],
                                   [heads * units] * 3 + [h * u for _, h, u in readers])  # fmt: skip
    parts = [_Heads(kernel.reshape(len(kernel), heads, units), bias.reshape(heads, units))
             for kernel, bias in forms[:3]]  # fmt: skip
    weights: dict[str, np.ndarray] = {}
    config: Config = {
        'type': 'DotProductSelfAttention', 'num_heads': heads, 'units_per_head': units,
        'max_past_horizon': past, 'max_future_horizon': future, 'use_bias': True,
        'query_scale': node.attribute('scale'),
        'input_projection': {'type': 'SeparateQueryKeyValueProjection'},
    }  # fmt: skip
    if (cap := node.attribute('cap')) is not None:
        config['attention_logits_soft_cap'] = cap
    rows = node.attribute('distances')
    if terms:
        added = [
            _Added(_Heads(kernel.reshape(len(kernel), h, u), bias.reshape(h, u)).repeated(heads),
                   table, factor)
            for (kernel, bias), (_, h, u), (table, factor) in zip(forms[3:], readers, terms, strict=True)
        ]  # fmt: skip
        parts, table = _with_terms(parts, added, rows, node.attribute('scale'))
        config |= {'query_scale': 1.0, 'units_per_head': parts[0].units}
        config['relative_position_embedding'] = {
            'type': 'ShawRelativePositionEmbedding', 'max_backward': -table.first, 'max_forward': table.last,
            'num_heads': heads, 'units_per_head': parts[0].units,
        }  # fmt: skip
        weights['params.relative_position_embedding.embedding'] = table.rows.astype(np.float32)
    elif rows is not None:
        config['relative_position_embedding'] = _by_distance(rows, heads, weights)
    for name, part in zip(('query', 'key', 'value'), parts, strict=True):
        weights[f'params.{name}_projection.kernel'] = part.kernel.astype(np.float32)
        weights[f'params.{name}_projection.bias'] = part.bias.astype(np.float32)
    made = builder.apply(Value(source, (0,)), config, weights)
    if parts[0].units != units:
        made = builder.apply(
            made, {'type': 'Slice', 'slices': [[None, None, None], [0, units, None]]}
        )
    return made


def _of_one_source(
    builder: Builder, values: Sequence[Value], widths: Sequence[int]
) -> tuple[int, list[tuple[np.ndarray, np.ndarray]]]:
    """A value, and the matrix and bias that make each of these values of it."""
    forms = [_linear_form(builder, value) for value in values]
    sources = {form[0] for form in forms if form is not None}
    if len(sources) == 1 and all(form is not None for form in forms):
        return sources.pop(), [(form[1], form[2]) for form in forms if form is not None]
    flat = [
        builder.reshape(value, [width], (0,)) for value, width in zip(values, widths, strict=True)
    ]
    different = {value.layer: width for value, width in zip(flat, widths, strict=True)}
    source = builder.combine([Value(layer, (0,)) for layer in different], 'concat')
    ends = np.cumsum(list(different.values()))
    columns = np.split(np.eye(ends[-1], dtype=np.float32), ends[:-1], axis=1)
    by_layer = dict(zip(different, columns, strict=True))
    return source.layer, [
        (by_layer[value.layer], np.zeros(width, np.float32))
        for value, width in zip(flat, widths, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class _Heads:
    """A product that makes heads: `kernel` [in, heads, units] and `bias` [heads, units]."""

    kernel: np.ndarray
    bias: np.ndarray

    @property
    def units(self) -> int:
        return self.bias.shape[1]

    def repeated(self, heads: int) -> '_Heads':
        """The product with as many heads, of one that all have in common."""
        by = heads // len(self.bias)
        return _Heads(self.kernel.repeat(by, 1), self.bias.repeat(by, 0))

    def joined(self, others: Sequence['_Heads']) -> '_Heads':
        every = (self, *others)
        return _Heads(
            np.concatenate([part.kernel for part in every], 2),
            np.concatenate([part.bias for part in every], 1),
        )


@dataclasses.dataclass(frozen=True)
class _Added:
    """A term of the scores: the product of what `query` makes with rows of a table, times a factor."""

    query: _Heads
    table: Table
    factor: float


def _with_terms(
    parts: Sequence[_Heads], added: Sequence[_Added], numbers: np.ndarray | None, scale: float
) -> tuple[list[_Heads], Table]:
    """Queries, keys and values with more units, and the table that all units of a query are multiplied with.

    A term of the query itself, or of the query with another bias, reads its units; the difference of the biases gives
    each distance a number. Numbers are rows of a unit that is 1, and other terms have units of their own.
    """
    heads = len(parts[0].bias)
    query = _Heads(parts[0].kernel * scale, parts[0].bias * scale)
    spans = [(term.table.first, term.table.last) for term in added]
    if numbers is not None:
        spans.append((-(len(numbers) // 2), len(numbers) // 2))
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    count = last - first + 1
    own, units = np.zeros((count, heads, query.units)), []
    sums = np.zeros((count, heads))
    if numbers is not None:
        sums += Table(numbers[:, :, np.newaxis], spans[-1][0]).extended(first, last)[:, :, 0]
    tables = []
    for term in added:
        rows = np.broadcast_to(
            term.table.extended(first, last), (count, heads, term.query.units)
        ) * term.factor  # fmt: skip
        ratio = _ratio(term.query.kernel, query.kernel)
        if ratio is None:
            units.append(term.query)
            tables.append(rows)
            continue
        own += ratio * rows
        sums += np.einsum('dhu,hu->dh', rows, term.query.bias - ratio * query.bias)
    if np.nan_to_num(sums).any():
        units.append(_Heads(np.zeros((len(query.kernel), heads, 1)), np.ones((heads, 1))))
        tables.append(sums[:, :, np.newaxis])
    more = sum(part.units for part in units)
    empty = _Heads(np.zeros((len(query.kernel), heads, more)), np.zeros((heads, more)))
    made = [query.joined(units), *(part.joined([empty]) for part in parts[1:])]
    return made, Table(np.concatenate([own, *tables], axis=2), first)


def _ratio(kernel: np.ndarray, other: np.ndarray) -> float | None:
    """The number of times that a kernel is another one."""
    if kernel.shape != other.shape or not other.any():
        return None
    ratio = float((kernel * other).sum() / np.square(other).sum())
    limit = 1e-6 * np.abs(kernel).max()
    return ratio if np.abs(kernel - ratio * other).max() <= limit else None


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
