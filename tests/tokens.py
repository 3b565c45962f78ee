"""The one token builder of the tests: keys of every algorithm, tokens, key sets.

It signs with `cryptography` and writes JSON with the standard library, so that nothing
of the product vouches for its own input.
"""

import base64
import json
import time
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://login.example.com/oauth/v2/oauth-anonymous"
AUDIENCE = "api"
SHA256 = hashes.SHA256()


def b64(raw: bytes) -> str:
    """Encode as canonical base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _int(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class SigningKey:
    """A private key of one algorithm, with its public JWK."""

    def __init__(self, alg: str, kid: str) -> None:
        self.alg = alg
        self.kid = kid
        self.private: Any
        if alg in {"ES256", "ES384"}:
            self.private = ec.generate_private_key(
                ec.SECP256R1() if alg == "ES256" else ec.SECP384R1()
            )
        elif alg in {"RS256", "PS256"}:
            self.private = rsa.generate_private_key(65537, 2048)
        elif alg in {"EdDSA", "Ed25519"}:
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            raise ValueError(alg)

    def __repr__(self) -> str:
        """Name the key, equally in every process that collects tests."""
        return f"SigningKey({self.alg!r}, {self.kid!r})"

    def sign(self, data: bytes) -> bytes:
        """Return a JWS signature over `data`."""
        if self.alg in {"ES256", "ES384"}:
            digest, size = (
                (SHA256, 32) if self.alg == "ES256" else (hashes.SHA384(), 48)
            )
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.alg == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), SHA256)
        if self.alg == "PS256":
            pss = padding.PSS(padding.MGF1(SHA256), 32)
            return self.private.sign(data, pss, SHA256)
        return self.private.sign(data)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public JWK; `members` override, None removes."""
        public = self.private.public_key()
        jwk: dict[str, Any] = {"kid": self.kid, "use": "sig", "alg": self.alg}
        if self.alg in {"ES256", "ES384"}:
            numbers = public.public_numbers()
            size = 32 if self.alg == "ES256" else 48
            jwk |= {
                "kty": "EC",
                "crv": "P-256" if self.alg == "ES256" else "P-384",
                "x": _int(numbers.x, size),
                "y": _int(numbers.y, size),
            }
        elif self.alg in {"RS256", "PS256"}:
            numbers = public.public_numbers()
            jwk |= {"kty": "RSA", "n": _int(numbers.n), "e": _int(numbers.e)}
        else:
            jwk |= {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        jwk |= members
        return {name: value for name, value in jwk.items() if value is not None}


@cache
def signing_key(alg: str = "ES256", kid: str | None = None) -> SigningKey:
    """Return a key made once per test run; RSA keys are slow to make."""
    return SigningKey(alg, kid or f"{alg.lower()}-1")


def claims(now: int | None = None, **override: Any) -> dict[str, Any]:
    """Return ordinary access-token claims; None removes a member."""
    now = int(time.time()) if now is None else now
    members: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "user-bob-0001",
        "aud": AUDIENCE,
        "exp": now + 300,
        "iat": now,
        "jti": "P$b2116bfc-4aaf-4ab9-b633-61bc3ed6897c",
        "sid": "s-1234567890",
        "client_id": "web-app",
        "scope": "orders read",
        "region": "us",
    }
    members |= override
    return {name: value for name, value in members.items() if value is not None}


def encode(
    header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, key: SigningKey
) -> bytes:
    """Return a compact JWS over exactly these parts."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":"))
        for part in (header, payload)
    ]
    text = ".".join(b64(p if isinstance(p, bytes) else p.encode()) for p in parts)
    return f"{text}.{b64(key.sign(text.encode()))}".encode()


def token(
    key: SigningKey | None = None,
    *,
    header: dict[str, Any] | None = None,
    now: int | None = None,
    **override: Any,
) -> bytes:
    """Return a signed access token; `override` changes claims, None removes."""
    key = key or signing_key()
    head: dict[str, Any] = {"alg": key.alg, "kid": key.kid, "typ": "at+jwt"}
    head |= header or {}
    head = {name: value for name, value in head.items() if value is not None}
    return encode(head, claims(now, **override), key)


def jwks(*keys: SigningKey) -> dict[str, Any]:
    """Return a key set of these keys."""
    return {"keys": [key.jwk() for key in keys]}
