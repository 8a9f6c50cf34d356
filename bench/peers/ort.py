"""onnxruntime, on graphs that hold the same weights. Inputs, outputs and states are bound to fixed memory."""

from collections.abc import Callable

import numpy as np
import onnxruntime
from onnx import TensorProto

from peers.rows import Row
from peers.runner import Calls, Runner, Skipped, blocks
from sequence_layers_benches import onnx_attention
from sequence_layers_benches.onnx_attention import Graph

_FLOAT = TensorProto.FLOAT
_ONNX_GATES = {'LSTM': 'iofg', 'GRU': 'zrn'}
_TYPES = {'float': np.float32, 'int32': np.int32, 'int64': np.int64}
# Positions that tables of the graphs have, less what is stepped before it matters.
_MAX_POSITION = 4000


class Session:
    """A session whose outputs `present_*` become its inputs `past_*`.

    Where names begin with `turns`, two buffers take turns; the others are updated in place.
    """

    def __init__(self, model: bytes, threads: int, turns: tuple[str, ...] = ('past_',)):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model, options, providers=['CPUExecutionProvider']
        )
        self.inputs = {
            i.name: np.zeros(i.shape, _TYPES[i.type.split('(')[1][:-1]])
            for i in self._session.get_inputs()
        }
        (y,) = (o for o in self._session.get_outputs() if o.name == 'y')
        self.y = np.zeros(y.shape, np.float32)
        self._spare = {n: np.zeros_like(a) for n, a in self.inputs.items() if n.startswith(turns)}
        self.bindings = self._bind(0), self._bind(1)
        self.run: Callable[[object], None] = self._session.run_with_iobinding

    def _bind(self, turn: int) -> onnxruntime.IOBinding:
        def place(array: np.ndarray) -> tuple:
            return 'cpu', 0, array.dtype.type, array.shape, array.ctypes.data

        binding = self._session.io_binding()
        binding.bind_output('y', *place(self.y))
        for name, array in self.inputs.items():
            pair = array, self._spare.get(name, array)
            binding.bind_input(name, *place(pair[turn]))
            if name.startswith('past_'):
                binding.bind_output(name.replace('past_', 'present_'), *place(pair[1 - turn]))
        return binding

    def reset(self) -> None:
        for name, array in self.inputs.items():
            if name.startswith('past_') or name == 'position':
                array[...] = 0


class Steps(Calls):
    """Steps of a stream; the graph takes `x` or `token`, and a `position` if it needs one."""

    how = 'IO binding'

    def __init__(self, session: Session, inputs: np.ndarray):
        self._session, self._inputs = session, inputs
        self._x = session.inputs['token' if 'token' in session.inputs else 'x']
        self._position = session.inputs.get('position')
        self._turn = 0

    def _step(self) -> None:
        if self._position is not None:
            if self._position[0] > _MAX_POSITION:
                self._position -= 1024
            self._session.run(self._session.bindings[self._turn])
            self._position += 1
        else:
            self._session.run(self._session.bindings[self._turn])
        self._turn ^= 1

    def outputs(self) -> np.ndarray:
        self._session.reset()
        self._turn, found = 0, []
        for x in self._inputs:
            self._x[...] = x.reshape(self._x.shape)
            self._step()
            found.append(self._session.y.copy())
        return np.stack(found)

    def call(self) -> Callable[[], object]:
        return self._step


class Whole(Calls):
    how = 'IO binding'

    def __init__(self, session: Session, x: np.ndarray):
        self._session = session
        session.inputs['x'][...] = x

    def outputs(self) -> np.ndarray:
        self._session.run(self._session.bindings[0])
        return self._session.y

    def call(self) -> Callable[[], object]:
        run, binding = self._session.run, self._session.bindings[0]
        return lambda: run(binding)


class _Transposed(Runner):
    """A runner whose outputs have other axes than those of the row."""

    def __init__(self, runner: Runner, change: Callable[[np.ndarray], np.ndarray]):
        self._runner, self._change, self.how = runner, change, runner.how

    def outputs(self) -> np.ndarray:
        return self._change(self._runner.outputs())

    def seconds(self, count: int) -> float:
        return self._runner.seconds(count)


