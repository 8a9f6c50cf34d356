"""Constants: named inputs that a model reads besides x."""

import ctypes
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sequence_layers_runtime import abi, views
from sequence_layers_runtime.arrays import AnyArray, Array
from sequence_layers_runtime.handles import Handle
from sequence_layers_runtime.profile import Profile

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


def _changed(constants: Constants, change: Callable[[AnyArray], AnyArray]) -> dict[str, Any]:
    """Constants of the same kinds, with the arrays that `change` makes of theirs."""

    def changed(value: Any) -> Any:
        if isinstance(value, Array):
            return Array(change(value.values))
        if isinstance(value, tuple):
            return tuple(None if part is None else change(np.asarray(part)) for part in value)
        return change(np.asarray(value))

    return {name: changed(value) for name, value in constants.items()}


def of_slots(constants: Constants, slots: Sequence[int]) -> dict[str, Any]:
    """The items of constants that go with these slots; all of what has a batch of 1."""
    items = list(slots)
    return _changed(constants, lambda array: array if len(array) == 1 else array[items])


class RunOptions:
    """Options for calls with these constants, whose arrays it keeps alive; `run` is the struct."""

    def __init__(
        self,
        constants: Constants | None,
        state: Handle | None = None,
        profile: Profile | None = None,
    ):
        self.constants = constants or {}
        self.sequences = [_view(*item) for item in self.constants.items()]
        self._structs = (abi.Constant * len(self.constants))()
        for struct, name, value in zip(self._structs, self.constants, self.sequences, strict=True):
            struct.name = name.encode()
            struct.value = value
        self.emits: ctypes.Array[abi.Sequence] | None = None
        self.run = abi.sized(abi.RunOptions)
        self.put(self.run)
        self.run.state = None if state is None else state.pointer
        self._profile = None if profile is None else profile.handle
        self.run.profile = None if self._profile is None else self._profile.pointer

    def put(self, options: abi.RunOptions | abi.StateOptions | abi.DecoderOptions) -> None:
        """Puts the constants into another struct, which is valid as long as this object."""
        options.constants = ctypes.cast(self._structs, ctypes.c_void_p)
        options.num_constants = len(self._structs)


class SlotOptions(RunOptions):
    """Options for calls on some slots of a batch, without new allocations in each."""

    def __init__(self, options: RunOptions, batch: int):
        self._batched: list[tuple[AnyArray, AnyArray, abi.Constant]] = []
        super().__init__(_changed(options.constants, np.array))
        for struct, own, source in zip(
            self._structs, self.sequences, options.sequences, strict=True
        ):
            if own.dims[0] == batch > 1:
                pairs = zip(source.arrays, own.arrays, strict=True)
                self._batched += [
                    (a, b, struct) for a, b in pairs if a is not None and b is not None
                ]

    def take(self, slots: AnyArray) -> None:
        """Copies the items of these slots, for the next call."""
        for source, own, struct in self._batched:
            np.take(source, slots, axis=0, out=own[: len(slots)], mode='clip')
            struct.value.dims[0] = len(slots)
