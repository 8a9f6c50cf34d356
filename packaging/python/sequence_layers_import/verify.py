"""Runs the original and the model on the same data, and compares what they give."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime

import sequence_layers_runtime as runtime
from sequence_layers_import import branches, folding
from sequence_layers_import.graph_inputs import sizes_for
from sequence_layers_import.onnx_model import Imported, Port

Inputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far an output is from the original's, relative to the original's peak."""

    output: str
    run: str  # 'whole' or 'streamed'
    largest: float
    peak: float
    steps: int  # that the model gives
    wanted_steps: int = 0  # that the original gives

    @property
    def relative(self) -> float:
        return self.largest / max(self.peak, 1e-30)


class Original:
    """The graph in onnxruntime, on one thread."""

    def __init__(self, imported: Imported):
        options = folding.quiet_options()
        options.inter_op_num_threads = 1
        # Weights of 8 bits are multiplied as the graph says: in float32.
        options.add_session_config_entry('session.disable_quant_qdq', '1')
        self._session = onnxruntime.InferenceSession(
            _with_open_choices(imported).SerializeToString(),
            options,
            providers=['CPUExecutionProvider'],
        )
        self._names = [port.name for port in imported.outputs]
        self._imported = imported
        self._chunk = chunk_of(imported)

    def run(self, inputs: Inputs) -> list[np.ndarray]:
        """The outputs; of a graph with states, chunk after chunk."""
        states = self._imported.states
        if not states:
            return self._session.run(self._names, dict(inputs))  # type: ignore[no-any-return]
        kept = self._zeros(inputs)
        made = []
        for chunk in self._chunks(inputs):
            found = self._session.run([*self._names, *states.values()], chunk | kept)
            kept = dict(zip(states, found[len(self._names) :], strict=True))
            made.append(found)
        return [
            parts[-1] if port.time is None else np.concatenate(parts, axis=port.time)
            for port, parts in zip(self._imported.outputs, zip(*made, strict=True), strict=False)
        ]

    def _zeros(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """The states at the start."""
        port = self._imported.input
        batch = 1
        if port.batch is not None and port.batch != port.time:
            batch = inputs[port.name].shape[port.batch]
        sizes = sizes_for(self._imported.original, self._imported.axes, batch, 1)
        kinds = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in self._imported.original.graph.input
        }
        return {name: np.zeros(sizes[name], kinds[name]) for name in self._imported.states}

    def _chunks(self, inputs: Inputs) -> Iterator[dict[str, np.ndarray]]:
        axes = self._imported.axes
        times = {name: axes[name].time or 0 for name in inputs}
        first = self._imported.input.name
        is_growing = any(axis.grows is not None for axis in axes.values())
        for start in range(0, inputs[first].shape[times[first]], self._chunk):
            stop = start + self._chunk
            # The mask of a graph with caches has their steps too.
            begins = {n: 0 if is_growing and axes[n].is_mask else start for n in inputs}
            yield {
                n: x[(slice(None),) * times[n] + (slice(begins[n], stop),)]
                for n, x in inputs.items()
            }


def _with_open_choices(imported: Imported) -> onnx.ModelProto:
    """The original, whose fixed inputs can be given if it has choices: onnxruntime crashes where it folds nested ones."""
    if not branches.has_choices(imported.original):
        return imported.original
    made = onnx.ModelProto()
    made.CopyFrom(imported.original)
    known = {value.name for value in made.graph.input}
    for value in made.graph.input:
        # The branch that is not taken may be for other sizes.
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    for tensor in imported.original.graph.initializer:
        if tensor.name in imported.fixed and tensor.name not in known:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            made.graph.input.append(value)
    return made


def chunk_of(imported: Imported) -> int:
    """The steps of a chunk of a graph with states: what the numbers of steps that it was folded with share."""
    port = imported.input
    if port.time is None or port.batch == port.time:
        return 1
    return math.gcd(*(shape[port.time] for shape in imported.graph.shapes(port.name)))


def random_inputs(imported: Imported, batch: int, steps: int, seed: int = 0) -> Inputs:
    """Random values of the shapes and dtypes of the graph's inputs."""
    rng = np.random.default_rng(seed)
    sizes = sizes_for(imported.original, imported.axes, batch, steps)
    limit = index_limit(imported)
    arrays: dict[str, np.ndarray] = {}
    read = [*(port.name for port in imported.inputs), *imported.constants]
    for name, shape in sizes.items():
        if imported.axes[name].is_mask:
            arrays[name] = _random_mask(imported, name, shape, rng)
            continue
        if name not in read:
            continue
        tensor = imported.graph.tensors.get(name)
        kind = np.dtype(np.float32) if tensor is None else tensor.dtype
        if kind.kind == 'f':
            arrays[name] = rng.standard_normal(shape).astype(kind)
        else:
            arrays[name] = rng.integers(0, limit, shape).astype(kind)
    return arrays