def _rnn(row: Row, threads: int) -> Runner:
    sizes = row.built.sizes
    kind, units, problem = sizes['kind'], sizes['units'], sizes['problem']
    gates, step = _ONNX_GATES[kind], row.is_step
    time, batch = (1, 1) if step else (row.time, row.batch)
    g = Graph({})
    x = g.input('x', _FLOAT, [time, batch, units])
    bias = [problem.joined(b, gates) for b in (problem.bias, problem.recurrent_bias)]
    arrays = (
        g.constant(problem.joined(problem.kernel, gates)[np.newaxis]),
        g.constant(problem.joined(problem.recurrent, gates)[np.newaxis]),
        g.constant(np.concatenate(bias)[np.newaxis]),
    )
    carries = ['h', 'c'] if kind == 'LSTM' else ['h']
    shape = [1, batch, units]
    past = ['', *(g.input(f'past_{n}', _FLOAT, shape) for n in carries)] if step else []
    attributes = {'linear_before_reset': 1} if kind == 'GRU' else {}
    y, *present = g(
        kind, x, *arrays, *past, outputs=1 + len(carries), hidden_size=units, **attributes
    )
    g.output('y', y, [time, 1, batch, units])
    if not step:
        runner = Whole(Session(g.model(), threads), np.moveaxis(row.x, 0, 1))
        return _Transposed(runner, lambda y: np.moveaxis(y[:, 0], 0, 1))
    for name, value in zip(carries, present, strict=True):
        g.output(f'present_{name}', value, shape)
    stepper = Steps(Session(g.model(), threads), blocks(row)[: row.checked])
    return _Transposed(stepper, lambda y: y.reshape(1, -1, units))


def _conformer(row: Row, threads: int) -> Runner:
    model = row.built
    if row.is_step:
        graph = onnx_attention.conformer_step(model.config, model.weights)
        session = Session(graph, threads, turns=('past_c',))
        stepper = Steps(session, blocks(row)[: row.checked])
        return _Transposed(stepper, lambda y: y.reshape(1, -1, *model.channel_shape))
    graph = onnx_attention.conformer_layer(model.config, model.weights, row.time)
    return Whole(Session(graph, threads), row.x)


def _tcn(row: Row, threads: int) -> Runner:
    sizes, weights = row.built.sizes, row.built.weights
    channels, taps = sizes['channels'], sizes['taps']
    g = Graph({})
    x = g.input('x', _FLOAT, [1, channels, row.block])
    for i in range(sizes['layers']):
        kernel = weights[f'params.block{i}.conv.kernel'].transpose(2, 1, 0)
        past = (taps - 1) << i
        shape = [1, channels, past]
        window = g('Concat', g.input(f'past_{i}', _FLOAT, shape), x, axis=2)
        first, last, axis = (g.constant([n], np.int64) for n in (row.block, row.block + past, 2))
        g.output(f'present_{i}', g('Slice', window, first, last, axis), shape)
        bias = g.constant(weights[f'params.block{i}.conv.bias'])
        y = g('Conv', window, g.constant(kernel), bias, dilations=[1 << i])
        x = g('Add', x, g('Relu', y))
    g.output('y', x, [1, channels, row.block])
    inputs = np.swapaxes(blocks(row)[: row.checked], 2, 3)
    stepper = Steps(Session(g.model(), threads), inputs)
    return _Transposed(stepper, lambda y: np.moveaxis(y[:, 0], 2, 1).reshape(1, -1, channels))


_KINDS = {'rnn': _rnn, 'conformer': _conformer, 'tcn': _tcn}


def make(row: Row, threads: int) -> Runner:
    if row.built.kind not in _KINDS:
        raise Skipped(f'no graph for {row.built.kind}')
    return _KINDS[row.built.kind](row, threads)
