"""Status lists: from an issuer over HTTP, verified, onto a board that readers share."""

import asyncio
import base64
import contextlib
import time
import zlib
from typing import Any

import pytest
from aiohttp import web
from tests import tokens
from tests.feed_fakes import BootClock, until
from tests.intake_kit import ISSUER, signed

from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.adapters.shared_document import SharedDocument
from fastgate.adapters.status_board import StatusBoard
from fastgate.control.compact_jws import JwsVerifier
from fastgate.control.status_lists import StatusListRules, StatusLists, list_name
from fastgate.hotpath.keys import build_keys

TYPE = "application/statuslist+jwt"


class ListIssuer:
    """Serves lists by path, and an aggregation of them at /all.

    tokens: Body by path. types: Content type by path, where it is another one.
    metadata: Of the issuer, at /metadata.
    """

    def __init__(self) -> None:
        self.base = ""
        self.tokens: dict[str, str | bytes] = {}
        self.types: dict[str, str] = {}
        self.named: list[Any] = []
        self.metadata: dict[str, Any] = {"issuer": ISSUER}
        self.fetches: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.Response:
        path = request.path
        self.fetches.append(path)
        if path == "/all":
            return web.json_response({"status_lists": self.named})
        if path == "/metadata":
            return web.json_response(self.metadata)
        body = self.tokens.get(path)
        if body is None:
            return web.Response(status=404)
        raw = body if isinstance(body, bytes) else body.encode()
        headers = {"Content-Type": self.types.get(path, TYPE)}
        return web.Response(body=raw, headers=headers)

    def uri(self, path: str) -> str:
        return self.base + path

    def publish(self, path: str, raw: bytes, *, bits: int = 1, **changes: Any) -> None:
        """Serve a list."""
        self.tokens[path] = self.token(path, raw, bits=bits, **changes)

    def token(
        self,
        path: str,
        raw: bytes,
        *,
        bits: int = 1,
        typ: str = "statuslist+jwt",
        more: object = None,
        key: tokens.SigningKey | None = None,
        **changes: Any,
    ) -> str:
        lst = base64.urlsafe_b64encode(zlib.compress(raw)).rstrip(b"=").decode()
        claims = {
            "sub": self.uri(path),
            "iat": int(time.time()),
            "ttl": 60,
            "status_list": {"bits": bits, "lst": lst},
        }
        if more is not None:
            claims["status_list"]["aggregation_uri"] = more
        return signed(claims | changes, typ, key)


class Lists:
    """Lists of one issuer, kept on a board."""

    def __init__(self, issuer: ListIssuer) -> None:
        self.issuer = issuer
        self.clock = BootClock()
        self.alarms: set[tuple[str, str]] = set()
        self.waits: list[float] = []
        self.go = asyncio.Event()
        self.fetcher = HttpFetcher()
        head, data = bytearray(1 << 16), bytearray(1 << 20)
        self.reader = self._board(head, data, writable=False)
        self._memory = head, data
        self.lists = self.successor()

    def successor(self) -> StatusLists:
        """Return the lists of a new agent, on the same board."""
        keys = {"login": build_keys([tokens.signing_key().jwk()], True)}
        return StatusLists(
            board=self._board(*self._memory, writable=True),
            fetcher=self.fetcher,
            verifier=JwsVerifier(keys=keys.get, asked=_nothing),
            clock=self.clock,
            alarms=self._alarm,
            sleep=self._sleep,
        )

    def _board(self, head: bytearray, data: bytearray, *, writable: bool):
        directory = SharedDocument(head, writable=writable)
        return StatusBoard(directory, memoryview(data))

    def _alarm(self, name: str, dependency: str, on: bool) -> None:
        (self.alarms.add if on else self.alarms.discard)((name, dependency))

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.go.wait()
        await asyncio.sleep(0.005)

    def rules(
        self, *paths: str, aggregation: str | None = None, discover: bool = False
    ) -> StatusListRules:
        return StatusListRules(
            alias="login",
            issuer=ISSUER,
            hosts=frozenset({self.issuer.base.partition("://")[2]}),
            lists=tuple(map(self.issuer.uri, paths)),
            aggregation=aggregation and self.issuer.uri(aggregation),
            algorithms=frozenset({"ES256"}),
            leeway_s=5,
            metadata=self.issuer.uri("/metadata") if discover else None,
        )

    def status(self, path: str, index: int) -> int:
        """What the gate is told now."""
        name = list_name("login", self.issuer.uri(path))
        return self.reader.status(name, index, self.clock.boot_ns())

    def left_s(self, path: str) -> float:
        """For how long a list may still be relied upon."""
        lines = {line["uri"]: line["fresh_s"] for line in self.lists.status()}
        return lines[self.issuer.uri(path)]


