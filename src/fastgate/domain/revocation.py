"""Revocation: the kinds of identifiers, and the keyed hash each one travels as.

Owns:      kinds and the hashing rule; no plain identifier leaves this module's callers.
Called by: hotpath.gate when facts are made, control.feed when an event is entered.
Source:    REVOCATION.md section 3 (key, cutoff), RFC 7693 (BLAKE2b).
"""

import enum
import hashlib
import struct

__all__ = ["EVERYTHING", "KEY_BYTES", "KeyHasher", "Kind", "framed"]

KEY_BYTES = 16
# Cut-off of an identifier revoked whatever the token's age (jti, sid, grant, kid).
EVERYTHING = 0xFFFF_FFFF

_pack = struct.Struct(">I").pack


class Kind(enum.StrEnum):
    """What a revocation names."""

    JTI = "jti"
    SID = "sid"
    SUB = "sub"
    CLIENT = "client"
    GRANT = "grant"
    KID = "kid"
    ISSUER = "issuer"

    @property
    def by_time(self) -> bool:
        """True where only tokens issued at or before a cut-off are touched."""
        return self in _BY_TIME

    @property
    def everybody(self) -> bool:
        """True where the issuer's home origin publishes it, not the user's."""
        return self in _EVERYBODY


_BY_TIME = frozenset({Kind.SUB, Kind.CLIENT, Kind.ISSUER})
_EVERYBODY = frozenset({Kind.CLIENT, Kind.KID, Kind.ISSUER})


def framed(raw: bytes) -> bytes:
    """Return octets as they are hashed: behind their count, in four octets."""
    return _pack(len(raw)) + raw


class KeyHasher:
    """Hashes identifiers of one issuer under the deployment's key.

    hash_key: Shared by all regions, at most 64 bytes; empty means unkeyed.
    issuer: The exact `iss`.
    """

    __slots__ = ("_seeds",)

    def __init__(self, hash_key: bytes, issuer: str) -> None:
        self._seeds: dict[Kind, hashlib.blake2b] = {}
        for kind in Kind:
            seed = hashlib.blake2b(digest_size=KEY_BYTES, key=hash_key)
            seed.update(framed(kind.value.encode()) + framed(issuer.encode()))
            self._seeds[kind] = seed

    def key(self, kind: Kind, value: str) -> bytes:
        """Return the 16-byte key of an identifier.

        value: The identifier as unescaped text; for ISSUER the issuer itself.
        Source: REVOCATION.md section 3: length-prefixed kind, exact `iss`, value.
        """
        digest = self._seeds[kind].copy()
        # No lone surrogates: the scanner refuses them (RFC 8259 section 8.2).
        digest.update(framed(value.encode()))
        return digest.digest()

    def seed(self, kind: Kind) -> "hashlib.blake2b":
        """Return the state that hashing of this kind begins with; update a copy only.

        For hotpath.facts, which does in compiled code what `key` does.
        """
        return self._seeds[kind]
