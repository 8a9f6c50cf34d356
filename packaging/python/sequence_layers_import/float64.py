"""The graph in float64, by ONNX's reference evaluator: slow, and without float32's rounding."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from sequence_layers_import.onnx_model import Imported


class Exact:
    """`verify.Original` in float64."""

    def __init__(self, imported: Imported):
        self._evaluator = ReferenceEvaluator(_in_float64(imported.original))
        self._names = [port.name for port in imported.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        arrays = {
            name: array.astype(np.float64) if array.dtype == np.float32 else array
            for name, array in inputs.items()
        }
        return [np.asarray(array) for array in self._evaluator.run(self._names, arrays)]


def _in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _convert_graph(made.graph)
    return made


def _convert(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _convert_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _convert(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _convert(attribute.t)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _convert_graph(attribute.g)
            elif node.op_type == 'Cast' and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
