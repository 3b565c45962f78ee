"""What happens to every bus: cut, frozen, killed, replaced, trimmed, lied to."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.contract.places import REMOTE, Place, eventually, place_of
from tests.contract.test_buses import Listener as _Listener
from tests.feed_fakes import until

from fastgate.domain.stream import Stored, StreamState
from fastgate.errors import ControlError
from fastgate.ports import Bus

PUBLISHER = "gw.0123456789abcdef"
# Reason: two seconds for a request, one until it is asked, one for a busy machine.
NOTICED_S = 6.0


class Listener(_Listener):
    """One that hears other gateways' reports too."""

    def reported(self, sender: str, payload: bytes) -> None:
        assert sender in {"", "eu/gw", "us/gw-us"}
        self.reports.append(payload)


@dataclass
class Rig:
    """A connected bus at a place that can be disturbed."""

    place: Place
    bus: Bus
    listener: Listener
    stack: contextlib.AsyncExitStack

    async def say(
        self, payload: bytes, *, ttl_s: int = 60, publisher: str = PUBLISHER
    ) -> int:
        return await self.bus.publish(
            publisher, "jti", f"{publisher}/{payload[:64]!r}", payload, ttl_s
        )

    async def insist(self, payload: bytes) -> int:
        """Say it until it is stored, as a publisher does."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(ControlError):
                    return await self.say(payload)
                await asyncio.sleep(0.05)

    async def state(self) -> StreamState:
        """Return the stream's state as soon as there is one."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(ControlError):
                    return await self.bus.state("eu")
                await asyncio.sleep(0.05)

    async def read(self, after: int = 0) -> list[Stored]:
        last = (await self.bus.state("eu")).last
        return [stored async for stored in self.bus.replay("eu", after, last)]

    async def payloads(self) -> list[bytes]:
        return [stored.payload for stored in await self.read()]

    async def add(self, node: str, **changes: object) -> "Rig":
        """Connect another gateway of the region."""
        bus, listener = self.place.bus(node, **changes), Listener()
        await bus.start(listener)
        self.stack.push_async_callback(bus.stop)
        await until(lambda: listener.up == [True])
        return Rig(self.place, bus, listener, self.stack)

    async def is_up(self, up: bool) -> None:
        await until(lambda: self.listener.up[-1:] == [up], within_s=20)


