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
from fastgate.config.values import Secret, format_duration, format_size

__all__ = ["check_revocation"]

_HERE = ("revocation",)
_SECTIONS = ("nats", "redis", "kafka")
_SNAPSHOTS = ("snapshots_on_bus", "snapshot_max_bytes")
_ENCRYPTED = {"nats": "tls", "redis": "rediss", "kafka": "kafkas"}
_OTHER = "needs the other one of user and password"
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
    yield from _check_bus(rules)
    yield from _check_tls(rules)
    if rules.technology != "redis":  # there, each event is kept as long as it lives
        yield from _check_retention(config)
    yield from _check_copies(rules)
    yield from _check_snapshots(rules)
    if rules.technology != "kafka":  # there, the disk is the bound
        yield from _check_size(rules)
    limit = format_duration(rules.global_max_staleness)
    message = f"bound {limit} for revoked clients, keys and issuers of other origins"
    yield info(_HERE, message)


def _check_key(rules: Revocation) -> Iterator[Finding]:
    path = (*_HERE, "hash_key")
    if rules.hash_key is None:
        if rules.old_hash_keys:
            unused = (*_HERE, "old_hash_keys")
            yield error(unused, "needs hash_key, the one that follows", path)
        if not rules.is_local:
            message = "is missing: identifiers travel as hashes that can be guessed"
            yield warn(path, message, (*_HERE, "bus"))
        return
    yield from _check_key_size(path, rules.hash_key)
    for index, old in enumerate(rules.old_hash_keys):
        here = (*_HERE, "old_hash_keys", index)
        yield from _check_key_size(here, old)
        if old.reveal() == rules.hash_key.reveal():
            yield error(here, "is the same as hash_key", path)


def _check_key_size(path: tuple[str | int, ...], key: Secret) -> Iterator[Finding]:
    size = len(key.reveal().encode())
    if not _MIN_KEY_BYTES <= size <= _MAX_KEY_BYTES:
        message = f"must have {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} bytes, has {size}"
        yield error(path, message)


def _check_local(config: Config) -> Iterator[Finding]:
    rules = config.revocation
    for name in ("origins", "tls", "signing", *_SNAPSHOTS, *_SECTIONS):
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


def _check_bus(rules: Revocation) -> Iterator[Finding]:
    bus, mine = rules.bus, rules.technology
    for name in _SECTIONS:
        if name != mine and name in rules.model_fields_set:
            message = f"counts only on a {name} bus; this one is {mine}"
            yield error((*_HERE, name), message, (*_HERE, "bus"))
    section = (*_HERE, mine)
    chosen = getattr(rules, mine)
    # Redis takes a password without a user: its user `default`.
    if chosen.password is None and chosen.user is not None:
        yield error((*section, "user"), _OTHER, section)
    if chosen.user is None and chosen.password is not None and mine != "redis":
        yield error((*section, "password"), _OTHER, section)
    nats = rules.nats
    if nats.credentials is not None and nats.user is not None:
        message = "and user are two ways to sign in; keep one"
        yield error((*section, "credentials"), message, (*section, "user"))
    if not rules.is_encrypted and not is_loopback(bus):
        message = f"is not encrypted; use {_ENCRYPTED[mine]}://HOST:PORT off this host"
        yield warn((*_HERE, "bus"), message)


def _check_tls(rules: Revocation) -> Iterator[Finding]:
    here, tls = (*_HERE, "tls"), rules.tls
    if not rules.is_encrypted and "tls" in rules.model_fields_set:
        message = f"counts only on an encrypted bus: {_ENCRYPTED[rules.technology]}://"
        yield error(here, message, (*_HERE, "bus"))
    if (tls.certificate is None) != (tls.key is None):
        given = "certificate" if tls.certificate else "key"
        message = "needs the other one of certificate and key"
        yield error((*here, given), message, here)


def _check_retention(config: Config) -> Iterator[Finding]:
    rules = config.revocation
    chosen = rules.kafka if rules.technology == "kafka" else rules.nats
    leeway = max((i.leeway for i in config.issuers.values()), default=timedelta(0))
    # A revoked session's entry also outlives the last token that the session got.
    longest = rules.max_session_lifetime + rules.max_token_lifetime
    needed = longest + leeway + EXPIRY_SLACK
    if chosen.retention < needed:
        message = (
            f"must be at least {format_duration(needed)}: entries would leave the "
            "stream while what they revoke may live"
        )
        because = ("max_session_lifetime", "max_token_lifetime")
        paths = [(*_HERE, name) for name in because]
        here = (*_HERE, rules.technology, "retention")
        yield error(here, message, ("issuers",), *paths)


def _check_copies(rules: Revocation) -> Iterator[Finding]:
    kafka, here = rules.kafka, (*_HERE, "kafka")
    if kafka.copies > kafka.replicas:
        message = f"is more than the {kafka.replicas} replicas that there will be"
        yield error((*here, "copies"), message, (*here, "replicas"))


def _check_snapshots(rules: Revocation) -> Iterator[Finding]:
    for name in _SNAPSHOTS:
        if name in rules.model_fields_set and rules.technology == "kafka":
            # A topic is not read by key: a new node would have to read all of it.
            message = "counts only on a NATS or Redis bus"
            yield error((*_HERE, name), message, (*_HERE, "bus"))
    asked = "snapshots_on_bus" in rules.model_fields_set and rules.snapshots_on_bus
    if asked and rules.hash_key is None:
        message = "needs hash_key, which guards what is left on the bus"
        yield error((*_HERE, "snapshots_on_bus"), message, (*_HERE, "hash_key"))


def _check_size(rules: Revocation) -> Iterator[Finding]:
    if rules.stream_bytes < rules.needed_stream_bytes:
        needed_text = format_size(rules.needed_stream_bytes)
        message = f"holds less than capacity needs: {needed_text}"
        here = (*_HERE, rules.technology, "max_bytes")
        yield warn(here, message, (*_HERE, "capacity"))
