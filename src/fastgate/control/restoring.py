"""Restoring: what a stream lost and this node still has is published again.

Owns:      the wait in which publishers see to their own, and the walk after it.
Called by: control.feed, as a task; control.origin says when a stream is read anew.
Source:    REVOCATION.md section 4: a publisher that misses its own events in the stream
           publishes them again; a missing publisher's are published by whoever holds
           them.

Whoever publishes an event again gives it a number of its own and keeps its id, so that
two nodes that do it at once have said the same thing twice.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from fastgate.control.lifts import lift_of
from fastgate.domain.event import MAX_EVENTS, Event
from fastgate.errors import ControlError

if TYPE_CHECKING:
    from fastgate.control.enforcement import Known
    from fastgate.control.feed import Feed

__all__ = ["Restoring"]

_log = logging.getLogger(__name__)

# Reason: a publisher that restarts reads its stream and audits its journal meanwhile.
_GRACE_TICKS = 10
# Reason: one after the other, so that the second finds nothing left to do.
_TICKS_A_RANK = 5
_MAX_RANK = 12


class Restoring:
    """One per node, for the stream of its own region."""

    def __init__(self, feed: "Feed") -> None:
        self._feed = feed
        self._lost = asyncio.Event()
        self.restored = 0

    def begun(self) -> None:
        """Note that the own stream is read from its start: it is another one."""
        self._feed.enforcement.store.begin_reading(self._feed.region)
        self._lost.set()

    async def run(self) -> None:
        """Publish again what a whole reading did not bring, for ever."""
        feed = self._feed
        own = feed.trackers[feed.region]
        while True:
            await self._lost.wait()
            self._lost.clear()
            while not own.caught_up:
                await asyncio.sleep(feed.settings.tick_s)
            await asyncio.sleep(self._grace_s())
            try:
                await self._restore()
            except ControlError as error:
                _log.warning("what the stream lost is not published yet: %s", error)
                self._lost.set()

    def _grace_s(self) -> float:
        feed = self._feed
        roster = feed.receipts.roster(feed.region, feed.clock.boot_ns())
        rank = roster.index(feed.node) if feed.node in roster else 0
        ticks = _GRACE_TICKS + _TICKS_A_RANK * min(rank, _MAX_RANK)
        return ticks * feed.settings.tick_s

    async def _restore(self) -> None:
        feed = self._feed
        waiting: list[asyncio.Future[int]] = []
        async for known in feed.enforcement.unread(feed.region):
            event = self._event(known)
            if event is None:
                continue
            entered = await feed.publisher.enter(event)
            self.restored += entered.kept.publisher == feed.publisher.name
            waiting.append(entered.done)
            if len(waiting) >= MAX_EVENTS:
                # Whoever enters something new is not held up for long.
                await asyncio.wait(waiting)
                waiting.clear()
        if self.restored:
            _log.warning("%d events that the stream lost are restored", self.restored)

    def _event(self, known: "Known") -> Event | None:
        if known.key is None or known.id is None or not known.key_id:
            return None  # it is not enforced here either, or cannot be named
        wall_s = self._feed.clock.wall_s()
        if known.lifted:
            return lift_of(known, known.key, wall_s, "")
        # When it was entered is not kept; its end is, and says as much.
        at = known.expires - self._feed.settings.lifetimes.of(known.kind)
        return Event(
            id=known.id,
            origin=known.origin,
            at=float(max(0, min(at, int(wall_s)))),
            kind=known.kind,
            key=known.key,
            key_id=known.key_id,
            expires=known.expires,
            cutoff=known.cutoff,
        )
