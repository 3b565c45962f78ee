"""Event: one revocation or lift as it travels, and the batch that carries it.

Owns:      the members of an event and of a batch; the writing of both. Batches are read
           in control.event_batch.
Called by: control.journal encodes, control.origin reads, adapters.local_journal keeps
           events as their own encoding.
Source:    REVOCATION.md section 3; docs/revocation-frame.md has the octets of a batch,
           docs/wire.md the event that travels by itself.
"""

import hashlib
import re
import struct
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
    "KIND_CODES",
    "MAGIC",
    "MAX_EVENTS",
    "MAX_HOMES",
    "MAX_SEQ",
    "PUBLISHER",
    "Batch",
    "Event",
    "decode_event",
    "encode_batch",
    "encode_event",
    "ids_digest",
    "key_id",
    "lift_id",
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
# Numbers of the kinds in a batch; 0 is of no kind.
KIND_CODES = {kind: code for code, kind in enumerate(Kind, 1)}
# What a batch begins with; _ext.event_frame knows the same.
MAGIC = b"\xfa^"
_BATCH_VERSION = 1
_ACK = 1
_URGENT, _OPTIONAL, _CUTOFF, _ORIGIN, _REASON, _HAND, _LIFT = 1, 2, 4, 8, 16, 32, 64
_HEAD = struct.Struct(">2sBB4sQH")
_FIXED = struct.Struct(">BB16sQI")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Event:
    """One revocation, or the lift of one.

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
    lifts: Id of the event that this one undoes, whose kind, key and expiry it has; ""
        for a revocation.
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
    lifts: str = ""


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


def _members(event: Event) -> dict[str, object]:
    if event.kind is None:
        raise ValueError("an event of an unknown kind cannot be sent again")
    members: dict[str, object] = {
        "id": event.id,
        "kind": event.kind.value,
        "key": event.key.hex(),
        "at": event.at,
        "expires": event.expires,
        "origin": event.origin,
    }
    if event.cutoff != EVERYTHING:
        members["cutoff"] = event.cutoff
    if event.urgent:
        members["urgent"] = True
    if event.reason:
        members["reason"] = event.reason
    if event.hand:
        members["hand"] = event.hand
    if event.lifts:
        members["lifts"] = event.lifts
    return members


def lift_id(origin: str, id_: str) -> str:
    """Return the id of the lift of an event: one, whoever lifts it and how often."""
    text = f"lift\n{origin}\n{id_}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def encode_batch(batch: Batch) -> bytes:
    """Return the frame of a batch; docs/revocation-frame.md.

    batch: 1 to 256 events, numbered without a hole, hashed with one key.
    Raises ValueError otherwise: number and key are sent once, for the first.
    """
    first = batch.events[0].seq
    name = batch.events[0].key_id
    for i, event in enumerate(batch.events):
        if event.seq != first + i or event.key_id != name:
            raise ValueError("events of a batch follow each other under one hash key")
    if len(batch.events) > MAX_EVENTS:
        raise ValueError("too many events for one batch")
    flags = _ACK if batch.ack else 0
    count = len(batch.events)
    head = _HEAD.pack(MAGIC, _BATCH_VERSION, flags, bytes.fromhex(name), first, count)
    parts = [head, _sized(batch.origin), _sized(batch.publisher)]
    for event in batch.events:
        raw = _packed(event, batch.origin)
        parts += _U16.pack(len(raw)), raw
    return b"".join(parts)


def _packed(event: Event, speaker: str) -> bytes:
    if event.kind is None:
        raise ValueError("an event of an unknown kind cannot be sent again")
    flags, tail = 0, [_sized(event.id)]
    if event.urgent:
        flags |= _URGENT
    if event.cutoff != EVERYTHING:
        flags |= _CUTOFF
        tail.append(_U32.pack(event.cutoff))
    if event.origin != speaker:
        flags |= _ORIGIN
        tail.append(_sized(event.origin))
    if event.lifts:
        flags |= _LIFT
        tail.append(_sized(event.lifts))
    if event.reason:
        flags |= _REASON
        reason = event.reason.encode()
        tail += _U16.pack(len(reason)), reason
    if event.hand:
        flags |= _HAND
        tail += bytes([len(event.hand)]), *map(_sized, event.hand)
    at_ms = round(event.at * 1_000)
    kind = KIND_CODES[event.kind]
    fixed = _FIXED.pack(kind, flags, event.key, at_ms, event.expires)
    return b"".join([fixed, *tail])


def _sized(name: str) -> bytes:
    raw = name.encode("ascii")
    return bytes([len(raw)]) + raw


def _event(value: object, seq: int, name: str) -> Event:
    fields = Fields(value)
    kind = _KINDS.get(fields.text("kind", max_chars=16))
    if kind is None and not fields.flag("optional"):
        # Somebody is revoked in a way this version cannot enforce: that is a gap.
        raise FrameError(FaultKind.CRITICAL, "kind")
    return Event(
        id=fields.name("id"),
        origin=fields.name("origin"),
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
        lifts=fields.name("lifts", ""),
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
