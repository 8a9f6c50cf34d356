"""Compares frames that a converted decoder of Magenta RealTime 2 chooses with the package's.

  python -m sequence_layers_tools.compare_magenta --model mrt2_small --converted mrt2_small/ --frames 250

Guided by a negative and not, from silence and after a given context, the most likely tokens of all
frames should be equal. Where one is not, its line tells by how much the package's choice is the more
likely one, beside the difference of the logits. The tokens of the package are then given to both, to
compare the logits, the most likely tokens and the distributions that are sampled from: the
Kullback-Leibler divergence for each codebook, of all tokens among the choices that either keeps, and
apart from that how often and how far from the edge rounding lets only one keep a choice. The models must have been converted without
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
import safetensors

import sequence_layers_runtime as runtime
from sequence_layers_tools import convert_magenta
from sequence_layers_tools.convert import ConvertError

MAX_DIVERGENCE = 1e-4
# How far from the edge rounding may decide whether a choice is kept.
MAX_MARGIN = 1e-4
_SEED = 3


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; only one of top_k and top_p can be set."""

    temperature: float
    top_k: int | None = None
    top_p: float | None = None

    def __str__(self) -> str:
        kept = 'all tokens'
        if self.top_k is not None:
            kept = f'top_k {self.top_k}'
        if self.top_p is not None:
            kept = f'top_p {self.top_p}'
        return f'{kept} at temperature {self.temperature}'


SAMPLINGS = (Sampling(1.3, top_k=40), Sampling(1.0), Sampling(1.3, top_p=0.9))


