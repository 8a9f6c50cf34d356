"""The list of what is measured: one row a model and a way to run it, with its input and its peers."""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable

import numpy as np

from peers import models

# How a row runs: whole sequences, or steps of a stream, of which one is timed.
LAYER, STEP = 'layer', 'step'


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
    limit: str = ''  # 'fma' or 'dram': what bounds the time
    work: float = (
        0  # floating-point operations of a run; of a row bound by DRAM, its bytes are the kernels'
    )
    unit: str = 'ms'
    note: str = ''

    @property
    def is_step(self) -> bool:
        return self.mode == STEP

    @functools.cached_property
    def built(self) -> models.Model:
        return self.model()

    @property
    def read_bytes(self) -> int:
        """Bytes of weights that a step must read."""
        return self.built.kernel_bytes

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


def _recurrent() -> list[Row]:
    rows = []
    for kind in ('LSTM', 'GRU'):
        gates = 4 if kind == 'LSTM' else 3
        for units in (64, 256, 1024):
            model = functools.partial(models.rnn, kind, units)
            name, title = f'{kind.lower()}-{units}', f'{kind} {units}'
            flop = 2 * 2 * gates * units * units
            peers = ('onnxruntime', 'torch', *(('rtneural',) if units < 1024 else ()))
            step = Row(
                f'{name}-step', f'{title}, step', model, STEP, 1000, peers, goal=1.2, unit='us'
            )
            whole = Row(f'{name}-layer', f'{title}, T=1000', model, LAYER, 1000, peers,
                        limit='fma', work=flop * 1000)  # fmt: skip
            batch = Row(f'{name}-batch', f'{title}, B=16, T=200', model, LAYER, 200, ('onnxruntime', 'torch'),
                        batch=16, limit='fma', work=flop * 16 * 200)  # fmt: skip
            rows += [step, whole, batch]
    return rows


ROWS = [
    *_conformers(),
    Row('log-mel', 'log-mel of 60 s', models.log_mel, LAYER, 960000, ('fftw', 'torch'),
        goal=1.3, tolerance=2e-3),
    *_recurrent(),
    Row('tcn', 'TCN 8 x 16, blocks of 64', models.tcn, STEP, 6400, ('litert', 'rtneural', 'onnxruntime'),
        block=64, checked=20, goal=1.15, unit='us'),
]  # fmt: skip


def find(patterns: list[str]) -> list[Row]:
    """Rows whose names match one of the patterns, in order of the list."""
    return [row for row in ROWS if any(fnmatch.fnmatch(row.name, p) for p in patterns)]


def named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)
