"""States that a graph reads and gives back, as models exported for chunks have them.

They become states of layers: the initial state of a recurrence, and the cache that is put before the input of a
convolution. Whether the graph gives back the state that it reads is not looked at: the comparison with onnxruntime,
chunk after chunk, shows it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import onnx

from sequence_layers_import import cells
from sequence_layers_import.graph import Graph
from sequence_layers_import.graph_inputs import TimeAxis, dims, inputs_of
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Role

# Operators that only move the elements of a state.
_MOVES = (
    'Slice',
    'Split',
    'Gather',
    'Squeeze',
    'Unsqueeze',
    'Transpose',
    'Reshape',
    'Identity',
    'Cast',
)
_RECURRENT = ('LSTM', 'GRU', 'RNN')
# Parts by which the name of a state and that of its new value differ.
_AFFIXES = re.compile(
    r'^(past_key_values|present_key_values|new|next|out|output|in|input|prev|past|present|cur)[._]'
    r'|_?(in|out|new|next|output|n|N|0)$'
)


def _stem(name: str) -> str:
    before = ''
    while before != name:
        before, name = name, _AFFIXES.sub('', name)
    return name


def _fit(first: onnx.ValueInfoProto, second: onnx.ValueInfoProto) -> bool:
    """Whether an output may be the new value of an input."""
    types = first.type.tensor_type.elem_type, second.type.tensor_type.elem_type
    if types[0] != types[1]:
        return False
    if not second.type.tensor_type.HasField('shape'):
        return True
    sizes = dims(first), dims(second)
    return len(sizes[0]) == len(sizes[1]) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(*sizes, strict=True)
    )


def find(
    model: onnx.ModelProto, given: Mapping[str, str], candidates: Iterable[str]
) -> dict[str, str]:
    """The output of each input that is a state: those that a user gave, and candidates of like names."""
    inputs = {value.name: value for value in inputs_of(model)}
    outputs = {value.name: value for value in model.graph.output}
    for name, output in given.items():
        if name not in inputs or output not in outputs:
            raise Refusal(
                f'the graph has no state "{name}" to "{output}"',
                f'pair one of {list(inputs)} with one of {list(outputs)}',
            )
    found = dict(given)
    for name in candidates:
        alike = [
            output.name
            for output in outputs.values()
            if _stem(name) and _stem(output.name) == _stem(name) and _fit(inputs[name], output)
        ]
        if name not in found and len(alike) == 1 and alike[0] not in found.values():
            found[name] = alike[0]
    return found


def axes_of(
    value: onnx.ValueInfoProto, new: Sequence[int | str], first: onnx.ValueInfoProto, axes: TimeAxis
) -> TimeAxis:
    """Where a state has the batch of the first input, whose items are steps if each is one.

    `new` are the sizes of its new value.
    """
    sizes, is_step = dims(value), axes.batch == axes.time
    name = None if axes.batch is None else dims(first)[axes.batch]
    places = [axis for axis, size in enumerate(sizes) if isinstance(size, str)]
    if isinstance(name, str) and name in sizes:
        places = [sizes.index(name)]
    if is_step and not places:
        # The batch of a recurrent state comes last but one.
        places = [axis for axis, size in enumerate(sizes[:-1]) if size == name][-1:]
    elif axes.batch in places and not is_step:
        places = [axes.batch]  # type: ignore[list-item]
    batch = places[0] if len(places) == 1 else None
    return TimeAxis(batch, batch if is_step else None, grows=_growing(sizes, new, batch))


def _growing(sizes: Sequence[int | str], new: Sequence[int | str], batch: int | None) -> int | None:
    """The axis of a cache that its new value has more items of: both are open, and have other names."""
    found = [
        axis
        for axis, (old, size) in enumerate(zip(sizes, new, strict=False))
        if axis != batch and isinstance(old, str) and isinstance(size, str) and old != size
    ]
    return found[0] if len(found) == 1 and len(sizes) == len(new) else None


def rewrite(graph: Graph, states: Mapping[str, str]) -> None:
    """Takes the states out of the graph."""
    cells.rewrite(graph, lambda name: graph.origin(name, _MOVES) in states)
    for state in states:
        waiting = [state]
        while waiting:
            name = waiting.pop()
            for reader in graph.readers(name):
                if reader.operator in _MOVES and reader.inputs[0] == name:
                    waiting += reader.outputs
                else:
                    _read(graph, reader, name, state)
    graph.prune()
    for state in states:
        if graph.readers(state):
            raise Refusal(f'state "{state}" is read as a whole', 'pair states by --state')


def _read(graph: Graph, reader: Node, name: str, state: str) -> None:
    """Takes the state out of a node that computes with it."""
    if reader.operator == 'import.Cell' and name in reader.inputs[1:]:
        reader.inputs = [n for n in reader.inputs if n != name]
        return
    if reader.operator in _RECURRENT and name in reader.inputs[5:7]:
        reader.inputs = [*reader.inputs[:5], *('' if n == name else n for n in reader.inputs[5:])]
        reader.attributes['import.carried'] = True
        return
    if reader.operator != 'Concat' or len(reader.inputs) != 2 or reader.inputs[0] != name:
        raise Refusal(
            f'it computes with the state "{state}"',
            'the state of an LSTM, GRU or RNN and a cache before the input of a convolution can be imported',
        ).at(reader.name, reader.operator)
    out = graph.tensor(reader.outputs[0])
    axis, x = reader.attribute('axis') % len(out.shape), reader.inputs[1]
    count = graph.tensor(name).shape[axis]
    if out.roles[axis] is Role.TIME:
        pads = [count if i == axis else 0 for i in range(len(out.shape))] + [0] * len(out.shape)
        attributes = {'pads': pads, 'import.cache': state}
        graph.replace(reader, Node(reader.name, 'Pad', [x], reader.outputs, attributes))
        return
    if out.roles[axis] is not Role.CHANNEL or not out.axes(Role.STEPS):
        raise Refusal(f'it puts the state "{state}" before channels', 'name the time axis').at(
            reader.name, reader.operator
        )
    past = f'{name}.history'
    graph.copy_tensor(past, name)
    reader.inputs = [past, x]
    history = Node(reader.name, 'import.History', [x], [past], {'axis': axis, 'count': count})
    graph.replace(reader, history, reader)
