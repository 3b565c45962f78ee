"""Saved states on real servers: left, taken, refused; what a new node makes of one."""

import contextlib
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from nats.aio.client import Client
from tests.contract.places import NatsPlace, Place, RedisPlace, eventually, place_of
from tests.contract.test_buses import Listener
from tests.control.feed_net import HASH_KEY, SETTINGS, entry, hashed
from tests.feed_fakes import BootClock, FakeIndex, until
from tests.nats_server import NatsServer, running

from fastgate.adapters.local_journal import LocalJournal
from fastgate.adapters.nats_bus.bus import NatsBus
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.adapters.redis_bus.bus import RedisBus
from fastgate.control.feed import Feed
from fastgate.control.frame_seal import FrameSeal
from fastgate.control.shared_snapshots import SharedSnapshots
from fastgate.errors import ControlError
from fastgate.ports import Bus, Shelf

pytestmark = pytest.mark.system

REGIONS = ("eu", "us")
HEALED_S = 20.0
LONGEST_S = SETTINGS.lifetimes.longest_s
SHARING = replace(SETTINGS, share_every_s=0.5)
TAKING = replace(SETTINGS, share_every_s=36_000.0)
# What a place needs to know so that its server keeps saved states.
NATS = {"snapshot_bytes": 1 << 22, "least_age_s": LONGEST_S, "max_age_s": LONGEST_S}


def bus_of(place: Place, node: str = "gw", region: str = "eu") -> Bus:
    changes = NATS if isinstance(place, NatsPlace) else {}
    return place.bus(node, region, **changes)


def shelf_of(bus: Bus) -> Shelf:
    if isinstance(bus, RedisBus):
        return bus.shelf(LONGEST_S)
    assert isinstance(bus, NatsBus)
    return bus.shelf()


def states(bus: Bus, region: str = "eu", node: str = "gw-1") -> SharedSnapshots:
    return SharedSnapshots(
        shelf_of(bus),
        region=region,
        origins=REGIONS,
        keys=(HASH_KEY,),
        seal=FrameSeal(),
        publisher=lambda: f"{node}.journal-1",
        clock=BootClock(),
        longest_s=LONGEST_S,
        max_bytes=1 << 22,
    )


