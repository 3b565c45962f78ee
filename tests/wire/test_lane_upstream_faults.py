"""Upstreams that refuse, are late, break off or answer too early (THREATS F18-F21, U6).

A fault before the answer began is 502, 503 or 504; after that the client's connection
is cut. Either way the upstream connection is not used again.
"""

import asyncio
import socket

import pytest
from tests.lane_kit import gateway, public, service, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording
from tests.wire.scripts import GET, OK

from fastgate.domain.route import Route


async def test_u6_f21_lane_retries_a_get_once_when_an_idle_connection_had_closed():
    """The upstream closes as we send: the client sees no error."""

    async def closing(request: Recorded, talk: Talk) -> bool:
        if len(up.requests) == 2:
            talk.reset()
            return False
        await talk.send(answer())
        return True

    async with recording(closing) as up, gateway(snapshot_of(public(up.base))) as gw:
        assert (await gw.ask(GET)).status == 200
        assert (await gw.ask(GET)).status == 200
        assert len(up.requests) == 3
        assert up.connections == 2


async def test_u6_f21_lane_never_doubles_a_post():
    """A POST whose connection broke is 502: the upstream may have acted on it."""

    async def closing(request: Recorded, talk: Talk) -> bool:
        if request.method == "POST":
            talk.reset()
            return False
        await talk.send(answer())
        return True

    async with recording(closing) as up, gateway(snapshot_of(public(up.base))) as gw:
        assert (await gw.ask(GET)).status == 200
        got = await gw.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert len(up.requests) == 2


async def test_u6_f21_lane_does_not_retry_once_an_answer_began():
    """One byte of an answer, and the request was served as far as we can know."""

    async def half(request: Recorded, talk: Talk) -> bool:
        if len(up.requests) == 2:
            await talk.send(b"HTTP/1.1 2")
            return False
        await talk.send(answer())
        return True

    async with recording(half) as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(GET)
        assert (await gw.ask(GET)).status == 502
        assert len(up.requests) == 2


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def test_f18_lane_answers_502_when_the_upstream_refuses_then_503():
    """Refused is `upstream_refused`; after some failures the region counts as down."""
    base = f"http://127.0.0.1:{free_port()}"
    async with gateway(snapshot_of(public(base))) as gw:
        seen = [(await gw.ask(GET)).code for _ in range(4)]
        assert seen == ["upstream_refused"] * 3 + ["region_down"]


async def test_f18_lane_tries_the_next_address_of_the_region():
    """A refused connection costs the client nothing while another address lives."""
    async with recording() as up:
        dead = f"http://127.0.0.1:{free_port()}"
        route = Route(0, "r", "/", service(dead, up.base))
        async with gateway(snapshot_of(route)) as gw:
            assert [(await gw.ask(GET)).status for _ in range(8)] == [200] * 8
            assert dead in gw.health.ejected(gw.clock.boot_ns())


async def test_f18_lane_never_leaves_the_region():
    """The other region's address is not tried, whatever happens at home (R3)."""
    async with recording() as up:
        dead = f"http://127.0.0.1:{free_port()}"
        route = Route(0, "r", "/", service(dead, us=(up.base,)))
        async with gateway(snapshot_of(route)) as gw:
            for _ in range(5):
                assert (await gw.ask(GET)).status in {502, 503}
            assert not up.received


async def test_lane_answers_503_where_the_service_lacks_the_region():
    """`region_unavailable`, and Retry-After."""
    route = Route(0, "r", "/", service())
    async with gateway(snapshot_of(route)) as gw:
        got = await gw.ask(GET)
        assert (got.status, got.code) == (503, "region_unavailable")


async def test_f18_lane_answers_504_when_nothing_takes_the_connection():
    """A full backlog drops SYNs: connecting takes for ever, and is cut short."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        base = f"http://127.0.0.1:{full.getsockname()[1]}"
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                fillers.append(filler)
            route = public(base, connect_timeout_s=0.05)
            async with gateway(snapshot_of(route)) as gw:
                got = await gw.ask(GET)
                assert (got.status, got.code) == (504, "upstream_timeout")
        finally:
            for filler in fillers:
                filler.close()


async def test_f19_lane_answers_504_when_no_answer_begins():
    """First byte too late: 504, and the upstream connection is gone."""

    async def silent(_: Recorded, talk: Talk) -> bool:
        return await talk.gone()

    async with recording(silent) as up:
        route = public(up.base, upstream_timeout_s=0.05)
        async with gateway(snapshot_of(route)) as gw:
            got = await gw.ask(GET)
            assert (got.status, got.code) == (504, "upstream_timeout")
            await up.until(lambda it: it.closed == 1)


async def test_u3_f19_lane_cuts_an_answer_that_stops_in_its_middle():
    """Idle in the body: the client's connection is cut, not ended."""

    async def stops(_: Recorded, talk: Talk) -> bool:
        await talk.send(OK + b"Content-Length: 10\r\n\r\nhello")
        return await talk.gone()

    async with recording(stops) as up:
        route = public(up.base, idle_timeout_s=0.05)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            await client.send(GET)
            with pytest.raises((EOFError, ConnectionError)):
                await client.response()
            await up.until(lambda it: it.closed == 1)
            (line,) = await gw.logged(1)
            assert line["reason"] == "upstream_timeout"


