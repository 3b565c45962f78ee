"""Clock: the two clocks of this host.

Owns:      nothing.
Called by: wiring builds one per process; lanes and tasks read it through ports.Clock.
"""

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SystemClock"]


class SystemClock:
    """Reads the kernel's clocks; implements ports.Clock.

    wall_s: Jumps when the clock is set: for token times only.
    boot_ns: CLOCK_BOOTTIME is never set, and it counts a suspended machine. An age
        measured by it is true after a wake-up, which CLOCK_MONOTONIC would report too
        small.

    Both are read several times a request, so neither has a Python frame of its own.
    """

    __slots__ = ("boot_ns", "wall_s")

    def __init__(self) -> None:
        self.wall_s: Callable[[], float] = time.time
        self.boot_ns: Callable[[], int] = partial(
            time.clock_gettime_ns, time.CLOCK_BOOTTIME
        )
