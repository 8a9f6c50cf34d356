"""Plots the times of the frames that magenta_live has played, and a spectrogram of their sound.

  python -m sequence_layers_benches.plot_magenta --times times.csv --wav sound.wav --out frames.png

Needs matplotlib.
"""

import argparse
import wave

import matplotlib

matplotlib.use('Agg')

import numpy as np
from matplotlib import pyplot

_WINDOW = 2048


def read_wav(path: str) -> tuple[np.ndarray, int]:
    """The mean of the channels of a WAV file of 16 bits, and its sample rate."""
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), '<i2')
        return samples.reshape(-1, file.getnchannels()).mean(1) / 32768, file.getframerate()


def read_times(path: str) -> dict[str, np.ndarray]:
    """The milliseconds of each part by its name."""
    with open(path) as file:
        names = file.readline().strip().split(',')
    return dict(zip(names, np.loadtxt(path, delimiter=',', skiprows=1, ndmin=2).T, strict=True))


def plot(times: dict[str, np.ndarray], sound: np.ndarray, rate: int, out: str) -> None:
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(11, 7), sharex=True)
    frame = len(sound) / rate / len(times['frame'])
    seconds = frame * np.arange(len(times['frame']))
    for name, values in times.items():
        upper.plot(seconds, values, linewidth=1.4 if name == 'frame' else 0.8, label=name)
    upper.axhline(1000 * frame, color='black', linewidth=0.8, linestyle='--', label='a frame lasts')
    upper.set_ylim(0, max(1400 * frame, 1.1 * times['frame'].max()))
    upper.set_ylabel('ms')
    upper.legend(loc='upper right', ncols=3)
    upper.grid(alpha=0.3)
    with np.errstate(divide='ignore'):  # silence
        lower.specgram(sound, NFFT=_WINDOW, Fs=rate, noverlap=_WINDOW // 2)
    lower.set_ylabel('Hz')
    lower.set_xlabel('seconds')
    lower.set_xlim(0, frame * len(times['frame']))
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--times', required=True, help='what magenta_live --times has written')
    parser.add_argument('--wav', required=True, help='what magenta_live --wav has written')
    parser.add_argument('--out', required=True, help='the .png file to write')
    args = parser.parse_args()
    sound, rate = read_wav(args.wav)
    plot(read_times(args.times), sound, rate, args.out)


if __name__ == '__main__':
    main()
