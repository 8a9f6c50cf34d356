"""Groups of nodes that exporters write for one layer, as one node."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from sequence_layers_import import scores
from sequence_layers_import.graph import Graph
from sequence_layers_import.refusal import Refusal, naming
from sequence_layers_import.tensors import RESHAPES, Node, Role

_NO_END = 2**31 - 1


def rewrite(graph: Graph) -> None:
    """Replaces the groups that it finds."""
    _rewrite(graph, _PATTERNS)


def rewrite_weights_of_time(graph: Graph) -> None:
    """Replaces the groups whose constants differ from step to step, though they are no positions."""
    _rewrite(graph, [_interpolation])


def _rewrite(graph: Graph, replacements: Iterable[Callable[[Graph, Node], None]]) -> None:
    for pattern in replacements:
        # Nodes change while the list is read.
        for node in list(graph.nodes):
            if any(node is other for other in graph.nodes):
                with naming(node.name, node.operator):
                    pattern(graph, node)
        graph.prune()


def _number(graph: Graph, name: str) -> float | None:
    """The value of a constant that is one number."""
    if not graph.is_constant(name):
        return None
    values = graph.folded_constants(name)
    if values[0].size != 1 or any(
        v.size != 1 or v.ravel()[0] != values[0].ravel()[0] for v in values
    ):
        return None
    return float(values[0].ravel()[0])


def _is(graph: Graph, name: str, number: float) -> bool:
    found = _number(graph, name)
    return found is not None and math.isclose(found, number, rel_tol=1e-5)


def _only_reader(graph: Graph, name: str) -> Node | None:
    readers = graph.readers(name)
    return readers[0] if len(readers) == 1 and name not in graph.outputs else None


def _split_constant(graph: Graph, node: Node) -> tuple[str, str] | None:
    """(value, constant) of an operation on a result and a constant."""
    constants = [name for name in node.inputs if graph.is_constant(name)]
    if len(node.inputs) != 2 or len(constants) != 1:
        return None
    return next(name for name in node.inputs if name != constants[0]), constants[0]


def _replace(
    graph: Graph, last: Node, operator: str, inputs: Iterable[str], **attributes: object
) -> None:
    """Puts a new node in the place of the last of a group; `prune` drops the others."""
    new = Node(last.name, operator, list(inputs), [last.outputs[0]], dict(attributes))
    graph.replace(last, new)


def _gelu(graph: Graph, node: Node) -> None:
    """0.5 x (1 + erf(x / sqrt(2))), with the factors in any order."""
    if node.operator != 'Erf':
        return
    inner = graph.made_by(node.inputs[0], 'Div', 'Mul')
    parts = inner and _split_constant(graph, inner)
    if not inner or not parts:
        return
    root = math.sqrt(2) if inner.operator == 'Div' else math.sqrt(0.5)
    last = _only_reader(graph, node.outputs[0])
    if not _is(graph, parts[1], root) or last is None or last.operator != 'Add':
        return
    sum_parts = _split_constant(graph, last)
    if not sum_parts or not _is(graph, sum_parts[1], 1):
        return
    factor, has_x = 1.0, False
    while not has_x or not math.isclose(factor, 0.5, rel_tol=1e-5):
        following = _only_reader(graph, last.outputs[0])
        if following is None or following.operator not in ('Mul', 'Div'):
            return
        other = next((n for n in following.inputs if n != last.outputs[0]), '')
        found = _factor(graph, other, parts[0])
        if found is None or (found[1] and has_x):
            return
        factor *= 1 / found[0] if following.operator == 'Div' else found[0]
        has_x, last = has_x or found[1], following
    _replace(graph, last, 'Gelu', [parts[0]])


def _factor(graph: Graph, name: str, x: str) -> tuple[float, bool] | None:
    """A number, x, or x times a number: the number, and whether x is in it."""
    if name == x:
        return 1.0, True
    number = _number(graph, name)
    if number is not None:
        return number, False
    node = graph.made_by(name, 'Mul')
    parts = node and _split_constant(graph, node)
    number = _number(graph, parts[1]) if parts and parts[0] == x else None
    return None if number is None else (number, True)


def _swish(graph: Graph, node: Node) -> None:
    """x sigmoid(x)."""
    if node.operator == 'Mul' and len(node.inputs) == 2:
        for x, gate in (node.inputs, node.inputs[::-1]):
            sigmoid = graph.made_by(gate, 'Sigmoid')
            if sigmoid and sigmoid.inputs[0] == x and not graph.is_constant(x):
                _replace(graph, node, 'import.Swish', [x])
                return


def _threshold(graph: Graph, node: Node) -> None:
    """x > c ? x : softplus(x) of a large c, and x > 0 ? x : slope x."""
    condition = graph.made_by(node.inputs[0], 'Greater') if node.operator == 'Where' else None
    if condition is None or node.inputs[1] != condition.inputs[0]:
        return
    x, limit = condition.inputs[0], _number(graph, condition.inputs[1])
    below = graph.made_by(node.inputs[2], 'Softplus', 'Mul')
    if limit is None or below is None:
        return
    if below.operator == 'Softplus' and below.inputs[0] == x and limit >= 15:
        _replace(graph, node, 'Softplus', [x])
    parts = _split_constant(graph, below)
    slope = _number(graph, parts[1]) if parts and parts[0] == x else None
    if slope is not None and limit == 0:
        _replace(graph, node, 'LeakyRelu', [x], alpha=slope)


def _divide_or_zero(graph: Graph, node: Node) -> None:
    """b == 0 ? 0 : a / b."""
    condition = graph.made_by(node.inputs[0], 'Equal') if node.operator == 'Where' else None
    quotient = graph.made_by(node.inputs[2], 'Div') if condition else None
    if condition and quotient and _is_zero(graph, node.inputs[1]):
        parts = _split_constant(graph, condition)
        if parts and parts[0] == quotient.inputs[1] and _is_zero(graph, parts[1]):
            if not graph.is_constant(quotient.inputs[0]):
                _replace(graph, node, 'import.DivideOrZero', quotient.inputs)


def _is_zero(graph: Graph, name: str) -> bool:
    return graph.is_constant(name) and not any(v.any() for v in graph.folded_constants(name))


def _normalization(graph: Graph, node: Node) -> None:
    """(x - mean) / sqrt(mean of squares + epsilon), or the same without mean."""
    deviation = _deviation(graph, node)
    if deviation is None:
        return
    centred, root = deviation
    total = graph.made_by(root, 'Add')
    parts = total and _split_constant(graph, total)
    epsilon = _number(graph, parts[1]) if parts else None
    mean = graph.made_by(parts[0], 'ReduceMean') if parts else None
    squares = graph.made_by(mean.inputs[0], 'Pow', 'Mul') if mean else None
    if (
        epsilon is None
        or mean is None
        or squares is None
        or not _is_square(graph, squares, centred)
    ):
        return
    axes = _axes(graph, mean)
    rank = len(graph.tensor(centred).shape)
    if axes != list(range(rank - len(axes), rank)) or not mean.attribute('keepdims', 1):
        return
    difference = graph.made_by(centred, 'Sub')
    average = graph.made_by(difference.inputs[1], 'ReduceMean') if difference else None
    is_centred = (
        difference is not None and average is not None and _axes(graph, average) == axes
        and average.inputs[0] == difference.inputs[0]
    )  # fmt: skip
    x = difference.inputs[0] if is_centred and difference else centred
    operator = 'LayerNormalization' if is_centred else 'RMSNormalization'
    _replace(graph, node, operator, [x, ''], axis=-len(axes), epsilon=epsilon)


def _deviation(graph: Graph, node: Node) -> tuple[str, str] | None:
    """(dividend, radicand) of a quotient by a square root, as exporters write it."""
    if node.operator == 'Div':
        root = graph.made_by(node.inputs[1], 'Sqrt')
        return (node.inputs[0], root.inputs[0]) if root else None
    if node.operator != 'Mul':
        return None
    for value, inverse in (node.inputs, node.inputs[::-1]):
        made = graph.made_by(inverse, 'Reciprocal', 'Pow', 'Div')
        if made is None:
            continue
        if made.operator == 'Pow' and _is(graph, made.inputs[1], -0.5):
            return value, made.inputs[0]
        root = graph.made_by(made.inputs[-1], 'Sqrt')
        if made.operator == 'Reciprocal' and root:
            return value, root.inputs[0]
        if made.operator == 'Div' and root and _is(graph, made.inputs[0], 1):
            return value, root.inputs[0]
    return None


def _is_square(graph: Graph, node: Node, of: str) -> bool:
    if node.operator == 'Mul':
        return node.inputs == [of, of]
    return node.inputs[0] == of and _is(graph, node.inputs[1], 2)


def _axes(graph: Graph, node: Node) -> list[int]:
    rank = len(graph.tensor(node.inputs[0]).shape)
    given = graph.numbers(node, 1, 'axes')
    return sorted(axis % rank for axis in (range(rank) if given is None else given))


def _scale_and_bias(graph: Graph, node: Node) -> None:
    """Gives a normalization without weights the product and sum that follow."""
    if node.operator not in ('LayerNormalization', 'RMSNormalization') or any(node.inputs[1:]):
        return
    shape = graph.tensor(node.inputs[0]).shape[node.attribute('axis') :]
    product = _only_reader(graph, node.outputs[0])
    if product is None or product.operator != 'Mul':
        return
    parts = _split_constant(graph, product)
    if not parts or graph.constant(parts[1]).shape != shape:
        return
    names, last = [parts[1]], product
    following = _only_reader(graph, product.outputs[0])
    added = _split_constant(graph, following) if following and following.operator == 'Add' else None
    if added and following and node.operator[0] == 'L' and graph.constant(added[1]).shape == shape:
        names, last = [*names, added[1]], following
    _replace(graph, last, node.operator, [node.inputs[0], *names], **node.attributes)


def _moved_padding(graph: Graph, node: Node) -> None:
    """A transposition of zeros before the input, as zeros before the transposed input."""
    pad = graph.made_by(node.inputs[0], 'Pad') if node.operator == 'Transpose' else None
    if pad is None or len(pad.inputs) > 1:
        return
    order = node.attribute('perm')
    rank, pads, moved = len(order), pad.attribute('pads'), f'{node.outputs[0]}.unpadded'
    graph.copy_tensor(moved, pad.inputs[0], order)
    new = Node(node.name, 'Transpose', pad.inputs, [moved], {'perm': order})
    padded = [pads[half * rank + axis] for half in (0, 1) for axis in order]
    after = Node(pad.name, 'Pad', [moved], node.outputs, pad.attributes | {'pads': padded})
    graph.replace(node, new, after)


def _reshapes(graph: Graph, node: Node) -> None:
    """A reshape of a reshape, as one: what is between may mix time with channels."""
    if node.operator in RESHAPES:
        node.inputs = [graph.origin(node.inputs[0], RESHAPES), *node.inputs[1:]]


def _whole_slice(graph: Graph, node: Node) -> None:
    """A part that is the whole: what exporters write where a length may be cut."""
    if node.operator != 'Slice' or graph.shapes(node.inputs[0]) != graph.shapes(node.outputs[0]):
        return
    steps = graph.folded_constants(node.inputs[4]) if len(node.inputs) > 4 else []
    ends = graph.folded_constants(node.inputs[2]) if len(node.inputs) > 2 else []
    # One that is the same for all lengths may be the most steps that the graph takes.
    is_open = bool(ends) and all(((e >= _NO_END) | (e != ends[0])).all() for e in ends[2:])
    is_forward = not any((step != 1).any() for step in steps)
    if is_open and is_forward and node.outputs[0] not in graph.outputs:
        for reader in graph.readers(node.outputs[0]):
            reader.inputs = [node.inputs[0] if n == node.outputs[0] else n for n in reader.inputs]


def _group_normalization(graph: Graph, node: Node) -> None:
    """Groups of channels with their steps as one axis, whose instances are normalized, and the weights that follow."""
    if node.operator != 'InstanceNormalization':
        return
    grouped, last = graph.made_by(node.inputs[0], 'Reshape'), _only_reader(graph, node.outputs[0])
    if grouped is None or last is None or last.operator != 'Reshape':
        return
    x, steady = grouped.inputs[0], [graph.constant(name) for name in node.inputs[1:3]]
    tensor, groups = graph.tensor(x), graph.tensor(grouped.outputs[0]).shape[1]
    if (
        graph.shapes(x) != graph.shapes(last.outputs[0])
        or len(graph.tensor(grouped.outputs[0]).shape) != 3
        or tensor.roles[1] is not Role.CHANNEL
        or tensor.shape[1] % groups
        or any((array != array[0]).any() for array in steady)
    ):
        return
    scale, bias = (np.full(tensor.shape[1], array[0], np.float32) for array in steady)
    count, rank = tensor.shape[1], len(tensor.shape)
    for operator in ('Mul', 'Add'):
        following = _only_reader(graph, last.outputs[0])
        parts = following and _split_constant(graph, following)
        if not following or following.operator != operator or not parts:
            continue
        array = graph.constant(parts[1])
        sizes = (1,) * (rank - array.ndim) + array.shape
        if sizes[1] not in (1, count) or array.size != sizes[1]:
            break
        scale, bias = (scale * array.ravel(), bias * array.ravel()) if operator == 'Mul' else (
            scale, bias + array.ravel())  # fmt: skip
        last = following
    _replace(graph, last, 'import.GroupNormalization', [x], groups=groups, scale=scale, bias=bias,
             epsilon=node.attribute('epsilon', 1e-5))  # fmt: skip


def _variance(graph: Graph, node: Node) -> None:
    """The mean over time of squared differences from the mean, times n / (n - 1) for that of a sample."""
    axes = _axes(graph, node) if node.operator == 'ReduceMean' else []
    if len(axes) != 1 or graph.tensor(node.inputs[0]).roles[axes[0]] is not Role.TIME:
        return
    squares = graph.made_by(node.inputs[0], 'Pow', 'Mul')
    difference = squares and graph.made_by(squares.inputs[0], 'Sub')
    mean = difference and graph.made_by(difference.inputs[1], 'ReduceMean')
    if (
        not squares
        or not difference
        or not mean
        or not _is_square(graph, squares, squares.inputs[0])
        or mean.inputs[0] != difference.inputs[0]
        or _axes(graph, mean) != axes
    ):
        return
    counts = [shape[axes[0]] for shape in graph.shapes(node.inputs[0])]
    last, correction = node, 0
    for operator, less in (('Mul', 0), ('Div', 1)):
        following = _only_reader(graph, last.outputs[0])
        parts = following and _split_constant(graph, following)
        if not following or not parts or following.operator not in ('Mul', 'Div'):
            break
        values = [float(v.ravel()[0]) for v in graph.folded_constants(parts[1]) if v.size == 1]
        if following.operator == operator and values == [count - less for count in counts]:
            last, correction = following, less
        elif len(values) == 3 and np.allclose(values, [n / (n - 1) for n in counts], 1e-6, 0):
            last, correction = following, 1
            break
    if last is not node and not correction:
        return
    keepdims = node.attribute('keepdims', 1)
    _replace(graph, last, 'import.Variance', [mean.inputs[0]], axis=axes[0], keepdims=keepdims,
             correction=correction)  # fmt: skip


def _delay(graph: Graph, node: Node) -> None:
    """Zeros before the input and as many steps cut at its end, as a delay."""
    pad = graph.made_by(node.inputs[0], 'Pad') if node.operator == 'Slice' else None
    if pad is None or pad.attribute('mode', 'constant') != 'constant' or len(pad.inputs) > 1:
        return
    tensor, pads = graph.tensor(node.outputs[0]), pad.attribute('pads')
    axes, rank = tensor.axes(Role.TIME), len(tensor.shape)
    if len(axes) != 1 or sum(map(abs, pads)) != pads[axes[0]] or pad.attribute('value', 0):
        return
    if graph.shapes(node.outputs[0]) != graph.shapes(pad.inputs[0]):
        return
    starts = {int(np.ravel(values)[0]) for values in graph.folded_constants(node.inputs[1])}
    before = pads[axes[0]]
    # The only slice that keeps the number of steps begins there.
    start = starts.pop() if len(starts) == 1 else -1
    if 0 <= start <= before and rank == len(graph.tensor(pad.inputs[0]).shape):
        _replace(graph, node, 'import.Delay', [pad.inputs[0]], count=before - start)


def _padded_window(graph: Graph, node: Node) -> None:
    """Zeros before a convolution or a mean, or the smallest number before a maximum, as its own padding."""
    if node.operator not in ('Conv', 'AveragePool', 'MaxPool'):
        return
    pad = graph.made_by(node.inputs[0], 'Pad')
    if pad is None or pad.attribute('mode', 'constant') != 'constant' or len(pad.inputs) > 3:
        return
    value = pad.attribute('value', 0.0)
    if len(pad.inputs) > 2 and pad.inputs[2]:
        value = _number(graph, pad.inputs[2])
    if value != (-math.inf if node.operator == 'MaxPool' else 0):
        return
    if node.attribute('auto_pad', 'NOTSET') not in ('NOTSET', 'VALID'):
        return
    before, after = np.split(_pads(graph, pad, node), 2)
    if before[:2].any() or after[:2].any() or (before < 0).any() or (after < 0).any():
        return
    count = len(before) - 2
    own = np.array(node.attribute('pads', [0] * 2 * count))
    if node.operator == 'AveragePool' and own.any() and not node.attribute('count_include_pad', 0):
        return
    pads = own + np.concatenate([before[2:], after[2:]])
    if node.operator == 'Conv' and any(
        max(pads[axis - 2], pads[count + axis - 2]) >= _extent(graph, node, axis)
        for axis in graph.tensor(pad.inputs[0]).axes(Role.TIME)
    ):
        return  # steps of its own
    node.inputs[0] = pad.inputs[0]
    node.attributes |= {'pads': [int(p) for p in pads], 'auto_pad': 'NOTSET'}
    if node.operator == 'AveragePool':
        node.attributes['count_include_pad'] = 1


def _pads(graph: Graph, pad: Node, window: Node) -> np.ndarray:
    """The padding; steps that fill the last window, whose number depends on the length, are one less than its stride."""
    if len(pad.inputs) < 2 or not graph.is_constant(pad.inputs[1]):
        return np.array(graph.numbers(pad, 1, 'pads'))
    folded = [np.ravel(value) for value in graph.folded_constants(pad.inputs[1])]
    least, most = np.min(folded, axis=0), np.max(folded, axis=0)
    strides = window.attribute('strides', [1] * (len(least) // 2 - 2))
    filled = np.array([*[0] * (len(least) // 2 + 2), *(stride - 1 for stride in strides)])
    if len(filled) != len(least):
        return np.array(graph.numbers(pad, 1, 'pads'))
    if filled.any():
        for other in map(np.ravel, graph.other_constants(pad.inputs[1])):
            least, most = np.minimum(least, other), np.maximum(most, other)
            if (most - least == filled).all():
                break
    is_other = (most - least > filled) | ((most > least) & (least < 0))
    if is_other.any():
        if all(np.array_equal(other, folded[0]) for other in folded):
            # At lengths of whole windows alone it is what these need.
            return folded[0]
        axis = int(np.argmax(is_other))
        raise Refusal(
            f'its number of steps depends on the length, as {least[axis]} and {most[axis]}, and not only by the up to '
            f'{filled[axis]} that the last window of {window.operator} "{window.name}" lacks',
            "export it without this padding, and pad the input up to a length that fits, or by PyTorch's newer exporter, if "
            'it is the older one that wrote the length of an example',
            node=pad.name, operator='Pad',
        )  # fmt: skip
    return np.where(least == most, least, least + filled)


def _mirrored_window(graph: Graph, node: Node) -> None:
    """Steps of the sequence itself before a convolution or a Fourier transform of windows, as padding of its windows."""
    source = node.inputs[0] if node.operator in ('Conv', 'STFT') else ''
    pad = graph.made_by(graph.origin(source, RESHAPES if node.operator == 'STFT' else ()), 'Pad')
    mode = pad.attribute('mode') if pad else ''
    if pad is None or mode not in ('reflect', 'edge') or (mode, node.operator) == ('edge', 'STFT'):
        return
    tensor, pads = graph.tensor(pad.inputs[0]), _pads(graph, pad, node)
    axes, rank = tensor.axes(Role.TIME), len(tensor.shape)
    if len(axes) != 1 or len(pads) != 2 * rank or pads.min() < 0:
        return
    before, after = (int(pads[axes[0] + half * rank]) for half in (0, 1))
    is_plain = node.operator == 'STFT' or (
        axes[0] >= 2 and not _pads_of(node, axes[0] - 2, rank - 2)
        and node.attribute('auto_pad', 'NOTSET') in ('NOTSET', 'VALID')
    )  # fmt: skip
    if before + after != pads.sum() or not is_plain:
        return
    node.attributes |= {'import.mirrored': (before, after), 'import.mode': mode}
    if source == pad.outputs[0]:
        node.inputs[0] = pad.inputs[0]
        return
    (time,) = graph.tensor(source).axes(Role.TIME)
    whole = f'{source}.unpadded'
    graph.copy_tensor(whole, source)
    shapes = [
        (*shape[:time], shape[time] - before - after, *shape[time + 1 :])
        for shape in graph.shapes(source)
    ]
    graph.reshape_tensor(whole, shapes)
    graph.replace(node, Node(node.name, 'Reshape', pad.inputs[:1], [whole], {}), node)
    node.inputs[0] = whole


def _pads_of(node: Node, axis: int, count: int) -> bool:
    """Whether a window pads this one of so many axes itself."""
    pads = node.attribute('pads', [0] * 2 * count)
    return bool(pads[axis] or pads[count + axis])


def _cut_window(graph: Graph, node: Node) -> None:
    """Steps cut after a convolution that pads them, as less padding."""
    if node.operator != 'Slice':
        return
    conv = graph.made_by(node.inputs[0], 'Conv', 'ConvTranspose')
    if conv is None or _only_reader(graph, node.inputs[0]) is None:
        return
    before, after = graph.shapes(node.inputs[0]), graph.shapes(node.outputs[0])
    tensor = graph.tensor(node.inputs[0])
    axes = [a for a in range(len(tensor.shape)) if before[0][a] != after[0][a]]
    if len(axes) != 1 or tensor.roles[axes[0]] is not Role.TIME:
        return
    starts = graph.folded_constants(node.inputs[1]) if len(node.inputs) > 1 else []
    start = int(np.ravel(starts[0])[0]) if starts and starts[0].size == 1 else 0
    dropped = {b[axes[0]] - a[axes[0]] for b, a in zip(before, after, strict=True)}
    count = len(tensor.shape) - 2
    stride = conv.attribute('strides', [1] * count)[axes[0] - 2]
    pads = list(conv.attribute('pads', [0] * 2 * count))
    if len(dropped) != 1 or start < 0:
        return
    sign = 1 if conv.operator == 'ConvTranspose' else -1
    pads[axes[0] - 2] += sign * start
    pads[count + axes[0] - 2] += sign * (dropped.pop() - start)
    if min(pads) < 0 or (stride != 1 and sign < 0) or conv.attribute('output_shape'):
        return
    if sign > 0 and max(pads[axes[0] - 2], pads[count + axes[0] - 2]) >= _extent(
        graph, conv, axes[0]
    ):
        return
    conv.attributes |= {'pads': pads, 'auto_pad': 'NOTSET'}
    conv.outputs = [node.outputs[0]]
    graph.replace(node)


def _extent(graph: Graph, conv: Node, axis: int) -> int:
    """How many steps the window of a convolution spans."""
    size = graph.constant(conv.inputs[1]).shape[axis]
    dilations = conv.attribute('dilations')
    dilation = int(dilations[axis - 2]) if dilations else 1
    return int(size - 1) * dilation + 1


def _nan_to_zero(graph: Graph, node: Node) -> None:
    """isnan(p) ? 0 : p of a softmax p, which is NaN only where no key is valid."""
    condition = graph.made_by(node.inputs[0], 'IsNaN') if node.operator == 'Where' else None
    if condition is None or condition.inputs[0] != node.inputs[2]:
        return
    if _is_zero(graph, node.inputs[1]) and graph.made_by(node.inputs[2], 'Softmax'):
        for reader in graph.readers(node.outputs[0]):
            reader.inputs = [
                condition.inputs[0] if n == node.outputs[0] else n for n in reader.inputs
            ]


def _interpolation(graph: Graph, node: Node) -> None:
    """Two selections of steps, and a part of their difference: linear interpolation as PyTorch's newer exporter writes it."""
    for kept, added in (node.inputs, node.inputs[::-1]) if node.operator == 'Add' else ():
        product = graph.made_by(added, 'Mul')
        parts = product and _split_constant(graph, product)
        difference = parts and graph.made_by(parts[0], 'Sub')
        if not parts or not difference or difference.inputs[1] != kept:
            continue
        first, second = (
            graph.made_by(graph.origin(name, ['Transpose']), 'Gather')
            for name in (kept, difference.inputs[0])
        )
        if first and second and _interpolates(graph, first, second, parts[1]):
            own = {kept, first.outputs[0]}
            if sum(len(graph.readers(n)) for n in own) == len(own) + 1 and not own.intersection(
                graph.outputs
            ):
                graph.replace(node, Node(node.name, 'Identity', [kept], node.outputs, {}))
                how = {'mode': 'linear', 'coordinate_transformation_mode': 'half_pixel'}
                first.operator, first.inputs, first.attributes = 'Resize', first.inputs[:1], how
            return


