"""Numbers of steps to fold a graph for, and its constants at other lengths than it was folded for."""

import math
from collections.abc import Mapping

import numpy as np
import onnx

from sequence_layers_import import protos
from sequence_layers_import.folds import Fold, try_fold
from sequence_layers_import.graph_inputs import TimeAxis, fixed_times, sizes_for
from sequence_layers_import.tensors import Tensor

# Times to try, in steps of the input: some graphs need a minimum, some a multiple of their strides, some take few.
TIMES = (48, 24, 960)
LONG_TIMES = (15360, 16000, 96000)
# Numbers of items of the first size and of another batch.
BATCHES = (2, 3)
# Numbers of steps to look up tables of positions for: the largest that the graph takes.
_LONG = (4096, 2048, 1024, 512, 256, 128)
_LONGEST = 8192
# The largest number of steps that windows of all strides fill.
_LONGEST_STRIDE = 20000
# Numbers of steps above the first one that have other remainders by strides.
_MORE_STEPS = (1, 2, 3, 5, 7, 11)


def short_times(model: onnx.ModelProto, axes: Mapping[str, TimeAxis]) -> tuple[int, ...]:
    if any(axis.batch == axis.time is not None for axis in axes.values()):
        return (2,)
    # First those with two windows of all strides at least, so that what has steps has other numbers of them for other
    # lengths, and of which the windows are full, also with half as many steps more.
    two = 2 * total_stride(model)
    more = (2 * two,) if 2 < two <= _LONGEST_STRIDE else ()
    times = sorted((*TIMES, *more), key=lambda time: (time < two, time % two > 0))
    return (*fixed_times(model, axes), *times)


def total_stride(model: onnx.ModelProto) -> int:
    """A number of steps that windows of all strides over one axis fill, one after the other."""
    total, strides = 1, dict[str, int]()
    for node in model.graph.node:
        stride = max((max(a.ints) for a in node.attribute if a.name == 'strides'), default=1)
        made = math.lcm(*(strides.get(name, 1) for name in node.input))
        if node.op_type == 'ConvTranspose':
            made = made // stride if made % stride == 0 else made
        else:
            made *= stride
        strides |= dict.fromkeys(node.output, made)
        total = math.lcm(total, made)
    return total


class Lengths:
    """Constants for other numbers of steps than the three sizes have."""

    def __init__(
        self, model: onnx.ModelProto, axes: Mapping[str, TimeAxis], time: int, max_steps: int,
        example: int,
    ):  # fmt: skip
        self._model, self._axes, self.time = model, axes, time
        self.max_steps = max_steps
        # Large numbers of steps that the graph may take, such as the sizes of tables of its own.
        sizes = {size for tensor in model.graph.initializer for size in tensor.dims[:2]}
        known = {size for size in (*sizes, example) if 2 * time < size <= _LONGEST}
        found: list[int] = []
        for steps in sorted(known | set(_LONG), reverse=True):
            steps = min(steps, max_steps) if max_steps else steps
            found += [steps, steps - steps % time]
        self.many = list(dict.fromkeys(found))
        # Windows of all strides are full with the first of these numbers, and have one step of their own with the second.
        self.total_stride = total = total_stride(model)
        full = [-(-time // total) * total] if total <= _LONGEST_STRIDE else []
        self.others = [*full, *(steps + 1 for steps in full), *(time + n for n in _MORE_STEPS)]
        self._known: dict[tuple[str, int], np.ndarray | None] = {}

    def computes(self, name: str) -> bool:
        """Whether nodes of the graph make a tensor."""
        made = (n for n in self._model.graph.node if name in n.output)
        return any(node.op_type != 'Constant' for node in made)

    def constant(self, tensor: Tensor, steps: int) -> np.ndarray | None:
        """A constant, if the graph takes so many steps."""
        key = tensor.name, steps
        if key not in self._known:
            folded = self._fold(_up_to(self._model, tensor), steps)
            self._known[key] = folded.constants.get(tensor.name) if folded else None
        return self._known[key]

    def fold(self, steps: int) -> Fold | None:
        """The whole graph, if it takes so many steps."""
        return self._fold(self._model, steps)

    def _fold(self, model: onnx.ModelProto, steps: int) -> Fold | None:
        return try_fold(model, self._axes, sizes_for(self._model, self._axes, BATCHES[0], steps))


def _up_to(model: onnx.ModelProto, tensor: Tensor) -> onnx.ModelProto:
    """The nodes that make a tensor: folding the others for many steps would take long."""
    kept, _ = protos.makers(model.graph, tensor.name)
    if any(map(protos.has_bodies, model.graph.node)) or not kept:
        return model
    kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
    output = onnx.helper.make_tensor_value_info(tensor.name, kind, None)
    return protos.part_of(model, kept, [output])