async def test_u3_lane_ends_an_exchange_at_its_total_limit():
    """However busy it is: past the total, the exchange is over."""

    async def dripping(_: Recorded, talk: Talk) -> bool:
        await talk.send(OK + b"\r\n")
        while not talk.writer.is_closing():
            await talk.send(b"x")
            await asyncio.sleep(0.005)
        return False

    async with recording(dripping) as up:
        route = public(up.base, total_timeout_s=0.1)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            await client.send(GET)
            with pytest.raises((EOFError, ConnectionError)):
                await client.response()


async def test_u6_lane_relays_an_answer_that_comes_before_the_body_ended():
    """A 413 of the upstream reaches a client that still sends; then both close."""

    async def early(talk: Talk) -> None:
        while b"\r\n\r\n" not in talk.buffer:
            await talk.more()
        await talk.send(answer(b"no", status=b"413 Content Too Large"))
        await talk.gone()

    async with (
        recording(on_connect=early) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello"
        )
        got = await client.response()
        assert (got.status, got.body) == (413, b"no")
        assert got.one("connection") == "close"
        await up.until(lambda it: it.closed == 1)


async def test_f19_lane_blames_no_address_for_answers_that_are_late_or_malformed():
    """One bad resource, asked for on purpose, must not take its address away."""

    async def odd(request: Recorded, talk: Talk) -> bool:
        if request.target == b"/slow":
            return await talk.gone()
        await talk.send(b"garbage\r\n\r\n" if request.target == b"/bad" else answer())
        return True

    async with recording(odd) as up:
        route = public(up.base, upstream_timeout_s=0.02)
        async with gateway(snapshot_of(route)) as gw:
            for _ in range(4):
                for target, status in ((b"/slow", 504), (b"/bad", 502)):
                    got = await gw.ask(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
                    assert got.status == status
            assert not gw.health.ejected(gw.clock.boot_ns())
            assert (await gw.ask(GET)).status == 200


async def test_f18_lane_ejects_an_address_that_hangs_up_without_a_word():
    """Accepting and closing is what a dead service behind a balancer does."""

    async def hang_up(talk: Talk) -> None:
        await talk.more()

    async with (
        recording(on_connect=hang_up) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        seen = [(await gw.ask(GET)).code for _ in range(4)]
        assert seen == ["bad_upstream_response"] * 3 + ["region_down"]


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"Content-Length: 5\r\n\r\nhello", id="length"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="chunked"
        ),
    ],
)
async def test_u6_f21_lane_sends_no_body_twice(framing):
    """PUT may be repeated, but not when a byte of its body was sent."""

    async def closing(request: Recorded, talk: Talk) -> bool:
        if request.method == "PUT":
            talk.reset()
            return False
        await talk.send(answer())
        return True

    async with recording(closing) as up, gateway(snapshot_of(public(up.base))) as gw:
        assert (await gw.ask(GET)).status == 200
        got = await gw.ask(b"PUT / HTTP/1.1\r\nHost: a\r\n" + framing)
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert [request.method for request in up.requests] == ["GET", "PUT"]


async def test_u6_lane_retries_only_on_a_connection_that_was_used_before():
    """A fresh one that breaks is the upstream's fault, not a race with its timer."""

    async def resetting(_: Recorded, talk: Talk) -> bool:
        talk.reset()
        return False

    async with recording(resetting) as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(GET)
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert (len(up.requests), up.connections) == (1, 1)


async def test_u6_lane_retries_once_and_no_more():
    """Where the second connection breaks as well, the client is told."""

    async def closing(_: Recorded, talk: Talk) -> bool:
        if len(up.requests) > 1:
            talk.reset()
            return False
        await talk.send(answer())
        return True

    async with recording(closing) as up, gateway(snapshot_of(public(up.base))) as gw:
        assert (await gw.ask(GET)).status == 200
        assert (await gw.ask(GET)).status == 502
        assert (len(up.requests), up.connections) == (3, 2)
