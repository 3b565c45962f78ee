"""Both lanes read generated requests alike, and send the same on (T25)."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.lane_kit import Gateway, public, snapshot_of
from tests.lanes.lanes import LANES, request_as_sent, same_names
from tests.recorder import Recorder

TOKEN = st.text("abcxyzABC019!#$%&'*+-.^`|~", min_size=1, max_size=12)
NAMES = st.one_of(
    TOKEN,
    st.sampled_from(
        [
            "Accept", "Cookie", "cookie", "Connection", "X-Forwarded-For", "Forwarded",
            "X-Fastgate-Subject", "x-request-id", "Via", "TE", "Trailer", "Upgrade",
            "Keep-Alive", "Proxy-Connection", "Remote-User", "Client-Cert",
            "X-Real-IP", "Authorization", "Content-Type", "traceparent", "Server",
            "Transfer-Encoding", "Content-Length", "Host", "Expect", "X_User",
            "Range", "HTTP2-Settings", "X-Auth-Request-User", "DPoP",
        ]
    ),
)  # fmt: skip
VALUES = st.one_of(
    st.text('abc 019,;="/\t\u00e9', max_size=12).map(lambda t: t.encode("latin-1")),
    st.sampled_from([b"x", b"keep-alive", b"a\x00", b"a\rb", b"\x7f", b"Bearer a.b.c"]),
    st.sampled_from(
        [
            b"close", b"keep-alive", b"Close", b"X-User, close", b"chunked", b"gzip",
            b"0", b"1", b"+1", b"a", b"b:80", b"trailers", b"websocket", b"",
            b"Bearer x", b"100-continue", b"  padded\t", b"text/plain; a=b",
            b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        ]
    ),
)  # fmt: skip
TARGETS = st.one_of(
    st.sampled_from(["/", "/a/b?c=d", "/a;b", "/.well-known/x", "/a?[x]|y"]),
    st.sampled_from(["/a/b", "/a-b/c.d?e&f=%20"]),
    st.sampled_from(
        ["/a//b", "/a/./b", "/a/%41", "/a%2Fb", "*", "/a#b", "http://a/x", "http://b/x",
         "/a/..", "/%zz"]
    ),
    st.text("/ab.%;?=&", min_size=1, max_size=20).map(lambda text: "/" + text),
)  # fmt: skip
METHODS = st.sampled_from(
    ["GET"] * 8 + ["POST"] * 8 + ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE",
     "M-SEARCH", "get", "CONNECT", "FOOBAR", "PROPFIND", "QUERY", "G(T"]
)  # fmt: skip
BODIES = st.sampled_from(
    [
        (b"", b""),
        (b"Content-Length: 0\r\n", b""),
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (
            b"Transfer-Encoding: chunked\r\n",
            b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n",
        ),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (
            b"Transfer-Encoding: chunked\r\n",
            b'2; a = "b" ;c\r\nhe\r\n003\r\nllo\r\n0\r\nContent-Type: y\r\n\r\n',
        ),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"5 \r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"g\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhelloX\r\n0\r\n\r\n"),
    ]
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    framing, body = draw(BODIES)
    fields = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    host = draw(st.sampled_from([b"Host: a\r\n"] * 6 + [b"Host: a:81\r\n", b""]))
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in fields)
    version = draw(st.sampled_from(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/1.2"]))
    line = f"{draw(METHODS)} {draw(TARGETS)} {version}\r\n".encode()
    return line + host + lines + framing + b"\r\n" + body


class Pair:
    """Both lanes, each with an upstream of its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.ups: list[Recorder] = []
        self.gateways: list[Gateway] = []
        self.runner.run(self._start())

    async def _start(self) -> None:
        for lane in LANES:
            up = await Recorder().start()
            self.ups.append(up)
            snapshot = snapshot_of(public(up.base))
            self.gateways.append(await Gateway(snapshot, lane=lane).start())

    async def _stop(self) -> None:
        for gw, up in zip(self.gateways, self.ups, strict=True):
            await gw.stop()
            await up.stop()

    def stop(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()

    async def seen(self, number: int, payload: bytes, cut: int) -> tuple[bytes, ...]:
        """The answer and what reached the upstream, of one complete payload."""
        gw, up = self.gateways[number], self.ups[number]
        up.requests.clear()
        client = await gw.connect()
        if cut:
            await client.send(payload[:cut])
        await client.send(payload[cut:])
        got = await client.response(head_only=payload.startswith(b"HEAD "))
        client.close()
        # Without a Host, which HTTP/1.0 allows, the upstream is told its own address.
        address = up.base.removeprefix("http://").encode()
        sent = (raw.replace(address, b"-") for raw in request_as_sent(up))
        return (same_names(got.raw or got.body), *sent)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.stop()


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(payload=payloads(), cut=st.integers(0, 40))
def test_lanes_give_the_same_answer_and_send_the_same_on(pair, payload, cut):
    """Same verdict, same answer, same bytes upstream, for whatever a client sends."""
    seen = [
        pair.runner.run(pair.seen(number, payload, min(cut, len(payload) - 1)))
        for number in range(len(LANES))
    ]
    assert seen[0] == seen[1]
