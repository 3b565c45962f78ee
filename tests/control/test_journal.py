"""The publisher: number, store, apply, publish, answer, whatever breaks in between."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.fakes import FakeClock
from tests.feed_fakes import FakeBroker, FakeBus, FakeJournal, until

from fastgate.control.event_batch import decode_batch
from fastgate.control.journal import Publisher, Waiting
from fastgate.control.native import EventFrame
from fastgate.domain.event import Batch, Event, encode_batch, key_id
from fastgate.domain.revocation import Kind
from fastgate.errors import ControlError

KEY = key_id(b"")


def event(name: str, **changes: object) -> Event:
    made = Event(
        id=name,
        origin="eu",
        at=1_800_000_000.0,
        kind=Kind.SID,
        key=name.encode().rjust(16, b"\0"),
        expires=1_800_003_600,
        key_id=KEY,
    )
    return replace(made, **changes)


class Rig:
    """A publisher on fakes, and what it did in which order."""

    def __init__(self, journal: FakeJournal | None = None) -> None:
        self.broker = FakeBroker()
        self.bus = FakeBus(self.broker, "eu")
        self.journal = journal or FakeJournal("gw")
        self.done: list[str] = []
        self.acked: list[tuple[Batch, int]] = []
        self.alarms: dict[tuple[str, str], bool] = {}
        self.clock = FakeClock()
        self.publisher = Publisher(
            origin="eu",
            journal=self.journal,
            bus=self.bus,
            clock=self.clock,
            insert=self._insert,
            acked=lambda batch, position: self.acked.append((batch, position)),
            alarm=self._alarm,
        )
        self._task: asyncio.Task[None] | None = None

    def _insert(self, one: Event) -> bool:
        self.done.append(f"{one.id} in index, {len(self.journal.rows)} in journal")
        return True

    def _alarm(self, name: str, dependency: str, on: bool) -> None:
        self.alarms[name, dependency] = on

    async def start(self, *, verified: bool = True) -> None:
        await self.publisher.open()
        self._task = asyncio.create_task(self.publisher.run())
        if verified:
            self.publisher.verified()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.publisher.close()

    async def enter(self, name: str, **changes: object) -> Waiting:
        return await self.publisher.enter(event(name, **changes))

    def stream(self) -> list[list[tuple[int, str]]]:
        messages = self.broker.stream("eu").messages.values()
        batches = [decode_batch(m.payload, {KEY}) for m in messages]
        return [[(one.seq, one.id) for one in batch.events] for batch in batches]

    def batch(self, *events: Event) -> EventFrame:
        return EventFrame(encode_batch(Batch("eu", self.publisher.name, events)))


@pytest.fixture
async def rig() -> AsyncGenerator[Rig, None]:
    made = Rig()
    await made.start()
    yield made
    await made.stop()


async def test_event_is_in_journal_and_index_before_the_stream_has_it(rig):
    """The order of the five steps."""
    rig.bus.up = False
    waiting = await rig.enter("a")
    assert rig.done == ["a in index, 1 in journal"]
    assert waiting.position == 0
    rig.bus.up = True
    rig.publisher.retry()
    assert await waiting.done == 1
    assert rig.journal.rows[0].position == 1


async def test_nothing_is_published_before_the_own_stream_was_read(rig):
    """A journal that the stream contradicts must be found first."""
    other = Rig()
    await other.start(verified=False)
    waiting = await other.enter("a")
    await asyncio.sleep(0)
    assert other.stream() == []
    other.publisher.verified()
    assert await waiting.done == 1
    await other.stop()


async def test_waiting_events_travel_in_one_batch(rig):
    """At most 256 in a message, numbered without a hole."""
    rig.bus.up = False
    entered = [await rig.enter(f"e{i}") for i in range(600)]
    rig.bus.up = True
    rig.publisher.retry()
    await asyncio.gather(*(one.done for one in entered))
    batches = rig.stream()
    assert [seq for batch in batches for seq, _ in batch] == list(range(1, 601))
    assert max(len(batch) for batch in batches) == 256


async def test_batch_ends_where_the_hash_key_changes(rig):
    """A frame names one key; during a rotation both wait in the journal."""
    rig.bus.up = False
    await rig.enter("a")
    await rig.enter("b")
    await rig.enter("c", key_id="0badc0de")
    rig.bus.up = True
    rig.publisher.retry()
    await until(lambda: len(rig.acked) >= 2)
    assert {batch.events[0].key_id for batch, _ in rig.acked} == {KEY, "0badc0de"}


async def test_pending_events_are_published_after_a_restart(rig):
    """Killed between journal and stream."""
    rig.bus.up = False
    await rig.enter("a")
    again = Rig(rig.journal.copy())
    await again.start()
    await until(lambda: again.stream() == [[(1, "a")]])
    assert again.done == ["a in index, 1 in journal"]
    await again.stop()


async def test_event_is_not_published_twice_when_the_stream_has_it_already(rig):
    """Killed between stream and answer: reading the own stream settles it."""
    rig.bus.up = False
    waiting = await rig.enter("a")
    rig.publisher.seen(rig.batch(waiting.kept.event), 9)
    assert await waiting.done == 9
    assert rig.publisher.pending == 0
    await until(lambda: rig.alarms.get(("publish", "bus")))
    rig.bus.up = True


async def test_own_number_with_other_content_makes_a_new_id(rig):
    """One seq with other content: restored or cloned."""
    await (await rig.enter("a")).done
    old = rig.publisher.name
    rig.publisher.seen(rig.batch(event("other", seq=1)), 2)
    await until(lambda: rig.publisher.name != old)
    assert rig.alarms["journal_contradicted", "journal"]
    assert (await rig.enter("b")).kept.event.seq == 1


async def test_own_number_beyond_the_journal_makes_a_new_id(rig):
    """The stream knows more than the journal."""
    old = rig.publisher.name
    rig.publisher.mark_seen(7)
    await until(lambda: rig.publisher.name != old)


async def test_new_ids_are_rare_when_markers_lie(rig):
    """A lie must not become a new publisher a second."""
    await rig.enter("a")
    rig.publisher.mark_seen(7)
    await until(lambda: rig.alarms.get(("journal_contradicted", "journal")))
    name = rig.publisher.name
    for _ in range(20):
        rig.publisher.mark_seen(7)
        await asyncio.sleep(0)
    assert rig.publisher.name == name


async def test_lost_events_are_published_again_with_their_numbers(rig):
    """A full read showed which are missing; expired ones are left."""
    for i in range(1, 7):
        expires = 1_000 if i == 4 else 1_800_003_600
        await (await rig.enter(f"e{i}", expires=expires)).done
    await until(lambda: all(row.position for row in rig.journal.rows))
    before = len(rig.stream())
    await rig.publisher.audit(((2, 3), (4, 5)), 5)
    await until(lambda: len(rig.stream()) == before + 2)
    assert rig.stream()[before:] == [[(2, "e2")], [(6, "e6")]]


async def test_entries_are_refused_when_too_many_wait(rig, monkeypatch):
    """Bounded: whoever enters is told to come back."""
    monkeypatch.setattr("fastgate.control.journal._MAX_PENDING", 2)
    rig.bus.up = False
    await rig.enter("a")
    await rig.enter("b")
    with pytest.raises(ControlError, match="too many"):
        await rig.enter("c")


async def test_same_id_is_one_event_when_it_is_entered_again(rig):
    """A hand-over that is retried while it waits."""
    rig.bus.up = False
    first, second = await rig.enter("a"), await rig.enter("a")
    assert first is second
    rig.bus.up = True
    rig.publisher.retry()
    assert await first.done == 1
    third = await rig.enter("a")
    assert third.position == 1
    assert rig.stream() == [[(1, "a")]]


async def test_prune_tells_when_the_journal_last_took_a_write(rig):
    """With `local`, that is the proof of freshness."""
    await rig.publisher.prune()
    proven = rig.publisher.pruned_ns
    assert proven
    rig.journal.failing = True
    with pytest.raises(ControlError):
        await rig.publisher.prune()
    assert rig.publisher.pruned_ns == proven
