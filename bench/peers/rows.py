"""The list of what is measured: one row a model and a way to run it, with its input and its peers."""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from peers import models

# Bytes of a weight, with the scale of its group of 32.
_BYTES = {'float32': 4, 'bfloat16': 2, 'int8': 1 + 2 / 32, 'int4': 0.5 + 2 / 32}
_TOLERANCES = {'float32': 1e-4, 'bfloat16': 0.05, 'int8': 0.1, 'int4': 0.5}
# How a row runs: whole sequences; steps of a stream, of which one is timed; steps of many streams, each of a
# state's slots; opening a model until a stream can step.
LAYER, STEP, STREAMS, OPEN = 'layer', 'step', 'streams', 'open'


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    model: Callable[[], models.Model]
    mode: str
    time: (
        int  # steps of the whole sequence; for streams, of the input that is stepped over and over
    )
    peers: tuple[str, ...]
    batch: int = 1
    block: int = 1  # input steps in a step of a stream
    checked: int = 300  # steps of a stream whose outputs are compared
    tolerance: float = 1e-4  # largest difference of outputs, relative to the largest value
    goal: float = 1.0  # fastest peer's time / ours
    threads: tuple[int, ...] = (1, 2)
    limit: str = ''  # what bounds the time: 'fma', 'dram', or 'turns', reading weights in turns
    work: float = (
        0  # floating-point operations of a run; of a row bound by DRAM, its bytes are the kernels'
    )
    unit: str = 'ms'
    weight_format: str = 'float32'
    packed: bool = False  # opens a directory as `sl pack` writes it

    @property
    def is_step(self) -> bool:
        return self.mode == STEP

    @property
    def is_bound_by_reading(self) -> bool:
        return self.limit in ('dram', 'turns')

    @functools.cached_property
    def built(self) -> models.Model:
        return self.model()

    @property
    def read_bytes(self) -> int:
        """Bytes that a step must read: kernels, and caches of attention of the width of the model."""
        sizes = self.built.sizes
        caches = (
            8 * sizes['blocks'] * (sizes['past'] + 1) * sizes['width'] if 'past' in sizes else 0
        )
        return round(self.built.kernel_bytes * _BYTES[self.weight_format] / 4) + caches

    @functools.cached_property
    def x(self) -> np.ndarray:
        """The input [batch, time, ...]."""
        shape = (self.batch, self.time, *self.built.channel_shape)
        rng = np.random.default_rng(1)
        if self.built.dtype == 'int32':
            return rng.integers(0, self.built.sizes['vocabulary'], shape, np.int32)
        x = rng.standard_normal(shape, np.float32)
        return 0.1 * x if self.built.kind == 'log_mel' else x


def _conformers() -> list[Row]:
    rows = []
    for width in (512, 256):
        model = functools.partial(models.conformer, width)
        title = f'conformer 4 x {width}'
        # 20 width^2 in the feed-forward layers, 4 + 3 in attention and convolution: products only.
        work = 2 * 4 * 23 * width * width * 1000
        rows += [
            Row(f'conformer-{width}-step', f'{title}, step', model, STEP, 1000, ('onnxruntime', 'jax'),
                checked=100, goal=1.2, limit='dram', unit='us'),
            Row(f'conformer-{width}-layer', f'{title}, T=1000', model, LAYER, 1000, ('onnxruntime', 'jax'),
                limit='fma', work=work),
        ]  # fmt: skip
    return rows


def _decoders() -> list[Row]:
    rows = []
    for weight_format, ending in (
        ('float32', ''),
        ('bfloat16', '-bf16'),
        ('int8', '-int8'),
        ('int4', '-int4'),
    ):
        peers = ('onnxruntime', 'llama', 'ctranslate2', *(('jax',) if not ending else ()))
        tolerance = _TOLERANCES[weight_format]
        title = f'decoder 12 x 1024, {weight_format}'
        rows += [
            Row(f'decoder-step{ending}', f'{title}, step', models.decoder, STEP, 1000, peers, checked=256,
                goal=1.2, limit='dram', tolerance=tolerance, weight_format=weight_format),
            Row(f'decoder-prefill{ending}', f'{title}, prefill 256', models.decoder, LAYER, 256, peers,
                limit='fma', work=2 * 153.9e6 * 256, tolerance=tolerance, weight_format=weight_format),
        ]  # fmt: skip
    return rows


