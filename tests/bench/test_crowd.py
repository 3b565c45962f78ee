"""A crowd has the size that was asked for, and knows what became of it."""

import asyncio
import contextlib

import pytest

from fastgate.errors import StartError
from fastgate_bench.crowd import Crowd, CrowdPlan, largest

HEAD = "GET / HTTP/1.1\r\nHost: a\r\n"


@contextlib.asynccontextmanager
async def server(handle):
    """Serve connections with a coroutine; returns the port."""
    tasks = set()

    async def accept(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=256)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def plan(port, **changes):
    """A crowd of twenty."""
    return CrowdPlan(**({"host": "127.0.0.1", "port": port, "count": 20} | changes))


async def test_idle_crowd_stands_once_each_has_its_answer():
    """An idle connection is one after an answer, or it would be a slow one."""
    peers, heads = set(), []

    async def handle(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        peers.add(writer.get_extra_info("peername")[0])
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()

    async with server(handle) as port:
        idle = plan(port, first=f"{HEAD}\r\n", sources=4)
        async with Crowd.of(idle) as crowd:
            state = await crowd.state()
    assert (state.standing, state.opened, state.closed) == (20, 20, 0)
    assert state.statuses == {"204": 20}
    assert heads == [f"{HEAD}\r\n".encode()] * 20
    assert peers == {f"127.0.0.{n}" for n in (2, 3, 4, 5)}


async def test_slow_crowd_drips_and_comes_back_where_it_is_closed():
    """A gateway that ends slow heads meets as many of them again."""
    closed = asyncio.Event()
    count = 0

    async def handle(reader, writer):
        nonlocal count
        await reader.readexactly(len(HEAD))
        await reader.readuntil(b"X-Slow: 1\r\n")
        count += 1
        if count <= 15:
            writer.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            return
        if count == 20:
            closed.set()
        await reader.read()

    async with server(handle) as port:
        slow = plan(port, first=HEAD, drip="X-Slow: 1\r\n", drip_s=0.1)
        async with Crowd.of(slow) as crowd, asyncio.timeout(20):
            await closed.wait()
            state = await crowd.state()
    assert state.closed == state.statuses["408"] == 15
    assert state.opened >= 20 + 15 - 5


async def test_crowd_that_reads_nothing_leaves_the_sender_waiting():
    """What it does not take must stay where its memory is measured."""
    waits, sending = asyncio.Event(), []

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1_000)
        writer.write(b"x" * (16 << 20))
        sending.append(writer.transport)
        waits.set()
        await reader.read()

    async with server(handle) as port:
        busy = plan(port, count=1, first=f"{HEAD}\r\n", body_bytes=1_000, reads=False)
        async with Crowd.of(busy) as crowd, asyncio.timeout(20):
            await waits.wait()
            state = await crowd.state()
            assert sending[0].get_write_buffer_size() > 1 << 20
    # What came before it stopped reading is a few KiB, and may count as an answer.
    assert state.standing == 1


async def test_crowd_says_so_when_it_is_not_let_in(monkeypatch):
    """A figure for a crowd that never stood would be one for nobody."""
    monkeypatch.setattr("fastgate_bench.crowd._READY_S", 0.3)

    async def handle(reader, writer):
        pass

    async with server(handle) as port:
        refused = plan(port, first=f"{HEAD}\r\n")
        with pytest.raises(StartError, match="only 0 of 20 connections stand"):
            async with Crowd.of(refused):
                pass


def test_crowd_is_never_larger_than_the_system_allows(monkeypatch):
    """Descriptors are bounded; the report has the number that stood."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (1_024, 4_096))
    assert largest(10_000) == 3_896
    assert largest(100) == 100
