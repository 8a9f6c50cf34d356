"""Layers that carry their weights, for models that are written by hand.

  state = State(module.state_dict())  # of PyTorch; arrays or tensors
  model = serial(
      state.conv1d('encoder.conv', stride=2, padding=1),
      Layer('Relu'),
      residual(state.layer_norm('norm'), state.linear('out')),
      state.gru('rnn'),
  )
  state.check_all_read()
  save(model, 'model/', channel_shape=(4,))

A field may be a layer or hold some, at any depth: it becomes their configs, and their weights are stored below the layer's.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_import.recurrent import from_pytorch
from sequence_layers_import.tree import Model
from sequence_layers_tools import model_directory

_COLLECTIONS = ('params', 'batch_stats')


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer type with its fields and weights.

    Weights go by their paths below the layer, such as `kernel`; those of another collection than `params` begin with it, as
    `batch_stats.mean`.
    """

    type: str
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    name: str = ''


def serial(*layers: Layer, name: str = '') -> Layer:
    return Layer('Serial', {'layers': list(layers)}, name=name)


def residual(*layers: Layer, name: str = '') -> Layer:
    return Layer('Residual', {'layers': list(layers)}, name=name)


class _Writer:
    def __init__(self) -> None:
        self.weights: dict[str, np.ndarray] = {}
        self._count = 0

    def config(self, layer: Layer, path: str) -> dict[str, Any]:
        if layer.type == 'BatchNormalization':
            path += path.split('.')[-2] + '.'  # its weights are those of a layer of its name in it
        for name, array in layer.weights.items():
            collection, _, rest = name.partition('.')
            if collection not in _COLLECTIONS:
                collection, rest = 'params', name
            self.weights[f'{collection}.{path}{rest}'] = np.ascontiguousarray(array)
        fields = {name: self._field(value, path) for name, value in layer.fields.items()}
        return {'type': layer.type} | fields

    def _field(self, value: Any, path: str) -> Any:
        if isinstance(value, Layer):
            self._count += 1
            name = value.name or f'{value.type.lower()}_{self._count}'
            return self.config(value, f'{path}{name}.') | {'name': name}
        if isinstance(value, Mapping):
            return {key: self._field(item, path) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._field(item, path) for item in value]
        return value


def write(layer: Layer) -> Model:
    """The config of a layer and its weights by the names that a file has."""
    if layer.weights:
        layer = serial(layer)  # paths of weights begin with the name of a layer within
    writer = _Writer()
    config = writer.config(layer, '')
    return Model(config | {'name': layer.name or 'model'}, writer.weights)


def create(layer: Layer, **options: Any) -> runtime.Layer:
    """The layer in the library, which checks fields, names and shapes."""
    model = write(layer)
    return runtime.Layer.create(model.config, model.weights, **options)


def save(
    layer: Layer, directory: str | pathlib.Path, *, channel_shape: tuple[int, ...],
    dtype: str = 'float32',
) -> None:  # fmt: skip
    """Writes a model directory, if the library takes the layer."""
    create(layer)
    model = write(layer)
    model_directory.write(
        directory, model.config, model.weights, channel_shape=channel_shape, dtype=dtype
    )


