"""Journal: what this node publishes: number, store, apply, publish, answer.

Owns:      the order of those five steps, and what waits after the third.
Called by: control.feed enters events, control.handover enters what other regions hand.
Source:    REVOCATION.md sections 1 and 3: journal and own index first, then the stream,
           then the answer; a journal that the stream contradicts takes a new id.
"""

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection

from fastgate.control import journal_walk
from fastgate.control.frame_seal import FrameSeal
from fastgate.control.native import EventFrame
from fastgate.control.pause import pause
from fastgate.control.sent_log import SentLog
from fastgate.control.steady import SteadyWall
from fastgate.control.waiting import Waiting
from fastgate.domain.event import MAX_EVENTS, Batch, Event, encode_batch, ids_digest
from fastgate.domain.stream import JournalStart, Kept
from fastgate.errors import ControlError
from fastgate.ports import Bus, Clock, Journal

__all__ = ["Publisher", "Waiting"]

_log = logging.getLogger(__name__)

# Reason: the stream may drop an event this long after it expired, never before.
TTL_SLACK_S = 120
# Reason: the journal knows every event that the stream may still have.
_KEEP_S = 600
# Reason: past it whoever enters events is told to come back (THREATS.md F3, bounded).
_MAX_PENDING = 100_000
# Reason: a disk that needs longer for one commit is not a disk to promise upon.
_COMMIT_S = 10.0
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 2.0
# Reason: a lying marker may ask for new ids, but not for one a second.
_RENEW_EVERY_NS = 10_000_000_000
# Reason: long enough for whoever is called by an alarm to see which one it was.
_SHOWN_NS = 3_600 * 10**9


