"""What the fitted models of docs/models do to sound that they were not fitted on: numbers and plots.

  SEQUENCE_LAYERS_LIBRARY=libsequence_layers.so python -m sequence_layers_benches.plugin_models \\
      [--amp docs/models/amp] [--denoiser docs/models/denoiser] [--reverb docs/models/reverb] \\
      [--plots docs/images]

Prints a line for each model given, and fails if it does not do its work. The denoiser needs espeak-ng,
the plots need matplotlib.
"""

import argparse
import pathlib
import sys

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_tools import fit_amp, fit_denoiser, fit_reverb

_TEST_SENTENCES = (
    'Our neighbours planted two apple trees behind the green garden shed.',
    'The captain wrote that no ship had passed the island since October.',
    'Bring your own cup, because the kitchen has only glasses and bowls.',
    'It took him eleven minutes to solve the puzzle without any help.',
)


def run(layer: runtime.Layer, samples: np.ndarray) -> np.ndarray:
    """What a stream makes of the samples, in few large steps."""
    steps = -(-1024 // layer.block_size) * layer.block_size
    padded = np.pad(samples, (0, -len(samples) % steps)).astype(np.float32)
    return layer.stream(padded, steps=steps)[: len(samples)]


def _figure(rows: int, columns: int = 1):
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(9, 5.5), squeeze=False)


def _save(figure, path: pathlib.Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=75)


def amp(model: str, plots: pathlib.Path | None) -> bool:
    x = fit_amp.guitar(10, seed=7)
    target = fit_amp.amplifier(x)
    output = run(runtime.Layer.open(model), x)
    scaled = x * np.dot(x, target) / np.dot(x, x)
    before, after = (fit_amp.error_to_signal(target, v) for v in (scaled, output))
    print(
        f'amp: error to signal of {len(x) / fit_amp.RATE:g} s of other notes:'
        f' input, scaled to fit, {100 * before:.1f} %; model {100 * after:.2f} %'
    )
    if plots:
        figure, axes = _figure(2)
        loud = int(np.argmax(np.abs(x)))
        for ax, length in zip(axes[:, 0], (0.25, 0.012), strict=True):
            part = slice(loud, loud + round(length * fit_amp.RATE))
            time = np.arange(part.stop - part.start) / fit_amp.RATE * 1000
            ax.plot(time, x[part], color='0.75', label='before: input')
            ax.plot(time, target[part], color='C0', linewidth=2.5, label='simulated amplifier')
            ax.plot(time, output[part], '--', color='C1', linewidth=1, label='after: model')
        axes[0, 0].set_title(
            f'amp: error to signal {100 * before:.1f} % before, {100 * after:.2f} % after'
        )
        axes[0, 0].legend(loc='upper right')
        axes[1, 0].set_xlabel('milliseconds')
        _save(figure, plots / 'amp.png')
    return after < 0.05 and after < before / 3


def denoiser(model: str, plots: pathlib.Path | None) -> bool:
    layer = runtime.Layer.open(model)
    rng = np.random.default_rng(11)
    gains = []
    for snr in (0, 5, 10):
        before, after = [], []
        for text in _TEST_SENTENCES:
            clean = 0.3 * fit_denoiser.speech(3, rng, (text,))
            noisy = fit_denoiser.mixture(clean, snr, rng)
            output = run(layer, noisy)
            before.append(fit_denoiser.si_sdr(clean, noisy))
            after.append(fit_denoiser.si_sdr(clean[: len(output)], output))
        gains.append(np.mean(after) - np.mean(before))
        print(
            f'denoiser: other sentences and noise at {snr} dB: SI-SDR {np.mean(before):.1f} dB before,'
            f' {np.mean(after):.1f} dB after, {gains[-1]:+.1f} dB'
        )
    if plots:
        figure, axes = _figure(3)
        for ax, sound, name in zip(
            axes[:, 0], (noisy, output, clean), ('before', 'after', 'clean'), strict=True
        ):
            level = 20 * np.log10(fit_denoiser.magnitudes(sound).T + 1e-4)
            seconds = len(sound) / fit_denoiser.RATE
            ax.imshow(
                level, origin='lower', aspect='auto', vmin=-60, vmax=30, extent=(0, seconds, 0, 8)
            )
            ax.set_ylabel(f'{name}, kHz')
        axes[2, 0].set_xlabel('seconds')
        axes[0, 0].set_title(
            f'denoiser: SI-SDR {before[-1]:.1f} dB before, {after[-1]:.1f} dB after'
        )
        _save(figure, plots / 'denoiser.png')
    return min(gains) > 2


def reverb(model: str, plots: pathlib.Path | None) -> bool:
    target = fit_reverb.room_response()
    impulse = np.zeros(2 * len(target))
    impulse[0] = 1
    output = run(runtime.Layer.open(model), impulse)
    times = [fit_reverb.reverberation_time(v) for v in (target, output)]
    # Down to -45 dB: below, that the simulated response ends is what one would see.
    heard = int(np.argmax(fit_reverb.energy_decay(target) < -45))
    decays = [fit_reverb.energy_decay(v)[:heard] for v in (target, output)]
    difference = float(np.abs(decays[0] - decays[1]).max())
    error = float(np.abs(output[: len(target)] - target).max())
    print(
        f'reverb: decay by 60 dB in {times[1]:.4f} s, the room {times[0]:.4f} s; energy decay at most'
        f' {difference:.3f} dB apart down to -45 dB, samples {error:.1e}'
    )
    if plots:
        figure, axes = _figure(2)
        time = np.arange(len(target)) / fit_reverb.RATE
        axes[0, 0].plot(time, target, color='C0', linewidth=2.5, label='room')
        axes[0, 0].plot(time, output[: len(target)], '--', color='C1', linewidth=1, label='model')
        axes[0, 0].set_xlim(-0.002, 0.06)
        axes[0, 0].set_title(
            f'reverb: an impulse before, the room after it; largest difference {error:.1e}'
        )
        axes[0, 0].legend()
        for decay, style, name in zip(decays, ('C0-', 'C1--'), ('room', 'model'), strict=True):
            axes[1, 0].plot(time[: len(decay)], decay, style, label=name)
        axes[1, 0].set_ylabel('energy to come, dB')
        axes[1, 0].set_xlabel('seconds')
        _save(figure, plots / 'reverb.png')
    return difference < 0.5 and abs(times[0] - times[1]) < 0.01


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    checks = {'amp': amp, 'denoiser': denoiser, 'reverb': reverb}
    for name in checks:
        parser.add_argument(f'--{name}')
    parser.add_argument('--plots', type=pathlib.Path)
    args = vars(parser.parse_args())
    good = [check(args[name], args['plots']) for name, check in checks.items() if args[name]]
    return int(not all(good) or not good)


if __name__ == '__main__':
    sys.exit(main())
