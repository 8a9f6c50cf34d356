"""Folds graphs by onnxruntime in a process of its own, which a crash of onnxruntime ends in place of ours.

The process reads pairs of files, a line of JSON for each: the graph with fixed sizes and where to write the
folded one. It answers each by a line of JSON: an error, or nothing.
"""

import atexit
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import onnx
import onnxruntime

from sequence_layers_import import branches, contrib, expansions, protos
from sequence_layers_import.refusal import Refusal

# Rewritings that make nodes harder to read: products with biases, moved transpositions, padding whose size depends on the length.
_NOT_WANTED = ('MatMulAddFusion', 'TransposeOptimizer', 'ReshapeFusion', 'Pad_Fusion')


def quiet_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return options


def _fold(source: str, target: str) -> None:
    model = onnx.load(source)
    if branches.has_choices(model):
        onnx.save(branches.inline(model, quiet_options()), source)
    options = quiet_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = target
    onnxruntime.InferenceSession(
        source, options, providers=['CPUExecutionProvider'], disabled_optimizers=list(_NOT_WANTED)
    )
    folded = _without_constant_nodes(
        contrib.expand(expansions.without_sequences(onnx.load(target)))
    )
    onnx.save(onnx.shape_inference.infer_shapes(folded), target)


def _without_constant_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Computes what onnxruntime leaves of constants, as selections by indices and quantized weights."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == 'Constant'}
    found: list[onnx.NodeProto] = []
    for node in graph.node:
        read = [name for name in node.input if name]
        if read and constants.issuperset(read) and not protos.has_bodies(node):
            found.append(node)
            constants.update(node.output)
    if not found:
        return model
    sources = [node for node in graph.node if node.op_type == 'Constant']
    names = [name for node in found for name in node.output if name]
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    made = protos.part_of(model, [*sources, *found], outputs)
    made.graph.ClearField('input')
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), quiet_options(), providers=['CPUExecutionProvider']
    )
    for name, array in zip(names, session.run(names, {}), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for node in found:
        graph.node.remove(node)
    return model


def _serve() -> None:
    for line in sys.stdin:
        try:
            _fold(*json.loads(line))
            error = ''
        except Exception as failure:  # onnxruntime raises anything
            error = str(failure) or type(failure).__name__
        print(json.dumps(error), flush=True)


class Folder:
    """The process, which starts with the first graph and anew after a crash."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def _started(self) -> subprocess.Popen[str]:
        if self.process is None:
            places = [str(pathlib.Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')]
            self.process = subprocess.Popen(
                [sys.executable, '-P', '-m', __spec__.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | {'PYTHONPATH': os.pathsep.join(p for p in places if p)},
            )
        return self.process

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()
            self.process = None

    def _ask(self, source: pathlib.Path, target: pathlib.Path) -> str:
        process = self._started()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps([str(source), str(target)]) + '\n')
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ''
        return answer

    def fold(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The folded graph with the shapes of its tensors.

        Raises:
          Refusal: onnxruntime crashed.
          ValueError: onnxruntime refuses the graph.
        """
        with tempfile.TemporaryDirectory() as folder:
            source, target = (pathlib.Path(folder) / f'{n}.onnx' for n in ('graph', 'folded'))
            onnx.save(model, source)
            answer = self._ask(source, target)
            if not answer:
                raise self._crash()
            if error := json.loads(answer):
                raise ValueError(error)
            return onnx.load(target)

    def _crash(self) -> Refusal:
        assert self.process is not None
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                if pipe:
                    pipe.close()
            except BrokenPipeError:
                pass  # the process ended before it read everything
        self.process = None
        how = signal.Signals(-status).name if status < 0 else f'status {status}'
        return Refusal(f'onnxruntime crashes on the graph ({how})', 'try other sizes by --steps')


FOLDER = Folder()
atexit.register(FOLDER.close)

if __name__ == '__main__':
    _serve()