class State:
    """Parameters of PyTorch modules by name, as layers. `name` is that of a module, or empty for the whole.

    Padding is that of PyTorch: one number for both ends. Convolutions read [batch, time, channels].
    """

    def __init__(self, parameters: Mapping[str, Any]):
        self._parameters = parameters
        self._read: set[str] = set()

    def array(self, name: str, parameter: str) -> np.ndarray:
        full = f'{name}.{parameter}' if name else parameter
        if full not in self._parameters:
            raise KeyError(f'there is no parameter "{full}" among {sorted(self._parameters)[:20]}')
        self._read.add(full)
        return np.asarray(self._parameters[full], np.float32)

    def check_all_read(self) -> None:
        """Raises ValueError if a parameter went into no layer."""
        rest = [n for n in self._parameters if n not in self._read and 'num_batches' not in n]
        if rest:
            raise ValueError(f'no layer has these parameters: {sorted(rest)}')

    def _has(self, name: str, parameter: str) -> bool:
        return (f'{name}.{parameter}' if name else parameter) in self._parameters

    def _bias(self, name: str) -> dict[str, np.ndarray]:
        return {'bias': self.array(name, 'bias')} if self._has(name, 'bias') else {}

    def linear(self, name: str) -> Layer:
        kernel, bias = self.array(name, 'weight').T, self._bias(name)
        fields = {'features': kernel.shape[1], 'use_bias': bool(bias)}
        return Layer('Dense', fields, {'kernel': kernel} | bias)

    def embedding(self, name: str) -> Layer:
        rows = self.array(name, 'weight')
        fields = {'num_embeddings': rows.shape[0], 'dimension': rows.shape[1]}
        return Layer('Embedding', fields, {'embedding': rows})

    def conv1d(
        self, name: str, *, stride: int = 1, padding: int | tuple[int, int] = 0, dilation: int = 1,
        groups: int = 1,
    ) -> Layer:  # fmt: skip
        taps, bias = self.array(name, 'weight').transpose(2, 1, 0), self._bias(name)
        fields = {
            'filters': taps.shape[2], 'kernel_size': taps.shape[0], 'strides': stride,
            'dilation_rate': dilation, 'groups': groups, 'padding': _both_ends(padding),
            'use_bias': bool(bias),
        }  # fmt: skip
        return Layer('Conv1D', fields, {'kernel': taps} | bias)

    def conv_transpose1d(
        self, name: str, *, stride: int = 1, padding: int = 0, output_padding: int = 0,
        dilation: int = 1,
    ) -> Layer:  # fmt: skip
        taps, bias = self.array(name, 'weight').transpose(2, 0, 1)[::-1], self._bias(name)
        fields = {
            'filters': taps.shape[2], 'kernel_size': taps.shape[0], 'strides': stride,
            'dilation_rate': dilation, 'padding': [padding, padding - output_padding],
            'use_bias': bool(bias),
        }  # fmt: skip
        return Layer('Conv1DTranspose', fields, {'kernel': taps} | bias)

    def layer_norm(self, name: str, *, epsilon: float = 1e-5) -> Layer:
        weights = {'scale': self.array(name, 'weight')} | self._bias(name)
        axis = [-count for count in range(weights['scale'].ndim, 0, -1)]
        fields = {'axis': axis, 'epsilon': epsilon, 'use_bias': 'bias' in weights}
        return Layer('LayerNormalization', fields, weights)

    def batch_norm(self, name: str, *, epsilon: float = 1e-5) -> Layer:
        weights = {
            'scale': self.array(name, 'weight'), 'bias': self.array(name, 'bias'),
            'batch_stats.mean': self.array(name, 'running_mean'),
            'batch_stats.var': self.array(name, 'running_var'),
        }  # fmt: skip
        return Layer('BatchNormalization', {'epsilon': epsilon}, weights)

    def lstm(self, name: str, *, suffix: str = '_l0') -> Layer:
        """One direction of one layer: `_l1`, `_l0_reverse` and so on; '' for an `LSTMCell`."""
        return self._recurrent('LSTM', name, suffix)

    def gru(self, name: str, *, suffix: str = '_l0') -> Layer:
        """One direction of one layer, as for `lstm`."""
        return self._recurrent('GRU', name, suffix)

    def _recurrent(self, kind: str, name: str, suffix: str) -> Layer:
        w, r = (self.array(name, f'weight_{part}{suffix}') for part in ('ih', 'hh'))
        biases = [np.zeros(len(w), np.float32)] * 2
        if self._has(name, f'bias_ih{suffix}'):
            biases = [self.array(name, f'bias_{part}{suffix}') for part in ('ih', 'hh')]
        config, weights = from_pytorch(kind, w, r, biases[0], biases[1])
        fields = {field: value for field, value in config.items() if field != 'type'}
        return Layer(config['type'], fields, weights)


def _both_ends(padding: int | tuple[int, int]) -> list[int]:
    return [padding, padding] if isinstance(padding, int) else list(padding)
