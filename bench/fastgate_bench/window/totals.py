"""Totals: what the rounds came to, as figures, and a line about each of them.

Owns:      what all rounds of a run showed.
Called by: window.rounds.
"""

import collections
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fastgate_bench.charts import Bars
from fastgate_bench.figures import Measured, Stage, refused
from fastgate_bench.window.checker import Findings
from fastgate_bench.window.faults import FAKETIME, FAULTS, Planned

__all__ = ["Totals", "note"]

# Reason: a rig that is late by more cannot tell ten seconds from eleven.
_MOST_LATE_NS: Final = 1_000_000_000
_NAMED: Final = 8
_NOTED_NS: Final = 9_000_000_000
_NOTE_CHARS: Final = 1_200
_BOUND_S: Final = 10.0


@dataclass(slots=True)
class Totals:
    """The rounds of a run so far.

    wanted: How many rounds there are to be.
    heals, after_cut: Seconds from the end of the last fault until every node was
        complete again, in all rounds, and in those of a single cut.
    """

    wanted: int
    rounds: int = 0
    found: Findings = field(default_factory=Findings)
    heals: list[float] = field(default_factory=list)
    after_cut: list[float] = field(default_factory=list)
    met: collections.Counter[str] = field(default_factory=collections.Counter)
    worst: dict[str, float] = field(default_factory=dict)

    def add(
        self, faults: Sequence[Planned], found: Findings, healed_s: float | None
    ) -> None:
        """Take in a round that is over; healed_s: None where it did not heal."""
        self.rounds += 1
        self.found.add(found)
        for fault in faults:
            self.met[fault.name] += 1
            window_s = max(found.window_ns / 1e9, self.worst.get(fault.name, 0.0))
            self.worst[fault.name] = window_s
        if healed_s is not None:
            self.heals.append(healed_s)
            if [fault.name for fault in faults] == ["link-cut"]:
                self.after_cut.append(healed_s)

    def into(self, measured: Measured) -> None:
        """Write figures, chart and what was not met."""
        _figures(measured, self)
        rows = {name: [("window", self.worst[name])] for name in sorted(self.worst)}
        title = "Worst window of the rounds that met each fault"
        measured.charts.append(Bars(title, "seconds", rows))
        measured.conditions["faults_met"] = dict(sorted(self.met.items()))
        if self.rounds < self.wanted:
            why = f"it was ended after {self.rounds} of {self.wanted} rounds"
            measured.notes.append(why)
        if FAKETIME is None:
            measured.notes.append("no clock was changed: apt-get install faketime")
        never = sorted(set(FAULTS) - set(self.met))
        if never:
            measured.notes.append(f"faults that these rounds did not draw: {never}")


def note(number: int, text: str, found: Findings, remarks: Sequence[str]) -> str:
    """Return a line about a round, of bounded length."""
    said = (
        f"round {number}: {text}: window {found.window_ns / 1e9:.2f} s, "
        f"{found.told} of {found.revocations} told, {found.checked} requests, "
        f"rig late {found.late_ns / 1e9:.2f} s"
    )
    for name in ("lost", "refused", "unseen", "unhealed"):
        all_of = getattr(found, name)
        if all_of:
            said += f"; {len(all_of)} {name}: {'; '.join(all_of[:_NAMED])}"
    if found.window_ns > _NOTED_NS:
        said += f"; worst: {found.worst}"
    for remark in remarks:
        said += f"; {remark}"
    return said if len(said) <= _NOTE_CHARS else f"{said[:_NOTE_CHARS]}..."


def _figures(measured: Measured, totals: Totals) -> None:
    total = totals.found
    late = total.late_ns > _MOST_LATE_NS
    window_s = total.window_ns / 1e9
    if late and window_s > _BOUND_S:
        why = f"the rig itself was late by {total.late_ns / 1e9:.1f} s"
        measured.stages.append(refused("window", "s", why))
    else:
        note = f"from the 201 to the last request that was accepted: {total.worst}"
        measured.stages.append(
            Stage("window", "s", {"max": window_s}, "max", note=note)
        )
    for name, value in (
        ("rounds", totals.rounds),
        ("rounds-missing", totals.wanted - totals.rounds),
        ("revocations", total.revocations),
        ("told", total.told),
        ("requests", total.checked),
        ("accepted-after", total.accepted_after),
        ("lost", len(total.lost)),
        ("good-refused", len(total.refused)),
        ("unseen", len(total.unseen)),
        ("unhealed", len(total.unhealed)),
    ):
        measured.stages.append(Stage(name, "", {"count": float(value)}, "count"))
    measured.stages.append(Stage("rig-late", "s", {"max": total.late_ns / 1e9}, "max"))
    for name, seconds in (("heal", totals.heals), ("heal-cut", totals.after_cut)):
        if seconds:
            ordered = sorted(seconds)
            values = {"p50": ordered[len(ordered) // 2], "max": ordered[-1]}
            measured.stages.append(Stage(name, "s", values))
