"""Models: their properties, and runs of whole sequences."""

import ctypes
import dataclasses
import json
import math
import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from sequence_layers_runtime import abi, arrays, outputs, streaming, views
from sequence_layers_runtime.arrays import AnyArray
from sequence_layers_runtime.constants import ConstantInfo, Constants, RunOptions
from sequence_layers_runtime.custom import Registry
from sequence_layers_runtime.decoder import Decoder
from sequence_layers_runtime.handles import Closable, Handle
from sequence_layers_runtime.outputs import Emits
from sequence_layers_runtime.pipe import Pipe
from sequence_layers_runtime.profile import Profile
from sequence_layers_runtime.state import State
from sequence_layers_runtime.views import ChannelSpec
from sequence_layers_runtime.weights import Weights
from sequence_layers_runtime.weights import new as new_weights


@dataclasses.dataclass(frozen=True)
class StepDifference:
    """A layer for which steps give other values than whole runs."""

    layer: str  # its path; '' for the model itself
    type: str
    condition: str  # 'always'; 'holes': invalid steps before valid ones; 'padding': of whole runs
    reason: str
    cure: str


_INFINITE = 2**63 - 1
# In the order of the enum sl_matmul_backend.
MATMUL_BACKENDS = ('default', 'own', 'onednn', 'openblas')


class LayerOptions(TypedDict, total=False):
    """How a layer is made.

    Keys:
      threads: How many threads a whole sequence runs on.
      step_threads: How many threads a step with large matrices runs on, the caller's included.
      weight_format: How the weights of matrix products are held: 'float32', 'bfloat16', 'int8' or
        'int4', and exceptions by the names of tensors: 'int8, *.output.kernel=float32'.
      matmul_backend: Computes large products of whole sequences: 'default', 'own', 'onednn' or 'openblas'.
      max_bytes: Maximum for the layer's weights and tables, for each of its states, for each run.
      kv_format: How steps cache the keys and values of attention: 'float32', 'bfloat16' or 'int8'.
      registry: Knows the config's custom layers.
    """

    threads: int
    step_threads: int
    weight_format: str | None
    matmul_backend: str
    max_bytes: int
    kv_format: str | None
    registry: Registry | None


def _struct(options: LayerOptions) -> abi.LayerOptions:
    struct = abi.sized(abi.LayerOptions)
    struct.num_threads = options.get('threads', 0)
    struct.num_step_threads = options.get('step_threads', 0)
    struct.max_bytes = options.get('max_bytes', 0)
    if (weight_format := options.get('weight_format')) is not None:
        struct.weight_format = weight_format.encode()
    if (kv_format := options.get('kv_format')) is not None:
        struct.kv_format = kv_format.encode()
    backend = options.get('matmul_backend', 'default')
    struct.matmul_backend = abi.enum_index(MATMUL_BACKENDS, backend, 'matmul_backend')
    if (registry := options.get('registry')) is not None:
        struct.registry = registry.handle.pointer
    return struct


def _bound(step: int) -> float:
    return step if abs(step) < _INFINITE else math.copysign(math.inf, step)


