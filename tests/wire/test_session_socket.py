"""Browsers are told by a WebSocket too; aiohttp's client is the judge of its frames."""

import asyncio
import contextlib

import aiohttp
import pytest
from tests.lane_kit import eventually, gateway, snapshot_of
from tests.recorder import recording
from tests.wire.test_lane_live import Session
from tests.wire.test_session_events import PATH, routes

from fastgate.domain.verdict import Reason

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of RFC 6455 section 1.3
HEAD = (
    b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    % PATH
)
UPGRADE = HEAD + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
PING = b"\x89\x82maskHH"  # payload "%)" under the mask "mask"


@contextlib.asynccontextmanager
async def watched():
    """A gateway, its session, and a browser's WebSocket on `session_events`."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        url = f"http://127.0.0.1:{gw.port}{PATH.decode()}"
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
            yield gw, session, socket
        assert up.requests == []


async def test_a_socket_says_logout_and_closes_with_4401_when_its_session_is_revoked():
    """What REQUIREMENTS.md S4.9 promises to browsers, within one look."""
    async with watched() as (gw, session, socket):
        session.reason = Reason.REVOKED
        gw.urgent += 1
        await gw.live.look()
        assert await socket.receive_json() == {"type": "logout"}
        last = await socket.receive()
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 4401)
        (line,) = await gw.logged(1)
        assert (line["status"], line["reason"]) == (101, "revoked")


async def test_a_socket_whose_session_may_be_good_says_try_again():
    """A stale view is no logout: nothing is said, and 1013 is no 4401."""
    async with watched() as (gw, session, socket):
        session.reason = Reason.STALE_REVOCATION
        gw.urgent += 1
        await gw.live.look()
        last = await socket.receive()
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 1013)


async def test_a_socket_goes_away_when_the_worker_drains():
    """The browser opens another one, at another worker."""
    async with watched() as (gw, _, socket):
        draining = asyncio.create_task(gw.lane.drain(5.0))
        last = await socket.receive()
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        await draining


async def test_a_socket_answers_pings_and_a_close_of_the_client():
    """As any server of the protocol; then the worker has room for another one."""
    async with watched() as (gw, _, socket):
        await socket.ping(b"still there?")
        assert len(gw.live) == 1
        await socket.close(code=1000)
        assert socket.close_code == 1000
        await eventually(lambda: len(gw.live) == 0)


async def test_a_socket_takes_no_data():
    """It has nothing to ask for: 1003, and nothing of it is kept."""
    async with watched() as (gw, _, socket):
        await socket.send_str("hello")
        last = await socket.receive()
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 1003)
        await eventually(lambda: len(gw.live) == 0)


async def opened(gw):
    client = await gw.connect()
    await client.send(UPGRADE)
    await client.until(b"\r\n\r\n")
    return client


async def test_the_handshake_is_that_of_the_protocol():
    """The sample of RFC 6455 section 1.3, byte for byte."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        client = await opened(gw)
        head = client.buffer
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n" in head
        assert b"\r\nUpgrade: websocket\r\n" in head
        assert b"Transfer-Encoding" not in head


@pytest.mark.parametrize(
    ("name", "sent", "code"),
    [
        ("not masked", b"\x89\x02hi", 1002),
        ("reserved bit", b"\xc9\x80mask", 1002),
        ("unknown opcode", b"\x8b\x80mask", 1002),
        ("ping of many bytes", b"\x89\xfe\x00\x7emask" + b"x" * 126, 1002),
        ("ping in two parts", b"\x09\x80mask", 1002),
        ("data", b"\x81\x85maskhello", 1003),
        ("endless data", b"\x82\xff\x7f" + b"\xff" * 7 + b"mask", 1003),
        ("close with a code that never travels", b"\x88\x82mask\x6e\x8f", 1002),
        ("close with half a code", b"\x88\x81maskx", 1002),
    ],
)
async def test_broken_frames_end_a_socket(name, sent, code):
    """RFC 6455 section 5: fail the connection, and say why."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        client = await opened(gw)
        await client.send(sent)
        raw = await client.read_to_end()
        assert raw.endswith(b"\x88\x02" + code.to_bytes(2, "big")), name
        await eventually(lambda: len(gw.live) == 0)


async def test_frames_that_come_byte_by_byte_are_frames():
    """A ping is answered once all of it is here, and not before."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        client = await opened(gw)
        for at in range(len(PING)):
            await client.send(PING[at : at + 1])
        await client.until(b"\x8a\x02%)")


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"Sec-WebSocket-Version: 13\r\n\r\n",
        HEAD + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
        HEAD + b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n",
        HEAD + b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n",
    ],
    ids=["no key", "short key", "old version", "no version"],
)
async def test_a_handshake_that_is_none_is_refused(head):
    """400 and closed, and no stream is open."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        assert (await gw.ask(head)).status == 400
        assert len(gw.live) == 0
        assert up.requests == []
