"""Bodies, waits and tunnels: back-pressure, Expect, slow and gone clients, WebSocket.

THREATS T3, T4, T16, U3. Timers are short here; no test measures how long anything took.
"""

import asyncio

import pytest
from tests.fakes import FakeGate, decided
from tests.lane_kit import Gateway, gateway, public, snapshot_of, timers
from tests.recorder import Recorded, Talk, answer, recording

from fastgate.domain.verdict import Reason, Verdict

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1 << 20


async def test_lane_streams_a_large_body_up_and_down():
    """Ten mebibytes arrive whole in both directions."""
    body = bytes(range(256)) * (10 * MIB // 256)

    async def echo(request: Recorded, talk: Talk) -> bool:
        await talk.send(answer(request.body))
        return True

    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        sending = asyncio.create_task(client.send(head + body))
        got = await client.response()
        await sending
        assert got.body == body


async def test_lane_passes_bytes_on_before_the_body_ends():
    """The upstream sees a first piece while the client still waits to send more."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        await up.until(lambda it: it.received and it.received[0].endswith(b"abc"))
        await client.send(b"def")
        assert (await client.response()).status == 200
        assert up.requests[0].body == b"abcdef"


async def test_lane_passes_an_event_stream_on_as_it_comes():
    """Head and each event reach the client while the answer goes on."""
    said = asyncio.Event()

    async def events(_: Recorded, talk: Talk) -> bool:
        await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await said.wait()
        await talk.send(b"9\r\ndata: 1\n\n\r\n")
        return await talk.gone()

    async with recording(events) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        said.set()
        await client.until(b"data: 1\n\n")
        client.close()
        await up.until(lambda it: it.closed == 1)


async def test_t16_a_client_that_does_not_read_pauses_the_upstream():
    """Far less than the upstream would say is taken from it meanwhile (U3)."""
    sent = 0

    async def flood(_: Recorded, talk: Talk) -> bool:
        nonlocal sent
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not talk.writer.is_closing():
            await talk.send(b"x" * MIB)
            sent += MIB
        return False

    async with recording(flood) as up:
        route = public(up.base, idle_timeout_s=0.3)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            client.writer.transport.pause_reading()
            await client.send(GET)
            (line,) = await gw.logged(1)
            # The client was given up on; socket buffers were all that filled.
            assert line["reason"] == "request_timeout"
            assert sent < 64 * MIB
            await up.until(lambda it: it.closed == 1)


async def test_t16_an_upstream_that_does_not_read_pauses_the_client():
    """The body waits at the client, and past the idle limit the answer is 504."""

    async def deaf(talk: Talk) -> None:
        talk.writer.transport.pause_reading()
        await closing.wait()

    closing = asyncio.Event()
    async with recording(on_connect=deaf) as up:
        route = public(up.base, idle_timeout_s=0.3)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            size = 256 * MIB
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            )
            client.writer.write(b"x" * (64 * MIB))
            got = await client.response()
            assert (got.status, got.code) == (504, "upstream_timeout")
            (line,) = await gw.logged(1)
            assert line["bytes_in"] < 32 * MIB
            client.reset()
            closing.set()


async def test_lane_stops_the_upstream_when_the_client_is_gone():
    """A client that leaves ends the exchange on the other side too; 499 in the log."""

    async def silent(_: Recorded, talk: Talk) -> bool:
        return await talk.gone()

    async with recording(silent) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await up.until(lambda it: len(it.requests) == 1)
        client.reset()
        await up.until(lambda it: it.closed == 1)
        (line,) = await gw.logged(1)
        assert (line["status"], line["verdict"]) == (499, "allow")


async def test_lane_completes_no_request_whose_client_left_in_its_middle():
    """Half a body is never made a whole one (T1)."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n"
        )
        await up.until(lambda it: it.received and b"abc" in it.received[0])
        client.close()
        await up.until(lambda it: it.closed == 1)
        assert not up.requests


# -- Expect ---------------------------------------------------------------------------


async def test_t3_lane_sends_100_once_the_gate_has_allowed():
    """The client is told to go on, and the expectation is met here, not upstream."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
            b"Content-Length: 3\r\n\r\n"
        )
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.response()).status == 200
        assert up.requests[0].body == b"abc"
        assert up.requests[0].all("expect") == []


async def test_t3_lane_refuses_before_the_body_of_a_client_that_expects():
    """No 100, the final answer and the end; the body is never read."""
    async with recording() as up:
        gate = FakeGate(
            lambda h, s, _: decided(Verdict.DENY, s, h, reason=Reason.EXPIRED)
        )
        async with gateway(snapshot_of(public(up.base)), gate=gate) as gw:
            client = await gw.connect()
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                b"Content-Length: 3\r\n\r\n"
            )
            raw = await client.read_to_end()
            assert raw.startswith(b"HTTP/1.1 401 ")
            assert b"100 Continue" not in raw
            assert b"Connection: close" in raw


async def test_t3_lane_ignores_expect_in_http_1_0():
    """RFC 9110 section 10.1.1; the body comes without being asked for."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
        )
        raw = await client.read_to_end()
        assert raw.startswith(b"HTTP/1.1 200 ")
        assert up.requests[0].body == b"abc"


