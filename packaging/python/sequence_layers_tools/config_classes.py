"""Records which layers the reference has, and the fields of their configs: a test compares them with
the library's own.

  python -m sequence_layers_tools.config_classes tests/reference/config_classes.json

Needs the reference: requirements-reference.txt.
"""

import argparse
import dataclasses
import enum
import importlib
import inspect
import json
import pkgutil

from sequence_layers_tools import python_311  # noqa: F401

_PACKAGE = 'sequence_layers.jax'
# This folder has no __init__.py, so a walk over packages does not find it.
_EXAMPLES = ('examples.gemma3n_audio_encoder', 'examples.global_style_token')


def _modules():
    """Modules of the package, without tests and modules whose dependencies are not installed."""
    package = importlib.import_module(_PACKAGE)
    walk = pkgutil.walk_packages(package.__path__, _PACKAGE + '.')
    names = [info.name for info in walk] + [f'{_PACKAGE}.{name}' for name in _EXAMPLES]
    for name in names:
        if 'test' in name.rpartition('.')[2]:
            continue
        try:
            yield importlib.import_module(name)
        except ImportError as error:
            print(f'{name} is left out: {error}')


def _layers():
    """Layer classes that have their own config, by module and name."""
    layer = importlib.import_module(_PACKAGE + '.types').SequenceLayer
    for module in _modules():
        for name, cls in inspect.getmembers(module, inspect.isclass):
            config = cls.__dict__.get('Config')
            named = cls.__module__ == module.__name__ and not name.startswith('_')
            if named and issubclass(cls, layer) and dataclasses.is_dataclass(config):
                yield module.__name__.removeprefix(_PACKAGE + '.'), name, config


def _to_json(value):
    """The default as in a config file; null for values that only Python can express."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, tuple | list):
        return [_to_json(v) for v in value]
    if isinstance(value, type) and hasattr(value, 'dtype'):
        return str(value.dtype)
    if inspect.isfunction(value) and value.__name__.endswith('_window'):
        return value.__name__.removesuffix('_window')
    return None


def _field(field: dataclasses.Field) -> dict:
    if field.default is not dataclasses.MISSING:
        return {'name': field.name, 'default': _to_json(field.default)}
    if field.default_factory is not dataclasses.MISSING:
        return {'name': field.name, 'default': _to_json(field.default_factory())}
    return {'name': field.name, 'required': True}


def classes() -> list[dict]:
    return [
        {'module': module, 'type': name, 'fields': [_field(f) for f in dataclasses.fields(config)]}
        for module, name, config in sorted(_layers(), key=lambda layer: layer[:2])
    ]


def main():
    parser = argparse.ArgumentParser(description='Record the config classes of the reference.')
    parser.add_argument('output')
    found = classes()
    lines = ',\n '.join(json.dumps(c) for c in found)
    with open(parser.parse_args().output, 'w') as file:
        file.write(f'[{lines}]\n')
    print(f'{len(found)} classes')


if __name__ == '__main__':
    main()
