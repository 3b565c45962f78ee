"""HTTP fetches: bounds on everything an issuer's endpoint can do to us."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest
from tests.key_fakes import settle
from tests.raw_issuer import OK, RawServer, get, serving

from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.errors import BadAnswerError, ControlError


async def test_fetch_returns_status_headers_and_body():
    """Header names in lower case; fields that repeat are joined."""
    said = (
        b'HTTP/1.1 418 Odd\r\nETag: "v"\r\nCache-Control: no-store\r\n'
        b"cache-control: max-age=5\r\nContent-Length: 2\r\n\r\nhi"
    )
    async with serving(said) as (server, fetcher):
        answer = await get(fetcher, server.url + "/a?b=%2F", headers={"accept": "x/y"})
        assert (answer.status, answer.body) == (418, b"hi")
        assert answer.headers["etag"] == '"v"'
        assert answer.headers["cache-control"] == "no-store, max-age=5"
        (request,) = server.requests
        assert request.startswith(b"GET /a?b=%2F HTTP/1.1\r\n")
        assert b"\r\naccept: x/y\r\n" in request.lower()
        assert b"\r\nuser-agent: fastgate\r\n" in request.lower()


async def test_post_carries_body_and_headers():
    """An introspection question."""
    async with serving(OK) as (server, fetcher):
        await get(
            fetcher,
            server.url,
            method="POST",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=b"token=a",
        )
        (request,) = server.requests
        assert request.endswith(b"\r\n\r\ntoken=a")
        assert request.lower().count(b"content-type:") == 1


async def test_connection_is_reused():
    """A handshake per question would cost more than the question."""
    async with serving(OK) as (server, fetcher):
        for _ in range(5):
            await get(fetcher, server.url)
        assert server.connections == 1


async def test_dead_kept_connection_is_replaced_without_an_error():
    """The other side may close an idle connection just as we send: POST too."""
    async with serving(OK, None, OK) as (server, fetcher):
        await get(fetcher, server.url)
        answer = await get(fetcher, server.url, method="POST", body=b"token=a")
        assert answer.status == 200
        assert len(server.requests) == 3
        assert server.connections == 2


async def test_fresh_connection_that_dies_is_an_error():
    """No endless retries against a server that only hangs up."""
    async with serving(None) as (server, fetcher):
        with pytest.raises(ControlError, match="connection_failed"):
            await get(fetcher, server.url)
        assert len(server.requests) <= 2


async def test_cookies_are_not_kept():
    """One fetch tells nothing about another."""
    said = OK.replace(b"\r\n\r\n", b"\r\nset-cookie: a=b\r\n\r\n")
    async with serving(said) as (server, fetcher):
        await get(fetcher, server.url)
        await get(fetcher, server.url)
        assert b"cookie" not in server.requests[1].lower()


async def test_proxy_variables_of_the_environment_are_ignored(monkeypatch):
    """Who sets http_proxy must not see client secrets."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(OK) as (server, fetcher):
        assert (await get(fetcher, server.url)).status == 200


# -- size -----------------------------------------------------------------------------


async def test_body_of_exactly_the_limit_is_returned():
    """The limit is inclusive."""
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 1000
    async with serving(said) as (server, fetcher):
        assert len((await get(fetcher, server.url)).body) == 1000


async def test_stated_length_over_the_limit_is_refused_unread():
    """1 GiB announced costs nothing."""
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n"
    async with serving(said) as (server, fetcher):
        with pytest.raises(BadAnswerError, match="too_large"):
            await get(fetcher, server.url)


class Endless(RawServer):
    """Sends a head and then bytes until nobody takes them."""

    async def send(self, writer, said):
        writer.write(said)
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()


async def test_cve_2026_26998_endless_body_is_cut_at_the_limit():
    """I3: an unbounded answer is read no further than the limit."""
    said = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(said, kind=Endless) as (server, fetcher):
        with pytest.raises(BadAnswerError, match="too_large"):
            await get(fetcher, server.url, max_bytes=256 * 1024)


