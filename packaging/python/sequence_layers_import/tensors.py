"""Tensors of a graph with the roles of their axes, and its nodes."""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

# Operators that give elements other axes, in the same order.
RESHAPES = ('Reshape', 'Flatten', 'Squeeze', 'Unsqueeze')
# The dtypes of layers by the kinds of NumPy's.
DTYPES = {'f': 'float32', 'i': 'int32', 'u': 'int32', 'b': 'bool'}


class Role(enum.Enum):
    """The meaning of an axis of a tensor."""

    BATCH = 'batch'
    TIME = 'time'
    STEPS = 'batch and time'  # each item of the batch is a step
    CHANNEL = 'channel'


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `shape` is that of the first size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    roles: tuple[Role, ...]

    def axes(self, *roles: Role) -> tuple[int, ...]:
        return tuple(i for i, role in enumerate(self.roles) if role in roles)

    @property
    def channel_axes(self) -> tuple[int, ...]:
        return self.axes(Role.CHANNEL)

    @property
    def is_timed(self) -> bool:
        return bool(self.axes(Role.TIME, Role.STEPS))

    def sizes(self, axes: Sequence[int]) -> list[int]:
        return [self.shape[axis] for axis in axes]

    def of_rank(self, rank: int) -> 'Tensor':
        """The tensor with the axes of size 1 that broadcasting adds at its start."""
        by = rank - len(self.shape)
        shape, roles = (1,) * by + self.shape, (Role.CHANNEL,) * by + self.roles
        return dataclasses.replace(self, shape=shape, roles=roles)

    def resized(self, axis: int, size: int) -> 'Tensor':
        return dataclasses.replace(self, shape=(*self.shape[:axis], size, *self.shape[axis + 1 :]))


@dataclasses.dataclass
class Node:
    """An operation; `inputs` has empty names for optional inputs that are not given."""

    name: str
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)
