"""Snapshot: the immutable compiled state that requests read, and the cell it sits in.

Owns:      one reference that is swapped; a request ends on the snapshot it began with.
Called by: lanes take it once per request; wiring swaps it.
"""

from dataclasses import dataclass, field, replace

from fastgate.domain.keys import IssuerKeys
from fastgate.domain.region import RegionSet
from fastgate.domain.route import RouteTable, Service
from fastgate.domain.token import IssuerProfile

__all__ = ["Limits", "Snapshot", "SnapshotCell", "Timers"]

# Reason: who waits for the Retry-After of a second may fail again; and some stale
# tokens on one connection are no attack.
_LEAST_PER_S = 1.0
_LEAST_BURST = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send (THREATS.md section 4).

    connections: Open downstream connections of one worker.
    request_line_bytes, header_line_bytes, head_bytes, header_count: Of a head.
    form_bytes: Largest OAuth form that is read for a region.
    hops: Gateways a request may pass before 508.
    upstream_connections: Per upstream address and worker.
    failures_per_s, failure_burst: Failed verifications of one client, on all workers.
    """

    connections: int = 10_000
    request_line_bytes: int = 8_192
    header_line_bytes: int = 8_192
    head_bytes: int = 32_768
    header_count: int = 100
    form_bytes: int = 65_536
    hops: int = 2
    upstream_connections: int = 512
    failures_per_s: int = 50
    failure_burst: int = 200

    def failure_share(self, workers: int) -> tuple[float, int]:
        """Return what one of so many workers allows a client: rate and burst.

        The kernel spreads the connections of a client over the workers, so that each
        has its share; with more workers than the rate, all of them allow a bit more.
        """
        burst = max(self.failure_burst // workers, _LEAST_BURST)
        return (
            max(self.failures_per_s / workers, _LEAST_PER_S),
            min(burst, self.failure_burst),
        )


@dataclass(frozen=True, slots=True)
class Timers:
    """Downstream timers, seconds (THREATS.md section 4).

    first_byte_s: From accept to the first byte.
    head_s: Whole head. body_idle_s: Between body bytes.
    keep_alive_s: Idle after a response.
    drain_delay_s, drain_s: Going on to accept, then finishing, on shutdown.
    """

    first_byte_s: float = 5.0
    head_s: float = 10.0
    body_idle_s: float = 15.0
    keep_alive_s: float = 60.0
    drain_delay_s: float = 5.0
    drain_s: float = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything a request needs, resolved.

    version: Grows with each applied configuration; source_hash: of its text.
    regions: The closed set. origins: Region index -> origin index on the board, so that
        a node that stands in for every region maps all to one.
    issuers: Profiles by index; keys: their current key sets, same order.
    trusted_peers: Networks whose forwarded headers are believed (ip_network texts).
    """

    version: int
    source_hash: str
    node: str
    regions: RegionSet
    origins: tuple[int, ...]
    origin_names: tuple[str, ...]
    services: tuple[Service, ...]
    issuers: tuple[IssuerProfile, ...]
    keys: tuple[IssuerKeys, ...]
    routes: RouteTable
    limits: Limits = field(default_factory=Limits)
    timers: Timers = field(default_factory=Timers)
    trusted_peers: tuple[str, ...] = ()
    access_log: bool = True
    debug: bool = False

    def with_keys(self, keys: tuple[IssuerKeys, ...]) -> "Snapshot":
        """Return this snapshot with other key sets.

        Raises ValueError unless there is one set per issuer.
        """
        if len(keys) != len(self.issuers):
            raise ValueError("one key set per issuer")
        return replace(self, keys=keys)

    def route_names(self) -> tuple[str, ...]:
        """Return the names of all routes, in index order."""
        return tuple(route.name for route in self.routes.routes)


class SnapshotCell:
    """One reference, swapped whole; reading it is an attribute access."""

    __slots__ = ("current",)

    def __init__(self, current: Snapshot) -> None:
        self.current = current
