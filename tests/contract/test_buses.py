"""One contract for every bus: what is stored is read, once, in order."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.contract.places import REMOTE, place_of
from tests.feed_fakes import FakeBroker, FakeBus, FakeJournal, until

from fastgate.adapters.local_bus import LocalBus
from fastgate.adapters.local_journal import LocalJournal
from fastgate.control.event_batch import decode_batch
from fastgate.domain.event import Batch, Event, encode_batch, key_id
from fastgate.domain.revocation import Kind
from fastgate.domain.stream import Stored
from fastgate.errors import ControlError
from fastgate.ports import Bus, Journal

KEY = key_id(b"")


@dataclass
class Listener:
    """ports.BusListener that remembers."""

    stored: list[Stored] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)
    up: list[bool] = field(default_factory=list)
    urgent: list[tuple[str, str, bytes]] = field(default_factory=list)

    def live(self, stored: Stored) -> None:
        self.stored.append(stored)

    def reported(self, sender: str, payload: bytes) -> None:
        assert sender in {"", "eu/gw"}
        self.reports.append(payload)

    def urged(self, origin: str, publisher: str, payload: bytes) -> None:
        self.urgent.append((origin, publisher, payload))

    def connected(self, up: bool) -> None:
        self.up.append(up)

    async def handed(self, payload: bytes) -> bytes:
        if payload == b"refuse":
            raise ControlError("no")
        return b"taken:" + payload


@dataclass
class Rig:
    """A connected bus of region eu, with a publisher."""

    bus: Bus
    journal: Journal
    listener: Listener
    connect: Callable[[], Bus]

    async def say(self, *values: str, again: bool = False) -> int:
        """Publish one batch, as the publisher does: journal first."""
        events = []
        for value in values:
            event = Event(
                id=value,
                origin="eu",
                at=1_700_000_000.0,
                kind=Kind.JTI,
                key=value.encode().rjust(16, b"\0"),
                expires=2_000_000_000,
                key_id=KEY,
            )
            events.append((await self.journal.append(event)).event)
        publisher = self.journal.publisher
        payload = encode_batch(Batch("eu", publisher, tuple(events)))
        name = f"{publisher}/{events[0].seq}{'/again' if again else ''}"
        return await self.bus.publish(publisher, "jti", name, payload, 3_600)

    async def read(self, after: int = 0, to: int = 10**9) -> list[tuple[int, str]]:
        return [
            (stored.position, id_)
            async for stored in self.bus.replay("eu", after, to)
            for id_ in self.ids(stored)
        ]

    def ids(self, stored: Stored) -> list[str]:
        batch = decode_batch(stored.payload, {KEY})
        assert stored.publisher == batch.publisher == self.journal.publisher
        return [event.id for event in batch.events]

    def heard(self) -> list[str]:
        return [id_ for stored in self.listener.stored for id_ in self.ids(stored)]


@pytest.fixture(params=["fake", "local", *REMOTE])
async def rig(request, tmp_path: Path) -> AsyncGenerator[Rig, None]:
    async with contextlib.AsyncExitStack() as stack:
        journal: Journal = LocalJournal(tmp_path / "state", "gw")
        if request.param == "fake":
            journal = FakeJournal("gw")
            broker = FakeBroker()
            connect: Callable[[], Bus] = lambda: FakeBus(broker, "eu")  # noqa: E731
        elif request.param == "local":
            connect = lambda: LocalBus(journal, "eu")  # noqa: E731
        else:
            place = place_of(request.param, tmp_path, request)
            connect = (await stack.enter_async_context(place)).bus
        await journal.open()
        stack.push_async_callback(journal.close)
        bus, listener = connect(), Listener()
        await bus.start(listener)
        stack.push_async_callback(bus.stop)
        await until(lambda: listener.up == [True])
        yield Rig(bus, journal, listener, connect)


async def test_messages_are_read_in_the_order_in_which_they_were_stored(rig):
    """Positions grow, and a replay from the start has everything."""
    positions = [await rig.say(f"e{i}") for i in range(300)]
    assert positions == sorted(set(positions))
    read = await rig.read()
    assert [id_ for _, id_ in read] == [f"e{i}" for i in range(300)]
    assert [position for position, _ in read] == positions
    assert (await rig.bus.state("eu")).last == positions[-1]


async def test_batch_is_read_whole(rig):
    """Events of one batch keep their order."""
    await rig.say("a", "b", "c")
    assert [id_ for _, id_ in await rig.read()] == ["a", "b", "c"]


async def test_replay_yields_exactly_the_stretch_that_is_asked_for(rig):
    """After is excluded, to is included."""
    positions = [await rig.say(f"e{i}") for i in range(10)]
    read = await rig.read(after=positions[2], to=positions[5])
    assert [id_ for _, id_ in read] == ["e3", "e4", "e5"]
    assert await rig.read(after=positions[-1]) == []


async def test_live_copies_have_the_positions_of_the_stream(rig):
    """The live path and a replay tell the same story."""
    for i in range(20):
        await rig.say(f"e{i}")
    await until(lambda: len(rig.listener.stored) == 20)
    live = [(s.position, id_) for s in rig.listener.stored for id_ in rig.ids(s)]
    assert live == await rig.read()


async def test_message_is_stored_once_when_its_name_is_repeated(rig):
    """A publisher that got no answer may send again."""
    await rig.say("a")
    for _ in range(10):
        await rig.say("a")
    await rig.say("b")
    assert [id_ for _, id_ in await rig.read()] == ["a", "b"]
    await until(lambda: rig.heard() == ["a", "b"])


async def test_second_bus_reads_what_the_first_stored(rig):
    """Cold start from nothing."""
    await rig.say("a")
    other = rig.connect()
    listener = Listener()
    await other.start(listener)
    try:
        await until(lambda: listener.up == [True])
        state = await other.state("eu")
        found = [s async for s in other.replay("eu", 0, state.last)]
        assert [id_ for stored in found for id_ in rig.ids(stored)] == ["a"]
    finally:
        await other.stop()


async def test_report_comes_back_to_its_sender(rig):
    """Every node hears every report, its own too."""
    if isinstance(rig.bus, FakeBus):
        pytest.skip("the fake carries reports of real feeds only")
    await rig.bus.report(b"here")
    await until(lambda: rig.listener.reports == [b"here"])


async def test_urgent_frame_reaches_whoever_is_connected_and_is_not_stored(rig):
    """Under the name of its publisher; on one host there is nobody to tell."""
    other, listener = rig.connect(), Listener()
    await other.start(listener)
    try:
        await until(lambda: listener.up == [True])
        await rig.bus.urge(rig.journal.publisher, b"now")
        if rig.bus.name == "local":
            await rig.say("a")
            await until(lambda: rig.heard() == ["a"])
            assert listener.urgent == []
            return
        await until(lambda: listener.urgent == [("eu", rig.journal.publisher, b"now")])
        assert (await rig.bus.state("eu")).last == 0
    finally:
        await other.stop()


async def test_stream_of_a_region_that_does_not_exist_is_an_error(rig):
    """An unknown stream is unreachable, never empty."""
    if isinstance(rig.bus, FakeBus):
        pytest.skip("the fake makes streams when they are asked for")
    with pytest.raises(ControlError):
        await rig.bus.state("us")


async def test_event_cannot_be_handed_to_a_region_where_nobody_listens(rig):
    """No answer is an error within a bounded time."""
    with pytest.raises(ControlError):
        await rig.bus.hand("us", b"x")


async def test_nothing_is_told_after_the_end(rig):
    """A stopped bus is silent."""
    await rig.bus.stop()
    other = rig.connect()
    listener = Listener()
    await other.start(listener)
    await until(lambda: listener.up == [True])
    rig.bus, heard = other, rig.heard()
    try:
        await rig.say("a")
        await until(lambda: listener.stored)
        assert rig.heard() == heard
    finally:
        await other.stop()
