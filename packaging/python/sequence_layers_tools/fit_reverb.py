"""Fits a diagonal state-space layer (S4D) to the impulse response of a room, as a model directory.

  python -m sequence_layers_tools.fit_reverb --out docs/models/reverb

The room is simulated by image sources. Its response h of T samples is a sum of T / 2 damped
oscillators: times exp(+decay k) it is one period of a discrete Fourier series, whose terms are the
modes of an S4D. So the fit is exact up to rounding within T; from there on the response goes on 60 dB
lower, where that of the room has faded too.
"""

import argparse

import numpy as np
from scipy import signal

from sequence_layers_tools import model_directory

RATE = 16000
SECONDS = 0.45
_ROOM = (6.5, 4.8, 3.1)  # metres
_SOURCE = (1.4, 1.2, 1.5)
_LISTENER = (4.9, 3.4, 1.7)
_REFLECTION = 0.83  # of the pressure, at each wall
_SOUND = 343.0  # metres a second
_REACH = 8  # samples of the sinc to each side of an arrival


def room_response() -> np.ndarray:
    """The response from the direct sound on, whose pressure is 1."""
    count = round(SECONDS * RATE)
    axes = []
    for size, source, listener in zip(_ROOM, _SOURCE, _LISTENER, strict=True):
        reach = int(SECONDS * _SOUND / size) + 2
        n = np.arange(-reach, reach + 1)
        # Image n of the source along an axis has been reflected |n| times.
        position = np.where(n % 2 == 0, n * size + source, (n + 1) * size - source)
        axes.append((position - listener, np.abs(n)))
    (dx, nx), (dy, ny), (dz, nz) = axes
    distance = np.sqrt(
        dx[:, None, None] ** 2 + dy[None, :, None] ** 2 + dz[None, None, :] ** 2
    ).reshape(-1)
    walls = (nx[:, None, None] + ny[None, :, None] + nz[None, None, :]).reshape(-1)
    direct = distance.min()
    arrival = (distance - direct) / _SOUND * RATE
    near = arrival < count
    arrival, level = arrival[near], (_REFLECTION**walls * direct / distance)[near]
    out = np.zeros(count + 2 * _REACH)
    whole = np.floor(arrival).astype(int)
    for tap in range(-_REACH + 1, _REACH + 1):
        offset = whole + tap - arrival
        window = 0.5 + 0.5 * np.cos(np.pi * offset / _REACH)
        np.add.at(out, whole + tap + _REACH, level * np.sinc(offset) * window)
    # The direct sound arrives on a sample: nothing of it lies before. Reflections that are all
    # positive add up at low frequencies, which a loudspeaker would not play.
    return signal.lfilter(*signal.butter(2, 80, 'high', fs=RATE), out[_REACH : _REACH + count])


def energy_decay(response: np.ndarray) -> np.ndarray:
    """The energy still to come at each sample, in dB below the whole (Schroeder)."""
    energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    return 10 * np.log10(energy / energy[0] + 1e-30)


def reverberation_time(response: np.ndarray) -> float:
    """Seconds of a decay by 60 dB, from the slope between -5 and -25 dB."""
    decay = energy_decay(response)
    part = np.flatnonzero((decay < -5) & (decay > -25))
    slope = np.polyfit(part / RATE, decay[part], 1)[0]
    return -60 / slope


def fit(response: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of the S4D whose kernel is the response."""
    count = len(response)
    decay = 3 * np.log(10) / SECONDS  # a second: 60 dB within the response
    lifted = response * np.exp(decay * np.arange(count) / RATE)
    terms = np.fft.rfft(lifted) / count
    terms[0] /= 2  # the layer doubles what stands for a conjugate pair
    terms[-1] /= 2
    pole = -decay + 2j * np.pi * RATE / count * np.arange(len(terms))
    drive = (np.exp(pole / RATE) - 1) / pole  # of the zero-order hold
    c = (terms / drive)[None]
    return {
        'c': np.stack([c.real, c.imag], -1),
        'd': np.zeros(1),
        'lambda_im': pole.imag[None],
        'log_neg_lambda_re': np.full((1, len(pole)), np.log(decay)),
        'log_step': np.full(1, -np.log(RATE)),
    }


def write(out: str, weights: dict[str, np.ndarray]) -> None:
    state_size = 2 * weights['lambda_im'].shape[1]
    config = {
        'type': 'Serial',
        'name': 'reverb',
        'layers': [
            {'type': 'ExpandDims', 'axis': -1},
            {'type': 'S4D', 'state_size': state_size, 'name': 'room'},
            {'type': 'Squeeze', 'axis': -1},
        ],
    }
    tensors = {f'params.room.{name}': v.astype(np.float32) for name, v in weights.items()}
    model_directory.write(
        out, config, tensors, channel_shape=(), metadata={'sample_rate': str(RATE)}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', required=True)
    args = parser.parse_args()
    write(args.out, fit(room_response()))


if __name__ == '__main__':
    main()
