"""Entry: what somebody asks to have revoked, and the event that this makes.

Owns:      the limits of a request, the cut-off rule, and how long an event must live.
Called by: admin.api and cli.revoke build entries, control.feed makes events of them.
Source:    REVOCATION.md section 3 (expires, cutoff), DESIGN.md section 10.
"""

import hashlib
import math
from dataclasses import dataclass, replace

from fastgate.domain.event import Event
from fastgate.domain.revocation import EVERYTHING, Kind

__all__ = [
    "MAX_REASON_CHARS",
    "Entry",
    "EntryError",
    "Lifetimes",
    "RepeatedError",
    "followed_by",
    "lengthened",
    "make_event",
]

_MAX_VALUE_BYTES = 1_024
MAX_REASON_CHARS = 128
# Reason: REVOCATION.md section 3: the last possible `exp` and 60 s, and the 2 s by
# which a wall clock may differ before that is an alarm.
_SLACK_S = 62


class EntryError(ValueError):
    """A member of the request is not acceptable; nothing was changed.

    field: Its name in the request.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field


class RepeatedError(EntryError):
    """The event of this entry is known already; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request to revoke, checked as far as it can be without a clock.

    kind: What the value names. value: The identifier, as the token carries it.
    issuer: The exact `iss`. issuer_alias: Its name in the configuration.
    home: Region of the user; None where nobody knows it.
    issued_before: Seconds; from the issuer's own event. None: now, by our clock.
    expires_in: Seconds; lengthens the life of the entry, never shortens it.
    urgent: Open streams end at once.
    reason: For the audit line; travels with the event.
    id: Name of the event, where it follows from what was sent; "": one is made up.
    """

    kind: Kind
    issuer: str
    issuer_alias: str
    value: str
    home: str | None = None
    issued_before: float | None = None
    expires_in: int | None = None
    urgent: bool = False
    reason: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        """Refuse what no clock is needed for. Raises EntryError."""
        _check_text("issuer", self.issuer, _MAX_VALUE_BYTES)
        if self.kind is Kind.ISSUER:
            # The issuer names itself; hashing anything else would match no token.
            if self.value not in {"", self.issuer}:
                raise EntryError("value", "for kind issuer it is the issuer, or empty")
        else:
            _check_text("value", self.value, _MAX_VALUE_BYTES)
        if len(self.reason) > MAX_REASON_CHARS or not self.reason.isprintable():
            raise EntryError("reason", f"at most {MAX_REASON_CHARS} visible characters")
        if self.issued_before is not None:
            if not self.kind.by_time:
                raise EntryError("issued_before", "only for sub, client and issuer")
            if not 0 <= self.issued_before < EVERYTHING:
                raise EntryError("issued_before", "seconds since 1970")
        if self.expires_in is not None and not 0 < self.expires_in < 2**31:
            raise EntryError("expires_in", "a positive number of seconds")


def _check_text(field: str, value: str, max_bytes: int) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise EntryError(field, "not valid Unicode") from None
    if not 0 < size <= max_bytes:
        raise EntryError(field, f"1 to {max_bytes} bytes")


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long tokens and sessions may live here, in seconds.

    leeway_s: What a token's `iat` and `exp` may be off.
    """

    max_token_s: int
    max_session_s: int
    leeway_s: int

    @property
    def longest_s(self) -> int:
        """The longest life of an event; a stream must keep messages for as long."""
        return self.max_session_s + self.max_token_s + self.leeway_s + _SLACK_S

    def of(self, kind: Kind) -> int:
        """Return how long after its cut-off an entry can still touch a token."""
        covered = self.max_token_s + self.leeway_s + _SLACK_S
        if kind in _STILL_ISSUED:
            covered += self.max_session_s
        return covered


# These also cover tokens that are yet to be issued: by a session that goes on, or by
# whoever holds a key that is no longer trusted.
_STILL_ISSUED = frozenset({Kind.SID, Kind.GRANT, Kind.KID})


def make_event(
    entry: Entry,
    *,
    id_: str,
    key: bytes,
    key_id: str,
    origin: str,
    hand: tuple[str, ...],
    now: float,
    lifetimes: Lifetimes,
) -> Event:
    """Return the event of an entry.

    id_: Its name for ever. key: Keyed hash of the identifier. key_id: Of which key.
    origin: Whose event it is. hand: Homes that must publish it.
    now: Wall time, seconds.
    Raises EntryError where the request asks for what cannot be kept.
    """
    cutoff = EVERYTHING
    if entry.kind.by_time:
        if entry.issued_before is None:
            # Our clock, not the issuer's: a token issued just before carries an `iat`
            # that may be ahead of us by the leeway.
            cutoff = math.floor(now) + lifetimes.leeway_s
        elif entry.issued_before > now + lifetimes.leeway_s + _SLACK_S:
            raise EntryError("issued_before", "lies in the future")
        else:
            cutoff = math.floor(entry.issued_before)
    last_issued = now if cutoff == EVERYTHING else max(now, cutoff)
    expires = last_issued + lifetimes.of(entry.kind)
    if entry.expires_in is not None:
        if entry.expires_in > lifetimes.longest_s:
            raise EntryError("expires_in", f"at most {lifetimes.longest_s} seconds")
        expires = max(expires, now + entry.expires_in)
    return Event(
        id=id_,
        origin=origin,
        at=round(now, 3),
        kind=entry.kind,
        key=key,
        key_id=key_id,
        expires=math.ceil(expires),
        cutoff=cutoff,
        urgent=entry.urgent,
        reason=entry.reason,
        hand=hand,
    )


def lengthened(event: Event, lifetimes: Lifetimes) -> Event | None:
    """Return the event that must follow a live one under these lives, or None.

    Tokens may live longer than when it was entered: it would end before the last token
    that it can touch. The new one has the same key and a name that follows from the old
    one and the new end, so that it is made once, whoever makes it and how often.
    Source: REVOCATION.md section 3.
    """
    if event.kind is None:
        return None
    by_time = event.kind.by_time and event.cutoff != EVERYTHING
    last_issued = max(event.at, event.cutoff) if by_time else event.at
    # Rounded down where the entry rounded up: a second is no reason to publish anew.
    expires = math.floor(last_issued + lifetimes.of(event.kind))
    if event.expires >= expires:
        return None
    # Homes that it was handed to see to theirs.
    name = followed_by(event.id, expires)
    return replace(event, id=name, seq=0, expires=expires, hand=())


def followed_by(id_: str, expires: int) -> str:
    """Return the name of the event that lets another one live until `expires`.

    The same in every gateway: it is one event for all of them.
    """
    return hashlib.blake2b(f"{id_}\n{expires}".encode(), digest_size=12).hexdigest()
