"""Maps users' own functions and layers to the configs that replace them.

A key is `module:name` of a function, of a layer's class or of its config's class, or the path of a
field in the config, such as `$.layers[2].fn`. A value is a config, in which "$field" stands for a field
of the user's own config. For functions it can also be a name: "relu", or
{"function": "leaky_relu", "negative_slope": 0.2}.
"""

import functools
import importlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

NOTHING = object()


class MapError(ValueError):
    """The mapping cannot be read, or an entry matches nothing in the config."""


def key_of(thing: Any) -> str:
    """`module:name` of a function or class."""
    module = getattr(thing, '__module__', None) or type(thing).__module__
    return f'{module}:{getattr(thing, "__qualname__", type(thing).__qualname__)}'


def _found(key: str) -> Any:
    """The object that `module:name` names. The key itself if it is a path or cannot be imported."""
    module, _, name = key.partition(':')
    if key.startswith('$') or not name:
        return key
    try:
        return functools.reduce(getattr, name.split('.'), importlib.import_module(module))
    except Exception:  # importing runs user code; a nested function is matched by name only
        return key


class ConfigMap:
    """A mapping from keys to configs."""

    def __init__(self, entries: Mapping[str, Any]):
        self._entries = dict(entries)
        self._things = {key: _found(key) for key in self._entries}
        self._unused = set(self._entries)

    @classmethod
    def parse(cls, arguments: list[str]) -> 'ConfigMap':
        """Parses command line arguments: KEY=JSON, or names of JSON files with such entries."""
        entries = {}
        for argument in arguments:
            key, equals, text = argument.partition('=')
            try:
                if not equals:
                    entries |= dict(json.loads(pathlib.Path(argument).read_text()))
                else:
                    entries[key] = json.loads(text)
            except (OSError, TypeError, ValueError) as error:
                raise MapError(
                    f'--map {argument}: {error}; expected KEY=JSON or a JSON file of an object'
                ) from error
        return cls(entries)

    def find(self, thing: Any, path: str) -> Any:
        """The entry for a function or a config at that path, or NOTHING."""
        if not self._entries:
            return NOTHING
        for key, mapped in self._entries.items():
            if key == path or self._names(key, thing):
                self._unused.discard(key)
                return mapped
        return NOTHING

    def _names(self, key: str, thing: Any) -> bool:
        named, cls = self._things[key], type(thing)
        if named is thing or named is cls or getattr(named, 'Config', NOTHING) is cls:
            return True
        if key in (key_of(thing), key_of(cls), key_of(cls).removesuffix('.Config')):
            return True
        return isinstance(named, type) and hasattr(thing, 'make') and _makes(thing, named)

    def check_used(self) -> None:
        if self._unused:
            raise MapError(f'--map {sorted(self._unused)[0]}: the model has nothing of that name')


def _makes(config: Any, cls: type) -> bool:
    try:
        return type(config.make()) is cls
    except Exception:  # user code may raise anything
        return False
