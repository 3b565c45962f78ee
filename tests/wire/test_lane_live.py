"""What goes on for long is judged again, and ends with the session it belongs to."""

import asyncio
from dataclasses import dataclass

import pytest
from tests.fakes import decided
from tests.lane_kit import eventually, gateway, issuer_profile, public, snapshot_of
from tests.recorder import Recorded, Talk, recording
from tests.wire.test_lane_upgrades import SWITCH, UPGRADE

from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.verdict import Reason, Verdict

GET = b"GET /download HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin"
CLOSE_1008 = b"\x88\x0f\x03\xf0invalid_token"
CLOSE_1013 = b"\x88\x12\x03\xf5stale_revocation"
WALL_S = 1_800_000_000


@dataclass
class Facts:
    """Of a verified token, as far as a lane reads them."""

    exp: int = WALL_S + 3600
    kid: str | None = "k1"
    identity_lines: bytes = b""


class Session:
    """Judges all requests by whether one session is revoked."""

    def __init__(self, **facts):
        self.facts = Facts(**facts)
        self.reason: Reason | None = None
        self.asks = False
        self.asked = []

    def __call__(self, head, snapshot, asked):
        fields = {"facts": self.facts, "kind": "jwt"}
        if self.asks and asked is not None and asked.introspection is None:
            self.asked.append(head.path)
            fields |= {"credential": b"opaque", "stale_question": True}
            return decided(Verdict.ASK_INTROSPECTION, snapshot, head, **fields)
        if self.reason is not None:
            fields["reason"] = self.reason
            return decided(Verdict.DENY, snapshot, head, **fields)
        return decided(Verdict.ALLOW, snapshot, head, **fields)


def protected(base, **changes):
    return public(base, issuer=issuer_profile(), **changes)


def saying(first):
    async def script(_: Recorded, talk: Talk) -> bool:
        await talk.send(first)
        return await talk.gone()

    return script


async def begun(gw, data=GET, mark=b"begin"):
    client = await gw.connect()
    await client.send(data)
    await client.until(mark)
    return client


@pytest.mark.parametrize("answer", [CHUNKED, SIZED], ids=["chunked", "sized"])
async def test_an_urgent_event_cuts_the_answers_of_its_session_that_go_on(answer):
    """No client takes the cut answer for complete, and the upstream is let go."""
    session = Session()
    async with (
        recording(saying(answer)) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):
        gw.gate.script = session
        client = await begun(gw)
        session.reason = Reason.REVOKED
        await gw.live.look()
        assert up.closed == 0  # nothing urgent has come, and it is not due yet
        gw.urgent += 1
        await gw.live.look()
        clean = await client.ended_cleanly()
        assert clean == (answer is CHUNKED)
        assert client.buffer.endswith(b"begin" + b"\r\n" * clean)
        await up.until(lambda it: it.closed == 1)
        (line,) = await gw.logged(1)
        assert (line["status"], line["reason"]) == (200, "revoked")


async def test_an_urgent_event_leaves_other_sessions_alone():
    """Both are judged, one ends, and the other's answer comes whole."""
    session = Session()
    said = asyncio.Event()

    async def script(_: Recorded, talk: Talk) -> bool:
        await talk.send(CHUNKED)
        await said.wait()
        await talk.send(b"3\r\nend\r\n0\r\n\r\n")
        return True

    async with (
        recording(script) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):

        def judge(head, snapshot, asked):
            if head.path == "/other":
                return decided(Verdict.ALLOW, snapshot, head, facts=Facts(), kind="jwt")
            return session(head, snapshot, asked)

        gw.gate.script = judge
        revoked = await begun(gw)
        other = await begun(gw, GET.replace(b"/download", b"/other"))
        session.reason = Reason.REVOKED
        gw.urgent += 1
        await gw.live.look()
        await revoked.ended_cleanly()
        said.set()
        await other.until(b"end\r\n0\r\n\r\n")


