"""Check of issuers: keys that can be had, endpoints for every region, known homes.

Owns:      the level 3 checks of `issuers`.
Called by: config.check.
Source:    PROTOCOLS.md sections 1, 2, 4.
"""

from collections.abc import Iterator

from fastgate.config.addresses import is_loopback
from fastgate.config.findings import Finding, duplicates, error, not_one_of, warn
from fastgate.config.issuers import MAX_JWKS_LIFETIME, MIN_JWKS_LIFETIME, Issuer
from fastgate.config.model import Config
from fastgate.config.problems import Path
from fastgate.config.values import format_duration

__all__ = ["check_issuers"]


def check_issuers(config: Config) -> Iterator[Finding]:
    """Yield what is wrong or risky about each issuer."""
    used = {route.token.issuer for route in config.routes if route.token}
    for alias, issuer in config.issuers.items():
        path = ("issuers", alias)
        for name in ("audience", "algorithms", "typ", "require", "grant_claims"):
            yield from duplicates((*path, name), getattr(issuer, name) or ())
        yield from _check_keys(path, issuer)
        yield from _check_home(config, path, issuer)
        yield from _check_introspection(config, path, issuer)
        speaks_for_others = issuer.ssf is not None and issuer.ssf.revokes is not None
        if alias not in used and not speaks_for_others:
            yield warn(path, "no route uses it", ("routes",))


def _check_keys(path: Path, issuer: Issuer) -> Iterator[Finding]:
    discovery = (*path, "discovery")
    jwks_url = (*path, "jwks_url")
    if issuer.jwks_url is None and issuer.discovery is False:
        message = "needs jwks_url, or discovery: true"
        yield error(path, message, discovery, jwks_url)
    if issuer.jwks_url is not None and issuer.discovery:
        message = "and jwks_url both name the keys; keep one"
        yield error(discovery, message, jwks_url)
    asked_at = issuer.discovery_url or issuer.jwks_url or ""
    if not asked_at.startswith(("https://", "http://")):
        message = "is no URL, so its keys cannot be discovered; give jwks_url"
        yield error((*path, "issuer"), message, discovery, jwks_url)
    elif asked_at.startswith("http:") and not is_loopback(asked_at):
        at = jwks_url if issuer.jwks_url else path
        message = "keys fetched without TLS can be replaced on the way"
        yield warn(at, message, discovery, jwks_url, (*path, "issuer"))
    lifetime = issuer.jwks_lifetime
    if lifetime != issuer.effective_jwks_lifetime:
        to = format_duration(issuer.effective_jwks_lifetime)
        low, high = map(format_duration, (MIN_JWKS_LIFETIME, MAX_JWKS_LIFETIME))
        message = f"{format_duration(lifetime)} counts as {to}; use {low} to {high}"
        yield warn((*path, "jwks_lifetime"), message)
    if issuer.jwks_max_stale < issuer.effective_jwks_lifetime:
        message = "is shorter than jwks_lifetime: good keys would be dropped"
        yield error((*path, "jwks_max_stale"), message, (*path, "jwks_lifetime"))


def _check_home(config: Config, path: Path, issuer: Issuer) -> Iterator[Finding]:
    origins = ("revocation", "origins")
    known = config.regions.names if config.revocation.is_local else config.origins
    if issuer.home is not None and issuer.home not in known:
        because = (("regions", "names"), origins)
        yield error((*path, "home"), not_one_of(issuer.home, known), *because)


def _check_introspection(
    config: Config, path: Path, issuer: Issuer
) -> Iterator[Finding]:
    asked = issuer.introspection
    here = (*path, "introspection")
    if asked is None:
        if issuer.wrapped:
            message = "needs introspection: a wrapped token must be asked about"
            yield error((*path, "wrapped"), message, here)
        return
    names = ("regions", "names")
    regions = config.regions.names
    urls = asked.url if isinstance(asked.url, dict) else {"": asked.url}
    for region, url in urls.items():
        at = (*here, "url", region) if region else (*here, "url")
        if region and region not in regions:
            yield error(at, not_one_of(region, regions), names, at_key=True)
        if url.startswith("http:") and not is_loopback(url):
            yield warn(at, "sends tokens and the client secret without TLS")
    missing = [region for region in regions if isinstance(asked.url, dict)]
    missing = [region for region in missing if region not in urls]
    if missing:
        # Another region's endpoint would learn of tokens that are not its users'.
        yield error((*here, "url"), f"has no endpoint for {', '.join(missing)}", names)
