"""Arrays for the outputs of a call: y, and the auxiliary outputs (emits) of layers."""

import ctypes

from sequence_layers_runtime import abi, arrays, views
from sequence_layers_runtime.arrays import AnyArray
from sequence_layers_runtime.constants import RunOptions
from sequence_layers_runtime.handles import Handle

# Values and mask by path.
Emits = dict[str, tuple[AnyArray, AnyArray]]

_MAX_PATH = 4096


def new_output(layer: Handle, mode: int, x: abi.Sequence, options: RunOptions) -> abi.Sequence:
    """New arrays for the output of the layer for x."""
    shape = abi.sized(abi.Sequence)
    abi.call(
        'sl_layer_output_shape',
        layer,
        mode,
        ctypes.byref(x),
        ctypes.byref(options.run),
        ctypes.byref(shape),
    )
    return views.new_output(shape)


def emit_shapes(
    layer: Handle, mode: int, x: abi.Sequence, options: RunOptions, state: Handle | None
) -> dict[str, abi.Sequence]:
    """Dtype and dims of each emit by path; with a state, those of its next step."""
    spec = views.channel_spec(tuple(x.dims[2 : x.rank]), arrays.DTYPES[x.dtype])
    run = abi.sized(abi.RunOptions)
    options.put(run)
    run.state = None if state is None else state.pointer
    constants = run.constants, run.num_constants
    count = abi.count('sl_layer_emit_count', layer, ctypes.byref(spec), *constants)
    shapes, path = {}, ctypes.create_string_buffer(_MAX_PATH)
    for index in range(count):
        shape = abi.sized(abi.Sequence)
        abi.call(
            'sl_layer_emit_shape',
            layer,
            mode,
            ctypes.byref(x),
            ctypes.byref(run),
            index,
            path,
            _MAX_PATH,
            ctypes.byref(shape),
        )
        shapes[path.value.decode()] = shape
    return shapes


def put_emits(
    layer: Handle, mode: int, x: abi.Sequence, options: RunOptions, state: Handle | None
) -> Emits:
    """Sets the options so that the next call writes its emits into the returned arrays."""
    shapes = emit_shapes(layer, mode, x, options, state)
    sequences = [views.new_output(shape) for shape in shapes.values()]
    options.emits = (abi.Sequence * len(sequences))(*sequences)
    options.run.emits = ctypes.cast(options.emits, ctypes.c_void_p)
    options.run.num_emits = len(sequences)
    return {path: s.output for path, s in zip(shapes, sequences, strict=True)}
