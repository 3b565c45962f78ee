"""Feed settings: the values that the revocation feed is built from.

Owns:      nothing; wiring fills it from the configuration.
Called by: control.feed and its parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastgate.domain.entry import Lifetimes
from fastgate.domain.event import key_id

__all__ = ["FeedSettings"]


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What the feed needs to know of the configuration.

    hash_key: Shared by all regions, at most 64 bytes; empty: unkeyed.
    old_hash_keys: Keys that the gate still looks up, during a rotation.
    default_origin: Home of an issuer that `issuer_homes` does not name.
    issuer_homes: Home origin by exact `iss`.
    max_staleness_s: Past it a view is called stale in status; alarms at half of it.
    capacity: Live entries that the index is made for.
    publish_wait_s: How long an entry waits for the stream before it is pending.
    regions_wait_s: How long `wait: regions` waits for the other regions.
    snapshot_every_s: Least pause between two saved states.
    share_every_s: Least age of a region's state on the bus before the next is written.
    canary_s: Between two canary revocations of a region; 0: none.
    tick_s: Interval of markers and reports; tests make it short.
    """

    lifetimes: Lifetimes
    default_origin: str
    hash_key: bytes = field(default=b"", repr=False)
    old_hash_keys: tuple[bytes, ...] = field(default=(), repr=False)
    issuer_homes: Mapping[str, str] = field(default_factory=dict)
    max_staleness_s: float = 10.0
    capacity: int = 16_000_000
    publish_wait_s: float = 2.0
    regions_wait_s: float = 10.0
    canary_s: float = 0.0
    tick_s: float = 1.0
    snapshot_every_s: float = 60.0
    share_every_s: float = 300.0

    @property
    def known_keys(self) -> frozenset[str]:
        """Ids of every hash key that can be looked up here."""
        return frozenset(key_id(key) for key in (self.hash_key, *self.old_hash_keys))
