"""Steps of an LSTM or GRU that exporters write as products and activations, as one node.

Their gates are in the order of PyTorch: i f g o and r z n.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from sequence_layers_import.graph import Graph, Node


@dataclasses.dataclass(frozen=True)
class _Linear:
    """A product of one value with a constant, plus a constant."""

    source: str
    kernel: np.ndarray  # [in, out]
    bias: np.ndarray


def rewrite(graph: Graph, is_state: Callable[[str], bool]) -> None:
    """Replaces the steps whose states `is_state` knows."""
    for node in list(graph.nodes):
        new = _lstm(graph, node, is_state) or _gru(graph, node, is_state)
        if new is not None:
            graph.nodes = [new if other is node else other for other in graph.nodes]
    graph.prune()


def _made_by(graph: Graph, name: str, operator: str) -> Node | None:
    node = graph.producer(name)
    return node if node is not None and node.operator == operator else None


def _pair(graph: Graph, node: Node | None, first: str, second: str) -> tuple[str, str] | None:
    """The inputs of the two operators that make the inputs of a commutative one."""
    for a, b in (node.inputs, node.inputs[::-1]) if node is not None else ():
        made = _made_by(graph, a, first), _made_by(graph, b, second)
        if made[0] is not None and made[1] is not None:
            return made[0].inputs[0], made[1].inputs[0]
    return None


def _linear(graph: Graph, name: str) -> _Linear | None:
    node = graph.producer(name)
    if node is None:
        return None
    constants = [n for n in node.inputs if graph.is_constant(n)]
    if node.operator == 'Gemm' and constants == node.inputs[1:]:
        usual = (
            node.attribute(n, d) == d for n, d in (('alpha', 1.0), ('beta', 1.0), ('transA', 0))
        )
        kernel = graph.constant(node.inputs[1])
        kernel = kernel.T if node.attribute('transB', 0) else kernel
        bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(kernel.shape[1])
        return _Linear(node.inputs[0], kernel, bias.ravel()) if all(usual) else None
    if node.operator == 'MatMul' and constants == node.inputs[1:]:
        kernel = graph.constant(constants[0])
        return _Linear(node.inputs[0], kernel, np.zeros(kernel.shape[-1]))
    if node.operator == 'Add' and len(constants) == 1:
        made = _linear(graph, next(n for n in node.inputs if n != constants[0]))
        bias = graph.constant(constants[0])
        return made and dataclasses.replace(made, bias=made.bias + bias.ravel())
    return None


def _gates(graph: Graph, names: Sequence[str]) -> str | None:
    """What is split into exactly these gates."""
    split = _made_by(graph, names[0], 'Split')
    return split.inputs[0] if split is not None and split.outputs == list(names) else None


def _products(
    graph: Graph, pair: Sequence[str], is_state: Callable[[str], bool]
) -> tuple[_Linear, _Linear] | None:
    """The products of the input and of the state."""
    for a, b in (pair, pair[::-1]):
        made = _linear(graph, a), _linear(graph, b)
        if made[0] is not None and made[1] is not None and is_state(made[1].source):
            return made[0], made[1]
    return None


def _node(node: Node, kind: str, states: Sequence[str], of: tuple[_Linear, _Linear]) -> Node:
    weights = (of[0].kernel.T, of[1].kernel.T, of[0].bias, of[1].bias)
    fields = {'kind': kind, 'weights': weights}
    return Node(node.name, 'import.Cell', [of[0].source, *states], [node.outputs[0]], fields)


def _lstm(graph: Graph, node: Node, is_state: Callable[[str], bool]) -> Node | None:
    """sigmoid(o) tanh(sigmoid(f) c + sigmoid(i) tanh(g))."""
    found = _pair(graph, node, 'Sigmoid', 'Tanh') if node.operator == 'Mul' else None
    cell = _made_by(graph, found[1], 'Add') if found else None
    if found is None or cell is None:
        return None
    for kept, added in (cell.inputs, cell.inputs[::-1]):
        entering = _pair(graph, _made_by(graph, added, 'Mul'), 'Sigmoid', 'Tanh')
        keeping = _made_by(graph, kept, 'Mul')
        if entering is None or keeping is None:
            continue
        for gate, state in (keeping.inputs, keeping.inputs[::-1]):
            forget = _made_by(graph, gate, 'Sigmoid')
            if forget is None or not is_state(state):
                continue
            whole = _gates(graph, (entering[0], forget.inputs[0], entering[1], found[0]))
            total = _made_by(graph, whole, 'Add') if whole else None
            products = _products(graph, total.inputs, is_state) if total else None
            if products:
                return _node(node, 'LSTM', [products[1].source, state], products)
    return None


def _gru(graph: Graph, node: Node, is_state: Callable[[str], bool]) -> Node | None:
    """(h - n) sigmoid(z) + n or (1 - z) n + z h, where n is tanh(i + sigmoid(r) h)."""
    if node.operator != 'Add':
        return None
    for first, second in (node.inputs, node.inputs[::-1]):
        gate = _update_gate(graph, first, second, is_state)
        if gate is None:
            continue
        new, update, state = gate
        added = _made_by(graph, new.inputs[0], 'Add')
        update_sum = _made_by(graph, update, 'Add')
        for a, b in (added.inputs, added.inputs[::-1]) if added and update_sum else ():
            product = _made_by(graph, b, 'Mul')
            for h, r in (product.inputs, product.inputs[::-1]) if product else ():
                reset = _made_by(graph, r, 'Sigmoid')
                reset_sum = _made_by(graph, reset.inputs[0], 'Add') if reset else None
                if reset_sum is None or update_sum is None:
                    continue
                of_input = _matching(graph, reset_sum, update_sum, a)
                of_state = _matching(graph, reset_sum, update_sum, h)
                pair = (of_input, of_state) if of_input and of_state else None
                products = _products(graph, pair, is_state) if pair else None
                if products and products[1].source == state:
                    return _node(node, 'GRU', [state], products)
    return None


def _matching(graph: Graph, reset: Node, update: Node, new: str) -> str | None:
    """What is split into one input of each sum and `new`."""
    for r in reset.inputs:
        for z in update.inputs:
            if whole := _gates(graph, (r, z, new)):
                return whole
    return None


def _update_gate(
    graph: Graph, first: str, second: str, is_state: Callable[[str], bool]
) -> tuple[Node, str, str] | None:
    """(node of n, sum under the update gate, state)."""
    product = _made_by(graph, first, 'Mul')
    if product is None:
        return None
    for a, b in (product.inputs, product.inputs[::-1]):
        gate, other = _made_by(graph, b, 'Sigmoid'), _made_by(graph, a, 'Sub')
        new = _made_by(graph, second, 'Tanh')
        if gate and other and new and other.inputs[1] == second and is_state(other.inputs[0]):
            return new, gate.inputs[0], other.inputs[0]
        rest, new = _made_by(graph, second, 'Mul'), None
        for c, d in (rest.inputs, rest.inputs[::-1]) if rest and gate and is_state(a) else ():
            one, new = _made_by(graph, c, 'Sub'), _made_by(graph, d, 'Tanh')
            if one and new and gate and graph.is_constant(one.inputs[0]) and one.inputs[1] == b:
                return new, gate.inputs[0], a
    return None
