"""Check of services and routes: what cannot be served, and the bound that each gives.

Owns:      the level 3 checks of `services` and `routes`.
Called by: config.check.
Source:    ECOSYSTEM.md section 2, DESIGN.md section 8 (freshness contract).
"""

from collections.abc import Iterator

from fastgate.config.addresses import url_host
from fastgate.config.findings import (
    Finding,
    duplicates,
    error,
    info,
    not_one_of,
    warn,
)
from fastgate.config.model import Config
from fastgate.config.problems import Path
from fastgate.config.routes import Credential, OnStale, Route, TokenDemand
from fastgate.config.values import format_duration

__all__ = ["check_routes", "check_services"]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def check_services(config: Config) -> Iterator[Finding]:
    """Yield what is wrong or risky about where services live."""
    regions = config.regions.names
    used = {route.service for route in config.routes}
    for name, service in config.services.items():
        path = ("services", name)
        for region, addresses in service.items():
            here = (*path, region)
            if region not in regions:
                names = ("regions", "names")
                yield error(here, not_one_of(region, regions), names, at_key=True)
            yield from duplicates(here, addresses)
            for at, address in enumerate(addresses):
                host, port = url_host(address)
                if host in _LOOPBACK and port == config.listen.port:
                    message = "is this gateway itself"
                    yield error((*here, at), message, ("listen",))
        missing = [region for region in regions if region not in service]
        if missing:
            message = f"is not in {', '.join(missing)}: 503 region_unavailable there"
            yield warn(path, message, ("regions", "names"))
        if name not in used:
            yield warn(path, "no route uses it", ("routes",))


def check_routes(config: Config) -> Iterator[Finding]:
    """Yield what is wrong or risky about each route, and its revocation bound."""
    by_prefix: dict[str, int] = {}
    by_label: dict[str, int] = {}
    for at, route in enumerate(config.routes):
        path: Path = ("routes", at)
        first = by_prefix.setdefault(route.path.rstrip("/"), at)
        if first != at:
            message = f"matches the same requests as routes[{first}]"
            yield error((*path, "path"), message, ("routes", first))
        same = by_label.setdefault(route.label, at)
        if same != at and first == at:
            message = f'is called "{route.label}" like routes[{same}]; give it a name'
            yield error(path, message, ("routes", same))
        if route.service not in config.services:
            message = not_one_of(route.service, config.services)
            service = ("services", route.service)
            yield error((*path, "service"), message, service)
        yield from _check_events(path, route, by_prefix, at)
        yield from _check_demand(config, path, route)
        yield from _check_timers(config, path, route)
        if route.debug and not config.debug:
            yield warn((*path, "debug"), "tells clients why their token was refused")


def _check_events(
    path: Path, route: Route, by_prefix: dict[str, int], at: int
) -> Iterator[Finding]:
    if route.session_events is None:
        return
    here = (*path, "session_events")
    if route.token is None:
        yield error(here, "needs token: a public route has no session", path)
    first = by_prefix.setdefault(route.session_events.rstrip("/"), at)
    if first != at or route.session_events.rstrip("/") == route.path.rstrip("/"):
        message = f"matches the same requests as routes[{first}]"
        yield error(here, message, ("routes", first))


def _check_demand(config: Config, path: Path, route: Route) -> Iterator[Finding]:
    token = (*path, "token")
    if route.token is None:
        if not route.oauth and "token" not in route.model_fields_set:
            yield error(path, "needs token: demands, or none for a public route", token)
        if "freshness" in route.model_fields_set:
            message = "has no effect: no token is checked on this route"
            yield warn((*path, "freshness"), message, token)
        return
    if route.oauth:
        message = "no token is checked on an oauth route; leave one of the two out"
        yield error(token, message, (*path, "oauth"))
        return
    if route.token.issuer in config.issuers:
        yield from _check_token(config, token, route.token)
    else:
        message = not_one_of(route.token.issuer, config.issuers)
        issuer = ("issuers", route.token.issuer)
        yield error((*token, "issuer"), message, issuer)
    yield from _check_freshness(config, path, route, route.token)


def _check_token(config: Config, token: Path, demand: TokenDemand) -> Iterator[Finding]:
    issuer = config.issuers[demand.issuer]
    source = ("issuers", demand.issuer)
    for name in ("accept", "scope", "audience"):
        yield from duplicates((*token, name), getattr(demand, name))
    if Credential.OPAQUE in demand.accept and issuer.introspection is None:
        message = f"opaque needs issuers.{demand.issuer}.introspection"
        yield error((*token, "accept"), message, (*source, "introspection"))
    if not issuer.audience and not demand.audience:
        message = "no audience: tokens meant for other services are accepted"
        yield warn(token, message, (*source, "audience"))


def _check_freshness(
    config: Config, path: Path, route: Route, demand: TokenDemand
) -> Iterator[Finding]:
    here = (*path, "freshness")
    contract = route.freshness
    limit = format_duration(contract.max_staleness)
    where = " on this host" if config.revocation.is_local else ""
    if contract.on_stale is OnStale.ALLOW:
        if contract.allow_for is None:
            message = "allow needs allow_for, e.g. allow_for: 5m"
            yield error((*here, "on_stale"), message, (*here, "allow_for"))
            return
        bound = format_duration(contract.max_staleness + contract.allow_for)
        message = f'on_stale "allow": bound {bound} in place of {limit}'
        yield warn(here, message)
        return
    if contract.allow_for is not None:
        message = "counts only with on_stale: allow"
        yield error((*here, "allow_for"), message, (*here, "on_stale"))
    if contract.on_stale is OnStale.INTROSPECT:
        issuer = config.issuers.get(demand.issuer)
        if issuer is not None and issuer.introspection is None:
            introspection = ("issuers", demand.issuer, "introspection")
            message = f"introspect needs issuers.{demand.issuer}.introspection"
            yield error((*here, "on_stale"), message, introspection)
        message = f"bound {limit}{where}, past it the issuer's own answer decides"
        yield info(path, message, here)
        return
    yield info(path, f"bound {limit}{where}: no revoked token passes later", here)


def _check_timers(config: Config, path: Path, route: Route) -> Iterator[Finding]:
    own, general = route.timeouts, config.timeouts
    total = own.total or general.total
    first_byte = own.upstream_first_byte or general.upstream_first_byte
    if "timeouts" in route.model_fields_set and total and total < first_byte:
        here = (*path, "timeouts")
        message = "total ends before upstream_first_byte can"
        yield warn(here, message, ("timeouts",))
