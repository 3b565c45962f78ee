"""Figures: what a bench measured, before and after a budget was held against it.

Owns:      Stage (a measurement), Figure (a line of the result) and Measured (a run).
Called by: every bench fills Measured; budgets makes figures of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastgate_bench.charts import Bars, Lines

__all__ = [
    "DETAILS",
    "Figure",
    "Measured",
    "Stage",
    "absent",
    "quantity",
    "refused",
    "shortened",
    "shown",
]

# Statistics that a first look can do without; without a budget they come second.
DETAILS: Final = (" p90", " p999", " max", " workers")
_KIB: Final = 1024.0

_DIGITS: Final = 4  # more would pretend


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing that was measured.

    name: As budgets name it. unit: Of every value: ns, us, ms, s, B, /s or "".
    values: Statistic (p50, p99, mean, ...) to value.
    main: The statistic that ratios are made of.
    spread: Least and greatest of `main` over the rounds, where there were rounds.
    note: What a reader must know, e.g. which check a peer cannot do.
    missing: Why there is no figure; empty where there is one.
    is_absent: It is missing for want of a program, which can be installed.
    """

    name: str
    unit: str
    values: Mapping[str, float] = field(default_factory=dict)
    main: str = "p50"
    spread: tuple[float, float] | None = None
    note: str = ""
    missing: str = ""
    is_absent: bool = False


def refused(name: str, unit: str, why: str) -> Stage:
    """Return a stage without a figure, since the bench itself was the bottleneck."""
    return Stage(name, unit, missing=why)


def absent(name: str, unit: str, why: str) -> Stage:
    """Return a stage without a figure; `why` says what to install, and how."""
    return Stage(name, unit, missing=why, is_absent=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a result.

    value: None where nothing could be measured. budget: None where there is none.
    at_least: The budget is a lower limit.
    why: What a reader must know of this line.
    before: What the last kept run had; None where there is none.
    """

    metric: str
    value: float | None
    unit: str
    budget: float | None = None
    ok: bool = True
    at_least: bool = False
    why: str = ""
    is_absent: bool = False
    before: float | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {
            "metric": self.metric,
            "value": None if self.value is None else shortened(self.value),
            "unit": self.unit,
            "budget": None if self.budget is None else float(f"{self.budget:.6g}"),
            "ok": self.ok,
        }
        if self.at_least:
            found["at_least"] = True
        if self.why:
            found["why"] = self.why
        if self.before is not None:
            found["before"] = self.before
        return found


@dataclass(slots=True)
class Measured:
    """What one run of a bench found.

    conditions: Of this run, beside those of the machine. notes: For people.
    """

    stages: list[Stage] = field(default_factory=list)
    charts: list[Lines | Bars] = field(default_factory=list)
    conditions: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def stage(self, name: str) -> Stage | None:
        """Return the stage of that name."""
        return next((stage for stage in self.stages if stage.name == name), None)


def shortened(value: float) -> float:
    """Return a number with as many digits as mean anything."""
    return float(f"{value:.{_DIGITS}g}")


def shown(value: float) -> str:
    """Return a number for people: with separators, never in powers of ten."""
    if abs(value) >= 10 ** (_DIGITS - 1) or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{_DIGITS - 1}g}"


def quantity(value: float | None, unit: str) -> str:
    """Return a value with its unit for people; a dash where there is none."""
    if value is None:
        return "-"
    if unit == "B" and abs(value) >= _KIB:
        value, unit = value / _KIB, "KiB"
        if abs(value) >= _KIB:
            value, unit = value / _KIB, "MiB"
    return f"{shown(value)} {unit}".rstrip()
