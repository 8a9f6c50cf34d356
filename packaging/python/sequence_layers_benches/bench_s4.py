"""Times an S4 layer (5000 steps) and steps of it: this library beside JAX and PyTorch.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.bench_s4 \\
      --model MODEL

MODEL is a directory with an S4 config and its weights. By default a model of 256 channels and state
size 64 is made, with random weights close to HiPPO's. All libraries take turns in this process on
one CPU, and a time is the CPU time of the fastest round. Peers get the discrete system, the spectrum
of the kernel and compiled functions before the measurement. Each peer steps with the dense state
matrix, which is usual, and with the matrix as a diagonal and a product of two vectors, which is this
library's form; and both forms are called once per step and once for all steps (a scan, a scripted
loop). Peers that cannot be imported are left out.
"""

import argparse
import contextlib
import json
import os
import pathlib
import tempfile
import time
import warnings

import numpy as np

_TIME, _STEPS = 5000, 100
_CHANNELS, _STATES = 256, 64
_CONVOLUTION, _RECURRENCE = f'{_TIME} steps, layer-wise', f'{_STEPS} steps'


def _complex(pairs: np.ndarray) -> np.ndarray:
    return pairs[..., 0].astype(np.float64) + 1j * pairs[..., 1]


class System:
    """x = A x + b u, y = Re(c x) + d u for all channels, with A dense and as diag(a) + q r^T."""

    def __init__(self, weights: dict, length: int):
        w = {k.removeprefix('params.'): v for k, v in weights.items()}
        p, step = _complex(w['p']), np.exp(w['log_step'].astype(np.float64))[:, None]
        lam = np.minimum(w['lambda_re'].astype(np.float64), -1e-4) + 1j * w['lambda_im']
        g = 1 / (2 / step - lam)
        norm = 1 + (p.conj() * g * p).sum(-1, keepdims=True)
        along = (p.conj() * g * _complex(w['b'])).sum(-1, keepdims=True)
        self.a, self.r = 4 / step * g - 1, p.conj() * g
        self.q = -4 / step * g * p / norm
        self.b = 2 * g * (_complex(w['b']) - p * along / norm)
        eye = np.eye(p.shape[1])
        self.dense = self.a[..., None] * eye + self.q[..., None] * self.r[:, None]
        rest = eye - np.linalg.matrix_power(self.dense, length)
        c = np.linalg.solve(rest.transpose(0, 2, 1), _complex(w['c']).conj()[..., None])
        self.c, self.d = c[..., 0], w['d']

    def step(self, x: np.ndarray, u: np.ndarray):
        along = (self.r * x).sum(-1, keepdims=True)
        x = self.a * x + self.q * along + self.b * u[:, None]
        return x, (self.c * x).sum(-1).real + self.d * u

    def kernel(self) -> np.ndarray:
        """The first values of the impulse response, d included: [time, channels]."""
        x, u, out = np.zeros_like(self.b), np.ones(len(self.d)), []
        for _ in range(_TIME):
            x, y = self.step(x, u)
            out.append(y)
            u = np.zeros_like(u)
        return np.stack(out)


class _Library:
    name = 'libsequence_layers'

    def __init__(self, model: pathlib.Path, u: np.ndarray):
        import sequence_layers_runtime as runtime

        start = time.process_time()
        self._layer, self._u = runtime.Layer.open(model), u
        print(f'{self.name}: creation {time.process_time() - start:.2f} s, ', end='')
        start = time.process_time()
        self.convolve()
        print(f'first layer-wise run {time.process_time() - start:.2f} s')
        self._state = self._layer.new_state()
        self._stepper = self._state.stepper(1)
        self._rows = [self._u[t].ctypes.data for t in range(_STEPS)]
        self._block = self._layer.new_state(max_steps=_STEPS)

    def convolve(self) -> np.ndarray:
        return self._layer.apply(self._u[np.newaxis])[0][0]

    def steps(self) -> np.ndarray:
        self._state.reset()
        for row in self._rows:
            self._stepper.step(row)
        return self._stepper.output[0, 0]

    def block(self) -> np.ndarray:
        self._block.reset()
        return self._block.step(self._u[np.newaxis, :_STEPS])[0][0, -1]

    def runners(self):
        yield _CONVOLUTION, 'layer', self.convolve
        yield _RECURRENCE, 'step by step', self.steps
        yield _RECURRENCE, 'in one call', self.block


