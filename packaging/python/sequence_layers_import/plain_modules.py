"""PyTorch modules of the usual layers in a row, by their tree and parameters, without an export.

  layer = from_module(module, x)

`Sequential`s of modules that are named here can be read. What a module's own `forward` computes cannot: export that.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sequence_layers_import.layers import Layer, State, create, serial
from sequence_layers_import.refusal import Refusal

_TOLERANCE = 1e-4
# Modules of [batch, channels, time]; the others with parameters read [batch, time, channels].
_CHANNELS_FIRST = ('Conv1d', 'ConvTranspose1d', 'BatchNorm1d', 'MaxPool1d', 'AvgPool1d', 'Upsample')
_NOTHING = ('Identity', 'Dropout', 'Dropout1d', 'AlphaDropout')

_Maker = Callable[[Any, State, str], Layer]


def _padding(module: Any) -> list[int]:
    if module.padding_mode != 'zeros':
        raise Refusal(f'it pads by {module.padding_mode}', 'pad by zeros')
    (size,), (dilation,) = module.kernel_size, module.dilation
    if module.padding == 'same':
        total = dilation * (size - 1)
        return [total // 2, total - total // 2]
    amount = 0 if module.padding == 'valid' else module.padding[0]
    return [amount, amount]


def _conv1d(module: Any, state: State, name: str) -> Layer:
    before, after = _padding(module)
    return state.conv1d(
        name, stride=module.stride[0], padding=(before, after), dilation=module.dilation[0],
        groups=module.groups,
    )  # fmt: skip


def _conv_transpose1d(module: Any, state: State, name: str) -> Layer:
    if module.groups != 1:
        raise Refusal('it has groups', 'export it to ONNX')
    return state.conv_transpose1d(
        name, stride=module.stride[0], padding=module.padding[0],
        output_padding=module.output_padding[0], dilation=module.dilation[0],
    )  # fmt: skip


def _batch_norm(module: Any, state: State, name: str) -> Layer:
    if not module.affine or not module.track_running_stats:
        raise Refusal('it has no weights or statistics', 'train it with both')
    return state.batch_norm(name, epsilon=module.eps)


def _layer_norm(module: Any, state: State, name: str) -> Layer:
    if not module.elementwise_affine:
        raise Refusal('it has no weights', 'export it to ONNX')
    return state.layer_norm(name, epsilon=module.eps)


def _pool(module: Any, state: State, name: str) -> Layer:
    size, stride, padding = (
        value[0] if isinstance(value, tuple) else value
        for value in (module.kernel_size, module.stride, module.padding)
    )
    is_max = type(module).__name__ == 'MaxPool1d'
    if module.ceil_mode or not is_max and not module.count_include_pad:
        raise Refusal('its windows at the ends are others', 'export it to ONNX')
    kind = 'MaxPooling1D' if is_max else 'AveragePooling1D'
    fields = {'pool_size': size, 'strides': stride, 'padding': [padding, padding]}
    if is_max:
        fields['dilation_rate'] = module.dilation
    return Layer(kind, fields)


def _upsample(module: Any, state: State, name: str) -> Layer:
    rate = module.scale_factor
    if module.mode != 'nearest' or rate is None or rate != int(rate):
        raise Refusal(f'it scales by {rate}, {module.mode}', 'use nearest with an integer')
    return Layer('Upsample1D', {'rate': int(rate)})


def _recurrent(module: Any, state: State, name: str) -> Layer:
    if not module.batch_first or module.proj_size:
        raise Refusal('time is its first axis, or it projects', 'use batch_first')
    make = state.lstm if type(module).__name__ == 'LSTM' else state.gru
    layers = []
    for i in range(module.num_layers):
        forward = make(name, suffix=f'_l{i}')
        if module.bidirectional:
            both = {'forward': forward, 'backward': make(name, suffix=f'_l{i}_reverse')}
            forward = Layer('Bidirectional', both | {'combination': 'concat'})
        layers.append(forward)
    return serial(*layers)


def _softmax(module: Any, state: State, name: str) -> Layer:
    if module.dim != -1:
        raise Refusal(f'it goes over axis {module.dim}', 'use -1')
    return Layer('Softmax')


_MAKERS: dict[str, _Maker] = {
    'Linear': lambda module, state, name: state.linear(name),
    'Embedding': lambda module, state, name: state.embedding(name),
    'Conv1d': _conv1d,
    'ConvTranspose1d': _conv_transpose1d,
    'BatchNorm1d': _batch_norm,
    'LayerNorm': _layer_norm,
    'LSTM': _recurrent,
    'GRU': _recurrent,
    'MaxPool1d': _pool,
    'AvgPool1d': _pool,
    'Upsample': _upsample,
    'Softmax': _softmax,
    'ReLU': lambda module, state, name: Layer('Relu'),
    'Sigmoid': lambda module, state, name: Layer('Sigmoid'),
    'Tanh': lambda module, state, name: Layer('Tanh'),
    'SiLU': lambda module, state, name: Layer('Swish'),
    'GELU': lambda module, state, name: Layer('Gelu', {'approximate': module.approximate == 'tanh'}),
    'ELU': lambda module, state, name: Layer('Elu', {'alpha': module.alpha}),
    'LeakyReLU': lambda module, state, name: Layer(
        'LeakyRelu', {'negative_slope': module.negative_slope}
    ),
    'Softplus': lambda module, state, name: Layer('Softplus'),
}  # fmt: skip


def _leaves(module: Any, name: str) -> Iterator[tuple[str, Any]]:
    if type(module).__name__ != 'Sequential':
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from _leaves(child, f'{name}.{child_name}' if name else child_name)


def is_channels_first(module: Any) -> bool:
    """Whether the module reads [batch, channels, time]."""
    kinds = [(name, type(leaf).__name__) for name, leaf in _leaves(module, '')]
    first = [name for name, kind in kinds if kind in _CHANNELS_FIRST]
    last = [
        name for name, kind in kinds if kind in ('Linear', 'LayerNorm', 'Softmax', 'LSTM', 'GRU')
    ]
    if first and last:
        raise Refusal(
            f'"{first[0]}" reads [batch, channels, time] and "{last[0]}" [batch, time, channels]',
            'export the module with its transpositions to ONNX',
        )
    return bool(first)


def tree_of(module: Any) -> Layer:
    """The layers of a module, which read [batch, time, channels].

    Raises:
      Refusal: A module for which there is no layer.
    """
    is_channels_first(module)
    state, layers = State(module.state_dict()), []
    for name, leaf in _leaves(module, ''):
        kind = type(leaf).__name__
        if kind in _NOTHING:
            continue
        if kind not in _MAKERS:
            raise Refusal(
                'what its forward computes is not known',
                'export it to ONNX',
                node=name,
                operator=kind,
            )
        try:
            layers.append(_MAKERS[kind](leaf, state, name))
        except Refusal as refusal:
            raise refusal.at(name, kind) from None
    state.check_all_read()
    return serial(*layers)


def from_module(module: Any, x: np.ndarray) -> Layer:
    """`tree_of` a module, if its output for `x`, in the module's own layout, is that of the layers."""
    import torch

    layer = tree_of(module)
    with torch.inference_mode():
        made = module.eval()(torch.from_numpy(x))
    want = np.asarray(made[0] if isinstance(made, tuple) else made)
    got, _ = create(layer).apply(np.moveaxis(x, 1, -1) if is_channels_first(module) else x)
    got = np.moveaxis(got, -1, 1) if is_channels_first(module) else got
    peak = float(np.abs(want).max())
    if got.shape != want.shape or not np.abs(got - want).max() <= _TOLERANCE * peak:
        raise Refusal('the layers give other numbers than the module', 'export it to ONNX')
    return layer
