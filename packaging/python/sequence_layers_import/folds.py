"""Graphs for fixed sizes of their inputs, in which all that does not depend on values is constant."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from sequence_layers_import.folding import FOLDER
from sequence_layers_import.graph_inputs import TimeAxis, inputs_of, opset_of, with_fixed
from sequence_layers_import.refusal import SizeError
from sequence_layers_import.tensors import RESHAPES, Node


@dataclasses.dataclass
class Fold:
    """The graph for one fixed size of the inputs."""

    nodes: list[Node]
    tensors: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
    constants: dict[str, np.ndarray]
    opset: int


def _fold(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Mapping[str, Sequence[int]]
) -> Fold:
    return _read(FOLDER.fold(_with_sizes(model, axes, sizes)))


def try_fold(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Mapping[str, Sequence[int]]
) -> Fold | None:
    """The graph for these shapes of its inputs; None if it does not take them."""
    try:
        return _fold(model, axes, sizes)
    except Exception:  # onnxruntime raises anything
        return None


def fold_all(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Sequence[dict[str, list[int]]]
) -> list[Fold]:
    """The graph for each of the sizes, of which some may be equal."""
    folds: list[Fold] = []
    for i, wanted in enumerate(sizes):
        first = sizes.index(wanted)
        folds.append(folds[first] if first < i else _fold(model, axes, wanted))
    return folds


def _with_sizes(
    model: onnx.ModelProto, axes: Mapping[str, TimeAxis], sizes: Mapping[str, Sequence[int]]
) -> onnx.ModelProto:
    # The graph is that of valid steps alone, as layers heed a mask by themselves, and of empty caches.
    known = [name for name, axis in axes.items() if axis.is_mask or axis.grows is not None]
    fixed = with_fixed(model, {name: np.ones(sizes[name]) for name in known})
    for value in inputs_of(fixed):
        shape = value.type.tensor_type.shape
        shape.ClearField('dim')
        for size in sizes[value.name]:
            shape.dim.add().dim_value = size
    # Shapes that the exporter recorded hold for its own example: onnxruntime infers them anew.
    fixed.graph.ClearField('value_info')
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField('shape')
    return fixed


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [v.decode() for v in value]
    return value


def _read(folded: onnx.ModelProto) -> Fold:
    graph = folded.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {a.name: _attribute(a) for a in node.attribute}
        if node.op_type == 'Constant':
            constants[node.output[0]] = np.asarray(next(iter(attributes.values())))
            continue
        domain = '' if node.domain in ('', 'ai.onnx') else f'{node.domain}.'
        name = node.name or next(iter(node.output), '')
        operator = domain + node.op_type
        nodes.append(Node(name, operator, list(node.input), list(node.output), attributes))
    tensors = {name: (value.shape, value.dtype) for name, value in constants.items()}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if value.name in constants or not kind.elem_type:
            continue
        sizes = [dim.dim_value if dim.HasField('dim_value') else -1 for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        tensors[value.name] = (tuple(sizes), np.dtype(dtype))
    for node in nodes:
        if node.operator == 'Concat':
            # An empty cache adds no steps.
            node.inputs = [n for n in node.inputs if n not in constants or constants[n].size]
            node.operator = 'Concat' if len(node.inputs) > 1 else 'Identity'
    fold = Fold(nodes, tensors, constants, opset_of(folded))
    _check_windows(fold)
    return fold


def _check_windows(fold: Fold) -> None:
    """Raises ValueError if a window is larger than what it slides over, for which shapes are wrong."""
    for node in fold.nodes:
        _check_ends(fold, node)
        _check_elements(fold, node)
        if node.operator not in ('Conv', 'MaxPool', 'AveragePool'):
            continue
        kernel = fold.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        sizes = node.attribute('kernel_shape') or (() if kernel is None else kernel.shape[2:])
        shape = fold.tensors.get(node.inputs[0], ((),))[0][2:]
        pads = node.attribute('pads', [0] * 2 * len(sizes))
        dilations = node.attribute('dilations', [1] * len(sizes))
        fixed = node.attribute('auto_pad', 'NOTSET') in ('NOTSET', 'VALID')
        for i, (size, width) in enumerate(zip(sizes, shape, strict=False)):
            extent = (size - 1) * dilations[i] + 1
            if fixed and 0 <= width and width + pads[i] + pads[len(sizes) + i] < extent:
                raise ValueError(f'the window of {node.name} is larger than the sequence')


def _check_elements(fold: Fold, node: Node) -> None:
    """Raises ValueError if a reshape makes other elements, as with the steps of an exporter's example."""
    if node.operator in RESHAPES and len(node.inputs) > 1 and node.inputs[1] in fold.constants:
        shapes = [fold.tensors.get(n, ((-1,),))[0] for n in (node.inputs[0], node.outputs[0])]
        before, after = (-1 if -1 in shape else math.prod(shape) for shape in shapes)
        if -1 not in (before, after) and before != after:
            text = f'{node.name} reshapes {shapes[0]} to {shapes[1]}'
            raise (ValueError if -1 in fold.constants[node.inputs[1]] else SizeError)(text)


def _check_ends(fold: Fold, node: Node) -> None:
    """Raises ValueError if a sequence is too short for its spectra, or to be mirrored at its ends."""
    shape = fold.tensors.get(node.inputs[0], ((),))[0] if node.inputs else ()
    if node.operator == 'STFT' and len(node.inputs) > 3 and node.inputs[3] in fold.constants:
        too_short = 0 <= shape[1] < fold.constants[node.inputs[3]].ravel()[0]
    elif node.operator == 'Pad' and node.attribute('mode') == 'reflect':
        pads = (
            fold.constants.get(node.inputs[1]) if len(node.inputs) > 1 else node.attribute('pads')
        )
        given = np.ravel(pads) if pads is not None else np.zeros(0)
        largest = given.reshape(2, -1).max(0) if given.size == 2 * len(shape) else np.zeros(0)
        too_short = any(0 <= s <= p for s, p in zip(shape, largest, strict=False) if p > 0)
    else:
        too_short = False
    if too_short:
        raise ValueError(f'the sequence is too short for {node.name}')
