"""Layers written in Python, for configs of models that are opened with their registry.

class Integrator(CustomLayer):
    receptive_field = float('-inf'), 0

    def __init__(self, config, weights):
        self.decay = weights.find('decay')

    def initial_state(self, spec):
        return {'last': np.zeros(spec.shape, np.float32)}

    def step(self, state, x, mask):
        y = np.empty_like(x)
        for t in range(x.shape[1]):
            state['last'] *= self.decay
            state['last'] += np.where(mask[:, t, np.newaxis], x[:, t], 0)
            y[:, t] = state['last']
        return y

registry = Registry()
registry.add('Integrator', Integrator)
layer = Layer.open('model/', registry=registry)   # {"type": "Integrator"} anywhere in its config
"""

import abc
import ctypes
import itertools
import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from sequence_layers_runtime import abi, arrays, views
from sequence_layers_runtime.arrays import AnyArray
from sequence_layers_runtime.handles import Closable, Handle
from sequence_layers_runtime.views import ChannelSpec
from sequence_layers_runtime.weights import WeightSource

_INFINITE = 2**63 - 1


class CustomLayer(abc.ABC):
    """A layer in Python: a subclass, or what any factory returns, is registered under a type name.

    Arrays that a method is given are valid during the call only: keep copies of them. Methods may be
    called from several threads at once, one at a time for each state. What they raise becomes the
    cause of the SequenceLayersError of the call in which they run.
    """

    block_size: int = 1
    output_ratio: Fraction = Fraction(1)
    input_latency: int = 0
    # None: the input latency times the output ratio, rounded down.
    output_latency: int | None = None
    # Input steps relative to the output's; infinities mean unbounded.
    receptive_field: tuple[float, float] = (0, 0)
    supports_step: bool = True
    # Whether valid output steps depend on the values of invalid input steps.
    reads_invalid_steps: bool = False
    # Whether the state also advances on invalid steps.
    counts_invalid_steps: bool = False

    def __init__(self, config: dict[str, Any], weights: WeightSource):  # noqa: B027
        """Reads the layer's JSON object, with its "type", and its weights."""

    def output_spec(self, spec: ChannelSpec) -> ChannelSpec:
        """Channel shape and dtype of the output for those of the input."""
        return spec

    def initial_state(self, spec: ChannelSpec) -> Mapping[str, AnyArray]:
        """The state of one item of a batch at the start of its stream: arrays by name.

        Shapes and dtypes must depend on the input's spec alone.
        """
        return {}

    @abc.abstractmethod
    def step(
        self, state: dict[str, AnyArray], x: AnyArray, mask: AnyArray
    ) -> AnyArray | tuple[AnyArray, AnyArray]:
        """Runs a block x [batch, time, ...] with its mask [batch, time].

        Invalid steps of x may hold anything. `state` has the arrays of `initial_state` with a batch
        axis in front, to be changed in place.

        Returns:
          The output, or output and mask. Without a mask it is that of the input, or all true if the
          output ratio is not 1.
        """

    def layer(self, x: AnyArray, mask: AnyArray) -> AnyArray | tuple[AnyArray, AnyArray]:
        """Runs a whole sequence: by default as one step from the initial state."""
        spec = ChannelSpec(x.shape[2:], arrays.DTYPES[arrays.dtype_index(x.dtype)])
        return self.step(_States(self, spec).new(x.shape[0]), x, mask)


class _States:
    """The layout of a layer's states in memory."""

    def __init__(self, layer: CustomLayer, spec: ChannelSpec):
        self._initial = {k: np.asarray(v) for k, v in layer.initial_state(spec).items()}
        fields = [(name, array.dtype, array.shape) for name, array in self._initial.items()]
        self._dtype = np.dtype(fields, align=True)

    @property
    def size(self) -> int:
        return self._dtype.itemsize

    def at(self, address: int | None, batch: int) -> dict[str, AnyArray]:
        """The arrays of the states of a batch."""
        if not self.size or address is None:
            return {}
        memory = (ctypes.c_char * (batch * self.size)).from_address(address)
        items = np.ndarray((batch,), self._dtype, memory)  # type: ignore[arg-type]
        return {name: items[name] for name in self._initial}

    def set(self, state: dict[str, AnyArray]) -> None:
        """Sets states to the start of a stream."""
        for name, array in self._initial.items():
            state[name][...] = array

    def new(self, batch: int) -> dict[str, AnyArray]:
        return {
            name: np.broadcast_to(array, (batch, *array.shape)).copy()
            for name, array in self._initial.items()
        }


class _Instance:
    """A layer with the states that it has had for its inputs."""

    def __init__(self, layer: CustomLayer):
        self.layer = layer
        self._states: dict[ChannelSpec, _States] = {}

    def states(self, spec: ChannelSpec) -> _States:
        found = self._states.get(spec)
        if found is None:
            found = self._states[spec] = _States(self.layer, spec)
        return found


def _bound(end: float) -> int:
    return int(end) if abs(end) != float('inf') else _INFINITE if end > 0 else -_INFINITE


