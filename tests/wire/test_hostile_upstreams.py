"""Answers that no client may get (THREATS U1, U2): 502, or a connection cut short.

Each comes whole and in single bytes. The upstream leaves its connection open where it
can, so that only the gateway can be who ends it; the next request then needs another
one, and gets the answer that is its own.
"""

import asyncio

import pytest
from tests.lane_kit import Client, Gateway, gateway, public, snapshot_of
from tests.recorder import Recorded, Recorder, Talk, answer, recording
from tests.wire.scripts import GET, OK, saying

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
LENGTH = b"Content-Length: 2\r\n"

BAD_HEADS = {
    "u1_te_with_cl": OK + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n",
    "u1_cl_with_te": OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "u1_cl_twice": OK + LENGTH + LENGTH + b"\r\nok",
    "u1_cl_other": OK + LENGTH + b"Content-Length: 9\r\n\r\nok",
    "u1_cl_list": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "u1_cl_plus": OK + b"Content-Length: +2\r\n\r\nok",
    "u1_cl_underscore": OK + b"Content-Length: 0_2\r\n\r\nok",
    "u1_cl_hex": OK + b"Content-Length: 0x2\r\n\r\nok",
    "u1_cl_negative": OK + b"Content-Length: -2\r\n\r\nok",
    "u1_cl_empty": OK + b"Content-Length: \r\n\r\nok",
    "u1_cl_huge": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nok",
    "u1_te_unknown": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "u1_te_list": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "u1_te_twice": OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "u1_te_identity": OK + b"Transfer-Encoding: identity\r\n\r\nok",
    "u1_te_vertical_tab": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "u1_te_in_http_1_0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    "u1_bare_lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "u1_bare_lf_in_the_middle": OK + b"X: a\nContent-Length: 2\r\n\r\nok",
    "u1_bare_cr": OK + b"X: a\rb\r\n" + LENGTH + b"\r\nok",
    "u1_obs_fold": OK + b"X: a\r\n b\r\n" + LENGTH + b"\r\nok",
    "u1_space_before_colon": OK + b"Content-Length : 2\r\n\r\nok",
    "u1_no_colon": OK + b"X\r\n" + LENGTH + b"\r\nok",
    "u1_empty_name": OK + b": x\r\n" + LENGTH + b"\r\nok",
    "u1_name_not_token": OK + b"X(y): z\r\n" + LENGTH + b"\r\nok",
    "u1_name_not_ascii": OK + b"X\xe9: z\r\n" + LENGTH + b"\r\nok",
    "u1_no_status_line": b"hello world\r\n\r\n",
    "u1_garbage": b"\x00\xff" * 100 + b"\r\n\r\n",
    "u1_tls_alert": b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n",
    "u1_http_2": b"HTTP/2 200 OK\r\n\r\n",
    "u1_http_1_2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "u1_status_two_digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "u1_status_four_digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "u1_status_plus": b"HTTP/1.1 +20 OK\r\n\r\n",
    "u1_status_zero": b"HTTP/1.1 000 OK\r\n\r\n",
    "u1_cve_2026_34520_nul_in_value": OK + b"X: a\x00b\r\n" + LENGTH + b"\r\nok",
    "u1_control_in_value": OK + b"X: a\x01b\r\n" + LENGTH + b"\r\nok",
    "u1_delete_in_value": OK + b"X: a\x7fb\r\n" + LENGTH + b"\r\nok",
    "u1_switch_unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\n\r\n",
    "u1_body_on_204": NO_CONTENT + b"Content-Length: 5\r\n\r\nhello",
    "u1_chunked_204": NO_CONTENT + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "u1_body_on_1xx": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok",
    "u1_many_fields": OK + b"X: y\r\n" * 300 + LENGTH + b"\r\nok",
    "u2_cve_2026_34519_cr_in_reason": b"HTTP/1.1 200 O\rK\r\n" + LENGTH + b"\r\nok",
    "u2_nul_in_reason": b"HTTP/1.1 200 O\x00K\r\n" + LENGTH + b"\r\nok",
    "u2_escape_in_reason": b"HTTP/1.1 200 \x1b[2J\r\n" + LENGTH + b"\r\nok",
}
# Here the fault is that nothing more comes, and only the upstream can say so.
CUT_HEADS = {
    "u1_http_0_9": b"<html>ok</html>",
    "u1_closed_in_head": OK + LENGTH,
    "u1_closed_in_status_line": b"HTTP/1.1 20",
    "u1_closed_after_1xx": b"HTTP/1.1 100 Continue\r\n\r\n",
    "u1_nothing": b"",
}


