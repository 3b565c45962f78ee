"""Issuers: who signs tokens, what of theirs is accepted, and how to ask them.

Owns:      the `issuers.<alias>` section.
Called by: config.model; control.keyring and config.compile read it.
"""

import enum
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag

from fastgate.config.addresses import Url
from fastgate.config.algorithms import KNOWN_ALGORITHMS, Algorithm
from fastgate.config.base import ClaimName, Model, RegionName, VisibleText
from fastgate.config.values import (
    Between,
    Count,
    Duration,
    Flag,
    Secret,
    Text,
    Within,
)
from fastgate.config.ways_in import GlobalRevocation, Logout, Ssf, StatusLists

__all__ = ["KNOWN_ALGORITHMS", "AuthMethod", "Introspection", "Issuer"]

# Source: PROTOCOLS.md section 1.4: each of these is accepted only for its own purpose.
_OTHER_PURPOSES = frozenset(
    {
        "logout+jwt",
        "secevent+jwt",
        "statuslist+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
    }
)
# Reason: PROTOCOLS.md section 2; below, an outage of the issuer is felt at once, above,
# a withdrawn key is trusted for too long.
MIN_JWKS_LIFETIME = timedelta(minutes=5)
MAX_JWKS_LIFETIME = timedelta(minutes=30)


def _token_type(value: str) -> str:
    name = value.lower().removeprefix("application/")
    if name in _OTHER_PURPOSES:
        raise ValueError(f'"{name}" marks a token of another purpose')
    return name


def _url_or_map(value: object) -> str:
    return "<map>" if isinstance(value, dict) else "<url>"


def _flag_or_url(value: object) -> str:
    return (
        "<flag>" if isinstance(value, bool) or value in {"true", "false"} else "<url>"
    )


TokenType = Annotated[Text, AfterValidator(_token_type)]


class AuthMethod(enum.StrEnum):
    """How this gateway names itself to the introspection endpoint."""

    BASIC = "basic"
    POST = "post"


class IntrospectionAccept(enum.StrEnum):
    """What is asked for in the Accept header of an introspection call."""

    JWT = "jwt"
    JSON = "json"


class Introspection(Model):
    """How to ask the issuer about an opaque (phantom) token, RFC 7662."""

    url: Annotated[
        Annotated[Url, Tag("<url>")]
        | Annotated[dict[RegionName, Url], Field(min_length=1), Tag("<map>")],
        Discriminator(_url_or_map),
    ] = Field(description="Endpoint, or a map with one endpoint for each region.")
    client_id: VisibleText = Field(
        description="This gateway's client id at the issuer."
    )
    client_secret: Secret = Field(description="Its secret; use `${file:PATH}`.")
    auth_method: AuthMethod = Field(
        default=AuthMethod.BASIC,
        description="`basic`: Authorization header; `post`: form members.",
    )
    accept: IntrospectionAccept = Field(
        default=IntrospectionAccept.JWT,
        description="`jwt`: prefer a phantom JWT, take JSON too; `json`: ask for JSON.",
    )
    phantom_member: ClaimName = Field(
        default="phantom_token",
        description="JSON member that may carry the phantom JWT.",
    )
    # Reason: PROTOCOLS.md section 4; a request waits for this.
    timeout: Annotated[Duration, Between("50ms", "10s")] = Field(
        default=timedelta(seconds=2), description="Longest wait for the whole call."
    )
    # Reason: with answers kept for a minute, tokens of 60,000 users at a time.
    rate: Annotated[Count, Within(1, 1_000_000)] = Field(
        default=1_000,
        description="Calls a second to an endpoint by this gateway; above: 503.",
    )


