"""Event: one revocation as it travels, and the batch that carries it.

Owns:      the members of an event and of a batch; both directions of the wire.
Called by: control.journal encodes, control.origin decodes, adapters.local_journal
           keeps events as their own encoding.
Source:    REVOCATION.md section 3; docs/wire.md shows the frames.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson

from fastgate.domain.frame import (
    FRAME_VERSION,
    FaultKind,
    Fields,
    FrameError,
    fields_of,
)
from fastgate.domain.revocation import EVERYTHING, KEY_BYTES, Kind

__all__ = [
    "MAX_EVENTS",
    "MAX_HOMES",
    "MAX_SEQ",
    "PUBLISHER",
    "Batch",
    "Event",
    "decode_batch",
    "decode_event",
    "encode_batch",
    "encode_event",
    "ids_digest",
    "key_id",
]

# Reason: the Python client, not the server, limits replay (ECOSYSTEM.md section 9).
MAX_EVENTS = 256
MAX_HOMES = 64
# Reason: one event with 64 homes of 64 characters.
MAX_EVENT_BYTES = 8_192
MAX_SEQ = 2**53
_MAX_REASON_CHARS = 128
# A publisher is `<node>.<random>`: two subject tokens, so that a bus account can be
# held to the subjects of its node.
PUBLISHER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.[A-Za-z0-9_-]{8,32}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_KINDS = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Event:
    """One revocation.

    id: Given where it was entered, kept for ever.
    origin: The region whose event it is; differs from the stream's where handed.
    seq: Number within its publisher, from 1; 0 until a journal numbered it.
    at: Wall time of the entry, seconds.
    kind: None for a kind that this version skips (sent as optional).
    key: Keyed hash of the identifier, 16 bytes.
    cutoff: Seconds; tokens with `iat` at or before it are revoked. EVERYTHING: all.
    key_id: Names the hash key that made `key`.
    expires: Seconds, rounded up; set once by the first publisher, never shortened.
    hand: Homes that have yet to publish it, where the entry's region is not it.
    """

    id: str
    origin: str
    at: float
    kind: Kind | None
    key: bytes
    expires: int
    key_id: str
    seq: int = 0
    cutoff: int = EVERYTHING
    urgent: bool = False
    reason: str = ""
    hand: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one publisher with consecutive numbers, sent as one message.

    ack: The publisher waits: readers report their position at once.
    """

    origin: str
    publisher: str
    events: tuple[Event, ...]
    ack: bool = False


def key_id(hash_key: bytes) -> str:
    """Name a hash key without telling it: eight hexadecimal digits.

    hash_key: At most 64 bytes; empty for a deployment without one.
    """
    return hashlib.blake2b(b"fastgate key id", digest_size=4, key=hash_key).hexdigest()


def _members(event: Event, speaker: str = "") -> dict[str, object]:
    if event.kind is None:
        raise ValueError("an event of an unknown kind cannot be sent again")
    members: dict[str, object] = {
        "id": event.id,
        "kind": event.kind.value,
        "key": event.key.hex(),
        "at": event.at,
        "expires": event.expires,
    }
    if event.origin != speaker:
        members["origin"] = event.origin
    if event.cutoff != EVERYTHING:
        members["cutoff"] = event.cutoff
    if event.urgent:
        members["urgent"] = True
    if event.reason:
        members["reason"] = event.reason
    if event.hand:
        members["hand"] = event.hand
    return members


def encode_batch(batch: Batch) -> bytes:
    """Return the frame of a batch.

    batch: 1 to 256 events, numbered without a hole, hashed with one key.
    Raises ValueError otherwise: number and key are sent once, for the first.
    """
    first = batch.events[0].seq
    name = batch.events[0].key_id
    for i, event in enumerate(batch.events):
        if event.seq != first + i or event.key_id != name:
            raise ValueError("events of a batch follow each other under one hash key")
    frame = {
        "v": FRAME_VERSION,
        "t": "events",
        "origin": batch.origin,
        "publisher": batch.publisher,
        "key_id": name,
        "seq": first,
        "events": [_members(event, batch.origin) for event in batch.events],
    }
    if batch.ack:
        frame["ack"] = True
    return orjson.dumps(frame)


def _event(value: object, seq: int, name: str, speaker: str | None = None) -> Event:
    fields = Fields(value)
    kind = _KINDS.get(fields.text("kind", max_chars=16))
    if kind is None and not fields.flag("optional"):
        # Somebody is revoked in a way this version cannot enforce: that is a gap.
        raise FrameError(FaultKind.CRITICAL, "kind")
    return Event(
        id=fields.name("id"),
        origin=fields.name("origin", speaker),
        at=fields.seconds("at"),
        kind=kind,
        key=fields.hexed("key", size_bytes=KEY_BYTES) if kind else b"",
        expires=fields.whole("expires", low=1, high=2**32 - 1),
        key_id=name,
        seq=seq,
        cutoff=fields.whole("cutoff", low=0, high=EVERYTHING, default=EVERYTHING),
        urgent=fields.flag("urgent"),
        reason=fields.text("reason", max_chars=_MAX_REASON_CHARS, default=""),
        hand=fields.names("hand", at_most=MAX_HOMES),
    )


def decode_batch(fields: Fields, known_keys: Collection[str]) -> Batch:
    """Read a batch, whoever wrote it.

    fields: An opened frame of type `events`.
    known_keys: Key ids whose hashes this node can look up.
    Raises FrameError; a frame is taken whole or not at all.
    """
    publisher = fields.text("publisher", max_chars=97)
    if not PUBLISHER.fullmatch(publisher):
        raise FrameError(FaultKind.MALFORMED, "publisher")
    name = _key_name(fields, known_keys)
    first = fields.whole("seq", low=1, high=MAX_SEQ)
    origin = fields.name("origin")
    items = fields.items("events", at_least=1, at_most=MAX_EVENTS)
    return Batch(
        origin=origin,
        publisher=publisher,
        events=tuple(
            _event(item, first + i, name, origin) for i, item in enumerate(items)
        ),
        ack=fields.flag("ack"),
    )


def _key_name(fields: Fields, known_keys: Collection[str] | None) -> str:
    name = fields.text("key_id", max_chars=8)
    if not _KEY_ID.fullmatch(name):
        raise FrameError(FaultKind.MALFORMED, "key_id")
    if known_keys is not None and name not in known_keys:
        raise FrameError(FaultKind.KEY, "key_id")
    return name


def encode_event(event: Event) -> bytes:
    """Return one event by itself: what is handed to its home, and what is stored."""
    frame = {
        "v": FRAME_VERSION,
        "t": "event",
        "key_id": event.key_id,
        "seq": event.seq,
        "event": _members(event),
    }
    return orjson.dumps(frame)


def decode_event(payload: bytes, known_keys: Collection[str] | None) -> Event:
    """Read one event that travelled or was stored by itself.

    known_keys: As for a batch; None takes any, for a node's own store.
    Raises FrameError.
    """
    fields = fields_of(payload, "event", max_bytes=MAX_EVENT_BYTES)
    name = _key_name(fields, known_keys)
    seq = fields.whole("seq", low=0, high=MAX_SEQ)
    return _event(dict(fields.table("event", at_most=32)), seq, name)


def ids_digest(events: Sequence[Event]) -> str:
    """Return 16 hexadecimal digits that differ where the ids of a batch differ."""
    joined = "\n".join(event.id for event in events)
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()
