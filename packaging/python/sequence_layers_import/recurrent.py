"""Recurrent operators, with the gates of ONNX in the order of ours."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, Weights, operator
from sequence_layers_import.graph import Graph
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Role, Tensor
from sequence_layers_import.timeline import over_time

_ACTIVATIONS = {'LSTM': ['sigmoid', 'tanh', 'tanh'], 'GRU': ['sigmoid', 'tanh'], 'RNN': ['tanh']}


def _rows(array: np.ndarray, gates: int) -> list[np.ndarray]:
    """The parts of one direction's array [gates * units, ...], by gates."""
    return np.split(array, gates)


def _activations(node: Node, direction: int) -> list[str]:
    standard = _ACTIVATIONS[node.operator]
    given = [a.lower() for a in node.attribute('activations', [])]
    if not given:
        return standard
    return given[direction * len(standard) : (direction + 1) * len(standard)] or standard


def _lstm(node: Node, direction: int, w: Any, r: Any, b: Any) -> tuple[Config, Weights]:
    gate, cell, output = _activations(node, direction)
    if cell != output:
        raise Refusal('its activations of cell and output differ', 'use the same')
    order = (0, 2, 3, 1)  # from i o f c of ONNX to i f g o, where c is g

    def sorted_gates(array: np.ndarray) -> np.ndarray:
        return np.concatenate([_rows(array, 4)[i] for i in order])

    units = len(w) // 4
    bias = b[: len(w)] + b[len(w) :]
    weights = {
        'params.kernel.kernel': sorted_gates(w).T,
        'params.recurrent_kernel.kernel': sorted_gates(r).T,
        'params.bias': sorted_gates(bias),
    }
    config = {'type': 'LSTM', 'units': units, 'activation': cell, 'recurrent_activation': gate}
    return config, weights


def _gru(node: Node, direction: int, w: Any, r: Any, b: Any) -> tuple[Config, Weights]:
    gate, hidden = _activations(node, direction)
    units, after = len(w) // 3, bool(node.attribute('linear_before_reset', 0))
    weights: dict[str, np.ndarray] = {}
    for name, i in (('z', 0), ('r', 1), ('n', 2)):
        weights[f'params.cell.i{name}.kernel'] = _rows(w, 3)[i].T
        weights[f'params.cell.h{name}.kernel'] = _rows(r, 3)[i].T
    of_input, of_hidden = _rows(b[: len(w)], 3), _rows(b[len(w) :], 3)
    weights['params.cell.iz.bias'] = of_input[0] + of_hidden[0]
    weights['params.cell.ir.bias'] = of_input[1] + of_hidden[1]
    weights['params.cell.in.bias'] = of_input[2] + (0 if after else of_hidden[2])
    if after:
        weights['params.cell.hn.bias'] = of_hidden[2]
    cell = {'type': 'GRUCell', 'features': units, 'gate_fn': gate, 'activation_fn': hidden}
    if not after:
        cell['reset_after'] = False
    return {'type': 'RNN', 'cell': cell}, weights


def _rnn(node: Node, direction: int, w: Any, r: Any, b: Any) -> tuple[Config, Weights]:
    (hidden,) = _activations(node, direction)
    weights = {
        'params.cell.i.kernel': w.T,
        'params.cell.i.bias': b[: len(w)] + b[len(w) :],
        'params.cell.h.kernel': r.T,
    }
    cell = {'type': 'SimpleCell', 'features': len(w), 'activation_fn': hidden}
    return {'type': 'RNN', 'cell': cell}, weights


_MAKERS = {'LSTM': _lstm, 'GRU': _gru, 'RNN': _rnn}
_GATES = {'LSTM': 4, 'GRU': 3, 'RNN': 1}


def _is_step(node: Node, tensor: Tensor) -> bool:
    """Whether each item of the batch is a step, with a state that goes from one to the next."""
    time, batch = (1, 0) if node.attribute('layout', 0) else (0, 1)
    is_carried = bool(node.attribute('import.carried'))
    return is_carried and tensor.shape[time] == 1 and tensor.roles[batch] is Role.STEPS


