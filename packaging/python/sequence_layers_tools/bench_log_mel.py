"""Times log-mel features of a minute of sound: this library beside what else computes them.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_tools.bench_log_mel \\
      --model docs/models/log_mel

Everything runs in this process on one CPU, in rounds that take turns; the time is that of the best
round, which the rest of the machine disturbs least. Peers are the JAX reference, compiled
(packaging/setup.sh --reference), torch.stft followed by a matrix product, and kaldi-native-fbank:
those that cannot be imported are left out. Streamed means blocks of 10 ms, through the C ABI, with
the calls made from Python taken into account: their cost is measured by steps of a model that does
nothing and is not subtracted, but printed.
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np

_SECONDS = 60
_RATE = 16000


class _Layer:
    name = 'libsequence_layers, layer-wise'

    def __init__(self, model: str, samples: np.ndarray):
        from sequence_layers_tools import library

        self._layer = library.Layer.open(model)
        self._samples = samples[np.newaxis]

    def run(self) -> np.ndarray:
        return self._layer.apply(self._samples)[0][0]


class _Stream:
    name = 'libsequence_layers, streamed'

    def __init__(self, model: str, samples: np.ndarray):
        from sequence_layers_tools import library

        layer = library.Layer.open(model)
        self._state = layer.new_state(channel_shape=())
        self._stepper = self._state.stepper(layer.block_size)
        self._samples = np.ascontiguousarray(samples)
        self._addresses = range(
            samples.ctypes.data,
            samples.ctypes.data + samples.nbytes,
            layer.block_size * samples.itemsize,
        )

    def run(self) -> None:
        step = self._stepper.step
        for address in self._addresses:
            step(address)


class _Reference:
    name = 'JAX reference, compiled'

    def __init__(self, model: str, samples: np.ndarray):
        from sequence_layers_tools import reference_model

        self._model = reference_model.Model(model)
        self._samples = samples[np.newaxis]

    def run(self) -> np.ndarray:
        return self._model.apply(self._samples)[0]


class _Fields:
    """What the model says of its transform and its filters."""

    def __init__(self, model: str):
        config = json.loads((pathlib.Path(model) / 'config.json').read_text())
        stft, mel, add, _ = config['layers']
        self.length, self.step, self.size = (
            stft['frame_length'],
            stft['frame_step'],
            stft['fft_length'],
        )
        self.bins, self.low, self.high = (
            mel['num_mel_bins'],
            mel['lower_edge_hertz'],
            mel['upper_edge_hertz'],
        )
        self.floor = add['shift']

    def filters(self) -> np.ndarray:
        """The filters as a matrix [bins of the transform, mel bins]."""

        def mel(hertz):
            return 1127 * np.log1p(hertz / 700)

        position = mel(np.linspace(0, _RATE / 2, self.size // 2 + 1))
        edges = np.linspace(mel(self.low), mel(self.high), self.bins + 2)
        spacing = edges[1] - edges[0]
        matrix = np.maximum(0, 1 - np.abs(position[:, np.newaxis] - edges[1:-1]) / spacing)
        matrix[0] = 0
        return matrix.astype(np.float32)


class _Torch:
    name = 'torch.stft'

    def __init__(self, model: str, samples: np.ndarray):
        import torch

        torch.set_num_threads(1)
        self._torch, self._fields = torch, _Fields(model)
        self._window = torch.hann_window(self._fields.length)
        self._filters = torch.from_numpy(self._fields.filters().T.copy())
        before = self._fields.length - 1
        self._before = (self._fields.size - self._fields.length) // 2 + before
        self._samples = torch.from_numpy(samples)

    def run(self) -> np.ndarray:
        torch, fields = self._torch, self._fields
        with torch.inference_mode():
            # A transform pads its frame on both sides: so does the sound have to be.
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
            return torch.log(self._filters @ spectrum + fields.floor).T.numpy()


class _Kaldi:
    name = 'kaldi-native-fbank'

    def __init__(self, model: str, samples: np.ndarray):
        import kaldi_native_fbank

        fields = _Fields(model)
        options = kaldi_native_fbank.FbankOptions()
        frames, mel = options.frame_opts, options.mel_opts
        frames.samp_freq = _RATE
        frames.dither = 0
        frames.preemph_coeff = 0
        frames.remove_dc_offset = False
        frames.window_type = 'hanning'
        frames.frame_length_ms = 1000 * fields.length / _RATE
        frames.frame_shift_ms = 1000 * fields.step / _RATE
        mel.num_bins, mel.low_freq, mel.high_freq = fields.bins, fields.low, fields.high
        options.use_power = False
        options.use_energy = False
        self._module, self._options, self._samples = kaldi_native_fbank, options, samples

    def run(self) -> int:
        fbank = self._module.OnlineFbank(self._options)
        fbank.accept_waveform(_RATE, self._samples)
        fbank.input_finished()
        return fbank.num_frames_ready


def _make(kind, *arguments):
    try:
        return kind(*arguments)
    except (ImportError, OSError, ValueError) as error:
        print(f'left out: {kind.name}: {error}')
        return None


def _call_cost(samples: np.ndarray) -> float:
    """Seconds that calling a C function from Python takes, for as many calls as there are blocks."""
    from sequence_layers_tools import library

    function = library.load().sl_status_name
    start = time.perf_counter()
    for _ in range(len(samples) // 160):
        function(0)
    return time.perf_counter() - start


def _check(runners: list) -> None:
    """Those that compute the very same thing agree."""
    results = {r.name: r.run() for r in runners if not isinstance(r, _Stream | _Kaldi)}
    want = results[_Layer.name]
    for name, got in results.items():
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4, err_msg=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, help='the model directory')
    parser.add_argument('--rounds', type=int, default=21)
    args = parser.parse_args()

    os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    samples = 0.1 * np.random.default_rng(0).standard_normal(_SECONDS * _RATE, np.float32)
    kinds = (_Layer, _Stream, _Reference, _Torch, _Kaldi)
    runners = [r for kind in kinds if (r := _make(kind, args.model, samples))]
    _check(runners)
    times = {r.name: [] for r in runners}
    calls = []
    for _ in range(args.rounds):
        for r in runners:
            start = time.perf_counter()
            r.run()
            times[r.name].append(time.perf_counter() - start)
        calls.append(_call_cost(samples))
    best = {name: min(t) for name, t in times.items()}
    ours = best[_Layer.name]
    width = max(map(len, best))
    print(f'{_SECONDS} s of sound at {_RATE} Hz, one CPU, best of {args.rounds} interleaved rounds:')
    for name, seconds in best.items():
        print(
            f'  {name:<{width}}  {1000 * seconds:8.2f} ms, {_SECONDS / seconds:8.0f} x real time,'
            f' {seconds / ours:6.2f} x the time of the first'
        )
    print(f"  of the streamed time, Python's calls take about {1000 * min(calls):.2f} ms")


if __name__ == '__main__':
    main()
