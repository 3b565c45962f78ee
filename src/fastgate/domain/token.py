"""Tokens: which ones an issuer's profile accepts, and the facts that stay of one.

Owns:      IssuerProfile (what the operator allows) and TokenFacts (what was verified).
Called by: hotpath.gate; config.compile builds profiles.
Source:    RFC 7519, RFC 8725, RFC 9068; PROTOCOLS.md section 1.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Protocol

from fastgate.domain.revocation import KeyHasher, Kind

__all__ = [
    "ACCESS_TOKEN_TYPES",
    "ALGORITHMS",
    "Algorithm",
    "Introspection",
    "IssuerProfile",
    "TokenFacts",
]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What a JWS algorithm demands (RFC 7518 section 3.1, RFC 8037).

    kty, crv: The only fitting key type and curve; crv is "" for RSA.
    signature_bytes: Exact octets of a JWS signature; 0: as long as the RSA modulus.
    integer_bytes: Octets of r and of s in ECDSA signatures, else 0.
    """

    kty: str
    crv: str
    signature_bytes: int
    integer_bytes: int = 0


# HS* and none are not known here at all: a public key must never become an HMAC secret.
ALGORITHMS: Mapping[str, Algorithm] = {
    "ES256": Algorithm("EC", "P-256", 64, 32),
    "ES384": Algorithm("EC", "P-384", 96, 48),
    "RS256": Algorithm("RSA", "", 0),
    "PS256": Algorithm("RSA", "", 0),
    "EdDSA": Algorithm("OKP", "Ed25519", 64),
    "Ed25519": Algorithm("OKP", "Ed25519", 64),
}

# Lower case, without "application/"; None is an absent typ (PROTOCOLS section 1.4).
ACCESS_TOKEN_TYPES: frozenset[str | None] = frozenset({"at+jwt", "jwt", None})


@dataclass(frozen=True, slots=True)
class Introspection:
    """How an issuer is asked about a token (RFC 7662).

    urls: Endpoint per region index; every region has one.
    client_id, client_secret: This gateway's own credentials.
    post_credentials: Send them in the form, not as Basic authentication.
    accept: Value of the Accept header.
    phantom_member: JSON member that may carry the phantom JWT.
    timeout_s: Whole call, seconds.
    calls_per_s: To one endpoint, by all workers of this gateway.
    """

    urls: tuple[str, ...]
    client_id: str
    client_secret: str = field(repr=False)
    post_credentials: bool = False
    accept: str = "application/jwt, application/json;q=0.5"
    phantom_member: str = "phantom_token"
    timeout_s: float = 2.0
    calls_per_s: int = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class IssuerProfile:
    """What is accepted from one issuer; immutable, one per issuer and configuration.

    index: Position in the snapshot's issuer list; keys are looked up by it.
    alias: Name in the configuration, used in logs and metrics.
    issuer: Exact `iss`.
    audience: One of these must be in `aud`; empty: `aud` is not looked at.
    algorithms: Names of ALGORITHMS that are allowed.
    types: Accepted `typ` values, lower case, "application/" removed; None: absent.
    leeway_s: Allowance on exp, nbf and iat, seconds.
    max_lifetime_s: Longest exp - iat; a longer token would outlive its revocation.
    iat_required: Refuse tokens without iat, since cut-offs are judged by it.
    wrapped: A JWT-shaped credential without `aud` is opaque and introspected.
    region_claims, grant_claims, require: Claim names the scanner reads or demands.
    max_token_bytes: Longer credentials are refused unread.
    hasher: Turns identifiers into revocation keys.
    old_hashers: Do the same under hash keys that are being rotated out.
    home_origin: Origin index that speaks for client, kid and issuer revocations.
    introspection: How to ask about opaque tokens; None: they are refused.
    status_lists: A token that names an entry of a status list must be valid there.
    """

    index: int
    alias: str
    issuer: str
    audience: frozenset[str]
    algorithms: frozenset[str]
    types: frozenset[str | None]
    leeway_s: int
    max_lifetime_s: int
    iat_required: bool
    wrapped: bool
    region_claims: tuple[str, ...]
    grant_claims: tuple[str, ...]
    require: tuple[str, ...]
    max_token_bytes: int
    hasher: KeyHasher
    home_origin: int
    introspection: Introspection | None = None
    status_lists: bool = False
    old_hashers: tuple[KeyHasher, ...] = ()
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Compute the digest that keeps this profile's facts apart from others'."""
        parts = [
            f"{part.name}={_stable(getattr(self, part.name))}"
            for part in fields(self)
            if part.name not in {"digest", "hasher", "old_hashers"}
        ]
        # The hash keys decide which revocations a fact answers to: they count too.
        hashers = (self.hasher, *self.old_hashers)
        probes = [hasher.key(Kind.ISSUER, self.issuer) for hasher in hashers]
        text = "\n".join(parts).encode() + b"".join(probes)
        object.__setattr__(self, "digest", hashlib.sha256(text).digest())


def _stable(value: object) -> str:
    if isinstance(value, frozenset):
        return repr(sorted(map(repr, value)))
    return repr(value)


class TokenFacts(Protocol):
    """What a verified signature established, as lanes, log and explanations read it.

    hotpath.facts makes it; the gate judges it against each request anew.
    """

    @property
    def kid(self) -> str | None:
        """Name of the key that verified, for the log; None when the key has none."""
        ...

    @property
    def exp(self) -> int:
        """Seconds since 1970; -1 when absent."""
        ...

    @property
    def iat(self) -> int:
        """Seconds since 1970; -1 when absent."""
        ...

    @property
    def audience(self) -> frozenset[str]:
        """Values of `aud`."""
        ...

    @property
    def scope(self) -> frozenset[str]:
        """Values of `scope`."""
        ...

    @property
    def region(self) -> int:
        """Index in the region set, NO_REGION or UNKNOWN_REGION."""
        ...

    @property
    def revocation_kinds(self) -> tuple[str, ...]:
        """Kind of each identifier that a revocation may name."""
        ...

    @property
    def identity_lines(self) -> bytes:
        """Header lines for the upstream, encoded, CRLF between them; b"" for none."""
        ...

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """The same as pairs of name and value, for who does not write bytes."""
        ...
