"""Polled events: from a transmitter over HTTP; acknowledged once they are kept."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import web
from tests.feed_fakes import until
from tests.intake_kit import (
    CAEP,
    ISSUER,
    RULES,
    USER,
    IntakeWorld,
    intake_world,
    security_event,
)

from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.control.intake_rules import PollRules
from fastgate.control.set_poller import SetPollers
from fastgate.domain.revocation import Kind
from fastgate.errors import ControlError


class Transmitter:
    """Keeps SETs until they are acknowledged or refused, as RFC 8936 says.

    fault: Status that polls are answered instead. patient: It lets polls wait for long.
    body: Answered as it is, where there is one.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, Any] = {}
        self.acked: list[str] = []
        self.errors: dict[str, dict[str, str]] = {}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.fault = 0
        self.patient = False
        self.body: bytes | None = None

    async def handle(self, request: web.BaseRequest) -> web.Response:
        said = orjson.loads(await request.read())
        self.asked.append(said)
        self.headers.append(request.headers.get("Authorization"))
        if self.fault:
            return web.Response(status=self.fault)
        for jti in [*said["ack"], *said.get("setErrs", {})]:
            self.waiting.pop(jti, None)
        self.acked += said["ack"]
        self.errors |= said.get("setErrs", {})
        if self.patient and not said["returnImmediately"] and not self.waiting:
            await asyncio.sleep(3600)
        if self.body is not None:
            return web.Response(body=self.body)
        count = said["maxEvents"]
        sets = dict(list(self.waiting.items())[:count])
        more = len(self.waiting) > count
        return web.json_response({"sets": sets, "moreAvailable": more})


