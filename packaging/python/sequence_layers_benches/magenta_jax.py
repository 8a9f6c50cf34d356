"""Times the frames of Magenta RealTime 2 as its own package makes them: in JAX, compiled, on this CPU.

  python -m sequence_layers_benches.magenta_jax --model mrt2_small --frames 100

A frame is one call, as in the package's own system: its conditioning, tokens (temperature 1.3, top_k
40) and sound. Compiling takes minutes; with JAX_COMPILATION_CACHE_DIR in the environment it is done
once. `magenta_live` prints the same for a converted model.

Needs requirements-reference.txt, and the package in the path (packaging/setup.sh --magenta).
"""

import argparse
import functools
import resource
import time
from collections.abc import Mapping
from typing import Any

# Imported before everything that imports sequence_layers.
from sequence_layers_tools import magenta_models, magenta_parts  # isort: skip

import jax
import jax.numpy as jnp
import numpy as np
from sequence_layers import jax as sl

from sequence_layers_tools import convert, convert_magenta

_UNTIMED = 5
_PARTS = ('conditioning', 'decoder', 'codec_decoder')


class System:
    """The package's sampler and codec, which make one frame after the other."""

    def __init__(
        self,
        magenta: magenta_models.Magenta,
        variables: Mapping[str, np.ndarray],
        temperature: float = 1.3,
        top_k: int = 40,
    ):
        decoder = magenta.depthformer.decoder
        self._first, self._size = decoder.num_reserved_tokens, decoder.codebook_size
        self._codebooks = decoder.num_codebooks
        self._channels = magenta.conditioning_channels
        self._sampler, self._codec = magenta.depthformer.make(), magenta.codec.make()
        self._variables = [
            jax.tree.map(jnp.asarray, convert.unflatten(magenta_parts.within(variables, scope)))
            for scope in ('params.depthformer', 'params.soundstream')
        ]
        self._sampling = {'temperature': jnp.full(1, temperature), 'top_k': jnp.full(1, top_k)}
        self._rngs = {'random': jax.random.PRNGKey(0)}
        self._state = jax.jit(self._start)(self._variables)
        self._step = jax.jit(self._apply, donate_argnums=(2,))

    def step(self, x: np.ndarray) -> np.ndarray:
        """The sound [samples, channels] of the next frame, for its conditioning [channels]."""
        sound, self._state = self._step(self._variables, x[np.newaxis, np.newaxis], self._state)
        return np.asarray(sound)[0]

    def _start(self, variables: Any) -> Any:
        def sampler(model: Any) -> Any:
            spec = jax.ShapeDtypeStruct((self._channels,), jnp.int32)
            return model.sampler.get_initial_state(1, spec, training=False, constants={})

        def codec(model: Any) -> Any:
            spec = jax.ShapeDtypeStruct((self._codebooks,), jnp.int32)
            return model.get_codes_to_waveform_layer().get_initial_state(1, spec, training=False)

        return (
            self._sampler.apply(variables[0], method=sampler, rngs=self._rngs),
            self._codec.apply(variables[1], method=codec),
        )

    def _apply(self, variables: Any, x: Any, state: Any) -> Any:
        def choose(model: Any) -> Any:
            given = sl.Sequence.from_values(x)
            return model.sampler.step(given, state[0], training=False, constants=self._sampling)

        tokens, chosen = self._sampler.apply(variables[0], method=choose, rngs=self._rngs)
        codes = sl.Sequence.from_values((tokens.values - self._first) % self._size)

        def play(model: Any) -> Any:
            return model.get_codes_to_waveform_layer().step(codes, state[1], training=False)

        sound, played = self._codec.apply(variables[1], method=play)
        return sound.values, (chosen, played)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='mrt2_small', choices=magenta_models.names())
    convert_magenta.add_weights(parser)
    parser.add_argument('--compute-dtype', default='bfloat16', choices=('bfloat16', 'float32'))
    parser.add_argument('--frames', type=int, default=100)
    return parser


def _system(args: argparse.Namespace) -> tuple[System, functools.partial]:
    """The system, and what makes its conditioning."""
    magenta = magenta_models.find(args.model, args.compute_dtype)
    parts = [part for part in magenta_parts.all_parts(magenta) if part.name in _PARTS]
    variables = convert_magenta.variables_of(parts, args)
    return System(magenta, variables), functools.partial(parts[0].sample, batch=1)


def main():
    args = _parser().parse_args()
    start = time.perf_counter()
    system, sample = _system(args)
    x = sample(np.random.default_rng(1), time=_UNTIMED + args.frames)[0]
    for t in range(_UNTIMED):
        system.step(x[t])
    print(f'ready after {time.perf_counter() - start:.0f} s', flush=True)
    times = []
    for t in range(_UNTIMED, len(x)):
        start = time.perf_counter()
        system.step(x[t])
        times.append(1000 * (time.perf_counter() - start))
    shares = np.quantile(times, (0.5, 0.99, 0.999, 1), method='inverted_cdf')
    print('milliseconds       mean   median      p99    p99.9    worst')
    print('frame         ' + ''.join(f'{value:9.2f}' for value in (np.mean(times), *shares)))
    memory = 1.024e-3 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f'{len(times)} frames, {args.model}, {args.compute_dtype}; memory {memory:.0f} MB at most'
    )


if __name__ == '__main__':
    main()
