"""Runs the config of an RNN with Flax's own cells, as the reference has no config for it.

Needs the reference: requirements-reference.txt.
"""

import fractions
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

# Before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import functions  # isort: skip
from sequence_layers import jax as sl

Json = dict[str, Any]


def _cell(config: Json) -> nn.RNNCellBase:
    fields = {k: v for k, v in config.items() if k not in ('type', 'name')}
    for name in ('activation_fn', 'gate_fn'):
        if name in fields:
            fields[name] = functions.function(fields[name])
    for name in ('dtype', 'param_dtype', 'carry_dtype'):
        if fields.get(name) is not None:
            fields[name] = jnp.dtype(fields[name])
    return getattr(nn, config['type'])(**fields)


def _field(field: list | None) -> tuple[float, float] | None:
    return None if field is None else tuple(float(bound) for bound in field)


class FlaxRnn:
    """What the tools ask of a layer of the reference; the time properties are the case's."""

    def __init__(self, case: Json, variables: Mapping[str, Any]):
        self._config, self._variables = case['config'], variables
        self.block_size = case['block_size']
        self.output_ratio = fractions.Fraction(*case['output_ratio'])
        self.supports_step = case['supports_step']
        self.input_latency, self.output_latency = case['input_latency'], case['output_latency']
        self.receptive_field = _field(case['receptive_field'])
        per_step = case['receptive_field_per_step']
        self.receptive_field_per_step = {
            int(step): _field(field) for step, field in per_step.items()
        }

    def layer_with_emits(
        self, x: sl.Sequence, *, training: bool, constants: Any = None
    ) -> tuple[sl.Sequence, tuple[()]]:
        """Runs over valid steps alone: an invalid step leaves the carry as it is."""
        del training, constants
        keep_order = self._config.get('keep_order', False)
        reverse = self._config.get('reverse', False)
        rnn = nn.RNN(_cell(self._config['cell']), reverse=reverse, keep_order=keep_order)
        mask = np.asarray(x.mask)
        lengths = mask.sum(1)
        has_holes = (mask != (np.arange(mask.shape[1]) < lengths[:, np.newaxis])).any()
        if reverse and not keep_order and has_holes:
            raise ValueError(
                'Flax does not say where the steps of a reversed sequence with holes go'
            )
        # Valid steps first, in their order, and back.
        order = np.argsort(~mask, axis=1, kind='stable')
        axes = tuple(range(2, x.values.ndim))
        packed = jnp.take_along_axis(x.values, jnp.expand_dims(order, axes), axis=1)
        y = rnn.apply(self._variables, packed, seq_lengths=jnp.asarray(lengths))
        back = np.argsort(order, axis=1)
        axes = tuple(range(2, y.ndim))
        return sl.Sequence(jnp.take_along_axis(y, jnp.expand_dims(back, axes), axis=1), x.mask), ()
