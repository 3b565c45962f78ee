"""What the general lane refuses before the gate: framing, targets, Host, limits.

Each payload goes whole, byte by byte, and split at each CRLF. Passing is a 4xx, a
closed connection and nothing complete at the upstream (THREATS 10, T1, T3-T6, T17).
"""

import pytest
from tests.lane_kit import Gateway, gateway, public, snapshot_of
from tests.recorder import recording

# One loop: what is refused is refused above it, and there are hundreds of cases.
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

BAD = {
    # T1: framing that two readers would read differently.
    "cl_te": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te_cl": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 6\r\n\r\n0\r\n\r\nX",
    "te_twice": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te_identity": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "te_list": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"0\r\n\r\n",
    "te_odd": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "te_vertical_tab": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked"
    b"\r\n\r\n0\r\n\r\n",
    "te_in_http_1_0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n0\r\n\r\n",
    "cl_twice_same": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Content-Length: 1\r\n\r\nX",
    "cl_twice_other": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Content-Length: 0\r\n\r\nX",
    "cl_list": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nX",
    "cl_plus": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nX",
    "cl_underscore": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n"
    + b"X" * 10,
    "cl_hex": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nX",
    "cl_empty": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
    "cl_negative": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "cl_huge": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
    + b"9" * 30
    + b"\r\n\r\n",
    "space_before_colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "obs_fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "bare_lf": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare_cr_in_value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "nul_in_value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "control_in_value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "delete_in_value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    "no_colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "empty_name": b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "name_not_token": b"GET / HTTP/1.1\r\nHost: a\r\nX(y): x\r\n\r\n",
    "name_unicode": b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: x\r\n\r\n",
    "type_twice": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\n"
    b"Content-Type: c/d\r\nContent-Length: 1\r\n\r\nX",
    "type_twice_same": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\n"
    b"content-type: a/b\r\n\r\n",
    "name_underscore": b"GET / HTTP/1.1\r\nHost: a\r\nX_User: x\r\n\r\n",
    # T3
    "expect_unknown": b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n"
    b"Content-Length: 1\r\n\r\n",
    # T5: methods and target forms.
    "connect": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "trace": b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "method_lower": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "method_unknown": b"FOOBAR / HTTP/1.1\r\nHost: a\r\n\r\n",
    "method_garbage": b"\x00\x01\x02\x03 / HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "other_authority": b"GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "userinfo": b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "double_slash": b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n",
    "backslash": b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw_utf8": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "dot_segments": b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded_dots": b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded_nul": b"GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded_crlf": b"GET /a%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n",
    "half_percent": b"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n",
    # T6: Host.
    "host_missing": b"GET / HTTP/1.1\r\n\r\n",
    "host_empty": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "host_twice_cve_2026_34525": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host_list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host_userinfo": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "host_path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host_bad_port": b"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n",
    "host_port_range": b"GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n",
    # Versions.
    "http_0_9": b"GET /\r\n\r\n",
    "http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http_1_2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    # Credentials in two places (J15).
    "authorization_twice": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n"
    b"Authorization: Bearer y\r\n\r\n",
    "dpop_twice": b"GET / HTTP/1.1\r\nHost: a\r\nDPoP: x\r\nDPoP: y\r\n\r\n",
    # T9: Connection may not name what identity or framing hangs on.
    "connection_host": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Host\r\n\r\n",
    "connection_authorization": b"GET / HTTP/1.1\r\nHost: a\r\n"
    b"Connection: authorization\r\n\r\n",
    "connection_cl": b"POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\n"
    b"Content-Length: 1\r\n\r\nX",
    "connection_ours": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-fastgate-subject"
    b"\r\n\r\n",
    "connection_ours_underscore": b"GET / HTTP/1.1\r\nHost: a\r\n"
    b"Connection: X_Fastgate_Subject\r\n\r\n",
    # T18
    "get_with_body": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nX",
    "head_with_body": b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nX",
    "tls_on_a_plain_port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    + b"\x00" * 40,
}
STATUS = {
    "connect": 405,
    "trace": 405,
    "method_lower": 501,
    "method_unknown": 501,
    "expect_unknown": 417,
    "http_0_9": 505,
    "http_2": 505,
    "http_1_2": 505,
}


def _whole(payload: bytes) -> list[bytes]:
    return [payload]


