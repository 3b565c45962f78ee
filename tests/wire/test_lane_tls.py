"""TLS on either side of both lanes, through the event loop's own (asyncio, uvloop)."""

import asyncio
import socket
import ssl

import pytest
from tests.lane_kit import Client, Gateway, gateway, public, snapshot_of
from tests.recorder import Recorded, Recorder, Talk, answer
from tests.wire.certificates import Authority, authority
from tests.wire.scripts import GET

MIB = 1 << 20


@pytest.fixture(scope="module")
def trusted(tmp_path_factory) -> Authority:
    """An authority; upstreams and the gateway itself get certificates of it."""
    return authority(tmp_path_factory.mktemp("tls"))


class TlsRecorder(Recorder):
    """A recorder behind TLS."""

    context: ssl.SSLContext

    @property
    def base(self) -> str:
        return super().base.replace("http:", "https:")

    async def start(self) -> "TlsRecorder":
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self.context
        )
        return self


@pytest.fixture
async def upstream(trusted):
    """An upstream behind TLS that says what it was asked."""

    async def echo(request: Recorded, talk: Talk) -> bool:
        await talk.send(answer(request.body or request.target))
        return True

    recorder = TlsRecorder(echo)
    recorder.context = trusted.server("127.0.0.1")
    await recorder.start()
    yield recorder
    await recorder.stop()


@pytest.fixture
def trusting(trusted, monkeypatch) -> None:
    """Let the gateway trust that authority, as an operator would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.path))


async def over_tls(gw: Gateway, trusted: Authority) -> int:
    """Listen once more, with TLS; returns the port."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    await gw.lane.start(sock, tls=trusted.server("gateway.test"))
    return sock.getsockname()[1]


async def client_of(port: int, trusted: Authority) -> Client:
    return Client(
        *await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusted.client(), server_hostname="gateway.test"
        )
    )


@pytest.mark.usefixtures("trusting")
async def test_lane_speaks_tls_to_an_upstream_and_keeps_the_connection(upstream):
    """Bodies both ways, framed either way, on one verified connection."""
    body = bytes(range(256)) * 4_096
    async with gateway(snapshot_of(public(upstream.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        assert (await client.response()).body == b"/"
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MIB + body
        )
        assert (await client.response()).body == body
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n0\r\n\r\n"
        )
        assert (await client.response()).body == b"hello"
        assert upstream.connections == 1
        lines = await gw.logged(3)
        assert {line["lane"] for line in lines} == {gw.served_by}


async def test_lane_sends_nothing_to_an_upstream_that_it_cannot_verify(upstream):
    """Nobody it trusts has signed for that one: 502, and not a byte of the request."""
    async with gateway(snapshot_of(public(upstream.base))) as gw:
        got = await gw.ask(GET)
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert not upstream.requests


@pytest.mark.usefixtures("trusting")
async def test_lane_sends_nothing_to_an_upstream_of_another_name(upstream):
    """A certificate for an address is none for a name that leads there."""
    base = upstream.base.replace("127.0.0.1", "localhost")
    async with gateway(snapshot_of(public(base))) as gw:
        got = await gw.ask(GET)
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert not upstream.requests


@pytest.mark.usefixtures("trusting")
async def test_u1_lane_takes_a_cut_of_tls_for_no_end_of_a_body(upstream):
    """Only a close that was announced ends a body that ends with its connection."""

    async def cut(_: Recorded, talk: Talk) -> bool:
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await go_on.wait()
        talk.reset()
        return False

    go_on = asyncio.Event()
    upstream.script = cut
    async with gateway(snapshot_of(public(upstream.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await client.until(b"hello")
        go_on.set()
        with pytest.raises((EOFError, ConnectionError)):
            await client.response()


@pytest.mark.usefixtures("trusting")
async def test_lane_serves_clients_over_tls(upstream, trusted):
    """Requests in a row and at once, bodies, and TLS on the other side as well."""
    async with gateway(snapshot_of(public(upstream.base))) as gw:
        client = await client_of(await over_tls(gw, trusted), trusted)
        body = bytes(range(256)) * 4_096
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MIB + body
        )
        assert (await client.response()).body == body
        await client.send(GET.replace(b"/", b"/1", 1) + GET.replace(b"/", b"/2", 1))
        assert (await client.response()).body == b"/1"
        assert (await client.response()).body == b"/2"
        lines = await gw.logged(3)
        assert {line["lane"] for line in lines} == {gw.served_by}
        told = upstream.requests[-1]
        assert told.one("x-forwarded-proto") == b"https"
        assert told.one("x-forwarded-port") == b"443"
        assert b"proto=https" in told.one("forwarded")
        client.close()


@pytest.mark.usefixtures("trusting")
async def test_t1_lane_refuses_over_tls_as_it_does_without(upstream, trusted):
    """The whole refusal arrives, and then the end."""
    async with gateway(snapshot_of(public(upstream.base))) as gw:
        port = await over_tls(gw, trusted)
        for bad in (
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            client = await client_of(port, trusted)
            await client.send(bad)
            got = await client.response()
            assert (got.status, got.code) == (400, "bad_request")
            assert got.one("connection") == "close"
            assert await client.read_to_end() == b""
            client.close()
        assert not upstream.requests


async def test_t16_lane_closes_a_connection_that_never_begins_tls(upstream, trusted):
    """A client that says nothing, or plain HTTP, gets no further than the handshake."""
    async with gateway(snapshot_of(public(upstream.base))) as gw:
        port = await over_tls(gw, trusted)
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        await client.send(GET)
        assert b"HTTP/1.1" not in await client.read_to_end()
        assert not gw.lane.live
        client.close()
