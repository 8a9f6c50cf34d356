"""The library's structs for arrays: sequences that it reads or writes in place, and their specs."""

from typing import Any

import numpy as np

from sequence_layers_runtime import abi, arrays


def view(values: Any, mask: Any = None, *, what: str = 'the input') -> abi.Sequence:
    """A sequence for the library to read. Its attribute `arrays` keeps the arrays, or copies of them."""
    values = arrays.readable(values, what)
    mask = None if mask is None else arrays.readable_mask(mask, values.shape)
    return borrow(values, mask)


def borrow(values: np.ndarray, mask: np.ndarray | None) -> abi.Sequence:
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