def _random_mask(
    imported: Imported, name: str, shape: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Ones for the valid steps of sequences of random lengths, of which the first is the longest."""
    axis = imported.axes[name]
    assert axis.time is not None
    steps, count = shape[axis.time], 1 if axis.batch is None else shape[axis.batch]
    lengths = np.concatenate([[steps], rng.integers(1, steps + 1, count - 1)])
    valid = np.arange(steps) < lengths[:, np.newaxis]
    array = valid if axis.batch is not None and axis.batch < axis.time else valid.T
    kind = next(v for v in imported.original.graph.input if v.name == name).type.tensor_type
    return array.reshape(shape).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))


def valid_steps(imported: Imported, inputs: Inputs) -> np.ndarray | None:
    """The mask [batch, time] that the inputs have, if any."""
    for name, axis in imported.axes.items():
        if axis.is_mask and axis.time is not None:
            array = inputs[name].astype(bool)
            swapped = axis.batch is None or axis.batch > axis.time
            return array.reshape(array.shape[axis.time], -1).T if swapped else array
    return None


def index_limit(imported: Imported) -> int:
    """How many rows the smallest table has that integers look up."""
    graph = imported.graph
    rows = [
        graph.tensors[node.inputs[0]].shape[0]
        for node in graph.nodes
        if node.operator == 'Gather' and graph.is_constant(node.inputs[0])
    ]
    # A comparison of integers with 0, 1, 2... is a look-up in a table of as many rows.
    rows += [
        graph.tensors[name].shape[-1]
        for node in graph.nodes
        for name in node.inputs
        if node.operator == 'Equal' and graph.is_constant(name) and graph.tensors[name].shape
    ]
    return min(rows, default=2)


def run_model(
    imported: Imported, layer: runtime.Layer, inputs: Inputs, streamed: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(values, mask) of each output."""
    x, valid = imported.to_model(inputs), valid_steps(imported, inputs)
    constants = imported.constants_of(inputs)
    if streamed:
        y = layer.stream(x, valid, constants=constants)
        return [y]
    if len(imported.outputs) == 1:
        return [layer.apply(x, valid, constants=constants)]
    values, mask, emits = layer.apply_with_emits(x, valid, constants=constants)
    return [(values, mask), *(emits[port.emit] for port in imported.outputs[1:])]


def compare(
    imported: Imported, layer: runtime.Layer, inputs: Inputs, want: list[np.ndarray], *,
    streamed: bool,
) -> list[Difference]:  # fmt: skip
    """The difference of each output; streams are compared in the first only."""
    got, valid = run_model(imported, layer, inputs, streamed), valid_steps(imported, inputs)
    run = 'streamed' if streamed else 'whole'
    return [
        _difference(port, run, values, mask, array, valid)
        for port, (values, mask), array in zip(imported.outputs, got, want, strict=False)
    ]


def _difference(
    port: Port, run: str, values: np.ndarray, mask: np.ndarray, want: np.ndarray,
    valid: np.ndarray | None,
) -> Difference:  # fmt: skip
    expected = port.to_model(want)
    if len(expected) != len(values):
        # The graph has batch and time as one axis here.
        expected = expected.reshape(len(values), -1, *expected.shape[2:])
    steps = expected.shape[1]
    if port.time is None and values.shape[1] > 1:
        # The last valid step of a running value is that of the whole sequence.
        last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
        rows = np.arange(len(values))
        values, mask = values[rows, last][:, np.newaxis], mask[rows, last][:, np.newaxis]
    made = int(mask.sum(axis=1).max()) if mask.size else 0
    wanted = _wanted_mask(port, expected, mask, valid)
    peak = float(np.abs(expected[wanted]).max()) if wanted.any() and expected.size else 0.0
    if made != steps or values.shape[1] < steps or (mask[:, :steps] != wanted).any():
        return Difference(port.name, run, float('inf'), peak, made, steps)
    difference = np.abs(values[:, :steps].astype(np.float64) - expected)[wanted]
    largest = float(difference.max()) if difference.size else 0.0
    return Difference(
        port.name, run, largest if largest == largest else float('inf'), peak, made, steps
    )


def _wanted_mask(
    port: Port, expected: np.ndarray, mask: np.ndarray, valid: np.ndarray | None
) -> np.ndarray:
    """The steps of the output that have to be valid: all, or those of the input."""
    batch, steps = expected.shape[:2]
    if valid is None or port.time is None:
        return np.ones((batch, steps), bool)
    # Where steps are fewer or more than the input's, the library says which are valid.
    return valid if valid.shape[1] == steps else mask[:, :steps]


def speed_ratio(first: Callable[[], object], second: Callable[[], object], seconds: float) -> float:
    """How many times faster the second is, of interleaved runs: the median of the ratios."""
    ratios: list[float] = []
    end = time.perf_counter() + seconds
    for function in (first, second):
        function()
    while len(ratios) < 5 or time.perf_counter() < end:
        times = []
        for function in (first, second):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return float(np.median(ratios))
