"""Runs: rounds of load in turn, and the stages that they make.

Owns:      which rounds count: those in which the generator was not the bottleneck.
Called by: relay and peers.
"""

import statistics as stats
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from fastgate_bench.figures import Stage, refused
from fastgate_bench.generator import (
    FULL_CORE,
    MAX_CORE_SHARE,
    MAX_CPU_SHARE,
    Load,
    generate,
)
from fastgate_bench.histogram import curve, decoded, statistics
from fastgate_bench.machine import Account, account
from fastgate_bench.plan import Plan
from fastgate_bench.wrk import by_wrk, find_wrk

__all__ = ["Rounds", "Used", "find_maximum", "in_turn", "rate_stage", "used_between"]

_US_PER_S = 1e6
_MS_PER_S = 1e3
# Reason: with 64 connections the CPU per request at three quarters of a core was within
# a percent of that of a full one; far below, a gateway seems dearer than it is.
_BUSY_SHARE = 0.7
_WORKER = "fastgate:w"
_AGENT = "fastgate:agent"


@dataclass(frozen=True, slots=True)
class Used:
    """What a gateway's processes used in one round, as the system accounts it.

    cpu_us: Of all of them, for each request. workers_us: Of fastgate's workers alone;
        0 for other gateways. background_ms: Of what else fastgate has (agent and
        supervisor), for each second.
    share: How long they ran or waited for a core, of the time that load took; past 1
        there are several at a time.
    """

    cpu_us: float
    workers_us: float = 0.0
    background_ms: float = 0.0
    share: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """True where the gateway had nothing to do for a good part of the time."""
        return self.share < _BUSY_SHARE


def used_between(before: Account, after: Account, answers: int, load_s: float) -> Used:
    """Return what was used between two accounts.

    load_s: How long the load took, which is less than what lies between them.
    """
    used = {
        name: value - before.cpu_s.get(name, 0.0) for name, value in after.cpu_s.items()
    }
    whole = sum(used.values())
    workers = sum(value for name, value in used.items() if name.startswith(_WORKER))
    rest_ms = (whole - workers) * _MS_PER_S / (after.at_s - before.at_s)
    return Used(
        cpu_us=whole * _US_PER_S / max(1, answers),
        workers_us=workers * _US_PER_S / max(1, answers),
        background_ms=rest_ms if _AGENT in used else 0.0,
        share=max(whole, after.wanted_s - before.wanted_s) / load_s,
    )


@dataclass(slots=True)
class Rounds:
    """All rounds of one subject, and what its gateway used in each."""

    loads: list[Load] = field(default_factory=list)
    used: list[Used] = field(default_factory=list)

    def why_not(self) -> str:
        """Return why there is no figure; empty where there is one.

        A wrong answer in any round spoils all of them. Rounds that only the generator
        spoiled are left out, and at least half must remain.
        """
        faults = [load.fault() for load in self.loads if load.fault()]
        if faults:
            return f"wrong answers: {faults[0]}"
        return _too_many([load.bottleneck() for load in self.loads])

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
        judged = [
            (used, held_back(load, used))
            for load, used in zip(self.loads, self.used, strict=True)
        ]
        if why := _too_many([why for _, why in judged]):
            return refused(name, "us", why)
        good = [used for used, why in judged if not why]
        every = [used.cpu_us for used in good]
        values = {"cpu": stats.median(every)}
        if any(used.workers_us for used in good):
            values["workers"] = stats.median(used.workers_us for used in good)
        return Stage(name, "us", values, "cpu", (min(every), max(every)), note)

    def background(self, name: str) -> Stage:
        """Return what agent and supervisor use in a second, milliseconds."""
        every = [used.background_ms for used in self.used]
        note = "agent and supervisor, for each second of load"
        spread = (min(every), max(every))
        return Stage(name, "ms", {"cpu": stats.median(every)}, "cpu", spread, note)


def held_back(load: Load, used: Used) -> str:
    """Return why the CPU per request of a round does not count; empty where it does.

    In a closed loop either the gateway is full or the load is. A gateway that waits for
    the load handles fewer requests at each waking, and seems to be dearer.
    """
    if load.plan.rate:
        return load.bottleneck()
    found = load.outcome
    if found.cpu_share > MAX_CPU_SHARE:
        return f"the load generator used {found.cpu_share:.0%} of its core"
    if found.core_share > MAX_CORE_SHARE and used.is_waiting:
        return (
            FULL_CORE.format(found.core_share)
            + f", the gateway's {used.share:.0%} alone"
        )
    return ""


def _too_many(reasons: Sequence[str]) -> str:
    late = [why for why in reasons if why]
    if 2 * len(late) > len(reasons):
        return f"{late[0]} (in {len(late)} of {len(reasons)} rounds)"
    return ""


async def in_turn(
    plans: Mapping[str, Sequence[Plan]], pids: Mapping[str, int]
) -> AsyncIterator[tuple[str, Load, Used]]:
    """Run the plans round by round, all names in each round.

    plans: Name to one plan a round. pids: Gateway of a name; without one, no CPU.
    Yields name, what was found, and what the gateway used.
    """
    for turn in zip(*plans.values(), strict=True):
        for name, plan in zip(plans, turn, strict=True):
            pid = pids.get(name)
            if pid is None:
                yield name, await generate(plan), Used(0.0)
                continue
            before = account(pid)
            load = await generate(plan)
            found = load.outcome
            yield (
                *(name, load),
                used_between(before, account(pid), found.answers, found.seconds),
            )


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


async def find_maximum(plan: Plan) -> Maximum:
    """Find the maximum with closed loops.

    wrk where it is installed, since it needs less of its core than we do.
    """
    load = await generate(plan)
    why = load.fault() or load.bottleneck()
    wrk = find_wrk()
    if wrk is None or plan.method != "GET" or plan.churn or load.fault():
        by = "closed loop of the suite" + ("; wrk is absent" if wrk is None else "")
        return Maximum(load.achieved, by, why, load.achieved)
    found = await by_wrk(wrk, plan)
    own = load.achieved
    by = f"wrk; closed loop of the suite: {own:,.0f}/s"
    return Maximum(found.rate, by, found.bottleneck(), min(found.rate, own))


def rate_stage(name: str, rates: Sequence[float], why: str, note: str) -> Stage:
    """Return a stage of answers a second: the median of the rounds."""
    if why or not rates:
        return refused(name, "/s", why or "not measured")
    spread = (min(rates), max(rates))
    return Stage(name, "/s", {"rate": stats.median(rates)}, "rate", spread, note)
