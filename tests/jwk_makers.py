"""Bare key pairs: like tests.tokens.SigningKey, but nothing is published unasked."""

import copy
import functools
from typing import Any

from tests.tokens import SigningKey, b64


class Pair:
    """A signing key whose JWK has only the members that it must have."""

    def __init__(self, alg: str) -> None:
        self.key = SigningKey(alg, "unused")

    @property
    def private(self) -> Any:
        """The private key object."""
        return self.key.private

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public JWK with these members besides."""
        return self.key.jwk(**{"kid": None, "use": None, "alg": None, **members})

    def sign(self, alg: str, signed: bytes) -> bytes:
        """Return the signature in JWS form, under any algorithm of the key's type."""
        signer = copy.copy(self.key)
        signer.alg = alg
        return signer.sign(signed)


def number(value: int, size: int = 0) -> str:
    """Return Base64urlUInt text, of `size` octets where given."""
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def ec_pair(crv: str = "P-256") -> Pair:
    """Return a new elliptic curve pair."""
    return Pair("ES256" if crv == "P-256" else "ES384")


@functools.cache
def rsa_pair() -> Pair:
    """Return an RSA pair; made once, since that takes long."""
    return Pair("RS256")


def ed25519_pair() -> Pair:
    """Return a new Ed25519 pair."""
    return Pair("EdDSA")


def pair_for(alg: str) -> Pair:
    """Return a pair that fits a JWS algorithm."""
    return rsa_pair() if alg in {"RS256", "PS256"} else Pair(alg)
