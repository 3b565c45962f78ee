"""Upstream: it answers what it saw, and nothing that is secret."""

import aiohttp
import pytest
from multidict import CIMultiDict
from yarl import URL

from fastgate.demo.signing import IssuerKeys
from fastgate.demo.upstream import DOWNLOAD, LIVE, Upstream

HOST = "127.0.0.1"


@pytest.fixture
async def upstream():
    api = Upstream("us")
    api.port = await api.start(HOST, 0)
    yield api
    await api.stop()


async def ask(upstream, target, method="GET", **options):
    url = URL(f"http://{HOST}:{upstream.port}{target}", encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **options) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["X-Demo-Region"] == upstream.region
        return await answer.json()


async def test_upstream_says_its_region_and_the_raw_target(upstream):
    """Nothing of the target is decoded on the way."""
    seen = await ask(upstream, "/orders/a%2Fb?x=%20&y", method="POST", data=b"12345")
    assert seen["region"] == "us"
    assert seen["target"] == "/orders/a%2Fb?x=%20&y"
    assert (seen["method"], seen["body_bytes"]) == ("POST", 5)


async def test_upstream_counts_requests(upstream):
    """The tour reads from the count that nothing got through."""
    await ask(upstream, "/one")
    assert (await ask(upstream, "/two"))["request"] == 2
    assert upstream.requests == 2


async def test_upstream_tells_kinds_of_credentials_apart(upstream):
    """A JWT shows its type; no credential is ever repeated."""
    token = IssuerKeys().token({"sub": "bob"}, "at+jwt")
    for value, expected in (
        (f"Bearer {token}", {"scheme": "Bearer", "kind": "jwt", "typ": "at+jwt"}),
        ("Bearer opaque-one", {"scheme": "Bearer", "kind": "opaque"}),
        ("Bearer a.b.c", {"scheme": "Bearer", "kind": "opaque"}),
    ):
        seen = await ask(upstream, "/", headers={"Authorization": value})
        assert seen["authorization"] == expected
        assert value.partition(" ")[2] not in str(seen)
    assert (await ask(upstream, "/"))["authorization"] == {"kind": "none"}


async def test_upstream_shows_every_copy_of_an_identity_header(upstream):
    """A spoofed copy beside the gateway's own would be seen."""
    headers = CIMultiDict([("X-Fastgate-Subject", "bob"), ("X-Fastgate-Scope", "a b")])
    headers.add("X-Fastgate-Subject", "eve")
    seen = await ask(upstream, "/", headers=headers)
    assert seen["identity"] == {"subject": ["bob", "eve"], "scope": ["a b"]}


async def test_upstream_waits_as_long_as_it_is_told(upstream, monkeypatch):
    """A slow API on request, within a bound."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("fastgate.demo.upstream.asyncio.sleep", sleep)
    await ask(upstream, "/?wait_ms=1500")
    await ask(upstream, "/?wait_ms=999999")
    await ask(upstream, "/?wait_ms=-1")
    assert [wait for wait in waits if wait] == [1.5, 10.0]


async def test_upstream_has_something_that_goes_on(upstream):
    """A download without an end, and a WebSocket that says what it was told."""
    base = f"http://{HOST}:{upstream.port}"
    async with aiohttp.ClientSession() as session:
        async with session.get(base + DOWNLOAD) as answer:
            first = await answer.content.readexactly(1024)
            second = await answer.content.readexactly(1024)
            assert first == second == b"x" * 1024
            assert not answer.content.at_eof()
        async with session.ws_connect(base + LIVE) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
    assert upstream.requests == 2
