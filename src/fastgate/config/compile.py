"""Compile: the checked models to the snapshot that requests read.

Owns:      the resolution of every name and default, once, so that no request does it.
Called by: control.reload in the agent, and each worker from the document it was handed.
"""

from dataclasses import dataclass
from datetime import timedelta

from fastgate.config.issuers import (
    AuthMethod,
    Introspection,
    IntrospectionAccept,
    Issuer,
)
from fastgate.config.model import Config
from fastgate.config.routes import Credential, Route, TokenDemand
from fastgate.domain import region as regions
from fastgate.domain import route as routes
from fastgate.domain import snapshot as snapshots
from fastgate.domain import token as tokens
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.revocation import KeyHasher

__all__ = ["compile_snapshot"]

_ACCEPT = {
    IntrospectionAccept.JWT: "application/jwt, application/json;q=0.5",
    IntrospectionAccept.JSON: "application/json",
}


@dataclass(frozen=True, slots=True)
class _Names:
    """Indices by name, for one configuration."""

    regions: regions.RegionSet
    origins: tuple[str, ...]
    services: dict[str, routes.Service]
    issuers: dict[str, tokens.IssuerProfile]

    def origin(self, region: str) -> int:
        # With the local bus this node stands in for every region's origin.
        return self.origins.index(region) if region in self.origins else 0


def compile_snapshot(config: Config, *, version: int) -> snapshots.Snapshot:
    """Return the snapshot of a configuration that `config.load` accepted.

    version: Grows with each applied configuration.
    The same configuration compiles to the same snapshot in every process; key sets are
    empty until the agent has some. Raises nothing for what `config.load` accepted.
    """
    names = _Names(_regions(config), config.origins, {}, {})
    names.services.update(_services(config))
    for index, (alias, issuer) in enumerate(config.issuers.items()):
        names.issuers[alias] = _profile(config, names, index, alias, issuer)
    events = (route.events_route() for route in config.routes)
    written = (*config.routes, *(route for route in events if route is not None))
    own = len(config.routes)
    table = routes.RouteTable(
        _route(config, names, index, route, events=index >= own)
        for index, route in enumerate(written)
    )
    return snapshots.Snapshot(
        version=version,
        source_hash=config.digest(),
        node=config.node_name,
        regions=names.regions,
        origins=tuple(names.origin(region) for region in config.regions.names),
        origin_names=names.origins,
        services=tuple(names.services.values()),
        issuers=tuple(names.issuers.values()),
        keys=tuple(IssuerKeys() for _ in names.issuers),
        routes=table,
        limits=_limits(config),
        timers=_timers(config),
        trusted_peers=config.trusted_proxies,
        access_log=config.log.access,
        debug=config.debug,
    )


def _regions(config: Config) -> regions.RegionSet:
    written = config.regions
    cookie = written.cookie
    return regions.RegionSet(
        names=written.names,
        default=written.names.index(written.default),
        own=written.names.index(config.region),
        claims=written.claims,
        cookie=regions.RegionCookie(
            name=cookie.name,
            max_age_s=int(cookie.max_age.total_seconds()),
            domain=cookie.domain,
            secure=cookie.secure,
        ),
    )


def _services(config: Config) -> dict[str, routes.Service]:
    return {
        name: routes.Service(
            name, tuple(service.get(region, ()) for region in config.regions.names)
        )
        for name, service in config.services.items()
    }


def _profile(
    config: Config, names: _Names, index: int, alias: str, issuer: Issuer
) -> tokens.IssuerProfile:
    key = config.revocation.hash_key
    types = tokens.ACCESS_TOKEN_TYPES if issuer.typ is None else frozenset(issuer.typ)
    return tokens.IssuerProfile(
        index=index,
        alias=alias,
        issuer=issuer.issuer,
        audience=frozenset(issuer.audience),
        algorithms=_algorithms(issuer),
        types=types,
        leeway_s=int(issuer.leeway.total_seconds()),
        max_lifetime_s=int(config.revocation.max_token_lifetime.total_seconds()),
        iat_required=issuer.iat_required,
        wrapped=issuer.wrapped,
        region_claims=config.regions.claims,
        grant_claims=issuer.grant_claims,
        require=issuer.require,
        max_token_bytes=config.limits.token,
        hasher=KeyHasher(key.reveal().encode() if key else b"", issuer.issuer),
        old_hashers=tuple(
            KeyHasher(old.reveal().encode(), issuer.issuer)
            for old in config.revocation.old_hash_keys
        ),
        home_origin=names.origin(issuer.home or config.regions.default),
        introspection=(
            _introspection(config, issuer.introspection)
            if issuer.introspection
            else None
        ),
        status_lists=issuer.status_list is not None,
    )