def _recurrent() -> list[Row]:
    rows = []
    for kind in ('LSTM', 'GRU'):
        gates = 4 if kind == 'LSTM' else 3
        for units in (64, 256, 1024):
            model = functools.partial(models.rnn, kind, units)
            name, title = f'{kind.lower()}-{units}', f'{kind} {units}'
            flop = 2 * 2 * gates * units * units
            peers = ('onnxruntime', 'torch', *(('rtneural',) if units < 1024 else ()))
            step = Row(f'{name}-step', f'{title}, step', model, STEP, 1000, peers,
                       goal=1.2, limit='turns', unit='us')  # fmt: skip
            whole = Row(f'{name}-layer', f'{title}, T=1000', model, LAYER, 1000, peers,
                        limit='fma', work=flop * 1000)  # fmt: skip
            batch = Row(f'{name}-batch', f'{title}, B=16, T=200', model, LAYER, 200, ('onnxruntime', 'torch'),
                        batch=16, limit='fma', work=flop * 16 * 200)  # fmt: skip
            rows += [step, whole, batch]
    return rows


def _vad() -> Row:
    return Row('vad', 'Silero VAD, chunk', models.silero_vad, STEP, 100 * 512, ('onnxruntime',),
               block=512, checked=100, goal=1.2, unit='us')  # fmt: skip


def _networks() -> list[Row]:
    def row(
        name: str, title: str, nodes: tuple[models.Node, ...], bins: int, time: int, **more: Any
    ) -> Row:
        model = functools.partial(models.cnn, nodes, bins, more.pop('channels', 1))
        return Row(name, title, model, LAYER, time, ('onnxruntime', 'torch'), **more)

    return [
        row('plcmos', 'convolutions as PLCMOS, 8 s', models.PLCMOS, 257, 800),
        row('dnsmos', 'convolutions as DNSMOS, 9 s', models.DNSMOS, 161, 900),
        row(
            'basic-pitch',
            'convolutions as Basic Pitch, 2 s',
            models.BASIC_PITCH,
            264,
            172,
            channels=8,
        ),
        row('crepe', 'convolutions as CREPE, 1 s', models.CREPE, 1024, 100),
        row('crepe-frame', 'convolutions as CREPE, a frame', models.CREPE, 1024, 1),
        Row('pesto', 'network as PESTO, 2 s', models.pesto, LAYER, 32000, ('onnxruntime', 'torch')),
        Row('pesto-step', 'network as PESTO, step', models.pesto, STEP, 160 * 120, ('onnxruntime', 'torch'),
            block=160, checked=120, goal=1.2, unit='us'),
        Row('resemblyzer', 'network as Resemblyzer, 6 x 1.6 s', models.resemblyzer, LAYER, 160,
            ('onnxruntime', 'torch'), batch=6),
    ]  # fmt: skip


def _streams() -> list[Row]:
    def row(
        name: str, title: str, model: Callable[[], models.Model], goal: float, **sizes: int
    ) -> Row:
        return Row(f'streams-{name}', f'64 streams, {title}', model, STREAMS, peers=('states',), batch=64,
                   goal=goal, **({'time': 20, 'checked': 10} | sizes))  # fmt: skip

    return [
        row('lstm-256', 'LSTM 256', functools.partial(models.rnn, 'LSTM', 256), 1),
        row('conformer-256', 'conformer 4 x 256', functools.partial(models.conformer, 256), 4),
        row('conformer-512', 'conformer 4 x 512', functools.partial(models.conformer, 512), 6),
        row('decoder', 'decoder 12 x 1024', models.decoder, 6, time=10, checked=2),
        row('vad', 'Silero VAD', models.silero_vad, 1, time=20 * 512, block=512),
    ]


def _openings() -> list[Row]:
    def row(ending: str, title: str, **more: Any) -> Row:
        return Row(f'decoder-open{ending}', f'decoder 12 x 1024: opening{title}', models.decoder, OPEN, 1,
                   ('onnxruntime', 'llama'), threads=(1,), **more)  # fmt: skip

    return [
        row('', ''),
        row('-packed', ', packed', packed=True),
        row('-packed-int8', ', packed int8', packed=True, weight_format='int8'),
    ]


ROWS = [
    *_conformers(),
    *_decoders(),
    Row('log-mel', 'log-mel of 60 s', models.log_mel, LAYER, 960000, ('fftw', 'torch'),
        goal=1.3, tolerance=2e-3),
    *_recurrent(),
    Row('s4', 'S4, convolution, T=5000', models.s4, LAYER, 5000, ('fftw',), tolerance=2e-3),
    Row('s4d', 'S4D, diagonal recurrence, T=5000', models.s4d, LAYER, 5000, ('c_loop',), tolerance=2e-3),
    _vad(),
    *_networks(),
    Row('tcn', 'TCN 8 x 16, blocks of 64', models.tcn, STEP, 6400, ('litert', 'rtneural', 'onnxruntime'),
        block=64, checked=20, goal=1.15, unit='us'),
    *_streams(),
    *_openings(),
]  # fmt: skip


def find(patterns: list[str]) -> list[Row]:
    """Rows whose names match one of the patterns, in order of the list."""
    return [row for row in ROWS if any(fnmatch.fnmatch(row.name, p) for p in patterns)]


def named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)
