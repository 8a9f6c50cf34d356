"""Fits a denoiser for speech, a mask for the STFT by a small GRU, and writes it as a model directory.

  python -m sequence_layers_tools.fit_denoiser --out docs/models/denoiser

It needs JAX (packaging/setup.sh --reference) and espeak-ng, which speaks the sentences, and takes a
minute or two of one core. Noise is coloured anew for each example, partly a hum or a flutter.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
from scipy import signal

from sequence_layers_tools import model_directory, wav

RATE = 16000
FRAME, STEP, FFT = 400, 160, 512
DELAY = FRAME - STEP  # samples of the past in a frame, by which the frames come out late
_BINS = FFT // 2 + 1
_HIDDEN, _UNITS = 48, 64
_FLOOR = 1e-3  # of a magnitude, before its logarithm
_FRAMES = 200  # in a training example
_BATCH = 16

_SENTENCES = (
    'The harbour lights went out one after the other before the storm came in.',
    'She sold the old piano to a teacher who lived above the bakery.',
    'Seven thousand people waited for the first train on Monday morning.',
    'Please turn left at the second bridge and follow the narrow road.',
    'A quick brown fox jumps over the lazy dog while it rains.',
    'Nobody could explain why the clock in the tower had stopped at noon.',
    'We measured the temperature of the lake every hour for three weeks.',
    'His grandmother kept letters from every country she had ever visited.',
    'The engine starts quietly, but it shakes when the road goes uphill.',
    'Thirty three thin thieves thought that they thrilled the throne.',
    'Fresh bread, olive oil and a little salt are all you need tonight.',
    'The judge asked them to speak slowly and to name each witness.',
)
_VOICES = ('en-us', 'en-gb', 'en-gb-scotland', 'en-us+f2', 'en-gb+f4', 'en-us+m3', 'en-gb+m7')


def speak(text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'speech.wav'
        options = ['-v', voice, '-s', str(speed), '-p', str(pitch), '-w', str(path)]
        subprocess.run(['espeak-ng', *options, text], check=True)
        samples, rate = wav.read(path)
    divisor = np.gcd(rate, RATE)
    samples = signal.resample_poly(samples, RATE // divisor, rate // divisor)
    return np.pad(samples / np.abs(samples).max(), RATE // 8)


def speech(seconds: float, rng: np.random.Generator, sentences: tuple[str, ...]) -> np.ndarray:
    parts, length = [], 0
    while length < seconds * RATE:
        text = sentences[rng.integers(len(sentences))]
        voice = _VOICES[rng.integers(len(_VOICES))]
        part = speak(text, voice, int(rng.integers(130, 200)), int(rng.integers(25, 75)))
        parts.append(part * rng.uniform(0.1, 0.6))
        length += len(part)
    return np.concatenate(parts)[: round(seconds * RATE)]


def noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of a random colour, perhaps with a hum or a flutter, of unit power."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    knots = np.cumsum(rng.normal(scale=5, size=9))
    colour = np.interp(frequency, np.linspace(0, RATE / 2, 9), knots)
    tilt = -10 * rng.uniform(0, 1) * np.log2(np.maximum(frequency, 60) / 60) / 2
    out = np.fft.irfft(spectrum * 10 ** ((colour + tilt) / 20), count)
    time = np.arange(count) / RATE
    if rng.random() < 0.3:
        out *= 1 + 0.8 * np.sin(2 * np.pi * rng.uniform(0.5, 6) * time)
    out /= out.std()
    if rng.random() < 0.3:
        hum = sum(np.sin(2 * np.pi * 50 * k * time + k) / k for k in range(1, 8))
        out += rng.uniform(0.2, 1) * hum
    return out / out.std()


def mixture(clean: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    return clean + noise(len(clean), rng) * clean.std() * 10 ** (-snr / 20)


def magnitudes(x: np.ndarray) -> np.ndarray:
    """Of frames as the STFT layer has them, each with `DELAY` samples of the past."""
    padded = np.pad(x, (DELAY, 0))
    count = (len(padded) - FRAME) // STEP + 1
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::STEP][:count]
    return np.abs(np.fft.rfft(frames * signal.get_window('hann', FRAME), FFT)).astype(np.float32)


def si_sdr(target: np.ndarray, output: np.ndarray) -> float:
    """Scale-invariant ratio of signal to distortion, in dB."""
    target, output = (v.astype(np.float64) - v.mean() for v in (target, output))
    part = target * np.dot(target, output) / np.dot(target, target)
    return float(10 * np.log10(np.sum(part**2) / np.sum((output - part) ** 2)))


def mask(p, magnitude):
    """The model's mask for magnitudes [batch, time, bins]."""
    import jax
    import jax.numpy as jnp

    x = jax.nn.relu(jnp.log(magnitude + _FLOOR) @ p['in'] + p['in_bias'])
    z = x @ p['gates'] + p['gate_bias']  # r, z, n

    def step(h, z):
        xr, xz, xn = jnp.split(z, 3, axis=-1)
        hr, hz, hn = jnp.split(h @ p['recurrent'], 3, axis=-1)
        n = jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * (hn + p['recurrent_bias']))
        u = jax.nn.sigmoid(xz + hz)
        h = (1 - u) * n + u * h
        return h, h

    h = jax.lax.scan(step, jnp.zeros((len(magnitude), _UNITS)), z.swapaxes(0, 1))[1]
    return jax.nn.sigmoid(h.swapaxes(0, 1) @ p['out'] + p['out_bias'])


