"""Buses: the one that a configuration names, built from its sections.

Owns:      nothing after the build.
Called by: wiring.agent, wiring.installation and `fastgate bus`.

Adapters of extras are imported only once they are asked for.
"""

import importlib
import pathlib
import ssl
from typing import TYPE_CHECKING

from fastgate.adapters.local_bus import LocalBus
from fastgate.config.addresses import url_host
from fastgate.config.model import Config
from fastgate.config.revocation import Revocation
from fastgate.config.values import Secret
from fastgate.domain.entry import Lifetimes
from fastgate.domain.layout import Line
from fastgate.errors import StartError
from fastgate.ports import Bus, Journal

if TYPE_CHECKING:
    from fastgate.adapters.kafka_bus.settings import KafkaSettings
    from fastgate.adapters.nats_bus.settings import NatsSettings
    from fastgate.adapters.redis_bus.link import RedisSettings

__all__ = [
    "build_bus",
    "inspect_bus",
    "kafka_settings",
    "lifetimes_of",
    "nats_settings",
    "redis_settings",
    "require_extra",
]


def require_extra(technology: str) -> None:
    """Raise StartError, which names the extra, where a bus has no client here.

    technology: `nats`, `redis` or `kafka`; `local` needs nothing.
    """
    if technology == "local":
        return
    try:
        importlib.import_module(f"fastgate.adapters.{technology}_bus.bus")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("fastgate"):
            raise
        raise StartError(
            f"revocation.bus is {technology}, but its client is not installed: "
            f'pip install "fastgate[{technology}]"'
        ) from missing


def build_bus(config: Config, journal: Journal, longest_s: int) -> Bus:
    """Return the bus of a configuration.

    journal: With the local bus, the stream itself.
    longest_s: How long a revocation may live, which is what a stream must keep.
    Raises StartError where files of `revocation.tls` cannot be used.
    """
    region, node, origins = config.region, config.node_name, config.origins
    technology = config.revocation.technology
    if technology == "local":
        return LocalBus(journal, region)
    if technology == "redis":
        from fastgate.adapters.redis_bus.bus import RedisBus  # noqa: PLC0415

        redis = redis_settings(config)
        return RedisBus(redis, region=region, node=node, origins=origins)
    if technology == "kafka":
        from fastgate.adapters.kafka_bus.bus import KafkaBus  # noqa: PLC0415

        kafka = kafka_settings(config, longest_s)
        return KafkaBus(kafka, region=region, node=node, origins=origins)
    from fastgate.adapters.nats_bus.bus import NatsBus  # noqa: PLC0415

    nats = nats_settings(config, longest_s)
    return NatsBus(nats, region=region, node=node, origins=origins)


async def inspect_bus(config: Config, *, make: bool) -> list[Line]:
    """Return what the server of a configuration's bus is like, line by line.

    make: Make what is missing; what is there is never changed.
    Raises StartError for an absent extra, ControlError where nothing answers.
    """
    technology = config.revocation.technology
    require_extra(technology)
    origins = config.origins
    longest_s = lifetimes_of(config).longest_s
    if technology == "redis":
        from fastgate.adapters.redis_bus import layout as redis  # noqa: PLC0415

        return await redis.inspect(redis_settings(config), origins=origins, make=make)
    if technology == "kafka":
        from fastgate.adapters.kafka_bus import layout as kafka  # noqa: PLC0415

        settings = kafka_settings(config, longest_s)
        return await kafka.inspect(settings, origins=origins, make=make)
    if technology == "nats":
        from fastgate.adapters.nats_bus import layout as nats  # noqa: PLC0415

        return await nats.inspect(
            nats_settings(config, longest_s),
            region=config.region,
            origins=origins,
            make=make,
        )
    return []


def lifetimes_of(config: Config) -> Lifetimes:
    """Return how long tokens and sessions live, with the widest leeway."""
    rules = config.revocation
    leeways = [issuer.leeway.total_seconds() for issuer in config.issuers.values()]
    return Lifetimes(
        max_token_s=int(rules.max_token_lifetime.total_seconds()),
        max_session_s=int(rules.max_session_lifetime.total_seconds()),
        leeway_s=int(max(leeways, default=5)),
    )


def nats_settings(config: Config, longest_s: int) -> "NatsSettings":
    """Return what `revocation.nats` says. Raises StartError for its files."""
    from fastgate.adapters.nats_bus.settings import NatsSettings  # noqa: PLC0415

    rules = config.revocation
    nats = rules.nats
    return NatsSettings(
        servers=(rules.bus,),
        credentials=_file(nats.credentials),
        user=nats.user,
        password=_shown(nats.password),
        tls=_tls_context(rules) if rules.is_encrypted else None,
        replicas=nats.replicas,
        max_bytes=rules.stream_bytes,
        max_age_s=max(int(nats.retention.total_seconds()), longest_s),
        least_age_s=longest_s,
        snapshot_bytes=rules.snapshot_max_bytes if rules.shares_snapshots else 0,
    )


def redis_settings(config: Config) -> "RedisSettings":
    """Return what `revocation.redis` says."""
    from fastgate.adapters.redis_bus.link import RedisSettings  # noqa: PLC0415

    rules = config.revocation
    redis, tls = rules.redis, rules.tls
    return RedisSettings(
        url=rules.bus,
        user=redis.user,
        password=_shown(redis.password),
        ca=_file(tls.ca),
        certificate=_file(tls.certificate),
        key=_file(tls.key),
        prefix=redis.prefix,
        copies=redis.copies,
        max_bytes=rules.stream_bytes,
    )


def kafka_settings(config: Config, longest_s: int) -> "KafkaSettings":
    """Return what `revocation.kafka` says."""
    from fastgate.adapters.kafka_bus.settings import KafkaSettings  # noqa: PLC0415

    rules = config.revocation
    kafka, tls = rules.kafka, rules.tls
    host, port = url_host(rules.bus)
    return KafkaSettings(
        servers=(f"[{host}]:{port}" if ":" in host else f"{host}:{port}",),
        tls=rules.is_encrypted,
        ca=_file(tls.ca),
        certificate=_file(tls.certificate),
        key=_file(tls.key),
        user=kafka.user,
        password=_shown(kafka.password),
        mechanism=kafka.mechanism,
        prefix=kafka.prefix,
        replicas=kafka.replicas,
        copies=kafka.copies,
        max_age_s=max(int(kafka.retention.total_seconds()), longest_s),
        least_age_s=longest_s,
    )


def _tls_context(rules: Revocation) -> ssl.SSLContext:
    tls = rules.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as exc:
        raise StartError(f"revocation.tls: {exc.strerror or exc}") from exc
    return context


def _file(path: str | None) -> pathlib.Path | None:
    return pathlib.Path(path) if path else None


def _shown(secret: Secret | None) -> str | None:
    return secret.reveal() if secret else None