def _interpolates(graph: Graph, first: Node, second: Node, weights: str) -> bool:
    """Whether the selected steps and weights are those of half pixels."""
    axis = first.attribute('axis', 0)
    constants = (first.inputs[1], second.inputs[1])
    if first.inputs[0] != second.inputs[0] or axis != second.attribute('axis', 0):
        return False
    if not all(map(graph.is_constant, constants)):
        return False
    sizes = [shape[axis] for shape in graph.shapes(first.inputs[0])]
    found = zip(sizes, *map(graph.folded_constants, (*constants, weights)), strict=True)
    for size, low, high, weight in found:
        rate = low.size // size
        if low.size != rate * size or rate < 2 or not low.size == high.size == weight.size:
            return False
        place = np.maximum((np.arange(low.size) + 0.5) / rate - 0.5, 0)
        floor = np.floor(place)
        if not (
            np.array_equal(low.ravel(), floor)
            and np.array_equal(high.ravel(), np.minimum(floor + 1, size - 1))
            and np.allclose(weight.ravel(), place - floor, 0, 1e-5)
        ):
            return False
    return True


def _with_past(graph: Graph, node: Node) -> None:
    """The first step, and each other one with a multiple of the step before added, as with zeros before the first."""
    if node.operator != 'Concat' or len(node.inputs) != 2:
        return
    axis = node.attribute('axis', 0) % len(graph.tensor(node.outputs[0]).shape)
    first, total = (
        graph.made_by(node.inputs[0], 'Slice'),
        graph.made_by(node.inputs[1], 'Add', 'Sub'),
    )
    if not first or not total or graph.tensor(node.outputs[0]).roles[axis] is not Role.TIME:
        return
    x, negative = first.inputs[0], total.operator == 'Sub'
    if _part_of_time(graph, first, axis) != (0, 1):
        return
    sides = [total.inputs] if negative else [total.inputs, total.inputs[::-1]]
    for current, scaled in sides:
        later = graph.made_by(current, 'Slice')
        product = graph.made_by(scaled, 'Mul')
        parts = product and _split_constant(graph, product)
        number = _number(graph, parts[1]) if parts else 1.0
        past = graph.made_by(parts[0] if parts else scaled, 'Slice')
        if (
            number is not None and later and past and later.inputs[0] == past.inputs[0] == x
            and _part_of_time(graph, later, axis) == (1, 0)
            and _part_of_time(graph, past, axis) == (0, -1)
        ):  # fmt: skip
            _add_past(graph, node, x, -number if negative else number)
            return