def _bytewise(payload: bytes) -> list[bytes]:
    return [payload[at : at + 1] for at in range(len(payload))]


def _by_line(payload: bytes) -> list[bytes]:
    return payload.replace(b"\r\n", b"\r\n\x1f\x1f").split(b"\x1f\x1f")


async def _statuses(gw: Gateway, pieces: list[bytes]) -> tuple[list[int], bytes]:
    client = await gw.connect()
    for piece in pieces:
        if client.writer.is_closing():
            break
        await client.send(piece)
    raw = await client.read_to_end()
    lines = [line for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return [int(line[9:12]) for line in lines], raw


@pytest.mark.parametrize("split", [_whole, _bytewise, _by_line])
@pytest.mark.parametrize("name", BAD)
async def test_lane_refuses_and_closes(name, split):
    """One 4xx or 505, a problem body, a closed connection, no request upstream."""
    marker = b"GET /marker HTTP/1.1\r\nHost: a\r\n\r\n"
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        statuses, raw = await _statuses(gw, split(BAD[name]))
        assert len(statuses) == 1, raw
        assert statuses[0] == STATUS.get(name, 400), raw
        assert b"Connection: close" in raw
        if b"HEAD" not in BAD[name]:
            assert b'"code":"' in raw
        assert not up.requests
        (line,) = await gw.logged(1)
        assert line["status"] == statuses[0]
        # A connection of its own is not touched by the refused one.
        assert (await gw.ask(marker)).status == 200
        assert [request.target for request in up.requests] == [b"/marker"]


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b"GET /" + b"a" * 8_200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 8_200 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + b"\r\n", 431),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n"
            + b"".join(b"X%d: %b\r\n" % (i, b"a" * 4_000) for i in range(9))
            + b"\r\n",
            431,
        ),
    ],
    ids=["target", "line", "count", "all"],
)
@pytest.mark.parametrize("size", [1_000_000, 1_000])
async def test_lane_enforces_head_limits_however_the_head_is_split(
    payload, status, size
):
    """414 and 431 hold for a head in one piece and in many (T17)."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        statuses, raw = await _statuses(gw, pieces)
        assert statuses == [status], raw[:200]
        assert not up.requests


async def test_lane_refuses_a_head_that_does_not_end():
    """Endless headers are cut off at the limit, not collected (T16)."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        for number in range(60):
            await client.send(b"X-%d: %b\r\n" % (number, b"a" * 1_000))
        got = await client.response()
        assert (got.status, got.one("connection")) == (431, "close")


async def test_cve_2026_54277_split_lines_do_not_pass_the_limit():
    """A field that comes in many segments counts as one (aiohttp before 3.14.1)."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        for _ in range(12):
            await client.send(b"a" * 1_000)
        got = await client.response()
        assert got.status == 431
        assert not up.requests


async def test_lane_enforces_the_body_limit_of_a_route_announced_or_not():
    """413 for a Content-Length over the limit, and for chunks that add up to more."""
    async with recording() as up:
        route = public(up.base, body_limit_bytes=10)
        async with gateway(snapshot_of(route)) as gw:
            got = await gw.ask(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"
            )
            assert (got.status, got.code) == (413, "body_too_large")
            got = await gw.ask(
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"6\r\naaaaaa\r\n6\r\nbbbbbb\r\n0\r\n\r\n"
            )
            assert got.status == 413
            assert not up.requests


async def test_lane_takes_a_body_on_get_where_the_route_allows_it():
    """`get_body` is an operator's written choice."""
    async with (
        recording() as up,
        gateway(snapshot_of(public(up.base, get_body=True))) as gw,
    ):
        got = await gw.ask(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert got.status == 200
        assert up.requests[0].body == b"hi"


async def test_lane_takes_the_absolute_form_that_names_its_own_host():
    """RFC 9112 section 3.2.2; the origin form goes upstream."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(
            b"GET http://A.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n"
        )
        assert got.status == 200
        assert up.requests[0].target == b"/x?y"


async def test_lane_reads_nothing_behind_a_refused_request():
    """A request smuggled behind a malformed one is never parsed (T1)."""
    payload = BAD["cl_te"] + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        statuses, _ = await _statuses(gw, [payload])
        assert statuses == [400]
        assert len(await gw.logged(1)) == 1
        assert not up.requests
