"""Check of revocation: lives that outlast the stream, keys, origins, the bus.

Owns:      the level 3 checks of `revocation`.
Called by: config.check.
Source:    REVOCATION.md sections 3 and 5, ECOSYSTEM.md section 9.
"""

from collections.abc import Iterator
from datetime import timedelta

from fastgate.config.addresses import is_loopback
from fastgate.config.findings import (
    Finding,
    duplicates,
    error,
    info,
    warn,
)
from fastgate.config.model import Config
from fastgate.config.revocation import EXPIRY_SLACK, Revocation
from fastgate.config.values import format_duration, format_size

__all__ = ["check_revocation"]

_HERE = ("revocation",)
_NATS = ("revocation", "nats")
# Reason: BLAKE2b takes at most 64 bytes (RFC 7693); below 16, guessing is cheap.
_MIN_KEY_BYTES, _MAX_KEY_BYTES = 16, 64


def check_revocation(config: Config) -> Iterator[Finding]:
    """Yield what is wrong or risky about how revocations live and travel."""
    rules = config.revocation
    yield from _check_key(rules)
    if rules.max_session_lifetime < rules.max_token_lifetime:
        message = "is shorter than max_token_lifetime: a revoked session could return"
        path = (*_HERE, "max_session_lifetime")
        yield error(path, message, (*_HERE, "max_token_lifetime"))
    if rules.is_local:
        yield from _check_local(config)
        return
    yield from _check_origins(config)
    yield from _check_nats(config.revocation)
    yield from _check_stream(config)
    limit = format_duration(rules.global_max_staleness)
    message = f"bound {limit} for revoked clients, keys and issuers of other origins"
    yield info(_HERE, message)


def _check_key(rules: Revocation) -> Iterator[Finding]:
    path = (*_HERE, "hash_key")
    if rules.hash_key is None:
        if not rules.is_local:
            message = "is missing: identifiers travel as hashes that can be guessed"
            yield warn(path, message, (*_HERE, "bus"))
        return
    size = len(rules.hash_key.reveal().encode())
    if not _MIN_KEY_BYTES <= size <= _MAX_KEY_BYTES:
        message = f"must have {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} bytes, has {size}"
        yield error(path, message)


def _check_local(config: Config) -> Iterator[Finding]:
    rules = config.revocation
    for name in ("origins", "nats"):
        if name in rules.model_fields_set:
            message = "counts only on a shared bus, such as nats://HOST:PORT"
            yield error((*_HERE, name), message, (*_HERE, "bus"))
    if len(config.regions.names) > 1:
        message = (
            "bus local: revocations stay on this host, other regions do not see it"
        )
        yield info(_HERE, message, (*_HERE, "bus"))


def _check_origins(config: Config) -> Iterator[Finding]:
    path = (*_HERE, "origins")
    origins = config.revocation.origins
    if origins is None:
        return
    yield from duplicates(path, origins)
    missing = [name for name in config.regions.names if name not in origins]
    if missing:
        # Without an origin nobody could tell how fresh the view of its users is.
        message = f"lacks {', '.join(missing)}: every region publishes for its users"
        yield error(path, message, ("regions", "names"))


def _check_nats(rules: Revocation) -> Iterator[Finding]:
    nats, bus = rules.nats, rules.bus
    if (nats.user is None) != (nats.password is None):
        given = "user" if nats.user else "password"
        message = "needs the other one of user and password"
        yield error((*_NATS, given), message, _NATS)
    if nats.credentials is not None and nats.user is not None:
        message = "and user are two ways to sign in; keep one"
        yield error((*_NATS, "credentials"), message, (*_NATS, "user"))
    if bus.startswith("nats:") and not is_loopback(bus):
        message = "is not encrypted; use tls://HOST:PORT off this host"
        yield warn((*_HERE, "bus"), message)


def _check_stream(config: Config) -> Iterator[Finding]:
    rules = config.revocation
    leeway = max((i.leeway for i in config.issuers.values()), default=timedelta(0))
    # A revoked session's entry also outlives the last token that the session got.
    longest = rules.max_session_lifetime + rules.max_token_lifetime
    needed = longest + leeway + EXPIRY_SLACK
    if rules.nats.retention < needed:
        message = (
            f"must be at least {format_duration(needed)}: entries would leave the "
            "stream while what they revoke may live"
        )
        because = ("max_session_lifetime", "max_token_lifetime")
        paths = [(*_HERE, name) for name in because]
        yield error((*_NATS, "retention"), message, ("issuers",), *paths)
    if rules.stream_bytes < rules.needed_stream_bytes:
        needed_text = format_size(rules.needed_stream_bytes)
        message = f"holds less than capacity needs: {needed_text}"
        yield warn((*_NATS, "max_bytes"), message, (*_HERE, "capacity"))
