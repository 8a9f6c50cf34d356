"""Makes the demo's recording: spoken words with pauses, and noise under all of it.

The words are the test recordings of Debian's alsa-utils ("front left", ...). The result is the same
on every run.

  python -m sequence_layers_tools.speech --out speech.wav
"""

import argparse
import pathlib

import numpy as np
from scipy import signal

from sequence_layers_tools import wav

RATE = 16000
# The recording has a whole number of the detector's chunks.
CHUNK = 512

FOLDER = pathlib.Path('/usr/share/sounds/alsa')
_VOICES = (
    'Front_Left', 'Front_Center', 'Front_Right', 'Side_Left',
    'Side_Right', 'Rear_Left', 'Rear_Center', 'Rear_Right',
)  # fmt: skip
_PAUSES = (1.0, 0.3, 2.0, 0.6, 1.5, 0.1, 0.8, 1.2)  # seconds of silence before each voice
_NOISE_AFTER = 4  # number of voices before the burst of noise
_SPEECH_PEAK = 0.5
_BURST_LEVEL = 0.02
_FLOOR_LEVEL = 0.0005  # RMS, -66 dBFS


def _load(path: pathlib.Path) -> np.ndarray:
    samples, rate = wav.read(path)
    divisor = np.gcd(rate, RATE)
    return signal.resample_poly(samples, RATE // divisor, rate // divisor).astype(np.float32)


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def make(folder: pathlib.Path) -> np.ndarray:
    """The recording, float32 at 16 kHz, from the WAV files in `folder`."""
    parts = []
    for i, (voice, pause) in enumerate(zip(_VOICES, _PAUSES, strict=True)):
        if i == _NOISE_AFTER:
            noise = _load(folder / 'Noise.wav')
            parts += [_silence(1.0), noise * (_BURST_LEVEL / np.sqrt(np.mean(noise**2)))]
        speech = _load(folder / f'{voice}.wav')
        parts += [_silence(pause), speech * (_SPEECH_PEAK / np.abs(speech).max())]
    parts.append(_silence(1.5))
    samples = np.concatenate(parts)
    samples = np.pad(samples, (0, -len(samples) % CHUNK))
    floor = np.random.default_rng(0).standard_normal(len(samples), np.float32)
    return samples + _FLOOR_LEVEL * floor


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--folder', default=FOLDER, type=pathlib.Path)
    parser.add_argument('--out', required=True)
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f'{args.folder}: no such folder (Debian package alsa-utils)')
    samples = make(args.folder)
    wav.write(args.out, samples, RATE)
    print(f'{args.out}: {len(samples) / RATE:.1f} s of speech, pauses and noise')


if __name__ == '__main__':
    main()
