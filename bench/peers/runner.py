"""What an adapter gives for a row: its outputs, to be compared, and its time."""

import abc
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from peers import memory
from peers.rows import Row


class Skipped(Exception):
    """The peer cannot run this row here; the message says why."""


class Runner(abc.ABC):
    """A row on one library, made ready: constructing it loads, packs and compiles.

    `how` says how it runs, where that is not plain.
    """

    how = ''

    @abc.abstractmethod
    def outputs(self) -> np.ndarray:
        """The output of the whole sequence, or of the first row.checked steps of a new stream."""

    @abc.abstractmethod
    def seconds(self, count: int) -> float:
        """Wall-clock seconds of `count` runs: of the whole sequence, or steps that continue a stream."""


class Calls(Runner):
    """A runner whose timed part is a Python call."""

    def seconds(self, count: int) -> float:
        run = self.call()
        start = time.perf_counter()
        for _ in range(count):
            run()
        return time.perf_counter() - start

    @abc.abstractmethod
    def call(self) -> Callable[[], object]:
        """A function that runs once."""


class Openings(Runner):
    """A runner that opens a model, which takes time and memory; it computes nothing."""

    kind = 'private'

    def measure_memory(self) -> None:
        """Says in `how` what the first opening takes."""
        before = memory.private()
        kept = self.open()
        self.how = f'{(memory.private() - before) / 1e6:.0f} MB {self.kind}'
        self.close(kept)

    @abc.abstractmethod
    def open(self) -> Any:
        """Opens the model until it can run."""

    def close(self, kept: Any) -> None:
        """Frees what `open` gave, if that does not free itself."""

    def outputs(self) -> np.ndarray:
        return np.ones(1, np.float32)

    def seconds(self, count: int) -> float:
        total = 0.0
        for _ in range(count):
            start = time.perf_counter()
            kept = self.open()
            total += time.perf_counter() - start
            self.close(kept)
            del kept
        return total


def blocks(row: Row) -> np.ndarray:
    """The input of a stream, block by block: [number, batch, block, ...]."""
    whole = row.x.reshape(row.batch, -1, row.block, *row.x.shape[2:])
    return np.ascontiguousarray(np.moveaxis(whole, 1, 0))
