"""Configs of the JAX reference as JSON, and back (docs/model-format.md).

Needs the reference: requirements-reference.txt.
"""

import dataclasses
import enum
import functools
import importlib
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Imported before the reference, which `functions` makes importable on Python 3.11.
from sequence_layers_tools import channel_values, config_map, function_layers, functions  # isort: skip
from sequence_layers import jax as sl
from sequence_layers.jax import combinators, utils
from sequence_layers.jax.attention import common as attention

_FUNCTION_FIELDS = ('activation', 'recurrent_activation', 'feature_activation', 'gate_activation')
TRAINING_SUFFIXES = ('_init', '_sharding', 'precision')
_EXAMPLES = 'sequence_layers.jax.examples.global_style_token'
# Layers whose last operation is their `activation`, which can be a layer after them instead.
_ACTIVATED = (
    'Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Dense DenseShaped DepthwiseConv1D '
    'EinsumDense MaskedDense SequenceDense'
).split()


class ConfigError(ValueError):
    """A value that no config file can express, with its field."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """Channel shape and dtype of a function's input."""

    channel_shape: tuple[int, ...]
    dtype: Any


@dataclasses.dataclass(frozen=True)
class Specs:
    """The inputs of functions by path, as far as a run of the model reached them."""

    by_path: Mapping[str, Spec] = dataclasses.field(default_factory=dict)
    failure: str = 'it has not been run'


class _Layers(list):
    """Layers that compute a function that has no name."""


def _way_forward(path: str, what: Any) -> str:
    key = config_map.key_of(what)
    return (
        f' Say what does that: --map \'{path}={{"type": ...}}\' or --map {key}=... with ordinary layers;'
        ' or write the layer in C (docs/adding-a-layer.md), map it to the type that your program'
        ' registers, and give --no-verify'
    )


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


def _in_reference(cls: type) -> bool:
    return cls.__module__.partition('.')[0] == 'sequence_layers'


def _is_layer(value: Any) -> bool:
    return isinstance(value, sl.SequenceLayer) and not isinstance(value, type)


def config_of(layer: Any, path: str = '$') -> Any:
    """The config of an existing layer, with the name that the layer has.

    For a user's own layer that runs other layers one after the other, it is a Serial of them.
    """
    if _in_reference(type(layer)) and hasattr(layer, 'config'):
        return _renamed(layer.config, layer.name)
    methods = ('layer', 'step', 'layer_with_emits', 'step_with_emits', 'get_initial_state')
    runs_others = isinstance(layer, combinators.SerialCombinatorMixin) and all(
        getattr(type(layer), name).__module__.startswith('sequence_layers.') for name in methods
    )
    if not runs_others:
        raise ConfigError(
            f'{path}: {type(layer).__qualname__} is a layer of your own, which no config can name.'
            + _way_forward(path, type(layer))
        )
    children = [config_of(child, path) for child in layer.bind({}).layers]
    return sl.Serial.Config(children, name=layer.name)


def _renamed(config: Any, name: str | None) -> Any:
    if getattr(config, 'name', name) == name:
        return config
    return dataclasses.replace(config, name=name)


def ordinary(config: Any, path: str = '$') -> tuple[Any, type]:
    """The config of an ordinary layer that a config stands for, and the reference's class of it.

    A recipe, whose `make` makes another layer, stands for the config of that layer; a subclass of one
    of the reference's configs stands for that config.

    Raises:
      ConfigError: The config makes a layer that the reference does not have.
    """
    cls = type(config)
    if _in_reference(cls) and not isinstance(config, sl.SequenceLayerConfig):
        return config, cls
    if _in_reference(cls) and cls.__qualname__.endswith('.Config'):
        return config, cls
    if not isinstance(config, sl.SequenceLayerConfig):
        raise ConfigError(
            f'{path}: {cls.__qualname__} is a class of your own.' + _way_forward(path, cls)
        )
    try:
        layer = config.make()
    except Exception as error:  # user code may raise anything
        raise ConfigError(f'{path}: {cls.__qualname__}.make() fails: {error}') from error
    made = config_of(layer, path)
    if type(made) is not cls:
        return ordinary(made, path)
    base = next(c for c in cls.__mro__ if _in_reference(c) and c.__qualname__.endswith('.Config'))
    return made, base


