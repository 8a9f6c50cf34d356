"""States, which hold the streams of a batch: step, save, fork, and read or set tensors."""

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sequence_layers_runtime import abi, arrays, outputs, views
from sequence_layers_runtime.arrays import AnyArray
from sequence_layers_runtime.constants import Constants, RunOptions, SlotOptions, of_slots
from sequence_layers_runtime.handles import Closable, Handle
from sequence_layers_runtime.outputs import Emits
from sequence_layers_runtime.profile import Profile

_BOOL = np.dtype(np.bool_)
# How many shapes of steps keep their arrays.
_MAX_BLOCKS = 8


class _Block:
    """Arrays that steps of one shape share, since describing new ones takes longer than copying.

    Steps write their input to `x`, and to `mask` if `read` was made with it; `y` is the output's arrays.
    """

    def __init__(self, handle: Handle, options: RunOptions, x: AnyArray, masked: bool):
        parent = handle.parent
        assert parent is not None
        self.x, self.mask = x, np.ones(x.shape[:2], _BOOL)
        self.read = views.borrow(x, self.mask if masked else None)
        self.written = outputs.new_output(parent, abi.MODE_STEP, self.read, options)
        self.y = self.written.output
        self.error = abi.sized(abi.Error)
        self.run = abi.load().sl_layer_step
        self.arguments = (
            parent.pointer,
            handle.pointer,
            ctypes.byref(self.read),
            ctypes.byref(self.written),
            ctypes.byref(options.run),
            ctypes.byref(self.error),
        )
        self._kept = handle, options


