"""The relay's own steps: questions of the gate, decisions that grow old, one line each.

Sockets are real and local, since the ports on both sides are; the gate is scripted.
"""

from dataclasses import replace

import pytest
from tests.fakes import FakeClock, FakeGate, FakeIntrospector, FakeKeyAsker, decided
from tests.lane_kit import gateway, issuer_profile, limits, public, service, snapshot_of
from tests.recorder import recording

from fastgate.domain.decision import Decision
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.route import Route
from fastgate.domain.verdict import Reason, Verdict
from fastgate.errors import UpstreamError

GET = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer opaque\r\n\r\n"
FORM = b"application/x-www-form-urlencoded"


def protected(base: str, **changes: object) -> Route:
    return Route(0, "api", "/", service(base), issuer=issuer_profile(), **changes)


def asking(question: Verdict, *, then: Reason | None = None, **fields: object):
    """A gate that asks once, then allows, or refuses with `then`."""

    def script(head, snapshot, asked):
        known = (
            head.form is not None
            if question is Verdict.ASK_FORM
            else asked.key_asked
            if question is Verdict.ASK_KEY
            else asked.introspection is not None
        )
        if known and then is not None:
            return decided(Verdict.DENY, snapshot, head, reason=then, **fields)
        if known:
            return decided(Verdict.ALLOW, snapshot, head, token=b"jwt")
        return decided(question, snapshot, head, **fields)

    return FakeGate(script)


def post(body: bytes, *, chunked: bool = False, kind: bytes = FORM) -> bytes:
    framing = b"Content-Length: %d" % len(body)
    if chunked:
        framing = b"Transfer-Encoding: chunked"
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    return b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\n%b\r\n\r\n%b" % (
        kind,
        framing,
        body,
    )


