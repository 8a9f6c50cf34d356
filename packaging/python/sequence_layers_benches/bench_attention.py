"""Times attention models: this library beside onnxruntime and the JAX reference, compiled.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.bench_attention \\
      --models docs/models

Two models are measured: steps of a decoder of 12 blocks of width 1024 that sees 256 earlier steps,
and steps and whole sequences of a causal conformer of 4 blocks of width 512 that sees 64. All peers
use float32, batch 1, the same random weights and one thread, and take turns in this process on one
CPU. Times are CPU times.

Before the measurement, every peer runs more steps than its caches hold, and the outputs are
compared. onnxruntime keeps its caches in place by io binding. The reference's step is jitted, with a
donated state, unrolled blocks, weights as constants and ring buffers as caches. `sl bench` counts
the heap calls of steps. A step reads all weights, so a plain pass over as much memory is timed too.

Needs the reference (packaging/setup.sh --reference).
"""

import argparse
import copy
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time
from typing import Any

import numpy as np

_OURS, _JAX = 'libsequence_layers', 'JAX, jitted'
_ONNX, _GROUPED = 'onnxruntime', 'onnxruntime, GQA'


def _decoder(models: pathlib.Path, blocks: int) -> dict[str, Any]:
    config = json.loads((models / 'transformer_decoder/config.json').read_text())
    repeat = config['layers'][2]
    attention = repeat['layer']['layers'][0]['layers'][1]
    attention |= {'max_past_horizon': 256, 'use_kv_cache_ringbuffer': True}
    repeat |= {'num_repeats': blocks, 'unroll_step': True}
    return config


def _conformer(models: pathlib.Path) -> dict[str, Any]:
    config = json.loads((models / 'causal_conformer/config.json').read_text())
    repeat = copy.deepcopy(config['layers'][4])
    start, attend, convolve, end, _ = repeat['layer']['layers']
    for feed_forward in (start, end):
        feed_forward['layers'][1]['features'] = 2048
        feed_forward['layers'][3]['features'] = 512
    window = {'block_size': 64, 'max_past_horizon': 64, 'units_per_head': 64}
    attend['layers'][1] |= window | {'use_kv_cache_ringbuffer': True}
    attend['layers'][2]['output_shape'] = [512]
    convolve['layers'][1]['features'] = 1024
    convolve['layers'][6]['features'] = 512
    return repeat | {'num_repeats': 4, 'unroll_step': True, 'unroll_layer': True}


class Ours:
    def __init__(self, directory: pathlib.Path):
        import sequence_layers_runtime as runtime

        self._layer = runtime.Layer.open(directory)
        if self._layer.supports_step:
            self._stepper = self._layer.new_state().stepper(1)

    def step(self, x: np.ndarray) -> np.ndarray:
        self._stepper.step(x.ctypes.data)
        return self._stepper.output

    def apply(self, x: np.ndarray) -> np.ndarray:
        return self._layer.apply(x)[0]


class Onnx:
    """A session on one thread.

    Outputs present_* use the buffers of inputs past_*; where names begin with `turns`, the two
    take turns.
    """

    def __init__(self, model: bytes, *, turns: tuple[str, ...] = ()):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model, options, providers=['CPUExecutionProvider']
        )
        types = {'float': np.float32, 'int32': np.int32, 'int64': np.int64}
        self._arrays = {
            i.name: np.zeros(i.shape, types[i.type.split('(')[1][:-1]])
            for i in self._session.get_inputs()
        }
        (y,) = (o for o in self._session.get_outputs() if o.name == 'y')
        self._y = np.zeros(y.shape, np.float32)
        self._spare = {n: np.zeros_like(a) for n, a in self._arrays.items() if n.startswith(turns)}
        self._bindings = [self._bind(turn) for turn in (0, 1)]
        self._turn = 0

    def _bind(self, turn: int):
        def place(array):
            return 'cpu', 0, array.dtype.type, array.shape, array.ctypes.data

        binding = self._session.io_binding()
        binding.bind_output('y', *place(self._y))
        for name, array in self._arrays.items():
            pair = (array, self._spare.get(name, array))
            binding.bind_input(name, *place(pair[turn]))
            if name.startswith('past_'):
                binding.bind_output(name.replace('past_', 'present_'), *place(pair[1 - turn]))
        return binding

    def apply(self, x: np.ndarray) -> np.ndarray:
        name = 'token' if 'token' in self._arrays else 'x'
        self._arrays[name][:] = x
        self._session.run_with_iobinding(self._bindings[self._turn])
        return self._y

    def step(self, x: np.ndarray) -> np.ndarray:
        y = self.apply(x)
        self._arrays['position'] += 1
        self._turn = 1 - self._turn
        return y


