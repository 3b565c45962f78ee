"""Check: what a configuration means, beyond what each value may be (level 3).

Owns:      the checks of regions, listeners and limits, and the list of all checks.
Called by: config.load, on the models or on what is left of them.
Source:    ECOSYSTEM.md section 2 (the list), REVOCATION.md, PROTOCOLS.md section 16.
"""

import ipaddress
from collections.abc import Iterator
from itertools import combinations

from fastgate.config.check_issuers import check_issuers
from fastgate.config.check_revocation import check_revocation
from fastgate.config.check_routes import check_routes, check_services
from fastgate.config.check_ways_in import check_ways_in
from fastgate.config.findings import Finding, duplicates, error, not_one_of, warn
from fastgate.config.model import Config
from fastgate.config.values import format_size

__all__ = ["Finding", "check"]

# Reason: a token that guards every revocation must not be guessable.
_MIN_ADMIN_TOKEN = 16


def check(config: Config) -> Iterator[Finding]:
    """Yield everything that is wrong, risky or worth knowing, in no order."""
    yield from _check_regions(config)
    yield from _check_listeners(config)
    yield from _check_limits(config)
    yield from _check_trust(config)
    yield from check_issuers(config)
    yield from check_services(config)
    yield from check_routes(config)
    yield from check_revocation(config)
    yield from check_ways_in(config)


def _check_regions(config: Config) -> Iterator[Finding]:
    regions = config.regions
    names = ("regions", "names")
    yield from duplicates(names, regions.names)
    yield from duplicates(("regions", "claims"), regions.claims)
    if config.region not in regions.names:
        yield error(("region",), not_one_of(config.region, regions.names), names)
    if regions.default not in regions.names:
        path = ("regions", "default")
        yield error(path, not_one_of(regions.default, regions.names), names)
    cookie = regions.cookie
    name = ("regions", "cookie", "name")
    # Source: RFC 6265bis section 4.1.3, cookie name prefixes; browsers drop the rest.
    if cookie.name.lower().startswith("__host-") and cookie.domain is not None:
        yield error(name, "a __Host- cookie has no domain", ("regions", "cookie"))
    if cookie.name.lower().startswith(("__host-", "__secure-")) and not cookie.secure:
        yield error(name, f'"{cookie.name}" needs secure: true', ("regions", "cookie"))


def _check_listeners(config: Config) -> Iterator[Finding]:
    listeners = {
        "listen": config.listen,
        "admin": config.admin,
        "status": config.status,
    }
    if config.intake is not None:
        listeners["intake"] = config.intake.listen
    for (one, first), (other, second) in combinations(listeners.items(), 2):
        if first.collides(second):
            yield error((other,), f"{second} is taken by {one} already", (one,))
    if config.admin_token is None:
        if not config.admin.is_private:
            message = "needs admin_token off loopback; or bind 127.0.0.1 or unix:/path"
            yield error(("admin",), message, ("admin_token",))
    elif len(config.admin_token.reveal()) < _MIN_ADMIN_TOKEN:
        message = f"is short; use at least {_MIN_ADMIN_TOKEN} random characters"
        yield warn(("admin_token",), message)


def _check_limits(config: Config) -> Iterator[Finding]:
    limits = config.limits
    for name in ("request_line", "header_line"):
        if getattr(limits, name) > limits.head:
            message = f"does not fit a head of {format_size(limits.head)}"
            yield error(("limits", name), message, ("limits", "head"))
    if limits.token > limits.header_line:
        message = f"does not fit a header line of {format_size(limits.header_line)}"
        yield error(("limits", "token"), message, ("limits", "header_line"))
    timeouts = config.timeouts
    if timeouts.total is not None and timeouts.total < timeouts.upstream_first_byte:
        message = "ends before upstream_first_byte can"
        path = ("timeouts", "upstream_first_byte")
        yield warn(("timeouts", "total"), message, path)


def _check_trust(config: Config) -> Iterator[Finding]:
    path = ("trusted_proxies",)
    yield from duplicates(path, config.trusted_proxies)
    for at, network in enumerate(config.trusted_proxies):
        if ipaddress.ip_network(network).prefixlen == 0:
            yield warn((*path, at), "believes forwarded headers of everybody")
    if config.debug:
        yield warn(("debug",), "tells every client why its token was refused")
