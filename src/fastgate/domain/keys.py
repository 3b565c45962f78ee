"""Keys: what the gate asks of an issuer's current key set.

Owns:      the shape only; key objects are built by hotpath.keys, once per key set.
Called by: hotpath.gate.
Source:    RFC 7517, RFC 7638 (thumbprints name keys; `kid` is only a hint).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["IssuerKeys", "VerificationKey"]


class VerificationKey(Protocol):
    """One public key of an issuer, ready to verify."""

    @property
    def kid(self) -> str | None:
        """Name of the key in the issuer's set."""
        ...

    @property
    def thumbprint(self) -> bytes:
        """RFC 7638 SHA-256 thumbprint, 32 bytes."""
        ...

    @property
    def algorithms(self) -> frozenset[str]:
        """Algorithms this key may be used with."""
        ...

    def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
        """Tell whether `signature` (JWS form) is this key's over `signed`."""
        ...


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """The usable keys of one issuer; replaced whole.

    by_kid: Keys that carry a kid.
    every: All keys, in the order of the set.
    last_fetch_ok: False makes an unknown kid 503 instead of 401 (PROTOCOLS section 2).
    """

    by_kid: Mapping[str, VerificationKey] = field(default_factory=dict)
    every: tuple[VerificationKey, ...] = ()
    last_fetch_ok: bool = False
    thumbprints: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Index thumbprints, by which cached facts hang on their key."""
        prints = frozenset(key.thumbprint for key in self.every)
        object.__setattr__(self, "thumbprints", prints)
