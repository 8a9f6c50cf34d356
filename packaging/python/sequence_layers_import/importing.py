"""Imports a graph, compares the model with the original, and writes it."""

import dataclasses
import json
import math
import pathlib
import subprocess
from collections.abc import Callable, Sequence

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_import import verify
from sequence_layers_import.float64 import Exact
from sequence_layers_import.onnx_model import Imported
from sequence_layers_import.refusal import Refusal, one_line
from sequence_layers_import.verify import Difference, Inputs, Original
from sequence_layers_runtime.tool import find_tool
from sequence_layers_tools import model_directory

# The number of channels above which `sl verify` runs on 2 steps only, as it would take long.
_LARGE = 4096


@dataclasses.dataclass
class Report:
    """Results of comparing a model with its original."""

    differences: list[Difference]
    checks: str = ''  # the last line of `sl verify`
    speed: float = 0.0  # in multiples of the original's
    latency: tuple[int, int] = (0, 0)
    not_streamed: str = ''  # why steps were not compared
    lengths: str = ''  # which lengths the model takes, if not all

    @property
    def largest(self) -> float:
        return max((d.relative for d in self.differences), default=float('inf'))


def make_layer(imported: Imported) -> runtime.Layer:
    try:
        return runtime.Layer.create(imported.model.config, imported.model.weights, threads=1)
    except runtime.SequenceLayersError as error:
        raise Refusal(f'the library refuses the model: {error}', 'report this graph') from error


def steps_to_try(imported: Imported) -> list[int]:
    """Numbers of steps: those that the graph was folded with, one less, and the first prime above them.

    The prime is a multiple of no stride, and of one less the last window lacks but one, so that what depends on the
    length's remainder is found. Graphs with states take whole chunks.
    """
    axes = imported.axes[imported.input.name]
    if axes.time is None or axes.batch == axes.time:
        return [2, 3, 5]
    shapes = imported.graph.shapes(imported.input.name)
    folded = sorted({shape[axes.time] for shape in shapes})
    if imported.states:
        return folded
    return [*folded, _prime_above(folded[-1]), folded[-1] - 1]


def _prime_above(number: int) -> int:
    while True:
        number += 1
        if all(number % divisor for divisor in range(2, math.isqrt(number) + 1)):
            return number


def compare(
    imported: Imported, original: Original | Exact, layer: runtime.Layer, data: Sequence[Inputs]
) -> Report:
    """Runs random and given data through both."""
    report = Report([])
    axis = imported.axes[imported.input.name].batch
    batch = 1 if axis is None else imported.graph.shapes(imported.input.name)[0][axis]
    runs = [
        verify.random_inputs(imported, batch if i % 2 else 1, steps, seed=i)
        for i, steps in enumerate(steps_to_try(imported))
    ]
    for inputs in [*runs, *data]:
        try:
            want = original.run(inputs)
        except Exception as error:  # onnxruntime raises anything
            if any(inputs is run for run in runs[1:]):
                continue  # a graph of one item, or of multiples of its strides
            raise Refusal(
                f'the original does not run: {one_line(error)[:300]}',
                'give inputs that it takes by --data',
            ) from error
        is_own = any(inputs is run for run in runs)
        try:
            found = verify.compare(imported, layer, inputs, want, streamed=False)
        except runtime.SequenceLayersError as error:
            if is_own and (text := _whole_windows(imported, inputs)):
                report.lengths = text
                continue
            raise Refusal(
                f'the library cannot run the model: {error}', 'report this graph'
            ) from error
        if is_own and any(d.steps != d.wanted_steps for d in found):
            if text := _whole_windows(imported, inputs):
                report.lengths = text
                continue
        report.differences += found
        try:
            report.differences += verify.compare(imported, layer, inputs, want, streamed=True)
        except runtime.SequenceLayersError as error:
            report.not_streamed = str(error)
    report.latency = (layer.input_latency, layer.output_latency)
    return report


def _whole_windows(imported: Imported, inputs: Inputs) -> str:
    """Which lengths the model takes, if a cut of time leaves another number of steps out at that of these inputs, or ''.

    It cuts one branch to the length of another, which lacks another part of a window.
    """
    graph, port = imported.graph, imported.input
    if port.time is None or port.time == port.batch:
        return ''
    total, steps = graph.total_stride, inputs[port.name].shape[port.time]
    lengths = [shape[port.time] for shape in graph.shapes(port.name)]
    if steps % total == 0 or any(length % total for length in lengths):
        return ''
    node = graph.uneven_cut(steps)
    if node is None:
        return ''
    return (
        f'multiples of {total} steps only: {node.operator} "{node.name}" cuts another number of steps '
        f'at {steps} steps; pad the input'
    )


