"""Decoders: streams of tokens in which each sampled token is the model's next input."""

import ctypes

import numpy as np

from sequence_layers_runtime import abi, views
from sequence_layers_runtime.arrays import AnyArray
from sequence_layers_runtime.constants import Constants, RunOptions
from sequence_layers_runtime.handles import Closable, Handle


class Decoder(Closable):
    """Streams of tokens in which a model's choices are its next inputs (docs/decoding.md).

    Calls read the constants that the decoder was made with, unless they are given others. Constants
    that run along with the tokens have the length that goes with the tokens of `log_prob` or `prefill`.
    """

    def __init__(
        self,
        parent: Handle,
        batch: int = 1,
        *,
        start_token: int = 0,
        stop_token: int = -1,
        pad_token: int = 0,
        seed: int = 0,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_length: int = 0,
        constants: Constants | None = None,
    ):
        self._options = RunOptions(constants)
        options = abi.sized(abi.DecoderOptions)
        options.batch = batch
        options.start_token, options.stop_token = start_token, stop_token
        options.stop_at_zero = stop_token == 0
        options.pad_token, options.seed = pad_token, seed
        options.temperature, options.top_p, options.top_k = temperature, top_p, top_k
        options.max_length = max_length
        self._options.put(options)
        pointer = ctypes.c_void_p()
        abi.call('sl_decoder_create', parent, ctypes.byref(options), ctypes.byref(pointer))
        self._handle = Handle(pointer, abi.load().sl_decoder_free, parent)
        self._batch = batch

    def _options_of(self, constants: Constants | None) -> RunOptions:
        return self._options if constants is None else RunOptions(constants)

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
    ) -> None:
        """Continues as if these int32 tokens [batch, time] had been sampled."""
        x = views.view(tokens, mask, what='tokens')
        options = self._options_of(constants)
        abi.call('sl_decoder_prefill', self.handle, ctypes.byref(x), ctypes.byref(options.run))

    def sample(self, *, constants: Constants | None = None) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Samples the next token of each stream; returns tokens, log probabilities and mask [batch]."""
        tokens = np.empty(self._batch, np.int32)
        log_probs = np.empty(self._batch, np.float32)
        mask = np.empty(self._batch, np.bool_)
        out = (array.ctypes.data for array in (tokens, log_probs, mask))
        options = self._options_of(constants)
        abi.call('sl_decoder_sample', self.handle, *out, ctypes.byref(options.run))
        return tokens, log_probs, mask

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
        y = views.borrow(np.empty(shape, np.float32), np.empty(shape, np.bool_))
        options = self._options_of(constants)
        run = ctypes.byref(options.run)
        abi.call('sl_decoder_log_prob', self.handle, ctypes.byref(x), ctypes.byref(y), run)
        return y.output
