"""Upgrades: tunnels where a route opts in, and nothing parsed behind one (T4)."""

import pytest
from tests.lane_kit import gateway, public, snapshot_of
from tests.recorder import Recorded, Talk, recording

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
