"""Pacer: a constant rate from the kernel's timer, to the microsecond.

Owns:      one timerfd.
Called by: loader.

The loop's own timers have a resolution of a millisecond, which would be the better part
of what is measured; spinning would take the core from whoever shares it.
Source:    timerfd_create(2).
"""

import ctypes
import os
from typing import Final

__all__ = ["Pacer"]

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_SECOND_NS: Final = 1_000_000_000
_COUNT_BYTES: Final = 8


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _timespec(time_ns: int) -> _Timespec:
    return _Timespec(*divmod(time_ns, _SECOND_NS))


class Pacer:
    """Becomes readable at `start_ns` and each `interval_ns` from then on.

    Times are those of `time.monotonic_ns`. Raises OSError.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self.fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def start(self, start_ns: int, interval_ns: int) -> None:
        """Begin, with the first expiry at `start_ns`."""
        timing = _Itimerspec(_timespec(interval_ns), _timespec(start_ns))
        found = self._libc.timerfd_settime(
            self.fd, _ABSOLUTE, ctypes.byref(timing), None
        )
        if found < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def expired(self) -> int:
        """Return how often it expired since it was last asked."""
        try:
            return int.from_bytes(os.read(self.fd, _COUNT_BYTES), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
