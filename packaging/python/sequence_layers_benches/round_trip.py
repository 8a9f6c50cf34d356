"""Streams a recording through STFT and InverseSTFT and prints the difference: rounding errors only.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.round_trip \\
      --model docs/models/stft_round_trip --wav speech.wav [--out copy.wav]

Fails if a sample differs by more than the tolerance.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_tools import wav


def delay_of(model: str) -> int:
    """The delay of the copy in samples: the frame's length minus its step."""
    config = json.loads((pathlib.Path(model) / 'config.json').read_text())
    stft = config['layers'][0]
    return stft['frame_length'] - stft['frame_step']


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, help='the model directory')
    parser.add_argument('--wav', required=True)
    parser.add_argument('--out', help='writes the copy')
    parser.add_argument('--tolerance', type=float, default=1e-5)
    args = parser.parse_args()

    samples, rate = wav.read(args.wav)
    layer = runtime.Layer.open(args.model)
    delay = delay_of(args.model)
    padded = np.pad(samples, (0, delay))
    padded = np.pad(padded, (0, -len(padded) % layer.block_size)).astype(np.float32)
    copy = layer.stream(padded)[delay : delay + len(samples)]
    if args.out:
        wav.write(args.out, copy, rate)
    error = np.abs(copy - samples)
    with np.errstate(divide='ignore'):
        ratio = 10 * np.log10(np.sum(samples.astype(np.float64) ** 2) / np.sum(error**2.0))
    print(
        f'{len(samples) / rate:.1f} s of sound in blocks of {layer.block_size} samples,'
        f' {delay} samples late'
    )
    print(
        f'largest error {error.max():.2e} (tolerance {args.tolerance:.0e}) where the largest sample'
        f' is {np.abs(samples).max():.3f}; signal to error {ratio:.1f} dB'
    )
    return 0 if error.max() <= args.tolerance else 1


if __name__ == '__main__':
    sys.exit(main())
