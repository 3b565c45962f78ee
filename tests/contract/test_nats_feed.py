"""Whole feeds over a mesh of NATS servers: one a region, behind a transit."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.contract.places import eventually
from tests.control.feed_net import SETTINGS, entry, hashed
from tests.feed_fakes import BootClock, FakeIndex, until
from tests.nats_server import NatsServer, free_port, running

from fastgate.adapters.local_bus import LocalBus
from fastgate.adapters.local_journal import LocalJournal
from fastgate.adapters.nats_bus.bus import NatsBus
from fastgate.adapters.nats_bus.layout import inspect
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.control.feed import Feed

pytestmark = pytest.mark.system

REGIONS = ("eu", "us")


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


async def start(
    stack: contextlib.AsyncExitStack,
    folder: Path,
    region: str,
    server: NatsServer,
    name: str = "",
) -> Node:
    node = name or f"gw-{region}"
    journal = LocalJournal(folder, node)
    bus = NatsBus(
        NatsSettings(servers=(server.url,)), region=region, node=node, origins=REGIONS
    )
    index, clock = FakeIndex(), BootClock()
    feed = Feed(
        region=region,
        node=node,
        origins=REGIONS,
        standalone=False,
        journal=journal,
        bus=bus,
        writer=index,
        clock=clock,
        settings=SETTINGS,
        alarms=lambda *_: None,
    )
    await feed.start()
    stack.push_async_callback(feed.stop)
    return Node(feed, index, clock)


@dataclass
class World:
    servers: dict[str, NatsServer]
    nodes: dict[str, Node]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World, None]:
    async with contextlib.AsyncExitStack() as stack:
        port = free_port()
        transit = NatsServer(tmp_path / "hub", domain="hub", leaf_port=port)
        servers = {
            region: NatsServer(tmp_path / region, domain=region, leaves=[port])
            for region in REGIONS
        }
        await stack.enter_async_context(running(transit, *servers.values()))
        nodes = {
            region: await start(stack, tmp_path / f"gw-{region}", region, server)
            for region, server in servers.items()
        }
        await until(lambda: all(node.fresh() for node in nodes.values()), within_s=20)
        yield World(servers, nodes)


async def test_revocation_is_published_and_enforced_in_the_other_region(world):
    """The whole path over a real JetStream, with a receipt from every region."""
    eu, us = world.nodes.values()
    receipt = await eu.feed.enter(entry("s-1", home="eu"), wait="regions")
    assert (receipt.published, receipt.complete, receipt.seq) == (True, True, 1)
    assert set(receipt.regions) == {"eu", "us"}
    assert eu.has("s-1")
    assert us.has("s-1")


async def test_event_entered_away_from_home_is_published_by_its_home(world):
    """The hand-over is a request across the link."""
    eu, us = world.nodes.values()
    receipt = await eu.feed.enter(entry("s-1", home="us"))
    assert (receipt.origin, receipt.published, receipt.seq) == ("us", True, 1)
    assert us.has("s-1")
    receipt = await us.feed.enter(entry("s-2"))
    assert receipt.published
    await until(lambda: eu.has("s-2"))


async def test_everything_heals_when_the_servers_were_down(world):
    """F3, F4: entered while the bus was away, published when it is back."""
    eu, us = world.nodes.values()
    for server in set(world.servers.values()):
        server.stop()
    await until(lambda: not eu.feed.bus_up and not us.feed.bus_up)
    receipt = await eu.feed.enter(entry("s-1", home="eu"))
    assert not receipt.published
    stopped = us.clock.boot_ns()
    for server in set(world.servers.values()):
        server.start()
    await until(lambda: us.has("s-1"), within_s=20)
    await until(
        lambda: us.newer("eu", stopped) and eu.newer("us", stopped), within_s=20
    )
    assert eu.feed.status()["pending"]["count"] == 0


async def test_live_revocations_come_back_when_a_stream_was_wiped(world):
    """F5: a server that forgot everything is filled again by the publishers."""
    eu, us = world.nodes.values()
    await eu.feed.enter(entry("s-1", home="eu"), wait="regions")
    server = world.servers["eu"]
    server.stop()
    server.wipe()
    server.start()
    began = us.clock.boot_ns()
    await until(lambda: us.newer("eu", began) and eu.newer("eu", began), within_s=20)
    payloads: list[bytes] = []
    async with asyncio.timeout(20):
        while not any(hashed("s-1") in frame for frame in payloads):
            last = (await us.feed.bus.state("eu")).last
            payloads = [s.payload async for s in us.feed.bus.replay("eu", 0, last)]
    await eu.feed.enter(entry("s-2", home="eu"))
    await until(lambda: us.has("s-2"))


async def test_only_the_view_of_the_other_region_ages_when_the_transit_is_cut(
    tmp_path: Path,
):
    """A cut link hurts only the users whose home is on the other side."""
    async with contextlib.AsyncExitStack() as stack:
        port = free_port()
        transit = NatsServer(tmp_path / "hub", domain="hub", leaf_port=port)
        servers = [
            NatsServer(tmp_path / region, domain=region, leaves=[port])
            for region in REGIONS
        ]
        await stack.enter_async_context(running(transit, *servers))
        eu, us = [
            await start(stack, tmp_path / f"gw-{region}", region, server)
            for region, server in zip(REGIONS, servers, strict=True)
        ]
        await until(lambda: eu.fresh() and us.fresh(), within_s=20)
        transit.stop()
        receipt = await eu.feed.enter(entry("s-1", home="eu"))
        assert receipt.published
        away = await us.feed.enter(entry("s-2", home="eu"))
        assert not away.published
        cut = us.clock.boot_ns()
        await until(lambda: us.newer("us", cut + 10**9) and eu.newer("eu", cut + 10**9))
        assert not us.newer("eu", cut)
        assert not us.has("s-1")
        transit.start()
        healed = us.clock.boot_ns()
        await until(lambda: us.has("s-1") and us.newer("eu", healed), within_s=20)
        await until(lambda: eu.has("s-2") and not us.feed.handover.pending, within_s=20)


async def test_new_gateway_reads_the_copy_of_an_origin_that_is_lost(
    world, tmp_path: Path
):
    """What was revoked there is enforced, and nothing is proven by it."""
    eu, us = world.nodes.values()
    settings = NatsSettings(servers=(world.servers["eu"].url,))
    await inspect(settings, region="eu", origins=REGIONS, make=True)
    await us.feed.enter(entry("s-1", home="us"), wait="regions")
    last = (await us.feed.bus.state("us")).last

    async def copied() -> bool:
        return (await eu.feed.bus._state_at("$JS.eu.API", "us")).last >= last

    await eventually(copied)
    await us.feed.stop()
    world.servers["us"].stop()
    async with contextlib.AsyncExitStack() as stack:
        server = world.servers["eu"]
        late = await start(stack, tmp_path / "late", "eu", server, "gw-eu-2")
        await until(lambda: late.has("s-1"), within_s=20)
        assert late.feed.bus._copied == {"us"}
        assert not late.newer("us", 0)
        world.servers["us"].start()
        again = await start(stack, tmp_path / "us", "us", world.servers["us"], "gw-us")
        await until(lambda: again.fresh() and late.newer("us", 0), within_s=20)
        assert again.has("s-1")


async def test_new_gateway_is_complete_after_the_head_of_a_stream_was_purged(
    world, tmp_path: Path
):
    """Positions go on and nobody misses anything, but who begins: it is said again."""
    eu, us = world.nodes.values()
    for number in range(3):
        await eu.feed.enter(entry(f"s-{number}", home="eu"), wait="regions")
    last = (await eu.feed.bus.state("eu")).last
    purge = "$JS.eu.API.STREAM.PURGE.FG_REV_eu"
    await eu.feed.bus._link.ask(purge, {"seq": last + 1})
    assert (await eu.feed.bus.state("eu")).first > last
    async with contextlib.AsyncExitStack() as stack:
        server = world.servers["us"]
        late = await start(stack, tmp_path / "late", "us", server, "gw-us-2")
        await until(late.fresh, within_s=40)
        assert all(late.has(f"s-{number}") for number in range(3))
        began = us.clock.boot_ns()
        await until(
            lambda: us.newer("eu", began) and eu.newer("eu", began), within_s=20
        )


async def test_local_bus_serves_a_host_by_itself(tmp_path: Path):
    """With `local`, the journal is the stream, and a restart forgets nothing."""
    for turn in range(2):
        journal = LocalJournal(tmp_path, "gw")
        index = FakeIndex()
        feed = Feed(
            region="eu",
            node="gw",
            origins=REGIONS,
            standalone=True,
            journal=journal,
            bus=LocalBus(journal, "eu"),
            writer=index,
            clock=BootClock(),
            settings=SETTINGS,
            alarms=lambda *_: None,
        )
        await feed.start()
        try:
            assert (hashed("s-0") in index.entries) is (turn == 1)
            receipt = await feed.enter(entry(f"s-{turn}", home="us"), wait="regions")
            assert (receipt.published, receipt.complete) == (True, True)
            assert receipt.seq == turn + 1
            await until(lambda: set(index.evidence) == {0, 1})  # noqa: B023
        finally:
            await feed.stop()
