"""Tokens: a key, its key set, and as many tokens as a run needs.

Owns:      the issuer that every bench pretends to be.
Called by: every bench.
Source:    RFC 7515, RFC 7517, RFC 7518 section 3.4, RFC 9068.
"""

import pathlib
import time
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fastgate.domain import base64url

__all__ = ["AUDIENCE", "ISSUER", "Issuer"]

ISSUER: Final = "https://login.bench.test/oauth/v2/oauth-anonymous"
AUDIENCE: Final = "api"
_KID: Final = "bench-2026-11"
_LIFE_S: Final = 3000
_INTEGER_BYTES: Final = 32
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


class Issuer:
    """Signs ES256 access tokens of about 500 octets with one key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._made = 0
        self._header = base64url.encode(
            orjson.dumps({"alg": "ES256", "kid": _KID, "typ": "at+jwt"})
        )

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._key.public_key()

    def token(self, region: str | None = "eu", **claims: Any) -> str:
        """Return a token that was never made before; `claims` replace its own.

        region: Its claim; None: it has none.
        """
        self._made += 1
        now_s = int(time.time())
        body = {
            "iss": ISSUER,
            "sub": f"user-{self._made:07}",
            "aud": AUDIENCE,
            "exp": now_s + _LIFE_S,
            "iat": now_s,
            "jti": f"b2116bfc-4aaf-4ab9-b633-{self._made:012}",
            "sid": f"s-{self._made:010}",
            "client_id": "web",
            "scope": "orders read",
            **({} if region is None else {"region": region}),
        } | claims
        signed = f"{self._header}.{base64url.encode(orjson.dumps(body))}"
        return f"{signed}.{base64url.encode(self._sign(signed.encode()))}"

    def tokens(self, count: int, path: pathlib.Path, region: str = "eu") -> str:
        """Write new tokens to a file, one a line; returns its name."""
        with path.open("w", encoding="ascii") as out:
            out.writelines(f"{self.token(region)}\n" for _ in range(count))
        return str(path)

    def jwk(self) -> dict[str, str]:
        """Return the public key as a JWK."""
        numbers = self.public.public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "alg": "ES256",
            "kid": _KID,
            "x": base64url.encode(numbers.x.to_bytes(_INTEGER_BYTES)),
            "y": base64url.encode(numbers.y.to_bytes(_INTEGER_BYTES)),
        }

    def jwks(self) -> bytes:
        """Return the key set as JSON."""
        return orjson.dumps({"keys": [self.jwk()]})

    def pem(self) -> bytes:
        """Return the public key as PEM, which is what HAProxy reads."""
        return self.public.public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )

    def _sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(data, _ECDSA))
        return r.to_bytes(_INTEGER_BYTES) + s.to_bytes(_INTEGER_BYTES)
