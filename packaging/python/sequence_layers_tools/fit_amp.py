"""Fits an LSTM to a simulated guitar amplifier, and writes it as a model directory.

  python -m sequence_layers_tools.fit_amp --out docs/models/amp

It needs JAX (packaging/setup.sh --reference) and takes some minutes of one core. The amplifier has
what makes such stages hard to model: a grid that charges its coupling capacitor when it is driven
hard, so that the bias shifts and recovers slowly; a triode that clips its two sides differently; a
tone stack; and a power stage that clips once more.
"""

import argparse

import numpy as np
from scipy import signal

from sequence_layers_tools import model_directory

RATE = 48000
_UNITS = 16
_CHUNK = 1024  # steps through which gradients go back
_BATCH = 40
_OVERSAMPLING = 4


def amplifier(x: np.ndarray) -> np.ndarray:
    """What the amplifier makes of samples at RATE: circuits at four times the rate."""
    rate = RATE * _OVERSAMPLING
    v = signal.resample_poly(x, _OVERSAMPLING, 1)
    v = signal.lfilter(*signal.butter(1, 30, 'high', fs=rate), 3 * v)
    # Grid current flows at positive peaks and charges the capacitor, which drains in 30 ms.
    charge = signal.lfilter(*signal.butter(1, 5, fs=rate), np.maximum(v - 0.5, 0))
    grid = v - 2.5 * charge
    plate = np.tanh(0.7 * grid + 0.3) - np.tanh(0.3) + 0.15 * np.tanh(3 * np.minimum(grid, 0))
    plate = signal.lfilter(*signal.butter(1, 20, 'high', fs=rate), plate)
    tone = signal.lfilter(*_tone_stack(rate), plate)
    power = np.tanh(1.5 * tone)
    power = signal.lfilter(*signal.butter(2, 6000, fs=rate), power)
    return 0.6 * signal.resample_poly(power, 1, _OVERSAMPLING)


