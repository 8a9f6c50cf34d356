"""Steps of an LSTM or GRU that exporters write as products and activations, as one node.

Their gates are in the order of PyTorch: i f g o and r z n.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from sequence_layers_import.graph import Graph
from sequence_layers_import.tensors import Node


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
            graph.replace(node, new)
    graph.prune()


def _orders(node: Node | None) -> Sequence[list[str]]:
    """The inputs of a commutative operator in both orders; nothing if there is no node."""
    return () if node is None else (node.inputs, node.inputs[::-1])


def _pair(graph: Graph, node: Node | None, first: str, second: str) -> tuple[str, str] | None:
    """The inputs of the two operators that make the inputs of a commutative one."""
    for a, b in _orders(node):
        made = graph.made_by(a, first), graph.made_by(b, second)
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
    """The tensor that a node splits into exactly these gates."""
    split = graph.made_by(names[0], 'Split')
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
    cell = graph.made_by(found[1], 'Add') if found else None
    if found is None or cell is None:
        return None
    for kept, added in _orders(cell):
        entering = _pair(graph, graph.made_by(added, 'Mul'), 'Sigmoid', 'Tanh')
        keeping = graph.made_by(kept, 'Mul')
        if entering is None or keeping is None:
            continue
        for gate, state in _orders(keeping):
            forget = graph.made_by(gate, 'Sigmoid')
            if forget is None or not is_state(state):
                continue
            whole = _gates(graph, (entering[0], forget.inputs[0], entering[1], found[0]))
            total = graph.made_by(whole, 'Add') if whole else None
            products = _products(graph, total.inputs, is_state) if total else None
            if products:
                return _node(node, 'LSTM', [products[1].source, state], products)
    return None


def _gru(graph: Graph, node: Node, is_state: Callable[[str], bool]) -> Node | None:
    """(h - n) sigmoid(z) + n or (1 - z) n + z h, where n is tanh(i + sigmoid(r) h)."""
    if node.operator != 'Add':
        return None
    for first, second in _orders(node):
        gate = _update_gate(graph, first, second, is_state)
        if gate is None:
            continue
        new, update, state = gate
        added = graph.made_by(new.inputs[0], 'Add')
        update_sum = graph.made_by(update, 'Add')
        for a, b in _orders(added if update_sum else None):
            product = graph.made_by(b, 'Mul')
            for h, r in _orders(product):
                reset = graph.made_by(r, 'Sigmoid')
                reset_sum = graph.made_by(reset.inputs[0], 'Add') if reset else None
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
    """The tensor that a node splits into one input of each sum and `new`."""
    for r in reset.inputs:
        for z in update.inputs:
            if whole := _gates(graph, (r, z, new)):
                return whole
    return None


def _update_gate(
    graph: Graph, first: str, second: str, is_state: Callable[[str], bool]
) -> tuple[Node, str, str] | None:
    """(node of n, sum under the update gate, state)."""
    product = graph.made_by(first, 'Mul')
    if product is None:
        return None
    for a, b in _orders(product):
        gate, other = graph.made_by(b, 'Sigmoid'), graph.made_by(a, 'Sub')
        new = graph.made_by(second, 'Tanh')
        if gate and other and new and other.inputs[1] == second and is_state(other.inputs[0]):
            return new, gate.inputs[0], other.inputs[0]
        rest, new = graph.made_by(second, 'Mul'), None
        for c, d in _orders(rest if gate and is_state(a) else None):
            one, new = graph.made_by(c, 'Sub'), graph.made_by(d, 'Tanh')
            if one and new and gate and graph.is_constant(one.inputs[0]) and one.inputs[1] == b:
                return new, gate.inputs[0], a
    return None