async def _nothing(*_: Any) -> None:
    """Stand for an issuer that has no other keys."""


@contextlib.asynccontextmanager
async def keeping():
    issuer = ListIssuer()
    runner = web.ServerRunner(web.Server(issuer.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    world = Lists(issuer)
    try:
        yield world
    finally:
        await world.lists.stop()
        await world.fetcher.close()
        await runner.cleanup()


async def test_list_is_fetched_checked_and_looked_at_in_place():
    async with keeping() as world:
        world.issuer.publish("/1", b"\xb9\xa3", ttl=40)
        await world.lists.follow([world.rules("/1")])
        await until(lambda: world.status("/1", 0) == 1)
        assert [world.status("/1", i) for i in range(4)] == [1, 0, 0, 1]
        assert world.status("/1", 16) == -2
        assert 35 < world.left_s("/1") <= 40
        # Again well before its time is over, so that a change is known within it.
        assert 16 <= world.waits[0] <= 20
        assert world.alarms == set()


async def test_change_is_followed_and_a_lost_list_is_kept_until_its_time():
    async with keeping() as world:
        world.issuer.publish("/1", b"\x00")
        await world.lists.follow([world.rules("/1")])
        await until(lambda: world.status("/1", 0) == 0)
        world.issuer.publish("/1", b"\x01")
        world.go.set()
        await until(lambda: world.status("/1", 0) == 1)
        world.issuer.tokens.clear()
        await until(lambda: world.alarms == {("status_list", "login")})
        assert world.status("/1", 0) == 1
        (line,) = world.lists.status()
        assert (line["error"], line["age_s"] < 60) == ("status_404", True)
        assert line["fresh_s"] > 0
        world.issuer.publish("/1", b"\x00")
        await until(lambda: world.status("/1", 0) == 0 and not world.alarms)
        (line,) = world.lists.status()
        assert line["error"] is None
        assert 0 < line["next_s"] <= 30


def _good(issuer: ListIssuer) -> str:
    return issuer.token("/bad", b"\x00")


FORGER = tokens.SigningKey("ES256", tokens.signing_key().kid)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda i: i.token("/bad", b"\0", key=FORGER), id="forged"),
        pytest.param(lambda i: i.token("/1", b"\0"), id="another-list"),
        pytest.param(lambda i: i.token("/bad", b"\0", typ="JWT"), id="typ-j10"),
        pytest.param(lambda i: i.token("/bad", b"\0", typ="at+jwt"), id="access"),
        pytest.param(lambda i: i.token("/bad", b"\0", bits=3), id="bits"),
        pytest.param(lambda i: i.token("/bad", b"\0", exp=1), id="expired"),
        pytest.param(lambda i: i.token("/bad", b"\0", iss="https://evil"), id="iss"),
        pytest.param(lambda i: _good(i)[:-4] + "AAAA", id="signature"),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda _: b"\xff\xfe", id="binary"),
        pytest.param(lambda _: b"a" * (9 << 20), id="large-j11"),
        pytest.param(lambda i: i.token("/bad", bytes(17 << 20)), id="bomb-j13"),
        pytest.param(lambda i: i.token("/bad", bytes(2 << 20)), id="no-room"),
    ],
)
async def test_bad_list_is_not_published_and_stops_no_other(spoil):
    async with keeping() as world:
        world.issuer.publish("/1", b"\x01")
        world.issuer.tokens["/bad"] = spoil(world.issuer)
        await world.lists.follow([world.rules("/bad", "/1")])
        await until(lambda: world.status("/1", 0) == 1)
        await until(lambda: world.alarms == {("status_list", "login")})
        assert world.status("/bad", 0) == -1
        assert world.left_s("/bad") == 0


async def test_answer_of_another_media_type_is_no_list():
    async with keeping() as world:
        world.issuer.publish("/1", b"\x00")
        world.issuer.types["/1"] = "text/html"
        await world.lists.follow([world.rules("/1")])
        await until(lambda: world.alarms)
        assert world.status("/1", 0) == -1


async def test_aggregation_names_lists_and_only_allowed_hosts_are_asked():
    """SSRF: neither another host nor another scheme, however it is spelled."""
    async with keeping() as world:
        issuer = world.issuer
        issuer.publish("/1", b"\x01")
        issuer.publish("/2", b"\x00")
        host = issuer.base.partition("://")[2]
        issuer.named = [
            issuer.uri("/1"),
            issuer.uri("/2"),
            "http://169.254.169.254/latest",
            f"http://user@{host}/3",
            f"http://evil.example.com#@{host}/3",
            f"ftp://{host}/3",
            "file:///etc/passwd",
            f"http://{host}.evil.example.com/3",
            f"//{host}/3",
            5,
            None,
            "http://[",
        ]
        await world.lists.follow([world.rules(aggregation="/all")])
        await until(lambda: world.status("/1", 0) == 1 and world.status("/2", 0) == 0)
        assert set(issuer.fetches) == {"/all", "/1", "/2"}
        assert len(world.lists.status()) == 2
        issuer.named = [issuer.uri("/2")]
        world.go.set()
        await until(lambda: world.status("/1", 0) == -1)
        assert world.status("/2", 0) == 0