class State(Closable):
    """One stream, of a fixed batch, through a layer: used by one thread at a time.

    Steps read the constants that the state was made with, unless they are given others of the same
    shapes. A streamed constant must be given to every step: the part of it that goes with the block.
    """

    def __init__(
        self,
        parent: Handle,
        batch: int,
        max_steps: int,
        max_length: int,
        channel_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        constants: Constants | None = None,
    ):
        self._made_of = batch, max_steps, max_length, tuple(channel_shape), dtype, constants
        self._batch, self._channel_shape = batch, tuple(channel_shape)
        self._options = RunOptions(constants)
        self._blocks: dict[tuple[int, ...], _Block] = {}
        self._masked_blocks: dict[tuple[int, ...], _Block] = {}
        options = abi.sized(abi.StateOptions)
        options.batch = batch
        options.max_steps = max_steps
        options.max_length = max_length
        options.input = views.channel_spec(self._channel_shape, dtype)
        self._dtype = arrays.numpy_dtype(options.input.dtype)
        self._options.put(options)
        pointer = ctypes.c_void_p()
        abi.call('sl_state_alloc', parent, ctypes.byref(options), ctypes.byref(pointer))
        self._handle = Handle(pointer, abi.load().sl_state_free, parent)

    @property
    def constants(self) -> Constants:
        return self._options.constants

    @property
    def tensors(self) -> dict[str, AnyArray]:
        """The state's tensors by name: views of the state itself, to read a carry or set it.

        Integers are indices that only the library changes, so they are read-only. A view keeps the
        memory of the state alive, even after `close`.
        """
        found, handle = {}, self.handle
        for index in range(abi.load().sl_state_tensor_count(handle)):
            name, tensor = ctypes.c_char_p(), abi.sized(abi.Sequence)
            abi.call('sl_state_tensor', handle, index, ctypes.byref(name), ctypes.byref(tensor))
            view = views.at(tensor, owner=handle)
            view.flags.writeable = not np.issubdtype(view.dtype, np.integer)
            found[(name.value or b'').decode()] = view
        return found

    def close(self) -> None:
        super().close()
        self._blocks.clear()
        self._masked_blocks.clear()

    def prepare(self) -> None:
        """Computes what steps keep of the constants, which the first step does otherwise."""
        run = self._options.run
        abi.call('sl_state_prepare', self.handle, run.constants, run.num_constants)

    def reset(self, item: int | None = None) -> None:
        """Returns to the start of the stream; with an item, only that one of the batch does."""
        if item is None:
            abi.call('sl_state_reset', self.handle)
        else:
            abi.call('sl_state_reset_item', self.handle, item)

    def copy_from(self, source: 'State') -> None:
        """Continues from the position of `source`, of the same layer and options except max_steps."""
        abi.call('sl_state_copy', self.handle, source.handle)

    def copy_item_from(self, source: 'State', source_item: int, item: int) -> None:
        """Makes one item of the batch continue where an item of `source` stands.

        `source` may have another batch, so that streams can join or leave one.
        """
        abi.call('sl_state_copy_item', self.handle, item, source.handle, source_item)

    def save_item(self, item: int) -> bytes:
        """One item of the batch as bytes, which a state of batch 1 loads too, and saves."""
        return abi.save('sl_state_save_item', self.handle, item)

    def load_item(self, item: int, data: bytes) -> None:
        """Makes one item continue where the saved one stood; the others continue as they are.

        Raises:
          SequenceLayersError: As `load` does. The item is as before.
        """
        abi.restore('sl_state_load_item', self.handle, item, data=data)

    def fork(self) -> 'State':
        """A new stream that continues where this one stands."""
        parent = self.handle.parent
        assert parent is not None
        forked = State(parent, *self._made_of)
        forked.copy_from(self)
        return forked

    def save(self) -> bytes:
        """The state as bytes, for a state of the same model and options to `load`."""
        return abi.save('sl_state_save', self.handle)

    def load(self, data: bytes) -> None:
        """Continues from the position of the saved state.

        Raises:
          SequenceLayersError: The bytes are of another model, other options or another version of
            the library, or are damaged. The state is as before.
        """
        abi.restore('sl_state_load', self.handle, data=data)

    def step(
        self,
        values: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        profile: Profile | None = None,
    ) -> tuple[AnyArray, AnyArray]:
        """Runs the next block of the stream."""
        if constants is None and profile is None and type(values) is np.ndarray:
            blocks = self._blocks if mask is None else self._masked_blocks
            block = blocks.get(values.shape) or self._new_block(blocks, values, mask)
            if block is not None and self._fits(block, values, mask):
                block.x[...] = values
                if mask is not None:
                    block.mask[...] = mask
                if status := block.run(*block.arguments):
                    raise abi.failure(status, block.error)
                y, y_mask = block.y
                return y.copy(), y_mask.copy()
        return self._step(values, mask, constants, profile, with_emits=False)[0]

    def _fits(self, block: _Block, values: AnyArray, mask: AnyArray | None) -> bool:
        """Whether assigning to the block's arrays copies, and converts nothing but the byte order."""
        # Dtypes are mostly the same object, and comparing others takes much of a step's overhead.
        if values.dtype is not self._dtype and values.dtype.newbyteorder('=') != self._dtype:
            return False
        return mask is None or (mask.dtype is _BOOL and mask.shape == block.mask.shape)

    def _new_block(
        self, blocks: dict[tuple[int, ...], _Block], values: AnyArray, mask: AnyArray | None
    ) -> _Block | None:
        """The arrays for steps of that shape, if the state takes it."""
        if values.ndim < 2 or values.shape[2:] != self._channel_shape or not values.size:
            return None
        if len(blocks) == _MAX_BLOCKS:
            blocks.clear()
        x = np.zeros(values.shape, self._dtype)
        blocks[values.shape] = _Block(self.handle, self._options, x, mask is not None)
        return blocks[values.shape]

    def step_with_emits(
        self,
        values: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        profile: Profile | None = None,
    ) -> tuple[AnyArray, AnyArray, Emits]:
        """Like `step`, and also returns the auxiliary outputs of the block: values and mask by path."""
        y, emits = self._step(values, mask, constants, profile, with_emits=True)
        return *y, emits

    def step_slots(
        self,
        slots: Sequence[int],
        values: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        profile: Profile | None = None,
    ) -> tuple[AnyArray, AnyArray]:
        """Runs the next block of some of the streams; all others stay as they are.

        Args:
          slots: Different items of the batch, in any order: values, mask, constants and the result have
            their items in that order.
          values: [len(slots), time, ...].
          mask: [len(slots), time].
          constants: Without them, those of the state are read: item b goes with slot b.
          profile: Records the step.

        Returns:
          Values and mask. Each stream's have the bits that it would give in a state of its own.
        """
        return self._step(values, mask, constants, profile, with_emits=False, slots=slots)[0]

    def step_slots_with_emits(
        self,
        slots: Sequence[int],
        values: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        profile: Profile | None = None,
    ) -> tuple[AnyArray, AnyArray, Emits]:
        """Like `step_slots`, and also returns the auxiliary outputs, with items in the order of the slots."""
        y, emits = self._step(values, mask, constants, profile, with_emits=True, slots=slots)
        return *y, emits

    def _step(
        self,
        values: AnyArray,
        mask: AnyArray | None,
        constants: Constants | None,
        profile: Profile | None,
        *,
        with_emits: bool,
        slots: Sequence[int] | None = None,
    ) -> tuple[tuple[AnyArray, AnyArray], Emits]:
        x = views.view(values, mask)
        own = constants is None and profile is None and not with_emits and slots is None
        if constants is None:
            constants = self.constants if slots is None else of_slots(self.constants, slots)
        options = self._options if own else RunOptions(constants, profile=profile)
        handle = self.handle
        layer = handle.parent
        assert layer is not None
        y = outputs.new_output(layer, abi.MODE_STEP, x, options)
        emits = outputs.put_emits(layer, abi.MODE_STEP, x, options, handle) if with_emits else {}
        arguments = ctypes.byref(x), ctypes.byref(y), ctypes.byref(options.run)
        if slots is None:
            abi.call('sl_layer_step', layer, handle, *arguments)
        else:
            numbers = (ctypes.c_int64 * len(slots))(*slots)
            abi.call('sl_layer_step_slots', layer, handle, numbers, len(slots), *arguments)
        return y.output, emits

    def stepper(self, steps: int) -> 'Stepper':
        """Makes an object that runs blocks of `steps` valid steps without new allocations in each."""
        return Stepper(self, steps)