class Publisher:
    """Publishes one node's events, in order.

    origin: The region that this node speaks for.
    insert: Puts an event into the own index; False where it is full.
    acked: Told of each batch that the stream took, before anybody is answered.
    urge: Told of each urgent event that is in journal and index, and not published.
    alarm: Called with name, dependency and whether it is on.
    seal: Signs what is published; by default nothing is signed.
    may_send: Tells whether an event may be published now; it stays pending else.
    """

    def __init__(
        self,
        *,
        origin: str,
        journal: Journal,
        bus: Bus,
        clock: Clock,
        insert: Callable[[Event], bool],
        acked: Callable[[Batch, int], None],
        alarm: Callable[[str, str, bool], None],
        urge: Callable[[Kept], None] = lambda _: None,
        seal: FrameSeal | None = None,
        may_send: Callable[[Event], bool] = lambda _: True,
    ) -> None:
        self._urge = urge
        self._seal = seal or FrameSeal()
        self._may_send = may_send
        self._origin = origin
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self._steady = SteadyWall(clock)
        self._insert = insert
        self._acked = acked
        self._alarm = alarm
        self._pending: dict[int, Waiting] = {}
        self._by_id: dict[str, Waiting] = {}
        self._sent = SentLog()
        self._again: deque[Batch] = deque()
        self._confirmed: list[tuple[list[int], int]] = []
        self._verified = asyncio.Event()
        self._work = asyncio.Event()
        self._entering: set[asyncio.Task[Waiting]] = set()
        self._contradicted = False
        self._renewed_ns = 0
        self._opened_ns = clock.boot_ns()
        self._resent = 0
        self._again_now = asyncio.Event()
        self.pruned_ns = 0
        # Highest row that is in the own index.
        self.row = 0

    @property
    def name(self) -> str:
        """This node's publisher id."""
        return self._journal.publisher

    @property
    def pending(self) -> int:
        """How many events are enforced here and not yet published."""
        return len(self._pending)

    def is_pending(self, id_: str) -> bool:
        """Tell whether an event waits to be published by this node."""
        return id_ in self._by_id

    def oldest(self) -> Waiting | None:
        """Return the event that has waited longest."""
        return next(iter(self._pending.values()), None)

    async def open(self, restore: Callable[[], Awaitable[int]] | None = None) -> None:
        """Open the journal and put what it has into the own index.

        restore: Loads a saved state; returns the row up to which it has everything.
        Raises StartError where the journal belongs to somebody else.
        """
        start = await self._journal.open()
        self._alarm("journal_replaced", "journal", start is JournalStart.REPLACED)
        included = await restore() if restore else 0
        for kept in await journal_walk.unpublished(self._journal):
            self._queue(kept, ack=False)
        async for page in journal_walk.pages(self._journal, included):
            for kept in page:
                self._take(kept)

    def _take(self, kept: Kept) -> None:
        self._insert(kept.event)
        self.row = max(self.row, kept.row)
        if kept.publisher == self.name:
            self._sent.note(kept.event.seq, kept.event.id)

    async def close(self) -> None:
        """Wait for commits under way and close the journal; pending ones stay in it."""
        if self._entering:
            await asyncio.wait(self._entering, timeout=5.0)
        await self._journal.close()

    def verified(self) -> None:
        """Allow publishing: the own stream was read and contradicts nothing."""
        self._verified.set()
        self._work.set()

    def retry(self) -> None:
        """Try at once what failed: the bus is back, or a second has passed."""
        self._again_now.set()
        if self._contradicted or self._pending or self._again:
            self._work.set()

    async def enter(self, event: Event, *, ack: bool = False) -> Waiting:
        """Number, store and apply an event, and queue it; returns once it is stored.

        ack: Readers report at once when they have it.
        An event whose id is known is returned as it stands. A caller that goes away
        does not stop it. Raises ControlError where it could not be stored, or was not
        within ten seconds: then it may still come into force.
        """
        if len(self._pending) >= _MAX_PENDING:
            raise ControlError("too many revocations wait for the bus")
        task = asyncio.create_task(self._enter(event, ack), name="journal-enter")
        self._entering.add(task)
        task.add_done_callback(self._entered)
        try:
            async with asyncio.timeout(_COMMIT_S):
                return await asyncio.shield(task)
        except TimeoutError as exc:
            raise ControlError("the journal is slow") from exc

    def _entered(self, task: asyncio.Task[Waiting]) -> None:
        self._entering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever entered it may have gone; then this is the only word about it.
            _log.info("an entry was not stored: %s", error)

    async def _enter(self, event: Event, ack: bool) -> Waiting:
        try:
            kept = await self._journal.append(event)
        except ControlError:
            self._alarm("journal", "journal", True)
            raise
        self._alarm("journal", "journal", False)
        self._insert(kept.event)
        self.row = max(self.row, kept.row)
        known = self._by_id.get(event.id)
        if known is not None:
            return known
        if kept.position:
            # Its number may be an earlier publisher's: nothing is waiting under it.
            published = self._wait(kept, ack)
            published.done.set_result(kept.position)
            return published
        self._sent.note(kept.event.seq, kept.event.id)
        waiting = self._queue(kept, ack=ack)
        if kept.event.urgent:
            self._urge(kept)
        self._work.set()
        return waiting

    def _wait(self, kept: Kept, ack: bool) -> Waiting:
        done = asyncio.get_running_loop().create_future()
        return Waiting(kept, done, self._clock.boot_ns(), ack)

    def _queue(self, kept: Kept, *, ack: bool) -> Waiting:
        waiting = self._wait(kept, ack)
        self._pending[kept.event.seq] = self._by_id[kept.event.id] = waiting
        return waiting

    def seen(self, frame: EventFrame, position: int) -> None:
        """Compare a batch that the own stream has under this publisher's id."""
        if frame.publisher != self.name:
            return
        rows = []
        for seq, id_ in enumerate(frame.ids(), frame.seq):
            if seq > self._journal.last or self._sent.contradicts(seq, id_):
                self._contradicted = True
                self._work.set()
                return
            waiting = self._pending.get(seq)
            if waiting is not None:
                # Stored before the answer came: killed, cut or slow in between.
                rows.append(waiting.kept.row)
                self._settle(waiting, position)
        if rows:
            self._confirmed.append((rows, position))
            self._work.set()

    def mark_seen(self, last: int) -> None:
        """Compare the number up to which the own stream knows this publisher."""
        if last > self._journal.last:
            self._contradicted = True
            self._work.set()

    async def audit(self, holes: tuple[tuple[int, int], ...], read_to: int) -> None:
        """Publish again what the own stream lacks of this publisher's live events.

        holes: Half-open ranges of numbers that a full read did not bring.
        read_to: Highest number that it brought.
        """
        wall_s = self._steady.wall_s()
        self.publish_again(
            await journal_walk.absent(self._journal, holes, read_to, wall_s)
        )

    def publish_again(self, events: list[Event]) -> None:
        """Queue events that the stream lost after it had said that it has them."""
        self._again.extend(map(self._batch, journal_walk.runs(events)))
        self._work.set()

    async def run(self) -> None:
        """Publish whatever is queued, for ever; supervised by the feed."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self._note_confirmed()
            await self._verified.wait()
            if self._contradicted:
                await self._renew()
            while self._again:
                await self._send_again(self._again[0])
                self._again.popleft()
            while batch := self._next():
                await self._send(batch)
            if not self._pending:
                self._alarm("publish", "bus", False)

    async def note_adopted(self, regions: Collection[str]) -> None:
        """Remember which regions this node's region speaks for. Raises ControlError."""
        await self._journal.note_adopted(sorted(regions))

    async def prune(self) -> None:
        """Drop what has long expired; proves that the journal takes writes."""
        began_ns = self._clock.boot_ns()
        await self._journal.prune(int(self._steady.wall_s()) - _KEEP_S)
        self.pruned_ns = began_ns
        if began_ns - max(self._opened_ns, self._renewed_ns) > _SHOWN_NS:
            # Something that happened, and nothing that lasts.
            self._alarm("journal_replaced", "journal", False)
            self._alarm("journal_contradicted", "journal", False)

    async def _note_confirmed(self) -> None:
        while self._confirmed:
            rows, position = self._confirmed.pop()
            await self._journal_published(rows, position)

    async def _renew(self) -> None:
        now_ns = self._clock.boot_ns()
        if self._renewed_ns and now_ns - self._renewed_ns < _RENEW_EVERY_NS:
            return
        old = self.name
        try:
            new = await self._journal.renew()
        except ControlError:
            self._alarm("journal", "journal", True)
            raise
        self._renewed_ns = now_ns
        self._contradicted = False
        self._sent.clear()
        renumbered = await journal_walk.unpublished(self._journal)
        # What was entered meanwhile has a new number, or is among the renumbered.
        later = [w for w in self._pending.values() if w.kept.publisher == new]
        self._pending = {waiting.kept.event.seq: waiting for waiting in later}
        for kept in renumbered:
            self._requeue(kept)
        _log.warning("publisher %s is known to its stream; now %s", old, new)
        self._alarm("journal_contradicted", "journal", True)

    def _requeue(self, kept: Kept) -> None:
        waiting = self._by_id.get(kept.event.id)
        if waiting is None:
            waiting = self._queue(kept, ack=False)
        waiting.kept = kept
        self._pending[kept.event.seq] = waiting
        self._sent.note(kept.event.seq, kept.event.id)

    def _next(self) -> Batch | None:
        events = (self._pending[seq].kept.event for seq in sorted(self._pending))
        first = itertools.islice(filter(self._may_send, events), MAX_EVENTS)
        run = next(journal_walk.runs(first), None)
        return None if run is None or self._contradicted else self._batch(run)

    def _batch(self, run: list[Event]) -> Batch:
        waiting = [self._pending.get(event.seq) for event in run]
        ack = any(w.ack or w.kept.event.urgent for w in waiting if w is not None)
        return Batch(self._origin, self.name, tuple(run), ack=ack)

    async def _send(self, batch: Batch) -> None:
        rows = [self._pending[event.seq].kept.row for event in batch.events]
        position = await self._publish(batch, "")
        if position == 0:
            return
        self._acked(batch, position)
        await self._journal_published(rows, position)
        for event in batch.events:
            waiting = self._pending.get(event.seq)
            if waiting is not None:
                self._settle(waiting, position)

    async def _send_again(self, batch: Batch) -> None:
        if batch.publisher != self.name:
            return
        # Another name than before, or the bus would call it a duplicate.
        self._resent += 1
        position = await self._publish(batch, f"/again-{self._resent}")
        if position:
            self._acked(batch, position)

    async def _publish(self, batch: Batch, suffix: str) -> int:
        """Return the position; 0 where the batch is of no use any more."""
        first, last = batch.events[0].seq, batch.events[-1].seq
        # The ids are in the name: a clone's other content is no duplicate.
        message_id = f"{batch.publisher}/{first}-{last}/{ids_digest(batch.events)}"
        kinds = {journal_walk.subject(event) for event in batch.events}
        kind = kinds.pop() if len(kinds) == 1 else "batch"
        expires = max(event.expires for event in batch.events)
        frame = encode_batch(batch)
        payload = self._seal.close(batch.origin, batch.publisher, frame)
        wait_s = _RETRY_FIRST_S
        while not self._contradicted:
            left_s = expires - int(self._steady.wall_s())
            try:
                position = await self._bus.publish(
                    batch.publisher,
                    kind,
                    message_id + suffix,
                    payload,
                    max(1, left_s) + TTL_SLACK_S,
                )
            except ControlError as error:
                self._alarm("publish", "bus", True)
                _log.info("publishing is tried again: %s", error)
                self._again_now.clear()
                await pause(self._again_now, wait_s)
                # Reason: gateways of a region must not come back in step.
                wait_s = min(_RETRY_LAST_S, 2 * wait_s) * random.uniform(0.8, 1.2)  # noqa: S311
            else:
                self._alarm("publish", "bus", False)
                return position
        return 0

    async def _journal_published(self, rows: list[int], position: int) -> None:
        try:
            await self._journal.published(rows, position)
        except ControlError:
            # The stream has them; at the next start it says so, and nothing is lost.
            self._alarm("journal", "journal", True)

    def _settle(self, waiting: Waiting, position: int) -> None:
        self._pending.pop(waiting.kept.event.seq, None)
        self._by_id.pop(waiting.kept.event.id, None)
        if not waiting.done.done():
            waiting.done.set_result(position)