# -- ASK_FORM -------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
async def test_relay_reads_the_form_for_the_gate_and_forwards_its_bytes(chunked):
    """The gate gets decoded fields; the upstream gets the body as it came."""
    body = b"grant_type=refresh_token&refresh_token=a%2Bb+c&x=%C3%B6&refresh_token=d"
    gate = asking(Verdict.ASK_FORM)
    async with (
        recording() as up,
        gateway(snapshot_of(public(up.base)), gate=gate) as gw,
    ):
        got = await gw.ask(post(body, chunked=chunked))
        assert got.status == 200
        assert gate.heads[-1].form == {
            "grant_type": ["refresh_token"],
            "refresh_token": ["a+b c", "d"],
            "x": ["ö"],
        }
        assert up.requests[0].body == body
        assert up.requests[0].one("content-length") == b"%d" % len(body)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (post(b"a=" + b"x" * 100), 413, "body_too_large"),
        (post(b"a=" + b"x" * 100, chunked=True), 413, "body_too_large"),
        (post(b"{}", kind=b"application/json"), 415, "unsupported_media_type"),
        (post(b"a=%zz"), 400, "invalid_request"),
    ],
    ids=["announced", "chunked", "json", "percent"],
)
async def test_r5_relay_refuses_a_form_it_cannot_read(request_bytes, status, code):
    """Too large, another type, a broken escape: refused unread, nothing upstream."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), limits=limits(form_bytes=64))
        async with gateway(snapshot, gate=asking(Verdict.ASK_FORM)) as gw:
            got = await gw.ask(request_bytes)
            assert (got.status, got.code) == (status, code)
            assert not up.requests


async def test_relay_lets_the_body_come_before_it_reads_a_form():
    """A client that expects 100 is told to go on where its body is needed."""
    gate = asking(Verdict.ASK_FORM)
    async with (
        recording() as up,
        gateway(snapshot_of(public(up.base)), gate=gate) as gw,
    ):
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
            b"Content-Type: %b\r\nContent-Length: 3\r\n\r\n" % FORM
        )
        await client.until(b"100 Continue\r\n\r\n")
        await client.send(b"a=b")
        assert (await client.response()).status == 200
        assert up.requests[0].body == b"a=b"


# -- ASK_KEY --------------------------------------------------------------------------


async def test_relay_asks_for_a_key_once_and_judges_by_the_new_snapshot():
    """The next decision sees the keys that the agent found meanwhile."""
    gate = asking(Verdict.ASK_KEY, ask_kid="k2", failed_keys=(b"old",))
    async with recording() as up:
        before = snapshot_of(
            protected(up.base), issuers=(issuer_profile(),), keys=(IssuerKeys(),)
        )
        after = before.with_keys((IssuerKeys(last_fetch_ok=True),))
        asker = FakeKeyAsker(lambda: setattr(running[0].cell, "current", after))
        running = []
        async with gateway(before, gate=gate, key_asker=asker) as gw:
            running.append(gw)
            assert (await gw.ask(GET)).status == 200
            assert asker.asked == ["k2"]


async def test_relay_ends_on_the_configuration_it_began_with():
    """A reload while the agent is asked changes no request in flight (F23)."""
    seen = []

    def script(head, snapshot, asked):
        seen.append(snapshot.version)
        if asked.key_asked:
            return decided(Verdict.ALLOW, snapshot, head)
        return decided(Verdict.ASK_KEY, snapshot, head)

    async with recording() as up:
        before = snapshot_of(protected(up.base))
        running = []
        asker = FakeKeyAsker(
            lambda: setattr(running[0].cell, "current", replace(before, version=2))
        )
        async with gateway(before, gate=FakeGate(script), key_asker=asker) as gw:
            running.append(gw)
            await gw.ask(GET)
            assert seen == [1, 1]


# -- ASK_INTROSPECTION ----------------------------------------------------------------


async def test_relay_asks_the_issuer_in_the_hinted_region_and_forwards_the_phantom():
    """The credential is asked about; what the gate then names is forwarded."""
    answer = IntrospectionAnswer(AnswerKind.JWT, b"jwt")
    introspector = FakeIntrospector(answer)
    gate = asking(Verdict.ASK_INTROSPECTION, credential=b"opaque", region=1)
    async with recording() as up:
        snapshot = snapshot_of(protected(up.base))
        async with gateway(snapshot, gate=gate, introspector=introspector) as gw:
            assert (await gw.ask(GET)).status == 200
            assert introspector.asked == [(b"opaque", 1, 0)]
            assert up.requests[0].one("authorization") == b"Bearer jwt"


async def test_relay_forgets_an_answer_whose_phantom_did_not_hold():
    """A phantom token that does not verify is not answered with a second time."""
    introspector = FakeIntrospector(IntrospectionAnswer(AnswerKind.JWT, b"jwt"))
    gate = asking(
        Verdict.ASK_INTROSPECTION,
        credential=b"opaque",
        then=Reason.BAD_ISSUER_RESPONSE,
    )
    async with recording() as up:
        snapshot = snapshot_of(protected(up.base))
        async with gateway(snapshot, gate=gate, introspector=introspector) as gw:
            assert (await gw.ask(GET)).status == 502
            assert introspector.forgotten == [b"opaque"]


async def test_relay_wants_a_fresh_answer_where_the_feed_is_stale():
    """A cached answer is too old to tell; the default region is asked."""
    introspector = FakeIntrospector(IntrospectionAnswer(AnswerKind.CLAIMS, b"{}"))
    gate = asking(
        Verdict.ASK_INTROSPECTION, credential=b"t", stale_question=True, region=-1
    )
    async with recording() as up:
        snapshot = snapshot_of(protected(up.base, max_staleness_ns=7))
        async with gateway(snapshot, gate=gate, introspector=introspector) as gw:
            assert (await gw.ask(GET)).status == 200
            assert introspector.asked == [(b"t", 0, 7)]


async def test_relay_tells_the_client_what_the_issuer_asked_for():
    """Retry-After of the issuer's 429 or 503, where it is longer than ours."""
    introspector = FakeIntrospector(
        IntrospectionAnswer(AnswerKind.UNAVAILABLE, retry_after_s=17)
    )

    def script(head, snapshot, asked):
        if asked.introspection is None:
            return decided(Verdict.ASK_INTROSPECTION, snapshot, head)
        return decided(
            Verdict.DENY, snapshot, head, reason=Reason.INTROSPECTION_UNAVAILABLE
        )

    async with recording() as up:
        snapshot = snapshot_of(protected(up.base))
        async with gateway(
            snapshot, gate=FakeGate(script), introspector=introspector
        ) as gw:
            got = await gw.ask(GET)
            assert (got.status, got.one("retry-after")) == (503, "17")


# -- fail closed ----------------------------------------------------------------------


async def test_relay_denies_what_the_gate_left_undecided():
    """UNDECIDED is no verdict: 500, and nothing upstream."""
    gate = FakeGate(lambda h, s, _: decided(Verdict.UNDECIDED, s, h))
    async with (
        recording() as up,
        gateway(snapshot_of(public(up.base)), gate=gate) as gw,
    ):
        assert (await gw.ask(GET)).status == 500
        assert not up.requests


