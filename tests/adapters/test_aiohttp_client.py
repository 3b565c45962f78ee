"""The pool of upstream connections: which are reused, how many, and where they go."""

import asyncio
import socket
import ssl

import pytest
from tests.recorder import Recorded, Talk, answer, recording

from fastgate.adapters.aiohttp_client import pool as pool_module
from fastgate.adapters.aiohttp_client.pool import UpstreamPool
from fastgate.errors import BugError, UpstreamError

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def connect(pool: UpstreamPool, base: str, **changes):
    fields = {"fresh": False, "timeout_s": 2.0, "limit": 8} | changes
    return await pool.connect(base, **fields)


async def exchange(link) -> bytes:
    link.expect("GET", upgrade=False)
    link.send(REQUEST)
    await link.answer()
    body = b""
    while data := await link.read():
        body += data
    return body


@pytest.fixture
async def pool():
    made = UpstreamPool()
    yield made
    made.close()


async def test_pool_reuses_a_connection_whose_exchange_ended_cleanly(pool):
    """The second exchange finds it, and says so."""
    async with recording() as up:
        first = await connect(pool, up.base)
        assert not first.reused
        assert await exchange(first) == b"ok"
        first.release()
        second = await connect(pool, up.base)
        assert second.reused
        assert await exchange(second) == b"ok"
        assert up.connections == 1


async def test_pool_makes_a_fresh_connection_where_one_is_asked_for(pool):
    """A retry must not meet another connection that is being closed."""
    async with recording() as up:
        first = await connect(pool, up.base)
        await exchange(first)
        first.release()
        assert not (await connect(pool, up.base, fresh=True)).reused
        assert up.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        answer(headers=b"Connection: close\r\n"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        answer() + b"more",
    ],
    ids=["close", "http_1_0", "over_run"],
)
async def test_pool_keeps_no_connection_that_cannot_serve_again(pool, reply):
    """Told to close, too old, or with bytes left over."""

    async def say(_: Recorded, talk: Talk) -> bool:
        await talk.send(reply)
        return True

    async with recording(say) as up:
        link = await connect(pool, up.base)
        assert await exchange(link) == b"ok"
        link.release()
        assert not (await connect(pool, up.base)).reused


async def test_pool_keeps_no_connection_whose_body_was_not_read_to_its_end(pool):
    """Its rest would be the next exchange's answer (T24)."""

    async def half(_: Recorded, talk: Talk) -> bool:
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
        return await talk.gone()

    async with recording(half) as up:
        link = await connect(pool, up.base)
        link.expect("GET", upgrade=False)
        link.send(REQUEST)
        await link.answer()
        link.release()
        await up.until(lambda it: it.closed == 1)


async def test_pool_closes_connections_that_were_idle_for_too_long(pool, monkeypatch):
    """Before the upstream does it, so that requests are not written into a close."""
    monkeypatch.setattr(pool_module, "IDLE_S", 0.02)
    async with recording() as up:
        link = await connect(pool, up.base)
        await exchange(link)
        link.release()
        await up.until(lambda it: it.closed == 1)
        assert not (await connect(pool, up.base)).reused


async def test_pool_refuses_past_the_limit_of_an_address_and_recovers(pool):
    """Those that stand and those being made count; a closed one frees its place."""
    async with recording() as up:
        first = await connect(pool, up.base, limit=1)
        with pytest.raises(UpstreamError) as caught:
            await connect(pool, up.base, limit=1)
        assert caught.value.reason == "overloaded"
        first.abort()
        await up.until(lambda it: it.closed == 1)
        await connect(pool, up.base, limit=1)
        results = await asyncio.gather(
            *(connect(pool, up.base + "/", limit=3) for _ in range(5)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, UpstreamError) for result in results) == 2


async def test_pool_says_refused_where_nobody_listens(pool):
    """The reason that becomes 502."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    with pytest.raises(UpstreamError) as caught:
        await connect(pool, base)
    assert caught.value.reason == "upstream_refused"


async def test_pool_takes_no_address_without_a_host(pool):
    """The configuration checks addresses, so this is a fault of ours."""
    with pytest.raises(BugError):
        await connect(pool, "http:///path")


async def test_pool_speaks_tls_only_to_a_peer_that_it_can_verify(pool):
    """A plain upstream behind https is a bad one, never a silent downgrade."""
    async with recording() as up:
        with pytest.raises(UpstreamError) as caught:
            await connect(pool, up.base.replace("http:", "https:"), timeout_s=1.0)
        assert caught.value.reason in {"bad_upstream_response", "upstream_timeout"}
        assert not up.requests
    assert pool._tls.verify_mode is ssl.CERT_REQUIRED
    assert pool._tls.check_hostname


class Resolver:
    """Stands in for the loop's getaddrinfo."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pool: UpstreamPool) -> None:
        self.calls = 0
        self.addresses = ["127.0.0.1"]
        self.fails = False
        monkeypatch.setattr(pool.loop, "getaddrinfo", self)

    async def __call__(self, host, port, **_):
        self.calls += 1
        if self.fails:
            raise socket.gaierror(-2, "unknown")
        return [(socket.AF_INET, 1, 6, "", (a, port)) for a in self.addresses]


def named(base: str) -> str:
    return base.replace("127.0.0.1", "up.example")


async def test_f22_pool_remembers_a_name_and_keeps_the_last_good_address(
    pool, monkeypatch
):
    """While the resolver is away, the address that worked is used."""
    resolver = Resolver(monkeypatch, pool)
    async with recording() as up:
        for _ in range(3):
            (await connect(pool, named(up.base), fresh=True)).abort()
        assert resolver.calls == 1
        resolver.fails = True
        monkeypatch.setattr(pool_module, "RESOLVED_S", -1.0)
        pool._names = {host: (known, 0.0) for host, (known, _) in pool._names.items()}
        (await connect(pool, named(up.base), fresh=True)).abort()
        assert resolver.calls == 2


async def test_f22_pool_says_refused_for_a_name_that_never_was(pool, monkeypatch):
    """NXDOMAIN at the first try: 502, not an exception of the resolver."""
    Resolver(monkeypatch, pool).fails = True
    with pytest.raises(UpstreamError) as caught:
        await connect(pool, "http://nowhere.example:80")
    assert caught.value.reason == "upstream_refused"


async def test_pool_tries_the_next_address_of_a_name(pool, monkeypatch):
    """A name with several addresses works while one of them does."""
    resolver = Resolver(monkeypatch, pool)
    resolver.addresses = ["127.0.0.2", "127.0.0.1"]
    async with recording() as up:
        assert not (await connect(pool, named(up.base))).reused
