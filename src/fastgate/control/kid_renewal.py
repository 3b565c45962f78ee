"""Kid renewal: a revoked key stays revoked for as long as its issuer publishes it.

Owns:      the live entries against keys whose home is here.
Called by: control.feed notes them, control.housekeeping enters what is due.
Source:    REVOCATION.md section 3: an entry is renewed until its key has been out of
           the key set for one token lifetime.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from fastgate.domain.entry import Lifetimes, followed_by
from fastgate.domain.event import Event, key_id
from fastgate.domain.revocation import KeyHasher, Kind

__all__ = ["KidRenewal"]

# Reason: revoked keys are a handful; past it the ones that came last are not renewed.
_MAX_LIVE = 4_096
# Reason: the next look is ten seconds away, and publishing takes a moment.
_MARGIN_S = 30


class KidRenewal:
    """One per feed.

    hash_keys: That of new entries, then those that are looked up as well.
    held: Issuer (`iss`) and kid of every key in use.
    """

    def __init__(
        self,
        hash_keys: tuple[bytes, ...],
        held: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        self._hash_keys = hash_keys
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
            _renewed(self._live[key], new_key, key_id(self._hash_keys[0]), lifetimes)
            for key, new_key in self._held_keys().items()
            if key in self._live and self._live[key].expires < needed
        ]

    def _held_keys(self) -> dict[bytes, bytes]:
        # Under each hash key, with what it is under the one of new entries.
        held: dict[bytes, bytes] = {}
        for issuer, kid in self._held():
            keys = [KeyHasher(h, issuer).key(Kind.KID, kid) for h in self._hash_keys]
            held |= dict.fromkeys(keys, keys[0])
        return held


def _renewed(event: Event, key: bytes, name: str, lifetimes: Lifetimes) -> Event:
    expires = event.expires + lifetimes.max_session_s
    return replace(
        event,
        id=followed_by(event.id, expires),
        key=key,
        key_id=name,
        seq=0,
        expires=expires,
        hand=(),
    )
