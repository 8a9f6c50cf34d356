"""Times an S4 layer (state 64, 256 channels, 5000 steps): this library beside JAX, compiled.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_tools.bench_s4 \\
      --model MODEL

MODEL is a directory with an S4 config and its weights. All run in this process on one CPU, in
rounds that take turns; the time is the CPU time of the best round. JAX is given the discrete system
and the kernel ready made: its times are of the recurrence (a scan of the dense state matrix over
the steps, and single steps) and of the convolution by FFT alone.
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np

_TIME, _STEPS = 5000, 100


def _complex(pairs):
    return pairs[..., 0].astype(np.float64) + 1j * pairs[..., 1]


def _system(weights: dict, length: int):
    """A, B, C and d of all channels, discrete."""
    w = {k.removeprefix('params.'): v for k, v in weights.items()}
    p, step = _complex(w['p']), np.exp(w['log_step'].astype(np.float64))[:, None, None]
    eye = np.eye(p.shape[1])
    lam = np.minimum(w['lambda_re'].astype(np.float64), -1e-4) + 1j * w['lambda_im']
    a = lam[..., None] * eye - p[:, :, None] * p.conj()[:, None]
    inverse = np.linalg.inv(2 / step * eye - a)
    a = inverse @ (2 / step * eye + a)
    b = 2 * (inverse @ _complex(w['b'])[..., None])[..., 0]
    rest = np.linalg.inv(eye - np.linalg.matrix_power(a, length))
    return a, b, (_complex(w['c']).conj()[:, None] @ rest)[:, 0], w['d']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', required=True, type=pathlib.Path)
    parser.add_argument('--weights', default='model.safetensors', help='their file in it')
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    import jax
    import jax.numpy as jnp
    from safetensors.numpy import load_file

    from sequence_layers_tools import library

    weights = load_file(args.model / args.weights)
    config = json.loads((args.model / 'config.json').read_text())
    start = time.process_time()
    layer = library.Layer.open(args.model)
    print(f'creation: {time.process_time() - start:.2f} s')
    start = time.process_time()
    a, b, c, d = _system(weights, config['kernel_length'])
    print(f'the same by numpy: {time.process_time() - start:.2f} s')
    a, b, c = (jnp.asarray(v, jnp.complex64) for v in (a, b, c))

    def step(x, u):
        x = jnp.einsum('hij,hj->hi', a, x) + b * u[:, None]
        return x, (c * x).sum(-1).real + d * u

    @jax.jit
    def scan(x, u):
        return jax.lax.scan(step, x, u)

    @jax.jit
    def convolve(k, u):
        size = 2 * _TIME
        y = jnp.fft.irfft(jnp.fft.rfft(u, size, 0) * jnp.fft.rfft(k, size, 0), size, 0)
        return y[:_TIME] + d * u

    u = np.random.default_rng(0).standard_normal((_TIME, len(d)), np.float32)
    zero = jnp.zeros(b.shape, jnp.complex64)
    impulse = np.zeros_like(u)
    impulse[0] = 1
    kernel = scan(zero, impulse)[1] - impulse * d
    single = jax.jit(step)
    state = layer.new_state()

    def steps():
        for t in range(_STEPS):
            state.step(u[np.newaxis, t : t + 1])

    def jax_steps():
        x = zero
        for t in range(_STEPS):
            x, y = single(x, u[t])
        y.block_until_ready()

    runners = {
        'libsequence_layers, layer-wise': lambda: layer.apply(u[np.newaxis]),
        'JAX, convolution': lambda: convolve(kernel, u).block_until_ready(),
        f'libsequence_layers, {_STEPS} steps': steps,
        f'JAX, {_STEPS} steps': jax_steps,
        f'JAX, a scan of {_STEPS} steps': lambda: scan(zero, u[:_STEPS])[1].block_until_ready(),
    }
    np.testing.assert_allclose(
        layer.apply(u[np.newaxis])[0][0], convolve(kernel, u), rtol=2e-3, atol=2e-2
    )
    times = {name: [] for name in runners}
    for _ in range(args.rounds):
        for name, run in runners.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    for name, seconds in times.items():
        print(f'  {name:<34} {1000 * min(seconds):9.2f} ms')


if __name__ == '__main__':
    main()
