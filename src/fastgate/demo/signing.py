"""Signing: the keys that all regions of the demo's issuer share, and their rotation.

Owns:      the private keys, which of them are published and which one signs.
Called by: demo.identity signs and publishes; the tour rotates.
Source:    RFC 7515, RFC 7517, RFC 7518 section 3.4 (ES256).
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from fastgate.domain import base64url

__all__ = ["IssuerKeys"]

_COORDINATE_BYTES: Final = 32
_PARTS: Final = 3
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    private: ec.EllipticCurvePrivateKey

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(data, _ECDSA))
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)

    def verify(self, signature: bytes, data: bytes) -> bool:
        halves = signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]
        r, s = (int.from_bytes(half) for half in halves)
        try:
            self.private.public_key().verify(encode_dss_signature(r, s), data, _ECDSA)
        except InvalidSignature:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "alg": "ES256",
            "kid": self.kid,
            "x": base64url.encode(numbers.x.to_bytes(_COORDINATE_BYTES)),
            "y": base64url.encode(numbers.y.to_bytes(_COORDINATE_BYTES)),
        }


class IssuerKeys:
    """ES256 keys: every published one verifies, one of them signs."""

    def __init__(self) -> None:
        self._published: dict[str, _Key] = {}
        self._made = 0
        self._signer = self._make()

    @property
    def kid(self) -> str:
        """Name of the key that signs."""
        return self._signer.kid

    def publish(self) -> str:
        """Publish a new key that does not sign yet; returns its name."""
        return self._make().kid

    def sign_with(self, kid: str) -> None:
        """Sign with a published key from now on."""
        self._signer = self._published[kid]

    def jwks(self) -> dict[str, Any]:
        """Return the key set of all published keys."""
        return {"keys": [key.jwk() for key in self._published.values()]}

    def public_pem(self) -> bytes:
        """Return the signing key's public half, as an attacker finds it anywhere."""
        public = self._signer.private.public_key()
        return public.public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )

    def token(self, claims: dict[str, Any], typ: str | None) -> str:
        """Return claims as a signed compact JWS.

        typ: Type header; None writes none.
        """
        header = {"alg": "ES256", "kid": self._signer.kid}
        if typ is not None:
            header["typ"] = typ
        signed = ".".join(
            base64url.encode(orjson.dumps(part)) for part in (header, claims)
        )
        return f"{signed}.{base64url.encode(self._signer.sign(signed.encode()))}"

    def read(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token that we signed, expired or not; else None."""
        parts = token.split(".")
        if len(parts) != _PARTS:
            return None
        octets = [base64url.decode(part) for part in parts]
        head, payload, signature = octets
        if not head or not payload or not signature:
            return None
        try:
            header = orjson.loads(head)
        except ValueError:
            return None
        key = self._published.get(header.get("kid"))
        if key is None or len(signature) != 2 * _COORDINATE_BYTES:
            return None
        if not key.verify(signature, ".".join(parts[:2]).encode()):
            return None
        claims: dict[str, Any] = orjson.loads(payload)
        return claims

    def _make(self) -> _Key:
        self._made += 1
        key = _Key(f"demo-{self._made}", ec.generate_private_key(ec.SECP256R1()))
        self._published[key.kid] = key
        return key
