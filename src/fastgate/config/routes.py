"""Routes: which path is served by what, and what it demands of a token.

Owns:      the sections `services` and `routes`.
Called by: config.model; config.compile resolves them into domain routes.
"""

import enum
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from fastgate.config.addresses import Origin, Url
from fastgate.config.base import (
    Alias,
    Model,
    OrWord,
    RegionName,
    ScopeValue,
    VisibleText,
)
from fastgate.config.values import Between, ByteSize, Duration, Flag, Text, shown
from fastgate.domain.target import canonical_path

__all__ = [
    "Credential",
    "Freshness",
    "OnStale",
    "Route",
    "RouteTimeouts",
    "Service",
    "Tap",
    "TokenDemand",
]


def _canonical(path: str) -> str:
    # What is configured is what is matched, so it must be spelled as matched.
    canonical = canonical_path(path.encode())
    if canonical == path:
        return path
    if canonical is None:
        raise ValueError(
            f'"{shown(path)}" is no canonical path: begin with /, no empty or dot'
            " segment, no query"
        )
    raise ValueError(f'"{shown(path)}" is not canonical; did you mean "{canonical}"?')


RoutePath = Annotated[
    Text,
    AfterValidator(_canonical),
    WithJsonSchema({"type": "string", "pattern": "^/[^?#\\\\]*$"}),
]
# Reason: upstreams of one region are tried in turn; more belong behind a balancer.
Service = dict[
    RegionName, Annotated[tuple[Origin, ...], Field(min_length=1, max_length=64)]
]


# A name has at most 64 characters, the end of this one included.
_LABEL_ROOM = 57


class Credential(enum.StrEnum):
    """A kind of credential that a route takes."""

    JWT = "jwt"
    OPAQUE = "opaque"


class OnStale(enum.StrEnum):
    """What happens when the revocation view is older than `max_staleness`."""

    DENY = "deny"
    INTROSPECT = "introspect"
    ALLOW = "allow"


class TokenDemand(Model):
    """What a route demands of the token."""

    issuer: Alias = Field(description="Alias in `issuers` whose tokens are accepted.")
    accept: tuple[Credential, ...] = Field(
        default=(Credential.JWT,),
        min_length=1,
        description="Kinds of credential: jwt, opaque.",
    )
    scope: tuple[ScopeValue, ...] = Field(
        default=(), description="Every one of these must be granted; otherwise 403."
    )
    audience: tuple[VisibleText, ...] = Field(
        default=(), description="Overrides the issuer's `audience` for this route."
    )
    realm: VisibleText = Field(
        default="api", description="Realm named in a 401 challenge."
    )
    resource_metadata: Url | None = Field(
        default=None, description="RFC 9728 document named in challenges."
    )


class Freshness(Model):
    """How old the revocation view may be on this route, and what happens past that."""

    # Reason: REVOCATION.md section 4; a marker a second, a writer's change and the
    # way to the readers fit into five seconds, not into less.
    max_staleness: Annotated[Duration, Between("5s", "1h")] = Field(
        default=timedelta(seconds=10), description="Older: `on_stale` decides."
    )
    on_stale: OnStale = Field(
        default=OnStale.DENY,
        description=(
            "`deny`: 503. `introspect`: ask the issuer about this token. `allow`: let "
            "it pass for `allow_for`, then deny."
        ),
    )
    allow_for: Annotated[Duration, Between("1s", "24h")] | None = Field(
        default=None, description="Required with `allow`; afterwards deny."
    )


class RouteTimeouts(Model):
    """Timers of one route; what is unset comes from the top-level `timeouts`."""

    connect: Annotated[Duration, Between("10ms", "60s")] | None = Field(
        default=None, description="To reach an upstream address."
    )
    upstream_first_byte: Annotated[Duration, Between("10ms", "1h")] | None = Field(
        default=None,
        description="From the sent request to the first byte of the answer.",
    )
    upstream_idle: Annotated[Duration, Between("10ms", "24h")] | None = Field(
        default=None, description="Between two reads of the answer."
    )
    total: Annotated[Duration, Between("10ms", "24h")] | None = Field(
        default=None, description="The whole exchange; unset: no limit."
    )


class Tap(Model):
    """What answers to OAuth messages say has ended; the agent verifies the token."""

    issuer: Alias = Field(description="Whose tokens, a name in `issuers`.")
    revocation: RoutePath | None = Field(
        default=None,
        description="Path of its revocation endpoint (RFC 7009); a 200 there counts.",
    )
    end_session: RoutePath | None = Field(
        default=None,
        description=(
            "Path of its end-session endpoint; a redirect away from issuer and gateway "
            "counts, when `id_token_hint` came with the request."
        ),
    )
    refresh_ends_session: Flag = Field(
        default=False,
        description="A revoked refresh token ends the session that it names, too.",
    )


class Route(Model):
    """A path prefix, the service behind it and the demands on a request."""

    path: RoutePath = Field(
        description=(
            "Prefix, matched on segment borders, case-sensitive; the longest wins. "
            "`/orders/` serves `/orders` too."
        )
    )
    service: Alias = Field(description="Name in `services`.")
    name: Alias | None = Field(
        default=None, description="Name in metrics and logs. Unset: made from the path."
    )
    token: Annotated[TokenDemand | None, OrWord("none")] = Field(
        default=None,
        description="`none`: public. Else the demands. Required unless `oauth`.",
    )
    freshness: Freshness = Field(
        default_factory=Freshness, description="The freshness contract of this route."
    )
    oauth: Flag = Field(
        default=False,
        description="OAuth messages: routed home by form field and cookie.",
    )
    tap: Tap | None = Field(
        default=None,
        description="Revoke what passes by revoked or logged out; needs `oauth`.",
    )
    websocket: Flag = Field(
        default=False, description="Pass an upgrade to WebSocket through."
    )
    session_events: RoutePath | None = Field(
        default=None,
        description=(
            "Path of an event stream, authorised as this route is, that tells browsers "
            "when their session is revoked, and ends."
        ),
    )
    timeouts: RouteTimeouts = Field(
        default_factory=RouteTimeouts, description="Timers of this route."
    )
    body_limit: ByteSize | None = Field(
        default=None,
        description="Largest request body; unset: streamed without a limit.",
    )
    get_body: Flag = Field(
        default=False, description="GET, HEAD and DELETE may carry a body."
    )
    encoded_slashes: Flag = Field(
        default=False, description="Take %2F and %5C as opaque text of a path."
    )
    debug: Flag = Field(
        default=False,
        description="Answers say how the region was decided and why a token failed.",
    )

    @property
    def label(self) -> str:
        """Name in metrics and logs: the configured one, else made from the path."""
        if self.name is not None:
            return self.name
        kept = "".join(c if c.isalnum() or c in "_-" else "." for c in self.path)
        return kept.strip(".")[:64].strip(".") or "root"

    def events_route(self) -> "Route | None":
        """Return the route of `session_events`, which demands what this one does."""
        if self.session_events is None:
            return None
        changes = {
            "path": self.session_events,
            "name": f"{self.label[:_LABEL_ROOM]}.events",
            "session_events": None,
            "websocket": False,
        }
        return self.model_copy(update=changes)
