"""Compares frames that a converted decoder of Magenta RealTime 2 chooses with the package's.

  python -m sequence_layers_tools.compare_magenta --model mrt2_small --converted mrt2_small/ --frames 250

Guided by a negative and not, from silence and after a given context, the most likely tokens of all
frames should be equal. Where one is not, its line tells by how much the package's choice is the more
likely one, beside the difference of the logits. The tokens of the package are then given to both, to
compare the logits, the most likely tokens and the distributions that are sampled from: the
Kullback-Leibler divergence for each codebook. The models must have been converted without
--checkpoint, or with the one named here. What the package chooses can be kept with --keep, as it is
much slower.

Needs requirements-reference.txt, and the package in the path (packaging/setup.sh --magenta).
"""

import argparse
import dataclasses
import json
import pathlib
import sys

# Imported before everything that imports sequence_layers.
from sequence_layers_tools import magenta_models, magenta_parts, magenta_sampler  # isort: skip

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_tools import convert_magenta

MAX_DIVERGENCE = 1e-4
_SEED = 3


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; only one of top_k and top_p can be set."""

    temperature: float
    top_k: int | None = None
    top_p: float | None = None


SAMPLINGS = (Sampling(1.3, top_k=40), Sampling(1.0), Sampling(1.3, top_p=0.9))


def probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The probabilities of the package's sampler, which keeps tokens before the temperature acts."""
    logits = logits.astype(np.float64)
    ordered = -np.sort(-logits, -1)
    least = ordered[..., -1:]
    if sampling.top_k is not None:
        least = ordered[..., min(sampling.top_k, logits.shape[-1]) - 1, np.newaxis]
    if sampling.top_p is not None:
        sums = np.cumsum(softmax(ordered), -1)
        last = np.minimum((sums < sampling.top_p).sum(-1, keepdims=True), logits.shape[-1] - 1)
        least = np.take_along_axis(ordered, last, -1)
    return softmax(np.where(logits >= least, logits / sampling.temperature, -np.inf))


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def divergence(want: np.ndarray, got: np.ndarray) -> np.ndarray:
    """The Kullback-Leibler divergence of the last axis; infinite where got lacks a token of want."""
    with np.errstate(divide='ignore', invalid='ignore'):
        terms = np.where(want > 0, want * (np.log(want) - np.log(got)), 0.0)
    return np.maximum(terms.sum(-1), 0.0)


class Decoding:
    """A converted decoder with the conditioning of a run of the package."""

    def __init__(self, converted: pathlib.Path, frames: magenta_sampler.Frames):
        self.frames = frames
        self._decoder = runtime.Layer.open(converted / 'decoder')
        with runtime.Layer.open(converted / 'conditioning') as conditioning:
            self._source, _ = conditioning.apply(frames.conditioning)
        (constant,) = self._decoder.constants
        self._name = constant.name

    def _constants(self, begin: int, end: int) -> dict[str, np.ndarray]:
        return {self._name: np.ascontiguousarray(self._source[:, begin:end])}

    def greedy(self) -> np.ndarray:
        """The most likely tokens of all frames behind the context."""
        context, count = self.frames.context, len(self.frames.tokens)
        stream = self._decoder.new_decoder(
            guidance=self.frames.guidance, constants=self._constants(0, 1)
        )
        if context:
            stream.prefill(
                self.frames.tokens[np.newaxis, :context], constants=self._constants(0, context)
            )
        chosen = [
            stream.sample(constants=self._constants(t, t + 1))[0][0] for t in range(context, count)
        ]
        return np.stack(chosen)

    def logits(self) -> np.ndarray:
        """The logits for the tokens of the package, as `Frames.logits` has them."""
        items = 1 + len(self.frames.guidance)
        tokens = np.repeat(self.frames.tokens[np.newaxis].astype(np.int32), items, 0)
        constants = self._constants(0, len(self.frames.tokens))
        made, _ = self._decoder.apply(tokens, constants=constants)
        return np.moveaxis(made, 0, 1)


@dataclasses.dataclass(frozen=True)
class Report:
    """How far a run agrees with the package's.

    Attributes:
      frames: The number of frames behind the context.
      equal: How many of them have equal tokens.
      first: Where tokens differ first: the frame, how much less likely the package holds our token
        than its own, as a difference of logits, and the largest difference of logits there.
      logits: The largest difference of logits, relative to the largest logit.
      likely: The share of tokens that both hold the most likely one, given the package's tokens.
      divergences: For each way to sample, the mean divergence for each codebook, and how many
        tokens are not in it, as rounding at the edge of what is kept has cost ours a choice.
    """

    frames: int
    equal: int
    first: tuple[int, float, float] | None
    logits: float
    likely: float
    divergences: dict[Sampling, tuple[np.ndarray, int]]

    def __str__(self) -> str:
        lines = [f'{self.equal} of {self.frames} frames have equal tokens']
        if self.first is not None:
            frame, gap, noise = self.first
            lines[0] += (
                f'; the first that differs is {frame}, where our token is {gap:.1e} less likely to '
                f'the package, and logits differ by up to {noise:.1e}'
            )
        lines.append(
            f'given its tokens: logits differ by {self.logits:.1e} of the largest, '
            f'{100 * self.likely:.2f} % of the most likely tokens are equal'
        )
        for sampling, (means, unequal) in self.divergences.items():
            worst = int(means.argmax())
            lines.append(
                f'{sampling}: divergence {means.mean():.1e}, of codebook {worst} {means[worst]:.1e}; '
                f'{unequal} tokens left out'
            )
        return '\n'.join(lines)


