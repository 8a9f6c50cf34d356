"""Constants of steps: tables of positions, and values that all steps have in common.

onnxruntime folds a constant for each number of steps. One whose shorter form is the beginning of the longer one is a table
of positions, which has the rows of the longest form that the graph has.
"""

import numpy as np

from sequence_layers_import.builder import Builder, Value, operator
from sequence_layers_import.graph import Graph
from sequence_layers_import.pointwise import keep
from sequence_layers_import.refusal import Refusal, naming
from sequence_layers_import.tensors import Node, Role, Tensor
from sequence_layers_import.timeline import reduced

_BROADCASTING = (
    'Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Where', 'And', 'Or', 'Concat', 'Greater', 'GreaterOrEqual', 'Less',
    'LessOrEqual', 'Equal', 'Pow',
)  # fmt: skip


def rewrite(graph: Graph, source: str) -> None:
    """Makes constants that differ from step to step into nodes, and others into those of one step.

    `source` is the graph's first input, of whose steps positions are counted.
    """
    for node in list(graph.nodes):
        if node.operator not in _BROADCASTING or all(map(graph.is_constant, node.inputs)):
            continue
        for i, name in enumerate(node.inputs):
            if graph.is_constant(name):
                node.inputs[i] = _of_one_step(graph, node, name)
                if node.inputs[i] == name:
                    with naming(node.name, node.operator):
                        _add_positions(graph, node, source, name)


def _of_one_step(graph: Graph, node: Node, name: str) -> str:
    """The name of a constant without the steps that another input has too, if they are all equal."""
    out, tensor = graph.tensor(node.outputs[0]), graph.tensor(name)
    by = len(out.shape) - len(tensor.shape)
    beside = [n for n in node.inputs if n and not graph.is_constant(n)]
    if node.operator == 'Concat' or all(graph.tensor(n).shape != out.shape for n in beside):
        return name
    axes = [a for a in range(len(tensor.shape)) if out.roles[a + by] is not Role.CHANNEL]
    axes = [a for a in axes if tensor.shape[a] != 1]
    values = graph.folded_constants(name)
    firsts = [value.take([0] * bool(axes), axes[0]) if axes else value for value in values]
    for axis in axes[1:]:
        firsts = [value.take([0], axis) for value in firsts]
    is_steady = all((v == f).all() for v, f in zip(values, firsts, strict=True))
    if not axes or not is_steady or any((f != firsts[0]).any() for f in firsts):
        return name
    graph.add_constant(f'{name}.step', firsts)
    return f'{name}.step'


def _add_positions(graph: Graph, reader: Node, source: str, name: str) -> None:
    times = [graph.tensor(n).axes(Role.TIME) for n in (name, source, reader.outputs[0])]
    if any(len(axes) != 1 for axes in times) or graph.tensor(name).dtype.kind == 'b':
        return
    if _rate(graph, source, name) is None:
        # Convolutions without padding left fewer steps: they are counted where the table is read.
        beside = [n for n in reader.inputs if n and not graph.is_constant(n)]
        alike = [n for n in beside if _rate(graph, n, name) == 1]
        source = alike[0] if alike else source
    node = Node(name, 'import.Positions', [source], [name], {'table': _rows(graph, name)})
    node.attributes['is_late'] = bool(graph.producer(source))
    graph.drop_constant(name)
    # Behind what makes its source.
    makers = [i + 1 for i, other in enumerate(graph.nodes) if source in other.outputs]
    graph.nodes.insert(max(makers, default=0), node)


def _rows(graph: Graph, name: str) -> np.ndarray:
    """The table as [steps, channels...]."""
    tensor = graph.tensor(name)
    forms = [_by_step(tensor, constant) for constant in graph.folded_constants(name)]
    longest = max(forms, key=len)
    if any(not np.array_equal(form, longest[: len(form)]) for form in forms):
        raise Refusal(
            f'the constant "{name}" differs with the length of the sequence, also where it begins',
            'a layer has one value for all lengths',
        )
    for constant in graph.longer_constants(name):
        form = _by_step(tensor, constant)
        if len(form) > len(longest) and np.array_equal(form[: len(longest)], longest):
            return form
    return longest


def _by_step(tensor: Tensor, constant: np.ndarray) -> np.ndarray:
    if any((constant != constant.take([0], axis)).any() for axis in tensor.axes(Role.BATCH)):
        raise Refusal(f'the constant "{tensor.name}" differs by item', 'use one for all items')
    for axis in tensor.axes(Role.BATCH):
        constant = constant.take([0], axis)
    (time,) = tensor.axes(Role.TIME)
    moved = constant.transpose(time, *tensor.axes(Role.BATCH), *tensor.channel_axes)
    return moved.reshape(len(moved), *tensor.sizes(tensor.channel_axes))


@operator('import.Positions')
def _positions(builder: Builder, node: Node) -> None:
    """Row t of the table at step t: the one embedding that a step has, of the number 0."""
    source, out = builder.tensor(node.inputs[0]), builder.tensor(node.outputs[0])
    table, value = node.attribute('table'), builder.value(node.inputs[0])
    if value.axes:
        first = [[0, 1, None] for _ in value.axes]
        value = builder.apply(value, {'type': 'Slice', 'slices': first})
        value = builder.reshape(value, [], ())
    value = builder.apply(value, {'type': 'Scale', 'scale': 0})
    if source.dtype.kind in 'fb':
        value = builder.apply(value, {'type': 'Cast', 'dtype': 'int32'})
    rate = _rate(builder.graph, *node.inputs, *node.outputs)
    if rate is None:
        raise Refusal('its steps are no multiple of those of the input', 'check the time axis')
    if rate > 1:
        value = builder.apply(value, {'type': 'Downsample1D', 'rate': rate})
    rows = table.reshape(len(table), -1).astype(np.float32)
    if node.attribute('is_late'):
        axes = [axis for axis in out.channel_axes if out.shape[axis] != 1]
        value = builder.apply(_counted(builder, value), {
            'type': 'Embedding', 'dimension': rows.shape[1], 'num_embeddings': len(rows),
        }, {'params.embedding': rows}, axes=axes)  # fmt: skip
        keep(builder, node, builder.reshape(value, out.sizes(axes), axes))
        return
    config = {
        'type': 'SequenceEmbedding', 'dimension': rows.shape[1], 'num_steps': len(rows),
        'num_embeddings_per_step': 1,
    }  # fmt: skip
    axes = [axis for axis in out.channel_axes if out.shape[axis] != 1]
    value = builder.apply(value, config, {'params.embedding': rows}, axes=axes)
    keep(builder, node, builder.reshape(value, out.sizes(axes), axes))


def _counted(builder: Builder, zeros: Value) -> Value:
    """The numbers of valid steps: what comes before them in a stream behind a look-ahead does not count."""
    ones = builder.apply(zeros, {'type': 'Add', 'shift': 1})
    count = reduced(builder, ones, 'sum', 'running')
    return builder.apply(count, {'type': 'Add', 'shift': -1})


def _rate(graph: Graph, source: str, table: str) -> int | None:
    """How many steps of a tensor a row of a table has, if it is the same number for all lengths."""
    counts = []
    for name in (source, table):
        axes = graph.tensor(name).axes(Role.TIME)
        if len(axes) != 1:
            return None
        counts.append([shape[axes[0]] for shape in graph.shapes(name)])
    rate = counts[0][0] // counts[1][0]
    return rate if all(a == rate * b for a, b in zip(*counts, strict=True)) else None