async def own_answer_on_a_new_connection(
    gw: Gateway, up: Recorder, client: Client
) -> None:
    """The faulty connection is gone for good, and nobody gets what it held."""
    await up.until(lambda it: it.closed == 1)
    up.script = saying(answer(b"mine"), keep=True)
    await client.send(GET)
    assert (await client.response()).body == b"mine"
    assert (await gw.ask(GET)).body == b"mine"
    assert up.connections == 2


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", [*BAD_HEADS, *CUT_HEADS])
async def test_lane_answers_502_for_a_malformed_answer(name, bytewise):
    """The client learns nothing of it but 502, and keeps its connection."""
    keep = name in BAD_HEADS
    data = BAD_HEADS[name] if keep else CUT_HEADS[name]
    async with (
        recording(saying(data, keep=keep, bytewise=bytewise)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        await client.send(GET)
        got = await client.response()
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert got.one("retry-after") == "1"
        await own_answer_on_a_new_connection(gw, up, client)
        (line, *_) = await gw.logged(3)
        assert line["reason"] == "bad_upstream_response"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="u1_endless_1xx"),
        pytest.param(b"X: " + b"a" * 1_000 + b"\r\n", id="u1_endless_head"),
        pytest.param(b"a" * 1_000, id="u1_endless_line"),
    ],
)
async def test_lane_answers_502_for_a_head_that_never_ends(data):
    """Bounded in bytes: 1 MiB and more of it is never waited for, nor kept."""
    sent = 0

    async def endless(_: Recorded, talk: Talk) -> bool:
        nonlocal sent
        await talk.send(b"" if data.startswith(b"HTTP/") else OK + b"X: ")
        while not talk.writer.is_closing():
            await talk.send(data)
            sent += len(data)
            await asyncio.sleep(0)
        return False

    async with recording(endless) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        got = await client.response()
        assert (got.status, got.code) == (502, "bad_upstream_response")
        await own_answer_on_a_new_connection(gw, up, client)
        # What it takes, and what sockets hold.
        assert sent < 16 * 1_048_576


async def test_u1_lane_answers_502_for_a_header_of_a_mebibyte():
    """One line of it, which comes at once."""
    data = OK + b"X: " + b"a" * 1_048_576 + b"\r\n" + LENGTH + b"\r\nok"
    async with (
        recording(saying(data, keep=True)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        await client.send(GET)
        assert (await client.response()).code == "bad_upstream_response"
        await own_answer_on_a_new_connection(gw, up, client)


BAD_BODIES = {
    "u1_size_garbage": CHUNKED + b"5\r\nhello\r\nzz\r\n",
    "u1_size_plus": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "u1_size_0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "u1_size_underscore": CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n",
    "u1_size_negative": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "u1_size_overflow": CHUNKED + b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "u1_size_blank": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "u1_chunk_bare_lf": CHUNKED + b"5\nhello\n0\n\n",
    "u1_chunk_without_crlf": CHUNKED + b"5\r\nhello0\r\n\r\n",
    "u1_chunk_longer": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "u1_lf_in_extension": CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "u1_extension_of_300_bytes": CHUNKED + b"5;" + b"a" * 300 + b"\r\nhello\r\n",
    "u1_trailer_length": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\nhello",
    "u1_trailer_without_colon": CHUNKED + b"0\r\nX\r\n\r\n",
    "u1_trailers_too_many": CHUNKED + b"0\r\n" + b"X: y\r\n" * 33 + b"\r\n",
    "u1_end_bare_lf": CHUNKED + b"0\r\n\n",
}
CUT_BODIES = {
    "u1_short": OK + b"Content-Length: 10\r\n\r\nhello",
    "u1_empty": OK + b"Content-Length: 10\r\n\r\n",
    "u1_chunk_cut": CHUNKED + b"5\r\nhel",
    "u1_size_cut": CHUNKED + b"5",
    "u1_no_last_chunk": CHUNKED + b"5\r\nhello\r\n",
    "u1_last_chunk_cut": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "u1_trailer_cut": CHUNKED + b"5\r\nhello\r\n0\r\nX: y",
}


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", [*BAD_BODIES, *CUT_BODIES])
async def test_lane_never_ends_a_broken_body_cleanly(name, bytewise):
    """The client sees a cut answer, never a complete one (F20)."""
    keep = name in BAD_BODIES
    data = BAD_BODIES[name] if keep else CUT_BODIES[name]
    head, _, rest = data.partition(b"\r\n\r\n")

    async def broken(request: Recorded, talk: Talk) -> bool:
        await talk.send(head + b"\r\n\r\n")
        await go_on.wait()
        return bool(await saying(rest, keep=keep, bytewise=bytewise)(request, talk))

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
        await own_answer_on_a_new_connection(gw, up, await gw.connect())


@pytest.mark.parametrize(
    ("request_line", "data", "status"),
    [
        pytest.param(
            b"GET",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
            304,
            id="u1_body_on_304",
        ),
        pytest.param(b"GET", NO_CONTENT + b"\r\nhello", 204, id="u1_bytes_behind_204"),
        pytest.param(b"HEAD", answer(b"hello"), 200, id="u1_body_on_head"),
        pytest.param(
            b"HEAD", CHUNKED + b"0\r\n\r\n", 200, id="u1_chunked_body_on_head"
        ),
    ],
)
async def test_lane_sends_no_byte_of_a_body_that_may_not_be(request_line, data, status):
    """The head is good; what stands behind it is dropped with its connection (T18)."""
    async with (
        recording(saying(data, keep=True)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        await client.send(request_line + GET[3:])
        got = await client.response(head_only=True)
        assert got.status == status
        await own_answer_on_a_new_connection(gw, up, client)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(b"X", id="a_byte"),
        pytest.param(b"\r\n", id="a_line_break"),
        pytest.param(answer(b"another user's"), id="an_answer"),
    ],
)
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


async def test_u1_lane_drops_a_connection_that_talks_while_it_is_idle():
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
