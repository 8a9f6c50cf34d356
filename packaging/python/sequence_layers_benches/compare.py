"""Streams speech through the converted Silero VAD and through onnxruntime: numbers and speed.

Both take turns in this process on one thread and read buffers that are made in advance. Only the
calls that step the models are timed. onnxruntime runs in its fastest way: the fastest of the
package's ONNX files, with or without IO binding.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.compare \\
      --model MODEL --source DIRECTORY --wav speech.wav

Fails if any probability differs by more than the tolerance.
"""

import argparse
import statistics
import sys
import time

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_benches import reference_vad
from sequence_layers_tools import silero_vad, wav


class _Ours:
    name = 'libsequence_layers'

    def __init__(self, model: str, samples: np.ndarray):
        self._state = runtime.Layer.open(model).new_state()
        self._stepper = self._state.stepper(silero_vad.CHUNK)
        self._samples = np.ascontiguousarray(samples)
        self._addresses = range(
            self._samples.ctypes.data,
            self._samples.ctypes.data + self._samples.nbytes,
            silero_vad.CHUNK * self._samples.itemsize,
        )

    def probabilities(self) -> np.ndarray:
        self._state.reset()
        result = []
        for address in self._addresses:
            self._stepper.step(address)
            result.append(self._stepper.output.item())
        return np.array(result, np.float32)

    def seconds(self) -> float:
        self._state.reset()
        step = self._stepper.step
        start = time.perf_counter()
        for address in self._addresses:
            step(address)
        return time.perf_counter() - start


class _Onnxruntime:
    def __init__(self, source: str, file: str, io_binding: bool, frames: list[np.ndarray]):
        self.name = f'onnxruntime ({file}.onnx{", IO binding" if io_binding else ""})'
        self._stream = reference_vad.Stream(
            silero_vad.onnx_path(source, file), io_binding=io_binding
        )
        self._frames = frames

    def seconds(self) -> float:
        self._stream.reset()
        step = self._stream.step
        start = time.perf_counter()
        for frame in self._frames:
            step(frame)
        return time.perf_counter() - start


def _fastest(source: str, samples: np.ndarray) -> _Onnxruntime:
    frames = list(reference_vad.frames(samples))
    ways = [
        _Onnxruntime(source, file, io_binding, frames)
        for file in reference_vad.STEP_MODELS
        for io_binding in (False, True)
    ]
    return min(ways, key=lambda way: min(way.seconds() for _ in range(4)))


def _compare_speed(runners: list, rounds: int, duration: float, chunks: int) -> None:
    times = {r.name: [] for r in runners}
    for r in runners:
        r.seconds()  # warms caches
    for _ in range(rounds):
        for r in runners:
            times[r.name].append(r.seconds())
    medians = {name: statistics.median(t) for name, t in times.items()}
    width = max(map(len, medians))
    print(f'speed, 1 thread, median of {rounds} interleaved rounds:')
    for name, seconds in medians.items():
        print(
            f'  {name:<{width}}  {1e6 * seconds / chunks:7.1f} us a chunk,'
            f' real-time factor {seconds / duration:.5f}'
        )
    ours, theirs = medians.values()
    print(f'  onnxruntime takes {theirs / ours:.2f} times as long')


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, help='the converted model directory')
    parser.add_argument('--source', required=True, help='the unpacked silero-vad wheel')
    parser.add_argument('--wav', required=True, help='16 kHz')
    parser.add_argument('--tolerance', type=float, default=1e-4)
    parser.add_argument('--rounds', type=int, default=21, help='of the timing; 0: no timing')
    args = parser.parse_args()

    samples, rate = wav.read(args.wav)
    if rate != silero_vad.SAMPLE_RATE:
        parser.error(f'{args.wav}: {rate} Hz, expected {silero_vad.SAMPLE_RATE}')
    samples = np.pad(samples, (0, -len(samples) % silero_vad.CHUNK))

    ours = _Ours(args.model, samples)
    got = ours.probabilities()
    want = reference_vad.run(silero_vad.onnx_path(args.source), samples)
    if args.rounds:
        theirs = _fastest(args.source, samples)
        _compare_speed([ours, theirs], args.rounds, len(samples) / rate, len(got))
    difference = np.abs(got - want).max()
    print(f'{len(got)} chunks of {silero_vad.CHUNK} samples, {np.sum(want > 0.5)} with speech')
    print(f'largest difference from onnxruntime: {difference:.2e} (tolerance {args.tolerance:.0e})')
    # The comparison is written so that a NaN fails too.
    return 0 if difference <= args.tolerance else 1


if __name__ == '__main__':
    sys.exit(main())
