"""The general lane over sockets: a request goes up as it came, an answer comes down."""

import asyncio

import pytest
from tests.fakes import FakeMeter
from tests.lane_kit import gateway, limits, public, service, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording

from fastgate.domain.route import Route
from fastgate.hotpath.tally import Tally


async def never(_: Recorded, talk: Talk) -> bool:
    """Read the request and say nothing."""
    return await talk.gone()


GET = b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"


async def test_lane_forwards_a_request_byte_for_byte():
    """Raw path, query and body reach the upstream as the client sent them."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(
            b"POST /a%2Db/%41;x=1?q=%2F%27&r={} HTTP/1.1\r\nHost: api.example\r\n"
            b"Content-Length: 5\r\nX-One: a\r\nx-one: \xe9\r\n\r\nhello"
        )
        assert (got.status, got.body) == (200, b"ok")
        (request,) = up.requests
        assert request.target == b"/a%2Db/%41;x=1?q=%2F%27&r={}"
        assert request.body == b"hello"
        assert request.all("x-one") == [b"a", b"\xe9"]
        assert request.one("host") == b"api.example"
        assert request.one("content-length") == b"5"


async def test_lane_keeps_a_connection_for_the_next_request_on_both_sides():
    """Two requests of one client use one connection each way."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        for _ in range(2):
            await client.send(GET)
            assert (await client.response()).status == 200
        assert up.connections == 1


async def test_lane_answers_pipelined_requests_in_order():
    """Each of many requests sent at once gets its own answer."""

    async def echo(request: Recorded, talk: Talk) -> bool:
        await talk.send(answer(request.target))
        return True

    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"".join(
                b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(40)
            )
        )
        bodies = [(await client.response()).body for _ in range(40)]
        assert bodies == [b"/%d" % number for number in range(40)]


async def test_lane_reframes_chunked_bodies_in_both_directions():
    """Chunk borders, extensions and trailers end at the gateway; the bytes do not."""

    async def chunked(request: Recorded, talk: Talk) -> bool:
        await talk.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
            b"3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nX-T: secret\r\n\r\n"
        )
        return True

    async with recording(chunked) as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: no\r\n\r\n"
        )
        assert got.body == b"abcdefg"
        assert b"secret" not in got.raw
        (request,) = up.requests
        assert request.body == b"hello!"
        assert request.one("transfer-encoding") == b"chunked"
        assert b"ext" not in request.raw
        assert b"X-Trailer" not in request.raw


async def test_lane_speaks_http_1_0_to_a_client_that_does():
    """No chunks, and the connection ends with the answer."""

    async def chunked(request: Recorded, talk: Talk) -> bool:
        await talk.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )
        return True

    async with recording(chunked) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        raw = await client.read_to_end()
        assert raw.endswith(b"\r\nConnection: close\r\n\r\nok")
        assert b"chunked" not in raw
        assert up.requests[0].one("host") == up.base.removeprefix("http://").encode()


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not Modified")],
)
async def test_lane_sends_no_body_where_there_is_none(method, status):
    """HEAD, 204 and 304 end with their head, and the connection goes on."""

    async def empty(request: Recorded, talk: Talk) -> bool:
        length = b"Content-Length: 10\r\n" if b"204" not in status else b""
        await talk.send(b"HTTP/1.1 %b\r\n%b\r\n" % (status, length))
        return True

    async with recording(empty) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        for _ in range(2):
            await client.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            got = await client.response(head_only=True)
            assert got.status == int(status[:3])
            length = None if got.status == 204 else "10"
            assert got.one("content-length") == length
        assert up.connections == 1


async def test_lane_writes_one_access_line_a_request():
    """The line says what happened, and nothing of query, token or header values."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(
            b"GET /p?secret-query HTTP/1.1\r\nHost: a\r\n"
            b"Authorization: Bearer s3cr3t\r\n"
            b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
            b"\r\n"
        )
        (line,) = await gw.logged(1)
        assert line["status"] == 200
        assert line["route"] == "public"
        assert line["region"] == "eu"
        assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert line["request_id"] == up.requests[0].one("x-request-id").decode()
        assert "s3cr3t" not in repr(line)
        assert "secret-query" not in repr(line)


async def test_lane_writes_later_lines_like_the_first():
    """What lines of one kind share is spelled once, what differs each time."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        for _ in range(3):
            await gw.ask(GET)
        await gw.ask(GET.replace(b"GET", b"HEAD"), head_only=True)
        lines = await gw.logged(4)
        assert [line["method"] for line in lines] == ["GET", "GET", "GET", "HEAD"]
        sent = [one.one("x-request-id").decode() for one in up.requests]
        assert [line["request_id"] for line in lines] == sent
        assert len({frozenset(line) for line in lines}) == 1
        assert {line["peer"] for line in lines} == {"127.0.0.1"}
        assert all(line["bytes_out"] == lines[0]["bytes_out"] for line in lines[1:3])