@pytest.mark.parametrize("by", ["list", "metadata"])
async def test_lists_are_found_by_what_a_list_or_the_issuer_says(by):
    """Only where the operator wants it, and only at the hosts that he named."""
    async with keeping() as world:
        issuer = world.issuer
        issuer.publish("/2", b"\x01")
        issuer.named = [issuer.uri("/2"), "http://169.254.169.254/latest"]
        if by == "list":
            issuer.publish("/1", b"\x00", more=issuer.uri("/all"))
        else:
            issuer.publish("/1", b"\x00", more="http://169.254.169.254/all")
            issuer.metadata["status_list_aggregation_endpoint"] = issuer.uri("/all")
        await world.lists.follow([world.rules("/1")])
        await until(lambda: world.status("/1", 0) == 0)
        assert issuer.fetches == ["/1"]
        await world.lists.follow([world.rules("/1", discover=True)])
        await until(lambda: world.status("/2", 0) == 1)
        assert world.alarms == set()
        assert set(issuer.fetches) == {"/1", "/2", "/all", "/metadata"}
        await world.lists.follow([world.rules("/1")])
        assert (world.status("/1", 0), world.status("/2", 0)) == (0, -1)


async def test_list_of_another_agent_is_dropped_once_all_that_names_lists_was_read():
    """Not before: what was found out yesterday is good until it was asked for again."""
    async with keeping() as world:
        issuer = world.issuer
        for path in ("/1", "/2", "/3"):
            issuer.publish(path, b"\x00")
        await world.lists.follow([world.rules("/2", "/3")])
        await until(lambda: world.status("/2", 0) == world.status("/3", 0) == 0)
        await world.lists.stop()
        issuer.publish("/1", b"\x00", more=issuer.uri("/all"))
        issuer.named = [issuer.uri("/2")]
        later = world.successor()
        held = issuer.tokens.pop("/1")
        await later.follow([world.rules("/1", discover=True)])
        await until(lambda: "/metadata" in issuer.fetches and world.alarms)
        assert world.status("/2", 0) == world.status("/3", 0) == 0
        issuer.tokens["/1"] = held
        world.go.set()
        await until(lambda: world.status("/3", 0) == -1)
        assert world.status("/2", 0) == 0
        await later.stop()


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"issuer": "https://evil.example.com"}, id="issuer"),
        pytest.param({"status_list_aggregation_endpoint": 5}, id="number"),
    ],
)
async def test_metadata_that_cannot_be_used_raise_an_alarm_and_name_nothing(metadata):
    async with keeping() as world:
        named = {"status_list_aggregation_endpoint": world.issuer.uri("/all")}
        world.issuer.metadata |= named | metadata
        world.issuer.publish("/1", b"\x00")
        await world.lists.follow([world.rules("/1", discover=True)])
        await until(lambda: world.alarms == {("status_list", "login")})
        await until(lambda: world.status("/1", 0) == 0)
        assert "/all" not in world.issuer.fetches


async def test_documents_that_lists_name_are_bounded():
    """Each list may name another one; eight are asked, and no host but the allowed."""
    async with keeping() as world:
        issuer = world.issuer
        paths = [f"/{n}" for n in range(12)]
        for path in paths:
            issuer.publish(path, b"\x00", more=issuer.uri(f"/all{path}"))
        await world.lists.follow([world.rules(*paths, discover=True)])
        await until(lambda: all(world.status(path, 0) == 0 for path in paths))
        await until(lambda: sum(p.startswith("/all") for p in issuer.fetches) == 8)
        assert len(world.lists._found[world.rules(*paths, discover=True)]) == 8


async def test_reload_keeps_a_list_that_is_the_same_and_drops_others():
    async with keeping() as world:
        world.issuer.publish("/1", b"\x01")
        world.issuer.publish("/2", b"\x01")
        await world.lists.follow([world.rules("/1"), world.rules("/2")])
        await until(lambda: world.status("/1", 0) == world.status("/2", 0) == 1)
        await world.lists.follow([world.rules("/1")])
        assert (world.status("/1", 0), world.status("/2", 0)) == (1, -1)
        assert world.issuer.fetches.count("/1") == 1
        await world.lists.follow([])
        assert world.status("/1", 0) == -1
