"""Puts the nodes of a branch in the place of an If, where shapes and constants decide which one is taken."""

import numpy as np
import onnx
import onnxruntime

from sequence_layers_import import protos

OF_SHAPES = ('Shape', 'Size')


def has_choices(model: onnx.ModelProto) -> bool:
    return any(node.op_type == 'If' for node in model.graph.node)


def inline(model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> onnx.ModelProto:
    """The graph of fixed sizes without the choices that do not depend on values of its inputs."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    while (found := _first(made.graph)) is not None:
        index, node, kept = found
        condition = _value(made, node.input[0], kept, options)
        name = 'then_branch' if condition else 'else_branch'
        branch = next(attribute.g for attribute in node.attribute if attribute.name == name)
        nodes = _renamed(branch, list(node.output), made)
        rest = list(made.graph.node)
        protos.set_nodes(made.graph, [*rest[:index], *nodes, *rest[index + 1 :]])
    return made


def _first(graph: onnx.GraphProto) -> tuple[int, onnx.NodeProto, list[onnx.NodeProto]] | None:
    """The first choice that is known, with its place and the nodes that its condition is made of."""
    for index, node in enumerate(graph.node):
        if node.op_type == 'If':
            kept = _makers(graph, node.input[0], through_shapes=False)
            if kept is not None:
                every = _makers(graph, node.input[0], through_shapes=True)
                if every is not None:
                    return index, node, every
    return None


def _makers(
    graph: onnx.GraphProto, name: str, *, through_shapes: bool
) -> list[onnx.NodeProto] | None:
    """The nodes that a tensor is made of; None if it depends on an input's values or on other choices."""
    inputs = {value.name for value in graph.input} - {t.name for t in graph.initializer}
    kept, needed = protos.makers(graph, name, () if through_shapes else OF_SHAPES)
    if any(map(protos.has_bodies, kept)) or (not through_shapes and needed & inputs):
        return None
    return kept


def _value(
    model: onnx.ModelProto, name: str, nodes: list[onnx.NodeProto],
    options: onnxruntime.SessionOptions,
) -> bool:  # fmt: skip
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return bool(onnx.numpy_helper.to_array(tensor).all())
    output = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, None)
    made = protos.part_of(model, nodes, [output])
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    zeros = {
        value.name: np.zeros(value.shape, onnx.helper.tensor_dtype_to_np_dtype(kinds[value.name]))
        for value in session.get_inputs()
    }
    return bool(np.all(session.run([name], zeros)[0]))


def _renamed(
    branch: onnx.GraphProto, outputs: list[str], model: onnx.ModelProto
) -> list[onnx.NodeProto]:
    """The nodes of a branch whose outputs are those of the choice, with names that no other branch has."""
    prefix = f'{outputs[0]}.'  # that of an output is no other's
    names = {tensor.name: prefix + tensor.name for tensor in branch.initializer}
    names |= {name: prefix + name for node in branch.node for name in node.output if name}
    ends = zip(branch.output, outputs, strict=True)
    copies = [
        onnx.helper.make_node('Identity', [names.get(value.name, value.name)], [name])
        for value, name in ends
        if name
    ]
    for tensor in branch.initializer:
        kept = model.graph.initializer.add()
        kept.CopyFrom(tensor)
        kept.name = names[tensor.name]
    made = [_with_names(node, names) for node in branch.node]
    return [*made, *copies]


def _with_names(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    for field in (made.input, made.output):
        for i, name in enumerate(field):
            field[i] = names.get(name, name)
    for body in protos.bodies(made):
        protos.set_nodes(body, [_with_names(inside, names) for inside in body.node])
        for value in body.output:
            value.name = names.get(value.name, value.name)
    return made
