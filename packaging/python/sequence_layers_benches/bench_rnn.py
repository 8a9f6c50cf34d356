"""Times LSTM and GRU, whole sequences and single steps: this library, ONNX Runtime and PyTorch.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.bench_rnn

All libraries have the same weights, and their outputs are compared. They take turns in this process.
With one thread a time is CPU time, with more it is wall-clock time; the fastest round is reported,
since other processes disturb it least. Peers that cannot be imported are left out.

Steps are measured as a loop in Python, written in the cheapest way that each library offers: one
ctypes call on structs made in advance, ONNX Runtime's IO binding with the carry moving between two
buffers, and PyTorch's module under inference_mode. A step's time therefore includes a microsecond or
more of the library's binding, which a caller from C does not pay; `empty call` is the part of
ctypes. This library's steps always run on the caller's thread.

`--padded BATCH` measures what padded steps cost: it times that many sequences of equal length
(--steps), and then sequences whose lengths decrease evenly. PyTorch packs the latter
(`pack_padded_sequence`).
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np

_GATES = {'LSTM': 'ifgo', 'GRU': 'rzn'}
_ONNX_GATES = {'LSTM': 'iofg', 'GRU': 'zrn'}
_PAUSE = 0.01  # seconds, until the threads of the previous library stop spinning


class Problem:
    """A recurrent layer whose width is that of its input, and an input sequence."""

    def __init__(self, kind: str, units: int, steps: int):
        self.kind, self.units = kind, units
        rng = np.random.default_rng(units)

        def draw(*shape):
            return (rng.standard_normal(shape) / np.sqrt(units)).astype(np.float32)

        self.gates = _GATES[kind]
        # Weights by gate; a kernel is [in, out].
        self.kernel = {g: draw(units, units) for g in self.gates}
        self.recurrent = {g: draw(units, units) for g in self.gates}
        self.bias = {g: draw(units) for g in self.gates}
        self.recurrent_bias = {g: np.zeros(units, np.float32) for g in self.gates}
        if kind == 'GRU':
            self.recurrent_bias['n'] = draw(units)
        self.x = rng.standard_normal((steps, units)).astype(np.float32)

    def joined(self, parts: dict[str, np.ndarray], gates: str) -> np.ndarray:
        """All gates in one array [gates * units, ...], outputs first."""
        return np.concatenate([parts[g].T for g in gates])

    def torch_module(self):
        """The layer of PyTorch with these weights."""
        import torch

        module = getattr(torch.nn, self.kind)(self.units, self.units).eval()
        parts = {
            'weight_ih_l0': self.kernel,
            'weight_hh_l0': self.recurrent,
            'bias_ih_l0': self.bias,
            'bias_hh_l0': self.recurrent_bias,
        }
        joined = {n: self.joined(part, self.gates) for n, part in parts.items()}
        module.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in joined.items()})
        return module


def lstm(problem: Problem) -> tuple[dict, dict]:
    weights = {
        'params.kernel.kernel': problem.joined(problem.kernel, 'ifgo').T,
        'params.recurrent_kernel.kernel': problem.joined(problem.recurrent, 'ifgo').T,
        'params.bias': problem.joined(problem.bias, 'ifgo'),
    }
    return {'type': 'LSTM', 'units': problem.units}, weights


def rnn(problem: Problem) -> tuple[dict, dict]:
    weights, bias_of = {}, 'h' if problem.kind == 'LSTM' else 'i'
    for g in problem.gates:
        weights[f'params.cell.i{g}.kernel'] = problem.kernel[g]
        weights[f'params.cell.h{g}.kernel'] = problem.recurrent[g]
        weights[f'params.cell.{bias_of}{g}.bias'] = problem.bias[g]
    if problem.kind == 'GRU':
        weights['params.cell.hn.bias'] = problem.recurrent_bias['n']
    return {
        'type': 'RNN',
        'cell': {'type': f'{problem.kind}Cell', 'features': problem.units},
    }, weights


def _open(config: dict, weights: dict, threads: int):
    import sequence_layers_runtime as runtime
    from sequence_layers_tools import model_directory

    shape = (next(iter(weights.values())).shape[0],)
    with tempfile.TemporaryDirectory() as directory:
        model_directory.write(directory, config, weights, channel_shape=shape)
        return runtime.Layer.open(directory, threads=threads)


class _Ours:
    name = 'this library'

    def __init__(self, problem: Problem, threads: int):
        self._layer = _open(*(lstm if problem.kind == 'LSTM' else rnn)(problem), threads)
        self._x = problem.x[np.newaxis]
        self._whole = self._layer.applier(self._x)
        self._state = self._layer.new_state()
        self._stepper = self._state.stepper(1)
        self._addresses = [row.ctypes.data for row in problem.x]

    def whole(self) -> None:
        self._whole.run()

    def whole_output(self) -> np.ndarray:
        return self._whole.output[0]

    def start(self) -> None:
        self._state.reset()

    def steps(self, count: int) -> None:
        step = self._stepper.step
        for address in self._addresses[:count]:
            step(address)

    def last(self) -> np.ndarray:
        return self._stepper.output.ravel()


class _OnnxRuntime:
    name = 'ONNX Runtime'

    def __init__(self, problem: Problem, threads: int):
        import onnx
        import onnxruntime

        self._ort, self._onnx, self._threads = onnxruntime, onnx, threads
        units = problem.units
        self._carry = ['h', 'c'] if problem.kind == 'LSTM' else ['h']
        self._x = problem.x
        self._output = np.zeros((len(self._x), 1, 1, units), np.float32)
        self._session = self._make(problem, whole=True)
        self._binding = self._session.io_binding()
        self._bind(self._binding.bind_ortvalue_input, 'x', self._x[:, np.newaxis])
        self._bind(self._binding.bind_ortvalue_output, 'y', self._output)

        # The carry alternates between two buffers from step to step.
        self._step_session = self._make(problem, whole=False)
        self._in = np.zeros((1, 1, units), np.float32)
        self._buffers = [
            {n: np.zeros((1, 1, units), np.float32) for n in self._carry} for _ in 'ab'
        ]
        self._bindings = [
            self._step_binding(*self._buffers),
            self._step_binding(*self._buffers[::-1]),
        ]

    def _step_binding(self, old: dict, new: dict):
        binding = self._step_session.io_binding()
        self._bind(binding.bind_ortvalue_input, 'x', self._in)
        for name in self._carry:
            self._bind(binding.bind_ortvalue_input, name, old[name])
            self._bind(binding.bind_ortvalue_output, 'next_' + name, new[name])
        return binding

    def _bind(self, bind: Callable, name: str, array: np.ndarray) -> None:
        """Binds the array's memory without copying it."""
        value = self._ort.OrtValue.ortvalue_from_numpy(array)
        if value.data_ptr() != array.ctypes.data:
            raise RuntimeError('ONNX Runtime took a copy')
        bind(name, value)

    def _make(self, problem: Problem, whole: bool):
        helper, tensor = self._onnx.helper, self._onnx.TensorProto
        units, gates = problem.units, _ONNX_GATES[problem.kind]
        bias = [problem.joined(b, gates) for b in (problem.bias, problem.recurrent_bias)]
        arrays = {
            'w': problem.joined(problem.kernel, gates)[np.newaxis],
            'r': problem.joined(problem.recurrent, gates)[np.newaxis],
            'b': np.concatenate(bias)[np.newaxis],
        }
        old = [] if whole else ['', *self._carry]
        attributes = {'linear_before_reset': 1} if problem.kind == 'GRU' else {}
        outputs = ['y'] if whole else ['', *(f'next_{n}' for n in self._carry)]
        node = helper.make_node(
            problem.kind, ['x', *arrays, *old], outputs, hidden_size=units, **attributes
        )

        def info(name, *shape):
            return helper.make_tensor_value_info(name, tensor.FLOAT, shape)

        time = len(self._x) if whole else 1
        graph = helper.make_graph(
            [node],
            problem.kind,
            [info('x', time, 1, units), *(info(n, 1, 1, units) for n in old[1:])],
            [info('y', time, 1, 1, units)]
            if whole
            else [info(n, 1, 1, units) for n in outputs[1:]],
            [
                self._onnx.numpy_helper.from_array(np.ascontiguousarray(a), n)
                for n, a in arrays.items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 14)], ir_version=8)
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        return self._ort.InferenceSession(
            model.SerializeToString(), options, providers=['CPUExecutionProvider']
        )

    def whole(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def whole_output(self) -> np.ndarray:
        return self._output[:, 0, 0]

    def start(self) -> None:
        for buffer in self._buffers:
            for array in buffer.values():
                array[:] = 0

    def steps(self, count: int) -> None:
        run, into = self._step_session.run_with_iobinding, self._in[0, 0]
        first, second = self._bindings
        for row in self._x[:count]:
            into[:] = row
            run(first)
            first, second = second, first

    def last(self) -> np.ndarray:
        # This buffer has the result after an even number of steps.
        return self._buffers[0]['h'].ravel()


class _Torch:
    name = 'PyTorch'

    def __init__(self, problem: Problem, threads: int):
        import torch

        self._torch, self._threads, units = torch, threads, problem.units
        self.module = problem.torch_module()
        self._x = torch.from_numpy(problem.x)[:, None]
        self._rows = list(self._x.split(1))
        self._zero = torch.zeros(1, 1, units)
        self._is_lstm = problem.kind == 'LSTM'

    def whole(self) -> None:
        self._torch.set_num_threads(self._threads)
        with self._torch.inference_mode():
            self._whole = self.module(self._x)[0]

    def whole_output(self) -> np.ndarray:
        return self._whole[:, 0].numpy()

    def start(self) -> None:
        self._torch.set_num_threads(self._threads)
        self._state = (self._zero, self._zero) if self._is_lstm else self._zero

    def steps(self, count: int) -> None:
        module, state = self.module, self._state
        with self._torch.inference_mode():
            for row in self._rows[:count]:
                y, state = module(row, state)
        self._y = y

    def last(self) -> np.ndarray:
        return self._y.numpy().ravel()


class _OursPadded:
    name = _Ours.name

    def __init__(self, problem: Problem, lengths: np.ndarray):
        self._apply = _open(*rnn(problem), threads=1).applier(*_batch(problem, lengths))

    def run(self) -> None:
        self._apply.run()

    def output(self) -> np.ndarray:
        return self._apply.output


class _TorchPadded:
    name = _Torch.name

    def __init__(self, problem: Problem, lengths: np.ndarray):
        import torch

        self._torch, self._lengths = torch, torch.from_numpy(lengths)
        self._module = _Torch(problem, 1).module
        self._x = torch.from_numpy(_batch(problem, lengths)[0])

    def run(self) -> None:
        rnn = self._torch.nn.utils.rnn
        self._torch.set_num_threads(1)
        with self._torch.inference_mode():
            packed = rnn.pack_padded_sequence(self._x, self._lengths, batch_first=True)
            self._y = rnn.pad_packed_sequence(self._module(packed)[0], batch_first=True)[0]

    def output(self) -> np.ndarray:
        return self._y.numpy()


def _batch(problem: Problem, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The problem's sequence cut to each length, with zeros after it, and the mask."""
    mask = np.arange(len(problem.x)) < lengths[:, np.newaxis]
    return problem.x * mask[..., np.newaxis].astype(np.float32), mask


def _measure_padded(kind: str, units: int, args: argparse.Namespace) -> None:
    problem = Problem(kind, units, args.steps)
    full = np.full(args.padded, args.steps)
    padded = args.steps * np.arange(args.padded, 0, -1) // args.padded
    runners = [
        [r for k in (_OursPadded, _TorchPadded) if (r := _make(k, problem, lengths))]
        for lengths in (full, padded)
    ]
    times = {}
    for _ in range(args.rounds):
        for way, group in zip(('full', 'padded'), runners, strict=True):
            for r in group:
                times.setdefault((r.name, way), []).append(_seconds(r.run, threads=1))
    for group in runners:
        for r in group[1:]:
            np.testing.assert_allclose(r.output(), group[0].output(), rtol=0, atol=1e-4)
    best = {key: 1e3 * min(t) for key, t in times.items()}
    for r in runners[0]:
        of_full, of_padded = best[r.name, 'full'], best[r.name, 'padded']
        share = padded.sum() / full.sum()
        print(
            f'| {kind} | {units} | {r.name} | {of_full:.1f} | {of_padded:.1f} '
            f'| {of_padded / of_full:.2f} | {share:.2f} |',
            flush=True,
        )


def _make(kind, *arguments):
    try:
        return kind(*arguments)
    except (ImportError, OSError) as error:
        print(f'left out: {kind.name}: {error}')
        return None


def _check(runners: list, singles: int) -> None:
    want = None
    for r in runners:
        r.whole()
        r.start()
        r.steps(singles)
        whole = r.whole_output().copy()
        at = whole[singles - 1]
        np.testing.assert_allclose(r.last(), at, rtol=0, atol=1e-4, err_msg=r.name)
        if want is None:
            want = whole
            np.testing.assert_array_equal(r.last(), at, err_msg='a step is what a layer does')
        np.testing.assert_allclose(whole, want, rtol=0, atol=1e-4, err_msg=r.name)


def _seconds(run: Callable[[], None], threads: int) -> float:
    clock = time.thread_time if threads == 1 else time.perf_counter
    time.sleep(_PAUSE)
    start = clock()
    run()
    return clock() - start


def _measure(kind: str, units: int, args: argparse.Namespace) -> None:
    problem = Problem(kind, units, args.steps)
    makers = [k for k in (_Ours, _OnnxRuntime, _Torch) if not args.only or k.name in args.only]
    runners = {
        threads: [r for k in makers if (r := _make(k, problem, threads))]
        for threads in args.threads
    }
    times = {}
    for group in runners.values():
        _check(group, args.singles)
    for _ in range(args.rounds):
        for threads, group in runners.items():
            for r in group:
                seconds = _seconds(r.whole, threads)
                times.setdefault(('whole', threads), {}).setdefault(r.name, []).append(seconds)
            for r in group:
                r.start()
                seconds = _seconds(functools.partial(r.steps, args.singles), threads)
                times.setdefault(('steps', threads), {}).setdefault(r.name, []).append(seconds)
    for (way, threads), by_name in sorted(times.items(), reverse=True):
        steps = args.steps if way == 'whole' else args.singles
        _report(f'{kind} | {units} | {way} | {threads}', by_name, steps)


def _report(case: str, times: dict[str, list[float]], steps: int) -> None:
    """Prints a row: microseconds per step, best (median), and the ratio to the fastest peer."""
    best = {name: 1e6 * min(t) / steps for name, t in times.items()}
    cells = [f'{best[n]:.2f} ({1e6 * statistics.median(t) / steps:.2f})' for n, t in times.items()]
    peers = [t for n, t in best.items() if n != _Ours.name]
    ratio = f'{min(peers) / best[_Ours.name]:.2f}' if peers and _Ours.name in best else ''
    print(f'| {case} | {" | ".join(cells)} | {ratio} |', flush=True)


def _empty_call() -> float:
    """Microseconds of a ctypes call that does nothing, with as many arguments as a step."""
    from sequence_layers_runtime import abi

    free, count = abi.load().sl_state_free, 10000
    start = time.perf_counter()
    for _ in range(count):
        free(None)
    return 1e6 * (time.perf_counter() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--kinds', nargs='+', default=['LSTM', 'GRU'], choices=list(_GATES))
    parser.add_argument('--units', nargs='+', type=int, default=[64, 256, 1024])
    parser.add_argument('--threads', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--steps', type=int, default=1000)
    parser.add_argument('--singles', type=int, default=1000, help='single steps, an even number')
    parser.add_argument('--rounds', type=int, default=11)
    parser.add_argument('--padded', type=int, metavar='BATCH', help='time padded batches instead')
    parser.add_argument('--only', nargs='+', help='names of the libraries to time')
    args = parser.parse_args()
    if args.singles % 2 or args.singles > args.steps:
        parser.error('--singles: expected an even number, at most --steps')

    if args.padded:
        print(f'ms of {args.padded} sequences of {args.steps} steps, best of {args.rounds} rounds')
        print('| layer | units | library | all valid | padded | ratio | valid steps |')
        print('|---' * 7 + '|')
        for kind in args.kinds:
            for units in args.units:
                _measure_padded(kind, units, args)
        return

    print(f'us of a step, batch 1, sequences of {args.steps} and {args.singles} single steps;')
    print(f'best (median) of {args.rounds} rounds;')
    print(f'empty call {_empty_call():.2f} us; ratio: the fastest peer in our times')
    names = [k.name for k in (_Ours, _OnnxRuntime, _Torch) if not args.only or k.name in args.only]
    print(f'| layer | units | way | threads | {" | ".join(names)} | ratio |')
    print('|---' * (len(names) + 5) + '|')
    for kind in args.kinds:
        for units in args.units:
            _measure(kind, units, args)


if __name__ == '__main__':
    main()