def _put_properties(layer: CustomLayer, out: abi.LayerProperties) -> None:
    ratio = Fraction(layer.output_ratio)
    out.layer_wise_only = not layer.supports_step
    out.block_size = layer.block_size
    out.output_ratio_numerator = ratio.numerator
    out.output_ratio_denominator = ratio.denominator
    out.input_latency = layer.input_latency
    if layer.output_latency is not None:
        out.output_latency = layer.output_latency or -1
    out.receptive_field_start, out.receptive_field_end = map(_bound, layer.receptive_field)
    out.reads_invalid_steps = layer.reads_invalid_steps
    out.counts_invalid_steps = layer.counts_invalid_steps


def _read(x: abi.Sequence) -> tuple[AnyArray, AnyArray]:
    values, mask = views.at(x), views.mask_at(x)
    values.flags.writeable = mask.flags.writeable = False
    return values, mask


def _write(made: AnyArray | tuple[AnyArray, AnyArray], y: abi.Sequence) -> None:
    values, mask = made if isinstance(made, tuple) else (made, None)
    values, shape = np.asarray(values), views.shape(y)
    if values.shape != shape:
        raise ValueError(f'an output of shape {values.shape}: expected {shape}')
    np.copyto(views.at(y), values, casting='same_kind')
    if mask is not None:
        np.copyto(views.mask_at(y), mask)


def _report(exception: BaseException, error: Any) -> int:
    """Puts an exception into the library's error; returns the status."""
    known = isinstance(exception, abi.SequenceLayersError)
    text = str(exception) if known else f'{type(exception).__name__}: {exception}'
    room = type(error.contents).message.size - 1
    error.contents.message = text.encode()[:room]
    abi.raised.exception = exception
    if isinstance(exception, abi.SequenceLayersError):
        return exception.code
    return abi.OUT_OF_MEMORY if isinstance(exception, MemoryError) else abi.CALLBACK


class _Callbacks:
    """The library's callbacks of one layer type."""

    def __init__(self, factory: Callable[[dict[str, Any], WeightSource], CustomLayer]):
        self._factory = factory
        self._instances: dict[int, _Instance] = {}
        self._keys = itertools.count(1)
        self.table = abi.sized(abi.LayerCallbacks)
        types = dict(field[:2] for field in abi.LayerCallbacks._fields_)
        self.table.destroy = types['destroy'](self._instances.pop)
        for name in (
            'create',
            'properties',
            'output_spec',
            'state_size',
            'state_init',
            'layer',
            'step',
        ):
            setattr(self.table, name, types[name](self._guarded(getattr(self, f'_{name}'))))

    def _guarded(self, body: Callable[..., None]) -> Callable[..., int]:
        def run(*arguments: Any) -> int:
            try:
                body(*arguments[:-1])
                return 0
            except BaseException as exception:  # noqa: BLE001 - nothing may pass through C code
                return _report(exception, arguments[-1])

        return run

    def _create(self, _: Any, config: bytes, weights: int, instance: Any) -> None:
        layer = self._factory(json.loads(config), WeightSource(weights))
        key = next(self._keys)
        self._instances[key] = _Instance(layer)
        instance[0] = key

    def _properties(self, key: int, out: Any) -> None:
        _put_properties(self._instances[key].layer, out.contents)

    def _output_spec(self, key: int, spec: Any, out: Any) -> None:
        made = self._instances[key].layer.output_spec(views.spec_of(spec.contents))
        struct = views.channel_spec(tuple(made[0]), made[1])
        out.contents.dtype, out.contents.rank = struct.dtype, struct.rank
        out.contents.dims[:] = struct.dims[:]

    def _state_size(self, key: int, spec: Any, size: Any) -> None:
        size[0] = self._instances[key].states(views.spec_of(spec.contents)).size

    def _state_init(self, key: int, spec: Any, state: int | None) -> None:
        states = self._instances[key].states(views.spec_of(spec.contents))
        states.set(states.at(state, 1))

    def _layer(self, key: int, x: Any, y: Any) -> None:
        _write(self._instances[key].layer.layer(*_read(x.contents)), y.contents)

    def _step(self, key: int, state: int | None, x: Any, y: Any) -> None:
        instance = self._instances[key]
        values, mask = _read(x.contents)
        spec = ChannelSpec(values.shape[2:], arrays.DTYPES[x.contents.dtype])
        found = instance.states(spec).at(state, values.shape[0])
        _write(instance.layer.step(found, values, mask), y.contents)


class Registry(Closable):
    """Layer types for configs: the library's own, and those that are added."""

    def __init__(self) -> None:
        pointer = ctypes.c_void_p()
        abi.call('sl_registry_create', ctypes.byref(pointer))
        self._handle = Handle(pointer, abi.load().sl_registry_free)

    def add(
        self,
        type_name: str,
        factory: Callable[[dict[str, Any], WeightSource], CustomLayer],
    ) -> None:
        """Makes a layer usable as `type_name` in the configs of models opened with this registry.

        Args:
          type_name: What "type" says in the config.
          factory: A subclass of CustomLayer, or what makes an instance of a JSON object and weights.
        """
        callbacks = _Callbacks(factory)
        table = ctypes.byref(callbacks.table)
        abi.call('sl_registry_add', self.handle, type_name.encode(), table)
        self.handle.kept.append(callbacks)

    @property
    def types(self) -> list[str]:
        """The names of all layer types, in order."""
        library, handle = abi.load(), self.handle
        count = library.sl_registry_type_count(handle)
        return [library.sl_registry_type(handle, index).decode() for index in range(count)]