def _algorithms(issuer: Issuer) -> frozenset[str]:
    # RFC 9864 names EdDSA over Ed25519 by its curve: one algorithm, two spellings.
    named = frozenset(issuer.algorithms)
    return named | {"Ed25519"} if "EdDSA" in named else named


def _introspection(
    config: Config, asked: Introspection | None
) -> tokens.Introspection | None:
    if asked is None:
        return None
    url = asked.url
    urls = tuple(
        url if isinstance(url, str) else url[region] for region in config.regions.names
    )
    return tokens.Introspection(
        urls=urls,
        client_id=asked.client_id,
        client_secret=asked.client_secret.reveal(),
        post_credentials=asked.auth_method is AuthMethod.POST,
        accept=_ACCEPT[asked.accept],
        phantom_member=asked.phantom_member,
        timeout_s=asked.timeout.total_seconds(),
        calls_per_s=asked.rate,
    )


def _route(
    config: Config, names: _Names, index: int, route: Route, *, events: bool
) -> routes.Route:
    general, own = config.timeouts, route.timeouts
    contract = route.freshness
    # A public route has no demands; the defaults below it are never looked at.
    demand = route.token or TokenDemand(issuer="none")
    total = own.total or general.total or timedelta(0)
    first_byte = own.upstream_first_byte or general.upstream_first_byte
    allow_for = contract.allow_for or timedelta(0)
    return routes.Route(
        index=index,
        name=route.label,
        prefix=route.path,
        service=names.services[route.service],
        issuer=names.issuers[demand.issuer] if route.token else None,
        accept_jwt=Credential.JWT in demand.accept,
        accept_opaque=Credential.OPAQUE in demand.accept,
        audience=frozenset(demand.audience),
        scope=frozenset(demand.scope),
        scope_text=" ".join(demand.scope),
        max_staleness_ns=_ns(contract.max_staleness),
        global_max_staleness_ns=_ns(config.revocation.global_max_staleness),
        on_stale=routes.OnStale(contract.on_stale.value),
        allow_for_ns=_ns(allow_for),
        oauth=route.oauth,
        tap=_tap(names, route),
        websocket=route.websocket,
        session_events=events,
        body_limit_bytes=route.body_limit or 0,
        get_body=route.get_body,
        encoded_slashes=route.encoded_slashes,
        connect_timeout_s=(own.connect or general.connect).total_seconds(),
        upstream_timeout_s=first_byte.total_seconds(),
        idle_timeout_s=(own.upstream_idle or general.upstream_idle).total_seconds(),
        total_timeout_s=total.total_seconds(),
        debug=route.debug or config.debug,
        realm=demand.realm,
        resource_metadata=demand.resource_metadata,
    )


def _tap(names: _Names, route: Route) -> routes.TapRules | None:
    tap = route.tap
    if tap is None:
        return None
    return routes.TapRules(
        issuer=names.issuers[tap.issuer],
        revocation=tap.revocation or "",
        end_session=tap.end_session or "",
        refresh_ends_session=tap.refresh_ends_session,
    )


def _limits(config: Config) -> snapshots.Limits:
    written = config.limits
    return snapshots.Limits(
        connections=written.connections,
        request_line_bytes=written.request_line,
        header_line_bytes=written.header_line,
        head_bytes=written.head,
        header_count=written.header_count,
        form_bytes=written.body_form,
        hops=written.hops,
        upstream_connections=written.upstream_connections,
        failures_per_s=written.failed_verifications,
        failure_burst=written.failed_verification_burst,
    )


def _timers(config: Config) -> snapshots.Timers:
    written = config.timeouts
    return snapshots.Timers(
        first_byte_s=written.first_byte.total_seconds(),
        head_s=written.head.total_seconds(),
        body_idle_s=written.body_idle.total_seconds(),
        keep_alive_s=written.keep_alive.total_seconds(),
        drain_delay_s=written.drain_delay.total_seconds(),
        drain_s=written.drain_timeout.total_seconds(),
    )


def _ns(value: timedelta) -> int:
    return round(value / timedelta(microseconds=1)) * 1000
