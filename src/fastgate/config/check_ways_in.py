"""Check of the ways in: a listener for what is pushed, and one issuer for each name.

Owns:      the level 3 checks of `intake` and of what issuers may push.
Called by: config.check.
Source:    PROTOCOLS.md sections 7 to 9; THREATS.md B10.
"""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from fastgate.config.addresses import is_loopback
from fastgate.config.findings import Finding, duplicates, error, info, not_one_of, warn
from fastgate.config.issuers import Issuer
from fastgate.config.model import Config
from fastgate.config.problems import Path
from fastgate.config.ways_in import Ssf

__all__ = ["check_ways_in"]

# Reason: whoever guesses it ends anybody's tokens.
_MIN_TOKEN = 16
_INTAKE = ("intake",)


def check_ways_in(config: Config) -> Iterator[Finding]:
    """Yield what is wrong or risky about who may say that something is revoked."""
    pushed = False
    for alias, issuer in config.issuers.items():
        here = ("issuers", alias)
        for section in _pushed(issuer):
            pushed = True
            if config.intake is None:
                message = "comes to `intake`, which is off; add intake: {}"
                yield error((*here, section), message, _INTAKE)
        yield from _check_lists(here, issuer)
        yield from _check_ssf(config, here, issuer)
        yield from _check_global(config, here, alias, issuer)
        yield from _check_status_lists(here, issuer)
    if config.intake is not None and not pushed:
        message = "no issuer has logout, ssf or global_revocation: all is refused"
        yield warn(_INTAKE, message, ("issuers",))
    intake = config.intake
    if intake is not None and intake.tls is None and not intake.listen.is_private:
        message = (
            "takes tokens without TLS; add tls, or listen on 127.0.0.1 or a socket"
        )
        yield warn((*_INTAKE, "listen"), message, (*_INTAKE, "tls"))
    yield from _check_taps(config)
    yield from _check_names(config, "logout", _logout_name)
    yield from _check_names(config, "ssf", _ssf_name)


def _pushed(issuer: Issuer) -> Iterator[str]:
    if issuer.logout is not None:
        yield "logout"
    if issuer.ssf is not None and issuer.ssf.push:
        yield "ssf"
    if issuer.global_revocation is not None:
        yield "global_revocation"


def _check_lists(here: Path, issuer: Issuer) -> Iterator[Finding]:
    for section, names in (
        ("logout", ("clients", "algorithms")),
        ("ssf", ("audience", "algorithms", "subjects", "critical_subjects")),
        ("global_revocation", ("subjects",)),
        ("status_list", ("hosts", "lists", "algorithms")),
    ):
        rules = getattr(issuer, section)
        for name in names if rules is not None else ():
            path = (*here, section, name)
            yield from duplicates(path, getattr(rules, name) or ())


def _check_ssf(config: Config, here: Path, issuer: Issuer) -> Iterator[Finding]:
    rules = issuer.ssf
    if rules is None:
        return
    path = (*here, "ssf")
    if rules.revokes is not None and rules.revokes not in config.issuers:
        known = not_one_of(rules.revokes, config.issuers)
        yield error((*path, "revokes"), known, ("issuers",))
    if not rules.push and rules.poll is None:
        message = "takes no event: push is false and there is no poll"
        yield error(path, message, (*path, "poll"))
    if rules.authorization is not None and not rules.push:
        message = "counts only for pushed events; poll has its own"
        yield error((*path, "authorization"), message, (*path, "push"))
    yield from _check_stream(path, rules)
    poll = rules.poll
    if poll is not None and poll.url.startswith("http:") and not is_loopback(poll.url):
        yield warn((*path, "poll", "url"), "fetches events without TLS")


def _check_stream(path: Path, rules: Ssf) -> Iterator[Finding]:
    stream, silence = rules.stream, rules.max_silence
    if stream is None:
        return
    here = (*path, "stream")
    if stream.receiver is not None and not rules.push:
        message = "is for pushed events, and push is false"
        yield error((*here, "receiver"), message, (*path, "push"))
    if stream.receiver is None and rules.poll is None:
        message = "needs receiver, the URL that events are pushed to, or poll"
        yield error(here, message, (*here, "receiver"), (*path, "poll"))
    if silence is not None and silence < 2 * stream.verify:
        message = "is less than two verifications: one that is late raises the alarm"
        yield warn((*path, "max_silence"), message, (*here, "verify"))
    url = stream.metadata
    if url is not None and url.startswith("http:") and not is_loopback(url):
        yield warn((*here, "metadata"), "is fetched without TLS")


def _check_global(
    config: Config, here: Path, alias: str, issuer: Issuer
) -> Iterator[Finding]:
    rules = issuer.global_revocation
    if rules is None:
        return
    path = (*here, "global_revocation", "token")
    if len(rules.token.reveal()) < _MIN_TOKEN:
        yield warn(path, f"is short; use at least {_MIN_TOKEN} random characters")
    for other, theirs in config.issuers.items():
        if other == alias:
            break
        same = theirs.global_revocation
        if same is not None and same.token == rules.token:
            yield error(path, f"is that of {other}: nobody could tell whose user it is")


def _check_status_lists(here: Path, issuer: Issuer) -> Iterator[Finding]:
    rules = issuer.status_list
    if rules is None:
        return
    path = (*here, "status_list")
    if not rules.lists and rules.aggregation is None and not rules.discover:
        message = "names no list, so every token that has an entry counts as stale"
        yield error(path, message, (*path, "lists"), (*path, "aggregation"))
    message = "counts until a list's own `ttl`, 10s to 24h, whatever max_staleness says"
    yield info(path, message)
    for at, uri in enumerate(rules.lists):
        if urlsplit(uri).netloc not in rules.hosts:
            message = "is at none of the hosts"
            yield error((*path, "lists", at), message, (*path, "hosts"))
    urls = [uri for uri in (*rules.lists, rules.aggregation) if uri is not None]
    if any(uri.startswith("http:") and not is_loopback(uri) for uri in urls):
        yield warn(path, "fetches lists without TLS")


def _check_taps(config: Config) -> Iterator[Finding]:
    for at, route in enumerate(config.routes):
        tap, path = route.tap, ("routes", at, "tap")
        if tap is None:
            continue
        if not route.oauth:
            yield error(path, "needs oauth: true", ("routes", at, "oauth"))
        if tap.issuer not in config.issuers:
            known = not_one_of(tap.issuer, config.issuers)
            yield error((*path, "issuer"), known, ("issuers",))
        if tap.revocation is None and tap.end_session is None:
            message = "names no endpoint, so it hears nothing"
            yield error(path, message, (*path, "revocation"), (*path, "end_session"))
        for name in ("revocation", "end_session"):
            endpoint = getattr(tap, name)
            if endpoint and not f"{endpoint}/".startswith(route.path.rstrip("/") + "/"):
                yield error((*path, name), "is not below the route's path", path)


def _logout_name(issuer: Issuer) -> str | None:
    return issuer.issuer if issuer.logout else None


def _ssf_name(issuer: Issuer) -> str | None:
    return (issuer.ssf.issuer or issuer.issuer) if issuer.ssf else None


def _check_names(
    config: Config, section: str, name_of: Callable[[Issuer], str | None]
) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for alias, issuer in config.issuers.items():
        name = name_of(issuer)
        if name is None:
            continue
        first = seen.setdefault(name, alias)
        if first != alias:
            message = f"has the `iss` of {first}'s: nobody could tell whose it is"
            yield error(("issuers", alias, section), message, ("issuers", first))
