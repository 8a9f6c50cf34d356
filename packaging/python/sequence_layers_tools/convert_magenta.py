"""Converts a model of Magenta RealTime 2 into model directories.

  python -m sequence_layers_tools.convert_magenta --model mrt2_small --out mrt2_small/
      --checkpoint mrt2_small.safetensors

The directory has a model directory for each part: `conditioning` makes the conditioning of a frame from
its style tokens, notes and drums, `decoder` decodes a frame of codes, `codec_decoder` makes sound of
codes, and `codec_encoder` codes of sound. Without a checkpoint the weights are random. Each part is
compared with the package on random input before it is written.

Needs requirements-reference.txt, and the package in the path (packaging/setup.sh --magenta).
"""

import argparse
import dataclasses
import math
import pathlib
import sys
import zlib
from collections.abc import Mapping

# Imported before everything that imports sequence_layers.
from sequence_layers_tools import magenta_models, magenta_parts  # isort: skip

import numpy as np
import safetensors

import sequence_layers_runtime as runtime
from sequence_layers_tools import check_converted, model_directory
from sequence_layers_tools.convert import ConvertError

# The tolerance between steps and a whole run, relative to the largest value.
STEP_TOLERANCE = 1e-5
# The share of codes of the encoder that may differ.
CODE_TOLERANCE = 1e-3
# Frames of two streams that are compared.
_FRAMES = 12
_PARTS = ('conditioning', 'decoder', 'codec_decoder', 'codec_encoder')
_ERRORS = (
    ConvertError,
    check_converted.CheckError,
    model_directory.WriteError,
    runtime.SequenceLayersError,
    OSError,
)


