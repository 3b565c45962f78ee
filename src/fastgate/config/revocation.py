"""Revocation: the bus, the lives and the bounds behind the promise.

Owns:      the `revocation` section.
Called by: config.model; control and adapters are given its values by wiring.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from fastgate.config.addresses import BusUrl
from fastgate.config.base import FilePath, Model, RegionName, VisibleText
from fastgate.config.values import Between, ByteSize, Count, Duration, Secret, Within

__all__ = ["Nats", "Revocation"]

# Reason: REVOCATION.md section 5: a frame with its overhead in the stream.
_STREAM_BYTES_PER_ENTRY = 96
# Reason: REVOCATION.md section 3: an entry outlives its last token by this.
EXPIRY_SLACK = timedelta(seconds=60)


class Nats(Model):
    """How to speak to NATS JetStream; only read where `bus` is a NATS URL."""

    credentials: FilePath | None = Field(
        default=None, description="Path of a `.creds` file (JWT and nkey seed)."
    )
    user: VisibleText | None = Field(default=None, description="User, with `password`.")
    password: Secret | None = Field(default=None, description="Use `${file:PATH}`.")
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


class Revocation(Model):
    """Where revocations travel, how long they live and how old they may be."""

    bus: BusUrl = Field(
        default="local",
        description="`local` (one host) or `nats://HOST:PORT` (extra `nats`).",
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
    hash_key: Secret | None = Field(
        default=None,
        description=(
            "Key of the identifier hashes, the same in every region, 16 to 64 bytes. "
            "Without it, hashes on a shared bus can be guessed."
        ),
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
    # Reason: one cut towards an issuer's home must not stop every region.
    global_max_staleness: Annotated[Duration, Between("5s", "24h")] = Field(
        default=timedelta(minutes=5),
        description="Limit for an issuer's home origin, for users of other regions.",
    )
    nats: Nats = Field(default_factory=Nats, description="Settings of the NATS bus.")

    @property
    def is_local(self) -> bool:
        """True where revocations stay on this host."""
        return self.bus == "local"

    @property
    def stream_bytes(self) -> int:
        """Size of a stream made on first use."""
        return self.nats.max_bytes or self.capacity * _STREAM_BYTES_PER_ENTRY

    @property
    def needed_stream_bytes(self) -> int:
        """Size that holds `capacity` entries (REVOCATION.md section 5)."""
        return self.capacity * _STREAM_BYTES_PER_ENTRY
