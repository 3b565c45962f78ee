"""Revocation: the bus, the lives and the bounds behind the promise.

Owns:      the `revocation` section.
Called by: config.model; control and adapters are given its values by wiring.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from fastgate.config.addresses import BusUrl, bus_technology
from fastgate.config.base import Alias, FilePath, Model, RegionName
from fastgate.config.buses import BusTls, Kafka, Nats, Redis
from fastgate.config.values import (
    Between,
    ByteSize,
    Count,
    Duration,
    Secret,
    Within,
    parse_size,
)

__all__ = ["EXPIRY_SLACK", "Revocation", "Signing"]

# Reason: REVOCATION.md section 5: a frame with its overhead in the stream.
_STREAM_BYTES_PER_ENTRY = 96
# Reason: REVOCATION.md section 3: an entry outlives its last token by this.
EXPIRY_SLACK = timedelta(seconds=60)


class Signing(Model):
    """ES256 signatures of batches and markers: only they detect lies on the bus."""

    key: FilePath = Field(
        description="PEM file with this node's own P-256 private key; not a token key."
    )
    trusted: dict[Alias, FilePath] = Field(
        default_factory=dict,
        description=(
            "PEM file with the public keys of each other node, by its `node`. Where "
            "`signing` is set, what neither they nor this node have signed "
            "counts as a gap."
        ),
    )


class Revocation(Model):
    """Where revocations travel, how long they live and how old they may be."""

    bus: BusUrl = Field(
        default="local",
        description=(
            "`local` (one host), or `nats://`, `redis://` or `kafka://` and HOST:PORT, "
            "each an extra of that name; encrypted: `tls://`, `rediss://`, `kafkas://`."
        ),
    )
    # Reason: an entry lives as long as the longest token; longer tokens are refused.
    max_token_lifetime: Annotated[Duration, Between("1s", "30d")] = Field(
        default=timedelta(hours=1), description="Tokens that live longer are refused."
    )
    # Reason: a `sid` entry also covers tokens that the session has yet to get.
    max_session_lifetime: Annotated[Duration, Between("1m", "90d")] = Field(
        default=timedelta(hours=12),
        description="How long a revoked session stays revoked.",
    )
    # Reason: enough for a live histogram; each is an entry for a token's lifetime.
    canary_interval: Annotated[Duration, Between("0s", "1h")] = Field(
        default=timedelta(seconds=5),
        description=(
            "Between two canary revocations of a region, which measure the time until "
            "workers refuse; 0s: none."
        ),
    )
    hash_key: Secret | None = Field(
        default=None,
        description=(
            "Key of the identifier hashes, the same in every region, 16 to 64 bytes. "
            "Without it, hashes on a shared bus can be guessed."
        ),
    )
    # Reason: a token names at most seven keys, and a check looks up sixteen.
    old_hash_keys: tuple[Secret, ...] = Field(
        default=(),
        max_length=1,
        description=(
            "While `hash_key` is rotated: the other one, looked up as well. First put "
            "the new key here in every region, then exchange the two, and remove the "
            "old one when its last entry has expired."
        ),
    )
    signing: Signing | None = Field(
        default=None,
        description="Signatures of what gateways publish. Unset: none are asked for.",
    )
    # Reason: an empty index costs nothing; the segment is sparse.
    capacity: Annotated[Count, Within(1_000, 1_000_000_000)] = Field(
        default=16_000_000, description="Live revocations that fit; past it, an alarm."
    )
    origins: tuple[RegionName, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Regions that publish. Unset: `regions.names`.",
    )
    # Reason: a new node is useful at once, also where a stream cannot be read whole.
    snapshots_on_bus: bool = Field(
        default=True,
        description=(
            "Gateways leave their state on a NATS or Redis server, one a region every "
            "5 minutes, for new ones to begin with. Needs `hash_key`."
        ),
    )
    # Reason: 10 million revocations have 560 MB, most deployments 1 % of that.
    snapshot_max_bytes: Annotated[ByteSize, Between("1MiB", "16GiB")] = Field(
        default=parse_size("256MiB"),
        description="Largest state on the bus; two of them take their room there.",
    )
    # Reason: one cut towards an issuer's home must not stop every region.
    global_max_staleness: Annotated[Duration, Between("5s", "24h")] = Field(
        default=timedelta(minutes=5),
        description="Limit for an issuer's home origin, for users of other regions.",
    )
    tls: BusTls = Field(
        default_factory=BusTls, description="Files for an encrypted bus."
    )
    nats: Nats = Field(default_factory=Nats, description="Settings of the NATS bus.")
    redis: Redis = Field(
        default_factory=Redis, description="Settings of the Redis bus."
    )
    kafka: Kafka = Field(
        default_factory=Kafka, description="Settings of the Kafka bus."
    )

    @property
    def is_local(self) -> bool:
        """True where revocations stay on this host."""
        return self.bus == "local"

    @property
    def technology(self) -> str:
        """`local`, `nats`, `redis` or `kafka`: the section that counts, and extra."""
        return bus_technology(self.bus)

    @property
    def is_encrypted(self) -> bool:
        """True where the bus is spoken to over TLS."""
        return self.bus.startswith(("tls:", "rediss:", "kafkas:"))

    @property
    def shares_snapshots(self) -> bool:
        """True where gateways leave their state on the bus."""
        able = self.technology in {"nats", "redis"} and self.hash_key is not None
        return able and self.snapshots_on_bus

    @property
    def stream_bytes(self) -> int:
        """Size of a stream: NATS and Redis refuse what goes past it."""
        chosen = self.redis if self.technology == "redis" else self.nats
        return chosen.max_bytes or self.needed_stream_bytes

    @property
    def needed_stream_bytes(self) -> int:
        """Size that holds `capacity` entries (REVOCATION.md section 5)."""
        return self.capacity * _STREAM_BYTES_PER_ENTRY
