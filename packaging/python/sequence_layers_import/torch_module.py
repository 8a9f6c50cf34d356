"""Imports PyTorch modules, by PyTorch's own exporters to ONNX."""

import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from sequence_layers_import.onnx_model import Imported, import_graph
from sequence_layers_import.refusal import Refusal, one_line

_OPSET = 17
Example = Mapping[str, np.ndarray]  # inputs by name


def load_torch() -> Any:
    # The libraries of CUDA that stand beside PyTorch may lack symbols, of functions that are never called.
    sys.setdlopenflags(os.RTLD_LAZY)
    try:
        torch = importlib.import_module('torch')
    except ImportError as error:
        raise Refusal(
            f'PyTorch cannot be loaded: {error}', 'install requirements-import.txt'
        ) from error
    # The exporters do not know the operators of attention's and encoder layers' inference.
    torch.backends.mha.set_fastpath_enabled(False)
    if not torch.cuda.is_available():
        # Transformers calls it without asking, and it crashes where those libraries are missing.
        torch.cuda.is_current_stream_capturing = lambda: False
    return torch


def _output_names(count: int) -> list[str]:
    return [f'y{i or ""}' for i in range(count)]


def _legacy(
    torch: Any, module: Any, inputs: dict[str, Any], axes: dict[str, dict[int, str]], count: int
) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        module, tuple(inputs.values()), file, dynamo=False, opset_version=_OPSET,
        input_names=list(inputs), output_names=_output_names(count), dynamic_axes=axes,
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def _dynamo(
    torch: Any, module: Any, inputs: dict[str, Any], axes: dict[str, dict[int, str]], count: int
) -> onnx.ModelProto:
    shapes = tuple(dict.fromkeys(axes[name], torch.export.Dim.DYNAMIC) for name in inputs)
    program = torch.onnx.export(
        module, tuple(inputs.values()), dynamo=True, verbose=False, dynamic_shapes=shapes,
        input_names=list(inputs), output_names=_output_names(count),
    )  # fmt: skip
    model: onnx.ModelProto = program.model_proto
    return model


def _open_axes(
    inputs: Example, time_axis: int | None, constants: Sequence[str], sources: Sequence[str]
) -> dict[str, dict[int, str]]:
    """The open axes of each input: batch (axis 0) and time, which sources have of their own and other constants not."""
    found = {}
    for name, array in inputs.items():
        has_time = time_axis is not None and name not in constants
        time = {time_axis % array.ndim: 'time'} if has_time and time_axis is not None else {}
        found[name] = {0: 'batch'} | ({1: f'{name}_time'} if name in sources else time)
    return found


def _sources(inputs: Example, constants: Sequence[str]) -> list[str]:
    """Constants that may be sequences of their own, [batch, time, channels], as an encoder's output."""
    batch = next(iter(inputs.values())).shape[0]
    return [n for n in constants if inputs[n].ndim == 3 and inputs[n].shape[0] == batch]


def export(
    module: Any, inputs: Example, time_axis: int | None, constants: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Iterator[onnx.ModelProto]:  # fmt: skip
    """The graphs of a module with these inputs, whose batch (axis 0) and time are open, as both exporters write them.

    Raises:
      Refusal: Neither exporter can, or a graph gives other numbers than the module.
    """
    torch = load_torch()
    axes, errors = _open_axes(inputs, time_axis, constants, sources), []
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        made = module.eval()(*tensors.values())
    want = [part.numpy() for part in (made if isinstance(made, (tuple, list)) else (made,))]
    exporters = (_legacy, _dynamo)
    for exporter in exporters:
        try:
            with warnings.catch_warnings(), torch.inference_mode(exporter is _legacy):
                warnings.simplefilter('ignore')
                model = exporter(torch, module, tensors, axes, len(want))
        except Exception as error:  # exporters raise anything
            errors.append(one_line(error)[:150])
            continue
        _check(inputs, want, model)
        yield model
    if len(errors) == len(exporters):
        raise Refusal(
            f'PyTorch exports no graph: {"; ".join(errors)}', 'export it by torch.onnx.export'
        )


def _check(inputs: Example, want: Sequence[np.ndarray], model: onnx.ModelProto) -> None:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    got = session.run(None, {i.name: inputs[i.name] for i in session.get_inputs()})
    for made, array in zip(got, want, strict=True):
        peak = float(np.abs(array).max())
        if made.shape != array.shape or not np.abs(made - array).max() <= 1e-4 * peak:
            raise Refusal(
                'the exported graph gives other numbers than the module', 'export it by hand'
            )


def import_module(
    module: Any, x: np.ndarray | Example, *, time_axis: int | None = None, **options: Any
) -> Imported:
    """Imports a module for which `x` is an example with at least two items of batch and time.

    Several inputs are a dict of arrays, in the order of the module's arguments. Without a time axis each
    item of the batch is a step. Options are those of `import_graph`.
    """
    inputs = x if isinstance(x, Mapping) else {'x': np.asarray(x)}
    axis = None if time_axis is None else str(time_axis)
    constants, refusal = options.get('constants', ()), None
    sources = _sources(inputs, constants)
    for opened in [sources, []] if sources else [[]]:
        try:
            for model in export(module, inputs, time_axis, constants, opened):
                try:
                    return import_graph(model, time_axis=axis, **options)
                except Refusal as other:
                    refusal = refusal or other
        except Refusal as other:
            refusal = refusal or other
    assert refusal is not None
    raise refusal


def import_factory(path: str, **options: Any) -> Imported:
    """Imports what the function `package.module:function` returns: a module and example inputs."""
    package, _, function = path.partition(':')
    try:
        module, x = getattr(importlib.import_module(package), function)()
    except (ImportError, AttributeError) as error:
        raise Refusal(
            f'{path} cannot be loaded: {error}', 'check the name and PYTHONPATH'
        ) from error
    time_axis = options.pop('time_axis', None)
    axis = None if time_axis is None else int(time_axis)
    return import_module(module, x, time_axis=axis, **options)
