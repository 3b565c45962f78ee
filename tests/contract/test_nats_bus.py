"""What only NATS can do wrong: servers that go, lie, freeze or forget."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import orjson
import pytest
from nats.aio.client import Client
from tests.contract.test_buses import Listener
from tests.feed_fakes import until
from tests.nats_server import NatsServer, running

from fastgate.adapters.nats_bus.bus import NatsBus
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.domain.stream import Stored
from fastgate.errors import ControlError

PUBLISHER = "gw.0123456789abcdef"


class Rig:
    """A server, a connected bus, and a raw client to disturb them."""

    def __init__(self, server: NatsServer, stack: contextlib.AsyncExitStack) -> None:
        self.server = server
        self._stack = stack
        self.listener = Listener()
        self.bus = self.make()

    def make(self, **changes: object) -> NatsBus:
        settings = NatsSettings(servers=(self.server.url,), **changes)
        return NatsBus(settings, region="eu", node="gw", origins=("eu",))

    async def start(self) -> None:
        await self.bus.start(self.listener)
        self._stack.push_async_callback(self.bus.stop)

    async def client(self) -> Client:
        client = Client()
        await client.connect(self.server.url)
        self._stack.push_async_callback(client.close)
        return client

    async def say(self, payload: bytes = b"x", name: str = "", ttl_s: int = 60) -> int:
        return await self.bus.publish(
            PUBLISHER, "jti", name or f"{payload!r}", payload, ttl_s
        )

    async def read(self, after: int = 0, to: int = 10**9) -> list[Stored]:
        return [stored async for stored in self.bus.replay("eu", after, to)]

    async def read_until(self, count: int) -> list[Stored]:
        """Read until so many messages are left: the others expired."""
        for _ in range(200):
            found = await self.read(to=(await self.bus.state("eu")).last)
            if len(found) == count:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError("they did not expire")

    async def up(self) -> None:
        await until(lambda: self.listener.up and self.listener.up[-1])


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncGenerator[Rig, None]:
    async with contextlib.AsyncExitStack() as stack:
        server = NatsServer(tmp_path / "nats")
        await stack.enter_async_context(running(server))
        made = Rig(server, stack)
        await made.start()
        await made.up()
        yield made


async def test_stream_is_made_so_that_nothing_is_dropped_silently(rig):
    """ECOSYSTEM section 9: the settings that the promise rests on."""
    client = await rig.client()
    answer = await client.request("$JS.API.STREAM.INFO.FG_REV_eu")
    config = orjson.loads(answer.data)["config"]
    assert config["subjects"] == ["fg.rev.eu.>"]
    assert (config["discard"], config["allow_msg_ttl"]) == ("new", True)
    assert (config["allow_direct"], config["deny_delete"]) == (True, True)
    assert config["republish"] == {"src": "fg.rev.>", "dest": "fg.live.>"}
    assert config["duplicate_window"] == 120 * 10**9


async def test_stream_that_would_lose_events_is_refused(rig):
    """A stream made by hand without per-message life or live copies is no stream."""
    await rig.bus.stop()
    client = await rig.client()
    await client.request("$JS.API.STREAM.DELETE.FG_REV_eu")
    bad = {"name": "FG_REV_eu", "subjects": ["fg.rev.eu.>"], "storage": "memory"}
    await client.request("$JS.API.STREAM.CREATE.FG_REV_eu", orjson.dumps(bad))
    other, listener = rig.make(), Listener()
    await other.start(listener)
    try:
        await until(lambda: listener.up)
        assert listener.up == [False]
    finally:
        await other.stop()


@pytest.mark.parametrize(
    "flaw",
    [
        {"max_age": 3_599 * 10**9},
        {"max_msgs_per_subject": 1},
        {"retention": "interest"},
    ],
    ids=str,
)
async def test_stream_that_drops_live_events_is_refused(rig, flaw):
    """A new node would not learn of what is still revoked."""
    await rig.bus.stop()
    client = await rig.client()
    answer = await client.request("$JS.API.STREAM.INFO.FG_REV_eu")
    made = orjson.loads(answer.data)["config"]
    await client.request("$JS.API.STREAM.DELETE.FG_REV_eu")
    flawed = made | {"duplicate_window": 10**9} | flaw
    answer = await client.request(
        "$JS.API.STREAM.CREATE.FG_REV_eu", orjson.dumps(flawed)
    )
    assert "error" not in orjson.loads(answer.data)
    other, listener = rig.make(least_age_s=3_600), Listener()
    await other.start(listener)
    try:
        await until(lambda: listener.up)
        assert listener.up == [False]
    finally:
        await other.stop()


async def test_expired_messages_leave_no_gap_in_a_replay(rig):
    """A hole by TTL is a jump in positions, and nothing else."""
    await rig.say(b"stays")
    await rig.say(b"goes", ttl_s=1)
    await rig.say(b"stays too")
    assert await rig.read_until(2) == await rig.read()
    found = await rig.read()
    assert [(s.position, s.payload) for s in found] == [
        (1, b"stays"),
        (3, b"stays too"),
    ]
    assert (await rig.bus.state("eu")).last == 3


async def test_replay_ends_when_the_tail_has_expired(rig):
    """Nothing left to read up to the last position is no fault."""
    await rig.say(b"goes", ttl_s=1)
    await rig.read_until(0)
    assert (await rig.bus.state("eu")).last == 1
    assert await rig.read(to=1) == []


async def test_replay_is_an_error_when_the_server_goes_in_the_middle(rig):
    """Half an answer must not look like all there is."""
    for i in range(600):
        await rig.say(b"%d" % i)
    messages = rig.bus.replay("eu", 0, 600)
    assert (await anext(messages)).position == 1
    rig.server.stop()

    async def rest() -> list[Stored]:
        return [stored async for stored in messages]

    with pytest.raises(ControlError):
        await rest()


async def test_publish_is_refused_when_the_stream_is_full(tmp_path):
    """`discard: new`: the publisher gets an error, nothing is dropped."""
    async with contextlib.AsyncExitStack() as stack:
        server = NatsServer(tmp_path / "nats")
        await stack.enter_async_context(running(server))
        rig = Rig(server, stack)
        rig.bus = rig.make(max_bytes=4_096)
        await rig.start()
        await rig.up()
        fill = 0.0
        while fill < 0.8:
            fill = (await rig.bus.state("eu")).fill
            with contextlib.suppress(ControlError):
                await rig.say(b"%f" % fill + b"." * 200)
        with pytest.raises(ControlError, match="refused"):
            await rig.say(b"." * 2_000)
        assert (await rig.read())[0].payload.startswith(b"0.000000")


async def test_stream_is_made_anew_when_somebody_deleted_it_meanwhile(rig):
    """The publisher notices at its next message."""
    client = await rig.client()
    await client.request("$JS.API.STREAM.DELETE.FG_REV_eu")
    with pytest.raises(ControlError):
        await rig.say(b"lost")
    for _ in range(100):
        with contextlib.suppress(ControlError):
            await rig.say(b"kept")
            break
        await asyncio.sleep(0.02)
    assert [stored.payload for stored in await rig.read()] == [b"kept"]


async def test_foreign_messages_are_no_events(rig):
    """Anything without the stream's own headers is dropped at the border."""
    client = await rig.client()
    await client.publish("fg.live.eu.gw.0123456789abcdef.jti", b"no headers")
    headers = {"Nats-Sequence": "x", "Nats-Stream": "FG_REV_eu"}
    await client.publish("fg.live.eu.gw.p.jti", b"no number", headers=headers)
    headers = {"Nats-Sequence": "7", "Nats-Stream": "FG_REV_us"}
    await client.publish("fg.live.eu.gw.p.jti", b"other stream", headers=headers)
    await client.publish("fg.live.eu.short", b"short", headers=headers)
    await client.flush()
    await rig.say(b"real")
    await until(lambda: rig.listener.stored)
    assert [stored.payload for stored in rig.listener.stored] == [b"real"]


async def test_event_is_handed_to_one_gateway_of_its_home(rig):
    """A queue group: any gateway answers, one of them."""
    second, listener = rig.make(), Listener()
    await second.start(listener)
    try:
        await until(lambda: listener.up == [True])
        assert await rig.bus.hand("eu", b"event") == b"taken:event"
        assert b"refused" in await rig.bus.hand("eu", b"refuse")
    finally:
        await second.stop()
