"""What only Redis can do wrong: evict, run full, lose a replica, know no names."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from tests.contract.test_buses import Listener
from tests.feed_fakes import until
from tests.nats_server import free_port
from tests.redis_server import RedisServer, running

from fastgate.adapters.redis_bus.bus import RedisBus
from fastgate.adapters.redis_bus.link import RedisSettings
from fastgate.adapters.redis_bus.shelf import RedisShelf
from fastgate.errors import ControlError

ACCOUNTS = Path(__file__).parents[2] / "docker" / "redis" / "users.acl"
PUBLISHER = "gw.0123456789abcdef"


def bus_of(url: str, region: str = "eu", **changes: object) -> RedisBus:
    settings = RedisSettings(url, **changes)
    return RedisBus(settings, region=region, node="gw", origins=("eu",))


@contextlib.asynccontextmanager
async def connected(bus: RedisBus) -> AsyncGenerator[Listener, None]:
    listener = Listener()
    await bus.start(listener)
    try:
        await until(lambda: listener.up)
        yield listener
    finally:
        await bus.stop()


async def say(bus: RedisBus, payload: bytes, ttl_s: int = 60) -> int:
    return await bus.publish(PUBLISHER, "jti", repr(payload[:64]), payload, ttl_s)


async def fill(bus: RedisBus, size: int, ttl_s: int) -> str:
    """Say more and more until it is refused; returns why."""
    for number in range(500):
        try:
            await say(bus, b"%d " % number + b"." * size, ttl_s)
        except ControlError as refused:
            return str(refused)
    raise AssertionError("it was never full")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RedisServer, None]:
    made = RedisServer(tmp_path / "redis")
    async with running(made):
        yield made


async def test_server_that_evicts_is_refused(server):
    """A policy that drops any key would drop live revocations silently."""
    async with Redis(port=server.port, protocol=2) as client:
        await client.config_set("maxmemory-policy", "allkeys-lfu")
    async with connected(bus_of(server.url)) as listener:
        assert listener.up == [False]


async def test_key_that_no_gateway_made_is_left_alone(server):
    """Somebody's stream under our name is not written into."""
    async with Redis(port=server.port, protocol=2) as client:
        await client.xadd("fg.rev.eu", {"a": "b"})
        async with connected(bus_of(server.url)) as listener:
            assert listener.up == [False]
        assert await client.xlen("fg.rev.eu") == 1


async def test_stream_with_foreign_ids_holds_up_no_other_origin(server):
    """Written into by hand, it has no positions; only its own view ages."""
    settings = RedisSettings(server.url)
    us = RedisBus(settings, region="us", node="gw", origins=("eu", "us"))
    eu = RedisBus(settings, region="eu", node="gw", origins=("eu", "us"))
    async with connected(us), connected(eu) as heard:
        await say(us, b"before")
        async with Redis(port=server.port, protocol=2) as client:
            await client.xadd("fg.rev.us", {"p": "gw.x", "d": "x"}, id="*")
        with pytest.raises(ControlError, match="refused"):
            await say(us, b"after")
        with pytest.raises(ControlError, match="no stream of us that is ours"):
            await eu.state("us")
        await say(eu, b"mine")
        await until(lambda: b"mine" in [s.payload for s in heard.stored])
        assert heard.up == [True]
        # Made anew, it is followed again.
        async with Redis(port=server.port, protocol=2) as client:
            await client.delete("fg.rev.us")
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ControlError):
                    assert await say(us, b"anew") == 1
                    break
                await asyncio.sleep(0.05)
        await until(lambda: b"anew" in [s.payload for s in heard.stored])


async def test_full_stream_refuses_and_has_room_again_when_entries_expire(server):
    """Nothing is dropped to make room; what is over makes room."""
    bus = bus_of(server.url, max_bytes=4_096)
    async with connected(bus):
        refusal = await fill(bus, 200, ttl_s=1)
        assert "FULL" in refusal
        state = await bus.state("eu")
        assert state.fill > 0.85
        first = await anext(bus.replay("eu", 0, state.last))
        assert first.position == 1
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ControlError):
                    assert await say(bus, b"." * 300) == state.last + 1
                    break
                await asyncio.sleep(0.05)
        found = [stored.position async for stored in bus.replay("eu", 0, 10**9)]
        assert 1 not in found
        assert found[-1] == state.last + 1


