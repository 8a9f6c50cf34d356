"""onnxruntime, on graphs that hold the same weights. Inputs, outputs and states are bound to fixed memory."""

import tempfile
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
from onnx import TensorProto

from peers import models
from peers.rows import OPEN, Row
from peers.runner import Calls, Openings, Runner, Skipped, blocks
from sequence_layers_benches import onnx_attention, reference_vad
from sequence_layers_benches.onnx_attention import Graph
from sequence_layers_tools import silero_vad

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
        session.inputs['token' if 'token' in session.inputs else 'x'][...] = x

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


_BITS = {'float32': 0, 'int8': 8, 'int4': 4}


def _decoder(row: Row, threads: int) -> Runner:
    model = row.built
    if row.weight_format not in _BITS:
        raise Skipped(f'no products of {row.weight_format} on a CPU')
    bits = _BITS[row.weight_format]
    if not row.is_step:
        graph = onnx_attention.decoder_layer(model.config, model.weights, row.time, bits=bits)
        return Whole(Session(graph, threads), row.x)
    graph = onnx_attention.decoder_step(model.config, model.weights, bits=bits)
    stepper = Steps(Session(graph, threads, turns=('none',)), blocks(row)[: row.checked])
    return _Transposed(stepper, lambda y: y.reshape(1, -1, y.shape[-1]))


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


