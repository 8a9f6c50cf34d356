"""Operators that onnxruntime's optimizer writes (com.microsoft), as those of ONNX, in graphs of fixed sizes.

`expansions.py` has more, of ONNX itself.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sequence_layers_import import protos

_DOMAIN = 'com.microsoft'
_Maker = Callable[['Expansion'], None]
_MAKERS: dict[tuple[str, str], _Maker] = {}  # by domain and operator
_FAR_BELOW = np.float32(-1e9)


class Unknown(Exception):
    """A form of an operator that is left as it is."""


class Expansion:
    """The nodes in the place of one."""

    def __init__(
        self, node: onnx.NodeProto, shapes: dict[str, list[int]],
        constants: dict[str, np.ndarray], opset: int,
    ):  # fmt: skip
        self.node, self._shapes, self._constants, self.opset = node, shapes, constants, opset
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.nodes: list[onnx.NodeProto] = []
        self.made: dict[str, np.ndarray] = {}

    def input(self, index: int) -> str:
        return self.node.input[index] if index < len(self.node.input) else ''

    def attribute(self, name: str, default: Any = None) -> Any:
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def shape(self, index: int) -> list[int]:
        shape = self._shapes.get(self.input(index))
        if shape is None:
            raise Unknown
        return shape

    def constant(self, index: int) -> np.ndarray | None:
        return self._constants.get(self.input(index))

    def finish(self, name: str) -> None:
        """Makes the output of the old node of what the new ones made."""
        if self.nodes and name == self.nodes[-1].output[0]:
            last = self.nodes[-1]
            last.output[0], last.name = self.node.output[0], self.node.name or self.node.output[0]
        else:
            self.add('Identity', name, out=0)

    def is_constant(self, name: str) -> bool:
        return name in self._constants

    def reshaped(self, name: str, shape: Sequence[int], out: int = -1) -> str:
        return self.add('Reshape', name, self.number(np.array(shape, np.int64)), out=out)

    def unsqueezed(self, name: str, axes: Sequence[int]) -> str:
        if self.opset < 13:
            return self.add('Unsqueeze', name, axes=axes)
        return self.add('Unsqueeze', name, self.number(np.array(axes, np.int64)))

    def summed(self, name: str, axes: Sequence[int]) -> str:
        if self.opset < 13:
            return self.add('ReduceSum', name, axes=axes, keepdims=0)
        return self.add('ReduceSum', name, self.number(np.array(axes, np.int64)), keepdims=0)

    def number(self, value: Any) -> str:
        name = f'{self.node.output[0]}.{len(self.made)}'
        self.made[name] = np.asarray(value)
        return name

    def add(self, operator: str, *inputs: str, out: int = -1, **fields: Any) -> str:
        """The output of a new node; `out` is the output of the old one that it is."""
        name = self.node.output[out] if out >= 0 else f'{self.node.output[0]}.n{len(self.nodes)}'
        label = (
            f'{self.node.name or self.node.output[0]}{f".n{len(self.nodes)}" if out < 0 else ""}'
        )
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=label, **fields))
        return name


def maker(*names: str, domain: str = _DOMAIN) -> Callable[[_Maker], _Maker]:
    def register(function: _Maker) -> _Maker:
        for name in names:
            _MAKERS[domain, name] = function
        return function

    return register


def operators(domain: str) -> set[str]:
    """The operators of a domain that are replaced."""
    return {name for of, name in _MAKERS if of == domain}


def expand(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with those operators replaced whose form is known."""
    graph = model.graph
    if not any((node.domain, node.op_type) in _MAKERS for node in graph.node):
        return model
    constants = protos.constants_of(graph)
    shapes = {name: list(array.shape) for name, array in constants.items()}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for value in (*graph.input, *graph.value_info, *inferred.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField('shape'):
            shapes.setdefault(value.name, [dim.dim_value for dim in kind.shape.dim])
    opset = next((o.version for o in model.opset_import if o.domain in ('', 'ai.onnx')), 0)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        made = _expanded(node, shapes, constants, opset)
        if made is None:
            nodes.append(node)
            continue
        nodes += made.nodes
        graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in made.made.items())
    protos.set_nodes(graph, nodes)
    return model


