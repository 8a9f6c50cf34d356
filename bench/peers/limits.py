"""Limits of the machine: multiply-adds of one core, and reading memory by one core and by two."""

import ctypes
import functools

from peers import compiled

_DRAM = 2 << 30  # bytes, more than the caches of this machine hold
_IN_TURNS = 1 << 30  # bytes read in turns, so many that starting threads takes little of the time


@functools.cache
def _library() -> ctypes.CDLL:
    library = compiled.load('limits.c', '-pthread')
    for name in ('fma_rate', 'read_rate', 'read_rate_in_turns'):
        getattr(library, name).restype = ctypes.c_double
    library.memory_make.restype = ctypes.c_void_p
    return library


def fma(rounds: int = 5) -> float:
    """Floating-point operations a second of one core: the fastest of some rounds."""
    return max(float(_library().fma_rate(ctypes.c_int64(20_000_000))) for _ in range(rounds))


def reading(
    size: int = _DRAM, threads: tuple[int, ...] = (1, 2), rounds: int = 5, in_turns: bool = False
) -> dict[int, float]:
    """Bytes a second of reading memory of that size over and over, by number of threads; if
    `in_turns`, also each time from the other end, whichever is faster."""
    library, bytes_ = _library(), ctypes.c_size_t(size)
    memory = ctypes.c_void_p(library.memory_make(bytes_))
    if not memory:
        raise MemoryError(f'no memory of {size} bytes')
    passes = ctypes.c_int64(max(2, _IN_TURNS // size))
    best = {}
    for n in threads:
        rates = [library.read_rate(memory, bytes_, n) for _ in range(rounds)]
        if in_turns:
            rates += [library.read_rate_in_turns(memory, bytes_, n, passes) for _ in range(rounds)]
        best[n] = max(rates)
    library.memory_free(memory)
    return best