def _number_to_json(value: float) -> float | str:
    if math.isnan(value):
        return 'nan'
    if math.isinf(value):
        return 'inf' if value > 0 else '-inf'
    return value


class _Writer:
    """Writes configs as JSON, with users' mappings and the specs of functions' inputs."""

    def __init__(self, mapping: config_map.ConfigMap, specs: Specs):
        self._mapping, self._specs = mapping, specs

    def value(self, value: Any, path: str) -> Any:
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
            return self.value(np.asarray(value).tolist(), path)
        if type(value).__name__ == 'HashableArray':  # the wrapper of an array field
            return self.value(value.data, path)
        if _is_layer(value):
            return self.value(config_of(value, path), path)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value, path)
        if isinstance(value, np.dtype) or hasattr(value, 'dtype'):
            return jnp.dtype(value).name
        if isinstance(value, Mapping):
            return {key: self.value(v, f'{path}.{key}') for key, v in value.items()}
        if isinstance(value, tuple | list):
            return [self.value(v, f'{path}[{i}]') for i, v in enumerate(value)]
        if isinstance(value, type) and issubclass(value, np.generic):
            return jnp.dtype(value).name
        if is_function(value):
            function = self._function(value, path)
            if not isinstance(function, _Layers):
                return function
            raise ConfigError(
                f'{path}: this takes a function that has a name in configs, not {_label(value)};'
                f' known: {", ".join(functions.known())}'
            )
        raise ConfigError(f'{path}: a {type(value).__name__} has no form in configs: {value!r}')

    def _dataclass(self, config: Any, path: str) -> dict[str, Any]:
        mapped = self._mapping.find(config, path)
        if mapped is not config_map.NOTHING:
            return self._substituted(mapped, config, path)
        config, cls = ordinary(config, path)
        if cls is sl.Lambda.Config:
            return self._lambda(config, path)
        kind = cls.__qualname__.removesuffix('.Config')
        result, after = {'type': kind}, []
        for field in dataclasses.fields(cls):
            value, at = getattr(config, field.name), f'{path}.{field.name}'
            if field.name.endswith(TRAINING_SUFFIXES) or _same(value, _default(field)):
                continue
            if is_function(value) and field.name == 'activation' and kind in _ACTIVATED:
                function = self._function(value, at)
                if isinstance(function, _Layers):
                    after = function
                else:
                    result[field.name] = function
                continue
            result[field.name] = self.value(value, at)
        return _followed(result, after)

    def _substituted(self, mapped: Any, config: Any, path: str) -> dict[str, Any]:
        """The mapped config, with "$field" replaced by the user's field of that name."""
        if not isinstance(mapped, dict) or not isinstance(mapped.get('type'), str):
            raise ConfigError(f'{path}: --map gives {mapped!r}, not an object with a "type"')

        def filled(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: filled(v) for k, v in value.items()}
            if isinstance(value, list):
                return [filled(v) for v in value]
            if not isinstance(value, str) or not value.startswith('$'):
                return value
            if not hasattr(config, value[1:]):
                raise ConfigError(f'{path}: --map names {value}, a field that is not there')
            return self.value(getattr(config, value[1:]), f'{path}.{value[1:]}')

        name = getattr(config, 'name', None)
        return filled(mapped) if name is None else {'name': name} | filled(mapped)

    def _lambda(self, config: Any, path: str) -> dict[str, Any]:
        at, expected = f'{path}.fn', config.expected_input_spec
        spec = self._specs.by_path.get(at) or (
            expected and Spec(tuple(expected.shape), expected.dtype)
        )
        mapped = self._mapping.find(config.fn, at)
        if mapped is not config_map.NOTHING:
            layers = _mapped_layers(mapped, at)
        elif spec is None:
            raise ConfigError(
                f'{at}: what {_label(config.fn)} is given is not known, as the reference itself does not'
                f' run the model: {self._specs.failure}'
            )
        else:
            layers = _layers_of(config.fn, spec, at, config.sequence_input)
        result = layers[0] if len(layers) == 1 else {'type': 'Serial', 'layers': layers}
        return result if config.name is None else result | {'name': config.name}

    def _function(self, function: Callable, path: str) -> Any:
        """The name of a function, a call of a named function, or layers that compute the same."""
        mapped = self._mapping.find(function, path)
        if mapped is not config_map.NOTHING:
            has_type = isinstance(mapped, dict) and 'type' in mapped
            return _Layers([mapped]) if has_type else mapped
        name = functions.named(function)
        if name is None and not path.endswith('window_fn'):
            name = functions.recognized(function)
        if name is not None:
            return self.value(name, path)
        spec = self._specs.by_path.get(path)
        if spec is None or path.endswith('window_fn'):
            raise ConfigError(
                f'{path}: the function {_label(function)} has no name in configs; known:'
                f' {", ".join(functions.known())}.' + _way_forward(path, function)
            )
        return _Layers(_layers_of(function, spec, path))


