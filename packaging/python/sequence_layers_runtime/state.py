"""States, which hold the streams of a batch: step, save, fork, and read or set tensors."""

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from sequence_layers_runtime import abi, arrays, outputs, views
from sequence_layers_runtime.constants import Constants, RunOptions
from sequence_layers_runtime.handles import Closable, Handle
from sequence_layers_runtime.outputs import Emits

if TYPE_CHECKING:
    from sequence_layers_runtime.layer import Layer


class State(Closable):
    """One stream, of a fixed batch, through a layer: used by one thread at a time.

    Steps read the constants that the state was made with, unless they are given others of the same
    shapes. A streamed constant must be given to every step: the part of it that goes with the block.
    """

    def __init__(
        self,
        layer: 'Layer',
        batch: int,
        max_steps: int,
        max_length: int,
        channel_shape: tuple[int, ...],
        dtype: str,
        constants: Constants | None = None,
    ):
        self._batch, self._channel_shape = batch, tuple(channel_shape)
        self._options = RunOptions(constants)
        options = abi.sized(abi.StateOptions)
        options.batch = batch
        options.max_steps = max_steps
        options.max_length = max_length
        options.input = views.channel_spec(self._channel_shape, dtype)
        self._dtype = arrays.numpy_dtype(options.input.dtype)
        self._options.put(options)
        parent, pointer = layer.handle, ctypes.c_void_p()
        abi.call('sl_state_alloc', parent, ctypes.byref(options), ctypes.byref(pointer))
        self._handle = Handle(pointer, abi.load().sl_state_free, parent)

    @property
    def constants(self) -> Constants:
        return self._options.constants

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The state's tensors by name: views of the state itself, to read a carry or set it.

        Integers are indices that only the library changes, so they are read-only. A view keeps the
        memory of the state alive, even after `close`.
        """
        found, handle = {}, self.handle
        for index in range(abi.load().sl_state_tensor_count(handle)):
            name, tensor = ctypes.c_char_p(), abi.sized(abi.Sequence)
            abi.call('sl_state_tensor', handle, index, ctypes.byref(name), ctypes.byref(tensor))
            shape = tuple(tensor.dims[: tensor.rank])
            strides = tuple(tensor.strides[: tensor.rank])
            view = arrays.at_address(tensor.data, tensor.dtype, shape, strides, owner=handle)
            view.flags.writeable = not np.issubdtype(view.dtype, np.integer)
            found[name.value.decode()] = view
        return found

    def reset(self) -> None:
        """Returns to the start of the stream."""
        abi.call('sl_state_reset', self.handle)

    def copy_from(self, source: 'State') -> None:
        """Continues from the position of `source`, of the same layer and options except max_steps."""
        abi.call('sl_state_copy', self.handle, source.handle)

    def save(self) -> bytes:
        """The state as bytes, for a state of the same model and options to `load`."""
        handle = self.handle
        size = abi.load().sl_state_save_size(handle)
        buffer = ctypes.create_string_buffer(size)
        abi.call('sl_state_save', handle, buffer, size)
        return buffer.raw

    def load(self, data: bytes) -> None:
        """Continues from the position of the saved state.

        Raises:
          SequenceLayersError: The bytes are of another model, other options or another version of
            the library, or are damaged. The state is as before.
        """
        data = bytes(memoryview(data))
        abi.call('sl_state_load', self.handle, data, len(data))

    def step(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs the next block of the stream."""
        y, _ = self._step(values, mask, constants, with_emits=False)
        return y

    def step_with_emits(
        self,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        constants: Constants | None = None,
    ) -> tuple[np.ndarray, np.ndarray, Emits]:
        """Like `step`, and also returns the auxiliary outputs of the block: values and mask by path."""
        y, emits = self._step(values, mask, constants, with_emits=True)
        return *y, emits

    def _step(
        self,
        values: np.ndarray,
        mask: np.ndarray | None,
        constants: Constants | None,
        *,
        with_emits: bool,
    ) -> tuple[tuple[np.ndarray, np.ndarray], Emits]:
        x = views.view(values, mask)
        own = constants is None and not with_emits
        given = self.constants if constants is None else constants
        options = self._options if own else RunOptions(given)
        handle = self.handle
        layer = handle.parent
        y = outputs.new_output(layer, abi.MODE_STEP, x, options)
        emits = outputs.put_emits(layer, abi.MODE_STEP, x, options, handle) if with_emits else {}
        run = ctypes.byref(options.run)
        abi.call('sl_layer_step', layer, handle, ctypes.byref(x), ctypes.byref(y), run)
        return y.arrays, emits

    def stepper(self, steps: int) -> 'Stepper':
        """Makes an object that runs blocks of `steps` valid steps without new allocations in each."""
        return Stepper(self, steps)


class Stepper:
    """Steps a state in place, block after block of one size: `output` holds the last one's result.

    The input is given by the address of a contiguous block, and nothing about it is checked. A stepper
    can still be used after its state was closed.
    """

    def __init__(self, state: State, steps: int):
        handle, options = state.handle, state._options
        layer = handle.parent
        self._kept = handle, options
        self._x = views.view(np.zeros((state._batch, steps, *state._channel_shape), state._dtype))
        self._y = outputs.new_output(layer, abi.MODE_STEP, self._x, options)
        self.output = self._y.arrays[0]
        self._error = abi.sized(abi.Error)
        self._step = abi.load().sl_layer_step
        self._arguments = (
            layer.pointer,
            handle.pointer,
            ctypes.byref(self._x),
            ctypes.byref(self._y),
            ctypes.byref(options.run),
            ctypes.byref(self._error),
        )

    def step(self, address: int) -> None:
        self._x.data = address
        if status := self._step(*self._arguments):
            raise abi.failure(status, self._error)