class Issuer(Model):
    """Who signs tokens, and what of theirs is accepted."""

    issuer: VisibleText = Field(
        description="Exact `iss` of its tokens; a trailing slash counts."
    )
    jwks_url: Url | None = Field(default=None, description="Where its public keys are.")
    discovery: (
        Annotated[
            Annotated[Flag, Tag("<flag>")] | Annotated[Url, Tag("<url>")],
            Discriminator(_flag_or_url),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "Find the key URL in the issuer's metadata; a URL names the document. "
            "Unset: on where there is no `jwks_url`."
        ),
    )
    audience: tuple[VisibleText, ...] = Field(
        default=(),
        description="One of these must be in `aud`. A route may name others.",
    )
    algorithms: tuple[Algorithm, ...] = Field(
        default=("ES256",),
        min_length=1,
        description="Accepted signature algorithms; HS* and none never are.",
    )
    typ: tuple[TokenType, ...] | None = Field(
        default=None,
        min_length=1,
        description="Accepted `typ` headers. Unset: `at+jwt`, `JWT` or none at all.",
    )
    require: tuple[ClaimName, ...] = Field(
        default=(), description="Claims that must be present, besides `iss` and `exp`."
    )
    # Reason: PROTOCOLS.md section 1.5; more than a minute hides a broken clock.
    leeway: Annotated[Duration, Between("0s", "60s")] = Field(
        default=timedelta(seconds=5),
        description="Clock allowance on `exp`, `nbf` and `iat`.",
    )
    iat_required: Flag = Field(
        default=True,
        description=(
            "Refuse tokens without `iat`. If false, such a token counts as older than "
            "every cut-off."
        ),
    )
    wrapped: Flag = Field(
        default=False,
        description="A JWT-shaped credential without `aud` is opaque: introspect it.",
    )
    home: RegionName | None = Field(
        default=None,
        description=(
            "Origin that speaks for revoked clients, keys and the issuer itself. "
            "Unset: `regions.default`."
        ),
    )
    grant_claims: tuple[ClaimName, ...] = Field(
        default=("grant_id",),
        description="Claims that name the grant, first present wins.",
    )
    jwks_lifetime: Duration = Field(
        default=timedelta(minutes=10),
        description=(
            "How long keys are used before a refresh where the endpoint sends no "
            "`Cache-Control`; kept within 5m and 30m."
        ),
    )
    # Reason: PROTOCOLS.md section 2; an issuer's bad day must not log everybody out.
    jwks_max_stale: Annotated[Duration, Between("10m", "7d")] = Field(
        default=timedelta(hours=24),
        description="How long the last good keys serve while no fetch succeeds.",
    )
    introspection: Introspection | None = Field(
        default=None,
        description="How to ask about opaque tokens. Unset: they are refused.",
    )
    logout: Logout | None = Field(
        default=None,
        description="Take its OpenID Connect Back-Channel Logout tokens at `intake`.",
    )
    ssf: Ssf | None = Field(
        default=None,
        description="Take its security events (SSF, CAEP, RISC), pushed or polled.",
    )
    global_revocation: GlobalRevocation | None = Field(
        default=None,
        description="Take Global Token Revocation requests for its users at `intake`.",
    )
    status_list: StatusLists | None = Field(
        default=None,
        description=(
            "Look its tokens' entries up in Token Status Lists. Unset: such a claim "
            "counts for nothing."
        ),
    )

    @property
    def discovery_url(self) -> str | None:
        """URL of the metadata document, None where the key URL is configured.

        Source: OpenID Connect Discovery section 4.1 (appended to the issuer).
        """
        if isinstance(self.discovery, str):
            return self.discovery
        if self.discovery is False or (self.discovery is None and self.jwks_url):
            return None
        return self.metadata_url

    @property
    def metadata_url(self) -> str:
        """URL of the metadata document, whether keys are looked for there or not."""
        if isinstance(self.discovery, str):
            return self.discovery
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"

    @property
    def effective_jwks_lifetime(self) -> timedelta:
        """`jwks_lifetime` clamped to what PROTOCOLS.md section 2 allows."""
        return min(max(self.jwks_lifetime, MIN_JWKS_LIFETIME), MAX_JWKS_LIFETIME)
