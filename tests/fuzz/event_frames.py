"""Batches of revocations: the compiled reader agrees with a slow one, octet for octet.

Owns:      a reading of docs/revocation-frame.md that shares no code with the product.
Called by: tests.fuzz.targets.
Source:    REVOCATION.md section 3: a frame is taken whole or not at all.
"""

import re
from collections.abc import Callable, Iterator

from fastgate.control.event_batch import decode_batch, read_batch
from fastgate.control.native import EventFrame
from fastgate.domain.event import encode_batch
from fastgate.domain.frame import FrameError

_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PUBLISHER = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.[A-Za-z0-9_-]{8,32}")
_MOST_BYTES = 262_144
_KINDS = range(1, 8)
_EVERY_TOKEN = 2**32 - 1
_URGENT, _OPTIONAL, _CUTOFF, _ORIGIN, _REASON, _HAND, _LIFT = 1, 2, 4, 8, 16, 32, 64


class _Octets:
    """Takes from the front; ValueError where there is too little."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, size: int) -> bytes:
        if len(self.left) < size:
            raise ValueError
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def number(self, size: int, low: int = 0, high: int = 2**64) -> int:
        found = int.from_bytes(self.take(size), "big")
        if not low <= found <= high:
            raise ValueError
        return found

    def name(self, shape: re.Pattern[bytes] = _NAME) -> str:
        found = self.take(self.number(1))
        if not shape.fullmatch(found):
            raise ValueError
        return found.decode()


def slow(data: bytes) -> tuple[object, ...]:
    """Head and events of a batch. Raises ValueError."""
    octets = _Octets(data)
    if len(data) > _MOST_BYTES or octets.take(3) != b"\xfa\x5e\x01":
        raise ValueError
    ack = octets.number(1, 0, 1)
    key_id = octets.take(4).hex()
    seq, count = octets.number(8, 1, 2**53), octets.number(2, 1, 256)
    origin, publisher = octets.name(), octets.name(_PUBLISHER)
    events = [
        _event(_Octets(octets.take(octets.number(2))), origin) for _ in range(count)
    ]
    if octets.left:
        raise ValueError
    return (origin, publisher, key_id, seq, bool(ack), *events)


def _event(octets: _Octets, speaker: str) -> tuple[object, ...]:
    kind, flags = octets.number(1), octets.number(1, 0, 127)
    if kind not in _KINDS:
        if not flags & _OPTIONAL:
            raise ValueError
        kind = 0
    key = octets.take(16)
    at_ms, expires = octets.number(8, 0, 10**14 - 1), octets.number(4, 1)
    name = octets.name()

    def given(flag: int, read: Callable[[], object], absent: object) -> object:
        return read() if flags & flag else absent

    cutoff = given(_CUTOFF, lambda: octets.number(4), _EVERY_TOKEN)
    origin = given(_ORIGIN, octets.name, speaker)
    lifts = given(_LIFT, octets.name, "")
    reason = given(_REASON, lambda: octets.take(octets.number(2, 1, 512)).decode(), "")
    homes = given(
        _HAND, lambda: tuple(octets.name() for _ in range(octets.number(1, 1, 64))), ()
    )
    if octets.left or len(str(reason)) > 128:
        raise ValueError
    return (
        *(name, origin, at_ms / 1000, kind, key if kind else b"", expires),
        *(cutoff, bool(flags & _URGENT), reason, homes, lifts),
    )


def check_events(data: bytes) -> None:
    """Both readers take it, and the same of it, or neither does."""
    try:
        expected = slow(data)
    except ValueError:
        expected = ()
    keys = frozenset({data[4:8].hex()})
    try:
        frame = read_batch(data, keys)
    except FrameError:
        assert not expected, "a good frame was refused"
        return
    assert expected, "a bad frame was taken"
    assert (*_head(frame), *map(frame.members, range(frame.count))) == expected
    assert frame.ids() == [event[0] for event in expected[5:]]
    assert frame.last == frame.seq + len(expected) - 6
    batch = decode_batch(data, keys)
    if all(event.kind is not None for event in batch.events):
        assert decode_batch(encode_batch(batch), keys) == batch


def _head(frame: EventFrame) -> tuple[object, ...]:
    return frame.origin, frame.publisher, frame.key_id, frame.seq, frame.ack


def batches() -> Iterator[bytes]:
    """Frames: each kind, each flag, none and all of them."""
    fixed = (
        bytes(range(16)) + (1_764_000_000_000).to_bytes(8, "big") + b"\x69\x20\x7d\x3c"
    )
    tails = {
        _CUTOFF: b"\x69\x00\x00\x00",
        _ORIGIN: b"\x02us",
        _LIFT: b"\x028a",
        _REASON: b"\x00\x04lost",
        _HAND: b"\x02\x02eu\x02ap",
    }
    choices = [0, _URGENT, _OPTIONAL, *tails, sum(tails)]
    events = []
    for kind in (*_KINDS, 9):
        for flags in choices:
            parts = [tails[flag] for flag in tails if flags & flag]
            body = bytes([kind, flags]) + fixed + b"\x03e-1" + b"".join(parts)
            events.append(len(body).to_bytes(2, "big") + body)
    for run in (*([event] for event in events), events[:8], events):
        yield (
            b"\xfa\x5e\x01\x01\x00\x00\x00\x00"
            + (7).to_bytes(8, "big")
            + len(run).to_bytes(2, "big")
            + b"\x02eu\x0bn1.abcdefgh"
            + b"".join(run)
        )