class Jax:
    def __init__(self, config: dict[str, Any], weights: dict[str, np.ndarray], x: np.ndarray):
        import jax
        import jax.numpy as jnp

        from sequence_layers_tools import convert, reference_config  # isort: skip
        from sequence_layers import jax as sl

        layer = reference_config.from_json(config).make()
        # Constants of the program: given as arguments, the stacked weights of unrolled blocks would
        # be copied in each step.
        variables = jax.tree.map(jnp.asarray, convert.unflatten(weights))

        def step(values, state):
            x = sl.Sequence.from_values(values)
            y, state = layer.apply(variables, x, state, training=False, method='step')
            return y.values, state

        def apply(values):
            x = sl.Sequence.from_values(values)
            return layer.apply(variables, x, training=False, method='layer').values

        self._step, self._apply = jax.jit(step, donate_argnums=1), jax.jit(apply)
        spec = sl.ChannelSpec(x.shape[2:], x.dtype)
        state = layer.apply(variables, 1, spec, training=False, method='get_initial_state')
        # Copies, as each array is donated and none may be passed twice.
        self._state = jax.tree.map(jnp.array, state)

    def step(self, x: np.ndarray) -> np.ndarray:
        y, self._state = self._step(x, self._state)
        return np.asarray(y)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._apply(x))


def _model(config: dict[str, Any], directory: pathlib.Path, shape: tuple[int, ...], dtype: str):
    """Writes the model with random weights, and returns them."""
    from sequence_layers_tools import random_model

    directory.mkdir()
    (directory / 'config.json').write_text(json.dumps(config))
    random_model.record(directory, shape, dtype)
    random_model.make(directory, directory)
    recorded = json.loads((directory / 'weights.json').read_text())
    return random_model.weights(recorded['weights'])


def _agree(what: str, results: dict[str, np.ndarray]) -> None:
    want = results[_JAX]
    differences = [
        f'{name} {np.abs(got - want).max() / np.abs(want).max():.1e}'
        for name, got in results.items()
        if name != _JAX
    ]
    print(f'{what}: largest difference from the reference: {", ".join(differences)}')
    for name, got in results.items():
        np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max(), err_msg=name)


def _report(what: str, times: dict[str, list[float]]) -> None:
    ours = times[_OURS]
    print(what)
    for name, seconds in times.items():
        best, median = min(seconds), statistics.median(seconds)
        print(
            f'  {name:<20} best {1000 * best:9.3f} ms, median {1000 * median:9.3f} ms;'
            f' {best / min(ours):5.2f} and {median / statistics.median(ours):5.2f} times ours'
        )


def _time(call, *arguments) -> float:
    start = time.process_time()
    call(*arguments)
    return time.process_time() - start


def _bench_steps(what: str, runners: dict[str, Any], x: np.ndarray, first: int, args) -> None:
    """Times steps on `x` [steps, 1, 1, ...]; the first of them fill the caches."""
    results = {}
    for name, runner in runners.items():
        results[name] = np.stack([runner.step(x[t]).copy() for t in range(first)])
    _agree(f'{what}, {first} steps', results)
    times = {name: [] for name in runners}
    for n in range(args.rounds):
        for name, runner in runners.items():
            for t in range(first + n * args.steps, first + (n + 1) * args.steps):
                times[name].append(_time(runner.step, x[t]))
    _report(f'{what}, one step:', times)


