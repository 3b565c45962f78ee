"""State parts: what this node knows, as the parts of a snapshot.

Owns:      which parts there are, how each is taken back, and that a table exchanged
           meanwhile is read again.
Called by: control.snapshots for the disk, control.base for the bus.
Source:    REVOCATION.md section 4.

While a state is written, events go on arriving. Streams and journal rows are noted
first, so that whatever came later is read again at the start: twice does no harm.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import TYPE_CHECKING

from fastgate.control.native import SEGMENT_COUNT, EventStore
from fastgate.control.saved_state import Head, SavedStream, part
from fastgate.errors import ControlError
from fastgate.ports import RevocationWriter

if TYPE_CHECKING:
    from fastgate.control.enforcement import Enforcement
    from fastgate.control.origin import OriginTracker

__all__ = [
    "ENTRY_BYTES",
    "SEGMENT_BYTES",
    "check_words",
    "load_part",
    "saved_streams",
    "state_parts",
]

ENTRY_BYTES = 24  # key, cutoff, expiry
SEGMENT_BYTES = 4  # of the number before a segment's records
_SLOTS_AT_ONCE = 65_536


def saved_streams(trackers: Mapping[str, "OriginTracker"]) -> dict[str, SavedStream]:
    """Return how far each stream was read; without those that are not all enforced."""
    saved = {origin: tracker.saved() for origin, tracker in trackers.items()}
    return {origin: stream for origin, stream in saved.items() if stream}


def check_words(words: Iterable[bytes]) -> None:
    """Refuse a state with a part that nobody here knows. Raises ControlError."""
    if not set(words) <= {b"ENTR", b"EVNT", b"LIFT"}:
        raise ControlError("the snapshot has a part of another version")


def load_part(
    word: bytes,
    content: memoryview,
    writer: RevocationWriter,
    store: EventStore,
    origins: bytes,
    hash_keys: bytes,
) -> bool:
    """Take a part behind the head; False where the index has no room for all of it.

    origins, hash_keys: What their numbers are now. Raises ValueError for records that
    no dump gave.
    """
    if word == b"ENTR":
        return writer.insert_many(content) * ENTRY_BYTES == len(content)
    if word == b"EVNT":
        segment = int.from_bytes(content[:SEGMENT_BYTES])
        store.load(segment, bytes(content[SEGMENT_BYTES:]), origins, hash_keys)
    else:
        store.load_keys(bytes(content))
    return True


async def state_parts(
    head: Head, enforcement: "Enforcement", writer: RevocationWriter
) -> AsyncGenerator[bytes, None]:
    """Yield a whole state, a part at a time.

    head: Made before anything else was read.
    """
    yield part(b"HEAD", head.encode())
    for stream in head.streams.values():
        for sums in stream.sums.values():
            yield part(b"SUMS", sums)
    async for entries in _entries(writer):
        yield part(b"ENTR", entries)
    for segment in range(SEGMENT_COUNT):
        records = enforcement.store.dump(segment)
        if records:
            yield part(b"EVNT", segment.to_bytes(SEGMENT_BYTES) + records)
    yield part(b"LIFT", enforcement.store.dump_keys())


async def _entries(writer: RevocationWriter) -> AsyncGenerator[bytes, None]:
    # A table that was exchanged meanwhile is read again; a repeat does no harm.
    generation, cursor, done = -1, 0, False
    while not done:
        now = writer.stats().get("generation", 0)
        cursor = cursor if now == generation else 0
        generation = now
        packed, cursor = writer.records(cursor, _SLOTS_AT_ONCE)
        if packed:
            yield packed
        same = generation == writer.stats().get("generation", 0)
        done = cursor == 0 and same
