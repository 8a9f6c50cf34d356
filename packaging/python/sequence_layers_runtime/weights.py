"""Weights that are given from memory, and those that a custom layer looks up."""

import ctypes
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from sequence_layers_runtime import abi, arrays, views
from sequence_layers_runtime.arrays import AnyArray
from sequence_layers_runtime.handles import Handle

# Arrays by variable path joined by dots, the bytes of a safetensors file, or the path of one.
Weights = Mapping[str, AnyArray] | bytes | str | os.PathLike[str]

_COMPLEX_SUFFIX = '@complex64'


def _array(name: str, values: Any) -> tuple[str, abi.Sequence]:
    """Name and view of a tensor; a complex one is stored as real and imaginary parts."""
    values = np.array(arrays.readable(values, f'the weight {name!r}'), order='C')
    if np.iscomplexobj(values):
        name += _COMPLEX_SUFFIX
        values = values[..., np.newaxis].view(np.float32)
    view = views.borrow(values, None)
    view.is_array = 1
    return name, view


def new(weights: Weights) -> Handle:
    """A set of tensors of the library."""
    pointer = ctypes.c_void_p()
    if isinstance(weights, bytes):
        abi.call('sl_weights_read', weights, len(weights), ctypes.byref(pointer))
    elif isinstance(weights, Mapping):
        abi.call('sl_weights_create', ctypes.byref(pointer))
    else:
        abi.call('sl_weights_open', os.fsencode(weights), ctypes.byref(pointer))
    handle = Handle(pointer, abi.load().sl_weights_free)
    if isinstance(weights, Mapping):
        for name, view in (_array(*item) for item in weights.items()):
            abi.call('sl_weights_add', handle, name.encode(), ctypes.byref(view))
    return handle


class WeightSource:
    """The tensors that belong to a custom layer, while it is made."""

    def __init__(self, pointer: int):
        self._pointer = pointer

    def find(self, name: str, collection: str = 'params') -> AnyArray:
        """A copy of the tensor with that name, such as 'kernel', under the layer's own path.

        Raises:
          SequenceLayersError: There is none.
        """
        tensor = abi.sized(abi.Sequence)
        found = ctypes.byref(tensor)
        abi.call('sl_weight_source_find', self._pointer, collection.encode(), name.encode(), found)
        return views.at(tensor).copy()
