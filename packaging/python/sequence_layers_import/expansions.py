"""Operators of ONNX that several simpler ones compute, in graphs of fixed sizes."""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sequence_layers_import import protos
from sequence_layers_import.contrib import Expansion, Unknown, maker

_ONNX = ''
_SPARE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'


@maker('GatherND', domain=_ONNX)
def _gather_nd(made: Expansion) -> None:
    """A selection along the first axis."""
    shape = made.shape(1)
    if made.attribute('batch_dims', 0) or shape[-1] != 1:
        raise Unknown
    numbers = made.add('Reshape', made.input(1), made.number(np.array(shape[:-1], np.int64)))
    made.add('Gather', made.input(0), numbers, out=0, axis=0)


@maker('DepthToSpace', domain=_ONNX)
def _depth_to_space(made: Expansion) -> None:
    size = made.attribute('blocksize')
    batch, count, *places = made.shape(0)
    rest = count // size**2
    is_columns = made.attribute('mode', 'DCR') == 'CRD'
    split = [batch, rest, size, size] if is_columns else [batch, size, size, rest]
    order = [0, 1, 4, 2, 5, 3] if is_columns else [0, 3, 4, 1, 5, 2]
    x = made.reshaped(made.input(0), [*split, *places])
    x = made.add('Transpose', x, perm=order)
    made.reshaped(x, [batch, rest, *(size * place for place in places)], out=0)


@maker('SpaceToDepth', domain=_ONNX)
def _space_to_depth(made: Expansion) -> None:
    size = made.attribute('blocksize')
    batch, count, height, width = made.shape(0)
    height, width = height // size, width // size
    x = made.reshaped(made.input(0), [batch, count, height, size, width, size])
    x = made.add('Transpose', x, perm=[0, 3, 5, 1, 2, 4])
    made.reshaped(x, [batch, count * size**2, height, width], out=0)


@maker('Einsum', domain=_ONNX)
def _einsum(made: Expansion) -> None:
    """Products of two factors after each other: as a matrix product, or element by element and a sum."""
    terms, wanted = _terms(made)
    sizes = {
        label: size
        for i, term in enumerate(terms)
        for label, size in zip(term, made.shape(i), strict=True)
    }
    name, labels = made.input(0), terms[0]
    for index, term in enumerate(terms[1:], 1):
        kept = set(wanted).union(*terms[index + 1 :])
        name, labels = _product(made, (name, labels), (made.input(index), term), kept, sizes)
    name, labels = _summed(made, name, labels, wanted)
    made.finish(_ordered(made, name, labels, wanted))


def _ordered(made: Expansion, name: str, labels: str, order: Sequence[str]) -> str:
    perm = [labels.index(label) for label in order]
    return name if perm == sorted(perm) else made.add('Transpose', name, perm=perm)


def _terms(made: Expansion) -> tuple[list[str], str]:
    """The labels of the axes of the factors and of the result; axes of an ellipsis get labels of their own."""
    equation = made.attribute('equation').replace(' ', '')
    left, arrow, right = equation.partition('->')
    terms = left.split(',')
    ranks = [len(made.shape(i)) for i in range(len(terms))]
    spare = ''.join(label for label in _SPARE if label not in equation)
    dots = 0
    for i, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        if '...' in term:
            count = rank - len(term) + 3
            dots = max(dots, count)
            terms[i] = term.replace('...', spare[:count][::-1])
    broadcast = spare[:dots][::-1]
    every = ''.join(terms)
    if not arrow:
        once = sorted(
            label for label in set(every) if every.count(label) == 1 and label not in broadcast
        )
        right = '...' + ''.join(once)
    right = right.replace('...', broadcast)
    if any(len(set(term)) != len(term) for term in (*terms, right)) or not set(right) <= set(every):
        raise Unknown
    return terms, right


def _summed(
    made: Expansion, name: str, labels: str, kept: Sequence[str] | set[str]
) -> tuple[str, str]:
    axes = [i for i, label in enumerate(labels) if label not in kept]
    if not axes:
        return name, labels
    name = made.summed(name, axes)
    return name, ''.join(label for label in labels if label in kept)


def _product(
    made: Expansion, first: tuple[str, str], second: tuple[str, str], kept: set[str],
    sizes: dict[str, int],
) -> tuple[str, str]:  # fmt: skip
    """The product of two factors, with the labels of its axes."""
    first = _summed(made, *first, kept.union(second[1]))
    second = _summed(made, *second, kept.union(first[1]))
    if made.is_constant(first[0]) and not made.is_constant(second[0]):
        first, second = second, first
    shared = [label for label in first[1] if label in second[1] and label in kept]
    summed = [label for label in first[1] if label in second[1] and label not in kept]
    left = [label for label in first[1] if label not in second[1]]
    right = [label for label in second[1] if label not in first[1]]
    if not (summed and left and right):
        order = ''.join((*shared, *left, *right, *summed))
        both = (_with_axes(made, *factor, order) for factor in (first, second))
        return _summed(made, made.add('Mul', *both), order, kept)
    outer = [*shared, *left]
    x = _with_axes(made, *first, ''.join((*outer, *summed)))
    if len(summed) > 1:
        x = made.reshaped(x, [*[0] * len(outer), -1])
    # A matrix alone has no axes before its rows.
    before = outer[:-1] if shared else []
    y = _with_axes(made, *second, ''.join((*before, *summed, *right)))
    columns = [sizes[label] for label in right]
    if len(summed) > 1 or len(right) > 1:
        y = made.reshaped(y, [*[0] * len(before), -1, math.prod(columns)])
    product = made.add('MatMul', x, y)
    if len(right) > 1:
        product = made.reshaped(product, [*[0] * len(outer), *columns])
    return product, ''.join((*outer, *right))


def _with_axes(made: Expansion, name: str, labels: str, order: str) -> str:
    """The factor with its axes in this order, and with axes of one element for what it lacks."""
    name = _ordered(made, name, labels, [label for label in order if label in labels])
    missing = [i for i, label in enumerate(order) if label not in labels]
    return made.unsqueezed(name, missing) if missing else name


def without_sequences(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with a selection for each tensor that is taken out of a list of the parts of one (torch.unbind)."""
    graph = model.graph
    constants = protos.constants_of(graph)
    parts = {n.output[0]: n for n in graph.node if n.op_type == 'SplitToSequence'}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        split = parts.get(node.input[0]) if node.op_type == 'SequenceAt' else None
        fields = {a.name: a.i for a in split.attribute} if split else {}
        size = constants.get(split.input[1]) if split and len(split.input) > 1 else np.array(1)
        if not split or size is None or size.ndim or size != 1 or node.input[1] not in constants:
            nodes.append(node)
            continue
        index = constants[node.input[1]].ravel()
        keeps_axis = len(split.input) > 1 or fields.get('keepdims', 1)
        number = f'{node.output[0]}.number'
        array = index if keeps_axis else index.reshape(())
        graph.initializer.append(numpy_helper.from_array(array, number))
        nodes.append(helper.make_node('Gather', [split.input[0], number], node.output, name=node.name,
                                      axis=fields.get('axis', 0)))  # fmt: skip
    read = {name for node in nodes for name in node.input}
    read.update(value.name for value in graph.output)
    protos.set_nodes(
        graph, [n for n in nodes if n.op_type != 'SplitToSequence' or n.output[0] in read]
    )
    return model
