"""Checks whether the library can read a numpy array in place, and copies it if not.

Every array that is given to the library passes `readable` or `readable_mask`.
"""

import ctypes
import dataclasses
import functools
import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]

MAX_RANK = 10
# Names in the order of the enum sl_dtype.
DTYPES = ('float32', 'int32', 'bool', 'complex64', 'bfloat16', 'float16', 'int8')
# Bits of a bfloat16, for which numpy has no dtype of its own: the upper half of a float32. Arrays of
# the package ml_dtypes' bfloat16 are taken too, and are what the library returns if it is installed.
BFLOAT16 = np.dtype([('bfloat16', np.uint16)])
# Dtypes that numpy has, in native byte order: reading a dtype's name would take a microsecond.
_INDICES = {np.dtype(name): i for i, name in enumerate(DTYPES) if name != 'bfloat16'}


@dataclasses.dataclass(frozen=True)
class Array:
    """A constant without a time axis: [batch, ...]."""

    values: AnyArray


def dtype_index(dtype: Any) -> int:
    """The sl_dtype of a numpy dtype, in any byte order, or of a name."""
    if isinstance(dtype, np.dtype) and (index := _INDICES.get(dtype)) is not None:
        return index
    if isinstance(dtype, np.dtype) and dtype.newbyteorder('=') == BFLOAT16:
        return DTYPES.index('bfloat16')
    name = dtype if isinstance(dtype, str) and dtype in DTYPES else np.dtype(dtype).name
    if name in DTYPES:
        return DTYPES.index(name)
    advice = {'float64': 'float32', 'int64': 'int32', 'complex128': 'complex64'}.get(name)
    hint = f': convert it, as by .astype(np.{advice})' if advice else ''
    raise TypeError(f'{name} is not a dtype of the library ({", ".join(DTYPES)}){hint}')


@functools.cache
def _bfloat16() -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(importlib.import_module('ml_dtypes').bfloat16)
    except ImportError:
        return BFLOAT16
    return found


def numpy_dtype(index: int) -> np.dtype[Any]:
    """The numpy dtype of an sl_dtype."""
    name = DTYPES[index]
    return _bfloat16() if name == 'bfloat16' else np.dtype(name)


def to_bfloat16(values: npt.ArrayLike) -> AnyArray:
    """Numbers as bfloat16, rounded to the nearest, in the dtype that the library returns."""
    exact = np.asarray(values, np.float32)
    bits = exact.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Rounding could carry a NaN's bits over to an infinity.
    rounded = np.where(np.isnan(exact), (bits >> 16) | 0x40, rounded)
    return rounded.astype(np.uint16).view(_bfloat16())


def from_bfloat16(values: AnyArray) -> npt.NDArray[np.float32]:
    """The float32 of bfloat16 numbers."""
    bits = np.ascontiguousarray(values, values.dtype.newbyteorder('=')).view(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _array(values: Any, what: str) -> AnyArray:
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f'{what} is a masked array: give its .filled() values, and a mask [batch, time]'
            ' that is true where steps are valid'
        )
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, '__array__'):
        return np.asarray(values)
    raise TypeError(f'{what} is a {type(values).__name__}, not an array')


def _readable_layout(array: AnyArray) -> bool:
    """Whether all elements are aligned and no stride is zero, which the ABI reads as "contiguous"."""
    if array.flags.c_contiguous and array.size:
        return array.flags.aligned
    apart = all(
        stride > 0 or size <= 1 for stride, size in zip(array.strides, array.shape, strict=True)
    )
    return bool(apart and array.flags.aligned)


def readable(values: Any, what: str = 'the input') -> AnyArray:
    """`values`, or a contiguous copy in the machine's byte order if the library needs one.

    Raises:
      TypeError: They are not an array, or the library lacks their dtype; nothing is converted.
    """
    array = _array(values, what)
    dtype_index(array.dtype)
    if array.ndim > MAX_RANK:
        raise TypeError(f'{what} has {array.ndim} dimensions, {MAX_RANK} at most')
    if array.dtype.isnative and _readable_layout(array):
        return array
    return np.array(array, array.dtype.newbyteorder('='), order='C', subok=False)


def readable_mask(mask: Any, shape: tuple[int, ...]) -> AnyArray:
    """The mask for values of that shape, as the library reads it: one byte per step."""
    array = _array(mask, 'the mask')
    if array.dtype.name not in ('bool', 'int8', 'uint8') or array.shape != shape[:2]:
        raise TypeError(f'a mask is a bool array {shape[:2]}, not {array.dtype} {array.shape}')
    return array if _readable_layout(array) else np.array(array, order='C', subok=False)


def at_address(
    address: int | None, dtype: int, shape: tuple[int, ...], strides: tuple[int, ...], owner: Any
) -> AnyArray:
    """An array over memory of the library. The array and all views of it keep `owner` alive."""
    element = numpy_dtype(dtype)
    if not any(strides):
        strides = np.empty(shape, np.dtype((np.void, element.itemsize))).strides
    sizes = [stride * (size - 1) for stride, size in zip(strides, shape, strict=True)]
    if 0 in shape or address is None:
        return np.empty(shape, element)
    memory: Any = (ctypes.c_char * (sum(sizes) + element.itemsize)).from_address(address)
    memory.owner = owner
    return np.ndarray(shape, element, memory, strides=strides)