class _Jax:
    name = 'JAX'

    def __init__(self, system: System, kernel: np.ndarray, u: np.ndarray):
        import jax
        import jax.numpy as jnp

        a, q, r, b, c, dense = (
            jnp.asarray(v, jnp.complex64)
            for v in (system.a, system.q, system.r, system.b, system.c, system.dense)
        )
        d, self._u, self._zero = jnp.asarray(system.d), jnp.asarray(u), jnp.zeros_like(b)
        size = 2 * _TIME
        spectrum = jnp.fft.rfft(jnp.asarray(kernel.T, jnp.float32), size)

        @jax.jit
        def convolve(u):
            return jnp.fft.irfft(jnp.fft.rfft(u.T, size) * spectrum, size)[:, :_TIME].T

        def dense_step(x, u):
            x = jnp.einsum('hij,hj->hi', dense, x) + b * u[:, None]
            return x, (c * x).sum(-1).real + d * u

        def low_rank_step(x, u):
            x = a * x + q * (r * x).sum(-1, keepdims=True) + b * u[:, None]
            return x, (c * x).sum(-1).real + d * u

        self.convolve = lambda: convolve(self._u).block_until_ready()
        self._forms = {'dense': dense_step, 'low rank': low_rank_step}
        self._jit, self._scan = jax.jit, jax.lax.scan

    def runners(self):
        yield _CONVOLUTION, 'FFT', self.convolve
        for form, step in self._forms.items():
            single = self._jit(step)
            scan = self._jit(lambda x, u, step=step: self._scan(step, x, u))

            rows = list(self._u[:_STEPS])

            def steps(single=single, rows=rows):
                x = self._zero
                for u in rows:
                    x, y = single(x, u)
                return y.block_until_ready()

            yield _RECURRENCE, f'{form}, step by step', steps
            yield (
                _RECURRENCE,
                f'{form}, one scan',
                lambda scan=scan: scan(self._zero, self._u[:_STEPS])[1][-1].block_until_ready(),
            )


class _Torch:
    name = 'PyTorch'

    def __init__(self, system: System, kernel: np.ndarray, u: np.ndarray):
        import torch

        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        warnings.filterwarnings('ignore', category=FutureWarning, module='torch')
        size = 2 * _TIME
        self._u, d = torch.from_numpy(u), torch.from_numpy(system.d)
        a, q, r, b, c, dense = (
            torch.from_numpy(v.astype(np.complex64))
            for v in (system.a, system.q, system.r, system.b, system.c, system.dense)
        )
        zero = torch.zeros_like(b)
        spectrum = torch.fft.rfft(torch.from_numpy(kernel.T.astype(np.float32).copy()), size)

        def convolve():
            product = torch.fft.rfft(self._u.T.contiguous(), size).mul_(spectrum)
            return torch.fft.irfft(product, size)[:, :_TIME].T.contiguous()

        def dense_steps(x, u, dense, b, c, d):
            y = torch.zeros_like(d)
            for t in range(u.shape[0]):
                x = torch.baddbmm((b * u[t].unsqueeze(-1)).unsqueeze(-1), dense, x.unsqueeze(-1))
                x = x.squeeze(-1)
                y = torch.real((c * x).sum(-1)) + d * u[t]
            return y

        def low_rank_steps(x, u, a, q, r, b, c, d):
            y = torch.zeros_like(d)
            for t in range(u.shape[0]):
                along = (r * x).sum(-1, keepdim=True)
                x = a * x + q * along + b * u[t].unsqueeze(-1)
                y = torch.real((c * x).sum(-1)) + d * u[t]
            return y

        self.convolve = convolve
        self._script = torch.jit.script
        self._forms = {
            'dense': (dense_steps, (zero, self._u[:_STEPS], dense, b, c, d)),
            'low rank': (low_rank_steps, (zero, self._u[:_STEPS], a, q, r, b, c, d)),
        }

    def runners(self):
        yield _CONVOLUTION, 'FFT', self.convolve
        for form, (steps, arguments) in self._forms.items():
            yield _RECURRENCE, f'{form}, step by step', lambda f=steps, a=arguments: f(*a)
            scripted = self._script(steps)
            yield _RECURRENCE, f'{form}, scripted', lambda f=scripted, a=arguments: f(*a)