async def test_what_goes_on_is_judged_again_every_max_staleness():
    """Without any urgent event; by both clocks of that moment."""
    session = Session()
    async with (
        recording(saying(CHUNKED)) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):
        gw.gate.script = session
        client = await begun(gw)
        for _ in range(3):
            gw.clock.advance(10.0)
            await gw.live.look()
            assert gw.gate.instants[-1] == (
                int(gw.clock.wall_s()),
                gw.clock.boot_ns(),
            )
        looks = len(gw.gate.instants)
        gw.clock.advance(0.6)
        await gw.live.look()
        assert len(gw.gate.instants) == looks
        session.reason = Reason.STALE_REVOCATION
        gw.clock.advance(9.5)
        await gw.live.look()
        await client.ended_cleanly()
        (line,) = await gw.logged(1)
        assert line["reason"] == "stale_revocation"


async def test_an_answer_outlives_the_expiry_of_its_token_but_not_a_revocation():
    """Its times are judged as of the last second of the token."""
    session = Session(exp=WALL_S + 30)
    async with (
        recording(saying(CHUNKED)) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):
        gw.gate.script = session
        client = await begun(gw)
        gw.clock.advance(60.0)
        await gw.live.look()
        assert gw.gate.instants[-1] == (WALL_S + 29, gw.clock.boot_ns())
        session.reason = Reason.REVOKED
        gw.urgent += 1
        await gw.live.look()
        await client.ended_cleanly()


async def test_a_decision_from_before_an_urgent_event_is_judged_again_once_it_lasts():
    """The answer began after the walk that the event caused."""
    session = Session()
    ready = asyncio.Event()

    async def script(_: Recorded, talk: Talk) -> bool:
        await ready.wait()
        await talk.send(CHUNKED)
        return await talk.gone()

    async with (
        recording(script) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):
        gw.gate.script = session
        client = await gw.connect()
        await client.send(GET)
        await up.until(lambda it: len(it.requests) == 1)
        session.reason = Reason.REVOKED
        gw.urgent += 1
        await gw.live.look()
        ready.set()
        await client.until(b"begin")
        gw.clock.advance(0.6)
        await gw.live.look()
        await client.ended_cleanly()
        (line,) = await gw.logged(1)
        assert line["reason"] == "revoked"


async def test_a_client_that_waits_for_its_answer_is_refused():
    """A long poll of a revoked session gets 401, not what it waits for."""
    session = Session()

    async def silent(_: Recorded, talk: Talk) -> bool:
        return await talk.gone()

    async with (
        recording(silent) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):
        gw.gate.script = session
        client = await gw.connect()
        await client.send(GET)
        await up.until(lambda it: len(it.requests) == 1)
        gw.clock.advance(2.0)
        session.reason = Reason.REVOKED
        gw.urgent += 1
        await gw.live.look()
        got = await client.response()
        assert (got.status, got.code) == (401, "invalid_token")


async def test_a_stale_view_may_have_the_issuer_asked_about_what_goes_on():
    """Active: it goes on. Inactive: it ends. One question a turn."""
    session = Session()
    async with (
        recording(saying(CHUNKED)) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):
        gw.gate.script = session
        client = await begun(gw)
        session.asks = True
        gw.clock.advance(10.0)
        await gw.live.look()
        await eventually(lambda: len(gw.gate.heads) == 3)
        gw.clock.advance(1.0)
        await gw.live.look()
        assert session.asked == ["/download"]
        session.reason = Reason.INACTIVE
        gw.clock.advance(10.0)
        await gw.live.look()
        await client.ended_cleanly()
        assert session.asked == ["/download", "/download"]


async def test_a_gate_that_fails_ends_what_it_cannot_judge():
    """Nothing goes on because of a fault of ours."""
    async with (
        recording(saying(CHUNKED)) as up,
        gateway(snapshot_of(protected(up.base))) as gw,
    ):
        gw.gate.script = Session()
        client = await begun(gw)

        def broken(head, snapshot, asked):
            raise RuntimeError

        gw.gate.script = broken
        gw.urgent += 1
        await gw.live.look()
        await client.ended_cleanly()
        (line,) = await gw.logged(1)
        assert line["reason"] == "internal_error"


