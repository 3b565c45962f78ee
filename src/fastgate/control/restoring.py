"""Restoring: what a stream lost and this node still has is published again.

Owns:      the wait in which publishers see to their own, and the walk after it.
Called by: control.feed, as a task; control.origin says when a stream is read anew;
           control.pulse asks whether something is missing.
Source:    REVOCATION.md section 4: a publisher that misses its own events in the stream
           publishes them again; a missing publisher's are published by whoever holds
           them.

Whoever publishes an event again gives it a number of its own and keeps its id, so that
two nodes that do it at once have said the same thing twice.

Until all of it is there again no marker is written here: it would prove to a node that
began with nothing that it has everything.
"""

import asyncio
import contextlib
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

# Reason: a publisher that lives audits its journal meanwhile; and with four seconds
# without markers nobody is denied.
_GRACE_TICKS = 3
# Reason: one after the other, so that the second finds nothing left to do.
_TICKS_A_RANK = 1
_MAX_RANK = 12
# Reason: until it has looked, nobody hears from the region.
_LOOK_SHARE = 1.0


class Restoring:
    """One per node, for the stream of its own region."""

    def __init__(self, feed: "Feed") -> None:
        self._feed = feed
        self._lost = asyncio.Event()
        self.restored = 0
        # The own stream may lack what this node knows of it.
        self.pending = False

    def begun(self) -> None:
        """Note that the own stream is read from its start: it is another one."""
        self._feed.enforcement.store.begin_reading(self._feed.region)
        self.pending = True
        self._lost.set()

    async def run(self) -> None:
        """Publish again what a whole reading did not bring, for ever."""
        feed = self._feed
        own = feed.trackers[feed.region]
        while True:
            await self._lost.wait()
            self._lost.clear()
            while not own.caught_up:
                await asyncio.sleep(feed.settings.tick_s * _LOOK_SHARE)
            try:
                if await self._misses_any():
                    await self._restore()
                self.pending = self._lost.is_set()
            except ControlError as error:
                _log.warning("what the stream lost is not published yet: %s", error)
                self._lost.set()
                await asyncio.sleep(feed.settings.tick_s)

    async def _misses_any(self) -> bool:
        """Tell whether publishers that live have left something to be done."""
        feed = self._feed
        roster = feed.receipts.roster(feed.region, feed.clock.boot_ns())
        rank = roster.index(feed.node) if feed.node in roster else 0
        for _ in range(_GRACE_TICKS + _TICKS_A_RANK * min(rank, _MAX_RANK)):
            if not await self._is_missing():
                return False
            await asyncio.sleep(feed.settings.tick_s)
        return await self._is_missing()

    async def _is_missing(self) -> bool:
        async with contextlib.aclosing(
            self._feed.enforcement.unread(self._feed.region)
        ) as unread:
            async for known in unread:
                if self._event(known) is not None:
                    return True
        return False

    async def _restore(self) -> None:
        feed = self._feed
        waiting: list[asyncio.Future[int]] = []
        again: list[Event] = []
        async for known in feed.enforcement.unread(feed.region):
            event = self._event(known)
            if event is None:
                continue
            entered = await feed.publisher.enter(event)
            kept = entered.kept
            if kept.position and kept.publisher == feed.publisher.name:
                # The journal calls it published: another stream has it, or had.
                again.append(kept.event)
            self.restored += kept.publisher == feed.publisher.name
            waiting.append(entered.done)
            if len(waiting) >= MAX_EVENTS:
                # Whoever enters something new is not held up for long.
                await asyncio.wait(waiting)
                waiting.clear()
        feed.publisher.publish_again(again)
        if waiting:
            await asyncio.wait(waiting)
        if self.restored:
            _log.warning("%d events that the stream lost are restored", self.restored)

    def _event(self, known: "Known") -> Event | None:
        if known.key is None or known.id is None or not known.key_id:
            return None  # it is not enforced here either, or cannot be named
        if self._feed.publisher.is_pending(known.id):
            return None  # the stream never had it
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
