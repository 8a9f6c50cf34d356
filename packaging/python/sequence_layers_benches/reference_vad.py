"""Runs the original Silero VAD by onnxruntime, chunk by chunk.

python -m sequence_layers_benches.reference_vad --source DIRECTORY --wav speech.wav --out p.npy
"""

import argparse
import pathlib

import numpy as np
import onnxruntime

from sequence_layers_tools import silero_vad, wav

# ONNX files that run the same 16 kHz model in steps; the package itself uses the first one.
STEP_MODELS = (
    'silero_vad',
    'silero_vad_16k_op15',
    'silero_vad_op18_ifless',
    'silero_vad_openvino_16k',
)


class Stream:
    """One stream through an ONNX file of the package, on one thread.

    The model has no state of its own: the caller passes it from the output to the next input.
    """

    def __init__(self, path: str | pathlib.Path, *, io_binding: bool = False):
        """With `io_binding`, inputs and outputs stay in buffers that are bound once."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Some files hold unused weights, each of which gives a warning.
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )
        self._feeds = {
            'input': np.zeros((1, silero_vad.CONTEXT + silero_vad.CHUNK), np.float32),
            'state': np.zeros((2, 1, 128), np.float32),
        }
        if 'sr' in (i.name for i in self._session.get_inputs()):
            self._feeds['sr'] = np.array(silero_vad.SAMPLE_RATE, np.int64)
        if io_binding:
            self._bind()
            self.step = self._step_bound

    def _bind(self) -> None:
        # Two buffers alternate as input and output of the state, so that nothing is copied.
        self._states = (self._feeds['state'], np.zeros_like(self._feeds['state']))
        self._output = np.zeros((1, 1), np.float32)
        self._turn = 0
        self._bindings = []
        for i in (0, 1):
            binding = self._session.io_binding()
            for name, array in (self._feeds | {'state': self._states[i]}).items():
                binding.bind_input(name, *self._place(array))
            binding.bind_output('output', *self._place(self._output))
            binding.bind_output('stateN', *self._place(self._states[1 - i]))
            self._bindings.append(binding)

    @staticmethod
    def _place(array: np.ndarray) -> tuple:
        return 'cpu', 0, array.dtype, array.shape, array.ctypes.data

    def reset(self) -> None:
        """Returns to the start of the stream."""
        self._feeds['state'] = np.zeros((2, 1, 128), np.float32)
        if hasattr(self, '_bindings'):
            self._turn = 0
            self._states[0][:] = 0

    def step(self, frame: np.ndarray) -> float:
        """The probability of speech in one of the `frames`."""
        feeds = self._feeds
        feeds['input'] = frame
        output, feeds['state'] = self._session.run(('output', 'stateN'), feeds)
        return output[0, 0]

    def _step_bound(self, frame: np.ndarray) -> float:
        self._feeds['input'][:] = frame
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn ^= 1
        return self._output[0, 0]


def frames(samples: np.ndarray) -> np.ndarray:
    """Chunks of 512 samples with the 64 samples before them, [number, 1, 576], zero-padded."""
    samples = np.pad(samples, (silero_vad.CONTEXT, -len(samples) % silero_vad.CHUNK))
    windows = np.lib.stride_tricks.sliding_window_view(
        samples, silero_vad.CONTEXT + silero_vad.CHUNK
    )
    return np.ascontiguousarray(windows[:: silero_vad.CHUNK, None, :])


def run(path: str | pathlib.Path, samples: np.ndarray, *, io_binding: bool = False) -> np.ndarray:
    """Probability of speech in each chunk of 512 samples."""
    stream = Stream(path, io_binding=io_binding)
    return np.array([stream.step(f) for f in frames(samples)], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--source', required=True, help='the unpacked silero-vad wheel')
    parser.add_argument('--wav', required=True, help='16 kHz')
    parser.add_argument('--out', required=True, help='the .npy file to write')
    args = parser.parse_args()
    samples, rate = wav.read(args.wav)
    if rate != silero_vad.SAMPLE_RATE:
        parser.error(f'{args.wav}: {rate} Hz, expected {silero_vad.SAMPLE_RATE}')
    probabilities = run(silero_vad.onnx_path(args.source), samples)
    np.save(args.out, probabilities)
    print(f'{args.out}: {len(probabilities)} probabilities')


if __name__ == '__main__':
    main()
