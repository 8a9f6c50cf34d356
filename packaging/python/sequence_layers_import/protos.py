"""Parts of ONNX's messages that several modules read and write."""

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import onnx
from onnx import numpy_helper


def constants_of(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The arrays of initializers and of nodes that are constants."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node has, as those of branches and loops."""
    return (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)


def has_bodies(node: onnx.NodeProto) -> bool:
    return any(True for _ in bodies(node))


def makers(
    graph: onnx.GraphProto, name: str, ends: Collection[str] = ()
) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that a tensor is made of, in order, and all tensors that it needs.

    Inputs of operators that are `ends` are not followed.
    """
    needed, kept = {name}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            if node.op_type not in ends:
                needed.update(node.input)
    return kept[::-1], needed


def set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Puts nodes, some of which may be the graph's own, in the place of all."""
    made = list(nodes)
    del graph.node[:]
    graph.node.extend(made)


def part_of(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], outputs: Iterable[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """A model of some of the nodes and the constants that they read, with other outputs."""
    graph, kept = model.graph, list(nodes)
    read = {name for node in kept for name in node.input}
    made = onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions
    )
    made.graph.name = graph.name
    made.graph.node.extend(kept)
    made.graph.input.extend(graph.input)
    made.graph.output.extend(outputs)
    made.graph.value_info.extend(graph.value_info)
    # The bodies of branches and loops may read any constant.
    is_all = any(map(has_bodies, kept))
    made.graph.initializer.extend(t for t in graph.initializer if is_all or t.name in read)
    return made
