"""Events: what was revoked and lifted, by id, beside the index that requests read."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, final

from fastgate._ext.event_frame import EventFrame

SEGMENT_COUNT: int
RECORD_BYTES: int

# id, origin, kind, expires, cutoff, is there, is lifted, mixed key, hash key
_Record: TypeAlias = tuple[str | None, int, int, int, int, bool, bool, int, int]

class _Writer(Protocol):
    def insert(self, key: bytes, cutoff: int, expiry: int) -> int: ...
    def settle(self, key: bytes, cutoff: int, expiry: int) -> bool: ...
    def bump_urgent(self) -> int: ...

@final
class EventStore:
    """Every live event and lift of all origins; the one user of its writer.

    events: How many are kept. settled: Lifts have effect. lost: Something did not fit,
    so that lifts have no effect any more. strange: Lifts with another expiry than their
    event's; they count for nothing.
    """

    events: int
    settled: bool
    lost: bool
    strange: int

    def __init__(
        self,
        writer: _Writer,
        *,
        origins: Sequence[str],
        hash_keys: Sequence[str],
        limit: int,
        seeds: tuple[int, int] | None = None,
    ) -> None:
        """Begin with nothing.

        writer: A RevocationWriter is called without a Python frame in between.
        origins: At most 62 names. hash_keys: Key ids, at most 15.
        limit: Records that fit, 32 bytes each.
        seeds: Two random numbers of 64 bits; by default the writer's own.
        Raises ValueError, MemoryError.
        """

    @property
    def seeds(self) -> tuple[int, int]:
        """What keys are mixed with."""

    def apply(self, frame: EventFrame, position: int, now_s: int) -> bool:
        """Take a batch of an origin's stream; False where something does not fit.

        position: In the stream. now_s: Wall clock that does not jump ahead.
        Raises MemoryError.
        """

    def add(
        self,
        id_: str,
        kind: int,
        key: bytes,
        expires: int,
        cutoff: int,
        urgent: bool,
        lifts: str,
        origin: str,
        key_id: str,
        spoken: bool,
        now_s: int,
    ) -> bool:
        """Take one event of this node's own; False where it does not fit.

        kind: As EventFrame.members has it. spoken: This node speaks for `origin`.
        Raises ValueError, OverflowError.
        """

    def published(self, id_: str, origin: str) -> tuple[int, int] | None:
        """Return number and position at which an origin has said an event lately."""

    def settle(self, now_s: int) -> None:
        """Let lifts take effect: every origin has been read."""

    def about(self, key: bytes) -> list[_Record]:
        """Return the records of a key. Raises ValueError."""

    def find(self, id_: str, segment: int) -> list[_Record]:
        """Return the records of an id in one of SEGMENT_COUNT segments."""

    def page(
        self,
        segment: int,
        start: int,
        most: int,
        origin: int,
        kind: int,
        live: bool,
        now_s: int,
    ) -> tuple[list[_Record], int | None]:
        """Return records of one segment in the order of mixed keys, and where to go on.

        start: Least mixed key. most: How many, and the rest of the last one's key.
        origin, kind: Only of these; -1 and 0 for any. live: Only what is in force.
        The second is the mixed key of the next record, None behind the last one.
        Raises ValueError.
        """

    def key_of(self, mixed: int) -> bytes | None:
        """Return the key that is mixed to this, where the index or a lift has it."""

    def sweep(self, segment: int, now_s: int) -> int:
        """Drop what has long expired from one segment; return how many that were."""

    def adopt(self, origin: str, by: str) -> None:
        """Let the stream of another origin speak for one that is gone. KeyError."""

    def begin_reading(self, origin: str) -> None:
        """Note that the stream of an origin is read from its start."""

    def unread(self, origin: str, segment: int, now_s: int) -> list[_Record]:
        """Return an origin's live events and lifts not said since `begin_reading`."""

    def stats(self) -> dict[str, int]:
        """Return counts for status.

        events, bytes, settled, lost, waiting_lifts, strange_lifts.
        """

    def dump(self, segment: int) -> bytes:
        """Return the records of one segment, for a saved snapshot."""

    def dump_keys(self) -> bytes:
        """Return the keys that lifts have, for a saved snapshot; 16 octets each."""

    def load_keys(self, packed: bytes) -> None:
        """Take the keys that `dump_keys` gave, after the records. Raises ValueError."""

    def load(
        self, segment: int, packed: bytes, origins: bytes, hash_keys: bytes
    ) -> None:
        """Take the records that `dump` gave into a segment that is empty.

        origins: For each of 64 numbers at that time, the number now; 63 for none.
        hash_keys: The same for 16 numbers of hash keys; 15 for none.
        Raises ValueError, MemoryError.
        """
