"""Writes a model on disk: a directory with config.json and model.safetensors, whole or not at all."""

import contextlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

_COMPLEX_SUFFIX = '@complex64'


class WriteError(Exception):
    """The weights cannot be stored in a safetensors file."""


def shape(text: str) -> tuple[int, ...]:
    """Parses a channel shape on a command line: `3,80`, or `scalar`."""
    return () if text == 'scalar' else tuple(int(size) for size in text.split(','))


def write_tensors(
    path: str | pathlib.Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a whole safetensors file or none, with the mode that new files have."""
    path = pathlib.Path(path)
    with _folder_in(path.absolute().parent) as folder:
        part = folder / path.name
        # Creates the file with the mode of the umask; the writer below would create it with 0600.
        part.touch()
        mode = part.stat().st_mode
        # safetensors writes memory as it is, so a transposed view would be written wrongly.
        laid_out = {name: _plain(array) for name, array in tensors.items()}
        try:
            save_file(laid_out, part, None if metadata is None else dict(metadata))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise WriteError(f'the weights cannot be written: {error}') from error
        part.chmod(mode)
        part.replace(path)


def packed(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Complex tensors as (real, imaginary) on a last axis, their names marked."""
    result = {}
    for name, value in tensors.items():
        if np.iscomplexobj(value):
            name += _COMPLEX_SUFFIX
            value = np.stack([value.real, value.imag], -1).astype(np.float32)
        result[name] = value
    return result


def unpacked(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors that `packed` was given."""
    result = {}
    for name, value in tensors.items():
        if name.endswith(_COMPLEX_SUFFIX):
            name, value = name.removesuffix(_COMPLEX_SUFFIX), value[..., 0] + 1j * value[..., 1]
        result[name] = value
    return result


def _plain(array: np.ndarray) -> np.ndarray:
    """The array in C order and in the byte order of safetensors files."""
    array = np.asarray(array)
    return np.asarray(array, array.dtype.newbyteorder('<'), order='C')


@contextlib.contextmanager
def _folder_in(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary folder in the file system of its files' destination, to move them at once."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='.writing-', dir=directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(
    directory: str | pathlib.Path,
    config: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    *,
    channel_shape: tuple[int, ...],
    dtype: str = 'float32',
    metadata: Mapping[str, str] | None = None,
    check: Callable[[pathlib.Path], None] | None = None,
) -> None:
    """Writes the model. After an exception the directory is as it was before.

    Args:
      directory: Created if it does not exist.
      config: The layer tree; nested configs have a `type`.
      weights: Arrays by variable path joined by dots, collection first.
      channel_shape: The shape of one input step.
      dtype: The dtype of the input.
      metadata: More string entries for the weights file.
      check: Called with a directory that holds the model, before the model replaces an older one.
    """
    directory = pathlib.Path(directory).absolute()
    spec = json.dumps({'channel_shape': list(channel_shape), 'dtype': dtype})
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f'{there} is not a directory')
    with _folder_in(there) as folder:
        made = folder / 'model'
        made.mkdir()
        (made / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
        write_tensors(made / 'model.safetensors', weights, {'input': spec, **(metadata or {})})
        if check is not None:
            check(made)
        if there != directory:
            directory.parent.mkdir(parents=True, exist_ok=True)
            made.rename(directory)
            return
        for file in made.iterdir():
            file.replace(directory / file.name)
