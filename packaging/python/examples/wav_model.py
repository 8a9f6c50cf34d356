"""Runs a model on WAV files, for jobs over many of them: each worker process opens the model once."""

import argparse
import functools
import io
import pathlib
import wave
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_layers_runtime import Layer


@functools.cache
def model(directory: str) -> Layer:
    """The model, opened once in each process and shared by its threads."""
    return Layer.open(directory)


def arguments(description: str | None) -> argparse.Namespace:
    """A job's command line; the directory `out` exists afterwards."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', type=pathlib.Path)
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('out', type=pathlib.Path)
    parser.add_argument('--workers', type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def samples(wav: bytes) -> npt.NDArray[np.float32]:
    """The samples of a WAV file of 16-bit mono sound, in [-1, 1)."""
    with wave.open(io.BytesIO(wav)) as file:
        if (file.getsampwidth(), file.getnchannels()) != (2, 1):
            raise ValueError('expected 16-bit mono sound')
        return np.frombuffer(file.readframes(file.getnframes()), '<i2') / np.float32(32768)


def run(directory: str, wav: bytes) -> npt.NDArray[Any]:
    """The model's output [1, time, ...] for the whole file, as `sl run --output` writes it."""
    y, mask = model(directory).apply(samples(wav)[np.newaxis])
    y[~mask] = 0
    return y