def _tone_stack(rate: float) -> tuple[np.ndarray, np.ndarray]:
    """A treble, middle and bass network of 250 pF, 20 nF and 20 nF, all knobs half way."""
    c1, c2, c3, r1, r2, r3, r4 = 250e-12, 20e-9, 20e-9, 250e3, 1e6, 25e3, 56e3
    t, m, low = 0.5, 0.5, 0.5
    b1 = t * c1 * r1 + m * c3 * r3 + low * (c1 * r2 + c2 * r2) + c1 * r3 + c2 * r3
    b2 = (
        t * (c1 * c2 * r1 * r4 + c1 * c3 * r1 * r4)
        - m * m * (c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + m * (c1 * c3 * r1 * r3 + c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + low * (c1 * c2 * r1 * r2 + c1 * c2 * r2 * r4 + c1 * c3 * r2 * r4)
        + low * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        + c1 * c2 * r1 * r3 + c1 * c2 * r3 * r4 + c1 * c3 * r3 * r4
    )  # fmt: skip
    b3 = (
        low * m * (c1 * c2 * c3 * r1 * r2 * r3 + c1 * c2 * c3 * r2 * r3 * r4)
        - m * m * (c1 * c2 * c3 * r1 * r3**2 + c1 * c2 * c3 * r3**2 * r4)
        + m * (c1 * c2 * c3 * r1 * r3**2 + c1 * c2 * c3 * r3**2 * r4)
        + t * c1 * c2 * c3 * r1 * r3 * r4
        - t * m * c1 * c2 * c3 * r1 * r3 * r4
        + t * low * c1 * c2 * c3 * r1 * r2 * r4
    )
    a1 = c1 * r1 + c1 * r3 + c2 * r3 + c2 * r4 + c3 * r4 + m * c3 * r3 + low * (c1 * r2 + c2 * r2)
    a2 = (
        m * (c1 * c3 * r1 * r3 - c2 * c3 * r3 * r4 + c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + low * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        - m * m * (c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + low * (c1 * c2 * r2 * r4 + c1 * c2 * r1 * r2 + c1 * c3 * r2 * r4 + c2 * c3 * r2 * r4)
        + c1 * c2 * r1 * r4 + c1 * c3 * r1 * r4 + c1 * c2 * r3 * r4 + c1 * c2 * r1 * r3
        + c1 * c3 * r3 * r4 + c2 * c3 * r3 * r4
    )  # fmt: skip
    a3 = (
        low * m * (c1 * c2 * c3 * r1 * r2 * r3 + c1 * c2 * c3 * r2 * r3 * r4)
        - m * m * (c1 * c2 * c3 * r1 * r3**2 + c1 * c2 * c3 * r3**2 * r4)
        + m * (c1 * c2 * c3 * r3**2 * r4 + c1 * c2 * c3 * r1 * r3**2 - c1 * c2 * c3 * r1 * r3 * r4)
        + low * c1 * c2 * c3 * r1 * r2 * r4
        + c1 * c2 * c3 * r1 * r3 * r4
    )
    b, a = signal.bilinear([b3, b2, b1, 0], [a3, a2, a1, 1], fs=rate)
    return 3 * b, a


def guitar(seconds: float, seed: int) -> np.ndarray:
    """Plucked strings one over the other, from soft to hard, with some noise between."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round(seconds * RATE))
    at = 0
    while at < len(out):
        length = min(len(out) - at, round(rng.uniform(0.1, 1.2) * RATE))
        time = np.arange(length) / RATE
        note = np.zeros(length)
        for pitch in 82.4 * 2 ** (rng.integers(0, 36, rng.integers(1, 4)) / 12):
            for k in range(1, min(30, int(10000 / pitch))):
                decay = np.exp(-time * (1 + 0.7 * k) * rng.uniform(0.7, 1.3))
                note += decay * np.sin(2 * np.pi * (k * pitch * time + rng.random())) / k
        note += rng.normal(size=length) * np.exp(-time * 80)
        level = 10 ** rng.uniform(-2, 0)
        out[at : at + length] += (
            level * note / (np.abs(note).max() + 1e-9) * np.minimum(1, time * 500)
        )
        at += round(length * rng.uniform(0.5, 1))
    return np.clip(out, -1, 1)


def error_to_signal(target: np.ndarray, output: np.ndarray) -> float:
    return float(np.sum((target - output) ** 2) / np.sum(target**2))


def _forward(p, carry, x):
    """The model over chunks [batch, time]: x plus a linear map of an LSTM over x."""
    import jax
    import jax.numpy as jnp

    inputs = x.T[:, :, None] * p['kernel'][0] + p['bias']

    def step(carry, z):
        c, h = carry
        i, f, g, o = jnp.split(z + h @ p['recurrent'], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    carry, h = jax.lax.scan(step, carry, inputs, unroll=4)
    return carry, (h @ p['out'] + p['out_bias'])[:, :, 0].T + x


def fit(x: np.ndarray, y: np.ndarray, epochs: int) -> dict[str, np.ndarray]:
    """Minimises the error after a filter that lifts the treble as hearing does."""
    import jax
    import jax.numpy as jnp
    import optax

    keys = jax.random.split(jax.random.key(1), 3)
    p = {
        'kernel': jax.random.normal(keys[0], (1, 4 * _UNITS)) * 0.5,
        'recurrent': jax.random.normal(keys[1], (_UNITS, 4 * _UNITS)) / _UNITS**0.5,
        'bias': jnp.concatenate([jnp.zeros(_UNITS), jnp.ones(_UNITS), jnp.zeros(2 * _UNITS)]),
        'out': jax.random.normal(keys[2], (_UNITS, 1)) * 0.1,
        'out_bias': jnp.zeros(1),
    }
    chunks = len(x) // (_BATCH * _CHUNK)
    shape = (_BATCH, chunks, _CHUNK)
    x, y = (jnp.asarray(v[: np.prod(shape)].reshape(shape), jnp.float32) for v in (x, y))
    adam = optax.adam(optax.cosine_decay_schedule(8e-3, epochs * chunks, 0.02))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam)

    @jax.jit
    def update(p, state, carry, x, y):
        def loss(p):
            after, out = _forward(p, carry, x)
            error = out - y
            lifted = error[:, 1:] - 0.85 * error[:, :-1]
            return jnp.mean(lifted**2) + 0.05 * jnp.mean(error**2), after

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(p)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(p, change), state, after, value

    state = optimizer.init(p)
    for epoch in range(epochs):
        carry, total = (jnp.zeros((_BATCH, _UNITS)),) * 2, 0.0
        for c in range(chunks):
            p, state, carry, value = update(p, state, carry, x[:, c], y[:, c])
            total += float(value)
        print(f'epoch {epoch + 1} of {epochs}: {total / chunks:.3e}', flush=True)
    return {name: np.asarray(value) for name, value in p.items()}


def write(out: str, p: dict[str, np.ndarray]) -> None:
    config = {
        'type': 'Residual',
        'name': 'amp',
        'layers': [
            {'type': 'ExpandDims', 'axis': -1},
            {'type': 'LSTM', 'units': _UNITS, 'name': 'lstm'},
            {'type': 'Dense', 'features': 1, 'name': 'out'},
            {'type': 'Squeeze', 'axis': -1},
        ],
    }
    tensors = {
        'params.lstm.kernel.kernel': p['kernel'],
        'params.lstm.recurrent_kernel.kernel': p['recurrent'],
        'params.lstm.bias': p['bias'],
        'params.out.kernel': p['out'],
        'params.out.bias': p['out_bias'],
    }
    model_directory.write(
        out, config, tensors, channel_shape=(), metadata={'sample_rate': str(RATE)}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', required=True)
    parser.add_argument('--epochs', type=int, default=30)
    args = parser.parse_args()
    x = guitar(40, seed=1)
    write(args.out, fit(x, amplifier(x), args.epochs))


if __name__ == '__main__':
    main()
