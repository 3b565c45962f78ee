"""Whole feeds over every bus: what a revocation is worth when the bus is disturbed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.contract.places import REMOTE, Place, place_of
from tests.control.feed_net import SETTINGS, entry, hashed
from tests.feed_fakes import BootClock, FakeIndex, until

from fastgate.adapters.local_journal import LocalJournal
from fastgate.control.feed import Feed

pytestmark = pytest.mark.system

REGIONS = ("eu", "us")
HEALED_S = 20.0


@dataclass
class Node:
    feed: Feed
    index: FakeIndex
    clock: BootClock

    def has(self, value: str) -> bool:
        return hashed(value) in self.index.entries

    def newer(self, origin: str, than_ns: int) -> bool:
        return self.index.evidence.get(REGIONS.index(origin), 0) > than_ns

    def fresh(self) -> bool:
        return self.feed.ready()[0]


@dataclass
class World:
    """A gateway in each region, on one server."""

    place: Place
    folder: Path
    stack: contextlib.AsyncExitStack
    eu: Node
    us: Node

    async def add(self, name: str, region: str) -> Node:
        return await start(self.stack, self.place, self.folder / name, region, name)

    async def fresh_again(self) -> None:
        """Return when both have new evidence of both, made after this call."""
        now_ns = self.eu.clock.boot_ns()
        await until(
            lambda: all(
                node.newer(region, now_ns)
                for node in (self.eu, self.us)
                for region in REGIONS
            ),
            within_s=HEALED_S,
        )


async def start(
    stack: contextlib.AsyncExitStack,
    place: Place,
    folder: Path,
    region: str,
    name: str,
) -> Node:
    index, clock = FakeIndex(), BootClock()
    feed = Feed(
        region=region,
        node=name,
        origins=REGIONS,
        standalone=False,
        journal=LocalJournal(folder, name),
        bus=place.bus(name, region),
        writer=index,
        clock=clock,
        settings=SETTINGS,
        alarms=lambda *_: None,
    )
    await feed.start()
    stack.push_async_callback(feed.stop)
    return Node(feed, index, clock)


@pytest.fixture(params=REMOTE)
async def world(request, tmp_path: Path) -> AsyncGenerator[World, None]:
    async with (
        place_of(request.param, tmp_path, request) as place,
        contextlib.AsyncExitStack() as stack,
    ):
        eu, us = [
            await start(stack, place, tmp_path / name, region, name)
            for region, name in (("eu", "gw-eu"), ("us", "gw-us"))
        ]
        await until(lambda: eu.fresh() and us.fresh(), within_s=HEALED_S)
        yield World(place, tmp_path, stack, eu, us)


async def test_revocation_is_enforced_everywhere_with_a_receipt(world):
    """Entered at its home, entered away from it; both are published by the home."""
    eu, us = world.eu, world.us
    receipt = await eu.feed.enter(entry("s-1", home="eu"), wait="regions")
    assert (receipt.published, receipt.complete) == (True, True)
    assert set(receipt.regions) == {"eu", "us"}
    assert us.has("s-1")
    away = await eu.feed.enter(entry("s-2", home="us"), wait="regions")
    assert (away.origin, away.published, away.complete) == ("us", True, True)
    assert us.has("s-2")


async def test_partition_ages_the_view_and_heals_without_loss(world):
    """Entered while the bus was away: pending and enforced here, published later."""
    eu, us = world.eu, world.us
    await world.place.cut()
    await until(lambda: not eu.feed.bus_up and not us.feed.bus_up, within_s=HEALED_S)
    receipt = await eu.feed.enter(entry("s-1", home="eu"))
    assert not receipt.published
    assert eu.has("s-1")
    assert not us.has("s-1")
    cut_ns = us.clock.boot_ns()
    await asyncio.sleep(0.2)  # some markers long
    assert not us.newer("eu", cut_ns)
    await world.place.heal()
    await until(lambda: us.has("s-1"), within_s=HEALED_S)
    await world.fresh_again()
    assert eu.feed.status()["pending"]["count"] == 0


async def test_wiped_streams_are_filled_again_by_those_who_published(world):
    """A node that is started after the wipe knows what was revoked before it."""
    eu, us = world.eu, world.us
    for number in range(5):
        await eu.feed.enter(entry(f"s-{number}", home="eu"), wait="regions")
    await us.feed.enter(entry("s-us", home="us"), wait="regions")
    await world.place.forget()
    await world.fresh_again()
    late = await world.add("gw-eu-2", "eu")
    await until(late.fresh, within_s=HEALED_S)
    assert all(late.has(f"s-{number}") for number in range(5))
    assert late.has("s-us")


async def test_new_node_is_not_fresh_before_it_has_what_the_stream_lost(world):
    """Acknowledged and lost: no marker proves a view without it."""
    eu = world.eu
    await eu.feed.enter(entry("s-1", home="eu"), wait="regions")
    await world.place.trim((await eu.feed.bus.state("eu")).last)
    late = await world.add("gw-us-2", "us")
    tracker = late.feed.trackers["eu"]
    await until(lambda: tracker.gaps or late.has("s-1"))
    assert late.has("s-1") or not late.newer("eu", 0)


async def test_gateway_that_comes_back_reads_what_it_missed(world):
    """Cold start with a journal of its own, after others went on."""
    eu = world.eu
    await eu.feed.enter(entry("s-1", home="eu"), wait="regions")
    late = await world.add("gw-us-2", "us")
    await until(late.fresh, within_s=HEALED_S)
    assert late.has("s-1")
    await late.feed.stop()
    await eu.feed.enter(entry("s-2", home="eu"), wait="regions")
    again = await world.add("gw-us-2", "us")
    await until(again.fresh, within_s=HEALED_S)
    assert again.has("s-1")
    assert again.has("s-2")


async def test_garbage_in_the_stream_proves_nothing_and_stops_nobody(world):
    """Somebody with the account writes nonsense; what is true goes on."""
    eu, us = world.eu, world.us
    for payload in (b"", b"\xff" * 300, b'{"v":1,"t":"events"}'):
        await world.place.inject(payload)
    receipt = await eu.feed.enter(entry("s-1", home="eu"), wait="regions")
    assert receipt.published
    await until(lambda: us.has("s-1"))
    await world.fresh_again()
