"""The general lane's own: its start, its end, and what aiohttp hands to it."""

import asyncio
import gc
import socket
from dataclasses import replace

import aiohttp.http_parser
import pytest
from tests.lane_kit import eventually, gateway, limits, public, snapshot_of
from tests.recorder import recording

from fastgate._ext import http1_front
from fastgate.adapters.aiohttp_server.lane import GeneralLane
from fastgate.domain.snapshot import SnapshotCell
from fastgate.errors import StartError

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class NoHandler:
    async def handle(self, exchange) -> None:
        raise AssertionError("no request was sent")

    async def refuse(self, exchange, reason) -> None:
        raise AssertionError("no request was sent")


async def test_lane_refuses_to_start_without_the_c_parser(monkeypatch):
    """The error says what to do; there is no silent fall-back."""
    monkeypatch.setattr(
        aiohttp.http_parser,
        "HttpRequestParser",
        aiohttp.http_parser.HttpRequestParserPy,
    )
    with pytest.raises(StartError, match="AIOHTTP_NO_EXTENSIONS"):
        GeneralLane(NoHandler(), SnapshotCell(snapshot_of()), http1_front.Acceptor)


async def test_lane_drains_at_once_where_nobody_is_connected():
    """Nothing to wait for, also twice."""
    lane = GeneralLane(NoHandler(), SnapshotCell(snapshot_of()), http1_front.Acceptor)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await lane.start(sock)
    await lane.drain(60.0)
    await lane.drain(60.0)


async def test_lane_leaves_a_listening_socket_that_others_hold_open():
    """A supervisor's copy of the socket goes on to queue connections (SO_REUSEPORT)."""
    lane = GeneralLane(NoHandler(), SnapshotCell(snapshot_of()), http1_front.Acceptor)
    kept = socket.socket()
    kept.bind(("127.0.0.1", 0))
    await lane.start(kept.dup())
    await lane.drain(1.0)
    with socket.create_connection(kept.getsockname(), timeout=5):
        pass
    kept.close()


async def test_lane_forgets_each_connection_and_its_timers():
    """After many clients of every kind nothing is left over."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        for data in (GET, b"", b"GET", b"\x00\r\n\r\n", GET[:-2]):
            client = await gw.connect()
            await client.send(data)
            if data == GET:
                await client.response()
            client.close()
        await eventually(lambda: not gw.lane.live and not gw.lane.connections)
        gc.collect()
        assert not [
            task
            for task in asyncio.all_tasks()
            if "RequestHandler" in repr(task.get_coro())
        ]


async def test_lane_takes_new_limits_for_new_connections():
    """A reload changes what the next client may send, and leaves the others alone."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base))
        async with gateway(snapshot) as gw:
            old = await gw.connect()
            await old.send(GET)
            assert (await old.response()).status == 200
            gw.cell.current = replace(
                snapshot, version=2, limits=limits(request_line_bytes=64)
            )
            got = await gw.ask(b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            assert got.status == 414
            await old.send(GET)
            assert (await old.response()).status == 200