def kept_choices(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Which choices the package's sampler keeps, and how much could change that of each.

    The second is a difference of its logit from those that are, or are not, kept or, for top_p, of
    the probability of all more likely choices from top_p, whichever is smaller.
    """
    logits = logits.astype(np.float64)
    order = np.argsort(-logits, -1)
    ordered = np.take_along_axis(logits, order, -1)
    last = np.full((*logits.shape[:-1], 1), logits.shape[-1] - 1)
    margin = np.full(logits.shape, np.inf)
    if sampling.top_k is not None:
        last = np.minimum(last, sampling.top_k - 1)
    if sampling.top_p is not None:
        sums = np.cumsum(softmax(ordered), -1)
        last = np.minimum(last, (sums < sampling.top_p).sum(-1, keepdims=True))
        more_likely = np.concatenate([np.zeros_like(sums[..., :1]), sums[..., :-1]], -1)
        np.put_along_axis(margin, order, np.abs(more_likely - sampling.top_p), -1)
    kept = logits >= np.take_along_axis(ordered, last, -1)
    lowest = np.where(kept, logits, np.inf).min(-1, keepdims=True)
    highest = np.where(kept, -np.inf, logits).max(-1, keepdims=True)
    return kept, np.minimum(margin, np.abs(logits - np.where(kept, highest, lowest)))


def probabilities(logits: np.ndarray, kept: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The probabilities of the kept tokens, of which some were hidden before the temperature acts."""
    return softmax(np.where(kept, logits.astype(np.float64) / sampling.temperature, -np.inf))


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def kullback_leibler(want: np.ndarray, got: np.ndarray) -> np.ndarray:
    """The Kullback-Leibler divergence of the last axis; infinite where got lacks a token of want."""
    with np.errstate(divide='ignore', invalid='ignore'):
        terms = np.where(want > 0, want * (np.log(want) - np.log(got)), 0.0)
    return np.maximum(terms.sum(-1), 0.0)


@dataclasses.dataclass(frozen=True)
class Divergence:
    """How far the distributions differ that tokens are drawn from.

    Attributes:
      tokens: The number of tokens drawn.
      common: The mean divergence for each codebook, of all tokens, among the choices that either keeps.
      drawn: The mean divergence for each codebook between the distributions as they are, of tokens for
        which ours keeps all choices of the package; of the others it is infinite.
      infinite: The number of these others.
      unequal: The number of tokens for which the two keep different choices.
      mass: The largest probability of the choices of a token that only one of the two keeps.
      distance: The mean over all tokens of half the absolute difference of probabilities.
      margin: How much could change at most whether the package keeps such a choice.
    """

    tokens: int
    common: np.ndarray
    drawn: np.ndarray
    infinite: int
    unequal: int
    mass: float
    distance: float
    margin: float

    def __str__(self) -> str:
        worst = int(self.common.argmax())
        text = (
            f'divergence {self.common.mean():.1e}, of codebook {worst} {self.common[worst]:.1e}, '
            f'total variation {self.distance:.1e}'
        )
        if not self.unequal:
            return f'{text}; both keep the same choices of all {self.tokens} tokens'
        worst = int(self.drawn.argmax())
        return (
            f'{text}, among choices that either keeps;\n'
            f'  at {self.unequal} of {self.tokens} tokens only one keeps some, which are up to '
            f'{self.margin:.1e} from the edge and have up to {self.mass:.1e} of the probability;\n'
            f'  with that the divergence is infinite for {self.infinite} tokens, and of the others '
            f'{self.drawn.mean():.1e}, of codebook {worst} {self.drawn[worst]:.1e}'
        )


def divergence(want: np.ndarray, got: np.ndarray, sampling: Sampling) -> Divergence:
    """Compares what is drawn from logits [time, codebooks, choices] of the package and of ours."""
    (kept, margin), (got_kept, _) = kept_choices(want, sampling), kept_choices(got, sampling)
    either, one = kept | got_kept, kept != got_kept
    p, q = probabilities(want, kept, sampling), probabilities(got, got_kept, sampling)
    common = kullback_leibler(
        probabilities(want, either, sampling), probabilities(got, either, sampling)
    )
    drawn = kullback_leibler(p, q)
    finite = np.isfinite(drawn)
    distance = np.abs(p - q).sum(-1) / 2
    return Divergence(
        tokens=drawn.size,
        common=common.mean(0),
        drawn=np.where(finite, drawn, 0).sum(0) / np.maximum(finite.sum(0), 1),
        infinite=int((~finite).sum()),
        unequal=int(one.any(-1).sum()),
        mass=float(np.where(one, p + q, 0).sum(-1).max()),
        distance=float(distance.mean()),
        margin=float(np.where(one, margin, 0).max()),
    )


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
      divergences: How far the distributions differ for each way to sample.
    """

    frames: int
    equal: int
    first: tuple[int, float, float] | None
    logits: float
    likely: float
    divergences: dict[Sampling, Divergence]

    def agrees(self) -> bool:
        """Whether all frames are equal, tokens drawn alike, and other choices kept by rounding only."""
        return self.equal == self.frames and all(
            found.common.max() <= MAX_DIVERGENCE and found.margin <= MAX_MARGIN
            for found in self.divergences.values()
        )

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
        lines += [f'{sampling}: {found}' for sampling, found in self.divergences.items()]
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
    return Report(
        frames=len(tokens),
        equal=int((tokens == chosen).all(1).sum()),
        first=first,
        logits=float(np.abs(got - want).max() / np.abs(want).max()),
        likely=float((got.argmax(-1) == want.argmax(-1)).mean()),
        divergences={sampling: divergence(want, got, sampling) for sampling in SAMPLINGS},
    )


def package_frames(
    magenta: magenta_models.Magenta,
    sampler: magenta_sampler.Sampler,
    count: int,
    context: int = 0,
) -> magenta_sampler.Frames:
    """The package's frames for random conditioning, after random frames as the context."""
    conditioning = magenta_parts.conditioning(magenta)
    decoder = magenta.depthformer.decoder
    rng = np.random.default_rng(_SEED)
    x = conditioning.sample(rng, 1 + len(sampler.guidance), context + count)
    size, books = decoder.codebook_size, decoder.num_codebooks
    first = decoder.num_reserved_tokens + size * np.arange(books)
    given = (first + rng.integers(0, size, (context, books))).astype(np.int32)
    return sampler.frames(x, given)


def check_weights(directory: pathlib.Path, weights: magenta_parts.Arrays) -> None:
    """Raises ConvertError if a written part has other weights. Packed ones are not compared."""
    with safetensors.safe_open(directory / 'model.safetensors', 'numpy') as file:
        for name in file.keys():
            want = weights.get(name)
            if want is None or want.ndim != 1 or want.dtype != np.float32:
                continue
            if not np.array_equal(file.get_tensor(name), want):
                raise ConvertError(
                    f'{directory} has other weights than the package here: "{name}" differs. Was it '
                    'converted with another --checkpoint or --seed, or by another version?'
                )


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
    convert_magenta.add_weights(parser)
    parser.add_argument('--frames', type=int, default=250)
    parser.add_argument(
        '--context', type=int, default=50, help='frames that are given; 0: only from silence'
    )
    parser.add_argument(
        '--guidance', type=float, default=2.0, help='by one negative; 0: only without'
    )
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
        self._magenta = magenta_models.find(args.model, self.dtype)
        self._parts = [
            magenta_parts.conditioning(self._magenta),
            magenta_parts.decoder(self._magenta),
        ]
        self._made: magenta_sampler.Sampler | None = None

    def _sampler(self, guidance: tuple[float, ...]) -> magenta_sampler.Sampler:
        """The sampler with that guidance. One is kept, as compiling takes minutes."""
        if self._made is None or self._made.guidance != guidance:
            self._made = None
            variables = convert_magenta.variables_of(self._parts, self._args, 'params.depthformer')
            for part in self._parts:
                check_weights(self._args.converted / part.name, part.weights(variables))
            self._made = magenta_sampler.Sampler(self._magenta, variables, guidance)
        return self._made

    def frames(self, guidance: tuple[float, ...], context: int) -> magenta_sampler.Frames:
        args = self._args
        name = f'{args.model}-{self.dtype}-{args.frames}-{len(guidance)}-{context}.npz'
        if args.keep is not None and (args.keep / name).is_file():
            return magenta_sampler.Frames.load(args.keep / name)
        sampler = self._sampler(guidance)
        made = package_frames(self._magenta, sampler, args.frames, context)
        if args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
            made.save(args.keep / name)
        return made


def _compare_all(args: argparse.Namespace) -> bool:
    """Prints all reports. Returns whether the tokens and draws of all agree."""
    package = _Package(args)
    agree = True
    for guidance in dict.fromkeys(((), (args.guidance,) if args.guidance else ())):
        for context in dict.fromkeys((0, args.context)):
            frames = package.frames(guidance, context)
            report = compare(Decoding(args.converted, frames))
            print(f'guidance {list(guidance)}, context of {context} frames\n{report}', flush=True)
            agree &= report.agrees()
    # In bfloat16 both round, each in its own way.
    return agree or package.dtype != 'float32'


def main():
    try:
        agree = _compare_all(_parser().parse_args())
    except (ConvertError, runtime.SequenceLayersError, OSError) as error:
        sys.exit(f'compare_magenta: {error}')
    sys.exit(0 if agree else 1)


if __name__ == '__main__':
    main()
