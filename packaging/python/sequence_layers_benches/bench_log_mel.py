"""Times log-mel features of a minute of sound: this library beside what else computes them.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.bench_log_mel \\
      --model docs/models/log_mel

All candidates take turns in this process on one CPU. A time is the CPU time of the fastest round,
which other processes disturb least. Peers are the compiled JAX reference (packaging/setup.sh
--reference), torch.stft followed by a matrix product, and kaldi-native-fbank; peers that cannot be
imported are left out. "Streamed" means blocks of 10 ms, which `sl bench` steps.
"""

import argparse
import os
import re
import subprocess
import time

import numpy as np

from sequence_layers_benches import log_mel

_SECONDS = 60
_RATE = log_mel.RATE


class _Layer:
    name = 'libsequence_layers, layer-wise'

    def __init__(self, model: str, samples: np.ndarray):
        import sequence_layers_runtime as runtime

        self._layer = runtime.Layer.open(model)
        self._samples = samples[np.newaxis]

    def run(self) -> np.ndarray:
        return self._layer.apply(self._samples)[0][0]


class _Stream:
    """Steps measured by `sl bench`: calls from Python would take longer than the steps."""

    name = 'libsequence_layers, streamed'
    _BLOCK = 160

    def __init__(self, model: str, samples: np.ndarray, sl: str):
        self._command = [sl, 'bench', model, '--input', 'scalar', '--seconds', '0.05']
        self._blocks = len(samples) // self._BLOCK

    def seconds(self) -> float:
        report = subprocess.run(self._command, capture_output=True, text=True, check=True).stdout
        return (
            1e-6 * self._blocks * float(re.search(r'^step +median +([0-9.]+) us', report, re.M)[1])
        )


class _Reference:
    name = 'JAX reference, compiled'

    def __init__(self, model: str, samples: np.ndarray):
        from sequence_layers_benches import reference_model

        self._model = reference_model.Model(model)
        self._samples = samples[np.newaxis]

    def run(self) -> np.ndarray:
        return self._model.apply(self._samples)[0]


class _Torch:
    name = 'torch.stft'

    def __init__(self, model: str, samples: np.ndarray):
        import torch

        torch.set_num_threads(1)
        self._features = log_mel.TorchFeatures(log_mel.Fields(model), samples)

    def run(self) -> np.ndarray:
        return self._features.run().numpy()


class _Kaldi:
    name = 'kaldi-native-fbank'

    def __init__(self, model: str, samples: np.ndarray):
        import kaldi_native_fbank

        fields = log_mel.Fields(model)
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


def _seconds(runner) -> float:
    if isinstance(runner, _Stream):
        return runner.seconds()
    start = time.process_time()
    runner.run()
    return time.process_time() - start


def _check(runners: list) -> None:
    """Checks that all runners that compute the same features agree."""
    results = {r.name: r.run() for r in runners if not isinstance(r, _Stream | _Kaldi)}
    want = results[_Layer.name]
    for name, got in results.items():
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4, err_msg=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', required=True, help='the model directory')
    parser.add_argument('--sl', default='build/release/sl', help='the tool')
    parser.add_argument('--rounds', type=int, default=21)
    args = parser.parse_args()

    os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    samples = 0.1 * np.random.default_rng(0).standard_normal(_SECONDS * _RATE, np.float32)
    peers = [r for kind in (_Reference, _Torch, _Kaldi) if (r := _make(kind, args.model, samples))]
    runners = [_Layer(args.model, samples), _Stream(args.model, samples, args.sl), *peers]
    _check(runners)
    times = {r.name: [] for r in runners}
    for _ in range(args.rounds):
        for r in runners:
            times[r.name].append(_seconds(r))
    best = {name: min(t) for name, t in times.items()}
    ours = best[_Layer.name]
    width = max(map(len, best))
    print(
        f'{_SECONDS} s of sound at {_RATE} Hz, one CPU, best of {args.rounds} interleaved rounds:'
    )
    for name, seconds in best.items():
        print(
            f'  {name:<{width}}  {1000 * seconds:8.2f} ms, {_SECONDS / seconds:8.0f} x real time,'
            f' {seconds / ours:6.2f} x the time of the first'
        )


if __name__ == '__main__':
    main()
