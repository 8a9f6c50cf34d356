"""Writes layers as a config: a Serial, or a Graph of Serials where values are read several times."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sequence_layers_import.builder import INPUT, Config, Layer


@dataclasses.dataclass(frozen=True)
class Model:
    """A config with its weights by the names that a file has."""

    config: Config
    weights: dict[str, np.ndarray]


_LENGTHENING = ('Conv1DTranspose', 'Conv2DTranspose', 'Upsample1D')


def _stride(config: Config) -> int:
    """How many steps of its input a layer makes one of its output of."""
    stride = config.get('strides', config.get('frame_step', config.get('rate', 1)))
    if config['type'] in _LENGTHENING:
        return 1
    return int(stride[0] if isinstance(stride, list) else stride)


def _latency(config: Config | None, before: int | None) -> int | None:
    """The latency of a layer's output, as far as it is known, behind one of its input."""
    if config is None or before is None:
        return before
    if config['type'] in _LENGTHENING:
        # It is known again where a node begins.
        is_late = before != 0 or isinstance(config.get('padding', config.get('time_padding')), list)
        return None if is_late else 0
    stride, padding = _stride(config), config.get('time_padding', config.get('padding', 'causal'))
    size = config.get('kernel_size', config.get('pool_size'))
    own = max(config.get('max_future_horizon', 0), 0)
    if config['type'] == 'Lookahead':
        own = config['length']
    if isinstance(padding, list) and size is not None:
        dilation = config.get('dilation_rate', 1)
        size, dilation = (v[0] if isinstance(v, list) else v for v in (size, dilation))
        own = ((size - 1) * dilation - padding[0]) // stride
    elif config['type'] == 'Frame' and padding != 'causal':
        last = config['frame_length'] - 1
        if 'pad_mode' in config:
            # Frames that mirror steps before the first wait for those.
            mirrored = max(0, 2 * padding[0] - last) if config['pad_mode'] == 'reflect' else 0
            last += mirrored - padding[0]
        own = last // stride
    return before // stride + int(own)


@dataclasses.dataclass
class _Run:
    """Layers one after the other, of which only the last is read elsewhere."""

    inputs: tuple[int, ...]
    combination: str
    layers: list[int]
    latency: int | None = 0  # behind the node's start


def _fits(config: Config, run: _Run) -> bool:
    """Whether a layer's blocks begin with the first step: a node of its own waits until one does."""
    stride = _stride(config)
    return stride == 1 or (run.latency is not None and run.latency % stride == 0)


def needed(layers: Sequence[Layer], output: int) -> list[int]:
    """The layers that the output and the emits are made of, in order."""
    found: set[int] = set()
    waiting = [output, *(i for i, layer in enumerate(layers) if layer.emit)]
    while waiting:
        number = waiting.pop()
        if number not in found and number != INPUT:
            found.add(number)
            waiting += layers[number].inputs
    return sorted(found)


class _Writer:
    def __init__(self, layers: Sequence[Layer], output: int):
        self.layers, self.output = layers, output
        self.weights: dict[str, np.ndarray] = {}
        found = needed(layers, output)
        self._readers = [0] * len(layers)
        for number in found:
            for value in layers[number].inputs:
                self._readers[value] += 1
        self.runs = self._runs(found)

    def _runs(self, numbers: Sequence[int]) -> list[_Run]:
        runs: list[_Run] = []
        by_last: dict[int, _Run] = {}
        for number in numbers:
            layer = self.layers[number]
            before = by_last.get(layer.inputs[0])
            if before and len(layer.inputs) == 1 and self._is_inner(layer.inputs[0]):
                if layer.config is None or _fits(layer.config, before):
                    before.layers.append(number)
                    before.latency = _latency(layer.config, before.latency)
                    by_last[number] = by_last.pop(layer.inputs[0])
                    continue
            own = [number] if layer.config is not None else []
            run = _Run(layer.inputs, layer.combination, own)
            run.latency = _latency(layer.config, 0)
            runs.append(run)
            by_last[number] = run
        self.last = {id(run): number for number, run in by_last.items()}
        return runs

    def _is_inner(self, number: int) -> bool:
        layer = self.layers[number]
        return self._readers[number] == 1 and not layer.emit and number != self.output

    def _serial(self, run: _Run, path: str) -> Config | None:
        configs = [self._named(number, path) for number in run.layers]
        if not configs:
            return None
        return configs[0] if len(configs) == 1 else {'type': 'Serial', 'layers': configs}

    def _named(self, number: int, path: str) -> Config:
        layer = self.layers[number]
        assert layer.config is not None
        if not layer.weights:
            return layer.config
        name = f'{layer.config["type"].lower()}_{number}'
        for tensor, array in layer.weights.items():
            collection, rest = tensor.split('.', 1)
            self.weights[f'{collection}.{path}{name}.{rest}'] = array
        return layer.config | {'name': name}

    def config(self, name: str) -> Config:
        emits = any(layer.emit for layer in self.layers)
        if not self.runs:
            return {'type': 'Serial', 'layers': [{'type': 'Identity'}], 'name': name}
        if len(self.runs) == 1 and not emits and not self.runs[0].combination:
            configs = [self._named(number, '') for number in self.runs[0].layers]
            return {'type': 'Serial', 'layers': configs, 'name': name}
        names = {INPUT: 'input'}
        nodes: list[Config] = []
        for i, run in enumerate(self.runs):
            last = self.last[id(run)]
            names[last] = self.layers[last].emit or f'node_{i}'
            nodes.append(self._node(run, names, last))
        return {'type': 'Graph', 'nodes': nodes, 'output': names[self.output], 'name': name}

    def _node(self, run: _Run, names: dict[int, str], last: int) -> Config:
        inputs = [names[value] for value in run.inputs]
        node: Config = {'name': names[last], 'inputs': inputs[0] if len(inputs) == 1 else inputs}
        if run.combination:
            node['combination'] = run.combination
        prefix = f'{names[last]}.' if len(run.layers) > 1 else ''
        layer = self._serial(run, prefix)
        if layer is not None:
            node['layer'] = layer
        if self.layers[last].emit:
            node['emit'] = True
        return node


def write(layers: Sequence[Layer], output: int, name: str) -> Model:
    writer = _Writer(layers, output)
    return Model(writer.config(name), writer.weights)
