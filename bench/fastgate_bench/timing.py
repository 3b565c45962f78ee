"""Timing: the cost of one call in this process, as a distribution.

Owns:      the clock's own cost, which is taken off every sample.
Called by: decision and revocation.
"""

import gc
import statistics as stats
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastgate.errors import BugError
from fastgate_bench.figures import Stage
from fastgate_bench.histogram import curve, decoded, encoded, statistics

__all__ = ["Call", "Timed", "measure"]

_WARM_UP: Final = 50
_CLOCK_SAMPLES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Call:
    """Something to time.

    call: Takes one argument. arguments: Made anew for each round, outside the time.
    good: Tells whether what it returned is right; asked outside the time.
    unit_ns: Nanoseconds in the unit of its figure.
    parts: Calls like for like within one, e.g. look-ups in a check.
    """

    call: Callable[[Any], Any]
    arguments: Callable[[], Sequence[Any]]
    good: Callable[[Any], bool]
    unit: str = "us"
    unit_ns: float = 1000.0
    parts: int = 1
    note: str = ""


@dataclass(slots=True)
class Timed:
    """Samples of a call: nanoseconds, round by round."""

    name: str
    call: Call
    rounds: list["array[int]"] = field(default_factory=list)

    def stage(self) -> Stage:
        """Return the stage of all rounds."""
        scale = 1 / (self.call.unit_ns * self.call.parts)
        whole = self._histogram()
        medians = [stats.median(one) * scale for one in self.rounds]
        return Stage(
            self.name,
            self.call.unit,
            # A single greatest value of a shared machine says nothing of the code.
            {k: v for k, v in statistics(whole, scale).items() if k != "max"},
            spread=(min(medians), max(medians)),
            note=self.call.note,
        )

    def points(self) -> Sequence[tuple[float, float]]:
        """Return the distribution, microseconds, for a plot."""
        return curve(self._histogram(), 1 / (1000.0 * self.call.parts))

    def _histogram(self) -> Any:
        return decoded(*(encoded(one) for one in self.rounds))


def measure(
    calls: Mapping[str, Call], rounds: int, told: Callable[[int], None]
) -> dict[str, Timed]:
    """Time calls, round by round and one after the other within each round.

    told: Called with the number of each round before it begins.
    Raises BugError where a call returned something wrong: then no time counts.
    """
    timed = {name: Timed(name, call) for name, call in calls.items()}
    for number in range(rounds):
        told(number)
        for one in timed.values():
            arguments = one.call.arguments()
            clock_ns = _clock_ns()
            one.rounds.append(_samples(one, arguments, clock_ns))
    return timed


def _samples(timed: Timed, arguments: Iterable[Any], clock_ns: int) -> "array[int]":
    call, good = timed.call.call, timed.call.good
    clock = time.perf_counter_ns
    samples = array("q")
    gc.collect()
    gc.disable()
    try:
        for argument in arguments:
            began = clock()
            found = call(argument)
            ended = clock()
            if not good(found):
                raise BugError(f"{timed.name}: a wrong answer: {found!r}")
            samples.append(max(1, ended - began - clock_ns))
    finally:
        gc.enable()
    # The first calls pay for cold caches of the processor, not of the product.
    return samples[_WARM_UP:] if len(samples) > 2 * _WARM_UP else samples


def _clock_ns() -> int:
    """Return what reading the clock and calling nothing costs."""
    clock = time.perf_counter_ns
    call: Callable[[Any], Any] = _nothing
    samples = []
    for _ in range(_CLOCK_SAMPLES):
        began = clock()
        call(None)
        samples.append(clock() - began)
    return int(stats.median(samples))


def _nothing(_: Any) -> None:
    """Cost what a call costs."""