class _Slots:
    """What steps of some slots share: their numbers, and structs for as many items."""

    def __init__(self, state: State, block: _Block):
        self.numbers = np.zeros(state._batch, np.int64)
        self.x = abi.Sequence.from_buffer_copy(block.read)
        self.y = abi.Sequence.from_buffer_copy(block.written)
        self.options = SlotOptions(state._options, state._batch)
        self.run = abi.load().sl_layer_step_slots
        self.handles = block.arguments[:2]
        self.arguments = (
            ctypes.byref(self.x),
            ctypes.byref(self.y),
            ctypes.byref(self.options.run),
            ctypes.byref(block.error),
        )

    def step(self, address: int, slots: Sequence[int]) -> int:
        count = len(slots)
        numbers = self.numbers[:count]
        numbers[:] = slots
        self.options.take(numbers)
        self.x.data, self.x.dims[0], self.y.dims[0] = address, count, count
        status: int = self.run(*self.handles, self.numbers.ctypes.data, count, *self.arguments)
        return status


class Stepper:
    """Steps a state in place, block after block of one size: `output` holds the last one's result.

    The input is given by the address of a contiguous block, and nothing about it is checked. A stepper
    can still be used after its state was closed.
    """

    def __init__(self, state: State, steps: int):
        shape = state._batch, steps, *state._channel_shape
        self._block = _Block(state.handle, state._options, np.zeros(shape, state._dtype), False)
        self._slots = _Slots(state, self._block)
        self.output: AnyArray = self._block.y[0]
        self._x, self._step, self._arguments = (
            self._block.read,
            self._block.run,
            self._block.arguments,
        )

    def step_slots(self, address: int, slots: Sequence[int]) -> None:
        """Steps some of the streams, in any order; all others stay as they are.

        The block at `address` has an item for each slot, in their order; so has the start of `output`.
        Item b of the state's constants goes with slot b.
        """
        if status := self._slots.step(address, slots):
            raise abi.failure(status, self._block.error)

    def step(self, address: int) -> None:
        self._x.data = address
        if status := self._step(*self._arguments):
            raise abi.failure(status, self._block.error)