@operator('LSTM', 'GRU', 'RNN')
def _recurrent(builder: Builder, node: Node) -> None:
    graph, tensor = builder.graph, builder.tensor(node.inputs[0])
    batch_first = bool(node.attribute('layout', 0))
    time, batch = (1, 0) if batch_first else (0, 1)
    # One value of the whole sequence is a sequence of one step, except in streams.
    is_single = not tensor.is_timed and tensor.shape[time] == 1 and not builder.streaming
    if tensor.roles[time] is not Role.TIME and not is_single and not _is_step(node, tensor):
        if tensor.is_timed and tensor.shape[time] > 1:
            raise Refusal(
                'it runs over an axis of channels at each step of time',
                'recurrences over time can be imported',
            )
        raise Refusal(
            'its steps are not those of the time axis', 'name the time axis by --time-axis'
        )
    _check(builder, node)
    direction = node.attribute('direction', 'forward')
    layers = []
    w, r = (graph.constant(name).astype(np.float32) for name in node.inputs[1:3])
    b = np.zeros((len(w), 2 * w.shape[1]), np.float32)
    if len(node.inputs) > 3 and node.inputs[3]:
        b = graph.constant(node.inputs[3]).astype(np.float32)
    for i in range(len(w)):
        layers.append(_MAKERS[node.operator](node, i, w[i], r[i], b[i]))
    _begin(node, [config for config, _ in layers])
    parts = node.attribute('import.parts', 1)
    if parts > 1:
        layers = [
            (
                {
                    'type': 'ParallelChannels', 'num_groups': parts, 'combination': 'concat',
                    'child_layer': config,
                },
                weights,
            )
            for config, weights in layers
        ]  # fmt: skip
    value = builder.ordered(node.inputs[0], (2,))
    out = _directed(builder, value, direction, layers)
    units = w.shape[1] // _GATES[node.operator]
    if direction == 'bidirectional':
        out = builder.reshape(out, [2, units], (2, 3) if batch_first else (1, 3))
    else:
        out = Value(out.layer, (3,))
    if node.outputs[0]:
        builder.values[node.outputs[0]] = out
    final = node.outputs[1] if len(node.outputs) > 1 else ''
    if final and (graph.readers(final) or final in graph.outputs):
        if _is_step(node, tensor):
            builder.values[final] = Value(out.layer, (2,))
        else:
            builder.values[final] = _final(builder, node, out, direction, units)


_MOVES = ('Unsqueeze', 'Reshape', 'Transpose', 'Expand', 'Identity')


def begin_with(graph: Graph, constants: Sequence[str]) -> None:
    """Notes at recurrences which constants of the model are their initial states."""

    for node in graph.nodes:
        origins = [graph.origin(name, _MOVES) for name in node.inputs[5:7]]
        found = [name if name in constants else '' for name in origins]
        if node.operator in _MAKERS and any(found):
            kept = [
                '' if state else name for state, name in zip(found, node.inputs[5:7], strict=True)
            ]
            node.inputs = [*node.inputs[:5], *kept, *node.inputs[7:]]
            node.attributes['import.initial'] = found
    graph.prune()


def _begin(node: Node, configs: Sequence[Config]) -> None:
    """Lets the layer begin with the states that are constants of the model."""
    states = node.attribute('import.initial', [])
    if len(configs) > 1 and states or len(set(filter(None, states))) > 1:
        raise Refusal('it begins with several states', 'give one state to one direction')
    for field, state in zip(('initial_h', 'initial_c'), states, strict=False):
        if state:
            configs[0] |= {field: {'type': 'Identity'}, 'initial_constant': state}


def _final(builder: Builder, node: Node, out: Value, direction: str, units: int) -> Value:
    """The state after the last step, [directions, batch, units]: the backward one's is at the start."""
    if direction == 'forward':
        return Value(over_time(builder, node, out, 'last', node.outputs[1]).layer, (2,))
    parts = []
    for i in range(2 if direction == 'bidirectional' else 1):
        part = out
        if direction == 'bidirectional':
            slices = [[i, i + 1, None], [None, None, None]]
            part = builder.apply(out, {'type': 'Slice', 'slices': slices})
        part = builder.reshape(part, [units], (2,))
        if i or direction == 'reverse':
            part = builder.apply(part, {'type': 'ReverseSequence'})
        parts.append(over_time(builder, node, part, 'last', node.outputs[1]))
    if len(parts) == 1:
        return parts[0]
    return builder.reshape(builder.combine(parts, 'concat'), [2, units], (0, 2))


