"""What of an upstream's answer reaches a client, and in which form (THREATS U1-U5).

What no client may get is in test_hostile_upstreams.py.
"""

import asyncio

import pytest
from tests.lane_kit import gateway, public, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording
from tests.wire.scripts import GET, OK, saying


async def test_u1_lane_takes_a_reset_for_no_end_of_a_body_delimited_by_closing():
    """An RST may have eaten the rest; only an orderly close ends such a body."""

    async def reset(_: Recorded, talk: Talk) -> bool:
        await talk.send(OK + b"\r\nhello")
        await go_on.wait()
        talk.reset()
        return False

    go_on = asyncio.Event()
    async with recording(reset) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await client.until(b"hello")
        go_on.set()
        with pytest.raises((EOFError, ConnectionError)):
            await client.response()


async def test_u1_lane_resets_an_http_1_0_client_whose_answer_broke():
    """Without chunks and length, only a reset says that the answer is not whole."""
    go_on = asyncio.Event()

    async def broken(_: Recorded, talk: Talk) -> bool:
        await talk.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await go_on.wait()
        return False

    async with recording(broken) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.until(b"hello")
        go_on.set()
        assert not await client.ended_cleanly()


async def test_lane_relays_a_body_that_ends_with_the_connection():
    """Such an answer is chunked towards an HTTP/1.1 client, which stays."""
    async with (
        recording(saying(OK + b"\r\nhello")) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        for _ in range(2):
            await client.send(GET)
            got = await client.response()
            assert got.body == b"hello"
            assert got.one("transfer-encoding") == "chunked"


async def test_u1_lane_drops_informational_answers():
    """100 and 103 are between the upstream and us."""
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + answer()
    )
    async with (
        recording(saying(data)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        await client.send(GET)
        await client.until(b"ok")
        assert client.buffer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert client.buffer.count(b"HTTP/1.1") == 1


async def test_u4_u5_lane_removes_hop_by_hop_and_internal_headers_of_answers():
    """What Connection lists, reserved names in any spelling, Server: none get out."""
    reply = answer(
        headers=b"Connection: X-Hop, Set-Cookie\r\nX-Hop: 1\r\nKeep-Alive: x\r\n"
        b"Set-Cookie: hop=1\r\nServer: internal/1\r\nX-Fastgate-Subject: bob\r\n"
        b"X_Fastgate_Token_Id: 1\r\nRemote-User: bob\r\nProxy-Authenticate: Basic\r\n"
        b"Upgrade: h2c\r\nX-Request-Id: theirs\r\nX-Kept: yes\r\n"
    )
    async with (
        recording(saying(reply)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        got = await gw.ask(GET)
        names = {name.lower() for name, _ in got.headers}
        assert names == {"x-kept", "date", "x-request-id", "content-length"}
        assert got.one("x-request-id") != "theirs"


async def test_u4_lane_keeps_cookies_one_by_one_in_order():
    """Set-Cookie lines are never joined (RFC 9110 section 5.3)."""
    reply = answer(headers=b"Set-Cookie: a=1, x\r\nX: y\r\nset-cookie: b=2\r\n")
    async with (
        recording(saying(reply)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        assert (await gw.ask(GET)).all("set-cookie") == ["a=1, x", "b=2"]


async def test_u3_u4_lane_neither_decompresses_nor_follows_nor_remembers():
    """Encoded bytes, redirects and cookies are the client's business (U3, U4)."""
    body = b"\x1f\x8bnot really gzip"
    reply = answer(
        body,
        status=b"302 Found",
        headers=b"Content-Encoding: gzip\r\nLocation: http://10.0.0.1/\r\n"
        b"Set-Cookie: a=1\r\n",
    )
    async with (
        recording(saying(reply, keep=True)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        for _ in range(2):
            await client.send(GET)
            got = await client.response()
            assert (got.status, got.body) == (302, body)
            assert got.one("location") == "http://10.0.0.1/"
        assert len(up.requests) == 2
        assert up.requests[1].all("cookie") == []
        assert up.requests[1].all("accept-encoding") == []


async def test_u2_lane_rewrites_the_reason_phrase():
    """The phrase is ours, from the code (U2)."""
    data = b"HTTP/1.1 200 <script>\r\nContent-Length: 0\r\n\r\n"
    async with (
        recording(saying(data)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        assert (await gw.ask(GET)).raw.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_u1_lane_sends_no_body_bytes_of_a_head_answer():
    """A body on HEAD is dropped with its connection (T18, U1)."""
    async with (
        recording(saying(answer(b"body"), keep=True)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await client.response(head_only=True)
        assert got.one("content-length") == "4"
        await client.send(GET)
        assert (await client.response()).body == b"body"
        assert up.connections == 2


async def test_u3_lane_streams_an_endless_answer_in_bounded_memory():
    """What the client has not taken is held up at the upstream, not in the gateway."""
    sent = 0

    async def endless(_: Recorded, talk: Talk) -> bool:
        nonlocal sent
        await talk.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        while not talk.writer.is_closing():
            await talk.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            sent += 65_536
        return False

    async with recording(endless) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        taken = 0
        async with asyncio.timeout(30):
            while taken < 32 * 1_048_576:
                taken += len(await client.reader.read(65_536))
                # Sockets on both sides and readers in between hold this much and more.
                assert sent - taken < 24 * 1_048_576
        client.reset()
        await up.until(lambda it: it.closed == 1)


async def test_u4_lane_mixes_no_cookies_between_clients():
    """Each client's cookies go up with its own requests, and come back to it alone."""

    async def own(request: Recorded, talk: Talk) -> bool:
        cookie = request.one("cookie") or b"none"
        await talk.send(answer(cookie, headers=b"Set-Cookie: %b\r\n" % cookie))
        return True

    async with recording(own) as up, gateway(snapshot_of(public(up.base))) as gw:
        for name in (b"Cookie: id=ann\r\n", b"Cookie: id=bob\r\n", b""):
            got = await gw.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b"\r\n")
            expected = name[8:-2].decode() or "none"
            assert (got.body.decode(), got.all("set-cookie")) == (expected, [expected])
        assert up.connections == 1
