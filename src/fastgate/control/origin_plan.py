"""Origin plan: what is to be read of a stream, and how a view of it is called.

Owns:      shapes only.
Called by: control.origin makes them, its reader and the status use them.
"""

import enum
from dataclasses import dataclass

__all__ = ["OriginState", "Plan"]


class OriginState(enum.StrEnum):
    """How a view of an origin stands; a word for people, no input of any decision."""

    NEVER_HEARD = "never heard"
    BEHIND = "behind"
    STALE = "stale"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class Plan:
    """A stretch of the stream to read: positions in (after, to]."""

    after: int
    to: int
