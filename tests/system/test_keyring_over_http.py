"""The keyring with its real neighbours: loopback HTTP and a disk."""

import asyncio
import time

import orjson
from tests.jwk_makers import ec_pair
from tests.key_fakes import Alarms
from tests.raw_issuer import serving

from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.adapters.key_files import KeyFiles
from fastgate.control.key_policy import KeySource
from fastgate.control.keyring import Keyring
from fastgate.control.keys_document import read_published
from fastgate.hotpath.keys import build_keys


class RealClock:
    """Both clocks of this host."""

    def wall_s(self):
        return time.time()

    def boot_ns(self):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Published:
    """Keeps the newest document and wakes whoever waits for keys."""

    def __init__(self):
        self.said = None
        self.arrived = asyncio.Event()

    def __call__(self, document):
        self.said = read_published(document)["login"]
        if self.said.jwks:
            self.arrived.set()


def keyring(url, fetcher, tmp_path, published):
    """Return a keyring of one issuer."""
    return Keyring(
        issuers=[KeySource("login", "https://login.example.com", url)],
        fetcher=fetcher,
        clock=RealClock(),
        store=KeyFiles(tmp_path),
        publish=published,
        alarms=Alarms(),
    )


async def test_keys_travel_from_issuer_to_verification_and_over_a_restart(tmp_path):
    """Fetched, published, verified with; then the issuer is gone and they still are."""
    pair = ec_pair()
    body = orjson.dumps({"keys": [pair.jwk(kid="a", alg="ES256")]})
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
    async with serving(head % len(body) + body) as (server, fetcher):
        first = Published()
        ring = keyring(server.url + "/jwks", fetcher, tmp_path, first)
        await ring.start()
        async with asyncio.timeout(10):
            await first.arrived.wait()
        await asyncio.gather(*(ring.asked("login", f"bogus-{n}") for n in range(1000)))
        await ring.stop()
        assert len(server.requests) == 2
    keys = build_keys(first.said.jwks, first.said.last_fetch_ok)
    signature = pair.sign("ES256", b"signed")
    assert keys.by_kid["a"].verify("ES256", signature, b"signed")
    assert keys.last_fetch_ok

    again = Published()
    fetcher = HttpFetcher()
    ring = keyring(server.url + "/jwks", fetcher, tmp_path, again)
    await ring.start()
    await ring.refresh(wait=True)
    await ring.stop()
    await fetcher.close()
    restored = build_keys(again.said.jwks, again.said.last_fetch_ok)
    assert restored.by_kid["a"].verify("ES256", signature, b"signed")
    assert not restored.last_fetch_ok
