"""Decodes many tokens and shows that steps cost the same, in time and memory, from first to last.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.decode \\
      --model MODEL --window 128 --plot docs/images/decode.png

MODEL is a directory with a model that takes tokens and gives logits, such as the one that
random_model.py makes from docs/models/transformer_decoder. `--window` is the number of earlier steps
that the model sees. Prints the CPU time of a step for every thousand steps, and the resident memory;
fails if the memory grows. The plot needs matplotlib.
"""

import argparse
import pathlib
import resource
import sys
import time

import numpy as np

import sequence_layers_runtime as runtime

_GROUP = 1000
_PAGE = resource.getpagesize()


def _resident() -> float:
    """Megabytes of this process that are resident in memory."""
    return int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * _PAGE / 1e6


def run(model: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each step, and resident megabytes after each step."""
    decoder = runtime.Layer.open(model).new_decoder(temperature=1.0)
    times, memory = np.zeros(steps), np.zeros(steps)
    for t in range(steps):
        start = time.thread_time_ns()
        decoder.sample()
        times[t] = 1e-6 * (time.thread_time_ns() - start)
        memory[t] = _resident()
    return times, memory


def _plot(path: str, times: np.ndarray, memory: np.ndarray, window: int) -> None:
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, sharex=True, figsize=(9, 5.5))
    step = np.arange(len(times))
    upper.plot(step, times, ',', color='0.7', label='each step')
    size = 100
    groups = times[: len(times) // size * size].reshape(-1, size)
    for name, values in ('median', np.median(groups, axis=1)), ('best', groups.min(axis=1)):
        upper.plot(size * (0.5 + np.arange(len(values))), values, label=f'{name} of {size}')
    upper.set_ylim(0, 2 * np.median(times))
    upper.set_ylabel('time of a step, ms')
    lower.plot(step, memory, color='C2', label='resident memory')
    lower.set_ylim(0, 1.25 * memory.max())
    lower.set_ylabel('MB')
    lower.set_xlabel('tokens decoded')
    for axes in (upper, lower):
        axes.axvline(window, color='C3', linewidth=0.8, label=f'window of {window} full')
        axes.legend(loc='lower center', ncols=4, framealpha=1)
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, help='the model directory')
    parser.add_argument('--window', required=True, type=int, help='steps of past that it sees')
    parser.add_argument('--steps', type=int, default=10000)
    parser.add_argument('--plot', help='the .png file to write')
    args = parser.parse_args()
    times, memory = run(args.model, args.steps)
    for first in range(0, args.steps, _GROUP):
        part = times[first : first + _GROUP]
        print(
            f'steps {first:6} to {first + len(part) - 1:6}: best {part.min():8.3f} ms, median'
            f' {np.median(part):8.3f} ms, resident {memory[first + len(part) - 1]:8.1f} MB'
        )
    full = min(args.window, args.steps - 1)
    print(
        f'resident after the first step {memory[0]:.1f} MB, at a full window {memory[full]:.1f} MB,'
        f' at the end {memory[-1]:.1f} MB'
    )
    if args.plot:
        _plot(args.plot, times, memory, args.window)
    if memory[-1] > memory[0] + 1:
        print('memory has grown')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
