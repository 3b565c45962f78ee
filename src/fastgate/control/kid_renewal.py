"""Kid renewal: a revoked key stays revoked for as long as its issuer publishes it.

Owns:      the live entries against keys whose home is here.
Called by: control.feed notes them, control.housekeeping enters what is due.
Source:    REVOCATION.md section 3: an entry is renewed until its key has been out of
           the key set for one token lifetime.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from fastgate.domain.entry import Lifetimes, followed_by
from fastgate.domain.event import Event
from fastgate.domain.revocation import KeyHasher, Kind

__all__ = ["KidRenewal"]

# Reason: revoked keys are a handful; past it the ones that came last are not renewed.
_MAX_LIVE = 4_096
# Reason: the next look is ten seconds away, and publishing takes a moment.
_MARGIN_S = 30


class KidRenewal:
    """One per feed.

    hash_key: Of new entries. held: Issuer (`iss`) and kid of every key in use.
    """

    def __init__(
        self, hash_key: bytes, held: Callable[[], Iterable[tuple[str, str]]]
    ) -> None:
        self._hash_key = hash_key
        self._held = held
        self._live: dict[bytes, Event] = {}

    def note(self, event: Event) -> None:
        """Take note of an entry against a key; the one that ends last counts."""
        known = self._live.get(event.key)
        if known is None and len(self._live) >= _MAX_LIVE:
            return
        if known is None or event.expires > known.expires:
            self._live[event.key] = event

    def forget(self, key: bytes) -> None:
        """Renew the entries against a key no longer: one of them was lifted.

        Another one that stays in force ends when it would, and is entered anew by
        whoever wants that; a lifted one must not come back.
        """
        self._live.pop(key, None)

    def due(self, wall_s: float, lifetimes: Lifetimes) -> list[Event]:
        """Return the entries that must follow: their keys are in use still."""
        for key in [k for k, e in self._live.items() if e.expires <= wall_s]:
            del self._live[key]
        if not self._live:
            return []
        needed = wall_s + lifetimes.of(Kind.JTI) + _MARGIN_S
        return [
            _renewed(self._live[key], lifetimes)
            for key in self._held_keys() & self._live.keys()
            if self._live[key].expires < needed
        ]

    def _held_keys(self) -> set[bytes]:
        return {
            KeyHasher(self._hash_key, issuer).key(Kind.KID, kid)
            for issuer, kid in self._held()
        }


def _renewed(event: Event, lifetimes: Lifetimes) -> Event:
    expires = event.expires + lifetimes.max_session_s
    name = followed_by(event.id, expires)
    return replace(event, id=name, seq=0, expires=expires, hand=())