class Layer(Closable):
    """A model: immutable, shared by any number of states and threads.

    Its memory is freed when the layer and all that was made of it are closed or deleted.
    """

    def __init__(self, handle: ctypes.c_void_p, registry: Registry | None = None):
        self._handle = Handle(handle, abi.load().sl_layer_free)
        if registry is not None:
            # Custom layers are called after the registry is closed.
            self._handle.kept.append(registry.handle)

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        **options: Unpack[LayerOptions],
    ) -> 'Layer':
        """Opens the model of a directory with config.json and model.safetensors.

        Args:
          directory: The model directory.
          **options: See `LayerOptions`.
        """
        path = os.fsencode(directory)
        return cls._make('sl_layer_open', (path,), options)

    @classmethod
    def create(
        cls,
        config: str | Mapping[str, Any],
        weights: Weights | None = None,
        **options: Unpack[LayerOptions],
    ) -> 'Layer':
        """Makes the model of a config, and of weights if it needs some.

        Args:
          config: JSON text, or what it stands for.
          weights: Arrays by name, such as 'params.dense.kernel'; or a safetensors file: its path or
            its bytes.
          **options: See `LayerOptions`.
        """
        text = (config if isinstance(config, str) else json.dumps(config)).encode()
        tensors = None if weights is None else new_weights(weights)
        return cls._make('sl_layer_create', (text, len(text), tensors), options)

    @classmethod
    def _make(cls, name: str, arguments: tuple[Any, ...], options: LayerOptions) -> 'Layer':
        handle = ctypes.c_void_p()
        abi.call(name, *arguments, ctypes.byref(_struct(options)), ctypes.byref(handle))
        return cls(handle, options.get('registry'))

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Writes a weights file whose matrices are packed, as the layer holds them."""
        abi.call('sl_layer_save_weights', self.handle, os.fsencode(path))

    def _integers(self, name: str, count: int = 1) -> list[int]:
        values = [ctypes.c_int64() for _ in range(count)]
        abi.call(name, self.handle, *map(ctypes.byref, values))
        return [v.value for v in values]

    @property
    def block_size(self) -> int:
        return self._integers('sl_layer_block_size')[0]

    @property
    def output_ratio(self) -> Fraction:
        return Fraction(*self._integers('sl_layer_output_ratio', 2))

    @property
    def input_latency(self) -> int:
        return self._integers('sl_layer_input_latency')[0]

    @property
    def output_latency(self) -> int:
        return self._integers('sl_layer_output_latency')[0]

    @property
    def receptive_field(self) -> tuple[float, float] | None:
        """The input steps that can affect an output step, relative to its own; None if none can."""
        exists, start, end = ctypes.c_int32(), ctypes.c_int64(), ctypes.c_int64()
        out = map(ctypes.byref, (exists, start, end))
        abi.call('sl_layer_receptive_field', self.handle, *out)
        return (_bound(start.value), _bound(end.value)) if exists.value else None

    @property
    def supports_step(self) -> bool:
        value = ctypes.c_int32()
        abi.call('sl_layer_supports_step', self.handle, ctypes.byref(value))
        return value.value != 0

    def metadata(self, key: str) -> str | None:
        """The metadata entry of the model's weights with that name, such as 'sample_rate'."""
        value = abi.load().sl_layer_metadata(self.handle, key.encode())
        return None if value is None else value.decode()

    @property
    def sample_rate(self) -> float | None:
        """Input steps per second, if the model states it."""
        value = self.metadata('sample_rate')
        return None if value is None else float(value)

    @property
    def input_spec(self) -> ChannelSpec:
        """Channel shape and dtype of the model's input, if the model states them."""
        spec = abi.sized(abi.ChannelSpec)
        abi.call('sl_layer_input_spec', self.handle, ctypes.byref(spec))
        return views.spec_of(spec)

    def describe(
        self,
        *,
        channel_shape: tuple[int, ...] | None = None,
        dtype: str = 'float32',
        constants: Constants | None = None,
    ) -> dict[str, Any]:
        """Describes the model and its layers: specs, parameters, state, latency, children.

        Args:
          channel_shape: Shape of a step of the input; without it, the model's own input spec.
          dtype: Type of the input, given with a `channel_shape`.
          constants: Constants that the model reads, for their shapes.

        Returns:
          The JSON of sl_layer_describe.
        """
        if channel_shape is None:
            channel_shape, dtype = self.input_spec
        spec, run = views.channel_spec(tuple(channel_shape), dtype), RunOptions(constants)
        arguments = self.handle, ctypes.byref(spec), run.run.constants, run.run.num_constants
        found: dict[str, Any] = json.loads(abi.text('sl_layer_describe', *arguments))
        return found

    @property
    def constants(self) -> list[ConstantInfo]:
        """The constants that the model reads."""
        infos = []
        for index in range(abi.load().sl_layer_constant_count(self.handle)):
            info = abi.sized(abi.ConstantInfo)
            abi.call('sl_layer_constant', self.handle, index, ctypes.byref(info))
            infos.append(
                ConstantInfo(
                    name=info.name.decode(),
                    layer=info.layer.decode(),
                    kind=('any', 'sequence', 'array')[info.kind],
                    required=info.required != 0,
                    streamed=info.streamed != 0,
                    dtype=arrays.DTYPES[info.dtype] if info.dtype >= 0 else None,
                    shape=tuple(info.dims[: info.rank]) if info.rank >= 0 else None,
                )
            )
        return infos

    @property
    def step_differences(self) -> list[StepDifference]:
        """Layers whose steps cannot give what whole runs give, with reason and cure."""
        differences = []
        for index in range(abi.load().sl_layer_step_difference_count(self.handle)):
            found = abi.sized(abi.StepDifference)
            abi.call('sl_layer_step_difference', self.handle, index, ctypes.byref(found))
            differences.append(
                StepDifference(
                    layer=found.layer.decode(),
                    type=found.type.decode(),
                    condition=('always', 'holes', 'padding')[found.condition],
                    reason=found.reason.decode(),
                    cure=found.cure.decode(),
                )
            )
        return differences

    def output_shape(
        self, values: AnyArray, *, constants: Constants | None = None
    ) -> tuple[int, ...]:
        """The shape [batch, time, ...] of the output of `apply` for such an input."""
        x, options = views.view(values), RunOptions(constants)
        return outputs.new_output(self.handle, abi.MODE_LAYER, x, options).arrays[0].shape

    def emit_specs(
        self,
        values: AnyArray,
        *,
        constants: Constants | None = None,
        state: State | None = None,
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape [batch, time, ...] and dtype of each emit, by path, for such an input.

        With a state they are those of its next step.
        """
        handle = state.handle if state is not None else None
        mode = abi.MODE_LAYER if state is None else abi.MODE_STEP
        options = RunOptions(constants if constants or state is None else state.constants)
        shapes = outputs.emit_shapes(self.handle, mode, views.view(values), options, handle)
        return {
            path: (tuple(shape.dims[: shape.rank]), arrays.DTYPES[shape.dtype])
            for path, shape in shapes.items()
        }

    def apply(
        self,
        values: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        state: State | None = None,
        profile: Profile | None = None,
    ) -> tuple[AnyArray, AnyArray]:
        """Runs a whole sequence [batch, time, ...]; no mask means that every step is valid.

        With a state, the sequence continues that stream and must be a multiple of the block size. The
        output and the new state are those of the same input in steps. A profile records the run.
        """
        y, _ = self._apply(values, mask, constants, state, profile, with_emits=False)
        return y

    def apply_with_emits(
        self,
        values: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        state: State | None = None,
        profile: Profile | None = None,
    ) -> tuple[AnyArray, AnyArray, Emits]:
        """Like `apply`, and also returns the auxiliary outputs: values and mask by path."""
        y, emits = self._apply(values, mask, constants, state, profile, with_emits=True)
        return *y, emits

    def _apply(
        self,
        values: AnyArray,
        mask: AnyArray | None,
        constants: Constants | None,
        state: State | None,
        profile: Profile | None,
        *,
        with_emits: bool,
    ) -> tuple[tuple[AnyArray, AnyArray], Emits]:
        x = views.view(values, mask)
        if state is not None and constants is None:
            constants = state.constants
        handle = state.handle if state is not None else None
        options = RunOptions(constants, handle, profile)
        mode = abi.MODE_LAYER if state is None else abi.MODE_STEP
        y = outputs.new_output(self.handle, mode, x, options)
        emits = outputs.put_emits(self.handle, mode, x, options, handle) if with_emits else {}
        run = ctypes.byref(options.run)
        abi.call('sl_layer_apply', self.handle, ctypes.byref(x), ctypes.byref(y), run)
        return y.output, emits

    def applier(self, values: AnyArray, mask: AnyArray | None = None) -> 'Applier':
        """Makes an object that runs these arrays again and again without new allocations."""
        return Applier(self, values, mask)

    def new_state(
        self,
        batch: int = 1,
        *,
        max_steps: int = 0,
        max_length: int = 0,
        channel_shape: tuple[int, ...] | None = None,
        dtype: npt.DTypeLike = 'float32',
        constants: Constants | None = None,
    ) -> State:
        """A new stream; without `channel_shape` it takes the model's own input spec."""
        if channel_shape is None:
            channel_shape, dtype = self.input_spec
        return State(self.handle, batch, max_steps, max_length, channel_shape, dtype, constants)

    def new_decoder(self, batch: int = 1, **options: Any) -> Decoder:
        """New streams of tokens; for `options` see `Decoder`."""
        return Decoder(self.handle, batch, **options)

    def new_pipe(self, **options: Any) -> Pipe:
        """A new front for audio; for `options` see `Pipe`."""
        return Pipe(self.handle, **options)

    def stream(
        self,
        values: AnyArray,
        mask: AnyArray | None = None,
        *,
        steps: int = 0,
        constants: Constants | None = None,
    ) -> Any:
        """Gives the output of `apply` for a whole sequence, computed step by step.

        Blocks of `steps` input steps (0: one block of the model) run through a new stream. Invalid
        steps fill the last block and flush what the latency holds back. The latency is dropped.

        Args:
          values: [batch, time, ...]; or [time], one stream of scalars.
          mask: [batch, time]; no mask means that every step is valid.
          steps: A multiple of the block size.
          constants: As `apply` takes them, of all steps.

        Returns:
          Values and mask [batch, time, ...]; of values [time] the values alone, without the batch.
        """
        values = arrays.readable(values)
        if values.ndim == 1:
            if mask is not None:
                mask = np.asarray(mask)[np.newaxis]
            y, _ = self.stream(values[np.newaxis], mask, steps=steps, constants=constants)
            return y[0]
        return streaming.run(self, values, mask, steps or self.block_size, constants or {})


class Applier:
    """Runs a layer on fixed arrays; `output` holds the result of the last run."""

    def __init__(self, layer: Layer, values: AnyArray, mask: AnyArray | None = None):
        self._layer = layer.handle
        self._x = views.view(values, mask)
        # Arrays that the library cannot read in place are copied before each run.
        self._copies = [
            (copy, source)
            for copy, source in zip(self._x.arrays, (values, mask), strict=True)
            if copy is not None and copy is not source
        ]
        self._y = outputs.new_output(self._layer, abi.MODE_LAYER, self._x, RunOptions(None))
        self.output = self._y.arrays[0]

    def run(self) -> None:
        for copy, source in self._copies:
            copy[...] = source
        x, y = ctypes.byref(self._x), ctypes.byref(self._y)
        abi.call('sl_layer_apply', self._layer, x, y, None)