def examples(seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes [example, time, bins] of mixtures and of the speech in them."""
    rng = np.random.default_rng(seed)
    clean = speech(seconds, rng, _SENTENCES)
    length = STEP * _FRAMES
    noisy, target = [], []
    for _ in range(3):  # each part of speech in three noises
        for part in clean[: len(clean) // length * length].reshape(-1, length):
            part = part * rng.uniform(0.5, 1.5)
            if part.std() < 1e-3:
                continue
            noisy.append(magnitudes(mixture(part, rng.uniform(-3, 15), rng)))
            target.append(magnitudes(part))
    return np.stack(noisy), np.stack(target)


def fit(noisy: np.ndarray, target: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Minimises the error of compressed magnitudes, as loudness is heard."""
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(2)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape) / shape[0] ** 0.5, jnp.float32)

    p = {
        'in': normal(_BINS, _HIDDEN),
        'in_bias': jnp.zeros(_HIDDEN),
        'gates': normal(_HIDDEN, 3 * _UNITS),
        'gate_bias': jnp.zeros(3 * _UNITS),
        'recurrent': normal(_UNITS, 3 * _UNITS),
        'recurrent_bias': jnp.zeros(_UNITS),
        'out': normal(_UNITS, _BINS),
        'out_bias': jnp.zeros(_BINS),
    }
    adam = optax.adam(optax.cosine_decay_schedule(4e-3, steps, 0.02))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam)

    @jax.jit
    def update(p, state, noisy, target):
        def loss(p):
            made = noisy * mask(p, noisy)
            return jnp.mean(((made + 1e-4) ** 0.4 - (target + 1e-4) ** 0.4) ** 2)

        value, gradient = jax.value_and_grad(loss)(p)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(p, change), state, value

    state, total = optimizer.init(p), 0.0
    for step in range(1, steps + 1):
        choice = rng.integers(0, len(noisy), _BATCH)
        p, state, value = update(p, state, noisy[choice], target[choice])
        total += float(value)
        if step % 50 == 0:
            print(f'step {step} of {steps}: {total / 50:.4e}', flush=True)
            total = 0.0
    return {name: np.asarray(value) for name, value in p.items()}


def config() -> dict[str, object]:
    stft = {'frame_length': FRAME, 'frame_step': STEP, 'fft_length': FFT}
    inverse = {'function': 'inverse_stft', 'frame_step': STEP}
    masks = [
        {'type': 'Abs', 'name': 'magnitude'},
        {'type': 'Add', 'shift': _FLOOR, 'name': 'floor'},
        {'type': 'Log', 'name': 'log'},
        {'type': 'Dense', 'features': _HIDDEN, 'activation': 'relu', 'name': 'in'},
        {'type': 'RNN', 'cell': {'type': 'GRUCell', 'features': _UNITS}, 'name': 'gru'},
        {'type': 'Dense', 'features': _BINS, 'activation': 'sigmoid', 'name': 'out'},
    ]
    masked = [
        {'type': 'Identity', 'name': 'spectrum'},
        {'type': 'Serial', 'layers': masks, 'name': 'mask'},
    ]
    layers = [
        {'type': 'STFT', **stft, 'time_padding': 'semicausal', 'name': 'stft'},
        {'type': 'Parallel', 'combination': 'product', 'layers': masked, 'name': 'masked'},
        {'type': 'InverseSTFT', **stft, 'window_fn': inverse, 'name': 'inverse_stft'},
        # So that the output lies on the input, and the delay counts as the model's latency.
        {'type': 'Lookahead', 'length': DELAY, 'name': 'align'},
    ]
    return {'type': 'Serial', 'name': 'denoiser', 'layers': layers}


def write(out: str, p: dict[str, np.ndarray]) -> None:
    tensors = {'in.kernel': p['in'], 'in.bias': p['in_bias']}
    tensors |= {'out.kernel': p['out'], 'out.bias': p['out_bias']}
    for i, gate in enumerate('rzn'):
        part = slice(i * _UNITS, (i + 1) * _UNITS)
        tensors[f'gru.cell.i{gate}.kernel'] = p['gates'][:, part]
        tensors[f'gru.cell.i{gate}.bias'] = p['gate_bias'][part]
        tensors[f'gru.cell.h{gate}.kernel'] = p['recurrent'][:, part]
    tensors['gru.cell.hn.bias'] = p['recurrent_bias']
    tensors = {f'params.masked.mask.{name}': value for name, value in tensors.items()}
    model_directory.write(
        out, config(), tensors, channel_shape=(), metadata={'sample_rate': str(RATE)}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', required=True)
    parser.add_argument('--steps', type=int, default=1200)
    parser.add_argument('--seconds', type=float, default=240)
    args = parser.parse_args()
    noisy, target = examples(args.seconds, seed=1)
    print(f'{len(noisy)} examples of {_FRAMES * STEP / RATE:g} s', flush=True)
    write(args.out, fit(noisy, target, args.steps))


if __name__ == '__main__':
    main()