async def test_compressed_answer_is_decompressed():
    """Key sets behind caches often are."""
    body = gzip.compress(b'{"keys":[]}')
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    async with serving(head % len(body) + body) as (server, fetcher):
        assert (await get(fetcher, server.url)).body == b'{"keys":[]}'
        assert b"accept-encoding: gzip, deflate\r\n" in server.requests[0].lower()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_cve_2026_128131_compression_bomb_is_cut_at_the_limit(encoding):
    """The limit is on what comes out, and memory stays near it."""
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    bomb = compress(b"\0" * (64 << 20), 9)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: "
    said = f"{head}{len(bomb)}\r\n\r\n".encode() + bomb
    async with serving(OK, said) as (server, fetcher):
        await get(fetcher, server.url)
        tracemalloc.start()
        try:
            with pytest.raises(BadAnswerError, match="too_large"):
                await get(fetcher, server.url, max_bytes=1 << 20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 << 20


async def test_endless_header_is_refused():
    """A head is bounded like a body."""
    said = b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n"
    async with serving(said) as (server, fetcher):
        with pytest.raises(BadAnswerError, match="broken_answer"):
            await get(fetcher, server.url)


# -- time -----------------------------------------------------------------------------


async def test_silent_server_is_given_up():
    """The time-out covers the wait for the head."""
    async with serving("hang") as (server, fetcher):
        with pytest.raises(ControlError, match="timed_out"):
            await get(fetcher, server.url, timeout_s=0.05)


class Drip(RawServer):
    """Sends one byte after another, for ever, as fast as the loop turns."""

    async def send(self, writer, said):
        writer.write(said)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.001)


async def test_slow_drip_is_given_up():
    """I3: bytes that keep coming do not extend the time-out."""
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    async with serving(said, kind=Drip) as (server, fetcher):
        with pytest.raises(ControlError, match="timed_out"):
            await get(fetcher, server.url, timeout_s=0.1, max_bytes=1 << 20)


async def test_redirects_share_one_time_out():
    """A chain of slow redirects is one fetch."""
    hop = b"HTTP/1.1 302 F\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n"
    async with serving(hop, "hang") as (server, fetcher):
        with pytest.raises(ControlError, match="timed_out"):
            await get(fetcher, server.url, timeout_s=0.05)


# -- what is refused before or while it arrives ---------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http://127.0.0.1/a\r\nx: y",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/é",
        "http://user:pass@127.0.0.1/",
        "http://127.0.0.1/#fragment",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/" + "a" * 5000,
    ],
)
async def test_url_that_could_mean_something_else_is_refused(url):
    """No CR or LF in a target, no credentials in a URL, no other scheme."""
    fetcher = HttpFetcher()
    with pytest.raises(ControlError, match="bad_url"):
        await get(fetcher, url)
    await fetcher.close()


async def test_header_value_with_line_break_is_refused():
    """Nothing that a caller hands in becomes a second header."""
    async with serving(OK) as (server, fetcher):
        with pytest.raises(ControlError):
            await get(fetcher, server.url, headers={"if-none-match": '"a\r\nx: y"'})
        assert server.requests == []


@pytest.mark.parametrize(
    "said",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nshort",
    ],
    ids=["garbage", "length", "header", "chunk", "gzip", "short"],
)
async def test_broken_answer_is_a_control_error(said):
    """Foreign exceptions end in the adapter, with a short code and no foreign text."""
    async with serving(said + b"", None) as (server, fetcher):
        with pytest.raises(ControlError) as error:
            await get(fetcher, server.url, timeout_s=2.0)
        assert str(error.value) in {"broken_answer", "cut_off"}
        assert error.value.__cause__ is None


async def test_refused_connection_is_a_control_error():
    """Nobody listens."""
    async with serving(OK) as (server, fetcher):
        url = server.url
    with pytest.raises(ControlError, match="closed"):
        await get(fetcher, url)
    other = HttpFetcher()
    with pytest.raises(ControlError, match="connection_failed"):
        await get(other, url)
    await other.close()


async def test_plain_server_behind_https_is_a_control_error():
    """TLS that fails is the issuer's trouble."""
    async with serving(OK) as (server, fetcher):
        with pytest.raises(ControlError):
            await get(fetcher, server.url.replace("http:", "https:"), timeout_s=0.2)


async def test_connections_are_bounded():
    """Further calls wait within their time-out."""
    async with serving("hang", connections=2) as (server, fetcher):
        fetches = [asyncio.create_task(get(fetcher, server.url)) for _ in range(10)]
        async with asyncio.timeout(5):
            await server.arrived.get()
            await server.arrived.get()
        await settle()
        assert server.connections == 2
        for each in fetches:
            each.cancel()
        await asyncio.wait(fetches)


async def test_fetch_is_cancelled_cleanly():
    """A caller that gives up leaves no connection behind."""
    async with serving("hang") as (server, fetcher):
        fetching = asyncio.create_task(get(fetcher, server.url))
        async with asyncio.timeout(5):
            await server.arrived.get()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
