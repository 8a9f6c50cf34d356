"""Attention: what exporters add to products of queries and keys, and how they scale, mask and bound it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sequence_layers_import import distances, relative
from sequence_layers_import.graph import Graph
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Role

Mask = list[np.ndarray]  # for the three sizes


@dataclasses.dataclass
class _Scores:
    """The parts that scores are a sum of."""

    product: Node | None = None
    scale: float = 1.0
    cap: float | None = None
    masks: list[Mask] = dataclasses.field(default_factory=list)
    numbers: list[tuple[str, float]] = dataclasses.field(default_factory=list)  # with factors
    terms: list[tuple[relative.Term, float]] = dataclasses.field(default_factory=list)


def rewrite(graph: Graph, node: Node) -> None:
    """softmax(scale q k + mask) v, where keys are the steps of time."""
    if node.operator != 'MatMul':
        return
    softmax = graph.made_by(node.inputs[0], 'Softmax')
    if softmax is None or len(graph.tensor(softmax.inputs[0]).axes(Role.TIME)) != 2:
        return
    if any(reader is not node for reader in graph.readers(softmax.outputs[0])):
        raise Refusal(
            'the weights of attention are read beside their product with values, as by relative positions of values',
            'let queries and keys alone make weights of them',
        ).at(softmax.name, softmax.operator)
    found = _Scores()
    try:
        _read(graph, found, softmax.inputs[0], 1.0)
    except Refusal as refusal:
        raise refusal.at(softmax.name, softmax.operator) from None
    product = found.product
    if product is None or any(graph.is_constant(n) for n in (*product.inputs, node.inputs[1])):
        return
    horizons = _horizons(graph, softmax, found.masks)
    terms = [
        (relative.table(graph, term, horizons), factor * term.factor)
        for term, factor in found.terms
    ]
    names, factors = [name for name, _ in found.numbers], [factor for _, factor in found.numbers]
    inputs = [*product.inputs, node.inputs[1], *(term.query for term, _ in found.terms)]
    attributes = {
        'scale': found.scale, 'cap': found.cap, 'horizons': horizons, 'terms': terms,
        'distances': distances.table(graph, names, factors),
    }  # fmt: skip
    graph.replace(node, Node(node.name, 'import.Attention', inputs, [node.outputs[0]], attributes))


def _read(graph: Graph, found: _Scores, name: str, factor: float) -> None:
    """Adds the parts of a tensor, times a factor.

    The walk goes from the softmax to the product: what is added before a factor is scaled by it too.
    """
    step = graph.made_by(name, 'MatMul', 'Add', 'Mul', 'Div', 'Where', 'Tanh')
    if (
        step is not None
        and step.operator == 'MatMul'
        and not any(map(graph.is_constant, step.inputs))
    ):
        if found.product is not None:
            raise _made_of_input()
        found.product, found.scale = step, factor
    elif step is not None and (scaled := relative.number(graph, step)):
        _read(graph, found, scaled[0], factor * scaled[1])
    elif step is not None and step.operator == 'Where':
        condition, kept, other = step.inputs
        _read(graph, found, _chosen(graph, found, condition, kept, other), factor)
    elif step is not None and step.operator == 'Tanh' and _can_be_bound(found):
        found.cap = factor
        _read(graph, found, step.inputs[0], factor)
    elif step is not None and step.operator == 'Add':
        for added in step.inputs:
            if graph.is_constant(added):
                _add_constant(graph, found, added, factor)
                continue
            try:
                _read(graph, found, added, factor)
            except Refusal as refusal:
                raise (
                    refusal if refusal.operator else _made_of_input().at(step.name, 'Add')
                ) from None
    elif term := relative.find(graph, name):
        found.terms.append((term, factor))
    elif (
        step is not None
        and step.operator in ('Mul', 'Div')
        and any(map(graph.is_constant, step.inputs))
    ):
        raise Refusal('its scores have several scales', 'scale the queries').at(step.name, 'Mul')
    elif step is not None:
        raise _made_of_input().at(step.name, step.operator)
    else:
        raise Refusal(
            'what it does to the scores of attention is not known',
            'scores can be scaled and masked by a constant',
        )


def _can_be_bound(found: _Scores) -> bool:
    """Whether nothing was added outside of a bound."""
    return found.cap is None and found.product is None and not found.numbers and not found.terms


def _add_constant(graph: Graph, found: _Scores, name: str, factor: float) -> None:
    values = graph.folded_constants(name)
    if all(v.size == 1 and v.ravel()[0] == values[0].ravel()[0] for v in values):
        return  # softmax ignores a number that all keys have in common
    found.masks.append([m > -1e4 for m in values])
    if distances.has_numbers(graph, name):
        found.numbers.append((name, factor))


def _made_of_input() -> Refusal:
    return Refusal(
        'its mask or what it adds to scores is made of the input, and no table of relative positions',
        'leave out a mask: lengths are known by the mask of the model',
    )


def _chosen(graph: Graph, found: _Scores, condition: str, kept: str, other: str) -> str:
    """What a choice leaves of scores where they are not masked."""
    if not graph.is_constant(condition):
        raise _made_of_input()
    conditions = graph.folded_constants(condition)
    if graph.is_constant(other):
        found.masks.append([c.astype(bool) for c in conditions])
        return kept
    found.masks.append([~c.astype(bool) for c in conditions])
    return other


def _horizons(graph: Graph, softmax: Node, masks: Sequence[Mask]) -> tuple[int, int]:
    """(past, future) steps that a query sees; -1 is all."""
    if not masks:
        return -1, -1
    found = set()
    for which in (0, 2):
        size = graph.shapes(softmax.inputs[0])[which][-1]
        allowed = np.ones((size, size), bool)
        for mask in masks:
            full = np.broadcast_to(
                mask[which], np.broadcast_shapes(mask[which].shape, (size, size))
            )
            if not (full == full.reshape(-1, size, size)[0]).all():
                raise Refusal('its masks differ by head', 'use one mask').at(
                    softmax.name, 'Softmax'
                )
            allowed &= full.reshape(-1, size, size)[0]
        distance = np.arange(size)[None, :] - np.arange(size)[:, None]
        seen = distance[allowed]
        past, future = (int(-seen.min()), int(seen.max())) if seen.size else (0, 0)
        if not np.array_equal(allowed, (distance >= -past) & (distance <= future)):
            raise Refusal('its mask is no band of past and future steps',
                          'use a causal mask or a window').at(softmax.name, 'Softmax')  # fmt: skip
        found.add((-1 if past == size - 1 else past, -1 if future == size - 1 else future))
    if len(found) > 1:
        raise Refusal('its mask depends on the length', 'use a window of fixed size')
    return found.pop()
