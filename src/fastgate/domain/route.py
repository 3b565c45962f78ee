"""Routes: which path is served by what, and what each route demands of a token.

Owns:      Route, and the table that the gate matches paths against.
Called by: hotpath.gate on every request; config.compile builds the table.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from fastgate.domain.token import IssuerProfile

__all__ = ["OnStale", "Route", "RouteTable", "Service", "TapRules"]


class OnStale(enum.Enum):
    """What happens past `max_staleness` (REVOCATION.md, THREATS.md section 2)."""

    DENY = "deny"
    INTROSPECT = "introspect"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Service:
    """A protected service and where it lives.

    upstreams: Base URLs per region index; an empty tuple: not offered in that region.
    """

    name: str
    upstreams: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class TapRules:
    """Which answers of an OAuth route tell that a token or session has ended.

    issuer: Whose tokens. revocation, end_session: Canonical paths, "" for none.
    refresh_ends_session: A revoked refresh token ends the session that it names.
    """

    issuer: IssuerProfile
    revocation: str
    end_session: str
    refresh_ends_session: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One route, resolved at load so that nothing is looked up per request.

    index: Position in the snapshot's route list; metrics use it.
    name: For logs and metrics.
    prefix: Canonical path prefix, matched on segment borders.
    issuer: Profile whose tokens are accepted; None: no token is looked at.
    accept_jwt, accept_opaque: Kinds of credential.
    audience: Overrides the profile's audience where not empty.
    scope: All of these must be granted; scope_text is what the challenge says.
    max_staleness_ns, global_max_staleness_ns: Limits of the freshness contract.
    allow_for_ns: How long past the limit `on_stale: allow` still allows.
    oauth: OAuth messages, routed by field and cookie.
    tap: Which of their answers end a token or a session; None: none does.
    websocket: Upgrade to WebSocket is passed through.
    session_events: Answered here, by a stream that ends when the session is revoked.
    body_limit_bytes: Largest request body; 0: no limit.
    get_body: GET, HEAD and DELETE may carry a body.
    encoded_slashes: %2F and %5C are taken as opaque path text.
    upstream_timeout_s: First byte of the answer; idle_timeout_s: between bytes;
    total_timeout_s: whole exchange, 0: no limit.
    debug: Answers say how the region was decided and why a token was refused.
    realm, resource_metadata: Members of challenges.
    """

    index: int
    name: str
    prefix: str
    service: Service
    issuer: IssuerProfile | None = None
    accept_jwt: bool = True
    accept_opaque: bool = False
    audience: frozenset[str] = frozenset()
    scope: frozenset[str] = frozenset()
    scope_text: str = ""
    max_staleness_ns: int = 10_000_000_000
    global_max_staleness_ns: int = 300_000_000_000
    on_stale: OnStale = OnStale.DENY
    allow_for_ns: int = 0
    oauth: bool = False
    tap: TapRules | None = None
    websocket: bool = False
    session_events: bool = False
    body_limit_bytes: int = 0
    get_body: bool = False
    encoded_slashes: bool = False
    connect_timeout_s: float = 2.0
    upstream_timeout_s: float = 30.0
    idle_timeout_s: float = 60.0
    total_timeout_s: float = 0.0
    debug: bool = False
    realm: str = "api"
    resource_metadata: str | None = None


class RouteTable:
    """Longest prefix wins, on segment borders, case-sensitive; the gate matches.

    routes: In index order. A prefix "/orders/" serves "/orders" and all below it.
    by_prefix: Routes by prefix without its last slash; "" is the root.
    depth: Segments of the deepest prefix.
    Raises ValueError where two routes have the same prefix.
    """

    __slots__ = ("by_prefix", "depth", "routes")

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self.by_prefix: dict[str, Route] = {}
        for route in self.routes:
            key = route.prefix.rstrip("/")
            if key in self.by_prefix:
                raise ValueError(f"two routes match {route.prefix}")
            self.by_prefix[key] = route
        self.depth = max((key.count("/") for key in self.by_prefix), default=0)
