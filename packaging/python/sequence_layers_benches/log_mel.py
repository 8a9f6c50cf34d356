"""The log-mel front end in NumPy, with the values of its config."""

import json
import pathlib

import numpy as np

RATE = 16000


def _mel(hertz):
    return 1127 * np.log1p(hertz / 700)


class Fields:
    """The transform and the filters of a model of STFT, LinearToMelSpectrogram, Add and Log."""

    def __init__(self, model: str | pathlib.Path):
        config = json.loads((pathlib.Path(model) / 'config.json').read_text())
        stft, mel, add, _ = config['layers']
        self.length, self.step = stft['frame_length'], stft['frame_step']
        self.size = stft['fft_length']
        self.bins = mel['num_mel_bins']
        self.low, self.high = mel['lower_edge_hertz'], mel['upper_edge_hertz']
        self.floor = add['shift']

    def filters(self) -> np.ndarray:
        """The filters as a matrix [bins of the transform, mel bins]."""
        position = _mel(np.linspace(0, RATE / 2, self.size // 2 + 1))
        edges = np.linspace(_mel(self.low), _mel(self.high), self.bins + 2)
        spacing = edges[1] - edges[0]
        matrix = np.maximum(0, 1 - np.abs(position[:, np.newaxis] - edges[1:-1]) / spacing)
        matrix[0] = 0
        return matrix

    def features(self, samples: np.ndarray) -> np.ndarray:
        """The output of the model for these samples, in double precision."""
        padded = np.pad(samples.astype(np.float64), (self.length - 1, 0))
        starts = self.step * np.arange(len(samples) // self.step)
        frames = padded[starts[:, np.newaxis] + np.arange(self.length)]
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.length) / self.length)
        before = (self.size - self.length) // 2
        after = self.size - self.length - before
        spectra = np.fft.rfft(np.pad(frames * window, ((0, 0), (before, after))))
        return np.log(np.abs(spectra) @ self.filters() + self.floor)


class TorchFeatures:
    """The features of a model by torch.stft and a matrix product, in single precision."""

    def __init__(self, fields: Fields, samples: np.ndarray):
        import torch

        self._torch, self._fields = torch, fields
        self._window = torch.hann_window(fields.length)
        self._filters = torch.from_numpy(fields.filters().T.astype(np.float32))
        self._before = (fields.size - fields.length) // 2 + fields.length - 1
        self._samples = torch.from_numpy(samples)

    def run(self):
        """A tensor [frames, mel bins]."""
        torch, fields = self._torch, self._fields
        with torch.inference_mode():
            # The transform pads its frame on both sides, so the sound needs that padding too.
            padded = torch.nn.functional.pad(self._samples, (self._before, fields.size))
            spectrum = torch.stft(
                padded,
                fields.size,
                fields.step,
                fields.length,
                self._window,
                center=False,
                return_complex=True,
            )
            spectrum = spectrum[:, : len(self._samples) // fields.step].abs()
            return torch.log(self._filters @ spectrum + fields.floor).T
