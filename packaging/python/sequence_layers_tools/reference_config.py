"""Configs of the JAX reference as JSON, and back (docs/model-format.md).

Needs the reference: requirements-reference.txt.
"""

import dataclasses
import enum
import functools
import importlib
import inspect
import math
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

import typing_extensions

if not hasattr(typing, 'override'):  # Python 3.11; the reference needs 3.12
    typing.override = typing_extensions.override

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from sequence_layers import jax as sl  # noqa: E402
from sequence_layers.jax import signal, utils  # noqa: E402
from sequence_layers.jax.attention import common as attention  # noqa: E402

_NN = (
    'celu elu gelu hard_sigmoid hard_silu hard_swish hard_tanh identity leaky_relu log_sigmoid mish '
    'relu relu6 selu sigmoid silu soft_sign softplus squareplus swish tanh'
).split()
_NUMPY = 'abs cos exp log sin square tanh'.split()
_FUNCTIONS = {name: getattr(jax.nn, name) for name in _NN}
_FUNCTIONS |= {f'jnp.{name}': getattr(jnp, name) for name in _NUMPY}
_WINDOWS = {
    name.removesuffix('_window'): function
    for name, function in inspect.getmembers(signal, callable)
    if name.endswith('_window')
}
_FUNCTION_FIELDS = ('activation', 'recurrent_activation', 'feature_activation', 'gate_activation')
_TRAINING_SUFFIXES = ('_init', '_sharding', 'precision')
_EXAMPLES = 'sequence_layers.jax.examples.global_style_token'


class ConfigError(ValueError):
    """What no config file can say, and at which field."""


def _function_name(function: Callable) -> str | None:
    for name, known in (_FUNCTIONS | _WINDOWS).items():
        if function is known:
            return name.removeprefix('jnp.')
    return None


def _function_to_json(function: Callable, path: str) -> Any:
    partial = isinstance(function, functools.partial)
    target = function.func if partial else function
    name = _function_name(target)
    if name is None:
        label = getattr(target, '__qualname__', repr(target))
        known = ', '.join(sorted({n.removeprefix('jnp.') for n in _FUNCTIONS | _WINDOWS}))
        raise ConfigError(f'{path}: the function {label} has no name in configs; known: {known}')
    if not partial:
        return name
    given = inspect.signature(target).bind_partial(*function.args, **function.keywords).arguments
    call = {'function': name}
    for key, value in given.items():
        call[key] = to_json(value, f'{path}.{key}')
    return call


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, np.ndarray | jax.Array) or isinstance(b, np.ndarray | jax.Array):
        return False
    return type(a) is type(b) and bool(a == b)


def _dataclass_to_json(config: Any, path: str) -> dict[str, Any]:
    name = type(config).__qualname__
    named = name.endswith('.Config') or not isinstance(config, sl.SequenceLayerConfig)
    if not named:  # a recipe such as an example's: what it makes has a config of ordinary layers
        return to_json(config.make().config, path)
    result = {'type': name.removesuffix('.Config')}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name.endswith(_TRAINING_SUFFIXES) or _same(value, _default(field)):
            continue
        result[field.name] = to_json(value, f'{path}.{field.name}')
    return result


def _number_to_json(value: float) -> float | str:
    if math.isnan(value):
        return 'nan'
    if math.isinf(value):
        return 'inf' if value > 0 else '-inf'
    return value


def to_json(value: Any, path: str = '$') -> Any:
    """The value as JSON has it; fields with default values and those of training are left out.

    Raises:
      ConfigError: It holds what no config file can say; names the field.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, float):
        return _number_to_json(value)
    if value is Ellipsis:
        return '...'
    if isinstance(value, slice):
        return {'slice': [value.start, value.stop, value.step]}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return to_json(np.asarray(value).tolist(), path)
    if type(value).__name__ == 'HashableArray':  # an array field's own box
        return to_json(value.data, path)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass_to_json(value, path)
    if isinstance(value, np.dtype) or hasattr(value, 'dtype'):
        return jnp.dtype(value).name
    if isinstance(value, Mapping):
        return {key: to_json(v, f'{path}.{key}') for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(v, f'{path}[{i}]') for i, v in enumerate(value)]
    if isinstance(value, type) and issubclass(value, np.generic):
        return jnp.dtype(value).name
    if callable(value):
        return _function_to_json(value, path)
    raise ConfigError(f'{path}: a {type(value).__name__} has no form in configs: {value!r}')


def _config_class(name: str, path: str) -> type:
    for module in (sl, attention, importlib.import_module(_EXAMPLES)):
        owner = functools.reduce(lambda o, part: getattr(o, part, None), name.split('.'), module)
        if owner is not None:
            return getattr(owner, 'Config', owner)
    raise ConfigError(f'{path}: the reference has no type {name!r}')


def _enum_of(cls: type, field: dataclasses.Field) -> type[enum.Enum] | None:
    """The enum that a field takes: its default's, its annotation's or the one of its name."""
    if isinstance(field.default, enum.Enum):
        return type(field.default)
    if isinstance(field.type, type) and issubclass(field.type, enum.Enum):
        return field.type
    layer = getattr(sys.modules[cls.__module__], cls.__qualname__.split('.')[0], None)
    for owner in (cls, layer, utils):
        name = field.name.capitalize()
        found = getattr(owner, name, None) or getattr(owner, f'{name}Mode', None)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            return found
    return None


def _text(text: str, cls: type, field: dataclasses.Field) -> Any:
    if field.name in _FUNCTION_FIELDS:
        return _FUNCTIONS.get(text) or _FUNCTIONS[f'jnp.{text}']
    if field.name == 'window_fn':
        return _WINDOWS[text]
    if field.name.endswith('dtype'):
        return jnp.dtype(text)
    if text in ('inf', '-inf', 'nan'):
        return float(text)
    if text == '...':
        return Ellipsis
    members = _enum_of(cls, field)
    if members is not None and text.upper() in members.__members__:
        return members[text.upper()]
    return text


def _call(call: Mapping[str, Any]) -> Callable:
    name = call['function']
    function = _FUNCTIONS.get(name) or _FUNCTIONS.get(f'jnp.{name}') or _WINDOWS[name]
    return functools.partial(function, **{k: v for k, v in call.items() if k != 'function'})


def _value(value: Any, cls: type, field: dataclasses.Field, path: str) -> Any:
    if isinstance(value, list):
        return tuple(_value(v, cls, field, f'{path}[{i}]') for i, v in enumerate(value))
    if isinstance(value, str):
        return _text(value, cls, field)
    if not isinstance(value, dict):
        return value
    if 'type' in value:
        return from_json(value, path)
    if 'slice' in value:
        return slice(*value['slice'])
    if 'function' in value:
        return _call(value)
    return {k: _value(v, cls, field, f'{path}.{k}') for k, v in value.items()}


def from_json(config: Mapping[str, Any], path: str = '$') -> Any:
    """The reference's config of a config file's object."""
    cls = _config_class(config['type'], path)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    given = {}
    for name, value in config.items():
        if name == 'type':
            continue
        if name not in fields:
            raise ConfigError(f'{path}.{name}: {config["type"]} has no such field')
        given[name] = _value(value, cls, fields[name], f'{path}.{name}')
    return cls(**given)
