"""NATS settings: how to reach JetStream, and what a stream made here looks like.

Owns:      nothing; wiring fills it from the configuration.
Called by: the other modules of this package.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["NatsSettings"]


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """How to reach JetStream, and what a stream made on first use looks like.

    servers: `nats://HOST:PORT`, tried in turn.
    domains: JetStream domain by region where it is not named like the region.
    credentials: Path of a `.creds` file. max_age_s: At least the longest event's life.
    least_age_s: The longest event's life: what a stream that is there must keep.
    snapshot_bytes: Largest saved state in the stream for them; 0: there is none.
    """

    servers: tuple[str, ...]
    domains: Mapping[str, str] = field(default_factory=dict)
    credentials: Path | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    replicas: int = 1
    max_bytes: int = 268_435_456
    max_age_s: int = 86_400
    least_age_s: int = 0
    snapshot_bytes: int = 0
