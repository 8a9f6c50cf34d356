"""Finds the specs of functions' inputs in a config, by tracing the reference without computing."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sequence_layers_tools import functions, reference_config

# Imported after python_311, which makes the reference importable on Python 3.11.
from sequence_layers import jax as sl  # isort: skip


def _noting(function: Callable, path: str, specs: dict[str, Any]) -> Callable:
    def noting(*args, **kwargs):
        x = getattr(args[0], 'values', args[0]) if args else None
        if hasattr(x, 'shape') and len(x.shape) >= 2:
            specs[path] = reference_config.Spec(tuple(x.shape[2:]), x.dtype)
        return function(*args, **kwargs)

    return noting


def _with_notes(value: Any, path: str, specs: dict[str, Any]) -> Any:
    """The config with its functions replaced by ones that record their inputs."""
    if isinstance(value, tuple | list):
        noting = [_with_notes(v, f'{path}[{i}]', specs) for i, v in enumerate(value)]
        return tuple(noting) if any(a is not b for a, b in zip(noting, value, strict=True)) else value
    if isinstance(value, sl.SequenceLayerConfig):
        return _config_with_notes(value, path, specs)
    if not reference_config.is_function(value) or functions.named(value) is not None:
        return value
    return _noting(value, path, specs)


def _config_with_notes(config: Any, path: str, specs: dict[str, Any]) -> Any:
    try:
        config, cls = reference_config.ordinary(config, path)
    except reference_config.ConfigError:  # a layer of the user's stays as it is
        return config
    changed = {}
    if cls is sl.Lambda.Config:  # the layers of a named function also depend on its input
        changed['fn'] = _noting(config.fn, f'{path}.fn', specs)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in changed or field.name.endswith(reference_config.TRAINING_SUFFIXES):
            continue
        noting = _with_notes(value, f'{path}.{field.name}', specs)
        if noting is not value:
            changed[field.name] = noting
    return dataclasses.replace(config, **changed) if changed else config


def record(
    config: Any,
    channel_shape: tuple[int, ...],
    dtype: Any,
    constants: Mapping[str, Any],
) -> reference_config.Specs:
    """The inputs of all functions that must become layers, or the reason why a run fails."""
    specs: dict[str, reference_config.Spec] = {}
    noting = _with_notes(config, '$', specs)
    if noting is config:
        return reference_config.Specs(specs)
    try:
        layer = noting.make()
        time = layer.bind({}).block_size
        x = sl.Sequence(
            jax.ShapeDtypeStruct((1, time, *channel_shape), dtype),
            jax.ShapeDtypeStruct((1, time), np.bool_),
        )
        key = jax.ShapeDtypeStruct((2,), np.uint32)
        jax.eval_shape(
            lambda k, x, c: layer.init(k, x, training=False, constants=c), key, x, dict(constants)
        )
    except Exception as error:  # the reference raises types of many packages
        return reference_config.Specs(specs, f'{type(error).__name__}: {error}')
    return reference_config.Specs(specs)