def _bench_layer(what: str, runners: dict[str, Any], x: np.ndarray, args) -> None:
    _agree(what, {name: runner.apply(x).copy() for name, runner in runners.items()})
    times = {name: [] for name in runners}
    for _ in range(args.layer_rounds):
        for name, runner in runners.items():
            times[name].append(_time(runner.apply, x))
    _report(f'{what}:', times)


def _heap_calls(directory: pathlib.Path, sl: str) -> None:
    command = [sl, 'bench', str(directory), '--seconds', '1', '--time', '8']
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print('  sl bench: ' + re.search(r'^heap calls.*$', report, re.M)[0])


def _memory(size: int) -> None:
    """Times a plain pass over as much memory as the weights that a step reads."""
    parts = np.ones(size // 64 * 16, np.float32).reshape(16, -1)
    seconds = min(_time(lambda: [part.max() for part in parts]) for _ in range(10))
    print(
        f'  NumPy reads {size / 1e6:.0f} MB, as a step does its weights, in {1000 * seconds:.3f} ms:'
        f' {size / seconds / 1e9:.1f} GB/s'
    )


def _weight_bytes(weights: dict[str, np.ndarray]) -> int:
    """Bytes of the weights of products, each of which a step reads once."""
    return sum(a.nbytes for name, a in weights.items() if name.endswith('.kernel'))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--models', required=True, type=pathlib.Path, help='docs/models')
    parser.add_argument('--sl', default='build/release/sl', help='the tool')
    parser.add_argument('--only', choices=('decoder', 'conformer'))
    parser.add_argument('--blocks', type=int, default=12, help='of the decoder')
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--steps', type=int, default=5, help='steps of one in a round')
    parser.add_argument('--layer-rounds', type=int, default=5)
    parser.add_argument('--time', type=int, default=1000, help='steps of a whole sequence')
    args = parser.parse_args()
    os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        if args.only != 'conformer':
            bench_decoder(pathlib.Path(folder) / 'decoder', args)
        if args.only != 'decoder':
            bench_conformer(pathlib.Path(folder) / 'conformer', args)


def bench_decoder(directory: pathlib.Path, args) -> None:
    from sequence_layers_benches import onnx_attention

    config = _decoder(args.models, args.blocks)
    weights = _model(config, directory, (), 'int32')
    first = 300
    rng = np.random.default_rng(1)
    x = rng.integers(0, 100, (first + args.rounds * args.steps, 1, 1), np.int32)
    runners = {
        _OURS: Ours(directory),
        _ONNX: Onnx(onnx_attention.decoder_step(config, weights)),
        _GROUPED: Onnx(onnx_attention.decoder_step(config, weights, grouped=len(x))),
        _JAX: Jax(config, weights, x[0]),
    }
    _bench_steps(f'decoder, {args.blocks} blocks of width 1024', runners, x, first, args)
    _memory(_weight_bytes(weights))
    _heap_calls(directory, args.sl)


def bench_conformer(directory: pathlib.Path, args) -> None:
    from sequence_layers_benches import onnx_attention

    config = _conformer(args.models)
    weights = _model(config, directory, (512,), 'float32')
    first, what = 100, 'conformer, 4 blocks of width 512'
    rng = np.random.default_rng(1)
    x = rng.standard_normal((first + args.rounds * args.steps, 1, 1, 512), np.float32)
    ours, jax = Ours(directory), Jax(config, weights, x[0])
    step = Onnx(onnx_attention.conformer_step(config, weights), turns=('past_c',))
    _bench_steps(what, {_OURS: ours, _ONNX: step, _JAX: jax}, x, first, args)
    _memory(_weight_bytes(weights))
    _heap_calls(directory, args.sl)
    layer = Onnx(onnx_attention.conformer_layer(config, weights, args.time))
    x = rng.standard_normal((1, args.time, 512), np.float32)
    runners = {_OURS: ours, _ONNX: layer, _JAX: jax}
    _bench_layer(f'{what}, {args.time} steps layer-wise', runners, x, args)


if __name__ == '__main__':
    main()
