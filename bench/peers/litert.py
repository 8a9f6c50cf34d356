"""LiteRT with XNNPACK, on flatbuffers that are written here by the classes of its schema."""

from collections.abc import Callable, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema

from peers.rows import Row
from peers.runner import Calls, Runner, Skipped, blocks

_OPTIONS = schema.BuiltinOptions


class _Graph:
    """A model of one subgraph; tensors are named by their index."""

    def __init__(self) -> None:
        self._codes: list[int] = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._graph.inputs, self._graph.outputs = [], []
        # By convention the first buffer is empty.
        self._buffers = [schema.BufferT()]

    def tensor(self, shape: Sequence[int], array: np.ndarray | None = None) -> int:
        tensor, types = schema.TensorT(), schema.TensorType
        tensor.shape, tensor.buffer = list(shape), 0
        tensor.name = f't{len(self._graph.tensors)}'.encode()
        tensor.type = (
            types.INT32 if array is not None and array.dtype == np.int32 else types.FLOAT32
        )
        if array is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            self._buffers.append(buffer)
            tensor.buffer = len(self._buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, array: np.ndarray) -> int:
        return self.tensor(array.shape, array)

    def input(self, shape: Sequence[int]) -> int:
        index = self.tensor(shape)
        self._graph.inputs.append(index)
        return index

    def output(self, index: int) -> None:
        self._graph.outputs.append(index)

    def add(
        self, code: str, inputs: Sequence[int], shape: Sequence[int], options: object = None
    ) -> int:
        """Adds an operator and returns its result."""
        number = getattr(schema.BuiltinOperator, code)
        if number not in self._codes:
            self._codes.append(number)
        operator, result = schema.OperatorT(), self.tensor(shape)
        operator.opcodeIndex = self._codes.index(number)
        operator.inputs, operator.outputs = list(inputs), [result]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(_OPTIONS, type(options).__name__[:-1])
        self._graph.operators.append(operator)
        return result

    def bytes(self) -> bytes:
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [self._graph], self._buffers
        model.operatorCodes = []
        for number in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b'TFL3')
        return bytes(builder.Output())


class _Steps(Calls):
    """Steps of a model whose inputs are x and states, and whose outputs are y and the next states.

    Copying states back is not timed: a caller could make them take turns.
    """

    how = 'XNNPACK; states not copied'

    def __init__(self, model: bytes, threads: int, inputs: np.ndarray):
        self._interpreter = interpreter.Interpreter(model_content=model, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._places = [d['index'] for d in self._interpreter.get_input_details()]
        self._results = [d['index'] for d in self._interpreter.get_output_details()]
        self._inputs = inputs

    def outputs(self) -> np.ndarray:
        found = []
        for place in self._places[1:]:
            self._interpreter.set_tensor(place, 0 * self._interpreter.get_tensor(place))
        for x in self._inputs:
            self._interpreter.set_tensor(self._places[0], x)
            self._interpreter.invoke()
            y, *states = (self._interpreter.get_tensor(r) for r in self._results)
            found.append(y)
            for place, state in zip(self._places[1:], states, strict=True):
                self._interpreter.set_tensor(place, state)
        return np.stack(found)

    def call(self) -> Callable[[], object]:
        return self._interpreter.invoke


class _Tcn(Runner):
    def __init__(self, row: Row, threads: int):
        sizes, weights = row.built.sizes, row.built.weights
        channels, taps, time = sizes['channels'], sizes['taps'], row.block
        g = _Graph()
        x = g.input([1, 1, time, channels])
        states = []
        for i in range(sizes['layers']):
            past = (taps - 1) << i
            join, conv, add = (
                schema.ConcatenationOptionsT(),
                schema.Conv2DOptionsT(),
                schema.AddOptionsT(),
            )
            join.axis = 2
            state = [1, 1, past, channels]
            window = g.add(
                'CONCATENATION', [g.input(state), x], [1, 1, time + past, channels], join
            )
            starts = g.constant(np.array([0, 0, time, 0], np.int32))
            states.append(g.add('SLICE', [window, starts, g.constant(np.array(state, np.int32))], state,
                                schema.SliceOptionsT()))  # fmt: skip
            conv.padding, conv.strideH, conv.strideW = schema.Padding.VALID, 1, 1
            conv.dilationHFactor, conv.dilationWFactor = 1, 1 << i
            conv.fusedActivationFunction = schema.ActivationFunctionType.RELU
            kernel = weights[f'params.block{i}.conv.kernel'].transpose(2, 0, 1)[:, np.newaxis]
            bias = weights[f'params.block{i}.conv.bias']
            y = g.add(
                'CONV_2D',
                [window, g.constant(kernel), g.constant(bias)],
                [1, 1, time, channels],
                conv,
            )
            x = g.add('ADD', [x, y], [1, 1, time, channels], add)
        for result in (x, *states):
            g.output(result)
        self._steps = _Steps(g.bytes(), threads, blocks(row)[: row.checked, np.newaxis])
        self.how, self._channels = self._steps.how, channels

    def outputs(self) -> np.ndarray:
        return self._steps.outputs().reshape(1, -1, self._channels)

    def seconds(self, count: int) -> float:
        return self._steps.seconds(count)


def make(row: Row, threads: int) -> Runner:
    if row.built.kind != 'tcn':
        raise Skipped(f'no flatbuffer for {row.built.kind}')
    return _Tcn(row, threads)
