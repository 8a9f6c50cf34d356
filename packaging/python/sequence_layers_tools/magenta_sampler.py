"""Frames of tokens as the package's own sampler chooses them, with the logits that it chooses by.

Needs the package: packaging/setup.sh --magenta.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

# Imported before everything that imports sequence_layers.
from sequence_layers_tools import magenta_models, magenta_parts  # isort: skip

import jax
import jax.numpy as jnp
import numpy as np
from sequence_layers import jax as sl

from sequence_layers_tools import convert

_GUIDANCE = 'classifier_free_guidance'


@dataclasses.dataclass(frozen=True)
class Frames:
    """A run of the sampler.

    Attributes:
      conditioning: Tokens that steer each frame, [1 + negatives, time, channels].
      guidance: How far each negative pushes the logits.
      context: How many frames were given; the sampler has chosen the others.
      tokens: All frames, [time, codebooks].
      logits: Of each frame and its negatives, [time, 1 + negatives, codebooks, codebook size], as
        the sampler caps them, without the tokens that it hides.
    """

    conditioning: np.ndarray
    guidance: tuple[float, ...]
    context: int
    tokens: np.ndarray
    logits: np.ndarray

    def save(self, path: pathlib.Path) -> None:
        np.savez(path, **vars(self))

    @staticmethod
    def load(path: pathlib.Path) -> 'Frames':
        with np.load(path) as read:
            values = {name: read[name] for name in read.files}
        guidance = tuple(float(scale) for scale in values.pop('guidance'))
        return Frames(guidance=guidance, context=int(values.pop('context')), **values)

    def guided_logits(self) -> np.ndarray:
        """The logits after guidance, in float32 as the sampler has them."""
        own = self.logits[:, 0]
        guided = own
        for scale, negative in zip(self.guidance, np.moveaxis(self.logits, 1, 0)[1:], strict=True):
            guided = guided + np.float32(scale) * (own - negative)
        return guided


class Sampler:
    """The package's sampler, which takes one frame after the other. It is compiled once."""

    def __init__(
        self,
        magenta: magenta_models.Magenta,
        variables: Mapping[str, np.ndarray],
        guidance: Sequence[float],
    ):
        self._config = magenta.depthformer.decoder
        self.guidance = tuple(guidance)
        self._module = magenta.depthformer.make()
        own = magenta_parts.within(variables, 'params.depthformer')
        self._own = jax.tree.map(jnp.asarray, convert.unflatten(own))
        self._scales = {f'{_GUIDANCE}_scale_{i}': jnp.array([s]) for i, s in enumerate(guidance)}
        self._rngs = {'random': jax.random.PRNGKey(0)}
        self._step = jax.jit(self._apply)

    def frames(self, conditioning: np.ndarray, context: np.ndarray) -> Frames:
        """Greedy frames.

        Args:
          conditioning: Tokens that steer each frame and its negatives, [1 + negatives, time, channels].
          context: Given frames [time, codebooks] instead of the first ones.
        """
        tokens, logits = [], []
        with jax.default_matmul_precision('highest'):
            state = self.start(conditioning.shape[2])
            for t in range(conditioning.shape[1]):
                chosen, made, state = self.step(conditioning[:, t : t + 1], state)
                if t < len(context):
                    chosen = context[t]
                    state = self.replace_last(state, chosen)
                tokens.append(chosen)
                logits.append(made)
        return Frames(conditioning, self.guidance, len(context), np.stack(tokens), np.stack(logits))

    def start(self, channels: int) -> Any:
        def run(model: Any) -> Any:
            spec = jax.ShapeDtypeStruct((channels,), jnp.int32)
            constants = dict(self._scales)
            return model.sampler.get_initial_state(1, spec, training=False, constants=constants)

        return self._module.apply(self._own, method=run, rngs=self._rngs)

    def step(self, x: np.ndarray, state: Any) -> tuple[np.ndarray, np.ndarray, Any]:
        """Greedy tokens and the logits of a frame."""
        tokens, logits, state = self._step(self._own, jnp.asarray(x), state)
        return np.asarray(tokens)[0, 0], np.asarray(logits), state

    def replace_last(self, state: Any, tokens: np.ndarray) -> Any:
        """The state as if the sampler had chosen these tokens."""
        encoder, output, (rng, last, temporal, step), countdown = state
        chosen = jnp.broadcast_to(jnp.asarray(tokens), last.values.shape)
        return encoder, output, (rng, type(last)(chosen, last.mask), temporal, step), countdown

    def _apply(self, own: Any, x: Any, state: Any) -> tuple[Any, Any, Any]:
        constants = {'temperature': jnp.zeros(1), **self._scales}
        for i in range(len(self._scales)):
            negative = sl.Sequence.from_values(x[1 + i : 2 + i])
            constants[f'{_GUIDANCE}_negative_{i}'] = negative

        def run(model: Any) -> Any:
            first = sl.Sequence.from_values(x[:1])
            return model.sampler.step(first, state, training=False, constants=constants)

        keep = ['intermediates']
        (y, state), kept = self._module.apply(
            own, method=run, rngs=self._rngs, mutable=keep, capture_intermediates=False
        )
        return y.values, self._valid(kept['intermediates']['decoder']['depth_logits']), state

    def _valid(self, logits: Sequence[Any]) -> Any:
        """Stacks the capped logits of the tokens that each codebook has."""
        first, size = self._config.num_reserved_tokens, self._config.codebook_size
        cap = self._config.soft_cap_logits
        made = []
        for i, own in enumerate(logits):
            own = own[:, 0, first + i * size :][:, :size]
            made.append((own if cap is None else jnp.tanh(own / cap) * cap).astype(jnp.float32))
        return jnp.stack(made, 1)
