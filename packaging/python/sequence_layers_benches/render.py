"""Compares what a plugin host rendered with what `sl run` made of the same sound.

  python -m sequence_layers_benches.render --make in.wav
  python -m sequence_layers_benches.render --input in.wav --render out.wav --whole whole.npy \\
      [--latency 0] [--plot jalv.png]

The sound begins with silence, in which the state of a model settles: a host has played silence before,
for a time that nobody knows. After it the two must be equal, bit for bit, at the latency that the
plugin reports. The plot needs matplotlib.
"""

import argparse
import sys
import warnings

import numpy as np
from scipy.io import wavfile

from sequence_layers_tools import fit_amp, wav

_SILENCE = 4.0  # seconds


def make(path: str) -> None:
    sound = fit_amp.guitar(6, seed=3)
    wav.write(path, np.pad(sound, (round(_SILENCE * fit_amp.RATE), 0)), fit_amp.RATE)


def plot(path: str, sound: np.ndarray, rendered: np.ndarray, whole: np.ndarray) -> None:
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    start, stop = (round((_SILENCE + s) * fit_amp.RATE) for s in (0.0, 0.6))
    time = np.arange(stop - start) / fit_amp.RATE
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(9, 5.5))
    zoom = slice(0, round(0.012 * fit_amp.RATE))
    for axes, part in ((upper, slice(None)), (lower, zoom)):
        axes.plot(time[part], sound[start:stop][part], color='0.75', label='input')
        axes.plot(time[part], whole[start:stop][part], color='C0', linewidth=2.5, label='sl run')
        axes.plot(
            time[part], rendered[start:stop][part], '--', color='C1', linewidth=1, label='jalv'
        )
    upper.set_title(f'largest difference {np.abs(rendered - whole)[start:].max():g}')
    lower.set_xlabel('seconds')
    upper.legend(loc='upper right')
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--make', help='writes the sound')
    parser.add_argument('--input')
    parser.add_argument('--render')
    parser.add_argument('--whole')
    parser.add_argument('--latency', type=int, default=0)
    parser.add_argument('--plot')
    args = parser.parse_args()
    if args.make:
        make(args.make)
        return 0
    sound, _ = wav.read(args.input)
    whole = np.load(args.whole).reshape(-1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', wavfile.WavFileWarning)  # chunks beside the samples
        rendered = wavfile.read(args.render)[1][args.latency :][: len(whole)]
    whole = whole[: len(rendered)]
    settled = round(_SILENCE * fit_amp.RATE)
    different = np.flatnonzero(rendered[settled:] != whole[settled:])
    loudest = np.abs(whole[settled:]).max()
    print(
        f'{len(whole) - settled} samples of {loudest:.2f} at most after {_SILENCE:g} s of silence:'
        f' {len(different)} differ'
    )
    if args.plot:
        plot(args.plot, sound, rendered, whole)
    return int(len(different) > 0 or loudest < 0.01 or len(rendered) < 9 * fit_amp.RATE)


if __name__ == '__main__':
    sys.exit(main())
