"""What upstreams do wrong, and what the client gets then (THREATS U1-U6, F18-F21).

A fault before the answer began is 502 or 504; after that the client's connection is
cut. Either way the upstream connection is not used again.
"""

import asyncio
import socket

import pytest
from tests.lane_kit import gateway, public, service, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording

from fastgate.domain.route import Route

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

BAD_ANSWERS = {
    "te_with_cl": OK
    + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "cl_twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "cl_other": OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\nok",
    "cl_garbage": OK + b"Content-Length: +2\r\n\r\nok",
    "cl_list": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "te_unknown": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "te_list": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "te_in_http_1_0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare_lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare_cr": OK + b"X: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "obs_fold": OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "no_status_line": b"hello world\r\n\r\n",
    "garbage": b"\x00\xff" * 100 + b"\r\n\r\n",
    "http_0_9": b"<html>ok</html>",
    "http_2": b"HTTP/2 200 OK\r\n\r\n",
    "status_two_digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status_four_digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "space_before_colon": OK + b"Content-Length : 2\r\n\r\nok",
    "cve_2026_34520_nul_in_value": OK + b"X: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    "control_in_value": OK + b"X: a\x01b\r\nContent-Length: 2\r\n\r\nok",
    "cve_2026_34519_cr_in_reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "huge_header": OK + b"X: " + b"a" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "endless_informational": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    "switch_unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\n\r\n",
    "body_on_204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "chunked_204": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    "closed_in_head": OK + b"Content-Length: 2\r\n",
    "nothing": b"",
}


def saying(data: bytes, *, keep: bool = False, bytewise: bool = False):
    """A script that says these bytes to each request."""

    async def script(_: Recorded, talk: Talk) -> bool:
        for at in range(0, len(data), 1 if bytewise else max(len(data), 1)):
            await talk.send(data[at : at + (1 if bytewise else len(data))])
            if bytewise:
                await asyncio.sleep(0)
        if not keep:
            talk.writer.close()
        return keep

    return script


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_lane_answers_502_for_a_malformed_answer(name, bytewise):
    """The client learns nothing of it but 502, and keeps its connection (U1, U2)."""
    data = BAD_ANSWERS[name]
    if bytewise:
        data = data[:3_000]  # the same fault, within the test's patience
    async with (
        recording(saying(data, bytewise=bytewise)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        await client.send(GET)
        got = await client.response()
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert got.one("retry-after") == "1"
        up.script = saying(answer(), keep=True)
        await client.send(GET)
        assert (await client.response()).status == 200
        assert up.connections >= 2
        (line, _) = await gw.logged(2)
        assert line["reason"] == "bad_upstream_response"


BROKEN_BODIES = {
    "short": OK + b"Content-Length: 10\r\n\r\nhello",
    "chunk_cut": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "no_last_chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "bad_chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_lane_never_ends_a_broken_body_cleanly(name):
    """The client sees a cut answer or 502, never a complete one (U1, F20)."""
    head, _, rest = BROKEN_BODIES[name].partition(b"\r\n\r\n")

    async def broken(_: Recorded, talk: Talk) -> bool:
        await talk.send(head + b"\r\n\r\n")
        await go_on.wait()
        await talk.send(rest)
        return False

    go_on = asyncio.Event()
    async with recording(broken) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        go_on.set()
        with pytest.raises((EOFError, ConnectionError)):
            await client.response()
        (line,) = await gw.logged(1)
        assert (line["status"], line["reason"]) == (200, "bad_upstream_response")


async def test_lane_takes_a_reset_for_no_end_of_a_body_delimited_by_closing():
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


async def test_lane_resets_an_http_1_0_client_whose_answer_broke():
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


async def test_lane_drops_informational_answers():
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


async def test_lane_removes_hop_by_hop_and_internal_headers_of_answers():
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


async def test_lane_keeps_cookies_one_by_one_in_order():
    """Set-Cookie lines are never joined (RFC 9110 section 5.3)."""
    reply = answer(headers=b"Set-Cookie: a=1, x\r\nX: y\r\nset-cookie: b=2\r\n")
    async with (
        recording(saying(reply)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        assert (await gw.ask(GET)).all("set-cookie") == ["a=1, x", "b=2"]


async def test_lane_neither_decompresses_nor_follows_nor_remembers():
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


async def test_lane_rewrites_the_reason_phrase():
    """The phrase is ours, from the code (U2)."""
    data = b"HTTP/1.1 200 <script>\r\nContent-Length: 0\r\n\r\n"
    async with (
        recording(saying(data)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        assert (await gw.ask(GET)).raw.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("extra", [b"X", answer(b"another user's")])
async def test_cve_2026_71324_bytes_behind_an_answer_are_nobodys_answer(extra):
    """A connection that over-ran is dropped; the next client gets its own (T24)."""
    async with (
        recording(saying(answer(b"mine") + extra, keep=True)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        for _ in range(3):
            got = await gw.ask(GET)
            assert got.body == b"mine"
        assert up.connections == 3


async def test_lane_drops_a_connection_that_talks_while_it_is_idle():
    """Bytes that nobody asked for are never taken for the next answer (T24)."""
    talks: list[Talk] = []

    async def keep(_: Recorded, talk: Talk) -> bool:
        talks.append(talk)
        await talk.send(answer(b"mine"))
        return True

    async with recording(keep) as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(GET)
        await talks[0].send(answer(b"poison"))
        await up.until(lambda it: it.closed == 1)
        assert (await gw.ask(GET)).body == b"mine"
        assert up.connections == 2


async def test_lane_sends_no_body_bytes_of_a_head_answer():
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


async def test_f21_lane_retries_a_get_once_when_an_idle_connection_had_closed():
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


async def test_f21_lane_never_doubles_a_post():
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


async def test_f21_lane_does_not_retry_once_an_answer_began():
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


async def test_f19_lane_cuts_an_answer_that_stops_in_its_middle():
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


async def test_lane_ends_an_exchange_at_its_total_limit():
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
