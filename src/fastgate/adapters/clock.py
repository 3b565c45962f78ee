"""Clock: the two clocks of this host.

Owns:      nothing.
Called by: wiring builds one per process; lanes and tasks read it through ports.Clock.
"""

import time

__all__ = ["SystemClock"]


class SystemClock:
    """Reads the kernel's clocks; implements ports.Clock."""

    __slots__ = ()

    def wall_s(self) -> float:
        """Seconds since 1970 UTC. Jumps when the clock is set: for token times only."""
        return time.time()

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME, nanoseconds: never set, and it counts a suspended machine.

        An age measured by it is true after a wake-up, which CLOCK_MONOTONIC would
        report too small.
        """
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