async def test_lane_answers_404_where_no_route_serves_the_path():
    """The upstream is not contacted, and the connection goes on."""
    async with recording() as up:
        route = Route(0, "api", "/api/", service(up.base))
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            await client.send(GET)
            got = await client.response()
            assert (got.status, got.code) == (404, "no_route")
            assert got.problem["request_id"] == got.one("x-request-id")
            assert got.problem["type"] == "urn:fastgate:problem:no_route"
            await client.send(b"GET /api/ HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.response()).status == 200
            assert len(up.requests) == 1


async def test_lane_answers_a_refused_head_request_without_a_body():
    """The length is told, and the next answer begins right behind the head."""
    async with recording() as up:
        route = Route(0, "api", "/api/", service(up.base))
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
            assert (await client.response(head_only=True)).status == 404
            assert (await client.response()).code == "no_route"


async def test_lane_counts_requests_by_route_method_code_and_region():
    """Counts land in the columns that the plan names, and the gauge goes back."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(GET)
        await gw.logged(1)
        plan = gw.relay.tally._plan
        assert gw.meter.columns[plan.request_column(0, "GET", 200, 0)] == 1
        assert (
            gw.meter.columns[plan.column("fastgate_requests_in_flight", "public")] == 0
        )
        lane = plan.column("fastgate_lane_requests_total", gw.served_by)
        assert gw.meter.columns[lane] == 1


async def test_lane_turns_connections_away_past_its_cap():
    """One connection more than allowed gets 503 and is closed; the others go on."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), limits=limits(connections=1))
        async with gateway(snapshot) as gw:
            first = await gw.connect()
            await first.send(GET)
            assert (await first.response()).status == 200
            second = await gw.connect()
            got = await second.response()
            assert (got.status, got.code) == (503, "overloaded")
            assert got.one("retry-after") == "1"
            assert await second.ended_cleanly()
            await first.send(GET)
            assert (await first.response()).status == 200


async def test_lane_drains_by_closing_idle_connections_and_finishing_others():
    """An idle client is let go; one in flight gets its answer, and then the end."""
    go_on = asyncio.Event()

    async def slow(request: Recorded, talk: Talk) -> bool:
        await go_on.wait()
        await talk.send(answer())
        return True

    async with recording(slow) as up, gateway(snapshot_of(public(up.base))) as gw:
        idle, busy = await gw.connect(), await gw.connect()
        await busy.send(GET)
        await up.until(lambda it: len(it.requests) == 1)
        drained = asyncio.create_task(gw.lane.drain(5.0))
        assert await idle.ended_cleanly()
        assert not drained.done()
        go_on.set()
        got = await busy.response()
        assert (got.status, got.one("connection")) == (200, "close")
        await drained


async def test_lane_cuts_what_does_not_finish_while_it_drains():
    """A request that outlives the drain ends in a cut connection."""
    async with recording(never) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await up.until(lambda it: len(it.requests) == 1)
        await gw.lane.drain(0.01)
        assert not await client.ended_cleanly() or not client.buffer
        await up.until(lambda it: it.closed == 1)


async def test_lane_counts_under_the_configuration_of_the_moment():
    """A request that outlives a reload counts once, in the new layout, as unknown."""
    go_on = asyncio.Event()

    async def slow(_: Recorded, talk: Talk) -> bool:
        await go_on.wait()
        await talk.send(answer())
        return True

    async with recording(slow) as up:
        snapshot = snapshot_of(public(up.base))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            await client.send(GET)
            await up.until(lambda it: len(it.requests) == 1)
            meter = FakeMeter()
            gw.relay.adopt(snapshot, Tally.of(snapshot, meter))
            go_on.set()
            await client.response()
            await gw.logged(1)
            plan = gw.relay.tally._plan
            assert meter.columns[plan.request_column(-1, "GET", 200, -1)] == 1
            assert min(meter.columns.values()) >= 0
