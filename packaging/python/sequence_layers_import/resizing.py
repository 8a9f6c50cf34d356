"""Operators that resample axes."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from sequence_layers_import.builder import Builder, Value, operator
from sequence_layers_import.pointwise import keep
from sequence_layers_import.products import dense
from sequence_layers_import.refusal import Refusal
from sequence_layers_import.tensors import Node, Role, Tensor


@operator('Resize', 'Upsample')
def _resize(builder: Builder, node: Node) -> None:
    source, target = builder.tensor(node.inputs[0]), builder.tensor(node.outputs[0])
    value = builder.value(node.inputs[0])
    how = node.attribute('coordinate_transformation_mode', 'asymmetric')
    if how == 'tf_crop_and_resize':
        raise Refusal('it takes a part of the image', 'slice it before')
    for axis, (size, new_size) in enumerate(zip(source.shape, target.shape, strict=True)):
        if source.roles[axis] is not target.roles[axis]:
            raise Refusal('its size is fixed', 'scale time by a factor')
        scale = _scale(builder, node, axis) or 1
        if size == new_size and scale == 1:
            continue
        if how == 'align_corners' and scale * size != int(scale * size):
            raise Refusal(
                f'{size} times {scale:g} is no integer, so that runtimes align other corners',
                'use a size in place of a factor',
            )
        if source.roles[axis] in (Role.BATCH, Role.STEPS):
            raise Refusal('it repeats items of a batch', 'each item of a batch is computed alone')
        if source.roles[axis] is Role.TIME:
            value = _resize_time(builder, node, value, source, axis, target.shape[axis])
            continue
        matrix = _matrix(builder, node, axis, size, new_size)
        value = dense(builder, builder.with_last(value, source, axis), matrix)
        source = source.resized(axis, new_size)
    keep(builder, node, value)


def _scale(builder: Builder, node: Node, axis: int) -> float | None:
    """The factor of an axis, if the node has factors and not sizes."""
    index = 1 if node.operator == 'Upsample' else 2
    scales = node.attribute('scales')
    if len(node.inputs) > index and node.inputs[index]:
        scales = builder.graph.folded_constants(node.inputs[index])[0]
    if scales is None or not np.size(scales):
        return None
    axes = [a % len(builder.tensor(node.inputs[0]).shape) for a in node.attribute('axes', [])]
    if axes:
        return float(scales[axes.index(axis)]) if axis in axes else 1.0
    return float(scales[axis])


def _matrix(builder: Builder, node: Node, axis: int, size: int, new_size: int) -> np.ndarray:
    """The matrix [size, new size] of one axis, as onnxruntime resizes the unit matrix."""
    attributes = {
        name: value
        for name, value in node.attributes.items()
        if name not in ('axes', 'keep_aspect_ratio_policy', 'scales')
    }
    if node.operator == 'Upsample':
        attributes |= {'coordinate_transformation_mode': 'asymmetric', 'nearest_mode': 'floor'}
    scale = _scale(builder, node, axis)
    constants = [helper.make_tensor('none', TensorProto.FLOAT, [0], [])]
    if scale is None:
        constants.append(helper.make_tensor('to', TensorProto.INT64, [2], [size, new_size]))
        inputs = ['x', 'none', 'none', 'to']
    else:
        constants.append(helper.make_tensor('by', TensorProto.FLOAT, [2], [1.0, scale]))
        inputs = ['x', 'none', 'by']
    made = helper.make_graph(
        [helper.make_node('Resize', inputs, ['y'], **attributes)], 'resize',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [size, size])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)], constants,
    )  # fmt: skip
    opset = max(builder.graph.opset, 11)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    matrix: np.ndarray = session.run(None, {'x': np.eye(size, dtype=np.float32)})[0]
    return matrix


def _resize_time(
    builder: Builder, node: Node, value: Value, source: Tensor, axis: int, new_size: int
) -> Value:
    size, mode = source.shape[axis], node.attribute('mode', 'nearest')
    default = 'half_pixel' if node.operator == 'Resize' else 'asymmetric'
    how = node.attribute('coordinate_transformation_mode', default)
    if new_size % size:
        raise Refusal(f'it scales time from {size} to {new_size}', 'use a factor without remainder')
    rate = new_size // size
    repeats = np.repeat(np.eye(size, dtype=np.float32), rate, axis=1)
    if np.array_equal(_matrix(builder, node, axis, size, new_size), repeats):
        return builder.apply(value, {'type': 'Upsample1D', 'rate': rate})
    if mode != 'linear' or how not in ('half_pixel', 'pytorch_half_pixel', 'asymmetric'):
        raise Refusal(
            f'it interpolates time by {mode} with {how}',
            'use nearest or linear, without align_corners',
        )
    return _interpolated(builder, value, source, rate, how == 'asymmetric')


def _interpolated(
    builder: Builder, value: Value, source: Tensor, rate: int, is_asymmetric: bool
) -> Value:
    """Linear interpolation as a transposed convolution.

    Steps beyond the ends count as those at the ends: what weights are missing there, a channel of ones tells.
    """
    shift = 0.0 if is_asymmetric else 0.5
    offsets = np.arange(-rate, 2 * rate)
    taps = 1 - np.abs((offsets + shift) / rate - shift)
    is_used = taps > 1e-6
    taps, before = taps[is_used].astype(np.float32), -int(offsets[is_used][0])
    axes, sizes = value.axes, source.sizes(value.axes)
    count = int(np.prod(sizes))
    flat = builder.reshape(value, [count], (0,))
    ones = {'type': 'Pad', 'paddings': [[0, 1]], 'mode': 'constant', 'value': 1}
    config = {
        'type': 'Conv1DTranspose', 'filters': count + 1, 'groups': count + 1, 'strides': rate,
        'kernel_size': len(taps), 'padding': [before, len(taps) - rate - before], 'use_bias': False,
    }  # fmt: skip
    kernel = np.repeat(taps[::-1, np.newaxis, np.newaxis], count + 1, axis=2)
    both = builder.apply(builder.apply(flat, ones), config, {'params.kernel': kernel})
    sums, weights = (
        builder.apply(both, {'type': 'Slice', 'slices': [[*part, None]]})
        for part in ((0, count), (count, count + 1))
    )
    return builder.reshape(builder.combine([sums, weights], 'divide'), sizes, axes)