async def test_lane_closes_after_refusing_a_body_it_did_not_read():
    """What the client still sends is not taken for its next request (T1)."""
    async with recording() as up:
        gate = FakeGate(
            lambda h, s, _: decided(Verdict.DENY, s, h, reason=Reason.EXPIRED)
        )
        async with gateway(snapshot_of(public(up.base)), gate=gate) as gw:
            client = await gw.connect()
            inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + inner
            )
            got = await client.response()
            assert (got.status, got.one("connection")) == (401, "close")
            await client.send(inner)
            assert await client.ended_cleanly()
            assert client.buffer == b""
            assert len(gw.log.lines) == 1


# -- timers ---------------------------------------------------------------------------


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


# -- WebSocket ------------------------------------------------------------------------

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def echo_tunnel(request: Recorded, talk: Talk) -> bool:
    await talk.send(SWITCH)
    at = len(talk.buffer)
    while await talk.more():
        await talk.send(bytes(talk.buffer[at:]).upper())
        at = len(talk.buffer)
    return False


async def test_lane_tunnels_a_websocket_where_the_route_opts_in():
    """After the upstream's 101 bytes pass both ways unread, whatever they are."""
    async with (
        recording(echo_tunnel) as up,
        gateway(snapshot_of(public(up.base, websocket=True))) as gw,
    ):
        client = await gw.connect()
        await client.send(UPGRADE)
        got = await client.response()
        assert got.status == 101
        assert got.one("upgrade") == "websocket"
        assert got.one("connection") == "Upgrade"
        assert got.one("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        await client.send(b"GET /not-http HTTP/1.1\r\n\r\n")
        await client.until(b"GET /NOT-HTTP HTTP/1.1\r\n\r\n")
        assert len(up.requests) == 1
        assert up.requests[0].one("connection") == b"Upgrade"
        assert up.requests[0].one("upgrade") == b"websocket"
        client.close()
        await up.until(lambda it: it.closed == 1)
        (line,) = await gw.logged(1)
        assert (line["status"], line["bytes_in"]) == (101, 26)


async def test_lane_tunnels_bytes_that_came_right_behind_the_heads():
    """Early frames of either side are part of the tunnel."""

    async def eager(_: Recorded, talk: Talk) -> bool:
        await talk.send(SWITCH + b"first")
        return await talk.gone()

    async with (
        recording(eager) as up,
        gateway(snapshot_of(public(up.base, websocket=True))) as gw,
    ):
        client = await gw.connect()
        await client.send(UPGRADE + b"early")
        await client.until(b"first")
        await up.until(lambda it: it.received[0].endswith(b"early"))


async def test_lane_ends_a_tunnel_when_the_upstream_does():
    """What it said last still arrives."""

    async def short(_: Recorded, talk: Talk) -> bool:
        await talk.send(SWITCH + b"bye")
        return False

    async with (
        recording(short) as up,
        gateway(snapshot_of(public(up.base, websocket=True))) as gw,
    ):
        client = await gw.connect()
        await client.send(UPGRADE)
        assert (await client.read_to_end()).endswith(b"bye")


async def test_lane_ends_a_tunnel_in_which_nothing_moves():
    """Past the route's idle limit both sides are closed."""
    async with recording(echo_tunnel) as up:
        route = public(up.base, websocket=True, idle_timeout_s=0.05)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            await client.send(UPGRADE)
            await client.read_to_end()
            await up.until(lambda it: it.closed == 1)


async def test_t4_lane_removes_upgrades_where_the_route_does_not_opt_in():
    """The request goes up as a plain one, and the connection ends with its answer."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(UPGRADE)
        raw = await client.read_to_end()
        assert raw.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in raw
        assert up.requests[0].all("upgrade") == []
        assert up.requests[0].all("connection") == []


@pytest.mark.parametrize("websocket", [False, True])
async def test_ghsa_mfx4_hv73_q22v_bytes_behind_a_declined_upgrade_are_not_parsed(
    websocket,
):
    """A request hidden behind an upgrade that was declined reaches nobody (T4)."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    async with recording() as up:
        route = public(up.base, websocket=websocket)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            await client.send(UPGRADE + smuggled)
            await client.send(smuggled)
            raw = await client.read_to_end()
            assert raw.count(b"HTTP/1.1 200") == 1
            assert [request.target for request in up.requests] == [b"/ws"]
            assert len(gw.log.lines) == 1


async def test_t4_lane_strips_h2c_and_parses_nothing_behind_it():
    """An upgrade to HTTP/2 would bypass every check."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        raw = await client.read_to_end()
        assert raw.count(b"HTTP/1.1 ") == 1
        for name in ("upgrade", "http2-settings", "connection"):
            assert up.requests[0].all(name) == []


async def test_lane_answers_502_for_a_switch_to_something_else():
    """A 101 that names no websocket is no answer to our question."""

    async def odd(_: Recorded, talk: Talk) -> bool:
        await talk.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n"
            b"Connection: Upgrade\r\n\r\n"
        )
        return await talk.gone()

    async with (
        recording(odd) as up,
        gateway(snapshot_of(public(up.base, websocket=True))) as gw,
    ):
        assert (await gw.ask(UPGRADE)).status == 502


async def test_lane_serves_a_hundred_clients_at_once_each_its_own():
    """Tagged requests never get each other's answers (T24)."""

    async def echo(request: Recorded, talk: Talk) -> bool:
        await talk.send(answer(request.target))
        return True

    async def client_of(gw: Gateway, number: int) -> None:
        client = await gw.connect()
        for turn in range(5):
            target = b"/%d/%d" % (number, turn)
            await client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert (await client.response()).body == target

    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        await asyncio.gather(*(client_of(gw, number) for number in range(100)))
