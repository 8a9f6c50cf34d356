"""Constants: named inputs that a model reads besides x."""

import ctypes
import dataclasses
from collections.abc import Mapping
from typing import Any

from sequence_layers_runtime import abi, views
from sequence_layers_runtime.arrays import Array
from sequence_layers_runtime.handles import Handle

# Arrays [batch, time, ...], pairs of such an array and its mask, or instances of Array.
Constants = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ConstantInfo:
    """A constant that a model reads; unknown properties are None, unknown sizes -1."""

    name: str
    layer: str  # the path of the first layer that reads it
    kind: str  # 'sequence', 'array', or 'any' for either
    required: bool
    streamed: bool  # streams take it block by block along with x
    dtype: str | None
    shape: tuple[int, ...] | None  # without batch and, for a sequence, time


def _view(name: str, value: Any) -> abi.Sequence:
    what = f'the constant {name!r}'
    if isinstance(value, Array):
        view = views.view(value.values, what=what)
        view.is_array = 1
        return view
    values, mask = value if isinstance(value, tuple) else (value, None)
    return views.view(values, mask, what=what)


class RunOptions:
    """Options for calls with these constants, whose arrays it keeps alive; `run` is the struct."""

    def __init__(self, constants: Constants | None, state: Handle | None = None):
        self.constants = constants or {}
        self._sequences = [_view(*item) for item in self.constants.items()]
        self._structs = (abi.Constant * len(self.constants))()
        for struct, name, value in zip(self._structs, self.constants, self._sequences, strict=True):
            struct.name = name.encode()
            struct.value = value
        self.emits: ctypes.Array[abi.Sequence] | None = None
        self.run = abi.sized(abi.RunOptions)
        self.put(self.run)
        self.run.state = None if state is None else state.pointer

    def put(self, options: abi.RunOptions | abi.StateOptions | abi.DecoderOptions) -> None:
        """Puts the constants into another struct, which is valid as long as this object."""
        options.constants = ctypes.cast(self._structs, ctypes.c_void_p)
        options.num_constants = len(self._structs)
