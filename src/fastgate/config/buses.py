"""Buses: how to speak to the server that carries revocations.

Owns:      the sections `revocation.tls`, `.nats`, `.redis` and `.kafka`.
Called by: config.revocation; wiring hands the values to an adapter.
"""

import enum
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from fastgate.config.base import FilePath, Model, RegionName, VisibleText
from fastgate.config.values import Between, ByteSize, Count, Duration, Secret, Within

__all__ = ["BusTls", "Kafka", "Mechanism", "Nats", "Redis"]

_USER = "User, with `password`."
_PASSWORD = "Use `${file:PATH}`."  # noqa: S105  # says where one comes from
_PREFIX = "First word of every name on the server."


class BusTls(Model):
    """Files for an encrypted bus; only read where `bus` is tls, rediss or kafkas."""

    ca: FilePath | None = Field(
        default=None, description="Authorities as PEM. Unset: the system's."
    )
    certificate: FilePath | None = Field(
        default=None, description="This gateway's certificate as PEM, with `key`."
    )
    key: FilePath | None = Field(
        default=None, description="Private key of `certificate` as PEM."
    )


class Nats(Model):
    """How to speak to NATS JetStream; only read where `bus` is a NATS URL."""

    credentials: FilePath | None = Field(
        default=None, description="Path of a `.creds` file (JWT and nkey seed)."
    )
    user: VisibleText | None = Field(default=None, description=_USER)
    password: Secret | None = Field(default=None, description=_PASSWORD)
    replicas: Annotated[Count, Within(1, 5)] = Field(
        default=1, description="Replicas of a stream that this gateway makes."
    )
    # Reason: a whole day of revocations stays readable for a node that was away.
    retention: Annotated[Duration, Between("1m", "90d")] = Field(
        default=timedelta(hours=24),
        description="`max_age` of a stream made on first use.",
    )
    max_bytes: ByteSize | None = Field(
        default=None,
        description="Size of a stream made on first use. Unset: 96 bytes an entry.",
    )


class Redis(Model):
    """How to speak to Redis; only read where `bus` is a Redis URL."""

    user: VisibleText | None = Field(
        default=None, description="User of the ACL; unset: `default`."
    )
    password: Secret | None = Field(default=None, description=_PASSWORD)
    prefix: RegionName = Field(default="fg", description=_PREFIX)
    # Reason: a deployment without replicas must work; each one asked for is waited for.
    copies: Annotated[Count, Within(0, 5)] = Field(
        default=0,
        description="Replicas that have an event before it counts as published.",
    )
    max_bytes: ByteSize | None = Field(
        default=None,
        description="What one origin's stream may hold. Unset: 96 bytes an entry.",
    )


class Mechanism(enum.StrEnum):
    """How a user signs in to Kafka."""

    PLAIN = "PLAIN"
    SCRAM_256 = "SCRAM-SHA-256"
    SCRAM_512 = "SCRAM-SHA-512"


class Kafka(Model):
    """How to speak to Kafka; only read where `bus` is a Kafka URL."""

    user: VisibleText | None = Field(default=None, description=_USER)
    password: Secret | None = Field(default=None, description=_PASSWORD)
    mechanism: Mechanism = Field(
        default=Mechanism.SCRAM_512, description="How `user` signs in (SASL)."
    )
    prefix: RegionName = Field(default="fg", description=_PREFIX)
    replicas: Annotated[Count, Within(1, 7)] = Field(
        default=1, description="Replicas of a topic that this gateway makes."
    )
    copies: Annotated[Count, Within(1, 7)] = Field(
        default=1,
        description="In-sync replicas that a write needs (`min.insync.replicas`).",
    )
    # Reason: a whole day of revocations stays readable for a node that was away.
    retention: Annotated[Duration, Between("1m", "90d")] = Field(
        default=timedelta(hours=24),
        description="`retention.ms` of a topic made on first use.",
    )
