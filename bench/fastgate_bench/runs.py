"""Runs: rounds of load in turn, and the stages that they make.

Owns:      which rounds count: those in which the generator was not the bottleneck.
Called by: relay and peers.
"""

import statistics as stats
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from fastgate_bench.figures import Stage, refused
from fastgate_bench.generator import Load, find_wrk, generate, maximum_by_wrk
from fastgate_bench.histogram import curve, decoded, statistics
from fastgate_bench.machine import cpu_seconds
from fastgate_bench.plan import Plan

__all__ = ["Rounds", "find_maximum", "in_turn", "rate_stage"]

_US_PER_S = 1e6


@dataclass(slots=True)
class Rounds:
    """All rounds of one subject.

    cpu_us: CPU of the gateway's processes for each request, round by round.
    """

    loads: list[Load] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def why_not(self) -> str:
        """Return why there is no figure; empty where there is one.

        A wrong answer in any round spoils all of them. Rounds that only the generator
        spoiled are left out, and at least half must remain.
        """
        faults = [load.fault() for load in self.loads if load.fault()]
        if faults:
            return f"wrong answers: {faults[0]}"
        late = [load.bottleneck() for load in self.loads if load.bottleneck()]
        if 2 * len(late) > len(self.loads):
            return f"{late[0]} (in {len(late)} of {len(self.loads)} rounds)"
        return ""

    def good(self) -> list[Load]:
        """Return the rounds that count."""
        return [load for load in self.loads if not load.bottleneck()]

    def latency(self, name: str, note: str = "") -> Stage:
        """Return the latencies of all rounds, microseconds."""
        why = self.why_not()
        if why:
            return refused(name, "us", why)
        medians = [load.latency_ms()["p50"] * 1000 for load in self.good()]
        values = statistics(decoded(*(load.outcome.latency for load in self.good())))
        return Stage(name, "us", values, spread=(min(medians), max(medians)), note=note)

    def points(self) -> Sequence[tuple[float, float]]:
        """Return the distribution, microseconds, for a plot; empty without rounds."""
        if self.why_not():
            return []
        return curve(decoded(*(load.outcome.latency for load in self.good())))

    def cpu(self, name: str, note: str = "") -> Stage:
        """Return the CPU per request: the median of the rounds, microseconds."""
        faults = [load.fault() for load in self.loads if load.fault()]
        if faults:
            return refused(name, "us", f"wrong answers: {faults[0]}")
        # The generator's lag does not change what the gateway uses for a request.
        spread = (min(self.cpu_us), max(self.cpu_us))
        value = stats.median(self.cpu_us)
        return Stage(name, "us", {"cpu": value}, "cpu", spread, note)


async def in_turn(
    plans: Mapping[str, Sequence[Plan]], pids: Mapping[str, int]
) -> AsyncIterator[tuple[str, Load, float]]:
    """Run the plans round by round, all names in each round.

    plans: Name to one plan a round. pids: Gateway of a name; without one, no CPU.
    Yields name, what was found, and CPU per request in microseconds.
    """
    for turn in zip(*plans.values(), strict=True):
        for name, plan in zip(plans, turn, strict=True):
            pid = pids.get(name)
            before = cpu_seconds(pid) if pid else 0.0
            load = await generate(plan)
            used = (cpu_seconds(pid) if pid else 0.0) - before
            yield name, load, used * _US_PER_S / max(1, load.outcome.answers)


@dataclass(frozen=True, slots=True)
class Maximum:
    """The most answers a second.

    rate: By the best client there is. by: Which one. why: Why that is no figure.
    own: By the generator of the suite, which is what latencies are measured with.
    """

    rate: float
    by: str
    why: str
    own: float


async def find_maximum(plan: Plan, token: str) -> Maximum:
    """Find the maximum with closed loops.

    wrk where it is installed, since it needs less of its core than we do.
    """
    load = await generate(plan)
    why = load.fault() or load.bottleneck()
    wrk = find_wrk()
    if wrk is None or plan.method != "GET" or plan.churn or load.fault():
        return Maximum(load.achieved, "closed loop of the suite", why, load.achieved)
    rate, why = await maximum_by_wrk(wrk, plan, token)
    return Maximum(rate, "wrk", why, min(rate, load.achieved))


def rate_stage(name: str, rates: Sequence[float], why: str, note: str) -> Stage:
    """Return a stage of answers a second: the median of the rounds."""
    if why or not rates:
        return refused(name, "/s", why or "not measured")
    spread = (min(rates), max(rates))
    return Stage(name, "/s", {"rate": stats.median(rates)}, "rate", spread, note)