@pytest.fixture(params=REMOTE)
async def place(request, tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_of(request.param, tmp_path, request) as made:
        yield made


@pytest.fixture
async def rig(place) -> AsyncGenerator[Rig, None]:
    async with contextlib.AsyncExitStack() as stack:
        bus, listener = place.bus(), Listener()
        await bus.start(listener)
        stack.push_async_callback(bus.stop)
        await until(lambda: listener.up == [True])
        yield Rig(place, bus, listener, stack)


async def test_bus_that_cannot_be_reached_is_told_and_comes_later(place):
    """Down at the start is a state: nobody may wait for a first word that never is."""
    await place.cut("refused")
    bus, listener = place.bus(), Listener()
    await bus.start(listener)
    try:
        await until(lambda: listener.up == [False], within_s=NOTICED_S)
        for asked in (bus.state("eu"), bus.publish(PUBLISHER, "jti", "a", b"a", 60)):
            with pytest.raises(ControlError):
                await asked
        await place.heal()
        await until(lambda: listener.up[-1], within_s=NOTICED_S)
        assert (await bus.state("eu")).last == 0
    finally:
        await bus.stop()


@pytest.mark.parametrize("how", ["blackhole", "refused"])
async def test_partition_is_noticed_and_heals_with_what_was_said_meanwhile(rig, how):
    """Both kinds of cut: packets vanish, or connections break."""
    other = await rig.add("gw-2")
    await rig.say(b"before")
    await rig.place.cut(how)
    began = time.monotonic()
    with pytest.raises(ControlError):
        await rig.say(b"into the void")
    await until(lambda: not rig.listener.up[-1], within_s=NOTICED_S)
    assert time.monotonic() - began < NOTICED_S
    with pytest.raises(ControlError, match="not connected"):
        await rig.say(b"not kept for later")
    with pytest.raises(ControlError):
        await rig.read()
    await rig.place.heal()
    await rig.is_up(True)
    await other.is_up(True)
    await other.insist(b"after")
    await until(lambda: b"after" in [s.payload for s in rig.listener.stored])
    found = await rig.payloads()
    assert found[0] == b"before"
    assert found[-1] == b"after"
    assert b"not kept for later" not in found


async def test_requests_end_when_the_server_is_frozen(rig):
    """A frozen server closes nothing; every wait is bounded all the same."""
    rig.place.server.freeze()
    began = time.monotonic()
    with pytest.raises(ControlError):
        await rig.say(b"x")
    assert time.monotonic() - began < NOTICED_S
    rig.place.server.thaw()
    await rig.insist(b"y")
    assert b"y" in await rig.payloads()


async def test_killed_server_comes_back_with_what_it_acknowledged(rig):
    """A crash of the server is no loss, and no other stream."""
    position = await rig.say(b"kept")
    before = await rig.bus.state("eu")
    rig.place.restart()
    again = await rig.insist(b"later")
    after = await rig.state()
    assert after.incarnation == before.incarnation
    assert again > position
    assert (await rig.payloads())[:1] == [b"kept"]
    await until(lambda: b"later" in [s.payload for s in rig.listener.stored])


@pytest.mark.parametrize("how", ["forgotten", "replaced"])
async def test_stream_made_anew_is_another_one(rig, how):
    """By an operator, or since an empty server stands in the old one's place."""
    for i in range(5):
        await rig.say(b"before %d" % i)
    before = await rig.bus.state("eu")
    if how == "replaced":
        rig.place.replace()
    else:
        await rig.place.forget()
    await rig.insist(b"after")
    after = await rig.state()
    assert after.incarnation != before.incarnation
    assert after.last < before.last
    assert await rig.payloads() == [b"after"]
    # The live path follows the new stream, whose positions begin again; what was said
    # before it noticed is read, and need not come this way.
    said: dict[bytes, int] = {}

    async def follows() -> bool:
        payload = b"live %d" % len(said)
        said[payload] = await rig.insist(payload)
        return any(s.payload in said for s in rig.listener.stored)

    await eventually(follows)
    assert said[b"live 0"] == after.last + 1
    live = {s.payload: s.position for s in rig.listener.stored if s.payload in said}
    assert live.items() <= said.items()


async def test_message_lives_as_long_as_its_publisher_said(rig):
    """A hole by age is a jump in positions, and nothing else."""
    stays = await rig.say(b"stays")
    await rig.say(b"goes", ttl_s=1)
    last = await rig.say(b"stays too")
    said = 0

    async def gone() -> bool:
        nonlocal said
        said += 1
        await rig.say(b"later %d" % said)
        return b"goes" not in await rig.payloads()

    await eventually(gone)
    found = [(s.position, s.payload) for s in await rig.read()]
    assert found[:2] == [(stays, b"stays"), (last, b"stays too")]
    assert (await rig.bus.state("eu")).last == last + said


async def test_trimmed_stream_is_read_from_what_is_left(rig):
    """Acknowledged and then lost: the bus hides nothing, the digests will tell."""
    positions = [await rig.say(b"%d" % i) for i in range(10)]
    before = await rig.bus.state("eu")
    await rig.place.trim(positions[5])
    found = [(s.position, s.payload) for s in await rig.read()]
    assert found == [(p, b"%d" % i) for i, p in enumerate(positions)][6:]
    after = await rig.bus.state("eu")
    assert (after.incarnation, after.last) == (before.incarnation, before.last)


async def test_foreign_message_keeps_its_position(rig):
    """Whatever somebody wrote, it is told as unreadable and stops nothing."""
    first = await rig.say(b"before")
    await rig.place.inject(b"\x00garbage")
    last = await rig.say(b"after")
    assert last == first + 2
    found = {s.position: s for s in await rig.read()}
    assert set(found) == {first, first + 1, last}
    assert found[first + 1].publisher == ""
    await until(lambda: b"after" in [s.payload for s in rig.listener.stored])


async def test_largest_frame_passes_and_a_larger_one_is_refused(rig):
    """A frame of 256 KiB is the most that anybody composes."""
    largest = b"x" * 262_144
    await rig.say(largest)
    with pytest.raises(ControlError):
        await rig.say(b"y" * 2_000_000)
    await rig.say(b"after")
    assert await rig.payloads() == [largest, b"after"]


async def test_two_gateways_and_a_new_publisher_share_one_order(rig):
    """Everybody reads the same line, whoever wrote what."""
    other = await rig.add("gw-2")
    await asyncio.gather(
        *(rig.say(b"a%d" % i) for i in range(40)),
        *(other.say(b"b%d" % i, publisher="gw-2.p") for i in range(40)),
        *(rig.say(b"c%d" % i, publisher="gw.renewed") for i in range(40)),
    )
    found = await rig.read()
    assert [s.position for s in found] == list(range(1, 121))
    by_name = {s.payload[:1]: s.publisher for s in found}
    assert by_name == {b"a": PUBLISHER, b"b": "gw-2.p", b"c": "gw.renewed"}
    for listener in (rig.listener, other.listener):
        await until(lambda heard=listener: len(heard.stored) == 120)
        assert listener.stored == found


async def test_slow_reader_gets_everything_in_order(rig):
    """What a reader cannot take at once waits on the server, or shows as a gap."""

    class Slow(Listener):
        def live(self, stored: Stored) -> None:
            time.sleep(0.002)
            super().live(stored)

    bus, slow = rig.place.bus("slow"), Slow()
    await bus.start(slow)
    rig.stack.push_async_callback(bus.stop)
    await until(lambda: slow.up == [True])
    await asyncio.gather(*(rig.say(b"%d" % i) for i in range(400)))
    await until(lambda: slow.stored and slow.stored[-1].position == 400)
    positions = [stored.position for stored in slow.stored]
    assert positions == sorted(set(positions))
    assert len([s async for s in bus.replay("eu", 0, 400)]) == 400


async def test_event_is_handed_to_a_gateway_of_its_home(rig):
    """Any gateway of the home answers, one of them, also with a refusal."""
    home = await rig.add("gw-us", region="us")

    async def known() -> bool:
        # Gateways report once a second, which is how some buses know them.
        await home.bus.report(b"{}")
        return bool(rig.listener.reports)

    await eventually(known)
    assert await rig.bus.hand("us", b"event") == b"taken:event"
    assert b"refused" in await rig.bus.hand("us", b"refuse")
    assert await rig.bus.hand("us", b"x" * 200_000) == b"taken:" + b"x" * 200_000
