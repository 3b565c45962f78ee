"""Worker: what a worker does besides serving: follow, beat, tell, ask, and drain.

Owns:      the tick of one worker process.
Called by: wiring; hotpath asks it (ports.KeyAsker) about kids nobody has seen.

A worker never waits for the agent, save to ask once about an unknown kid, and goes on
from the last good state when the agent has gone (DESIGN.md section 3).
"""

import asyncio
import os
import pathlib
from collections.abc import Callable
from typing import Protocol

from fastgate.control.follower import Follower
from fastgate.domain.token import IssuerProfile
from fastgate.ports import Clock, KeyAsker

__all__ = ["Lane", "Link", "Worker"]

_NS = 1_000_000_000
# Reason: a new key or configuration is in force everywhere within a blink, and twenty
# looks a second at two words cost nothing.
_TICK_S = 0.05
_NOTE_NS = _NS
_STATM = pathlib.Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Reason: after a key failed to verify and the agent had its say, junk signatures under
# the same kid need not ask again at once.
_REKEY_PAUSE_NS = _NS


class Link(KeyAsker, Protocol):
    """The worker's end of the link to the agent."""

    def notify(self, kind: str, data: object) -> bool:
        """Send a note; False where it was dropped."""
        ...


class Lane(Protocol):
    """A lane that can be drained."""

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, finish what was begun, cut what is left."""
        ...


class Worker:
    """One per worker process.

    beat: Tells the supervisor that this loop runs. draining_since_ns: When the node
    began to drain, 0 where it does not. cache_stats: Of the decision cache.
    """

    def __init__(
        self,
        *,
        slot: int,
        follower: Follower,
        link: Link,
        clock: Clock,
        beat: Callable[[int], None],
        draining_since_ns: Callable[[], int],
        cache_stats: Callable[[], tuple[int, int, int, int]],
    ) -> None:
        self._slot = slot
        self._follower = follower
        self._link = link
        self._clock = clock
        self._beat = beat
        self._draining_since_ns = draining_since_ns
        self._cache_stats = cache_stats
        self._rekeyed_ns: dict[str, int] = {}
        self._noted_ns = 0
        self._told = (0, 0)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin the tick."""
        self._task = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """End the tick."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            now_ns = self._clock.boot_ns()
            self._beat(now_ns)
            self._follower.refresh()
            # Readiness waits for the word that this worker has what was published.
            followed = self._follower.versions != self._told
            if followed or now_ns - self._noted_ns >= _NOTE_NS:
                self._noted_ns = now_ns
                self._told = self._follower.versions
                self._tell()
            await asyncio.sleep(_TICK_S)

    def _tell(self) -> None:
        config, keys = self._follower.versions
        entries, hits, misses, evicted = self._cache_stats()
        self._link.notify(
            "worker",
            {
                "pid": os.getpid(),
                "config": config,
                "keys": keys,
                "rss_bytes": _resident_bytes(),
                "cache": {
                    "entries": entries,
                    "hits": hits,
                    "misses": misses,
                    "evicted": evicted,
                },
            },
        )

    async def ask(self, issuer: IssuerProfile, kid: str | None) -> None:
        """Ask the agent about a kid, and take what keys there are afterwards."""
        now_ns = self._clock.boot_ns()
        if kid is None:
            if now_ns - self._rekeyed_ns.get(issuer.alias, -_NS) < _REKEY_PAUSE_NS:
                return
            self._rekeyed_ns[issuer.alias] = now_ns
        await self._link.ask(issuer, kid)
        self._follower.refresh()

    def alarm(self, name: str, dependency: str, active: bool) -> None:
        """Pass an alarm of this worker on to the agent."""
        self._link.notify(
            "alarm", {"alarm": name, "dependency": dependency, "active": active}
        )

    async def drain(self, lane: Lane) -> None:
        """Finish: go on accepting while balancers notice, then end what was begun.

        In a rolling restart the successor takes the socket over, so nobody has to
        notice anything.
        """
        timers = self._follower.cell.current.timers
        if self._draining_since_ns():
            await asyncio.sleep(timers.drain_delay_s)
        await lane.drain(timers.drain_s)


def _resident_bytes() -> int | None:
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        # No descriptor is left (F26): the tick that shows this worker to be alive must
        # not end for a number.
        return None