async def parts(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture(params=["nats", "redis"])
async def place(request, tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_of(request.param, tmp_path, request) as made:
        yield made


@contextlib.asynccontextmanager
async def connected(*buses: Bus) -> AsyncGenerator[None, None]:
    listeners = [Listener() for _ in buses]
    try:
        for bus, listener in zip(buses, listeners, strict=True):
            await bus.start(listener)
        await until(lambda: all(listener.up for listener in listeners))
        yield
    finally:
        for bus in buses:
            await bus.stop()


async def test_state_of_one_region_is_taken_in_another(place):
    """Several chunks, twice, so that both places are used; the newest counts."""
    eu, us = bus_of(place), bus_of(place, region="us")
    async with connected(eu, us):
        assert await states(us, "us").load() is None
        await states(eu).save(parts(b"first" * 200_000))
        assert bytes(await states(us, "us").load()) == b"first" * 200_000
        await states(eu).save(parts(b"second"))
        assert bytes(await states(us, "us").load()) == b"second"
        await states(eu).save(parts(b"third" * 300_000))
        assert bytes(await states(us, "us").load()) == b"third" * 300_000


async def test_state_outlasts_its_server(place):
    """The server keeps it on its disk, as far as it keeps anything."""
    eu = bus_of(place)
    async with connected(eu):
        await states(eu).save(parts(b"kept" * 1_000))
    place.restart()
    again = bus_of(place)
    async with connected(again):
        assert bytes(await states(again).load()) == b"kept" * 1_000


async def test_state_is_told_as_unreachable_while_the_bus_is_cut(place):
    """Not as absent: whoever asks comes again, or reads the streams."""
    eu = bus_of(place)
    async with connected(eu):
        await states(eu).save(parts(b"there"))
        await place.cut()
        with pytest.raises(ControlError):
            await states(eu).load()
        with pytest.raises(ControlError):
            await states(eu).save(parts(b"lost"))
        await place.heal()


async def test_redis_keeps_half_of_its_memory_for_revocations(tmp_path, request):
    """A server that is full refuses writes: a state is not worth that."""
    async with place_of("redis", tmp_path, request) as place:
        assert isinstance(place, RedisPlace)
        eu = bus_of(place)
        async with connected(eu), place.client() as client:
            used = (await client.info("memory"))["used_memory"]
            await client.config_set("maxmemory", 2 * used + 600_000)
            with pytest.raises(ControlError, match="more than"):
                await states(eu).save(parts(b"x" * 900_000))
            await states(eu).save(parts(b"x" * 1_000))
            names = [key async for key in client.scan_iter("fg.snap.*")]
            lives = [await client.pttl(name) for name in names]
            assert lives
            assert min(lives) > 0


async def test_nats_stream_of_another_kind_is_refused(tmp_path, request):
    """One that would keep every state for ever, for example."""
    async with place_of("nats", tmp_path, request) as place:
        assert isinstance(place, NatsPlace)
        await place._ask(
            "$JS.API.STREAM.CREATE.FG_SNAP_eu",
            {"name": "FG_SNAP_eu", "subjects": ["fg.snap.eu.*.*"]},
        )
        eu = bus_of(place)
        async with connected(eu):
            with pytest.raises(ControlError, match="needs max_msgs_per_subject"):
                await shelf_of(eu).room()


async def test_nats_keeps_the_newest_of_each_chunk_only(tmp_path, request):
    """Two places and no more, however often states are left."""
    async with place_of("nats", tmp_path, request) as place:
        assert isinstance(place, NatsPlace)
        eu = bus_of(place)
        async with connected(eu):
            for number in range(5):
                await states(eu).save(parts(bytes([number]) * 600_000))
        info = await place._ask("$JS.API.STREAM.INFO.FG_SNAP_eu")
        assert info["state"]["messages"] == 2 * (3 + 1)
        client = Client()
        await client.connect(place.server.url)
        try:
            found = await client.jetstream().stream_info("FG_REV_eu")
        finally:
            await client.close()
        assert found.state.messages == 0, "it is no part of the stream"


async def test_each_region_of_a_mesh_keeps_its_own(tmp_path):
    """Two servers with a domain each: a state is written near, and read from afar."""
    transit = NatsServer(tmp_path / "transit", domain="transit", leaf_port=0)
    transit._leaf_port = free = NatsServer(tmp_path / "x").port
    eu, us = (
        NatsServer(tmp_path / region, domain=region, leaves=[free])
        for region in REGIONS
    )
    async with running(transit, eu, us):
        near, far = (
            NatsBus(
                NatsSettings(servers=(server.url,), **NATS),
                region=region,
                node=f"gw-{region}",
                origins=REGIONS,
            )
            for region, server in (("eu", eu), ("us", us))
        )
        async with connected(near, far):
            await states(near).save(parts(b"of eu" * 100_000))

            async def read() -> bool:
                with contextlib.suppress(ControlError):
                    return await states(far, "us").load() is not None
                return False

            await eventually(read)
            await states(far, "us", "gw-2").save(parts(b"of us"))
            assert bytes(await states(far, "us").load()) == b"of us"
            assert bytes(await states(near).load()) == b"of eu" * 100_000


@dataclass
class Node:
    feed: Feed
    index: FakeIndex

    def has(self, value: str) -> bool:
        return hashed(value) in self.index.entries

    def fresh(self) -> bool:
        return self.feed.ready()[0]


async def gateway(
    stack: contextlib.AsyncExitStack,
    place: Place,
    folder: Path,
    region: str,
    name: str,
    settings=TAKING,
) -> Node:
    index, bus = FakeIndex(), bus_of(place, name, region)
    feed = Feed(
        region=region,
        node=name,
        origins=REGIONS,
        standalone=False,
        journal=LocalJournal(folder / name, name),
        bus=bus,
        writer=index,
        clock=BootClock(),
        settings=settings,
        alarms=lambda *_: None,
        shared=states(bus, region, name),
    )
    await feed.start()
    stack.push_async_callback(feed.stop)
    return Node(feed, index)


async def test_wiped_node_has_what_a_trimmed_stream_has_lost(place, tmp_path):
    """In force at once, complete later; nobody else has to publish it again."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(contextlib.AsyncExitStack())
        eu = await gateway(stack, place, tmp_path, "eu", "gw-eu", SHARING)
        us = await gateway(first, place, tmp_path, "us", "gw-us")
        await until(lambda: eu.fresh() and us.fresh(), within_s=HEALED_S)
        for number in range(20):
            await eu.feed.enter(entry(f"s-{number}", home="eu"), wait="regions")
        lifted = await eu.feed.enter(entry("lifted", home="eu"), wait="regions")
        await eu.feed.lift(lifted.id, wait="regions")
        for _ in range(2):
            seen = eu.feed.clock.boot_ns()
            await until(
                lambda since=seen: eu.feed.base.shared_ns > since, within_s=HEALED_S
            )
        await first.aclose()
        shutil.rmtree(tmp_path / "gw-us")
        await place.trim(eu.feed.trackers["eu"].position)
        wiped = await gateway(stack, place, tmp_path, "us", "gw-us")
        await until(lambda: wiped.feed.base.taken_from, within_s=HEALED_S)
        assert wiped.feed.base.taken_from == "gw-eu"
        assert all(wiped.has(f"s-{number}") for number in range(20))
        assert not wiped.has("lifted")
        await until(wiped.fresh, within_s=HEALED_S)
        assert wiped.feed.digests(None, None)["origins"]["eu"].keys()
