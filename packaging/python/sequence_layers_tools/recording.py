"""How golden cases describe the results of the reference: metadata and emits.

Needs the reference: requirements-reference.txt.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# Before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import python_311  # noqa: F401 # isort: skip
from sequence_layers import jax as sl

Json = dict[str, Any]


def _number(value: float) -> int | str:
    return ('inf' if value > 0 else '-inf') if math.isinf(value) else int(value)


def _field(field: Any) -> list | None:
    return None if field is None else [_number(v) for v in field]


def metadata(layer: sl.SequenceLayer) -> Json:
    """What the reference says of time; what it cannot say is an error."""
    readers = {
        'block_size': lambda: int(layer.block_size),
        'output_ratio': lambda: [layer.output_ratio.numerator, layer.output_ratio.denominator],
        'supports_step': lambda: bool(layer.supports_step),
        'input_latency': lambda: int(layer.input_latency),
        'output_latency': lambda: int(layer.output_latency),
        'receptive_field': lambda: _field(layer.receptive_field),
        'receptive_field_per_step': lambda: {
            str(step): _field(field) for step, field in layer.receptive_field_per_step.items()
        },
    }
    found = {}
    for name, read in readers.items():
        try:
            found[name] = read()
        except (ValueError, NotImplementedError, AssertionError) as error:
            found[name] = {'error': str(error)}
    return found


def flat_emits(emits: Any, path: str = '') -> dict[str, np.ndarray]:
    """Arrays of nested emits by path."""
    if isinstance(emits, sl.Sequence):
        masked = emits.mask_invalid()
        return {f'{path}.values': np.asarray(masked.values), f'{path}.mask': np.asarray(masked.mask)}
    if dataclasses.is_dataclass(emits):
        emits = {f.name: getattr(emits, f.name) for f in dataclasses.fields(emits)}
    if isinstance(emits, (tuple, list)):
        emits = dict(enumerate(emits))
    if isinstance(emits, Mapping):
        found = {}
        for key, value in emits.items():
            found.update(flat_emits(value, f'{path}.{key}' if path else str(key)))
        return found
    return {} if emits is None else {path: np.asarray(emits)}
