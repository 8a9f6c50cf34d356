"""Graphs that the importer refuses, each for another reason.

  python packaging/python/tests/importing/refused.py docs/importing.md

writes the generated parts of that page: the operators, and what the importer answers to these graphs.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_X = ['batch', 'time', 8]
_CHANNELS = ['batch', 4, 'time']


def graph(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Any] | None = None, *,
    x: Sequence[int | str] = _X, y: Sequence[int | str] | None = None, opset: int = 17,
    dtype: int = TensorProto.FLOAT, more: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:  # fmt: skip
    """A model of x to y."""
    initializers = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in (constants or {}).items()
    ]
    inputs = [helper.make_tensor_value_info('x', dtype, x), *more]
    outputs = [helper.make_tensor_value_info('y', TensorProto.FLOAT, y)]
    made = helper.make_graph(list(nodes), 'graph', inputs, outputs, initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


def node(operator: str, inputs: Sequence[str] = ('x',), outputs: Sequence[str] = ('y',), **fields: Any
         ) -> onnx.NodeProto:  # fmt: skip
    return helper.make_node(
        operator, list(inputs), list(outputs), name=f'{operator.lower()}_{outputs[-1]}', **fields
    )


def choice() -> onnx.ModelProto:
    """Tanh at a rate of 16000, and Relu at others."""
    branches = [
        helper.make_graph(
            [helper.make_node(operator, ['x'], [f'{operator}_out'])], operator, [],
            [helper.make_tensor_value_info(f'{operator}_out', TensorProto.FLOAT, None)],
        )
        for operator in ('Tanh', 'Relu')
    ]  # fmt: skip
    nodes = [
        node('Equal', ['rate', 'wanted'], ['is_wanted']),
        node('If', ['is_wanted'], then_branch=branches[0], else_branch=branches[1]),
    ]
    rate = helper.make_tensor_value_info('rate', TensorProto.INT64, [])
    return graph(nodes, {'wanted': np.int64(16000)}, more=[rate])


def scan() -> onnx.ModelProto:
    """A running sum."""
    body = helper.make_graph(
        [helper.make_node('Add', ['sum_in', 'step'], ['sum_out']),
         helper.make_node('Identity', ['sum_out'], ['step_out'])], 'body',
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [8]) for n in ('sum_in', 'step')],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [8]) for n in ('sum_out', 'step_out')],
    )  # fmt: skip
    nodes = [node('Scan', ['zeros', 'x'], ['last', 'y'], body=body, num_scan_inputs=1)]
    return graph(nodes, {'zeros': np.zeros(8, np.float32)}, x=['time', 8])


def _with_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return model


def _f(*shape: int) -> np.ndarray:
    return np.full(shape, 0.1, np.float32)


def cases() -> dict[str, tuple[onnx.ModelProto, dict[str, Any]]]:
    """Graphs and options by the title of their row."""
    rnn = {'w': _f(2, 16, 4), 'r': _f(2, 16, 4)}
    cell = {'w': _f(1, 16, 8), 'r': _f(1, 16, 4)}
    by_time = {'perm': [1, 0, 2]}
    streaming = {'streaming': True}
    return {
        'index of the maximum over time': (graph([node('ArgMax', axis=1, outputs=['i']),
            node('Cast', ['i'], to=TensorProto.FLOAT)]), {}),
        'squeeze and excitation over time, streaming': (
            graph([node('GlobalAveragePool', outputs=['g']), node('Mul', ['x', 'g'])], x=_CHANNELS), streaming),
        'unmasked attention, streaming': (
            graph([node('Transpose', outputs=['k'], perm=[0, 2, 1]), node('MatMul', ['x', 'k'], ['s']),
                   node('Softmax', ['s'], ['p']), node('MatMul', ['p', 'x'])]), streaming),
        'bidirectional LSTM, streaming': (
            graph([node('LSTM', ['x', 'w', 'r'], ['y'], hidden_size=4, direction='bidirectional')], rnn,
                  x=['time', 'batch', 4]), streaming | {'time_axis': 'time'}),
        'final cell of an LSTM': (
            graph([node('Transpose', outputs=['t'], **by_time),
                   node('LSTM', ['t', 'w', 'r'], ['', '', 'y'], hidden_size=4)], cell), {}),
        'instance normalization, streaming': (
            graph([node('InstanceNormalization', ['x', 's', 'b'])], {'s': _f(4), 'b': _f(4)},
                  x=_CHANNELS), streaming),
        'a mask made of the input': (
            graph([node('Transpose', outputs=['k'], perm=[0, 2, 1]), node('MatMul', ['x', 'k'], ['s']),
                   node('Sigmoid', ['s'], ['m']), node('Add', ['s', 'm'], ['a']),
                   node('Softmax', ['a'], ['p']), node('MatMul', ['p', 'x'])]), {}),
        'sum over the batch': (
            graph([node('ReduceSum', ['x', 'a'])], {'a': np.array([0])}, x=['batch', 8, 'time']), {}),
        'channels and time mixed': (
            graph([node('Transpose', outputs=['t'], perm=[0, 2, 1]),
                   node('Reshape', ['t', 's'])], {'s': np.array([0, -1, 8])}), {}),
        'softmax over time, streaming': (graph([node('Softmax', axis=1)]), streaming),
        'time interpolated from corner to corner': (
            graph([node('Resize', ['x', '', 's'], mode='linear', coordinate_transformation_mode='align_corners')],
                  {'s': np.array([1, 1, 2], np.float32)}, x=_CHANNELS), {}),
        'a choice by values of the input': (choice(), {}),
        'a loop over time': (scan(), {}),
        'quantized products': (
            graph([node('DynamicQuantizeLinear', ['x'], ['q', 's', 'z']),
                   node('MatMulInteger', ['q', 'w', 'z'], ['p']),
                   node('Cast', ['p'], to=TensorProto.FLOAT)],
                  {'w': np.ones((8, 4), np.uint8)}), {}),
        'a cache of keys': (
            _with_output(graph([node('Concat', ['cache', 'x'], ['keys'], axis=1),
                   node('Transpose', ['keys'], ['k'], perm=[0, 2, 1]), node('MatMul', ['x', 'k'], ['s']),
                   node('Softmax', ['s'], ['p']), node('MatMul', ['p', 'keys']),
                   node('Slice', ['keys', 'a', 'b', 'c'], ['cache_out'])],
                  {'a': np.array([-16]), 'b': np.array([2**31]), 'c': np.array([1])},
                  more=[helper.make_tensor_value_info('cache', TensorProto.FLOAT, ['batch', 16, 8])]),
                  'cache_out'), {}),
        'a state that no layer has': (
            _with_output(graph([node('Add', ['x', 'h'], ['h_out']), node('Relu', ['h_out'])],
                  more=[helper.make_tensor_value_info('h', TensorProto.FLOAT, ['batch', 1, 8])]),
                  'h_out'), {'state': {'h': 'h_out'}}),
        'the last three steps': (
            graph([node('Slice', ['x', 'a', 'b', 'c'])],
                  {'a': np.array([-3]), 'b': np.array([2**31]), 'c': np.array([1])}), {}),
        'the third step': (graph([node('Gather', ['x', 'i'], axis=1)], {'i': np.array(2)}), {}),
        'the first step, streaming': (
            graph([node('Gather', ['x', 'i'], axis=1)], {'i': np.array(0)}), streaming),
        'a recurrence over frequencies': (
            graph([node('Transpose', outputs=['t'], perm=[1, 0, 2, 3]), node('Reshape', ['t', 's'], ['f']),
                   node('LSTM', ['f', 'w', 'r'], ['y'], hidden_size=4)], cell | {'s': np.array([6, -1, 8])},
                  x=['batch', 6, 'time', 8]), {}),
        'steps mirrored at the ends': (
            graph([node('Pad', ['x', 'p'], mode='reflect')], {'p': np.array([0, 0, 2, 0, 0, 2])}, x=_CHANNELS), {}),
        'an operator without a layer': (graph([node('Det')], x=['time', 3, 3], y=['time']), {}),
        'values of another input': (
            graph([node('Add', ['x', 'z'])],
                  more=[helper.make_tensor_value_info('z', TensorProto.FLOAT, [8])]), {}),
        'two open axes': (graph([node('Relu')], x=['batch', 'time', 'width']), {}),
        'a shape that depends on values': (graph([node('NonZero', outputs=['n']),
            node('Cast', ['n'], to=TensorProto.FLOAT)]), {}),
        'windows of 3 steps by 2 with auto_pad': (
            graph([node('Conv', ['x', 'k'], auto_pad='SAME_UPPER', strides=[2])], {'k': _f(4, 4, 3)},
                  x=_CHANNELS), {}),
        'no more than a number of steps': (
            graph([node('Slice', ['x', 'a', 'b', 'c'])],
                  {'a': np.array([0]), 'b': np.array([100]), 'c': np.array([1])}), {}),
        'padding up to a multiple of 7': (
            graph([node('Shape', ['x'], ['n'], start=2), node('Neg', ['n'], ['m']), node('Mod', ['m', 's'], ['p']),
                   node('Concat', ['z', 'p'], ['pads'], axis=0), node('Pad', ['x', 'pads'], ['padded']),
                   node('Conv', ['padded', 'k'], strides=[2])],
                  {'s': np.array([7]), 'z': np.zeros(5, np.int64), 'k': _f(4, 4, 3)}, x=_CHANNELS), {}),
        'a mask of 7 steps': (
            graph([node('Add', ['x', 'm'])], {'m': _f(7, 8)}), {}),
        'text as input': (graph([node('Identity')], dtype=TensorProto.STRING), {}),
        'text': (graph([node('Cast', to=TensorProto.STRING, outputs=['s']),
            node('Cast', ['s'], to=TensorProto.FLOAT)]), {}),
    }  # fmt: skip


def rows() -> list[str]:
    """The rows of the table, as the importer answers today."""
    from sequence_layers_import import Refusal, import_graph

    found = []
    for title, (model, options) in cases().items():
        try:
            import_graph(model, **options)
            answer = 'imported'
        except Refusal as refusal:
            answer = str(refusal).replace('|', '\\|')
        found.append(f'| {title} | {answer} |')
    return found


def page(text: str) -> str:
    """The page with its generated parts as they are today."""
    from sequence_layers_import import contrib
    from sequence_layers_import.builder import HANDLERS

    operators = sorted(
        name for name in {*HANDLERS, *contrib.operators('')} if not name.startswith('import.')
    )
    parts = {'operators': ', '.join(f'`{name}`' for name in operators) + '.',
             'refused': '\n'.join(['| Graph | Answer |', '|---|---|', *rows()])}  # fmt: skip
    for name, part in parts.items():
        start = text.index(f'<!-- {name} -->')
        end = text.index('<!-- end -->', start)
        text = f'{text[:start]}<!-- {name} -->\n{part}\n{text[end:]}'
    return text


if __name__ == '__main__':
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    path = pathlib.Path(sys.argv[1])
    path.write_text(page(path.read_text()))
