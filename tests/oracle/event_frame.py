"""The batch frame, read by its page: what the compiled reader is compared with."""

import re

from fastgate.domain.event import Batch, Event
from fastgate.domain.frame import FaultKind, FrameError
from fastgate.domain.revocation import EVERYTHING, Kind

NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
PUBLISHER = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.[A-Za-z0-9_-]{8,32}")
KINDS = [None, *Kind]


def wrong(kind: FaultKind = FaultKind.MALFORMED) -> FrameError:
    return FrameError(kind, "")


class Octets:
    """Takes octets from the front; what is not there is a fault."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, size: int) -> bytes:
        part = self.raw[self.at : self.at + size]
        if len(part) < size:
            raise wrong()
        self.at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self, pattern: re.Pattern[bytes] = NAME) -> str:
        part = self.take(self.number(1))
        if not pattern.fullmatch(part):
            raise wrong()
        return part.decode()

    def done(self) -> bool:
        return self.at == len(self.raw)


def decode_batch(payload: bytes, known_keys: set[str]) -> Batch:
    """Read a batch, octet by octet. Raises FrameError."""
    if len(payload) > 262_144:
        raise wrong(FaultKind.OVERSIZE)
    octets = Octets(payload)
    if octets.take(2) != b"\xfa\x5e":
        raise wrong()
    version, flags = octets.take(2)
    if version != 1:
        raise wrong(FaultKind.VERSION)
    if flags > 1:
        raise wrong(FaultKind.CRITICAL)
    key_name = octets.take(4).hex()
    seq, count = octets.number(8), octets.number(2)
    if not 1 <= seq <= 2**53 or not 1 <= count <= 256:
        raise wrong()
    origin, publisher = octets.sized(), octets.sized(PUBLISHER)
    events = tuple(
        read(Octets(octets.take(octets.number(2))), origin, key_name, seq + i)
        for i in range(count)
    )
    if not octets.done():
        raise wrong()
    if key_name not in known_keys:
        raise wrong(FaultKind.KEY)
    return Batch(origin, publisher, events, ack=flags == 1)


def read(octets: Octets, speaker: str, key_name: str, seq: int) -> Event:
    """Read one event."""
    code, flags, key = octets.number(1), octets.number(1), octets.take(16)
    at_ms, expires = octets.number(8), octets.number(4)
    if flags & 128:
        raise wrong(FaultKind.CRITICAL)
    kind = KINDS[code] if code < len(KINDS) else None
    if kind is None and not flags & 2:
        raise wrong(FaultKind.CRITICAL)
    if at_ms >= 10**14 or expires == 0:
        raise wrong()
    members = {"id": octets.sized(), "origin": speaker}
    cutoff = octets.number(4) if flags & 4 else EVERYTHING
    if flags & 8:
        members["origin"] = octets.sized()
    if flags & 64:
        members["lifts"] = octets.sized()
    if flags & 16:
        size = octets.number(2)
        if not 1 <= size <= 512:
            raise wrong()
        try:
            members["reason"] = octets.take(size).decode()
        except UnicodeDecodeError:
            raise wrong() from None
        if len(members["reason"]) > 128:
            raise wrong()
    hand = ()
    if flags & 32:
        homes = octets.number(1)
        if not 1 <= homes <= 64:
            raise wrong()
        hand = tuple(octets.sized() for _ in range(homes))
    if not octets.done():
        raise wrong()
    return Event(
        kind=kind,
        key=key if kind else b"",
        at=at_ms / 1000,
        expires=expires,
        key_id=key_name,
        seq=seq,
        cutoff=cutoff,
        urgent=bool(flags & 1),
        hand=hand,
        **members,
    )
