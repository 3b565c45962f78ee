"""Steady: the wall clock, for deciding that something is over for good.

Owns:      where both clocks stood when it was made.
Called by: control.journal, control.handover and control.agent, which drop by it.
Source:    THREATS.md F31: a clock that jumps ahead brings no token back to life.
"""

from fastgate.ports import Clock

__all__ = ["SteadyWall"]


class SteadyWall:
    """Follows the wall clock back, and ahead only as fast as time passes."""

    __slots__ = ("_clock", "_started_ns", "_started_s")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_ns = clock.boot_ns()
        self._started_s = clock.wall_s()

    def wall_s(self) -> float:
        """Return seconds since 1970 UTC, too few rather than too many."""
        passed_s = (self._clock.boot_ns() - self._started_ns) / 1e9
        return min(self._clock.wall_s(), self._started_s + passed_s)
