"""Chunked request bodies: what is taken, what is refused, what is dropped, how much.

RFC 9112 section 7.1; THREATS T1, T17 and section 4. Each payload goes whole, byte by
byte, and split at each CRLF. Nothing of an extension or a trailer reaches an upstream.
"""

import pytest
from tests.lane_kit import Gateway, gateway, limits, public, snapshot_of
from tests.lanes.lanes import by_line, bytewise, whole
from tests.recorder import Recorder, recording

# One loop: chunks are read above it, and there are hundreds of cases.
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_BODIES = {
    "size_garbage": b"zz\r\nabc\r\n0\r\n\r\n",
    "size_plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "size_underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "size_0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size_overflow": b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "size_negative": b"-3\r\nabc\r\n0\r\n\r\n",
    "size_empty": b"\r\nabc\r\n0\r\n\r\n",
    "size_blank_before": b" 3\r\nabc\r\n0\r\n\r\n",
    "size_blank_after": b"3 \r\nabc\r\n0\r\n\r\n",
    "size_tab_after": b"3\t\r\nabc\r\n0\r\n\r\n",
    "size_blank_before_extension": b"3 ;a\r\nabc\r\n0\r\n\r\n",
    "missing_crlf": b"3\r\nabcX0\r\n\r\n",
    "bare_lf": b"3\nabc\n0\n\n",
    "bare_cr": b"3\rabc\r0\r\r",
    "cr_cr_lf": b"3\r\r\nabc\r\n0\r\n\r\n",
    "longer_than_its_size": b"3\r\nabcd\r\n0\r\n\r\n",
    "shorter_than_its_size": b"3\r\nab\r\n0\r\n\r\n",
    "lf_in_extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "cr_in_extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "nul_in_extension": b"3;a\x00\r\nabc\r\n0\r\n\r\n",
    "lf_in_quoted_extension": b'3;a="\n"\r\nabc\r\n0\r\n\r\n',
    "extension_empty": b"3;\r\nabc\r\n0\r\n\r\n",
    "extension_ends_in_a_blank": b"3;a \r\nabc\r\n0\r\n\r\n",
    "extension_ends_in_a_tab": b"3;a=b\t\r\nabc\r\n0\r\n\r\n",
    "extension_without_value": b"3;a=\r\nabc\r\n0\r\n\r\n",
    "extension_two_words": b"3;a b\r\nabc\r\n0\r\n\r\n",
    "extension_two_values": b"3;a=b=c\r\nabc\r\n0\r\n\r\n",
    "extension_quote_open": b'3;a="b\r\nabc\r\n0\r\n\r\n',
    "extension_behind_quote": b'3;a="b"c\r\nabc\r\n0\r\n\r\n',
    "trailer_without_colon": b"3\r\nabc\r\n0\r\nX\r\n\r\n",
    "trailer_blank_before_colon": b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    "trailer_folded": b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
    "trailer_underscore": b"3\r\nabc\r\n0\r\nX_Y: z\r\n\r\n",
    "trailer_nul": b"3\r\nabc\r\n0\r\nX: y\x00\r\n\r\n",
    "trailer_bare_lf": b"3\r\nabc\r\n0\r\nX: y\n\r\n",
    "end_bare_lf": b"3\r\nabc\r\n0\r\n\n",
    "last_chunk_without_crlf": b"3\r\nabc\r\n0GET / HTTP/1.1\r\n\r\n",
}
# RFC 9110 section 6.5.1: what frames, routes or authenticates a message.
SMUGGLED = (
    *("Content-Length", "transfer-encoding", "HOST", "Connection", "Upgrade", "TE"),
    *("Expect", "Authorization", "cookie", "DPoP"),
)
EXTENSIONS = {
    "name": b"3;a",
    "value": b"3;a=b",
    "quoted": b'3;a="b c; \xc3\xa9"',
    "escaped": b'3;a="\\"\\\\"',
    "several": b"3;a;b=c;d",
    "blank_behind_semicolon": b"3; some; parameters=stuff",
    "blanks_everywhere_rfc_allows": b'3;\ta \t= \t"b" \t; c',
    "leading_zeros": b"0003",
}