def _expanded(
    node: onnx.NodeProto, shapes: dict[str, list[int]], constants: dict[str, np.ndarray],
    opset: int,
) -> Expansion | None:  # fmt: skip
    if (node.domain, node.op_type) not in _MAKERS:
        return None
    made = Expansion(node, shapes, constants, opset)
    try:
        _MAKERS[node.domain, node.op_type](made)
    except Unknown:
        return None
    return made


def _single(x: float) -> np.ndarray:
    return np.asarray(x, np.float32)


def _biased(made: Expansion) -> str:
    x, bias = made.input(0), made.input(1)
    return made.add('Add', x, bias) if bias else x


def _gate(made: Expansion, x: str, y: str) -> None:
    """0.5 x (1 + y)."""
    y = made.add('Mul', x, made.add('Add', y, made.number(_single(1))))
    made.add('Mul', y, made.number(_single(0.5)), out=0)


@maker('Gelu', 'BiasGelu')
def _gelu(made: Expansion) -> None:
    x = _biased(made)
    _gate(made, x, made.add('Erf', made.add('Div', x, made.number(_single(math.sqrt(2))))))


@maker('FastGelu')
def _fast_gelu(made: Expansion) -> None:
    x = _biased(made)
    cube = made.add('Pow', x, made.number(_single(3)))
    inner = made.add('Add', x, made.add('Mul', cube, made.number(_single(0.044715))))
    scale = made.number(_single(math.sqrt(2 / math.pi)))
    _gate(made, x, made.add('Tanh', made.add('Mul', inner, scale)))


@maker('QuickGelu')
def _quick_gelu(made: Expansion) -> None:
    x, alpha = made.input(0), made.attribute('alpha', 1.702)
    y = made.add('Sigmoid', made.add('Mul', x, made.number(_single(alpha))))
    made.add('Mul', x, y, out=0)


@maker('FusedMatMul')
def _matmul(made: Expansion) -> None:
    if made.attribute('transBatchA', 0) or made.attribute('transBatchB', 0):
        raise Unknown
    factors = []
    for index, name in enumerate('AB'):
        factor = made.input(index)
        if made.attribute(f'trans{name}', 0):
            factor = _swapped(made, factor, len(made.shape(index)))
        factors.append(factor)
    alpha = made.attribute('alpha', 1.0)
    if alpha == 1:
        made.add('MatMul', *factors, out=0)
        return
    made.add('Mul', made.add('MatMul', *factors), made.number(_single(alpha)), out=0)


def _swapped(made: Expansion, name: str, rank: int) -> str:
    return made.add('Transpose', name, perm=[*range(rank - 2), rank - 1, rank - 2])


@maker('FusedConv', 'FusedGemm')
def _activated(made: Expansion) -> None:
    operator = made.node.op_type.removeprefix('Fused')
    function, own = made.attribute('activation'), made.attribute('activation_params') or []
    names = {'LeakyRelu': ['alpha'], 'HardSigmoid': ['alpha', 'beta']}.get(function, [])
    if made.input(3) or function not in ('Relu', 'Tanh', 'Sigmoid', 'LeakyRelu', 'HardSigmoid'):
        raise Unknown
    fields = {k: made.attribute(k) for k in made.attributes if not k.startswith('activation')}
    if operator == 'Gemm' and 'activation_alpha' in made.attributes:
        own = [made.attribute(f'activation_{n}') for n in ('alpha', 'beta')]
    inputs = [name for name in made.node.input if name]
    params = dict(zip(names, own, strict=False))
    made.add(function, made.add(operator, *inputs, **fields), out=0, **params)


def _normalized(made: Expansion, total: str, places: tuple[int, ...]) -> None:
    """A normalization of a sum, which may be an output too."""
    names = [made.input(place) for place in places]
    names = [name for i, name in enumerate(names) if name or any(names[i:])]
    epsilon = made.attribute('epsilon', 1e-12)
    if len(places) > 1:
        made.add('LayerNormalization', total, *names, out=0, axis=-1, epsilon=epsilon)
        return
    squares = made.add('Pow', total, made.number(_single(2)))
    if made.opset < 18:
        mean = made.add('ReduceMean', squares, axes=[-1])
    else:
        mean = made.add('ReduceMean', squares, made.number(np.array([-1])))
    root = made.add('Sqrt', made.add('Add', mean, made.number(_single(epsilon))))
    made.add('Mul', made.add('Div', total, root), *names, out=0)


