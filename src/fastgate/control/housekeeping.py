"""Housekeeping: what the feed does every second or ten, besides publishing and reading.

Owns:      the pace; with the bus `local`, the proof that the own view is whole.
Called by: control.feed, which runs `watch`, `keep` and `lengthen` as a task each: a
           disk that hangs must not keep alarms from being raised.
Source:    REVOCATION.md sections 4 (own events that the stream lost) and 5 (fill).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastgate.control import feed_status, journal_walk
from fastgate.errors import ControlError
from fastgate.ports import Journal

if TYPE_CHECKING:
    from fastgate.control.feed import Feed

__all__ = ["FULL_AT", "Housekeeping"]

_log = logging.getLogger(__name__)

# Reason: REVOCATION.md section 5: ordinary events stop at 90 % of the stream.
FULL_AT = 0.9
_HOUSE_NS = 10_000_000_000
# Reason: a task that failed and then ran for so long is well again.
_WELL_NS = 60_000_000_000


class Housekeeping:
    """The three tasks.

    prove: With `local`: told CLOCK_BOOTTIME ns up to which everything is enforced.
    """

    def __init__(
        self, feed: "Feed", journal: Journal, prove: Callable[[int], None]
    ) -> None:
        self._feed = feed
        self._journal = journal
        self._prove = prove
        self._kept_ns = self._filled_ns = -(10**18)
        self._failed_ns: dict[str, int] = {}
        # At the start: the configuration may be another one than the journal's.
        self._lengthen = asyncio.Event()
        self._lengthen.set()

    def lengthen_soon(self) -> None:
        """Follow longer lives of tokens and sessions."""
        self._lengthen.set()

    async def lengthen(self) -> None:
        """Enter again what would end too early, whenever that may have changed."""
        feed = self._feed
        while True:
            await self._lengthen.wait()
            self._lengthen.clear()
            try:
                await journal_walk.lengthen(
                    self._journal,
                    feed.enforcement.insert,
                    feed.publisher.enter,
                    feed.settings.lifetimes,
                    origins=feed.speaks_for,
                    is_lifted=feed.enforcement.is_lifted,
                    wall_s=feed.steady.wall_s(),
                )
            except ControlError as error:
                _log.warning("entries are not lengthened yet: %s", error)
                self._lengthen.set()
                await asyncio.sleep(feed.settings.tick_s)

    def failed(self, task: str) -> None:
        """Note that a task of the feed failed and begins again."""
        self._failed_ns[task] = self._feed.clock.boot_ns()
        self._feed.alarm("feed_task", task, True)

    async def watch(self) -> None:
        """Try again what failed and raise alarms, each second; waits for nothing."""
        feed = self._feed
        while True:
            feed.publisher.retry()
            own = feed.trackers.get(feed.region)
            for batch in own.take_lost() if own is not None else ():
                feed.publisher.publish_again(list(batch.events))
            feed_status.raise_alarms(feed)
            feed.enforcement.sweep()
            now_ns = feed.clock.boot_ns()
            for task, failed_ns in list(self._failed_ns.items()):
                if now_ns - failed_ns > _WELL_NS:
                    del self._failed_ns[task]
                    feed.alarm("feed_task", task, False)
            await asyncio.sleep(feed.settings.tick_s)

    async def keep(self) -> None:
        """Prune the journal and look at the stream; with `local`, prove the view."""
        feed = self._feed
        while True:
            now_ns = feed.clock.boot_ns()
            if feed.standalone or now_ns - self._kept_ns >= _HOUSE_NS:
                self._kept_ns = now_ns
                await self._prune()
            await asyncio.sleep(feed.settings.tick_s)

    async def _prune(self) -> None:
        feed = self._feed
        try:
            await feed.publisher.prune()
            if feed.enforcement.incomplete:
                await self._refill()
            wall_s, lives = feed.steady.wall_s(), feed.settings.lifetimes
            for event in feed.kids.due(wall_s, lives):
                await feed.publisher.enter(event)
        except ControlError:
            feed.alarm("journal", "journal", True)
            return
        feed.alarm("journal", "journal", False)
        if feed.standalone and not feed.enforcement.incomplete:
            # The journal took a write: it is the stream, and this node wrote it all.
            self._prove(feed.publisher.pruned_ns)
        reader = feed.readers.get(feed.region)
        if reader is not None:
            with contextlib.suppress(ControlError):  # the reader task raises the alarm
                reader.fill = (await feed.bus.state(feed.region)).fill
            feed.alarm("stream_full", feed.region, reader.fill > FULL_AT)

    async def _refill(self) -> None:
        # What did not fit may fit by now: others expired, or the index has grown.
        feed = self._feed
        now_ns = feed.clock.boot_ns()
        if now_ns - self._filled_ns < _HOUSE_NS * feed.settings.tick_s:
            return
        self._filled_ns = now_ns
        refusals = feed.enforcement.refusals
        await journal_walk.refill(self._journal, feed.enforcement.insert)
        # Only now: a marker that comes during the walk proves nothing.
        if feed.enforcement.refusals == refusals:
            feed.enforcement.incomplete = False
            full = any(tracker.full for tracker in feed.trackers.values())
            feed.alarm("index_full", "index", full)
            feed.alarm("hash_key", "journal", False)
