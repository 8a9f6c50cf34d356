"""Decoders: streams of tokens in which each sampled token is the model's next input."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack

import numpy as np

from sequence_layers_runtime import abi, views
from sequence_layers_runtime.arrays import AnyArray
from sequence_layers_runtime.constants import Constants, RunOptions, of_slots
from sequence_layers_runtime.handles import Closable, Handle
from sequence_layers_runtime.profile import Profile


class Choices(TypedDict, total=False):
    """How a stream of tokens chooses.

    Keys:
      start_token: The first input; default: 0.
      stop_token: Ends the stream, as its last token; default: none.
      pad_token: What a stream that has ended gives; default: 0.
      seed: Of the random numbers; default: 0.
      temperature: Divides the logits; 0, the default: always the most likely token.
      top_p: Choose among the most likely tokens that together have this probability; default: 1.
      top_k: Choose among this many of the most likely tokens; 0, the default: among all.
      guidance: How far each negative pushes the logits, if steps have several tokens; default: none.
    """

    start_token: int
    stop_token: int
    pad_token: int
    seed: int
    temperature: float
    top_p: float
    top_k: int
    guidance: Sequence[float]


def _struct(choices: Choices) -> abi.DecoderOptions:
    if unknown := set(choices) - set(Choices.__annotations__):
        raise TypeError(f'a decoder has no option {min(unknown)!r}')
    options = abi.sized(abi.DecoderOptions)
    options.stop_token, options.top_p = -1, 1.0
    guidance = choices.get('guidance', ())
    options.num_negatives = len(guidance)
    options.guidance = (ctypes.c_float * len(guidance))(*guidance)
    for name, value in choices.items():
        if name != 'guidance':
            setattr(options, name, value)
    options.stop_at_zero = options.stop_token == 0
    return options


# Chooses a logit by slot, part of the step and logits; None leaves the choice to the decoder.
Choose = Callable[[int, int, AnyArray], int | None]


def _callback(choose: Choose) -> Any:
    def call(_: Any, slot: int, part: int, logits: Any, count: int) -> int:
        chosen = choose(slot, part, np.ctypeslib.as_array(logits, (count,)))
        return -1 if chosen is None else chosen

    return abi.CHOOSE(call)


class Decoder(Closable):
    """Streams of tokens in which a model's choices are its next inputs (docs/decoding.md).

    A model whose outermost layer is a MultivariateDecoder gives several tokens a step: tokens and log
    probabilities then have a last axis of these. Guided by negatives, constants have a batch of
    batch * (1 + negatives), each stream followed by its negatives.

    Calls read the constants that the decoder was made with, unless they are given others. Constants
    that run along with the tokens have the length that goes with the tokens of `log_prob` or `prefill`.
    """

    def __init__(
        self,
        parent: Handle,
        batch: int = 1,
        *,
        max_length: int = 0,
        choose: Choose | None = None,
        constants: Constants | None = None,
        **choices: Unpack[Choices],
    ):
        self._options = RunOptions(constants)
        options = _struct(choices)
        options.batch, options.max_length = batch, max_length
        if choose is not None:
            self._choose = options.choose = _callback(choose)
        self._options.put(options)
        pointer = ctypes.c_void_p()
        abi.call('sl_decoder_create', parent, ctypes.byref(options), ctypes.byref(pointer))
        self._handle = Handle(pointer, abi.load().sl_decoder_free, parent)
        self._batch = batch
        tokens = abi.load().sl_decoder_step_tokens(pointer)
        self._parts = (tokens,) if tokens > 1 else ()
        self._items_per_slot = 1 + options.num_negatives

    def _options_of(
        self,
        constants: Constants | None,
        profile: Profile | None = None,
        slots: Sequence[int] | None = None,
    ) -> RunOptions:
        if constants is None and profile is None and slots is None:
            return self._options
        if constants is None:
            constants = self._options.constants
            if slots is not None:
                each = range(self._items_per_slot)
                items = [slot * len(each) + i for slot in slots for i in each]
                constants = of_slots(constants, items)
        return RunOptions(constants, profile=profile)

    def reset(self) -> None:
        """Returns to the start of all streams."""
        abi.call('sl_decoder_reset', self.handle)

    def copy_from(self, source: 'Decoder') -> None:
        """Continues from the position of `source`, of the same layer, batch and constants."""
        abi.call('sl_decoder_copy', self.handle, source.handle)

    def prefill(
        self,
        tokens: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        profile: Profile | None = None,
    ) -> None:
        """Continues as if these int32 tokens [batch, time] had been sampled."""
        x = views.view(tokens, mask, what='tokens')
        options = self._options_of(constants, profile)
        abi.call('sl_decoder_prefill', self.handle, ctypes.byref(x), ctypes.byref(options.run))

    def sample(
        self, *, constants: Constants | None = None, profile: Profile | None = None
    ) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Samples the next token of each stream; returns tokens, log probabilities and mask [batch]."""
        options = self._options_of(constants, profile)
        return self._sample(self._batch, 'sl_decoder_sample', self.handle, options=options)

    def _sample(
        self, count: int, name: str, *arguments: Any, options: RunOptions
    ) -> tuple[AnyArray, AnyArray, AnyArray]:
        tokens = np.empty((count, *self._parts), np.int32)
        log_probs = np.empty((count, *self._parts), np.float32)
        mask = np.empty(count, np.bool_)
        out = (array.ctypes.data for array in (tokens, log_probs, mask))
        abi.call(name, *arguments, *out, ctypes.byref(options.run))
        return tokens, log_probs, mask

    def start_slot(self, slot: int, **choices: Unpack[Choices]) -> None:
        """Sets one stream of the batch to its start, with choices of its own.

        It then gives what a decoder of batch 1 that was made with these choices gives, bit for bit,
        whatever runs beside it. Without any, it starts as `reset` would set it.
        """
        options = ctypes.byref(_struct(choices)) if choices else None
        abi.call('sl_decoder_start_slot', self.handle, slot, options)

    def prefill_slot(
        self,
        slot: int,
        tokens: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
        profile: Profile | None = None,
    ) -> None:
        """Continues one stream as if these int32 tokens [1, time] had been sampled."""
        x = views.view(tokens, mask, what='tokens')
        run = ctypes.byref(self._options_of(constants, profile, [slot]).run)
        abi.call('sl_decoder_prefill_slot', self.handle, slot, ctypes.byref(x), run)

    def sample_slots(
        self,
        slots: Sequence[int],
        *,
        constants: Constants | None = None,
        profile: Profile | None = None,
    ) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Samples the next token of some streams, in any order; all others stay as they are.

        Tokens, log probabilities, mask and `constants` have their items in the order of the slots.
        Without `constants`, item b of the decoder's goes with slot b.
        """
        numbers = (ctypes.c_int64 * len(slots))(*slots)
        arguments = self.handle, numbers, len(slots)
        options = self._options_of(constants, profile, slots)
        return self._sample(len(slots), 'sl_decoder_sample_slots', *arguments, options=options)

    def copy_slot_from(self, source: 'Decoder', source_slot: int, slot: int) -> None:
        """Makes one stream continue where one of `source` stands, with the choices of that one.

        `source` may have another batch.
        """
        abi.call('sl_decoder_copy_slot', self.handle, slot, source.handle, source_slot)

    def save_slot(self, slot: int) -> bytes:
        """One stream with its choices, for a decoder of the same model, constants and max_length."""
        return abi.save('sl_decoder_save_slot', self.handle, slot)

    def load_slot(self, slot: int, data: bytes) -> None:
        """Makes one stream continue where the saved one stood.

        Raises:
          SequenceLayersError: As `State.load` does. The stream is as before.
        """
        abi.restore('sl_decoder_load_slot', self.handle, slot, data=data)

    def log_prob(
        self,
        tokens: AnyArray,
        mask: AnyArray | None = None,
        *,
        constants: Constants | None = None,
    ) -> tuple[AnyArray, AnyArray]:
        """Log probabilities of int32 tokens [batch, time] from the start token on, and their mask."""
        x = views.view(tokens, mask, what='tokens')
        shape = x.arrays[0].shape
        y = views.borrow(np.empty(shape, np.float32), np.empty(shape[:2], np.bool_))
        options = self._options_of(constants)
        run = ctypes.byref(options.run)
        abi.call('sl_decoder_log_prob', self.handle, ctypes.byref(x), ctypes.byref(y), run)
        return y.output
