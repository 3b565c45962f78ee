"""A stream at its transmitter over HTTP: found or made, asked for signs of life."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import web
from tests.feed_fakes import until
from tests.intake_kit import AUDIENCE, SSF, IntakeWorld, intake_world, security_event

from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.control.ssf_metadata import POLL, PUSH, metadata_url
from fastgate.control.stream_keeper import KeeperRules, StreamKeepers

RECEIVER = "https://gateway.example.com/sets"
WANTED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"


class Transmitter:
    """Speaks SSF's stream management; its verification events go to an intake.

    faults: Status by path, answered instead. document: Changes of the metadata.
    """

    def __init__(self, world: IntakeWorld) -> None:
        self.world = world
        self.base = ""
        self.streams: list[dict[str, Any]] = []
        self.state = "enabled"
        self.faults: dict[str, int] = {}
        self.document: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.credentials: set[str | None] = set()
        self.echoed: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.asked.append((request.method, request.rel_url.path))
        path = request.rel_url.path
        if path == "/.well-known/ssf-configuration":
            return web.json_response(self.metadata())
        self.credentials.add(request.headers.get("Authorization"))
        if path in self.faults:
            return web.Response(status=self.faults[path])
        if path == "/streams" and request.method == "POST":
            made = orjson.loads(await request.read())
            made |= {"stream_id": "made-1", "aud": AUDIENCE, "iss": self.base}
            made["min_verification_interval"] = 90
            self.streams.append(made)
            return web.json_response(made, status=201)
        if path == "/streams":
            return web.json_response(self.streams)
        if path == "/status":
            told = {"stream_id": request.rel_url.query["stream_id"]}
            return web.json_response(told | {"status": self.state})
        await self._verify(orjson.loads(await request.read()))
        return web.Response(status=204)

    def metadata(self) -> dict[str, Any]:
        said = {
            "spec_version": "1_0",
            "issuer": self.base,
            "configuration_endpoint": f"{self.base}/streams",
            "status_endpoint": f"{self.base}/status",
            "verification_endpoint": f"{self.base}/verify",
            "delivery_methods_supported": [PUSH, POLL],
            "critical_subject_members": ["tenant"],
        } | self.document
        return {name: value for name, value in said.items() if value is not None}

    async def _verify(self, asked: dict[str, str]) -> None:
        about = {"format": "opaque", "id": asked["stream_id"]}
        self.echoed.append(asked["state"])
        event = security_event(
            f"{SSF}verification",
            {"state": asked["state"]},
            jti=f"v-{len(self.echoed)}",
            sub_id=about,
        )
        await self.world.intake.pushed(event, None)

    def has(self, stream_id: str, url: str | None = RECEIVER, **changes: Any) -> None:
        """Have a stream that pushes to a URL, or None: is polled."""
        delivery: dict[str, Any] = {"method": POLL}
        if url is not None:
            delivery = {"method": PUSH, "endpoint_url": url}
        stream = {"stream_id": stream_id, "aud": [AUDIENCE], "delivery": delivery}
        self.streams.append(stream | changes)


class Keeping:
    """A keeper of one stream, its transmitter, and the intake behind both."""

    def __init__(self, world: IntakeWorld) -> None:
        self.world, self.transmitter = world, Transmitter(world)
        self.slept: list[float] = []
        self.fetcher = HttpFetcher()
        self.keepers = StreamKeepers(
            fetcher=self.fetcher,
            streams=world.intake.streams,
            alarms=world._alarm,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.005)

    def rules(self, **changes: Any) -> KeeperRules:
        rules = KeeperRules(
            alias="login",
            issuer=self.transmitter.base,
            metadata=metadata_url(self.transmitter.base),
            authorization="Bearer manage",
            audience=frozenset({AUDIENCE}),
            receiver=RECEIVER,
            delivered="Bearer push",
            create=False,
            events=(WANTED,),
            every_s=60.0,
        )
        return replace(rules, **changes)

    async def begin(self, **changes: Any) -> None:
        await self.keepers.follow([self.rules(**changes)])

    @property
    def line(self) -> dict[str, Any]:
        (line,) = self.world.intake.streams.status()
        return line


@pytest.fixture
async def keeping() -> AsyncIterator[Keeping]:
    async with intake_world() as world, contextlib.AsyncExitStack() as stack:
        here = Keeping(world)
        runner = web.ServerRunner(
            web.Server(here.transmitter.handle), shutdown_timeout=0.1
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.push_async_callback(here.fetcher.close)
        stack.push_async_callback(here.keepers.stop)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        here.transmitter.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield here


async def test_stream_is_found_among_others_and_its_whole_way_is_tried(keeping):
    """Status read, verification asked for, its state echoed through the intake."""
    keeping.transmitter.has("polled", None)
    keeping.transmitter.has("elsewhere", "https://other.example.com/sets")
    keeping.transmitter.has("foreign", aud="https://other.example.com")
    keeping.transmitter.has("ours")
    await keeping.begin()
    await until(lambda: keeping.line["verified_s"] is not None)
    assert (keeping.line["stream"], keeping.line["state"]) == ("ours", "enabled")
    assert keeping.transmitter.credentials == {"Bearer manage"}
    assert keeping.world.alarms == set()
    assert keeping.world.intake.streams.critical("login") == {"tenant"}
    await until(lambda: len(keeping.transmitter.echoed) >= 3)
    assert len(set(keeping.transmitter.echoed)) == len(keeping.transmitter.echoed)
    assert all(60 <= pause <= 72 for pause in keeping.slept)


async def test_stream_that_is_polled_is_found_by_its_method(keeping):
    keeping.transmitter.has("pushed")
    keeping.transmitter.has("polled", None)
    await keeping.begin(receiver=None)
    await until(lambda: keeping.line["stream"] == "polled")


async def test_stream_is_made_only_where_the_operator_says_so(keeping):
    """Until then an alarm; then one that delivers here, with what has an effect."""
    await keeping.begin()
    await until(lambda: ("ssf_manage", "login") in keeping.world.alarms)
    assert keeping.transmitter.streams == []
    await keeping.begin(create=True)
    await until(lambda: keeping.line["stream"] == "made-1")
    (made,) = keeping.transmitter.streams
    assert made["delivery"] == {
        "method": PUSH,
        "endpoint_url": RECEIVER,
        "authorization_header": "Bearer push",
    }
    assert made["events_requested"] == [WANTED]
    await until(lambda: keeping.world.alarms == set())
    # Its transmitter wants 90 s between verifications.
    await until(lambda: max(keeping.slept) >= 90)
    await until(lambda: len(keeping.transmitter.echoed) >= 3)
    assert len(keeping.transmitter.streams) == 1


async def test_paused_stream_raises_its_alarm_though_the_event_was_lost(keeping):
    """The status says it, without verification events that could say otherwise."""
    keeping.transmitter.has("ours")
    keeping.transmitter.document = {"verification_endpoint": None}
    keeping.transmitter.state = "paused"
    await keeping.begin()
    await until(lambda: ("ssf_stream", "login") in keeping.world.alarms)
    assert keeping.line["state"] == "paused"
    keeping.transmitter.state = "enabled"
    await until(lambda: keeping.world.alarms == set())


async def test_transmitter_that_is_asked_too_often_is_asked_less(keeping):
    """429: the pause doubles, and no alarm for what is no fault."""
    keeping.transmitter.has("ours")
    keeping.transmitter.faults = {"/verify": 429}
    await keeping.begin()
    await until(lambda: max(keeping.slept, default=0) >= 480)
    assert keeping.world.alarms == set()


@pytest.mark.parametrize(
    ("path", "status"), [("/streams", 401), ("/status", 500), ("/verify", 404)]
)
async def test_endpoint_that_fails_raises_an_alarm_and_all_is_looked_up_anew(
    keeping, path, status
):
    """Asked ever less, and well again by itself."""
    keeping.transmitter.has("ours")
    keeping.transmitter.faults = {path: status}
    await keeping.begin()
    await until(lambda: ("ssf_manage", "login") in keeping.world.alarms)
    await until(lambda: max(keeping.slept) >= 8)
    keeping.transmitter.faults = {}
    await until(lambda: keeping.world.alarms == set())
    looked_up = ("GET", "/.well-known/ssf-configuration")
    assert keeping.transmitter.asked.count(looked_up) >= 4


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"issuer": "https://evil.example.com"}, id="issuer"),
        pytest.param({"configuration_endpoint": None}, id="absent"),
        pytest.param({"configuration_endpoint": "file:///etc/passwd"}, id="scheme"),
        pytest.param({"status_endpoint": "http://u:p@127.0.0.1/"}, id="userinfo"),
        pytest.param({"verification_endpoint": 5}, id="number"),
        pytest.param({"critical_subject_members": "tenant"}, id="critical"),
        pytest.param({"delivery_methods_supported": {}}, id="methods"),
    ],
)
async def test_metadata_that_cannot_be_used_are_refused_whole_b10(keeping, document):
    """Nobody is asked anything, and no credential leaves."""
    keeping.transmitter.has("ours")
    keeping.transmitter.document = document
    await keeping.begin()
    await until(lambda: ("ssf_manage", "login") in keeping.world.alarms)
    assert keeping.transmitter.credentials == set()


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param({"stream_id": 5}, id="number"),
        pytest.param({"stream_id": "x" * 2_000}, id="long"),
        pytest.param({"delivery": "push"}, id="delivery"),
        pytest.param({"aud": [{"a": 1}]}, id="aud"),
    ],
)
async def test_stream_that_makes_no_sense_is_not_taken_for_ours(keeping, streams):
    keeping.transmitter.has("ours")
    keeping.transmitter.streams[0] |= streams
    await keeping.begin()
    await until(lambda: ("ssf_manage", "login") in keeping.world.alarms)
    assert keeping.line["stream"] is None


def test_metadata_are_between_host_and_path():
    """SSF 1.0 section 7.2, as RFC 8414 has it."""
    known = "https://t.example.com/.well-known/ssf-configuration"
    assert metadata_url("https://t.example.com") == known
    assert metadata_url("https://t.example.com/") == known
    assert metadata_url("https://t.example.com/a/b") == f"{known}/a/b"


async def test_reload_without_a_stream_ends_its_keeper_and_alarm(keeping):
    keeping.transmitter.faults = {"/streams": 500}
    await keeping.begin()
    await until(lambda: ("ssf_manage", "login") in keeping.world.alarms)
    await keeping.keepers.follow([])
    assert keeping.world.alarms == set()
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "stream-login"]
