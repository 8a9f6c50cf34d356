"""Converts the pretrained Silero voice activity detector (16 kHz) to a model of ordinary layers.

The original takes chunks of 512 samples with the 64 samples before them as context, pads them by
64 reflected samples on the right, and takes four STFT frames' magnitudes by a convolution with
fixed filters; convolutions within the chunk, an LSTM over the chunks and a sigmoid follow.

  python -m sequence_layers_tools.silero_vad --source DIRECTORY --out MODEL

where DIRECTORY holds the unpacked wheel of the package `silero-vad`. The weights come from its
ONNX files, which are what the package runs: its silero_vad_16k.safetensors (6.2.3) is another
checkpoint, whose probabilities differ from theirs by up to 0.34 on the demo's recording.
"""

import argparse
import importlib.metadata
import pathlib
from typing import Any

import numpy as np
import onnx

from sequence_layers_tools import model_directory

SAMPLE_RATE = 16000
CHUNK = 512
CONTEXT = 64

_FRAME = CHUNK + CONTEXT
_FFT = 256
_HOP = 128
_PAD = 64
_BINS = _FFT // 2 + 1
# STFT frames within a chunk: those without reflected samples, and the one with them.
_PLAIN_FRAMES = (_FRAME - _FFT) // _HOP + 1
_FRAMES = _PLAIN_FRAMES + 1
# Number of samples that the last frame sees before the reflected ones.
_TAIL = _FFT - _PAD

# Name, number of filters, and stride over the frames in the chunk.
_CONVOLUTIONS = (('conv1', 128, 1), ('conv2', 64, 2), ('conv3', 64, 2), ('conv4', 128, 1))


def _serial(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'Serial', 'layers': list(layers), 'name': name}


def _convolution(name: str, filters: int, stride: int) -> dict[str, Any]:
    return {
        'type': 'Conv2D',
        'filters': filters,
        'kernel_size': [1, 3],
        'strides': [1, stride],
        'time_padding': 'causal_valid',
        # Explicit, as 'same' pads a strided convolution at its end only.
        'spatial_padding': [1, 1],
        'activation': 'relu',
        'name': name,
    }


def config() -> dict[str, Any]:
    """The layer tree, from samples to one probability for each chunk of 512."""
    plain_frames = _serial(
        'plain_frames',
        {'type': 'Reshape', 'output_shape': [_FRAME, 1]},
        {
            'type': 'Conv2D',
            'filters': 2 * _BINS,
            'kernel_size': [1, _FFT],
            'strides': [1, _HOP],
            'time_padding': 'causal_valid',
            'spatial_padding': 'valid',
            'use_bias': False,
            'name': 'stft',
        },
        {'type': 'Flatten'},
    )
    last_frame = _serial(
        'last_frame',
        {'type': 'Slice', 'slices': [[_FRAME - _TAIL, None, None]]},
        {'type': 'Dense', 'features': 2 * _BINS, 'use_bias': False, 'name': 'stft'},
    )
    return _serial(
        'silero_vad',
        {
            'type': 'Frame',
            'frame_length': _FRAME,
            'frame_step': CHUNK,
            # The context of the first chunk is zero, as in the original.
            'padding': 'semicausal',
            'name': 'chunk',
        },
        {
            'type': 'Parallel',
            'layers': [plain_frames, last_frame],
            'combination': 'concat',
            'name': 'spectrum',
        },
        {'type': 'Reshape', 'output_shape': [_FRAMES, 2, _BINS]},
        {'type': 'Power', 'power': 2.0},
        {'type': 'Sum', 'axis': -2},
        {'type': 'Power', 'power': 0.5},
        *(_convolution(*c) for c in _CONVOLUTIONS),
        {'type': 'Flatten'},
        {'type': 'LSTM', 'units': 128, 'name': 'lstm'},
        {'type': 'Relu'},
        {'type': 'Dense', 'features': 1, 'activation': 'sigmoid', 'name': 'probability'},
    )


def fold_reflection(filters: np.ndarray) -> np.ndarray:
    """The last frame's filters [n_fft, k] as filters of its samples before reflection: [tail, k].

    The reflected samples are those before the last one, in reverse order.
    """
    folded = filters[:_TAIL].copy()
    folded[_TAIL - 1 - _PAD : _TAIL - 1] += filters[_TAIL:][::-1]
    return folded


def weights(original: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The layers' variables from the original's parameters."""
    stft = original['stft.forward_basis_buffer'][:, 0, :].T  # [n_fft, real bins + imaginary bins]
    spectrum = 'params.spectrum.'
    result = {
        spectrum + 'plain_frames.stft.kernel': stft[None, :, None, :],
        spectrum + 'last_frame.stft.kernel': fold_reflection(stft),
        'params.lstm.kernel.kernel': original['decoder.rnn.weight_ih'].T,
        'params.lstm.recurrent_kernel.kernel': original['decoder.rnn.weight_hh'].T,
        'params.lstm.bias': original['decoder.rnn.bias_ih'] + original['decoder.rnn.bias_hh'],
        'params.probability.kernel': original['decoder.decoder.2.weight'][:, :, 0].T,
        'params.probability.bias': original['decoder.decoder.2.bias'],
    }
    for i, (name, _, _) in enumerate(_CONVOLUTIONS):
        kernel = original[f'encoder.{i}.reparam_conv.weight']  # [out, in, width]
        result[f'params.{name}.kernel'] = kernel.transpose(2, 1, 0)[None]  # [1, width, in, out]
        result[f'params.{name}.bias'] = original[f'encoder.{i}.reparam_conv.bias']
    return result


def onnx_path(source: str | pathlib.Path, name: str = 'silero_vad') -> pathlib.Path:
    """Path of one of the package's ONNX files; the default is the one that the package runs."""
    return pathlib.Path(source) / 'silero_vad' / 'data' / f'{name}.onnx'


def read_parameters(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Parameters of the 16 kHz model in an ONNX file of the package, without the prefix `model.`."""
    return {
        tensor.name.removeprefix('model.'): onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(path).graph.initializer
        if tensor.name.startswith('model.')
    }


def convert(source: str | pathlib.Path, out: str | pathlib.Path) -> None:
    """Writes the model directory `out` from the unpacked wheel in `source`."""
    source = pathlib.Path(source)
    found = importlib.metadata.distributions(name='silero-vad', path=[str(source)])
    version = next(iter(found)).version
    # Several files have the same weights; this one holds only the 16 kHz model, with intact names.
    file = onnx_path(source, 'silero_vad_16k_op15')
    model_directory.write(
        out,
        config(),
        weights(read_parameters(file)),
        channel_shape=(),
        metadata={'sample_rate': str(SAMPLE_RATE), 'source': f'silero-vad {version}'},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--source', required=True, help='the unpacked silero-vad wheel')
    parser.add_argument('--out', required=True, help='the model directory to write')
    args = parser.parse_args()
    convert(args.source, args.out)
    print(f'{args.out}: written')


if __name__ == '__main__':
    main()