def _nodes(
    g: Graph, row: Row, x: str, nodes: tuple[models.Node, ...], bins: int, path: str = ''
) -> tuple[str, int]:
    """Adds a chain of nodes to the graph; returns its result and the number of bins."""
    weights = row.built.weights
    for i, node in enumerate(nodes):
        name = f'{path}layers_{i}'
        if isinstance(node, models.Branches):
            made = [
                _nodes(g, row, x, branch, bins, f'{name}.branch{k}.')
                for k, branch in enumerate(node.branches)
            ]
            x, bins = g('Concat', *(y for y, _ in made), axis=1), made[0][1]
        elif isinstance(node, models.Pool):
            x, bins = (
                g('MaxPool', x, kernel_shape=node.size, strides=node.size),
                bins // node.size[1],
            )
        else:
            kernel = weights[f'params.{name}.kernel'].transpose(3, 2, 0, 1)
            past = node.dilation * (node.kernel[0] - 1)
            before, after = models.same_padding(bins, node.kernel[1], node.stride)
            x = g(
                'Conv', x, g.constant(kernel), g.constant(weights[f'params.{name}.bias']),
                strides=[1, node.stride], dilations=[node.dilation, 1],
                pads=[past // 2, before, past - past // 2, after],
            )  # fmt: skip
            if node.activation:
                x = g(node.activation.capitalize(), x)
            bins = -(-bins // node.stride)
    return x, bins


def _cnn(row: Row, threads: int) -> Runner:
    bins, channels = row.built.channel_shape
    g = Graph({})
    # Channels first, as its convolutions want them. With one channel that changes no order.
    x = g.input('x', _FLOAT, [1, channels, row.time, bins])
    y, out_bins = _nodes(g, row, x, row.built.sizes['nodes'], bins)
    time = row.time
    for node in row.built.sizes['nodes']:
        time //= node.size[0] if isinstance(node, models.Pool) else 1
    filters = row.built.sizes['nodes'][-1].filters
    g.output('y', y, [1, filters, time, out_bins])
    runner = Whole(Session(g.model(), threads), np.moveaxis(row.x, 3, 1))
    return _Transposed(runner, lambda y: np.moveaxis(y, 1, 3))


def _pesto(row: Row, threads: int) -> Runner:
    bank, weights = row.built.sizes['bank'], row.built.weights
    g, past = Graph({}), bank.taps - 1
    time = row.block if row.is_step else row.time
    x, pads = g.input('x', _FLOAT, [1, 1, time]), [past, 0]
    if row.is_step:
        shape, pads = [1, 1, past], [0, 0]
        x = g('Concat', g.input('past_x', _FLOAT, shape), x, axis=2)
        ends = (g.constant([n], np.int64) for n in (time, time + past, 2))
        g.output('present_x', g('Slice', x, *ends), shape)
    filters = g.constant(weights['params.filters.kernel'].transpose(2, 1, 0))
    y = g('Conv', x, filters, strides=[bank.hop], pads=pads)
    y = g('Reshape', y, g.constant([1, 2, bank.bins, -1], np.int64))
    y = g('Sqrt', g('ReduceSum', g('Mul', y, y), g.constant([1], np.int64), keepdims=0))
    scale, bias = (g.constant(weights[f'params.norm.{n}']) for n in ('scale', 'bias'))
    y = g('LayerNormalization', g('Transpose', y, perm=[0, 2, 1]), scale, bias, epsilon=1e-6)
    y = g('Unsqueeze', y, g.constant([1], np.int64))
    y, _ = _nodes(g, row, y, row.built.sizes['nodes'], bank.bins, 'network.')
    filters_out = row.built.sizes['nodes'][-1].filters
    g.output('y', y, [1, filters_out, time // bank.hop, 1])
    session = Session(g.model(), threads)
    if not row.is_step:
        return _Transposed(Whole(session, row.x[np.newaxis]), lambda y: np.moveaxis(y, 1, 3))
    stepper = Steps(session, blocks(row)[: row.checked])
    return _Transposed(stepper, lambda y: y.reshape(1, -1, 1, filters_out))


def _resemblyzer(row: Row, threads: int) -> Runner:
    sizes, weights = row.built.sizes, row.built.weights
    units = sizes['units']
    g = Graph({})
    x = g.input('x', _FLOAT, [row.time, row.batch, *row.built.channel_shape])

    def gates(name: str) -> np.ndarray:
        parts = dict(zip('ifgo', np.split(weights[f'params.{name}'], 4, axis=-1), strict=True))
        return np.concatenate([parts[gate] for gate in _ONNX_GATES['LSTM']], axis=-1)

    for i in range(sizes['layers']):
        kernels = (
            g.constant(gates(f'lstm{i}.{n}.kernel').T[np.newaxis])
            for n in ('kernel', 'recurrent_kernel')
        )
        bias = np.concatenate([gates(f'lstm{i}.bias'), np.zeros(4 * units, np.float32)])
        y = g('LSTM', x, *kernels, g.constant(bias[np.newaxis]), hidden_size=units)
        x = g('Squeeze', y, g.constant([1], np.int64))
    y = g('MatMul', x, g.constant(weights['params.embedding.kernel']))
    y = g('Relu', g('Add', y, g.constant(weights['params.embedding.bias'])))
    g.output('y', g('LpNormalization', y, axis=-1, p=2), [row.time, row.batch, units])
    runner = Whole(Session(g.model(), threads), np.moveaxis(row.x, 0, 1))
    return _Transposed(runner, lambda y: np.moveaxis(y, 0, 1))


class _Vad(Runner):
    """The original's fastest file of those that run the same model in steps."""

    def __init__(self, row: Row, threads: int):
        self._frames = list(reference_vad.frames(row.x[0]))[: row.checked]
        self._streams = {
            name: reference_vad.Stream(silero_vad.onnx_path(models.SILERO, name), io_binding=True)
            for name in reference_vad.STEP_MODELS
        }
        self.how, self._stream = min(
            self._streams.items(), key=lambda item: min(self._time(item[1], 50) for _ in range(3))
        )

    def outputs(self) -> np.ndarray:
        self._stream.reset()
        found = [float(self._stream.step(f)) for f in self._frames]
        return np.array(found, np.float32).reshape(1, -1, 1)

    def _time(self, stream: reference_vad.Stream, count: int) -> float:
        step, frame = stream.step, self._frames[0]
        start = time.perf_counter()
        for _ in range(count):
            step(frame)
        return time.perf_counter() - start

    def seconds(self, count: int) -> float:
        return self._time(self._stream, count)


class _Opening(Openings):
    """Making a session of a file."""

    def __init__(self, row: Row, threads: int):
        self._folder = tempfile.TemporaryDirectory()
        self._path = f'{self._folder.name}/model.onnx'
        with open(self._path, 'wb') as file:
            bits = _BITS[row.weight_format]
            file.write(onnx_attention.decoder_step(row.built.config, row.built.weights, bits=bits))
        self.measure_memory()

    def open(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self._path, options, providers=['CPUExecutionProvider'])


_KINDS = {
    'rnn': _rnn,
    'conformer': _conformer,
    'decoder': _decoder,
    'tcn': _tcn,
    'vad': _Vad,
    'cnn': _cnn,
    'pesto': _pesto,
    'resemblyzer': _resemblyzer,
}


def make(row: Row, threads: int) -> Runner:
    if row.mode == OPEN:
        return _Opening(row, threads)
    if row.built.kind not in _KINDS:
        raise Skipped(f'no graph for {row.built.kind}')
    return _KINDS[row.built.kind](row, threads)
