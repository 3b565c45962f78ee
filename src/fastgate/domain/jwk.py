"""Public JSON Web Keys: which ones may verify a token, and what their names are.

Owns:      the rules for one key on its own; rules for a whole set are control.jwks'.
Called by: control.jwks for what an issuer publishes, hotpath.keys for what travels.
Source:    RFC 7517, RFC 7518 section 6, RFC 7638, RFC 8037; PROTOCOLS.md section 2.
"""

import enum
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from fastgate.domain import base64url
from fastgate.domain.token import ALGORITHMS

__all__ = ["Flaw", "JwkError", "PublicJwk", "read_jwk"]

# Source: RFC 7518 section 6.3.2 and 6.2.2; `k` is a secret whatever `kty` says.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_COORDINATE_BYTES = {"P-256": 32, "P-384": 48}
_ED25519_BYTES = 32
# Reason: longer than any kid in use; the token scanner refuses longer ones anyway.
_MAX_KID_BYTES = 256
# Source: NIST SP 800-131A. Above 8192 bits one signature costs a worker milliseconds.
_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192
_MAX_EXPONENT_BITS = 64
_MIN_EXPONENT = 3


class Flaw(enum.StrEnum):
    """Why a key is not used; shown in the status, never sent to a client."""

    NO_OBJECT = "no_object"
    BAD_MEMBER = "bad_member"  # missing, of a wrong type, or not canonical
    SECRET = "secret"  # symmetric, or with private members  # noqa: S105
    BAD_KID = "bad_kid"
    WRONG_USE = "wrong_use"
    WRONG_CURVE = "wrong_curve"
    OFF_CURVE = "off_curve"
    WRONG_SIZE = "wrong_size"
    WEAK = "weak"
    ALG_MISMATCH = "alg_mismatch"
    UNSERVED = "unserved"  # a key type or algorithm that is not known here
    DOUBLED = "doubled"  # several keys of one set share its kid


