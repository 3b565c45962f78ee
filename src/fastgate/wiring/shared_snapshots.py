"""Shared snapshots: saved states on the bus that a configuration names, if it can.

Owns:      nothing after the build.
Called by: wiring.agent.
"""

from typing import TYPE_CHECKING, cast

from fastgate.config.model import Config
from fastgate.control.feed_settings import FeedSettings
from fastgate.control.frame_seal import FrameSeal
from fastgate.control.shared_snapshots import SharedSnapshots
from fastgate.ports import Bus, Clock, Journal, Shelf

if TYPE_CHECKING:
    from fastgate.adapters.nats_bus.bus import NatsBus
    from fastgate.adapters.redis_bus.bus import RedisBus

__all__ = ["build_shared_snapshots"]


def build_shared_snapshots(
    config: Config,
    bus: Bus,
    *,
    journal: Journal,
    settings: FeedSettings,
    seal: FrameSeal,
    clock: Clock,
) -> SharedSnapshots | None:
    """Return the saved states on a bus; None where it has none, or no key guards them.

    journal: Knows the id that this node publishes under, once it is open.
    """
    rules = config.revocation
    if not rules.shares_snapshots:
        return None
    longest_s = settings.lifetimes.longest_s
    shelf: Shelf
    if rules.technology == "redis":
        shelf = cast("RedisBus", bus).shelf(longest_s)
    else:
        shelf = cast("NatsBus", bus).shelf()
    return SharedSnapshots(
        shelf,
        region=config.region,
        origins=config.origins,
        keys=(settings.hash_key, *settings.old_hash_keys),
        seal=seal,
        publisher=lambda: journal.publisher,
        clock=clock,
        longest_s=longest_s,
        max_bytes=rules.snapshot_max_bytes,
    )
