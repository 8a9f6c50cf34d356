"""Runs a model directory without weights in the JAX reference (packaging/setup.sh --reference)."""

import json
import pathlib
import typing

import typing_extensions

if not hasattr(typing, 'override'):  # Python 3.11; the reference needs 3.12
    typing.override = typing_extensions.override

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from sequence_layers import jax as sl  # noqa: E402


def _build(value):
    if isinstance(value, list):
        return [_build(v) for v in value]
    if not isinstance(value, dict):
        return value
    fields = {name: _build(v) for name, v in value.items() if name != 'type'}
    return getattr(sl, value['type']).Config(**fields)


class Model:
    """A model, compiled for each length of input."""

    def __init__(self, directory: str | pathlib.Path):
        config = json.loads((pathlib.Path(directory) / 'config.json').read_text())
        layer = _build(config).make().bind({})
        self._apply = jax.jit(
            lambda x: layer.layer(sl.Sequence.from_values(x), training=False).values
        )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The output for a whole sequence [batch, time, ...], every step valid."""
        return np.asarray(self._apply(jnp.asarray(values)))