def _part_of_time(graph: Graph, node: Node, axis: int) -> tuple[int, int] | None:
    """Where a slice begins and ends, the latter counted from the end, or from the start if it takes one step."""
    before, after = graph.shapes(node.inputs[0]), graph.shapes(node.outputs[0])
    if any(b[:axis] + b[axis + 1 :] != a[:axis] + a[axis + 1 :]
           for b, a in zip(before, after, strict=True)):  # fmt: skip
        return None
    starts = {int(np.ravel(v)[0]) for v in graph.folded_constants(node.inputs[1])}
    if len(starts) != 1 or (start := starts.pop()) < 0:
        return None
    sizes = {shape[axis] for shape in after}
    if sizes == {1}:
        return start, start + 1
    dropped = {b[axis] - a[axis] for b, a in zip(before, after, strict=True)}
    return (start, start - dropped.pop()) if len(dropped) == 1 else None


def _add_past(graph: Graph, node: Node, x: str, factor: float) -> None:
    past, scaled, number = (f'{node.outputs[0]}.{part}' for part in ('past', 'scaled', 'factor'))
    graph.copy_tensor(past, x)
    graph.copy_tensor(scaled, x)
    graph.add_constant(number, [np.asarray(factor, np.float32)] * 3)
    graph.replace(
        node,
        Node(node.name, 'import.Delay', [x], [past], {'count': 1}),
        Node(node.name, 'Mul', [past, number], [scaled], {}),
        Node(node.name, 'Add', [x, scaled], node.outputs, {}),
    )


