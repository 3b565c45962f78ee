"""Base: the saved state of another node, which a new node catches up from.

Owns:      when a state is taken from the bus and what must be true of it; whose turn it
           is to leave one there.
Called by: control.feed: `run` as a task; nothing is read before it has looked.
Source:    REVOCATION.md section 4 (backfill from a saved snapshot), THREATS.md B6.

What was taken is in force at once and proves nothing: the node is ready when each
origin is complete as of a marker, like one that began with nothing. The journal of the
node that wrote it is not ours: our own rows are all applied again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastgate.control import journal_walk
from fastgate.control.lifts import lift_of
from fastgate.control.native import RECORD_BYTES, PublisherState
from fastgate.control.saved_state import Head, parts, read_head
from fastgate.control.shared_snapshots import SharedSnapshots
from fastgate.control.state_parts import (
    ENTRY_BYTES,
    check_words,
    load_part,
    saved_streams,
    state_parts,
)
from fastgate.domain.event import KIND_CODES, Event
from fastgate.errors import ControlError
from fastgate.ports import Journal, RevocationWriter

if TYPE_CHECKING:
    from fastgate.control.feed import Feed
    from fastgate.control.native import EventStore

__all__ = ["Base"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.05
# Reason: 256 MiB over a slow link; the streams are read after that in any case.
_TAKE_S = 60.0
# Reason: ten looks until a state is old enough, and half as long between two nodes.
_LOOKS = 10
_TURN_PER_RANK = 0.5

_Parts = list[tuple[bytes, memoryview]]


class Base:
    """One per node.

    store: States on the bus; None: none are taken or left there.
    """

    def __init__(
        self,
        feed: "Feed",
        store: SharedSnapshots | None,
        journal: Journal,
        writer: RevocationWriter,
    ) -> None:
        self._feed = feed
        self._store = store
        self._journal = journal
        self._writer = writer
        self._looked = asyncio.Event()
        self._began_ns = feed.clock.boot_ns()
        # Whose state this node began with, and how many events it had.
        self.taken_from = ""
        self.loaded = 0
        self.shared_ns = 0
        self._trouble = ""

    def before(
        self, run: Callable[[], Coroutine[Any, Any, None]]
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        """Return a task that begins once the bus was looked at for a state."""

        async def then() -> None:
            if self._store is not None:
                await self._looked.wait()
            await run()

        return then

    def status(self) -> dict[str, object]:
        """Return what `/v1/status` shows of it."""
        since_ns = self._feed.clock.boot_ns() - self.shared_ns
        return {
            "taken_from": self.taken_from or None,
            "loaded": self.loaded,
            "shared_s": round(since_ns / 1e9, 3) if self.shared_ns else None,
        }

    async def run(self) -> None:
        """Take a state where this node has none, then leave some in turn, for ever."""
        store = self._store
        if store is None:
            await asyncio.Event().wait()
            return
        if not self._looked.is_set():
            try:
                if not self._feed.snapshots.restored:
                    await self._take(store)
            finally:
                self._looked.set()
        every_s = self._feed.settings.share_every_s
        while True:
            await asyncio.sleep(every_s / _LOOKS)
            try:
                if self._is_whole() and await self._is_due(store):
                    await self._leave(store)
            except ControlError as error:
                self._failed(str(error))

    # -- taking ----------------------------------------------------------------------

    async def _take(self, store: SharedSnapshots) -> None:
        # Without the bus there is nothing else to do either.
        while not self._feed.bus_up:
            await asyncio.sleep(_LOOK_S)
        try:
            async with asyncio.timeout(_TAKE_S):
                state = await store.load()
                if state is not None:
                    await self._restore(state)
        except (ControlError, ValueError, TimeoutError) as error:
            what = str(error) or "it takes too long"
            _log.warning("no snapshot of the bus is used: %s", what)
        if self.taken_from:
            async for page in journal_walk.pages(self._journal):
                for kept in page:
                    self._again(kept.event)

    async def _restore(self, state: memoryview) -> None:
        feed = self._feed
        found = parts(state)
        head = read_head(found)
        following = list(found)
        entries = self._check(head, following)
        fresh = feed.enforcement.empty_store(head.seeds)
        # Whatever it cost to grow into it is known beforehand.
        self._writer.begin_rebuild(entries)
        await self._fill(head, following, fresh)
        # From here on nothing fails: the index has everything that the store has.
        feed.enforcement.store = fresh
        for region, by in feed.adoption.speaker.items():
            fresh.adopt(region, by)
        for origin, stream in head.streams.items():
            if origin in feed.trackers:
                feed.trackers[origin].restore(stream)
        if feed.region in feed.readers:
            feed.readers[feed.region].audit_due = True
        self.taken_from, self.loaded = head.node, fresh.events
        _log.info("%d events from the snapshot of %s", fresh.events, head.node)

    def _check(self, head: Head, following: _Parts) -> int:
        """Return how many entries there are; refuse what is not as it must be.

        Nothing was applied before. Raises ControlError and ValueError.
        """
        feed = self._feed
        feed.enforcement.refuse_strange(head.key_ids)
        age_s = feed.enforcement.now_s - head.wall_s
        if age_s >= feed.settings.lifetimes.longest_s:
            raise ControlError(f"the snapshot is {age_s} s old")
        check_words(word for word, _ in following)
        sizes = Counter[bytes]()
        for word, content in following:
            sizes[word] += len(content)
        entries = sizes[b"ENTR"] // ENTRY_BYTES
        events = sizes[b"EVNT"] // RECORD_BYTES
        room = self._writer.stats().get("capacity", entries)
        if entries > room or events > feed.enforcement.limit:
            raise ControlError(
                f"the snapshot has {entries} entries and {events} events, which is "
                "more than revocation.capacity takes"
            )
        for stream in head.streams.values():
            for sums in stream.sums.values():
                PublisherState.load(sums)
        return entries

    async def _fill(self, head: Head, following: _Parts, fresh: "EventStore") -> None:
        enforcement = self._feed.enforcement
        origins, hash_keys = enforcement.numbers(head.origins, head.key_ids)
        for word, content in following:
            if not load_part(word, content, self._writer, fresh, origins, hash_keys):
                enforcement.fitted(False)
                raise ControlError("the index has no room for the snapshot")
            await asyncio.sleep(0)

    def _again(self, event: Event) -> None:
        """Apply an own event; what was lifted since is taken out of the index again."""
        enforcement = self._feed.enforcement
        enforcement.insert(event)
        if event.kind is None or event.lifts:
            return
        for known in enforcement.about(event.key):
            if known.lifted and (known.id, known.origin) == (event.id, event.origin):
                lift = lift_of(known, event.key, enforcement.now_s, "")
                enforcement.store.add(
                    lift.id,
                    KIND_CODES[event.kind],
                    lift.key,
                    lift.expires,
                    0,
                    False,
                    lift.lifts,
                    lift.origin,
                    lift.key_id,
                    True,
                    enforcement.now_s,
                )

    # -- leaving ---------------------------------------------------------------------

    def _is_whole(self) -> bool:
        enforcement = self._feed.enforcement
        store = enforcement.store
        return store.settled and not store.lost and not enforcement.incomplete

    async def _is_due(self, store: SharedSnapshots) -> bool:
        """Tell whether the newest state is so old that it is this node's turn."""
        feed = self._feed
        roster = feed.receipts.roster(feed.region, feed.clock.boot_ns())
        rank = roster.index(feed.node) if feed.node in roster else 0
        every_s = feed.settings.share_every_s
        newest_s = await store.newest_s()
        if newest_s is None:
            waited_s = (feed.clock.boot_ns() - self._began_ns) / 1e9
            age_s = every_s + waited_s
        else:
            age_s = feed.clock.wall_s() - newest_s
        if age_s < every_s:
            self._failed("")
        return age_s >= every_s * (1 + _TURN_PER_RANK * rank)

    async def _leave(self, store: SharedSnapshots) -> None:
        feed = self._feed
        events = feed.enforcement.store.events
        entries = self._writer.stats().get("entries", 0)
        size = entries * ENTRY_BYTES + events * RECORD_BYTES
        if size > store.max_bytes:
            raise ControlError(
                f"a snapshot would have {size} bytes, more than "
                "revocation.snapshot_max_bytes"
            )
        streams = saved_streams(feed.trackers)
        if len(streams) < len(feed.trackers):
            return  # something was read that is not enforced here
        head = Head(
            node=feed.node,
            serial=0,
            publisher=feed.publisher.name,
            row=0,
            wall_s=feed.enforcement.now_s,
            origins=feed.enforcement.origins,
            key_ids=feed.enforcement.key_ids,
            seeds=feed.enforcement.store.seeds,
            entries=entries,
            streams=streams,
        )
        await store.save(state_parts(head, feed.enforcement, self._writer))
        self.shared_ns = feed.clock.boot_ns()
        self._failed("")

    def _failed(self, why: str) -> None:
        # Nothing depends on it, so it is said once.
        if why and why != self._trouble:
            _log.warning("no snapshot was left on the bus: %s", why)
        self._trouble = why
        self._feed.alarm("snapshot", "bus", bool(why))