async def test_server_without_memory_refuses_and_drops_nothing(tmp_path):
    """`noeviction`: the publisher gets an error, and the fill says why."""
    server = RedisServer(tmp_path / "redis", "maxmemory 8mb")
    bus = bus_of(server.url)
    async with running(server), connected(bus):
        await say(bus, b"first")
        assert "maxmemory" in await fill(bus, 100_000, ttl_s=60)
        assert (await bus.state("eu")).fill > 0.9
        first = await anext(bus.replay("eu", 0, 1))
        assert first.payload == b"first"


async def test_message_counts_once_enough_replicas_have_it(tmp_path):
    """`copies: 1` without a replica that answers is no acknowledgement."""
    first = RedisServer(tmp_path / "first")
    second = RedisServer(tmp_path / "second", replica_of=first.port)
    bus = bus_of(first.url, copies=1)
    async with running(first, second), connected(bus):
        async with Redis(port=first.port, protocol=2) as client:
            async with asyncio.timeout(20):
                while not (await client.info("replication"))["connected_slaves"]:
                    await asyncio.sleep(0.05)
        assert await say(bus, b"a") == 1
        second.freeze()
        with pytest.raises(ControlError, match="0 of 1 replicas have it"):
            await say(bus, b"b")
        second.thaw()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(ControlError):
                    # The same name: stored once, and now on both.
                    assert await say(bus, b"b") == 2
                    break
                await asyncio.sleep(0.05)


async def test_account_of_a_region_writes_its_own_stream_only(tmp_path):
    """docker/redis/users.acl: the least that a gateway's account needs."""
    server = RedisServer(tmp_path / "redis", f"aclfile {ACCOUNTS}")
    login = {"user": "gw-eu", "password": "change-me"}
    bus, foreign = bus_of(server.url, **login), bus_of(server.url, "us", **login)
    async with running(server), connected(bus) as listener:
        assert listener.up == [True]
        await say(bus, b"a")
        await bus.report(b"here")
        await until(lambda: listener.reports)
        await bus.urge(PUBLISHER, b"now")
        await until(lambda: listener.urgent == [("eu", PUBLISHER, b"now")])
        assert await bus.hand("eu", b"event") == b"taken:event"
        assert (await bus.state("eu")).last == 1
        shelf = bus.shelf(60)
        assert await shelf.room() > 0
        await shelf.put("a.0", b"state")
        assert await shelf.get("eu", "a.0") == b"state"
        assert await shelf.get("us", "a.0") is None
        with pytest.raises(ControlError):
            await RedisShelf(bus._link, bus._names, "us", 60).put("a.0", b"forged")
        async with connected(foreign) as refused:
            assert refused.up == [False]
        async with connected(bus_of(server.url)) as unknown:
            assert unknown.up == [False]


async def test_encrypted_server_is_believed_with_its_own_authority_only(tmp_path):
    """rediss: a certificate that nobody configured is no server of ours."""
    port, key, ca = free_port(), tmp_path / "key.pem", tmp_path / "ca.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    words += " -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    await asyncio.to_thread(
        subprocess.run,
        [*words.split(), "-keyout", key, "-out", ca],
        check=True,
        capture_output=True,
    )
    server = RedisServer(
        tmp_path / "redis",
        f"tls-port {port}",
        f"tls-cert-file {ca}",
        f"tls-key-file {key}",
        "tls-auth-clients no",
        f"tls-ca-cert-file {ca}",
    )
    url = f"rediss://127.0.0.1:{port}"
    async with running(server):
        async with connected(bus_of(url, ca=ca)) as listener:
            assert listener.up == [True]
        async with connected(bus_of(url)) as listener:
            assert listener.up == [False]


async def test_bus_ends_at_once_at_any_moment_of_its_start(server):
    """A cancellation that the client library swallows must not keep it alive."""
    for steps in range(0, 120, 4):
        bus = bus_of(server.url)
        await bus.start(Listener())
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await bus.stop()
