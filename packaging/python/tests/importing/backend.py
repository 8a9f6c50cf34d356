"""ONNX's own tests of operators, for those that the importer takes.

  python packaging/python/tests/importing/backend.py [part of a name...]
  python packaging/python/tests/importing/backend.py --write docs/importing.md

The second command runs all, which takes minutes, and writes the counts into the page.

Inputs of the first one's shape are inputs of the model, or constants as all others are. Each test runs with
the batch as steps, and with each axis as time, with another axis as batch or none. A test is passed if one of these
was imported, and failed if any of them gives other numbers or shapes than [batch, time, channels...] as the
importer says them.
"""

import collections
import dataclasses
import itertools
import pathlib
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

_TOLERANCE = 1e-4
# The newest opset and version of files that onnxruntime takes.
_NEWEST, _NEWEST_IR = 25, 11
MARK = '<!-- backend -->\n'
_ORDER = ('failed', 'passed', 'refused')


@dataclasses.dataclass(frozen=True)
class Result:
    name: str
    answer: str  # 'passed', 'refused' or 'failed'
    reason: str


def _frozen(model: onnx.ModelProto, arrays: Sequence[np.ndarray], kept: int) -> onnx.ModelProto:
    """The model with the inputs after the first `kept` as constants."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    names = [value.name for value in made.graph.input]
    for name, array in list(zip(names, arrays, strict=False))[kept:]:
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    del made.graph.input[kept:]
    # Version 4 is the first in which constants are no inputs.
    made.ir_version = min(max(made.ir_version, 4), _NEWEST_IR)
    for opset in made.opset_import:
        if opset.domain == '' and opset.version > _NEWEST and _is_older(made):
            opset.version = _NEWEST
    return made


def _is_older(model: onnx.ModelProto) -> bool:
    """Whether the newest opset that onnxruntime takes has the same operators."""
    return all(
        onnx.defs.get_schema(node.op_type).since_version <= _NEWEST for node in model.graph.node
    )


def _close(got: np.ndarray, want: np.ndarray) -> bool:
    peak = float(np.abs(want[np.isfinite(want)]).max(initial=1.0))
    return np.allclose(got, want, rtol=0, atol=_TOLERANCE * peak, equal_nan=True)


def _run(case: Any, kept: int, axes: dict[str, str]) -> Result:
    import sequence_layers_runtime as runtime
    from sequence_layers_import import Refusal, import_graph, verify

    arrays, wanted = case.data_sets[0]
    model = _frozen(case.model, arrays, kept)
    try:
        imported = import_graph(model, **axes)
    except Refusal as refusal:
        failed = refusal.cure == 'report this graph'
        return Result(case.name, 'failed' if failed else 'refused', str(refusal))
    given = {value.name: array for value, array in zip(model.graph.input, arrays, strict=False)}
    try:
        layer = runtime.Layer.create(imported.model.config, imported.model.weights)
        got = verify.run_model(imported, layer, given, False)
    except runtime.SequenceLayersError as error:
        return Result(case.name, 'failed', f'with {axes}: {error}')
    for port, (values, mask), want in zip(imported.outputs, got, wanted, strict=True):
        try:
            expected = port.to_model(np.asarray(want))
        except ValueError as error:
            return Result(case.name, 'failed', f'with {axes}: {error}')
        if port.batch is not None and port.batch == port.time:
            # Batch and time are one axis of this output.
            values = values.reshape(1, -1, *values.shape[2:])
        if np.ndim(want) != port.rank or expected.shape != values.shape or not mask.all():
            return Result(case.name, 'failed', f'with {axes} it has other shapes')
        if not _close(values.astype(np.float64), expected.astype(np.float64)):
            return Result(case.name, 'failed', f'with {axes} it gives other numbers')
    return Result(case.name, 'passed', '')


def _settings(rank: int) -> Iterator[dict[str, str]]:
    """Options of axes: the batch as steps, and each pair of time and batch."""
    yield {}
    for time in range(rank):
        yield {'time_axis': str(time), 'batch_axis': 'none'}
        for batch in range(rank):
            if batch != time:
                yield {'time_axis': str(time), 'batch_axis': str(batch)}


def run_case(case: Any) -> Result:
    arrays = case.data_sets[0][0]
    count = next((i for i, a in enumerate(arrays) if a.shape != arrays[0].shape), len(arrays))
    found = [
        _run(case, kept, axes)
        for kept, axes in itertools.product(dict.fromkeys((1, count)), _settings(arrays[0].ndim))
    ]
    # A refusal for another reason than the axes says most about the operator.
    return min(found, key=lambda result: (_ORDER.index(result.answer), _is_of_axes(result)))


def _is_of_axes(result: Result) -> bool:
    return 'onnxruntime cannot load' in result.reason or '-axis' in result.reason


def cases() -> list[Any]:
    """The tests of one operator that has a layer, which read and make arrays."""
    from onnx.backend.test.case.node import collect_testcases

    from sequence_layers_import.builder import HANDLERS

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        every = collect_testcases(None)
    found = []
    for case in every:
        operators = {node.op_type for node in case.model.graph.node} if case.model else set()
        if len(operators) == 1 and operators <= set(HANDLERS):
            given = [*case.data_sets[0][0], *case.data_sets[0][1]]
            # Sequences, and arrays without elements, are no sequences of ours.
            if all(isinstance(a, np.ndarray) and a.size for a in given):
                found.append(case)
    return found


def quick_cases() -> list[Any]:
    """The first test of each operator."""
    first: dict[str, Any] = {}
    for case in cases():
        first.setdefault(case.model.graph.node[0].op_type, case)
    return list(first.values())


def part(results: Sequence[Result]) -> str:
    """The table of results in the page."""
    count = collections.Counter(result.answer for result in results)
    reasons = collections.Counter(_reason(r) for r in results if r.answer == 'refused')
    rows = [f'| {reason} | {number} |' for reason, number in reasons.most_common()]
    head = f'{count["passed"]} pass, {count["refused"]} are refused, {count["failed"]} fail.'
    return '\n'.join([head, '', '| Reason | Tests |', '|---|---|', *rows])


def _reason(result: Result) -> str:
    """The reason without the names and numbers of one test."""
    operator = re.match(r'(\w+) "[^"]*": ', result.reason)
    if 'onnxruntime cannot load' in result.reason:
        return 'onnxruntime does not load it, or not with another number of steps'
    text = result.reason[operator.end() if operator else 0 :].split('; ')[0]
    text = re.sub(r'\[[^]]*\]', '[...]', re.sub(r'"[^"]*"', '"..."', text))
    return (f'{operator[1]}: ' if operator else '') + re.sub(r'\b\d+(\.\d+)?\b', 'n', text)


def main() -> int:
    wanted = sys.argv[1:]
    page = pathlib.Path(wanted[1]) if wanted[:1] == ['--write'] else None
    found = []
    for case in cases():
        if page is None and wanted and not any(part in case.name for part in wanted):
            continue
        found.append(run_case(case))
        if found[-1].answer != 'passed':
            print(f'{found[-1].answer}: {found[-1].name}: {found[-1].reason}', flush=True)
    print(part(found).splitlines()[0])
    if page is not None:
        text = page.read_text()
        start, end = text.index(MARK) + len(MARK), text.index('\n<!-- end -->', text.index(MARK))
        page.write_text(text[:start] + part(found) + text[end:])
    return 1 if any(result.answer == 'failed' for result in found) else 0


if __name__ == '__main__':
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    sys.exit(main())