def _directed(
    builder: Builder, value: Value, direction: str, layers: Sequence[tuple[Config, Weights]]
) -> Value:
    if direction == 'forward':
        return builder.apply(value, *layers[0])
    if builder.streaming:
        raise Refusal(f'it is {direction}: it begins at the end of the sequence',
                      'only a forward recurrence can be streamed')  # fmt: skip
    if direction == 'reverse':
        flipped = builder.apply(value, {'type': 'ReverseSequence'})
        return builder.apply(builder.apply(flipped, *layers[0]), {'type': 'ReverseSequence'})
    (forward, of_forward), (backward, of_backward) = layers
    weights = {
        f'params.{part}.{name.removeprefix("params.")}': array
        for part, arrays in (('forward', of_forward), ('backward', of_backward))
        for name, array in arrays.items()
    }
    config = {'type': 'Bidirectional', 'combination': 'concat',
              'forward': forward, 'backward': backward}  # fmt: skip
    return builder.apply(value, config, weights)


def _check(builder: Builder, node: Node) -> None:
    """Refuses what the layers do not have."""
    graph = builder.graph
    if node.attribute('clip') is not None:
        raise Refusal('it clips its gates', 'train without clip')
    if node.attribute('input_forget', 0):
        raise Refusal('its input and forget gates are one', 'use both')
    if len(node.inputs) > 4 and node.inputs[4]:
        lengths = node.inputs[4]
        if not graph.is_constant(lengths):
            raise Refusal(
                'it reads the lengths of the sequences', 'the mask tells them: leave it out'
            )
    for name in node.inputs[5:7]:
        if name and not (graph.is_constant(name) and not graph.folded_constants(name)[0].any()):
            raise Refusal(f'its initial state "{name}" is not zero', 'begin with zeros')
    if len(node.inputs) > 7 and node.inputs[7] and graph.constant(node.inputs[7]).any():
        raise Refusal('it has peephole weights', 'use an LSTM without')
    for name in node.outputs[2:]:
        if name and (graph.readers(name) or name in graph.outputs):
            raise Refusal('its final cell is read', 'take the output in its place')


# The gates of ONNX among those of PyTorch: i o f c among i f g o, and z r h among r z n.
_ORDERS = {'LSTM': (0, 3, 1, 2), 'GRU': (1, 0, 2)}


def from_pytorch(
    kind: str, w: np.ndarray, r: np.ndarray, input_bias: np.ndarray, state_bias: np.ndarray
) -> tuple[Config, Weights]:
    """The layer of an LSTM or GRU with weights [gates * units, ...] as PyTorch has them."""

    def sorted_gates(array: np.ndarray) -> np.ndarray:
        parts = _rows(array.astype(np.float32), _GATES[kind])
        return np.concatenate([parts[i] for i in _ORDERS[kind]])

    bias = np.concatenate([sorted_gates(input_bias), sorted_gates(state_bias)])
    node = Node('', kind, [], [], {'linear_before_reset': 1})
    config, weights = _MAKERS[kind](node, 0, sorted_gates(w), sorted_gates(r), bias)
    return config, weights


@operator('import.Cell')
def _cell(builder: Builder, node: Node) -> None:
    """A step of a recurrence, whose states are those of the step before."""
    tensor = builder.tensor(node.inputs[0])
    if not tensor.is_timed:
        raise Refusal('its input is no sequence', 'name the time axis by --time-axis')
    layer = from_pytorch(node.attribute('kind'), *node.attribute('weights'))
    axis = len(tensor.shape) - 1
    value = builder.apply(builder.ordered(node.inputs[0], (axis,)), *layer)
    builder.values[node.outputs[0]] = Value(value.layer, (axis,))
