"""Limits of the machine: multiply-adds of one core, and reading memory by one core and by two."""

import ctypes
import functools

from peers import compiled

_DRAM = 2 << 30  # bytes, more than the caches of this machine hold


@functools.cache
def _library() -> ctypes.CDLL:
    library = compiled.load('limits.c', '-pthread')
    library.fma_rate.restype = library.read_rate.restype = ctypes.c_double
    library.memory_make.restype = ctypes.c_void_p
    return library


def fma(rounds: int = 5) -> float:
    """Floating-point operations a second of one core: the fastest of some rounds."""
    return max(float(_library().fma_rate(ctypes.c_int64(20_000_000))) for _ in range(rounds))


def reading(
    size: int = _DRAM, threads: tuple[int, ...] = (1, 2), rounds: int = 5
) -> dict[int, float]:
    """Bytes a second of reading memory of that size over and over, by number of threads."""
    library, bytes_ = _library(), ctypes.c_size_t(size)
    memory = ctypes.c_void_p(library.memory_make(bytes_))
    if not memory:
        raise MemoryError(f'no memory of {size} bytes')
    best = {
        n: max(float(library.read_rate(memory, bytes_, n)) for _ in range(rounds)) for n in threads
    }
    library.memory_free(memory)
    return best