async def statuses_of(gw: Gateway, pieces: list[bytes]) -> list[int]:
    """Statuses that come until the gateway ends the connection."""
    client = await gw.connect()
    for piece in pieces:
        if client.writer.is_closing():
            break
        await client.send(piece)
    raw = await client.read_to_end()
    lines = [line for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return [int(line[9:12]) for line in lines]


async def answer_to(gw: Gateway, up: Recorder, pieces: list[bytes]) -> int:
    """Status of a body that should be taken; the upstream got what it says."""
    up.requests.clear()
    client = await gw.connect()
    for piece in pieces:
        await client.send(piece)
    got = await client.response()
    if got.status == 200:
        (request,) = up.requests
        assert request.body == b"abc"
        assert all(value.startswith(b"X-") is False for _, value in request.headers)
        assert not request.all("x")
    return got.status


@pytest.mark.parametrize("split", [whole, bytewise, by_line])
@pytest.mark.parametrize("name", BAD_BODIES)
async def test_t1_lane_refuses_a_broken_chunk_and_completes_no_request(name, split):
    """A chunk that is none ends the request: 400, close, and no whole one upstream."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        assert await statuses_of(gw, split(HEAD + BAD_BODIES[name])) == [400]
        assert not up.requests
        (line,) = await gw.logged(1)
        assert line["reason"] == "bad_request"


@pytest.mark.parametrize("split", [whole, bytewise, by_line])
@pytest.mark.parametrize("name", EXTENSIONS)
async def test_t2_lane_reads_chunk_extensions_and_drops_them(name, split):
    """Legal ones, and the blanks that RFC 9112 section 7.1.1 wants read."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        pieces = split(HEAD + EXTENSIONS[name] + b"\r\nabc\r\n0;end\r\n\r\n")
        assert await answer_to(gw, up, pieces) == 200


@pytest.mark.parametrize("split", [whole, bytewise])
@pytest.mark.parametrize(
    ("sizes", "status"),
    [
        pytest.param([255], 200, id="256_bytes_with_the_semicolon"),
        pytest.param([256], 400, id="one_more"),
        pytest.param([255] * 64, 200, id="16_kib_a_message"),
        pytest.param([255] * 64 + [1], 400, id="one_more_a_message"),
    ],
)
async def test_t17_lane_bounds_chunk_extensions(sizes, status, split):
    """256 bytes a chunk, 16 KiB a message, however they are split (section 4)."""
    chunks = b"".join(b"1;%b\r\nx\r\n" % (b"a" * size) for size in sizes)
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        for piece in split(HEAD + chunks + b"0\r\n\r\n"):
            await client.send(piece)
        got = await client.response()
        assert got.status == status
        assert len(up.requests) == (status == 200)


@pytest.mark.parametrize("split", [whole, bytewise, by_line])
async def test_t2_lane_reads_trailers_and_drops_them(split):
    """Also those that a sender should not have sent there, where they harm nobody."""
    trailers = (
        b"X: y\r\nVary: *\r\nContent-Type: text/plain\r\nUser-Agent: z\r\n"
        b"X-Fastgate-Subject: admin\r\nX-Forwarded-For: 1.2.3.4\r\nEmpty:\r\n"
    )
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        pieces = split(HEAD + b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n")
        assert await answer_to(gw, up, pieces) == 200
        (request,) = up.requests
        assert request.one("x-fastgate-subject") is None
        assert request.one("content-type") is None
        assert b"1.2.3.4" not in request.raw


@pytest.mark.parametrize("split", [whole, bytewise, by_line])
@pytest.mark.parametrize("name", SMUGGLED)
async def test_t1_lane_refuses_trailers_that_frame_route_or_authenticate(name, split):
    """Some reader could take one for the header it is not (RFC 9110 section 6.5.1)."""
    body = b"3\r\nabc\r\n0\r\nX: y\r\n%b: 1\r\n\r\n" % name.encode()
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        assert await statuses_of(gw, split(HEAD + body)) == [400]
        assert not up.requests


@pytest.mark.parametrize("split", [whole, bytewise])
@pytest.mark.parametrize(
    ("trailers", "status"),
    [
        pytest.param(b"X: a\r\n" * 32, 200, id="32_fields"),
        pytest.param(b"X: a\r\n" * 33, 400, id="33_fields"),
        pytest.param(b"X: " + b"a" * 8_186 + b"\r\n", 200, id="8_kib"),
        pytest.param(b"X: " + b"a" * 8_187 + b"\r\n", 400, id="one_more_byte"),
    ],
)
async def test_cve_2026_22815_limits_hold_for_trailers(trailers, status, split):
    """32 fields and 8 KiB, of whatever else a head may have (T17)."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), limits=limits(header_count=20))
        async with gateway(snapshot) as gw:
            client = await gw.connect()
            for piece in split(HEAD + b"1\r\nx\r\n0\r\n" + trailers + b"\r\n"):
                await client.send(piece)
            assert (await client.response()).status == status
            assert len(up.requests) == (status == 200)


async def test_cve_2025_69229_many_tiny_chunks_are_one_body():
    """Ten thousand chunks of a byte are relayed as their ten thousand bytes."""
    count = 10_000
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(HEAD + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
        assert got.status == 200
        assert up.requests[0].body == b"x" * count
