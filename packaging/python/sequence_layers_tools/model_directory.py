"""Writes a model on disk: a directory with config.json and model.safetensors."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save_file


def shape(text: str) -> tuple[int, ...]:
    """A channel shape on a command line: `3,80`, or `scalar`."""
    return () if text == 'scalar' else tuple(int(size) for size in text.split(','))


def write(
    directory: str | pathlib.Path,
    config: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    *,
    channel_shape: tuple[int, ...],
    dtype: str = 'float32',
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes the model.

    Args:
      directory: Made if it is not there.
      config: The layer tree; nested configs have a `type`.
      weights: Arrays by variable path joined by dots, collection first.
      channel_shape: What one input step holds.
      dtype: Its dtype.
      metadata: More string entries for the weights file.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
    spec = json.dumps({'channel_shape': list(channel_shape), 'dtype': dtype})
    # safetensors writes an array's memory as it lies: a transposed view would come out wrong.
    tensors = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    save_file(tensors, directory / 'model.safetensors', {'input': spec, **(metadata or {})})
