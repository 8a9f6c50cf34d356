"""Constants of steps: tables of positions, and values that all steps have in common."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from sequence_layers_import.builder import Builder, operator
from sequence_layers_import.graph import Graph, Node, Role
from sequence_layers_import.pointwise import keep

_BROADCASTING = ('Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Where', 'And', 'Or', 'Concat')


def rewrite(graph: Graph, model: onnx.ModelProto, source: str) -> None:
    """Makes constants that differ from step to step into nodes, and others into those of one step.

    `source` is the graph's first input, of whose steps positions are counted.
    """
    for node in list(graph.nodes):
        if node.operator not in _BROADCASTING:
            continue
        for i, name in enumerate(node.inputs):
            if graph.is_constant(name):
                node.inputs[i] = _of_one_step(graph, node, name)
                if node.inputs[i] == name:
                    _add_positions(graph, model, source, name)


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


def _add_positions(graph: Graph, model: onnx.ModelProto, source: str, name: str) -> None:
    tensor = graph.tensor(name)
    time, steps = tensor.axes(Role.TIME), graph.tensor(source).axes(Role.TIME)
    if len(time) != 1 or len(steps) != 1 or tensor.axes(Role.BATCH, Role.STEPS):
        return
    if tensor.dtype.kind != 'f' or any(
        a[time[0]] != b[steps[0]]
        for a, b in zip(graph.shapes(name), graph.shapes(source), strict=True)
    ):
        return
    parts = [np.moveaxis(v, time[0], 0) for v in graph.folded_constants(name)]
    longest = max((part.reshape(len(part), -1) for part in parts), key=len)
    if any((part.reshape(len(part), -1) != longest[: len(part)]).any() for part in parts):
        return
    table = next((t for a in _arrays(model) if (t := _rows_from(a, longest)) is not None), None)
    if table is not None:
        graph.drop_constant(name)
        node = Node(name, 'import.Positions', [source], [name], {'table': table})
        graph.nodes.insert(0, node)


def _arrays(model: onnx.ModelProto) -> Iterator[np.ndarray]:
    for tensor in model.graph.initializer:
        yield numpy_helper.to_array(tensor)
    for node in model.graph.node:
        if node.op_type == 'Constant':
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    yield numpy_helper.to_array(attribute.t)


def _rows_from(array: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """The rows of an array from these on, if it has them."""
    count, width = rows.shape
    if array.dtype.kind != 'f' or array.ndim < 2 or array.size < rows.size:
        return None
    sizes = [size for size in array.shape if size != 1]
    if array.size % width or int(np.prod(sizes[1:], dtype=np.int64)) != width:
        return None
    table = array.reshape(-1, width)
    for start in np.flatnonzero((table[: len(table) - count + 1] == rows[0]).all(axis=1)):
        if np.array_equal(table[start : start + count], rows):
            return table[start:]
    return None


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
    config = {
        'type': 'SequenceEmbedding', 'dimension': table.shape[1], 'num_steps': len(table),
        'num_embeddings_per_step': 1,
    }  # fmt: skip
    axes = [axis for axis in out.channel_axes if out.shape[axis] != 1]
    value = builder.apply(value, config, {'params.embedding': table.astype(np.float32)}, axes=axes)
    keep(builder, node, builder.reshape(value, out.sizes(axes), axes))