def _no_nan(graph: Graph, node: Node) -> None:
    """A condition for NaN within a graph, which gives NaN where it reads it."""
    if node.operator == 'IsNaN' and node.outputs[0] not in graph.outputs:
        node.operator = 'import.Never'


def _mean_of_time(graph: Graph, node: Node) -> None:
    """A sum over time by the number of steps."""
    total = graph.made_by(node.inputs[0], 'ReduceSum') if node.operator == 'Div' else None
    if total is None or not graph.is_constant(node.inputs[1]):
        return
    tensor, axes = graph.tensor(total.inputs[0]), _axes(graph, total)
    if len(axes) != 1 or tensor.roles[axes[0]] is not Role.TIME:
        return
    counts = [shape[axes[0]] for shape in graph.shapes(total.inputs[0])]
    divisors = graph.folded_constants(node.inputs[1])
    if all((d == count).all() for d, count in zip(divisors, counts, strict=True)):
        keepdims = total.attribute('keepdims', 1)
        _replace(graph, node, 'ReduceMean', [total.inputs[0]], axes=axes, keepdims=keepdims)


def _product_of_results(graph: Graph, node: Node) -> None:
    """A matrix product of two results in each step, as products of elements and a sum."""
    if node.operator != 'MatMul' or any(graph.is_constant(name) for name in node.inputs):
        return
    first, second = (graph.tensor(name) for name in node.inputs)
    if min(len(first.shape), len(second.shape)) < 2:
        return
    summed, outer = (first.roles[-1], second.roles[-2]), (first.roles[-2], second.roles[-1])
    if any(role is not Role.CHANNEL for role in summed) or Role.CHANNEL not in outer:
        return
    rows, columns, product = (
        f'{node.outputs[0]}.{part}' for part in ('rows', 'columns', 'product')
    )
    left = [(*shape, 1) for shape in graph.shapes(first.name)]
    right = [(*shape[:-2], 1, *shape[-2:]) for shape in graph.shapes(second.name)]
    both = [np.broadcast_shapes(*pair) for pair in zip(left, right, strict=True)]
    for name, like, shapes in (
        (rows, first, left),
        (columns, second, right),
        (product, first, both),
    ):
        graph.copy_tensor(name, like.name)
        graph.reshape_tensor(name, shapes)
    graph.replace(
        node,
        Node(node.name, 'Reshape', [first.name], [rows], {}),
        Node(node.name, 'Reshape', [second.name], [columns], {}),
        Node(node.name, 'Mul', [rows, columns], [product], {}),
        Node(node.name, 'ReduceSum', [product], node.outputs, {'axes': [-2], 'keepdims': 0}),
    )


_PATTERNS: tuple[Callable[[Graph, Node], None], ...] = (
    _reshapes, _whole_slice, _group_normalization, _variance, _delay, _moved_padding, _padded_window, _mirrored_window, _cut_window, _gelu, _swish, _threshold, _divide_or_zero, _normalization,
    _scale_and_bias, _nan_to_zero, _no_nan, _with_past, _mean_of_time, scores.rewrite, _product_of_results,
)  # fmt: skip
