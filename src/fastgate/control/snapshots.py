"""Snapshots: the state of the feed on the disk, and what is made of it at the start.

Owns:      when one is saved, which one is refused, the alarm about either.
Called by: control.feed: `restore` at the start, `run` as a task.
Source:    REVOCATION.md section 4, THREATS.md B6, F2, F13 and F14. What was loaded is a
           base to catch up from; nothing is proven by it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING

from fastgate.control.saved_state import Head, parts, read_head
from fastgate.control.state_parts import (
    check_words,
    load_part,
    saved_streams,
    state_parts,
)
from fastgate.errors import ControlError
from fastgate.ports import Clock, Journal, RevocationWriter, SnapshotStore

if TYPE_CHECKING:
    from fastgate.control.enforcement import Enforcement
    from fastgate.control.feed import Feed
    from fastgate.control.origin import OriginTracker

__all__ = ["Snapshots"]

_log = logging.getLogger(__name__)

# Reason: rows whose commit has returned while others before them are being applied.
_ROWS_UNDER_WAY = 20_000
# Reason: a disk that is busy with snapshots for 1 % of the time is no burden.
_PAUSE_PER_SAVE = 100
# Reason: at the end of the process nobody waits for long.
_LAST_WORDS_S = 5.0


class Snapshots:
    """Saves and restores what one node knows.

    store: Where the state is kept; None: nowhere.
    every_s: Least pause between two of them; a slow disk makes it longer.
    applied_row: Highest row of the journal that is in the index.
    """

    def __init__(
        self,
        *,
        node: str,
        store: SnapshotStore | None,
        journal: Journal,
        writer: RevocationWriter,
        enforcement: "Enforcement",
        trackers: Mapping[str, "OriginTracker"],
        clock: Clock,
        every_s: float,
        applied_row: Callable[[], int],
        alarm: Callable[[str, str, bool], None],
    ) -> None:
        self._node = node
        self._store = store
        self._journal = journal
        self._writer = writer
        self._enforcement = enforcement
        self._trackers = trackers
        self._clock = clock
        self._every_s = every_s
        self._applied_row = applied_row
        self._alarm = alarm
        # Something was loaded, if only that nothing is revoked.
        self.restored = False
        self.serial = 0
        self.saved_ns = 0
        self.loaded = 0

    @classmethod
    def of(
        cls,
        feed: "Feed",
        store: SnapshotStore | None,
        journal: Journal,
        writer: RevocationWriter,
    ) -> "Snapshots":
        """Return those of a feed."""
        return cls(
            node=feed.node,
            store=store,
            journal=journal,
            writer=writer,
            enforcement=feed.enforcement,
            trackers=feed.trackers,
            clock=feed.clock,
            every_s=feed.settings.snapshot_every_s,
            applied_row=lambda: feed.publisher.row,
            alarm=feed.alarm,
        )

    # -- at the start ----------------------------------------------------------------

    async def restore(self) -> int:
        """Load what was saved; return the journal row up to which all is included.

        A snapshot that cannot be used leaves nothing of itself; then 0.
        """
        if self._store is None:
            return 0
        self.serial = self._journal.saved
        try:
            state = await self._store.load()
            return 0 if state is None else await self._restore(state)
        except (ControlError, ValueError) as error:
            _log.warning("%s: everything is read from the streams", error)
            self._alarm("snapshot", "state_dir", True)
            return 0

    async def _restore(self, state: memoryview) -> int:
        found = parts(state)
        head = read_head(found)
        if head.node != self._node:
            raise ControlError("the snapshot is another node's")
        self._enforcement.refuse_strange(head.key_ids)
        if head.serial < self._journal.saved:
            raise ControlError("the snapshot is older than the last one saved here")
        following = list(found)
        check_words(word for word, _ in following)
        self.serial = head.serial
        self._enforcement.begin_anew(head.seeds)
        # Whatever it cost to grow into it is known beforehand.
        self._writer.begin_rebuild(head.entries)
        origins, hash_keys = self._enforcement.numbers(head.origins, head.key_ids)
        try:
            for word, content in following:
                store = self._enforcement.store
                fits = load_part(word, content, self._writer, store, origins, hash_keys)
                self._enforcement.fitted(fits)
                await asyncio.sleep(0)
        except ValueError:
            self._enforcement.begin_anew(None)
            raise
        # Last of all: a position is a claim that everything up to it was taken.
        for origin, stream in head.streams.items():
            if origin in self._trackers:
                self._trackers[origin].restore(stream)
        self.loaded = self._enforcement.store.events
        self.restored = True
        return head.row if head.publisher == self._journal.publisher else 0

    # -- while it runs ---------------------------------------------------------------

    async def run(self) -> None:
        """Save whenever something has changed, for ever; supervised by the feed."""
        if self._store is None:
            await asyncio.Event().wait()
        pause_s = self._every_s
        seen = -1
        while True:
            await asyncio.sleep(pause_s)
            changes = self._writer.stats().get("applied", -2)
            if not self._enforcement.store.settled or changes == seen:
                continue
            began_ns = self._clock.boot_ns()
            if await self.save():
                seen = changes
            took_s = (self._clock.boot_ns() - began_ns) / 1e9
            pause_s = max(self._every_s, _PAUSE_PER_SAVE * took_s)

    async def save(self) -> bool:
        """Save what is known now; False, and an alarm, where the disk refused."""
        if self._store is None:
            return False
        try:
            await self._store.save(self._parts())
            self.serial += 1
            await self._journal.note_saved(self.serial)
        except ControlError as error:
            _log.warning("%s", error)
            self._alarm("snapshot", "state_dir", True)
            return False
        self.saved_ns = self._clock.boot_ns()
        self._alarm("snapshot", "state_dir", False)
        return True

    async def last_words(self) -> None:
        """Save once more before the end, where that takes no time worth mentioning."""
        if self._store is not None and self._enforcement.store.settled:
            try:
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self.save()
            except TimeoutError:
                _log.info("the last snapshot was given up: it took too long")

    def _parts(self) -> AsyncGenerator[bytes, None]:
        store = self._enforcement.store
        head = Head(
            node=self._node,
            serial=self.serial + 1,
            publisher=self._journal.publisher,
            row=max(0, self._applied_row() - _ROWS_UNDER_WAY),
            wall_s=self._enforcement.now_s,
            origins=self._enforcement.origins,
            key_ids=self._enforcement.key_ids,
            seeds=store.seeds,
            entries=self._writer.stats().get("entries", 0),
            streams=saved_streams(self._trackers),
        )
        return state_parts(head, self._enforcement, self._writer)
