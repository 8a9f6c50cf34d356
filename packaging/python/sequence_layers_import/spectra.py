"""Operators of spectra, whose complex numbers ONNX has as pairs of real ones on a last axis."""

import numpy as np

from sequence_layers_import.builder import Builder, Config, Value, channel_axis, operator
from sequence_layers_import.pointwise import keep
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Role


def _number(builder: Builder, node: Node, index: int) -> int | None:
    if len(node.inputs) <= index or not node.inputs[index]:
        return None
    return int(np.ravel(builder.graph.constant(node.inputs[index]))[0])


def _pairs(builder: Builder, value: Value, last: int) -> Value:
    """Complex numbers as pairs on a last axis."""
    config = {'type': 'ViewAsReal', 'layout': 'pair'}
    return builder.apply(value, config, axes=(*value.axes, last))


@operator('STFT')
def _stft(builder: Builder, node: Node) -> None:
    tensor = builder.tensor(node.inputs[0])
    if tensor.roles[1] is not Role.TIME or len(tensor.shape) > 2 and tensor.shape[2] != 1:
        raise Refusal('it is not of real numbers over time', 'name the time axis by --time-axis')
    window = builder.graph.constant(node.inputs[2]) if node.inputs[2] else None
    length = _number(builder, node, 3) or (0 if window is None else len(window))
    is_onesided = bool(node.attribute('onesided', 1))
    if builder.tensor(node.outputs[0]).shape[2] != (length // 2 + 1 if is_onesided else length):
        raise Refusal('runtimes infer another number of bins than it has', 'write out onesided')
    frame: Config = {'frame_length': length, 'frame_step': _number(builder, node, 1)}
    padding: Config = {'padding': 'reverse_causal_valid'}
    if mirrored := node.attribute('import.mirrored'):
        padding = {'padding': list(mirrored), 'pad_mode': 'reflect'}
    value = builder.aligned(builder.value(node.inputs[0]), tensor, ())
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    if is_onesided and window is not None and np.allclose(window, hann, 0, 1e-6):
        frame |= {'time_padding': padding.pop('padding')} | padding
        config = {'type': 'STFT', 'fft_length': length, 'window_fn': 'hann'} | frame
        value = builder.apply(value, config, axes=(2,))
    else:
        value = builder.apply(value, {'type': 'Frame'} | frame | padding, axes=(2,))
        if window is not None and (window != 1).any():
            weights = {'params.scale': window.astype(np.float32)}
            config = {'type': 'Affine', 'shape': [length], 'use_scale': True, 'use_bias': False}
            value = builder.apply(value, config, weights)
        value = builder.apply(value, {'type': 'RFFT' if is_onesided else 'FFT'})
    keep(builder, node, _pairs(builder, value, 3))


@operator('DFT')
def _dft(builder: Builder, node: Node) -> None:
    tensor = builder.tensor(node.inputs[0])
    rank, inverse = len(tensor.shape), bool(node.attribute('inverse', 0))
    given = _number(builder, node, 2)
    default = 1 if builder.graph.opset < 20 else -2
    axis = channel_axis(tensor, node.attribute('axis', default) if given is None else given, 'it')
    length = _number(builder, node, 1) or tensor.shape[axis]
    is_real, is_onesided = tensor.shape[-1] == 1, bool(node.attribute('onesided', 0))
    if length != tensor.shape[axis] or inverse and is_onesided or is_onesided and not is_real:
        raise Refusal('its input has other numbers of elements than it', 'pad or cut the input')
    value = builder.value(node.inputs[0])
    if is_real:
        rest = [a for a in value.axes if a not in (axis, rank - 1)]
        value = builder.aligned(value, tensor, (*rest, axis))
    else:
        value = builder.with_last(value, tensor, axis, rank - 1)
        config = {'type': 'ViewAsComplex', 'layout': 'pair'}
        value = builder.apply(value, config, axes=value.axes[:-1])
    kind = 'RFFT' if is_onesided else 'IFFT' if inverse else 'FFT'
    if is_real and kind != 'RFFT':
        value = builder.apply(value, {'type': 'Cast', 'dtype': 'complex64'})
    value = builder.apply(value, {'type': kind})
    keep(builder, node, _pairs(builder, value, rank - 1))