def _sum(made: Expansion, bias: int, place: int) -> str:
    total = made.add('Add', made.input(0), made.input(1))
    if made.input(bias):
        total = made.add('Add', total, made.input(bias))
    if len(made.node.output) > place and made.node.output[place]:
        made.add('Identity', total, out=place)
    return total


@maker('SkipLayerNormalization')
def _skip(made: Expansion) -> None:
    _normalized(made, _sum(made, 4, 3), (2, 3))


@maker('SkipSimplifiedLayerNormalization')
def _skip_simplified(made: Expansion) -> None:
    _normalized(made, _sum(made, 3, 3), (2,))


@maker('EmbedLayerNormalization')
def _embedded(made: Expansion) -> None:
    words, places, kinds = (made.constant(index) for index in (2, 3, 4))
    if made.input(8) or words is None or places is None:
        raise Unknown
    total = made.add('Gather', made.input(2), made.input(0))
    total = made.add('Add', total, made.number(places[np.newaxis, : made.shape(0)[1]]))
    if made.input(1) and kinds is not None:
        total = made.add('Add', total, made.add('Gather', made.input(4), made.input(1)))
    _normalized(made, total, (5, 6))


def _heads(made: Expansion, name: str, width: int, keys: bool = False) -> str:
    count = made.attribute('num_heads')
    split = made.add('Reshape', name, made.number(np.array([0, 0, count, width // count])))
    return made.add('Transpose', split, perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])


def _attend(made: Expansion, parts: list[str], widths: list[int], steps: int) -> None:
    """softmax(scale q k + mask) v of heads."""
    width = widths[0] // made.attribute('num_heads')
    scale = made.attribute('scale', 0.0) or 1 / math.sqrt(width)
    query, value = (_heads(made, parts[i], widths[i]) for i in (0, 2))
    scores = made.add('MatMul', query, _heads(made, parts[1], widths[1], keys=True))
    scores = made.add('Mul', scores, made.number(_single(scale)))
    if made.attribute('unidirectional', 0):
        mask = np.triu(np.full((steps, steps), _FAR_BELOW, np.float32), 1)
        scores = made.add('Add', scores, made.number(mask))
    y = made.add('MatMul', made.add('Softmax', scores, axis=-1), value)
    y = made.add('Transpose', y, perm=[0, 2, 1, 3])
    made.add('Reshape', y, made.number(np.array([0, 0, widths[2]])), out=0)


def _check_masks(made: Expansion, masks: tuple[int, ...], others: tuple[int, ...]) -> None:
    """All steps may be there, which a mask of the model tells; other inputs are not known."""
    for index in masks:
        mask = made.constant(index)
        if made.input(index) and (mask is None or mask.ndim < 2 or not (mask == 1).all()):
            raise Unknown
    if any(made.input(index) for index in others) or any(made.node.output[1:]):
        raise Unknown


@maker('Attention')
def _attention(made: Expansion) -> None:
    _check_masks(made, (3,), (4, 5, 6))
    steps, whole = made.shape(0)[1], made.shape(1)[1]
    widths = made.attribute('qkv_hidden_sizes') or [whole // 3] * 3
    every = made.add('MatMul', made.input(0), made.input(1))
    if made.input(2):
        every = made.add('Add', every, made.input(2))
    ends = np.cumsum([0, *widths])
    parts = [
        made.add('Slice', every, *(made.number(np.array([n])) for n in (start, stop, 2)))
        for start, stop in zip(ends, ends[1:], strict=False)
    ]
    _attend(made, parts, list(widths), steps)


@maker('MultiHeadAttention')
def _multi_head_attention(made: Expansion) -> None:
    _check_masks(made, (4,), (5, 6, 7, 8, 9))
    widths = [made.shape(index)[-1] for index in range(3)]
    if any(len(made.shape(index)) != 3 for index in range(3)):
        raise Unknown
    parts = [made.input(index) for index in range(3)]
    bias = made.constant(3)
    if made.input(3):
        if bias is None:
            raise Unknown
        ends = np.cumsum([0, *widths])
        parts = [
            made.add('Add', part, made.number(bias[start:stop]))
            for part, start, stop in zip(parts, ends, ends[1:], strict=False)
        ]
    _attend(made, parts, widths, made.shape(0)[1])
