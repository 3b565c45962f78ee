"""Event batch: the reading of batches, by compiled code that makes no object an event.

Owns:      nothing; domain.event writes what is read here.
Called by: control.origin and whoever needs an event of a batch as an object.
Source:    REVOCATION.md section 3; docs/revocation-frame.md has the octets.
"""

from collections.abc import Collection

from fastgate.control.native import BatchError, EventFrame
from fastgate.domain.event import KIND_CODES, Batch, Event
from fastgate.domain.frame import FaultKind, FrameError

__all__ = ["decode_batch", "ends_at", "event_of", "read_batch"]

_BY_CODE = {code: kind for kind, code in KIND_CODES.items()}


def read_batch(payload: bytes, known_keys: Collection[str] | None) -> EventFrame:
    """Read a batch, whoever wrote it; its events stay octets.

    payload: Begins with MAGIC. known_keys: Key ids whose hashes can be looked up here;
    None takes any, for whoever only counts what it cannot look up.
    Raises FrameError; a frame is taken whole or not at all.
    """
    try:
        frame = EventFrame(payload)
    except BatchError as fault:
        kind, detail = fault.args
        raise FrameError(FaultKind(kind), detail) from None
    if known_keys is not None and frame.key_id not in known_keys:
        raise FrameError(FaultKind.KEY, "key_id")
    return frame


def event_of(frame: EventFrame, index: int) -> Event:
    """Return one event of a batch as an object. Raises IndexError."""
    members = frame.members(index)
    id_, origin, at, code, key, expires, cutoff, urgent, reason, hand, lifts = members
    return Event(
        id=id_,
        origin=origin,
        at=at,
        kind=_BY_CODE.get(code),
        key=key,
        expires=expires,
        key_id=frame.key_id,
        seq=frame.seq + index,
        cutoff=cutoff,
        urgent=urgent,
        reason=reason,
        hand=hand,
        lifts=lifts,
    )


def ends_at(frame: EventFrame) -> int:
    """Return when the last event of a batch ends, seconds."""
    return max(event_of(frame, index).expires for index in range(frame.count))


def decode_batch(payload: bytes, known_keys: Collection[str]) -> Batch:
    """Read a batch into objects; the feed keeps octets. Raises FrameError."""
    frame = read_batch(payload, known_keys)
    events = tuple(event_of(frame, index) for index in range(frame.count))
    return Batch(frame.origin, frame.publisher, events, ack=frame.ack)
