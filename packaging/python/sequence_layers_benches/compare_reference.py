"""Converts a model of the reference with random weights and compares the two on random input.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so .deps/reference-venv/bin/python \\
      -m sequence_layers_benches.compare_reference docs/models/causal_conformer --steps 64

The directory has config.json and weights.json (random_model.py). The reference's model is made from
the config and run layer-wise. convert.py converts it, and the library runs the result layer-wise and
streamed, block by block. Prints the largest differences, and time and peak memory of each run. Fails
if a difference exceeds the tolerance, relative to the largest value.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_tools import random_model


def _peak() -> str:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f'{kilobytes / 1024:.0f} MB'


def random_input(recorded: dict, steps: int) -> np.ndarray:
    """Input [1, steps, ...]; integers are below 16."""
    rng = np.random.default_rng(1)
    shape = (1, steps, *recorded['input']['channel_shape'])
    if recorded['input']['dtype'] == 'int32':
        return rng.integers(0, 16, shape, np.int32)
    return rng.standard_normal(shape, np.float32)


def _reference(source: pathlib.Path, out: pathlib.Path, steps: int) -> None:
    """Runs and converts the reference: writes its output and a model directory."""
    # Runs in its own process, so that the peak memory is that of the reference alone.
    import jax
    import jax.numpy as jnp
    from sequence_layers import jax as sl

    from sequence_layers_tools import convert, reference_config

    recorded = json.loads((source / 'weights.json').read_text())
    config = reference_config.from_json(json.loads((source / 'config.json').read_text()))
    variables = convert.unflatten(random_model.weights(recorded['weights']))
    convert.convert(
        config,
        variables,
        out,
        channel_shape=tuple(recorded['input']['channel_shape']),
        dtype=recorded['input']['dtype'],
        verify=False,  # the comparison follows in another process
    )
    layer = config.make()

    @jax.jit
    def run(variables, values):
        x = sl.Sequence.from_values(values)
        return layer.apply(variables, x, training=False, method='layer').mask_invalid().values

    with jax.default_matmul_precision('highest'):
        values = run(variables, jnp.asarray(random_input(recorded, steps)))
    np.save(out / 'reference.npy', np.asarray(values))
    print(f'the reference: peak memory {_peak()}')


def compare(source: pathlib.Path, model: pathlib.Path, steps: int, tolerance: float) -> int:
    recorded = json.loads((source / 'weights.json').read_text())
    x = random_input(recorded, steps)
    want = np.load(model / 'reference.npy')
    layer = runtime.Layer.open(model)
    runs = {'layer-wise': lambda: layer.apply(x)[0]}
    if layer.supports_step:
        runs['streamed'] = lambda: layer.stream(x)[0]
    result = 0
    for name, run in runs.items():
        start = time.perf_counter()
        got = run()[:, : want.shape[1]]
        seconds = time.perf_counter() - start
        largest = np.abs(got - want).max() / np.abs(want).max()
        # Printed at once, as the next run can take minutes.
        print(
            f'{name}: {largest:.2e} of the largest value {np.abs(want).max():.3g} (tolerance'
            f' {tolerance:.0e}), {seconds:.1f} s, peak memory {_peak()}',
            flush=True,
        )
        # The comparison is written so that a NaN fails too.
        if not (got.shape == want.shape and largest <= tolerance):
            result = 1
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('--steps', type=int, default=64, help='input steps')
    parser.add_argument('--tolerance', type=float, default=1e-4)
    parser.add_argument('--reference-to', type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reference_to:
        _reference(args.directory, args.reference_to, args.steps)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, '-m', 'sequence_layers_benches.compare_reference']
        options = ['--steps', str(args.steps), '--reference-to', folder]
        subprocess.run([*command, str(args.directory), *options], check=True)
        return compare(args.directory, pathlib.Path(folder), args.steps, args.tolerance)


if __name__ == '__main__':
    sys.exit(main())
