"""One line of docs/conformance.md: a set of third-party inputs, and how we did."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One input: what the set (read as SOURCES.md says) wants, and what we did."""

    case_id: str
    accept: bool
    accepted: bool


@dataclass(frozen=True)
class Row:
    """Counts of one set."""

    set: str
    tried: int
    wrongly_accepted: int
    wrongly_refused: int
    note: str


@dataclass(frozen=True)
class LaneRow:
    """Counts of one set through both lanes.

    lanes: For each lane, wrongly accepted, wrongly refused, and what else is wrong:
        refused without a problem body, or with the connection left open.
    """

    set: str
    tried: int
    lanes: tuple[tuple[int, int, int], ...]
    note: str


def count(name: str, cases: Iterable[Case], note: str) -> Row:
    """Sum up the cases of one set."""
    every = list(cases)
    accepted = sum(case.accepted and not case.accept for case in every)
    refused = sum(case.accept and not case.accepted for case in every)
    return Row(name, len(every), accepted, refused, note)