def read_checkpoint(
    path: str | pathlib.Path, model: str, scope: str = 'params'
) -> dict[str, np.ndarray]:
    """The variables within a scope of a checkpoint of the package, by dotted path."""
    path = pathlib.Path(path)
    name = f'{model}.safetensors'
    places = [path] if path.is_file() else [path / name, path / 'checkpoints' / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConvertError(f'there is no checkpoint {" or ".join(map(str, places))}')
    try:
        with safetensors.safe_open(found, framework='flax') as file:
            names = {k.replace('/', '.'): k for k in file.keys()}
            wanted = [name for name in names if name.startswith(f'{scope}.')]
            return {name: np.asarray(file.get_tensor(names[name])) for name in wanted}
    except safetensors.SafetensorError as error:
        raise ConvertError(f'{found} is not a safetensors file: {error}') from error


def random_variables(parts: list[magenta_parts.Part], seed: int = 0) -> dict[str, np.ndarray]:
    """Random variables of some parts, whose layers keep the magnitude of their inputs.

    A variable has the same values whatever else is made.
    """
    shapes = {}
    for part in parts:
        shapes |= part.shapes()
    return {
        name: _random(np.random.default_rng([seed, zlib.crc32(name.encode())]), name, dtype, shape)
        for name, (dtype, shape) in sorted(shapes.items())
    }


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `variables_of` reads."""
    parser.add_argument(
        '--checkpoint',
        help="of the package: a file, or the directory of a model's file; default: random weights",
    )
    parser.add_argument('--seed', type=int, default=0, help='of random weights')


def variables_of(
    parts: list[magenta_parts.Part], args: argparse.Namespace, scope: str = 'params'
) -> dict[str, np.ndarray]:
    """The variables of some parts, which lie within a scope of the checkpoint if there is one."""
    if args.checkpoint is None:
        return random_variables(parts, args.seed)
    return read_checkpoint(args.checkpoint, args.model, scope)


def _random(rng: np.random.Generator, name: str, dtype: str, shape: list[int]) -> np.ndarray:
    noise, leaf = rng.standard_normal(shape, np.float32), name.rpartition('.')[2]
    if 'scale' in leaf:
        noise = (0.0 if leaf == 'per_dim_scale' else 1.0) + 0.1 * noise
    elif leaf == 'bias':
        noise *= 0.1
    elif leaf == 'embedding' or 'sink' in leaf:
        noise /= math.sqrt(shape[-1])
    elif len(shape) == 4:  # height, width, inputs, filters
        noise /= math.sqrt(math.prod(shape[:-1]))
    else:
        noise /= math.sqrt(shape[0])
    return noise.astype(dtype, copy=False)


@dataclasses.dataclass(frozen=True)
class _CodesReport(check_converted.Report):
    """Shares of codes that differ, instead of differences."""

    codes: int

    def __str__(self) -> str:
        return (
            f'of {self.codes} codes {100 * self.layer_wise:.3f} % differ from the reference, '
            f'in steps {100 * self.step_wise:.3f} % from a whole run'
        )


def _difference(got: np.ndarray, want: np.ndarray) -> float:
    """Relative to the largest value; of codes, the share that differs."""
    if got.shape != want.shape:
        raise check_converted.CheckError(f'it gives {list(got.shape)}, not {list(want.shape)}')
    if np.issubdtype(want.dtype, np.integer):
        return float((got != want).mean())
    peak = np.abs(want).max()
    return float(np.abs(got.astype(np.float64) - want).max() / peak)


def compare(
    directory: pathlib.Path,
    part: magenta_parts.Part,
    variables: Mapping[str, np.ndarray],
    frames: int = _FRAMES,
) -> check_converted.Report:
    """Compares a written part with the package on two streams of random input.

    Raises:
      check_converted.CheckError: They differ, or the part does not run.
    """
    rng = np.random.default_rng(1)
    half = 'float16' in str(part.config)
    whole, step = check_converted.TOLERANCE, STEP_TOLERANCE
    if half:
        whole = step = check_converted.HALF_TOLERANCE
    if part.tokens is None:
        whole = step = CODE_TOLERANCE
    try:
        with runtime.Layer.open(directory) as layer:
            time = frames * layer.block_size
            x = part.sample(rng, 2, time)
            constants = {
                name: rng.standard_normal((2, time, *shape), np.float32)
                for name, shape in part.constants.items()
            }
            got, _ = layer.apply(x, constants=constants)
            streamed, _ = layer.stream(x, constants=constants)
    except (OSError, runtime.SequenceLayersError) as error:
        raise check_converted.CheckError(f'{part.name}: {error}') from error
    want = part.reference(variables, x, constants)
    differences = _difference(got, want), _difference(streamed, got)
    if part.tokens is None:
        found = _CodesReport(*differences, whole, got.size)
    else:
        found = check_converted.Report(*differences, whole)
    if not (found.layer_wise <= whole and found.step_wise <= step):
        raise check_converted.CheckError(f'{part.name}: {found}')
    return found


def write(
    out: str | pathlib.Path,
    part: magenta_parts.Part,
    variables: Mapping[str, np.ndarray],
    verify: bool = True,
    frames: int = _FRAMES,
) -> check_converted.Report | None:
    """Writes one part into its directory below `out`, after a comparison with the package."""
    report = None

    def check(made: pathlib.Path) -> None:
        nonlocal report
        report = compare(made, part, variables, frames)

    rate = part.sample_rate
    model_directory.write(
        pathlib.Path(out) / part.name,
        part.config,
        part.weights(variables),
        channel_shape=part.channel_shape,
        dtype=part.dtype,
        metadata=None if rate is None else {'sample_rate': f'{rate:g}'},
        check=check if verify else None,
    )
    return report


def pack(directory: pathlib.Path, weight_format: str) -> None:
    """Replaces the weights of a written part by packed ones."""
    with runtime.Layer.open(directory, weight_format=weight_format) as layer:
        layer.save_weights(directory / 'model.safetensors')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, choices=magenta_models.names())
    parser.add_argument('--out', required=True, type=pathlib.Path)
    add_weights(parser)
    parser.add_argument(
        '--compute-dtype',
        default='bfloat16',
        choices=('bfloat16', 'float32'),
        help='in which the transformers compute; the package has bfloat16',
    )
    parser.add_argument(
        '--weight-format',
        help='in which weights are packed after the comparison, as `sl pack --format` has it',
    )
    parser.add_argument(
        '--parts', nargs='+', default=_PARTS, choices=_PARTS, help='write these only'
    )
    parser.add_argument(
        '--frames', type=int, default=_FRAMES, help='of the comparison; default: %(default)s'
    )
    parser.add_argument('--no-verify', action='store_true', help='write without a comparison')
    return parser


def main():
    args = _parser().parse_args()
    try:
        parts = magenta_parts.all_parts(magenta_models.find(args.model, args.compute_dtype))
        # One part after the other, as the variables of all may not fit into memory.
        for part in parts:
            if part.name not in args.parts:
                continue
            variables = variables_of([part], args, part.scope)
            report = write(args.out, part, variables, not args.no_verify, args.frames)
            del variables
            if args.weight_format is not None:
                pack(args.out / part.name, args.weight_format)
            print(
                f'{args.out / part.name}: {report or "not compared with the package"}', flush=True
            )
    except _ERRORS as error:
        sys.exit(f'convert_magenta: {error}')


if __name__ == '__main__':
    main()
