"""Layout: what a bus's server is like beside what a gateway needs of it.

Owns:      shapes only.
Called by: adapters.*_bus.layout make the lines, `fastgate bus init` prints them.
Source:    ECOSYSTEM.md section 9.
"""

import enum
from dataclasses import dataclass

__all__ = ["Line", "Standing", "judged"]


class Standing(enum.StrEnum):
    """How a line stands; only DIFFERS and MISSING need somebody to act."""

    OK = "ok"
    MADE = "made"
    MISSING = "missing"
    DIFFERS = "differs"
    ADVICE = "advice"  # works, and could be better; or could not be looked at

    @property
    def is_good(self) -> bool:
        """True where a gateway can rely on it."""
        return self not in {Standing.MISSING, Standing.DIFFERS}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at.

    place: Such as `server` or `stream FG_REV_eu`. setting: "" for the place itself.
    found, wanted: In the server's own words.
    """

    place: str
    setting: str
    found: str
    wanted: str
    standing: Standing


def judged(
    place: str,
    setting: str,
    found: object,
    wanted: str,
    *,
    good: bool,
    advice: bool = False,
) -> Line:
    """Return a line: OK where it is good, else DIFFERS, or ADVICE where that is all."""
    bad = Standing.ADVICE if advice else Standing.DIFFERS
    shown = str(found).lower() if isinstance(found, bool) else str(found)
    return Line(place, setting, shown, wanted, Standing.OK if good else bad)
