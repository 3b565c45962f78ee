"""Kafka settings: how to reach a cluster, and what librdkafka is told of it.

Owns:      every option that is given to a client.
Called by: the other modules of this package; wiring fills the settings.
Source:    ECOSYSTEM.md section 9: `acks=all`, idempotent producer, `auto.offset.reset`
           error; bounded buffers, waits and pauses in every client.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastgate.adapters.kafka_bus.wire import REQUEST_S

__all__ = ["KafkaSettings", "client_options", "consumer_options", "producer_options"]

_REQUEST_MS = int(REQUEST_S * 1000)
_MAX_RECORD_BYTES = 1_000_000
_MAX_FETCH_BYTES = 4_194_304


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach a cluster, and what a topic made on first use looks like.

    servers: `HOST:PORT`, tried in turn. tls: Speak TLS to them.
    ca, certificate, key: PEM files; without `ca` the system's authorities count.
    mechanism: Of SASL, where `user` is given. prefix: First word of every topic.
    max_age_s: At least the longest event's life.
    least_age_s: The longest event's life: what a topic that is there must keep.
    copies: In-sync replicas that a topic made here needs for a write.
    """

    servers: tuple[str, ...]
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: str = "SCRAM-SHA-512"
    prefix: str = "fg"
    replicas: int = 1
    copies: int = 1
    max_age_s: int = 86_400
    least_age_s: int = 0


def client_options(settings: KafkaSettings, name: str) -> dict[str, Any]:
    """Return what every client is told. name: Shown in the broker's logs."""
    protocol = ("SASL_" if settings.user else "") + (
        "SSL" if settings.tls else "PLAINTEXT"
    )
    options: dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.servers),
        "client.id": name,
        "security.protocol": protocol,
        "socket.timeout.ms": _REQUEST_MS,
        "socket.connection.setup.timeout.ms": _REQUEST_MS,
        "socket.nagle.disable": True,
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1_000,
        "retry.backoff.ms": 50,
        "receive.message.max.bytes": 2 * _MAX_FETCH_BYTES,
        "topic.metadata.refresh.interval.ms": 5_000,
        "enable.metrics.push": False,
        # Each failed attempt would be a line; the link says what is wrong, once.
        "log_level": 2,
        "log.connection.close": False,
    }
    if settings.user:
        options |= {
            "sasl.mechanism": settings.mechanism,
            "sasl.username": settings.user,
            "sasl.password": settings.password or "",
        }
    files = {
        "ssl.ca.location": settings.ca,
        "ssl.certificate.location": settings.certificate,
        "ssl.key.location": settings.key,
    }
    if settings.tls:
        options |= {option: str(file) for option, file in files.items() if file}
    return options


def producer_options(settings: KafkaSettings, name: str) -> dict[str, Any]:
    """Return the options of the one producer."""
    return client_options(settings, name) | {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        # An attempt ends by then, known or not; whoever publishes comes again.
        "message.timeout.ms": _REQUEST_MS,
        "request.timeout.ms": _REQUEST_MS // 2,
        "message.max.bytes": _MAX_RECORD_BYTES,
        "queue.buffering.max.messages": 1_024,
        "queue.buffering.max.kbytes": 16_384,
        "allow.auto.create.topics": False,
    }


def consumer_options(settings: KafkaSettings, name: str) -> dict[str, Any]:
    """Return the options of a consumer whose partitions are assigned by hand."""
    return client_options(settings, name) | {
        # Asked for by the library; nobody joins the group and nothing is committed.
        "group.id": name,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "check.crcs": True,
        "fetch.wait.max.ms": 500,
        "fetch.error.backoff.ms": 50,
        "fetch.message.max.bytes": _MAX_RECORD_BYTES,
        "fetch.max.bytes": _MAX_FETCH_BYTES,
        "queued.min.messages": 256,
        "queued.max.messages.kbytes": _MAX_FETCH_BYTES // 1024,
        "allow.auto.create.topics": False,
    }
