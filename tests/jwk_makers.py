"""Key pairs for tests: the JWK an issuer would publish, and signatures in JWS form."""

import functools
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from fastgate.domain import base64url

CURVES = {
    "P-256": (ec.SECP256R1(), 32, hashes.SHA256()),
    "P-384": (ec.SECP384R1(), 48, hashes.SHA384()),
}
CURVE_OF = {"ES256": "P-256", "ES384": "P-384"}


def number(value: int, size: int = 0) -> str:
    """Return Base64urlUInt text, of `size` octets where given."""
    return base64url.encode(value.to_bytes(size or (value.bit_length() + 7) // 8))


@dataclass(frozen=True)
class Pair:
    """A private key and what to publish of it."""

    private: Any
    public: dict[str, Any]

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public JWK; a member given as None is left out."""
        made = {**self.public, **members}
        return {name: value for name, value in made.items() if value is not None}

    def sign(self, alg: str, signed: bytes) -> bytes:
        """Return the signature in JWS form."""
        if alg in CURVE_OF:
            _, size, digest = CURVES[CURVE_OF[alg]]
            der = self.private.sign(signed, ec.ECDSA(digest))
            r, s = utils.decode_dss_signature(der)
            return r.to_bytes(size) + s.to_bytes(size)
        if alg == "RS256":
            return self.private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        if alg == "PS256":
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
            return self.private.sign(signed, pss, hashes.SHA256())
        return self.private.sign(signed)


def ec_pair(crv: str = "P-256") -> Pair:
    """Return a new elliptic curve pair."""
    curve, size, _ = CURVES[crv]
    private = ec.generate_private_key(curve)
    point = private.public_key().public_numbers()
    x, y = number(point.x, size), number(point.y, size)
    return Pair(private, {"kty": "EC", "crv": crv, "x": x, "y": y})


@functools.cache
def rsa_pair(bits: int = 2048, tag: str = "") -> Pair:
    """Return an RSA pair, made once per size and tag since that takes long."""
    del tag
    private = rsa.generate_private_key(65537, bits)
    numbers = private.public_key().public_numbers()
    public = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    return Pair(private, public)


def ed25519_pair() -> Pair:
    """Return a new Ed25519 pair."""
    private = ed25519.Ed25519PrivateKey.generate()
    x = base64url.encode(private.public_key().public_bytes_raw())
    return Pair(private, {"kty": "OKP", "crv": "Ed25519", "x": x})


def pair_for(alg: str) -> Pair:
    """Return a pair that fits a JWS algorithm."""
    if alg in CURVE_OF:
        return ec_pair(CURVE_OF[alg])
    return rsa_pair() if alg in {"RS256", "PS256"} else ed25519_pair()