def measure_speed(
    imported: Imported, original: Original, layer: runtime.Layer, seconds: float
) -> float:
    """The speed of whole runs on one thread, relative to the original's."""
    inputs = verify.random_inputs(imported, 1, steps_to_try(imported)[1])
    x, constants = imported.to_model(inputs), imported.constants_of(inputs)
    ours = layer.applier(x).run if not constants else lambda: layer.apply(x, constants=constants)
    return verify.speed_ratio(lambda: original.run(inputs), ours, seconds)


def check_contract(imported: Imported, directory: pathlib.Path) -> str:
    """Runs `sl verify`, and returns its last line."""
    tool = find_tool()
    if tool is None:
        return 'not run: no sl tool, which the wheel has; SEQUENCE_LAYERS_TOOL may name one'
    command = [tool, 'verify', str(directory), '--random']
    command += ['--max-int', str(verify.index_limit(imported))]
    arrays = imported.constants_of(verify.random_inputs(imported, 1, 1))
    for name, array in arrays.items():
        is_sequence = isinstance(array, np.ndarray)
        sizes = array.shape[1:] if is_sequence else array.values.shape[1:]
        command += ['--constant', f'{name}={",".join(map(str, sizes))}']
    if math.prod(imported.channel_shape) > _LARGE:
        command += ['--batch', '2', '--time', '2']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode:
        raise Refusal(f'sl verify fails: {lines[-1] if lines else ""}', 'report this graph')
    return lines[-1]


def write(
    imported: Imported, out: str | pathlib.Path, check: Callable[[pathlib.Path], None] | None = None
) -> None:
    """Writes the model directory, if `check` raises nothing."""
    emits = {port.name: port.emit for port in imported.outputs}
    inputs = {port.name: list(port.shape) for port in imported.inputs}
    model_directory.write(
        out,
        imported.model.config,
        imported.model.weights,
        channel_shape=imported.channel_shape,
        dtype=imported.model_dtype,
        metadata={'imported_inputs': json.dumps(inputs), 'imported_outputs': json.dumps(emits)},
        check=check,
    )


def run(
    imported: Imported, out: str | pathlib.Path | None, *, data: Sequence[Inputs] = (),
    tolerance: float = 1e-4, force: bool = False, streaming: bool = False, seconds: float = 1.0,
    exact: bool = False,
) -> Report:  # fmt: skip
    """Compares, checks and writes a model.

    Args:
      imported: The result of `import_graph` or `import_file`.
      out: The model directory; None to compare only.
      data: Inputs of the graph by name, beside random ones.
      tolerance: The largest difference, relative to the peak of the original's output.
      force: Whether to write what does not agree.
      streaming: Whether a model that cannot step is an error.
      seconds: How long to measure the speed.
      exact: Whether the model is compared with the graph in float64, in place of onnxruntime's run.

    Raises:
      Refusal: The model does not agree, so nothing was written.
    """
    layer, original = make_layer(imported), Original(imported)
    report = compare(imported, Exact(imported) if exact else original, layer, data)
    problems = []
    if problem := _disagreement(report, tolerance):
        problems.append(problem)
    if streaming and report.not_streamed:
        problems.append(f'the model cannot step: {report.not_streamed}')
    if problems and not force:
        raise Refusal('; '.join(problems), 'nothing was written: --force writes it anyway')

    def check(directory: pathlib.Path) -> None:
        try:
            report.checks = check_contract(imported, directory)
        except Refusal as refusal:
            if not report.lengths:
                raise
            raise Refusal(
                f'{refusal.reason}, at other lengths: it takes {report.lengths}',
                'export it without this cut and the padding before it',
            ) from refusal

    if out is not None:
        write(imported, out, None if force else check)
    if seconds:
        report.speed = measure_speed(imported, original, layer, seconds)
    return report


def _disagreement(report: Report, tolerance: float) -> str:
    """Why the model does not agree with the original, if so."""
    if report.largest <= tolerance:
        return ''
    worst = max(report.differences, key=lambda d: d.relative)
    if any(not math.isfinite(d.peak) for d in report.differences):
        return 'the original itself gives numbers that are not finite for random inputs'
    if worst.steps != worst.wanted_steps:
        return f'the model gives {worst.steps} steps of {worst.output} in place of {worst.wanted_steps}'
    return f'the model differs by {worst.relative:.1e} of the peak, more than {tolerance:.0e}'


def read_data(imported: Imported, path: pathlib.Path) -> Inputs:
    """Arrays of a .npy or .npz file, by the names of inputs."""
    loaded = np.load(path)
    if isinstance(loaded, np.ndarray):
        return {imported.input.name: loaded}
    return {name: loaded[name] for name in loaded.files}
