"""Compares the log-mel front end with the JAX reference on a recording, layer-wise and streamed.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so .deps/reference-venv/bin/python \\
      -m sequence_layers_benches.compare_log_mel --model docs/models/log_mel --wav speech.wav

Fails if a value differs by more than the tolerance, relative to the largest value. The differences
of both from double precision are printed too; they come from rounding in quiet bins beside loud ones.
"""

import argparse
import sys

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_benches import log_mel, reference_model
from sequence_layers_tools import wav


def difference(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, help='the model directory')
    parser.add_argument('--wav', required=True)
    parser.add_argument('--tolerance', type=float, default=1e-5)
    args = parser.parse_args()

    samples, rate = wav.read(args.wav)
    layer = runtime.Layer.open(args.model)
    samples = samples[: len(samples) // layer.block_size * layer.block_size]
    whole = layer.apply(samples[np.newaxis])[0][0]
    streamed = layer.stream(samples)
    want = reference_model.Model(args.model).apply(samples[np.newaxis])[0]
    exact = log_mel.Fields(args.model).features(samples)
    print(f'{len(samples) / rate:.1f} s of sound, {want.shape[0]} frames of {want.shape[1]} values')
    result = 0
    for name, got, other in (
        ('layer-wise and the reference', whole, want),
        ('streamed and the reference', streamed, want),
        ('layer-wise and streamed', whole, streamed),
    ):
        largest = difference(got, other)
        # The comparison is written so that a NaN fails too.
        if not largest <= args.tolerance:
            result = 1
        print(f'largest difference, {name}: {largest:.2e} (tolerance {args.tolerance:.0e})')
    print(f'from double precision: layer-wise {difference(whole, exact):.2e},', end='')
    print(f' the reference {difference(want, exact):.2e}')
    return result


if __name__ == '__main__':
    sys.exit(main())