class Streams:
    """A transmitter that is polled, and what stands behind the poller."""

    def __init__(self, world: IntakeWorld, url: str, transmitter: Transmitter) -> None:
        self.world = world
        self.transmitter = transmitter
        self.alarms: set[str] = set()
        self.slept: list[float] = []
        self.fetcher = HttpFetcher()
        self.rules = PollRules("login", url, "Bearer abc", 0.2, 0.01, 4)
        self.pollers = SetPollers(
            fetcher=self.fetcher,
            take=world.intake.polled,
            clock=world.clock,
            alarms=self._alarm,
            sleep=self._sleep,
        )

    def _alarm(self, name: str, dependency: str, on: bool) -> None:
        assert dependency == "login"
        (self.alarms.add if on else self.alarms.discard)(name)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def polling(*events: str):
    """Poll a transmitter that has these events, named set-1 and so on."""
    transmitter = Transmitter()
    transmitter.waiting = {f"set-{n}": text for n, text in enumerate(events, 1)}
    server = web.Server(transmitter.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with intake_world(replace(RULES, pushed={})) as world:
        streams = Streams(world, f"http://127.0.0.1:{port}/poll", transmitter)
        try:
            await streams.pollers.follow([streams.rules])
            yield streams
        finally:
            await streams.pollers.stop()
            await streams.fetcher.close()
            await runner.cleanup()


def event(number: int, **changes: Any) -> str:
    session = {"format": "opaque", "id": f"s-{number}"}
    subject = {"format": "complex", "user": USER, "session": session}
    return security_event(**{"jti": f"set-{number}", "sub_id": subject} | changes)


async def test_polled_events_are_in_force_before_they_are_acknowledged():
    async with polling(*(event(n) for n in range(1, 11))) as streams:
        sent = streams.transmitter
        await until(lambda: len(sent.acked) == 10)
        assert sorted(sent.acked) == sorted(f"set-{n}" for n in range(1, 11))
        assert sent.errors == {}
        assert len(streams.world.index.entries) == 10
        assert streams.world.journal.last == 10
        assert max(len(asked["ack"]) for asked in sent.asked) <= 4
        assert set(sent.headers) == {"Bearer abc"}
        assert streams.alarms == set()


async def test_event_that_cannot_be_kept_is_not_acknowledged_and_comes_again():
    async with polling() as streams:
        streams.world.fault = ControlError("the journal is slow")
        streams.transmitter.waiting = {"set-1": event(1)}
        await until(lambda: len(streams.world.entered) >= 3)
        assert (streams.transmitter.acked, streams.transmitter.errors) == ([], {})
        streams.world.fault = None
        await until(lambda: streams.transmitter.acked == ["set-1"])
        assert streams.world.cutoff(Kind.SID, "s-1") is not None


async def test_bad_events_are_refused_by_name_and_hold_up_nobody_b10():
    async with polling() as streams:
        sent = streams.transmitter
        sent.waiting = {
            "set-1": event(1)[:-4] + "AAAA",
            "set-2": event(2, aud="other"),
            "set-3": event(77),
            "set-4": 5,
            "set-5": event(5),
        }
        await until(lambda: sent.acked == ["set-5"] and len(sent.errors) == 4)
        codes = {jti: said["err"] for jti, said in sent.errors.items()}
        assert codes == {
            "set-1": "invalid_key",
            "set-2": "invalid_audience",
            "set-3": "invalid_request",
            "set-4": "invalid_request",
        }
        assert len(streams.world.index.entries) == 1


async def test_event_that_breaks_us_holds_up_no_other():
    """A fault of ours: it stays where it is, and the rest goes on."""
    async with polling() as streams:
        take = streams.world.intake.polled

        async def broken(text: str, jti: str, alias: str) -> Any:
            if jti == "set-1":
                raise ZeroDivisionError
            return await take(text, jti, alias)

        await streams.pollers.stop()
        streams.pollers._take = broken
        streams.transmitter.waiting = {f"set-{n}": event(n) for n in (1, 2, 3)}
        await streams.pollers.follow([streams.rules])
        await until(lambda: sorted(streams.transmitter.acked) == ["set-2", "set-3"])
        assert list(streams.transmitter.waiting) == ["set-1"]
        assert streams.transmitter.errors == {}


async def test_event_that_ends_nothing_is_acknowledged():
    change = event(1, events={f"{CAEP}token-claims-change": {}})
    async with polling(change) as streams:
        await until(lambda: streams.transmitter.acked == ["set-1"])
        assert streams.world.index.entries == {}


async def test_event_that_was_kept_before_is_acknowledged_again():
    async with polling() as streams:
        await streams.world.intake.polled(event(1), "set-1", "login")
        streams.transmitter.waiting = {"set-1": event(1)}
        await until(lambda: streams.transmitter.acked == ["set-1"])
        assert streams.world.journal.last == 1


@pytest.mark.parametrize("fault", [401, 429, 500])
async def test_transmitter_that_fails_raises_an_alarm_and_is_asked_ever_less(fault):
    async with polling() as streams:
        sent = streams.transmitter
        sent.fault = fault
        await until(lambda: streams.alarms == {"ssf_poll"})
        (line,) = streams.pollers.status()
        assert (line["issuer"], line["error"]) == ("login", f"status_{fault}")
        await until(lambda: max(streams.slept) > 6)
        backing_off = [pause for pause in streams.slept if pause > 0.5]
        assert backing_off[0] < 2
        sent.fault, sent.waiting = 0, {"set-1": event(1)}
        await until(lambda: sent.acked == ["set-1"] and not streams.alarms)
        (line,) = streams.pollers.status()
        assert line["error"] is None
        assert line["answered_s"] < 60


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'{"sets": []}', id="sets-list"),
        pytest.param(b'{"sets": {}, "sets": {}}', id="doubled"),
        pytest.param(b"{" * 100_000, id="deep-j11"),
        pytest.param(b'{"a":"' + b"x" * (5 << 20) + b'"}', id="large-j11"),
    ],
)
async def test_answer_that_cannot_be_used_raises_an_alarm(body):
    async with polling() as streams:
        streams.transmitter.body = body
        await until(lambda: streams.alarms == {"ssf_poll"})
        streams.transmitter.body = None
        await until(lambda: not streams.alarms)


async def test_transmitter_that_lets_polls_wait_is_told_from_one_that_hangs():
    """After a poll that outlasted ours, one asks for an answer at once."""
    async with polling() as streams:
        sent = streams.transmitter
        sent.patient = True
        await until(lambda: sum(a["returnImmediately"] for a in sent.asked) >= 2)
        assert streams.alarms == set()
        sent.waiting = {"set-1": event(1)}
        await until(lambda: sent.acked == ["set-1"])


async def test_reload_keeps_a_stream_that_is_the_same_and_ends_others():
    async with polling() as streams:
        sent, rules = streams.transmitter, streams.rules
        [task] = streams.pollers._tasks.values()
        await streams.pollers.follow([replace(rules)])
        assert list(streams.pollers._tasks.values()) == [task]
        sent.fault = 500
        await until(lambda: streams.alarms == {"ssf_poll"})
        await streams.pollers.follow([])
        assert task.cancelled()
        assert streams.alarms == set()
        assert ISSUER in streams.world.intake.rules.events
