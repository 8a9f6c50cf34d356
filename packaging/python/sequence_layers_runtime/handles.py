"""Handles of the library: how they are kept alive, and how they are closed."""

import ctypes
import threading
from collections.abc import Callable
from typing import Any, Self


class Handle:
    """A pointer of the library, freed when nothing refers to it and to what was made of it.

    Whoever passes it to a call or looks into its memory refers to it, so that it lives until then.
    Children are counted apart from Python's own references: the garbage collector may finalize a
    layer before its states if it finds them together. The function that frees is kept, as modules
    are gone at exit.
    """

    # One lock for all handles, as a garbage collection can run one release inside another.
    _lock = threading.RLock()

    def __init__(
        self,
        pointer: ctypes.c_void_p,
        free: Callable[[ctypes.c_void_p], None],
        parent: 'Handle | None' = None,
    ):
        # ctypes passes this attribute where a function takes a pointer.
        self.pointer = self._as_parameter_ = pointer
        self.parent = parent
        self._free, self._users = free, 1
        # What the library calls or reads as long as the handle lives.
        self.kept: list[Any] = []
        if parent is not None:
            with self._lock:
                parent._users += 1

    def __del__(self) -> None:
        self._release()

    def exchange_parents(self, other: 'Handle') -> None:
        """Says that each of the two depends from now on on what the other did."""
        self.parent, other.parent = other.parent, self.parent

    def _release(self) -> None:
        with self._lock:
            self._users -= 1
            unused = self._users == 0
        if unused:
            self._free(self.pointer)
            if self.parent is not None:
                self.parent._release()


class Closable:
    """An object that lets go of its handle when it is closed, at the end of a `with`, or deleted."""

    _handle: Handle | None = None

    @property
    def handle(self) -> Handle:
        """The handle, for calls of this package.

        Raises:
          ValueError: The object is closed.
        """
        if self._handle is None:
            raise ValueError(f'this {type(self).__name__} is closed')
        return self._handle

    @property
    def closed(self) -> bool:
        return self._handle is None

    def close(self) -> None:
        """Frees the object's memory in the library, or leaves that to the last object made of it.

        Objects made of this one can still be used. Closing it again does nothing; any other use of it
        is a ValueError.
        """
        self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
