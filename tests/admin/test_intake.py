"""The intake listener: what senders are answered, over real sockets."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from tests.admin.serving import Answer, Wire, bound
from tests.intake_kit import (
    EVENTS,
    ISSUER,
    RULES,
    USER,
    IntakeWorld,
    intake_world,
    logout_token,
    security_event,
)

from fastgate.admin import intake as listener_module
from fastgate.admin.intake import IntakeListener
from fastgate.admin.rates import Rates
from fastgate.control.intake_rules import Credential, IntakeRules
from fastgate.domain.revocation import Kind
from fastgate.errors import ControlError

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SET = {"Content-Type": "application/secevent+jwt"}
BEARER = {"Authorization": "Bearer a-token-of-the-issuer"}


@contextlib.asynccontextmanager
async def serving(
    rules: IntakeRules = RULES,
) -> AsyncIterator[tuple[Wire, IntakeWorld]]:
    async with intake_world(rules) as world:
        sock = bound()
        wire = Wire(sock)
        listener = IntakeListener(world.intake)
        await listener.start(sock)
        try:
            yield wire, world
        finally:
            await listener.stop()


async def logout(wire: Wire, *tokens: str, **headers: str) -> Answer:
    body = urlencode([("logout_token", token) for token in tokens]).encode()
    return await wire.send("POST", "/backchannel-logout", body, FORM | headers)


async def push(wire: Wire, token: str, **headers: str) -> Answer:
    return await wire.send("POST", "/sets", token.encode(), SET | headers)


async def test_logout_is_answered_once_it_is_kept():
    async with serving() as (wire, world):
        answer = await logout(wire, logout_token())
        assert (answer.status, answer.body) == (200, b"")
        assert answer.all["cache-control"] == "no-store"
        assert world.cutoff(Kind.SID, "s-1") is not None
        assert world.journal.last == 1


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param((), id="none"),
        pytest.param(("a.b.c", "a.b.c"), id="two"),
        pytest.param(("a.b.c",), id="garbage"),
        pytest.param(("",), id="empty"),
    ],
)
async def test_bad_logout_is_400_with_an_error_b9(tokens):
    async with serving() as (wire, world):
        answer = await logout(wire, *tokens)
        assert answer.status == 400
        assert answer.json["error"] == "invalid_request"
        assert answer.all["cache-control"] == "no-store"
        assert world.index.entries == {}


async def test_replayed_logout_is_400_b9():
    async with serving() as (wire, world):
        token = logout_token()
        assert (await logout(wire, token)).status == 200
        assert (await logout(wire, token)).status == 400
        assert world.journal.last == 1


async def test_logout_that_cannot_be_kept_is_503():
    async with serving() as (wire, world):
        world.fault = ControlError("the journal is slow")
        answer = await logout(wire, logout_token())
        assert answer.status == 503
        assert answer.all["retry-after"] == "1"
        assert answer.all["cache-control"] == "no-store"


async def test_pushed_event_is_accepted_without_a_body():
    """RFC 8935 section 2.2; the second time it is a duplicate, and accepted too."""
    async with serving() as (wire, world):
        for _ in range(2):
            answer = await push(wire, security_event())
            assert (answer.status, answer.body) == (202, b"")
        assert world.journal.last == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://evil.example.com"}, "invalid_issuer"),
        ({"aud": "other"}, "invalid_audience"),
        ({"sub_id": None}, "invalid_request"),
        ({"exp": 4_000_000_000}, "invalid_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_bad_event_is_400_with_a_registered_code(changes, code):
    """RFC 8935 section 2.3 and 2.4."""
    async with serving() as (wire, world):
        answer = await push(wire, security_event(**changes))
        assert answer.status == 400
        assert answer.all["content-type"] == "application/json"
        assert answer.json["err"] == code
        assert answer.json["description"]
        assert world.index.entries == {}


async def test_event_with_a_bad_signature_is_invalid_key():
    async with serving() as (wire, _):
        answer = await push(wire, security_event()[:-4] + "AAAA")
        assert answer.json["err"] == "invalid_key"


async def test_push_without_its_credentials_is_refused():
    rules = replace(RULES, pushed={ISSUER: Credential("Bearer abc")})
    async with serving(rules) as (wire, world):
        answer = await push(wire, security_event())
        assert answer.json["err"] == "authentication_failed"
        assert world.index.entries == {}
        answer = await push(wire, security_event(), Authorization="Bearer abc")
        assert answer.status == 202


async def test_event_whose_subject_is_not_mapped_says_so():
    """So that the transmitter does not believe that it was acted upon."""
    subjects = replace(EVENTS.subjects, formats=frozenset({"opaque"}))
    rules = replace(RULES, events={ISSUER: replace(EVENTS, subjects=subjects)})
    async with serving(rules) as (wire, _):
        answer = await push(wire, security_event())
        assert answer.json == {
            "err": "invalid_request",
            "description": "subjects of this format are not mapped",
        }


async def end_user(wire: Wire, subject: object, **headers: str) -> Answer:
    body = json.dumps({"sub_id": subject}).encode()
    return await wire.send("POST", "/global-token-revocation", body, BEARER | headers)


async def test_user_ends_by_request():
    async with serving() as (wire, world):
        answer = await end_user(wire, USER)
        assert (answer.status, answer.body) == (204, b"")
        assert world.cutoff(Kind.SUB, "bob") >= int(time.time())


async def test_request_about_a_user_without_the_token_is_401():
    async with serving() as (wire, world):
        for header in ("Bearer wrong", "a-token-of-the-issuer", "Basic YTpi"):
            answer = await end_user(wire, USER, Authorization=header)
            assert answer.status == 401
            assert answer.all["www-authenticate"].startswith("Bearer ")
        assert world.index.entries == {}


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(None, id="none"),
        pytest.param("bob", id="text"),
        pytest.param({"format": "phone_number", "phone_number": "1"}, id="format"),
        pytest.param(USER | {"iss": "https://other"}, id="foreign"),
    ],
)
async def test_request_about_nobody_is_400(subject):
    async with serving() as (wire, world):
        assert (await end_user(wire, subject)).status == 400
        assert world.index.entries == {}


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/backchannel-logout", {}, 405),
        ("PUT", "/sets", SET, 405),
        ("POST", "/", SET, 404),
        ("POST", "/sets/", SET, 404),
        ("POST", "/sets?x=1", SET, 404),
        ("POST", "/%73ets", SET, 404),
        ("POST", "/v1/revocations", {}, 404),
        ("POST", "/sets", FORM, 415),
        ("POST", "/sets", {"Content-Type": None}, 415),
        ("POST", "/sets", SET | {"Content-Encoding": "gzip"}, 415),
        ("POST", "/backchannel-logout", SET, 415),
        ("POST", "/global-token-revocation", FORM | BEARER, 415),
    ],
)
async def test_anything_else_is_refused(method, target, headers, status):
    async with serving() as (wire, world):
        answer = await wire.send(method, target, b"x", headers)
        assert answer.status == status
        assert world.intake.counts == {}


async def test_large_body_is_refused_j11():
    async with serving() as (wire, world):
        answer = await push(wire, "a" * 70_000)
        assert answer.status == 413
        assert world.intake.counts == {}


async def test_whoever_knocks_too_often_waits_and_is_refused(monkeypatch):
    async with intake_world() as world:
        sock = bound()
        listener = IntakeListener(world.intake)
        listener._all = Rates(burst=2, per_s=0)
        monkeypatch.setattr(listener_module, "_WAIT_S", 0.05)
        await listener.start(sock)
        try:
            began = time.monotonic()
            codes = [(await push(Wire(sock), "a")).status for _ in range(3)]
            assert codes == [400, 400, 429]
            assert time.monotonic() - began >= 0.05
        finally:
            await listener.stop()