async def test_an_answer_that_needed_no_token_is_never_judged_again():
    """Public routes have nothing that could be revoked."""
    async with (
        recording(saying(CHUNKED)) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        await begun(gw)
        looks = len(gw.gate.heads)
        gw.urgent += 1
        gw.clock.advance(100.0)
        await gw.live.look()
        assert len(gw.gate.heads) == looks


@pytest.mark.parametrize(
    ("reason", "frame"),
    [(Reason.REVOKED, CLOSE_1008), (Reason.STALE_REVOCATION, CLOSE_1013)],
    ids=["revoked", "stale"],
)
async def test_a_websocket_is_closed_with_a_code_and_a_reason(reason, frame):
    """1008 for the token's fault, 1013 for ours; the upstream is let go."""
    session = Session()
    async with recording(saying(SWITCH + b"\x81\x05hello")) as up:
        route = protected(up.base, websocket=True)
        async with gateway(snapshot_of(route)) as gw:
            gw.gate.script = session
            client = await begun(gw, UPGRADE, b"hello")
            session.reason = reason
            gw.urgent += 1
            await gw.live.look()
            assert await client.ended_cleanly()
            assert client.buffer.endswith(b"hello" + frame)
            await up.until(lambda it: it.closed == 1)
            (line,) = await gw.logged(1)
            assert (line["status"], line["reason"]) == (101, reason.value)


async def test_a_websocket_is_closed_between_two_frames():
    """A frame that has begun is ended first; what is behind it is not passed on."""
    session = Session()
    more = asyncio.Event()

    async def script(_: Recorded, talk: Talk) -> bool:
        await talk.send(SWITCH + b"\x81\x0bhello")
        await more.wait()
        await talk.send(b" world\x81\x06secret")
        return await talk.gone()

    async with recording(script) as up:
        route = protected(up.base, websocket=True)
        async with gateway(snapshot_of(route)) as gw:
            gw.gate.script = session
            client = await begun(gw, UPGRADE, b"hello")
            session.reason = Reason.REVOKED
            gw.urgent += 1
            await gw.live.look()
            for _ in range(10):
                await asyncio.sleep(0)  # the loop lets the two directions go
            more.set()
            assert await client.ended_cleanly()
            assert client.buffer.endswith(b"hello world" + CLOSE_1008)


async def test_a_websocket_within_an_endless_frame_is_cut():
    """No frame of ours may stand inside of another."""
    session = Session()
    async with recording(saying(SWITCH + b"\x81\x0bhello")) as up:
        route = protected(up.base, websocket=True)
        async with gateway(snapshot_of(route)) as gw:
            gw.gate.script = session
            client = await begun(gw, UPGRADE, b"hello")
            session.reason = Reason.REVOKED
            gw.urgent += 1
            await gw.live.look()
            await client.ended_cleanly()
            assert client.buffer.endswith(b"hello")


async def test_a_websocket_ends_with_its_token():
    """It has no end of its own, so the times of its token are judged as they are."""
    session = Session(exp=WALL_S + 30)
    async with recording(saying(SWITCH + b"\x81\x05hello")) as up:
        route = protected(up.base, websocket=True)
        async with gateway(snapshot_of(route)) as gw:
            gw.gate.script = session
            await begun(gw, UPGRADE, b"hello")
            gw.clock.advance(60.0)
            await gw.live.look()
            assert gw.gate.instants[-1] == (WALL_S + 60, gw.clock.boot_ns())


async def test_an_opaque_tokens_revocation_shows_without_a_question():
    """Its keys are known; what the issuer says is asked in its turn."""
    session = Session()
    answer = IntrospectionAnswer(AnswerKind.CLAIMS)
    asked = []

    def judge(head, snapshot, known):
        decision = session(head, snapshot, known)
        decision.credential = b"opaque"
        if known is None or known.introspection is None:
            decision.verdict = Verdict.ASK_INTROSPECTION
            asked.append(head.path)
        return decision

    class Introspector:
        async def ask(self, *_, **__):
            return answer

        def forget(self, *_):
            pass

    async with recording(saying(CHUNKED)) as up:
        snapshot = snapshot_of(protected(up.base))
        async with gateway(snapshot, introspector=Introspector()) as gw:
            gw.gate.script = judge
            client = await begun(gw)
            questions = len(asked)
            session.reason = Reason.REVOKED
            gw.urgent += 1
            await gw.live.look()
            await client.ended_cleanly()
            assert len(asked) == questions
