"""Held keys: which keys of an issuer are trusted now, by what its documents said.

Owns:      the keys of one issuer, since when they are known, and which are on their way
           out. A key leaves after two documents in a row without it, or when no
           document listed it for `max_stale_s`; never because a fetch failed.
Called by: control.key_policy. Pure: the caller brings the time.
Source:    PROTOCOLS.md section 2; THREATS.md I2, I5, I6.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastgate.control.jwks import KeySet
from fastgate.domain.jwk import PublicJwk

__all__ = ["AGREEING_FETCHES", "HeldKey", "HeldKeys"]

# Reason: one node of the issuer, or of a cache before it, may lag behind the others.
AGREEING_FETCHES = 2


@dataclass(slots=True)
class HeldKey:
    """One trusted key.

    first_seen_s, last_seen_s: CLOCK_BOOTTIME seconds of the first and newest good word.
    expires_s: Until when it is trusted without another one.
    absences: Successful fetches in a row that did not list it.
    """

    jwk: PublicJwk
    first_seen_s: float
    last_seen_s: float
    expires_s: float
    absences: int = 0


class HeldKeys:
    """The keys of one issuer.

    max_stale_s: How long a key serves after the last document that listed it.
    """

    def __init__(self, max_stale_s: float) -> None:
        self.max_stale_s = max_stale_s
        self._keys: dict[tuple[str | None, bytes], HeldKey] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[HeldKey]:
        return iter(self._keys.values())

    def knows(self, kid: str) -> bool:
        """Tell whether a key of that name is held."""
        return any(known == kid for known, _ in self._keys)

    @property
    def leaving(self) -> bool:
        """True where a key waits for the second document without it."""
        return any(key.absences for key in self._keys.values())

    def next_expiry_s(self) -> float:
        """Return when the first key ends unless seen again; infinite without keys."""
        return min((key.expires_s for key in self._keys.values()), default=float("inf"))

    def public(self) -> list[PublicJwk]:
        """Return the keys, in the order in which they came."""
        return [key.jwk for key in self._keys.values()]

    def restore(self, keys: Iterable[PublicJwk], seen_s: float) -> None:
        """Take over keys that were last seen at `seen_s`, CLOCK_BOOTTIME seconds."""
        for jwk in keys:
            self._see(jwk, seen_s)

    def merge(self, said: KeySet, now_s: float) -> None:
        """Follow a document fetched at `now_s`; `said` has at least one key."""
        listed = {(jwk.kid, jwk.thumbprint) for jwk in said.keys}
        renamed = {jwk.kid for jwk in said.keys if jwk.kid is not None}
        for name, key in list(self._keys.items()):
            if name in listed or name[0] in said.disputed:
                # Reason: a doubled kid is the issuer's slip; it tells nothing of ours.
                continue
            key.absences += 1
            if name[0] in renamed or key.absences >= AGREEING_FETCHES:
                # A key reissued under its kid replaces the old one at once: tokens name
                # the kid, and with both in place the old one would still be trusted.
                del self._keys[name]
        for jwk in said.keys:
            self._see(jwk, now_s)

    def clear(self) -> None:
        """Forget all keys."""
        self._keys.clear()

    def expire(self, now_s: float) -> bool:
        """Drop keys that ended at or before `now_s`; True where one did."""
        ended = [name for name, key in self._keys.items() if key.expires_s <= now_s]
        for name in ended:
            del self._keys[name]
        return bool(ended)

    def supersede(self, ends_s: float) -> None:
        """Let the next document replace all keys, which end at `ends_s` in any case."""
        for key in self._keys.values():
            key.absences = AGREEING_FETCHES - 1
            key.expires_s = min(key.expires_s, ends_s)

    def _see(self, jwk: PublicJwk, seen_s: float) -> None:
        name = (jwk.kid, jwk.thumbprint)
        known = self._keys.get(name)
        first_s = known.first_seen_s if known else seen_s
        self._keys[name] = HeldKey(jwk, first_s, seen_s, seen_s + self.max_stale_s)
