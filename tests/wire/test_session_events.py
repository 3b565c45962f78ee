"""Browsers are told when their session is revoked, by a stream that then ends."""

import asyncio
from dataclasses import replace

from tests.lane_kit import eventually, gateway, public, snapshot_of
from tests.recorder import recording
from tests.wire.test_lane_live import Session, protected

from fastgate.domain.verdict import Reason
from fastgate.hotpath.session_events import SessionEvents

PATH = b"/session-events"
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % PATH
LOGGED_OUT = b'event: logged-out\ndata: {"type":"logout"}\n\n'


def routes(base):
    events = replace(protected(base), prefix=PATH.decode(), session_events=True)
    return protected(base), events


async def watching(gw, data=GET):
    client = await gw.connect()
    await client.send(data)
    await client.until(b": watching\n\n")
    return client


async def test_a_stream_says_logged_out_when_its_session_is_revoked_and_ends():
    """Within the look that follows an urgent event; it never reaches an upstream."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        client = await watching(gw)
        assert b"\r\nContent-Type: text/event-stream\r\n" in client.buffer
        session.reason = Reason.REVOKED
        gw.urgent += 1
        await gw.live.look()
        got = await client.response()
        assert got.body.endswith(LOGGED_OUT)
        assert up.requests == []
        (line,) = await gw.logged(1)
        assert (line["status"], line["reason"]) == (200, "revoked")


async def test_a_stream_says_so_after_an_ordinary_revocation_too():
    """It is judged each second, whatever `max_staleness` is."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        client = await watching(gw)
        session.reason = Reason.REVOKED
        gw.clock.advance(1.0)
        await gw.live.look()
        assert (await client.response()).body.endswith(LOGGED_OUT)


async def test_a_stream_whose_session_may_be_good_ends_without_a_word():
    """A stale view is no logout."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        client = await watching(gw)
        session.reason = Reason.STALE_REVOCATION
        gw.urgent += 1
        await gw.live.look()
        assert (await client.response()).body == b": watching\n\n"


async def test_a_stream_is_refused_like_any_request_of_its_route():
    """No token, no stream; and only GET, and only that path."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        post = GET.replace(b"GET", b"POST")
        assert (await gw.ask(post)).status == 405
        assert (await gw.ask(GET.replace(PATH, PATH + b"/more"))).status == 404
        session.reason = Reason.REVOKED
        assert (await gw.ask(GET)).status == 401
        assert up.requests == []


async def test_a_worker_has_a_bounded_number_of_streams(monkeypatch):
    """One too many is 503; when one has ended there is room again."""
    session = Session()
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = session
        monkeypatch.setattr(
            gw.relay, "_events", SessionEvents(gw.live, gw.clock, most=2)
        )
        first, _ = await watching(gw), await watching(gw)
        assert (await gw.ask(GET)).status == 503
        first.close()
        await eventually(lambda: len(gw.live) == 1)
        await watching(gw)


async def test_streams_end_when_the_worker_drains():
    """They have no end of their own to wait for."""
    async with recording() as up, gateway(snapshot_of(*routes(up.base))) as gw:
        gw.gate.script = Session()
        client = await watching(gw)
        draining = asyncio.create_task(gw.lane.drain(5.0))
        assert await client.ended_cleanly()
        await draining
        assert LOGGED_OUT not in client.buffer


async def test_a_route_without_events_is_forwarded():
    """The path means nothing where no route has it."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        assert (await gw.ask(GET)).status == 200
        assert len(up.requests) == 1