def compare(decoding: Decoding) -> Report:
    frames = decoding.frames
    context = frames.context
    got = dataclasses.replace(frames, logits=decoding.logits()).guided_logits()[context:]
    want = frames.guided_logits()[context:]
    tokens, chosen = frames.tokens[context:], decoding.greedy()
    different = np.argwhere(tokens != chosen)
    first = None
    if len(different):
        t, k = different[0]
        index = chosen[t, k] - tokens[t, k] + want[t, k].argmax()
        noise = np.abs(got[t, k] - want[t, k]).max()
        first = (int(t), float(want[t, k].max() - want[t, k, index]), float(noise))
    divergences = {}
    for sampling in SAMPLINGS:
        each = divergence(probabilities(want, sampling), probabilities(got, sampling))
        kept = np.isfinite(each)
        means = np.where(kept, each, 0).sum(0) / np.maximum(kept.sum(0), 1)
        divergences[sampling] = (means, int((~kept).sum()))
    return Report(
        frames=len(tokens),
        equal=int((tokens == chosen).all(1).sum()),
        first=first,
        logits=float(np.abs(got - want).max() / np.abs(want).max()),
        likely=float((got.argmax(-1) == want.argmax(-1)).mean()),
        divergences=divergences,
    )


def package_frames(
    magenta: magenta_models.Magenta,
    variables: magenta_parts.Arrays,
    count: int,
    guidance: tuple[float, ...] = (),
    context: int = 0,
) -> magenta_sampler.Frames:
    """The package's frames for random conditioning, after random frames as the context."""
    conditioning = magenta_parts.conditioning(magenta)
    decoder = magenta.depthformer.decoder
    rng = np.random.default_rng(_SEED)
    x = conditioning.sample(rng, 1 + len(guidance), context + count)
    size, books = decoder.codebook_size, decoder.num_codebooks
    first = decoder.num_reserved_tokens + size * np.arange(books)
    given = (first + rng.integers(0, size, (context, books))).astype(np.int32)
    return magenta_sampler.frames(magenta, variables, x, guidance, given)


def _compute_dtype(converted: pathlib.Path) -> str:
    """In which the transformers of a converted model compute."""
    text = (converted / 'decoder' / 'config.json').read_text()
    return 'bfloat16' if 'bfloat16' in json.dumps(json.loads(text)['temporal_body']) else 'float32'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, choices=magenta_models.names())
    parser.add_argument('--converted', required=True, type=pathlib.Path)
    parser.add_argument('--checkpoint', help='as for convert_magenta')
    parser.add_argument('--seed', type=int, default=0, help='of random weights')
    parser.add_argument('--frames', type=int, default=250)
    parser.add_argument('--context', type=int, default=50, help='frames that are given')
    parser.add_argument('--guidance', type=float, default=2.0, help='by one negative')
    parser.add_argument(
        '--keep',
        type=pathlib.Path,
        help="directory of the package's frames, read if they are there",
    )
    return parser


class _Package:
    """The package's frames of a command line."""

    def __init__(self, args: argparse.Namespace):
        self._args = args
        self.dtype = _compute_dtype(args.converted)
        self._model: tuple[magenta_models.Magenta, magenta_parts.Arrays] | None = None

    def _variables(self) -> tuple[magenta_models.Magenta, magenta_parts.Arrays]:
        if self._model is None:
            args = self._args
            magenta = magenta_models.find(args.model, self.dtype)
            parts = [magenta_parts.conditioning(magenta), magenta_parts.decoder(magenta)]
            if args.checkpoint is None:
                variables = convert_magenta.random_variables(parts, args.seed)
            else:
                scope = 'params.depthformer'
                variables = convert_magenta.read_checkpoint(args.checkpoint, args.model, scope)
            self._model = magenta, variables
        return self._model

    def frames(self, guidance: tuple[float, ...], context: int) -> magenta_sampler.Frames:
        args = self._args
        name = f'{args.model}-{self.dtype}-{args.frames}-{len(guidance)}-{context}.npz'
        if args.keep is not None and (args.keep / name).is_file():
            return magenta_sampler.Frames.load(args.keep / name)
        made = package_frames(*self._variables(), args.frames, guidance, context)
        if args.keep is not None:
            made.save(args.keep / name)
        return made


def main():
    args = _parser().parse_args()
    package = _Package(args)
    wrong = False
    for guidance in ((), (args.guidance,)):
        for context in (0, args.context):
            frames = package.frames(guidance, context)
            report = compare(Decoding(args.converted, frames))
            print(f'guidance {list(guidance)}, context of {context} frames\n{report}', flush=True)
            divergences = [means.max() for means, _ in report.divergences.values()]
            wrong |= report.equal < report.frames or max(divergences) > MAX_DIVERGENCE
    # In bfloat16 both round, each in its own way.
    sys.exit(1 if wrong and package.dtype == 'float32' else 0)


if __name__ == '__main__':
    main()
