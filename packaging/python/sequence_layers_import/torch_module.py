"""Imports PyTorch modules, by PyTorch's own exporters to ONNX."""

import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from sequence_layers_import.onnx_model import Imported, import_graph
from sequence_layers_import.refusal import Refusal

_OPSET = 17


def _torch() -> Any:
    # The libraries of CUDA that stand beside PyTorch may lack symbols, of functions that are never called.
    sys.setdlopenflags(os.RTLD_LAZY)
    try:
        return importlib.import_module('torch')
    except ImportError as error:
        raise Refusal(
            f'PyTorch cannot be loaded: {error}', 'install requirements-import.txt'
        ) from error


def _legacy(torch: Any, module: Any, x: Any, axes: dict[int, str]) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        module, (x,), file, dynamo=False, opset_version=_OPSET, input_names=['x'],
        dynamic_axes={'x': axes},
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def _dynamo(torch: Any, module: Any, x: Any, axes: dict[int, str]) -> onnx.ModelProto:
    shapes = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)
    program = torch.onnx.export(module, (x,), dynamo=True, verbose=False, dynamic_shapes=shapes)
    model: onnx.ModelProto = program.model_proto
    return model


def export(module: Any, x: np.ndarray, time_axis: int | None) -> onnx.ModelProto:
    """The graph of a module of one input, whose batch (axis 0) and time are open.

    Raises:
      Refusal: Neither exporter can, or the graph gives other numbers than the module.
    """
    torch = _torch()
    axes = {0: 'batch'} | ({} if time_axis is None else {time_axis % x.ndim: 'time'})
    errors = []
    for exporter in (_legacy, _dynamo):
        try:
            with warnings.catch_warnings(), torch.inference_mode(exporter is _legacy):
                warnings.simplefilter('ignore')
                model = exporter(torch, module.eval(), torch.from_numpy(x), axes)
        except Exception as error:  # exporters raise anything
            errors.append(' '.join(str(error).split())[:150])
            continue
        _check(torch, module, x, model)
        return model
    raise Refusal(
        f'PyTorch exports no graph: {"; ".join(errors)}', 'export it by torch.onnx.export'
    )


def _check(torch: Any, module: Any, x: np.ndarray, model: onnx.ModelProto) -> None:
    with torch.inference_mode():
        made = module(torch.from_numpy(x))
    want = (made[0] if isinstance(made, (tuple, list)) else made).numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    got = session.run(None, {session.get_inputs()[0].name: x})[0]
    peak = float(np.abs(want).max())
    if got.shape != want.shape or not np.abs(got - want).max() <= 1e-4 * peak:
        raise Refusal('the exported graph gives other numbers than the module', 'export it by hand')


def import_module(
    module: Any, x: np.ndarray, *, time_axis: int | None = None, name: str = 'model',
    outputs: Sequence[str] = (), streaming: bool = False,
) -> Imported:  # fmt: skip
    """Imports a module of one input, for which `x` is an example with at least two items of batch and time.

    Without a time axis each item of the batch is a step.
    """
    model = export(module, x, time_axis)
    axis = None if time_axis is None else str(time_axis)
    return import_graph(model, name=name, time_axis=axis, outputs=outputs, streaming=streaming)


def import_factory(path: str, **options: Any) -> Imported:
    """Imports what the function `package.module:function` returns: a module and an example input."""
    package, _, function = path.partition(':')
    try:
        module, x = getattr(importlib.import_module(package), function)()
    except (ImportError, AttributeError) as error:
        raise Refusal(
            f'{path} cannot be loaded: {error}', 'check the name and PYTHONPATH'
        ) from error
    time_axis = options.pop('time_axis', None)
    axis = None if time_axis is None else int(time_axis)
    return import_module(module, np.asarray(x), time_axis=axis, **options)
