"""Event sums: an order-free sum over a publisher's live events, in expiry buckets."""

from typing import final

from fastgate._ext.event_frame import EventFrame

def term(id_: str, expires: int) -> int:
    """Return an event's share of the sum: 128 bits over its id and its expiry."""

@final
class PublisherState:
    """What one publisher has said in one stream, as far as it was read.

    last: Highest number seen. holes: Half-open ranges below it that were not seen:
    expired, or lost; the next equal digest says which.
    """

    last: int

    def __init__(self) -> None:
        """Begin with nothing seen."""

    @property
    def holes(self) -> list[tuple[int, int]]:
        """Half-open ranges below `last` that were not seen."""

    @property
    def alive(self) -> bool:
        """True while an event is kept that the sum may still count."""

    def add(self, seq: int, id_: str, expires: int) -> bool:
        """Count an event once; False where that number was seen before."""

    def add_frame(self, frame: EventFrame) -> int:
        """Count the events of a batch; return how many were new."""

    def missing(self, seq: int) -> bool:
        """Tell whether a number was not seen."""

    def digest(self, mark: int, wall: int) -> int | None:
        """Return the sum over events up to `mark` that are alive at `wall` (seconds).

        None where it cannot be told: the mark lies before what is kept one by one.
        """

    def confirm(self, mark: int) -> None:
        """Take the publisher as complete up to `mark`: what is absent has expired."""

    def dump(self) -> bytes:
        """Return all of it, for a saved snapshot."""

    @staticmethod
    def load(raw: bytes) -> PublisherState:
        """Return what `dump` gave. Raises ValueError for anything else."""