def _label(function: Callable) -> str:
    return getattr(function, '__qualname__', repr(function))


def is_function(value: Any) -> bool:
    no_function = isinstance(value, type) or hasattr(value, 'dtype') or _is_layer(value)
    return callable(value) and not no_function and not dataclasses.is_dataclass(value)


def _mapped_layers(mapped: Any, path: str) -> list[dict[str, Any]]:
    if isinstance(mapped, str) or (isinstance(mapped, dict) and 'function' in mapped):
        return channel_values.function_layer(mapped)
    if not isinstance(mapped, dict) or not isinstance(mapped.get('type'), str):
        raise ConfigError(f'{path}: --map gives {mapped!r}, not an object with a "type"')
    return [mapped]


def _layers_of(
    function: Callable, spec: Spec, path: str, sequence_input: bool = False
) -> list[dict[str, Any]]:
    try:
        return function_layers.layers(
            function,
            channel_shape=spec.channel_shape,
            dtype=spec.dtype,
            sequence_input=sequence_input,
        )
    except channel_values.NotLayersError as error:
        raise ConfigError(
            f'{path}: the function {_label(function)} is nothing that ordinary layers do: {error}.'
            + _way_forward(path, function)
        ) from error


def _followed(layer: dict[str, Any], after: list[dict[str, Any]]) -> dict[str, Any]:
    """A Serial of the layer and others after it, under the layer's name, with its weights in place."""
    if not after:
        return layer
    name = {'name': layer['name']} if 'name' in layer else {}
    inner = {k: v for k, v in layer.items() if k != 'name'}
    shared = [True] + [False] * len(after)
    return {'type': 'Serial', 'layers': [inner, *after], 'share_scope': shared} | name


def to_json(
    value: Any,
    path: str = '$',
    *,
    mapping: config_map.ConfigMap | None = None,
    specs: Specs | None = None,
) -> Any:
    """The value as JSON has it; fields with default values and those of training are left out.

    Functions become names or ordinary layers. A recipe becomes the layers that its `make` makes.

    Args:
      value: A config, an existing layer, or the value of a field.
      path: The path of the value in the config.
      mapping: The user's replacements for functions and layers.
      specs: The inputs of functions, by path (traced_specs.py).

    Raises:
      ConfigError: The value cannot be expressed in a config file; the message names the field.
    """
    return _Writer(mapping or config_map.ConfigMap({}), specs or Specs()).value(value, path)


def _config_class(name: str, path: str) -> type:
    for module in (sl, attention, importlib.import_module(_EXAMPLES)):
        owner = functools.reduce(lambda o, part: getattr(o, part, None), name.split('.'), module)
        if owner is not None:
            return getattr(owner, 'Config', owner)
    raise ConfigError(f'{path}: the reference has no type {name!r}')


def _enum_of(cls: type, field: dataclasses.Field) -> type[enum.Enum] | None:
    """The enum of a field: from its default, its annotation, or its name."""
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
        return functions.function(text)
    if field.name == 'window_fn':
        return functions.window(text)
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
        return functions.from_call(value)
    return {k: _value(v, cls, field, f'{path}.{k}') for k, v in value.items()}


def from_json(config: Mapping[str, Any], path: str = '$') -> Any:
    """The reference's config for an object of a config file."""
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