def random_weights() -> dict[str, np.ndarray]:
    """Weights near the initial values of S4."""
    rng = np.random.default_rng(0)
    n = np.arange(_STATES)
    scale = np.sqrt(1 + 2 * n)
    hippo = np.diag(n) - np.tril(scale[:, None] * scale)
    p, b = np.sqrt(n + 0.5), scale
    normal = hippo + p[:, None] * p
    im, basis = np.linalg.eigh(-1j * normal)

    def about(values, deviation):
        return values + deviation * rng.standard_normal((_CHANNELS, _STATES))

    def pairs(values):
        return np.stack([values.real, values.imag], -1)

    found = {
        'lambda_re': about(np.mean(np.diag(normal)).real, 0.01),
        'lambda_im': about(im, 0.01),
        'p': pairs(about(basis.conj().T @ p, 0.01)),
        'b': pairs(about(basis.conj().T @ b, 0.01)),
        'c': np.sqrt(0.5) * rng.standard_normal((_CHANNELS, _STATES, 2)),
        'log_step': rng.uniform(np.log(0.001), np.log(0.1), _CHANNELS),
        'd': rng.standard_normal(_CHANNELS),
    }
    return {f'params.{name}': value.astype(np.float32) for name, value in found.items()}


def _make_model(directory: pathlib.Path) -> None:
    from sequence_layers_tools import model_directory

    model_directory.write(
        directory,
        {'type': 'S4', 'state_size': _STATES, 'kernel_length': _TIME},
        random_weights(),
        channel_shape=(_CHANNELS,),
    )


def _peer(kind, *arguments):
    try:
        return kind(*arguments)
    except ImportError as error:
        print(f'left out: {kind.name}: {error}')
        return None


def _report(times: dict, rounds: int) -> None:
    print(f'one CPU, CPU time of the best of {rounds} interleaved rounds, beside this library:')
    best = {key: min(seconds) for key, seconds in times.items()}
    for mode in (_CONVOLUTION, _RECURRENCE):
        chosen = {key[1:]: seconds for key, seconds in best.items() if key[0] == mode}
        ours = min(seconds for (who, _), seconds in chosen.items() if who == _Library.name)
        print(mode)
        for (who, how), seconds in chosen.items():
            print(f'  {who + ", " + how:<36} {1000 * seconds:9.2f} ms {seconds / ours:8.2f} x')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', type=pathlib.Path, help='the model directory')
    parser.add_argument('--weights', default='model.safetensors', help='their file in it')
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    with contextlib.ExitStack() as stack:
        if args.model is None:
            args.model = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _make_model(args.model)
        _run(args)


def _run(args: argparse.Namespace) -> None:
    from safetensors.numpy import load_file

    weights = load_file(args.model / args.weights)
    config = json.loads((args.model / 'config.json').read_text())
    channels = len(weights['params.d'])
    u = np.random.default_rng(0).standard_normal((_TIME, channels), np.float32)
    ours = _Library(args.model, u)
    start = time.process_time()
    system = System(weights, config['kernel_length'])
    print(f'by numpy, for the peers: discrete system {time.process_time() - start:.2f} s, ', end='')
    start = time.process_time()
    kernel = system.kernel()
    print(f'kernel {time.process_time() - start:.2f} s')

    runners = {(mode, ours.name, how): run for mode, how, run in ours.runners()}
    for kind in (_Jax, _Torch):
        start = time.process_time()
        if peer := _peer(kind, system, kernel, u):
            more = {(mode, peer.name, how): run for mode, how, run in peer.runners()}
            for run in more.values():
                run()
            print(f'{peer.name}: first runs {time.process_time() - start:.2f} s')
            runners |= more
    for mode in (_CONVOLUTION, _RECURRENCE):
        results = {key: np.asarray(run()) for key, run in runners.items() if key[0] == mode}
        want = next(iter(results.values()))
        for key, got in results.items():
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3, err_msg=str(key))
    times = {key: [] for key in runners}
    for _ in range(args.rounds):
        for key, run in runners.items():
            start = time.process_time()
            run()
            times[key].append(time.process_time() - start)
    _report(times, args.rounds)


if __name__ == '__main__':
    main()
