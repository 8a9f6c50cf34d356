"""Writes a graph of layers as a config: nested Serials and Parallels.

A value that several layers read becomes a Parallel from there to where its readers meet. What branches
share beyond that is computed by each.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sequence_layers_import.builder import INPUT, Config, Layer
from sequence_layers_import.refusal import Refusal

# How many more layers than the graph has may be written.
_MAX_GROWTH = 4


@dataclasses.dataclass(frozen=True)
class Model:
    """A config with its weights by the names that a file has."""

    config: Config
    weights: dict[str, np.ndarray]
    emits: dict[str, str]  # the path of each emit by the name of its output


class _Writer:
    def __init__(self, layers: Sequence[Layer]):
        self.layers = layers
        self.weights: dict[str, np.ndarray] = {}
        self.emits: dict[str, str] = {}
        self.written = 0
        self._dominators = _dominators(layers)

    def chain(self, start: int, end: int, path: tuple[str, ...]) -> list[Config]:
        """The layers from the value `start` to the value `end`."""
        parts: list[int] = []
        at = end
        while at != start:
            parts.append(at)
            layer = self.layers[at]
            at = layer.inputs[0] if len(layer.inputs) == 1 else self._meeting(at, start)
        configs: list[Config] = []
        before = start
        for number in reversed(parts):
            configs += self._layer(number, before, path)
            before = number
        return configs

    def _meeting(self, number: int, start: int) -> int:
        """The value that all inputs are made of, but not earlier than `start`."""
        found = self._dominators[number]
        return max(found, start)

    def _layer(self, number: int, before: int, path: tuple[str, ...]) -> list[Config]:
        self.written += 1
        if self.written > _MAX_GROWTH * len(self.layers) + 64:
            raise Refusal('its branches share too many layers', 'join branches where they part')
        layer = self.layers[number]
        if layer.config is None:
            configs = [self._join(number, before, path)]
        else:
            configs = [self._named(number, layer.config, path)]
        if layer.emit:
            name = f'emit_{number}'
            configs.append({'type': 'NamedEmit', 'emit_name': layer.emit, 'name': name})
            self.emits[layer.emit] = '.'.join((*path[1:], name, layer.emit))
        return configs

    def _named(self, number: int, config: Config, path: tuple[str, ...]) -> Config:
        layer = self.layers[number]
        if not layer.weights:
            return config
        name = layer.name or f'{config["type"].lower()}_{number}'
        for tensor, array in layer.weights.items():
            collection, rest = tensor.split('.', 1)
            self.weights['.'.join((collection, *path[1:], name, rest))] = array
        return config | {'name': name}

    def _join(self, number: int, before: int, path: tuple[str, ...]) -> Config:
        layer = self.layers[number]
        branches: list[Config] = []
        name = layer.name or f'{layer.combination}_{number}'
        for i, value in enumerate(layer.inputs):
            inner = (*path, name, f'branch_{i}')
            configs = self.chain(before, value, inner)
            if not configs:
                branches.append({'type': 'Identity'})
            else:
                branches.append({'type': 'Serial', 'layers': configs, 'name': f'branch_{i}'})
        return {
            'type': 'Parallel',
            'combination': layer.combination,
            'layers': branches,
            'name': name,
        }


def _dominators(layers: Sequence[Layer]) -> list[int]:
    """For each value the last one that is on all ways to it from the input."""
    found = [INPUT] * len(layers)
    for number, layer in enumerate(layers):
        if not layer.inputs:
            continue
        at = layer.inputs[0]
        for other in layer.inputs[1:]:
            while at != other:
                if at > other:
                    at = found[at]
                else:
                    other = found[other]
        found[number] = at
    return found


def write(layers: Sequence[Layer], output: int, name: str) -> Model:
    writer = _Writer(layers)
    configs = writer.chain(INPUT, output, (name,))
    unwritten = [layer.emit for layer in layers if layer.emit and layer.emit not in writer.emits]
    if unwritten:
        raise Refusal(
            f'the output "{unwritten[0]}" is made beside the way to the first output',
            'choose outputs by --output, one model for each',
        )
    config = {'type': 'Serial', 'layers': configs or [{'type': 'Identity'}], 'name': name}
    return Model(config, writer.weights, writer.emits)
