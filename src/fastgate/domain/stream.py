"""Stream: what a bus and a journal say of the messages they keep.

Owns:      shapes only.
Called by: adapters make them, control.origin and control.journal read them.
"""

import enum
from dataclasses import dataclass

from fastgate.domain.event import Event

__all__ = ["JournalStart", "Kept", "Stored", "StreamState"]


@dataclass(frozen=True, slots=True)
class Stored:
    """One message of an origin's stream.

    position: Grows within a stream; the live path may repeat or skip positions.
    publisher: Who may write under that name, as the bus knows; "" where it does not.
    """

    origin: str
    position: int
    publisher: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the bus says of an origin's stream now.

    incarnation: Differs when the stream was made anew.
    last: Highest position ever given; 0 for an empty stream.
    fill: Share of the room for messages that is taken, 0 to 1.
    first: Lowest position that it still has, past `last` where it is empty; 0 where the
    bus does not tell.
    """

    incarnation: str
    last: int
    fill: float
    first: int = 0


class JournalStart(enum.Enum):
    """What was found where the journal should be."""

    KEPT = "kept"
    NEW = "new"
    REPLACED = "replaced"  # unreadable, set aside


@dataclass(frozen=True, slots=True)
class Kept:
    """A journalled event, under the publisher id it was numbered for.

    row: Where it stands in the journal; grows. position: In the stream, 0 before.
    """

    row: int
    publisher: str
    position: int
    event: Event