class JwkError(ValueError):
    """This key must not be used; `flaw` says why, nothing of the key is in the text."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class PublicJwk:
    """A checked public key, as text; only members that verification needs are kept.

    kty, crv: Key type and curve; crv is "" for RSA.
    kid, alg: As published; None where absent.
    numbers: The required members of the type, e.g. x and y, in canonical base64url.
    thumbprint: RFC 7638 SHA-256 thumbprint, 32 bytes.
    """

    kty: str
    crv: str
    kid: str | None
    alg: str | None
    numbers: tuple[tuple[str, str], ...]
    thumbprint: bytes

    @property
    def algorithms(self) -> frozenset[str]:
        """Names of ALGORITHMS this key may verify.

        EdDSA and Ed25519 name one algorithm (RFC 9864), so either stands for both.
        """
        fitting = {
            name
            for name, needs in ALGORITHMS.items()
            if (needs.kty, needs.crv) == (self.kty, self.crv)
        }
        if self.alg is None or self.kty == "OKP":
            return frozenset(fitting)
        return frozenset({self.alg})

    def octets(self, name: str) -> bytes:
        """Return the octets of a required member. Raises KeyError for others."""
        return base64url.decode(dict(self.numbers)[name]) or b""

    def members(self) -> dict[str, str]:
        """Return the JWK again: public members only."""
        optional = {"crv": self.crv, "kid": self.kid, "alg": self.alg}
        shown = {name: value for name, value in optional.items() if value is not None}
        if not self.crv:
            del shown["crv"]
        return {"kty": self.kty, **shown, **dict(self.numbers)}


def read_jwk(value: object) -> PublicJwk:
    """Return the key that `value` describes.

    value: One member of `keys`, as parsed JSON.
    Raises JwkError. Whether a point is on its curve is for the library that loads it.
    """
    if not isinstance(value, Mapping):
        raise JwkError(Flaw.NO_OBJECT)
    # Reason: looked at first, so that a published secret is always called one.
    if value.get("kty") == "oct" or not _PRIVATE.isdisjoint(value):
        raise JwkError(Flaw.SECRET)
    _check_purpose(value)
    kty, crv, numbers = _material(value)
    alg = value.get("alg")
    if alg is not None:
        _check_algorithm(alg, kty, crv)
    return PublicJwk(
        kty=kty,
        crv=crv,
        kid=_kid(value),
        alg=alg,
        numbers=tuple(sorted(numbers.items())),
        thumbprint=_thumbprint(kty, crv, numbers),
    )


def _check_purpose(value: Mapping[str, object]) -> None:
    # Source: RFC 7517 sections 4.2 and 4.3.
    use, operations = value.get("use"), value.get("key_ops")
    if use is not None and use != "sig":
        raise JwkError(Flaw.WRONG_USE)
    if operations is None:
        return
    if not isinstance(operations, list) or "verify" not in operations:
        raise JwkError(Flaw.WRONG_USE)


def _check_algorithm(alg: object, kty: str, crv: str) -> None:
    if not isinstance(alg, str):
        raise JwkError(Flaw.BAD_MEMBER)
    needs = ALGORITHMS.get(alg)
    if needs is None:
        raise JwkError(Flaw.UNSERVED)
    if (needs.kty, needs.crv) != (kty, crv):
        raise JwkError(Flaw.ALG_MISMATCH)


def _kid(value: Mapping[str, object]) -> str | None:
    kid = value.get("kid")
    if kid is None:
        return None
    # Reason: tokens that name such a kid are refused, so the key could never be found.
    if not isinstance(kid, str) or not kid or any(mark < " " for mark in kid):
        raise JwkError(Flaw.BAD_KID)
    try:
        size = len(kid.encode())
    except UnicodeEncodeError:  # a lone surrogate, RFC 8259 section 8.2
        raise JwkError(Flaw.BAD_KID) from None
    if size > _MAX_KID_BYTES:
        raise JwkError(Flaw.BAD_KID)
    return kid


def _material(value: Mapping[str, object]) -> tuple[str, str, dict[str, str]]:
    kty, crv = value.get("kty"), value.get("crv")
    if kty == "EC":
        if not isinstance(crv, str) or crv not in _COORDINATE_BYTES:
            raise JwkError(Flaw.WRONG_CURVE)
        for name in ("x", "y"):
            # Source: RFC 7518 section 6.2.1.2: exactly the size of the field, padded.
            if len(_octets(value, name)) != _COORDINATE_BYTES[crv]:
                raise JwkError(Flaw.WRONG_SIZE)
        return "EC", crv, {name: str(value[name]) for name in ("x", "y")}
    if kty == "OKP":
        if crv != "Ed25519":
            raise JwkError(Flaw.WRONG_CURVE)
        _check_edwards(_octets(value, "x"))
        return "OKP", "Ed25519", {"x": str(value["x"])}
    if kty == "RSA":
        _check_rsa(_octets(value, "n"), _octets(value, "e"))
        return "RSA", "", {name: str(value[name]) for name in ("n", "e")}
    raise JwkError(Flaw.UNSERVED if isinstance(kty, str) else Flaw.BAD_MEMBER)


def _octets(value: Mapping[str, object], name: str) -> bytes:
    text = value.get(name)
    octets = base64url.decode(text) if isinstance(text, str) else None
    if octets is None:
        raise JwkError(Flaw.BAD_MEMBER)
    return octets


def _check_rsa(modulus: bytes, exponent: bytes) -> None:
    # Source: RFC 7518 section 2, Base64urlUInt: the fewest octets, or one key has
    # several thumbprints.
    if modulus[0] == 0 or exponent[0] == 0:
        raise JwkError(Flaw.BAD_MEMBER)
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    if not _MIN_RSA_BITS <= n.bit_length() <= _MAX_RSA_BITS:
        raise JwkError(Flaw.WRONG_SIZE)
    if e < _MIN_EXPONENT or e.bit_length() > _MAX_EXPONENT_BITS:
        raise JwkError(Flaw.WEAK)
    if n % 2 == 0 or e % 2 == 0 or _has_roca_fingerprint(n):
        raise JwkError(Flaw.WEAK)


def _powers(prime: int) -> frozenset[int]:
    members, power = set(), 1
    while power not in members:
        members.add(power)
        power = power * 65537 % prime
    return frozenset(members)


# Source: CVE-2017-15361: both primes of such a key are powers of 65537 modulo each of
# the first primes, hence the modulus is, and the key can be factored. One sound key in
# 2^27 looks alike.
_ROCA = tuple(
    (prime, _powers(prime))
    for prime in range(3, 168)
    if all(prime % divisor for divisor in range(2, math.isqrt(prime) + 1))
)


def _has_roca_fingerprint(modulus: int) -> bool:
    return all(modulus % prime in powers for prime, powers in _ROCA)


_FIELD_25519 = 2**255 - 19
# Source: RFC 8032 section 5.1.7 takes any point; under one of the eight whose order
# divides the cofactor, signatures that nobody made verify. These are their y.
_ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset(
    {0, 1, _FIELD_25519 - 1, _ORDER_8_Y, _FIELD_25519 - _ORDER_8_Y}
)


def _check_edwards(octets: bytes) -> None:
    if len(octets) != _ED25519_BYTES:
        raise JwkError(Flaw.WRONG_SIZE)
    y = int.from_bytes(octets, "little") & (2**255 - 1)
    if y >= _FIELD_25519 or y in _SMALL_ORDER_Y:
        raise JwkError(Flaw.WEAK)


def _thumbprint(kty: str, crv: str, numbers: Mapping[str, str]) -> bytes:
    # Source: RFC 7638 section 3: required members only, sorted, without white space.
    # None of these texts needs escaping.
    required = {"kty": kty, **numbers}
    if crv:
        required["crv"] = crv
    text = ",".join(f'"{name}":"{required[name]}"' for name in sorted(required))
    return hashlib.sha256(f"{{{text}}}".encode()).digest()
