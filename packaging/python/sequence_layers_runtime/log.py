"""Messages of the library: warnings about models, threads that the system refuses, and the like."""

from collections.abc import Callable
from typing import Any

from sequence_layers_runtime import abi

# In the order of the enum sl_log_level, whose first value stands for 'warning'.
_LEVELS = ('default', 'debug', 'info', 'warning', 'error', 'off')

# The library calls it until another one takes its place.
_kept: list[Any] = []


def set_log(callback: Callable[[str, str], None] | None, level: str = 'warning') -> None:
    """Sends messages of at least `level` to `callback(level, message)`; None: to stderr, as at first.

    Steps never log. No other thread may be inside the library during this call. What the callback
    raises is printed and ignored.

    Args:
      callback: Gets the level of each message, and its text.
      level: 'debug', 'info', 'warning', 'error' or 'off'.
    """
    number = abi.enum_index(_LEVELS, level, 'level')

    def forward(_: Any, severity: int, message: bytes) -> None:
        assert callback is not None
        callback(_LEVELS[severity], message.decode(errors='replace'))

    pointer = abi.LogCallback() if callback is None else abi.LogCallback(forward)
    abi.load().sl_log_set(pointer, None, number)
    _kept[:] = [pointer]
