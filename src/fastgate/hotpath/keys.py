"""Keys: checked public keys, ready to verify signatures through `cryptography`.

Owns:      the key objects, made once per key set and replaced with it.
Called by: wiring builds sets from what the agent published; hotpath.gate verifies.
Source:    RFC 7518 sections 3.3 to 3.5, RFC 8037 section 3.1, RFC 7638; PROTOCOLS.md
           section 1.2.

The library verifies; what stands here is only what it leaves to its caller: the fixed
length of JWS signatures, r and s within the group order, and that an algorithm fits.
"""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from fastgate.domain.jwk import PublicJwk, read_jwk
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.token import ALGORITHMS
from fastgate.hotpath.native import der_signature

__all__ = ["Key", "build_key", "build_keys"]

# Made once: each of these objects costs as much as the checks around a verification.
_SHA256 = hashes.SHA256()
_ECDSA: Mapping[str, tuple[ec.EllipticCurve, ec.ECDSA, Literal[32, 48]]] = {
    "P-256": (ec.SECP256R1(), ec.ECDSA(hashes.SHA256()), 32),
    "P-384": (ec.SECP384R1(), ec.ECDSA(hashes.SHA384()), 48),
}
_RSA_PADDING: Mapping[str, padding.AsymmetricPadding] = {
    "RS256": padding.PKCS1v15(),
    # Source: RFC 7518 section 3.5: the salt is as long as the hash, MGF1 uses SHA-256.
    "PS256": padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32),
}


class Key(abc.ABC):
    """One public key of an issuer; a domain.keys.VerificationKey.

    kid: Name in the issuer's set. thumbprint: RFC 7638, 32 bytes.
    algorithms: Algorithms it may be used with; anything else verifies as False.
    """

    __slots__ = ("algorithms", "kid", "thumbprint")

    def __init__(self, jwk: PublicJwk) -> None:
        self.kid = jwk.kid
        self.thumbprint = jwk.thumbprint
        self.algorithms = jwk.algorithms

    @abc.abstractmethod
    def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
        """Tell whether `signature` is this key's over `signed`.

        alg: Exact JWS name.
        signature: Octets in JWS form; for ECDSA r and s, of equal length.
        Raises nothing for any content of the three.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.thumbprint.hex()[:16]}>"


class _EcKey(Key):
    __slots__ = ("_integer_bytes", "_scheme", "_verify")

    def __init__(self, jwk: PublicJwk) -> None:
        super().__init__(jwk)
        curve, self._scheme, self._integer_bytes = _ECDSA[jwk.crv]
        x, y = (int.from_bytes(jwk.octets(name)) for name in ("x", "y"))
        public = ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
        self._verify: Callable[[bytes, bytes, ec.ECDSA], None] = public.verify

    def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
        if alg not in self.algorithms:
            return False
        # Refuses a wrong length, and r or s that is 0 or not below the group order:
        # CVE-2022-21449.
        der = der_signature(signature, self._integer_bytes)
        if der is None:
            return False
        try:
            self._verify(der, signed, self._scheme)
        except InvalidSignature:
            return False
        return True


class _RsaKey(Key):
    __slots__ = ("_modulus_bytes", "_verify")

    def __init__(self, jwk: PublicJwk) -> None:
        super().__init__(jwk)
        e, n = (int.from_bytes(jwk.octets(name)) for name in ("e", "n"))
        public = rsa.RSAPublicNumbers(e, n).public_key()
        self._verify = public.verify
        self._modulus_bytes = (n.bit_length() + 7) // 8

    def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
        # Source: RFC 8017 section 8.2.2 step 1: as long as the modulus, else invalid.
        if alg not in self.algorithms or len(signature) != self._modulus_bytes:
            return False
        try:
            self._verify(signature, signed, _RSA_PADDING[alg], _SHA256)
        except InvalidSignature:
            return False
        return True


class _EdwardsKey(Key):
    __slots__ = ("_signature_bytes", "_verify")

    def __init__(self, jwk: PublicJwk) -> None:
        super().__init__(jwk)
        public = ed25519.Ed25519PublicKey.from_public_bytes(jwk.octets("x"))
        self._verify = public.verify
        self._signature_bytes = ALGORITHMS["Ed25519"].signature_bytes

    def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
        if alg not in self.algorithms or len(signature) != self._signature_bytes:
            return False
        try:
            self._verify(signature, signed)
        except InvalidSignature:
            return False
        return True


_KINDS: Mapping[str, type[Key]] = {"EC": _EcKey, "RSA": _RsaKey, "OKP": _EdwardsKey}


def build_key(jwk: Mapping[str, object]) -> Key:
    """Return the key that a JWK describes.

    Raises ValueError (JwkError where it says why) where it must not be used.
    """
    public = read_jwk(jwk)
    try:
        return _KINDS[public.kty](public)
    except UnsupportedAlgorithm as error:
        raise ValueError("not supported by the installed cryptography") from error


def build_keys(jwks: Sequence[Mapping[str, object]], last_fetch_ok: bool) -> IssuerKeys:
    """Return the key set of one issuer.

    jwks: Public JWKs as the agent checked and published them. One that cannot be used
        is left out; where several keys share a kid, all of them are.
    last_fetch_ok: Whether the newest fetch of the issuer's keys succeeded.
    """
    keys = list(_usable(jwks))
    kids = [key.kid for key in keys if key.kid is not None]
    every = tuple(key for key in keys if key.kid is None or kids.count(key.kid) == 1)
    return IssuerKeys(
        by_kid={key.kid: key for key in every if key.kid is not None},
        every=every,
        last_fetch_ok=last_fetch_ok,
    )


def _usable(jwks: Iterable[Mapping[str, object]]) -> Iterator[Key]:
    for jwk in jwks:
        try:
            yield build_key(jwk)
        except ValueError:
            # Reason: the agent already raised the alarm for it; a worker that stopped
            # here would turn one bad key into an outage.
            continue
