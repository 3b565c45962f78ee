"""Slow and silent clients: each wait has its timer (T16).

Timers are short here; no test measures how long anything took.
"""

import asyncio

import pytest
from tests.lane_kit import gateway, public, snapshot_of, timers
from tests.recorder import recording
from tests.wire.scripts import GET


async def test_t16_lane_closes_a_connection_that_never_says_anything():
    """No first byte in time: closed without an answer."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), timers=timers(first_byte_s=0.05))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            assert await client.read_to_end() == b""
            assert not gw.log.lines


@pytest.mark.parametrize(
    "start",
    [b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX"],
    ids=["in_line", "in_headers"],
)
async def test_t16_lane_answers_408_to_a_head_that_takes_too_long(start):
    """Also where a byte comes now and then (slowloris)."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), timers=timers(head_s=0.1))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            await client.send(start)

            async def drip() -> None:
                while not client.writer.is_closing():
                    await client.send(b"x")
                    await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            got = await client.response()
            dripping.cancel()
            assert (got.status, got.code) == (408, "request_timeout")
            assert got.one("connection") == "close"
            (line,) = await gw.logged(1)
            assert line["reason"] == "request_timeout"


async def test_t16_lane_times_the_head_of_a_later_request_too():
    """The timer runs again for each head on the connection."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), timers=timers(head_s=0.05))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            await client.send(GET)
            assert (await client.response()).status == 200
            await client.send(b"GET /")
            assert (await client.response()).status == 408


async def test_t16_lane_answers_408_to_a_body_that_stops():
    """Idle in the body: 408, and the upstream's half request is dropped."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), timers=timers(body_idle_s=0.05))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"
            )
            got = await client.response()
            assert (got.status, got.one("connection")) == (408, "close")
            await up.until(lambda it: it.closed == 1)
            assert not up.requests


async def test_t16_lane_answers_408_to_a_body_below_the_minimum_rate():
    """Bytes that come just often enough are still too few (500 a second)."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), timers=timers(body_idle_s=0.1))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n"
            )

            async def drip() -> None:
                while not client.writer.is_closing():
                    await client.send(b"x")
                    await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            got = await client.response()
            dripping.cancel()
            assert got.status == 408


async def test_lane_closes_an_idle_connection_after_its_keep_alive():
    """A connection that waits too long for its next request is closed cleanly."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), timers=timers(keep_alive_s=0.05))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            await client.send(GET)
            assert (await client.response()).status == 200
            assert await client.ended_cleanly()