async def test_relay_gives_up_on_a_gate_that_only_asks():
    """The rounds of questions are bounded; then it is 500."""
    gate = FakeGate(lambda h, s, _: decided(Verdict.ASK_KEY, s, h))
    async with (
        recording() as up,
        gateway(snapshot_of(protected(up.base)), gate=gate) as gw,
    ):
        assert (await gw.ask(GET)).status == 500
        assert len(gate.heads) < 10
        assert not up.requests


async def test_relay_answers_500_for_a_fault_of_its_own_and_says_nothing_of_it(caplog):
    """The exception's text, which may hold what a client sent, goes nowhere (T20)."""

    def script(head, snapshot, asked):
        raise RuntimeError("secret")

    async with (
        recording() as up,
        gateway(snapshot_of(public(up.base)), gate=FakeGate(script)) as gw,
    ):
        got = await gw.ask(GET)
        assert (got.status, got.code) == (500, "internal_error")
        assert b"secret" not in got.raw
        assert "secret" not in caplog.text
        assert "RuntimeError" in caplog.text
        (line,) = await gw.logged(1)
        assert line["reason"] == "internal_error"


# -- decisions that grow old ----------------------------------------------------------


class SlowDialer:
    """Lends real connections, late by the clock."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.inner = None

    async def connect(self, base, *, fresh, timeout_s, limit):
        link = await self.inner.connect(
            base, fresh=fresh, timeout_s=timeout_s, limit=limit
        )
        self.clock.advance(self.seconds)
        return link


@pytest.mark.parametrize(("seconds", "decisions"), [(0.9, 1), (1.1, 2)])
async def test_relay_decides_again_when_the_decision_is_older_than_a_second(
    seconds, decisions
):
    """The second between decision and write is part of the revocation bound."""
    clock = FakeClock()
    dialer = SlowDialer(clock, seconds)
    gate = FakeGate()
    async with recording() as up:
        snapshot = snapshot_of(public(up.base))
        async with gateway(snapshot, gate=gate, clock=clock, dialer=dialer) as gw:
            dialer.inner = gw.pool
            assert (await gw.ask(GET)).status == 200
            assert len(gate.heads) == decisions


async def test_relay_refuses_a_token_that_was_revoked_while_it_connected():
    """The second decision counts: 401, and the connection goes back unused."""
    clock = FakeClock()
    dialer = SlowDialer(clock, 5.0)

    def script(head, snapshot, asked) -> Decision:
        if len(gate.heads) == 1:
            return decided(Verdict.ALLOW, snapshot, head)
        return decided(Verdict.DENY, snapshot, head, reason=Reason.REVOKED)

    gate = FakeGate(script)
    async with recording() as up:
        snapshot = snapshot_of(protected(up.base))
        async with gateway(snapshot, gate=gate, clock=clock, dialer=dialer) as gw:
            dialer.inner = gw.pool
            got = await gw.ask(GET)
            assert (got.status, got.code) == (401, "invalid_token")
            assert not up.requests


async def test_relay_follows_a_second_decision_to_its_region():
    """Where the new decision names another region, that region gets the request."""
    clock = FakeClock()
    dialer = SlowDialer(clock, 5.0)

    def script(head, snapshot, asked) -> Decision:
        region = 0 if len(gate.heads) == 1 else 1
        if region:
            dialer.seconds = 0.0
        return decided(Verdict.ALLOW, snapshot, head, region=region)

    gate = FakeGate(script)
    async with recording() as eu, recording() as us:
        route = Route(0, "r", "/", service(eu.base, us=(us.base,)))
        async with gateway(
            snapshot_of(route), gate=gate, clock=clock, dialer=dialer
        ) as gw:
            dialer.inner = gw.pool
            assert (await gw.ask(GET)).status == 200
            assert (len(eu.requests), len(us.requests)) == (0, 1)


# -- bounds ---------------------------------------------------------------------------


async def test_relay_answers_503_when_an_address_has_no_free_connection():
    """Past the cap of connections a request is shed, and no address is blamed."""

    class FullDialer:
        async def connect(self, base, *, fresh, timeout_s, limit):
            raise UpstreamError(Reason.OVERLOADED)

    snapshot = snapshot_of(public("http://127.0.0.1:1"))
    async with gateway(snapshot, dialer=FullDialer()) as gw:
        for _ in range(5):
            got = await gw.ask(GET)
            assert (got.status, got.code) == (503, "overloaded")
        assert not gw.health.ejected(gw.clock.boot_ns())


async def test_relay_writes_no_line_where_the_access_log_is_off():
    """The snapshot decides."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), access_log=False)
        async with gateway(snapshot) as gw:
            await gw.ask(GET)
            assert gw.log.lines == []
