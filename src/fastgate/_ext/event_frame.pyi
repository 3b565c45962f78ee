"""Event frame: a batch of revocations as it travels; docs/revocation-frame.md."""

from typing import final

MAGIC: bytes
VERSION: int
MAX_FRAME_BYTES: int

class BatchError(ValueError):
    """What is wrong: `args` are a word of domain.frame.FaultKind, and the member."""

@final
class EventFrame:
    """A batch of one publisher; made only of a payload that is right as a whole."""

    origin: str
    publisher: str
    key_id: str
    seq: int
    count: int
    ack: bool
    special: bool

    def __init__(self, payload: bytes) -> None:
        """Read a payload. Raises BatchError."""

    @property
    def last(self) -> int:
        """The number of the last event."""

    def ids(self) -> list[str]:
        """Return the ids, in order."""

    def is_special(self, index: int) -> bool:
        """Tell whether an event is handed on, lifts another, or is about a key."""

    def members(
        self, index: int
    ) -> tuple[str, str, float, int, bytes, int, int, bool, str, tuple[str, ...], str]:
        """Return what one event says.

        id, origin, at, kind, key, expires, cutoff, urgent, reason, hand, lifts.

        kind: 1 jti, 2 sid, 3 sub, 4 client, 5 grant, 6 kid, 7 issuer; 0 to be skipped.
        """
