"""Runs a model directory without weights in the JAX reference (packaging/setup.sh --reference)."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

# Imported before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import reference_config  # isort: skip
from sequence_layers import jax as sl


class Model:
    """A model in the reference, compiled for each length of input."""

    def __init__(self, directory: str | pathlib.Path):
        config = json.loads((pathlib.Path(directory) / 'config.json').read_text())
        layer = reference_config.from_json(config).make().bind({})
        self._apply = jax.jit(
            lambda x: layer.layer(sl.Sequence.from_values(x), training=False).values
        )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The output for a whole sequence [batch, time, ...] with all steps valid."""
        return np.asarray(self._apply(jnp.asarray(values)))
