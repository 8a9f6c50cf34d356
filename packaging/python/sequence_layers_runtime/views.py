"""The library's structs for arrays: sequences that it reads or writes in place, and their specs."""

from typing import Any, NamedTuple

import numpy as np

from sequence_layers_runtime import abi, arrays
from sequence_layers_runtime.arrays import AnyArray


class ChannelSpec(NamedTuple):
    """What one step holds: channel shape, without batch and time, and dtype."""

    shape: tuple[int, ...]
    dtype: str


def view(values: Any, mask: Any = None, *, what: str = 'the input') -> abi.Sequence:
    """A sequence for the library to read. Its attribute `arrays` keeps the arrays, or copies of them."""
    values = arrays.readable(values, what)
    mask = None if mask is None else arrays.readable_mask(mask, values.shape)
    return borrow(values, mask)


def borrow(values: AnyArray, mask: AnyArray | None) -> abi.Sequence:
    """A sequence of arrays that the library can read or write in place."""
    sequence = abi.sized(abi.Sequence)
    sequence.arrays = values, mask
    sequence.dtype = arrays.dtype_index(values.dtype)
    sequence.rank = values.ndim
    sequence.dims[: values.ndim] = values.shape
    sequence.strides[: values.ndim] = values.strides
    sequence.data = values.ctypes.data
    if mask is not None:
        sequence.mask = mask.ctypes.data
        sequence.mask_strides[:] = mask.strides
    return sequence


def new_output(shape: abi.Sequence) -> abi.Sequence:
    """New arrays, values and mask, for an output of the dtype and the dims of `shape`."""
    values = np.empty(shape.dims[: shape.rank], arrays.numpy_dtype(shape.dtype))
    return borrow(values, np.empty(values.shape[:2], np.bool_))


def channel_spec(channel_shape: tuple[int, ...], dtype: Any) -> abi.ChannelSpec:
    """The struct of a channel shape and a dtype.

    Raises:
      TypeError: The library has no such dtype, or no channel shape of so many dimensions.
    """
    spec = abi.sized(abi.ChannelSpec)
    spec.dtype = arrays.dtype_index(dtype)
    if len(channel_shape) > abi.MAX_CHANNEL_RANK:
        raise TypeError(f'{len(channel_shape)} channel dimensions, {abi.MAX_CHANNEL_RANK} at most')
    spec.rank = len(channel_shape)
    spec.dims[: spec.rank] = channel_shape
    return spec


def shape(sequence: abi.Sequence) -> tuple[int, ...]:
    return tuple(sequence.dims[: sequence.rank])


def at(sequence: abi.Sequence, owner: object = None) -> AnyArray:
    """An array over the memory of a sequence of the library. It and its views keep `owner` alive."""
    strides = tuple(sequence.strides[: sequence.rank])
    return arrays.at_address(sequence.data, sequence.dtype, shape(sequence), strides, owner)


def mask_at(sequence: abi.Sequence) -> AnyArray:
    """An array of bool over the mask of a contiguous sequence of the library."""
    bools = arrays.dtype_index('bool')
    return arrays.at_address(sequence.mask, bools, shape(sequence)[:2], (0, 0), None)


def spec_of(struct: abi.ChannelSpec) -> ChannelSpec:
    return ChannelSpec(tuple(struct.dims[: struct.rank]), arrays.DTYPES[struct.dtype])
