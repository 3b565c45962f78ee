"""Opaque tokens: phantom JWTs, members, wrapped tokens; whose fault an answer is."""

import json

import pytest
from tests.hotpath.gates import (
    AP,
    EU,
    NOW,
    US,
    World,
    claims_answer,
    jwt,
    outcome,
    phantom_answer,
)
from tests.tokens import ISSUER, SigningKey, signing_key

from fastgate.domain.decision import Asked
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.revocation import Kind
from fastgate.domain.verdict import OUTCOMES

OPAQUE = b"_opaque-token_"
MEMBERS = {
    "active": True,
    "iss": ISSUER,
    "aud": "api",
    "exp": NOW + 300,
    "iat": NOW,
    "sub": "user-bob-0001",
    "jti": "j-1",
    "scope": "orders read",
    "client_id": "web-app",
    "region": "us",
}


def members(**changes: object) -> bytes:
    """An RFC 7662 document; None removes a member."""
    kept = {n: v for n, v in (MEMBERS | changes).items() if v is not None}
    return json.dumps(kept).encode()


def test_gate_asks_about_an_opaque_token_in_the_region_it_may_live_in(
    world: World,
) -> None:
    """The token's own hint, else the cookie, else the default (PROTOCOLS section 4)."""
    decision = world.ask(OPAQUE)
    assert outcome(decision) == "ask_introspection"
    assert (decision.credential, decision.region) == (OPAQUE, EU)
    assert (decision.kind, decision.stale_question) == ("opaque", False)
    assert decision.facts is None
    assert world.ask(OPAQUE, cookie="region=ap").region == AP
    world.use_route(accept_jwt=False)
    hinted = world.ask(jwt(region="us"), cookie="region=ap")
    assert (hinted.region, hinted.source.value) == (US, "hint")


def test_gate_forwards_the_phantom_in_place_of_the_opaque_token(world: World) -> None:
    """Verified like any other; the second time its signature is known."""
    phantom = jwt()
    for cache in ("miss", "hit"):
        decision = world.told(OPAQUE, phantom_answer(phantom))
        assert outcome(decision) == "allow"
        assert (decision.token, decision.cache) == (phantom, cache)
        assert (decision.kind, decision.region) == ("opaque", US)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": NOW - 60, "iat": NOW - 90}, "expired"),
        ({"nbf": NOW + 60}, "not_yet"),
        ({"exp": None}, "missing_claim"),
        ({"exp": NOW + 7200}, "lifetime"),
        ({"aud": "other"}, "bad_aud"),
        ({"scope": "x"}, "scope"),
        ({"cnf": {}}, "bound"),
        ({"region": "atlantis"}, "unknown_region"),
        ({"iss": "https://evil.example"}, "bad_issuer_response"),
        ({"header": {"typ": "token-introspection+jwt"}}, "bad_issuer_response"),
        ({"header": {"alg": "none"}}, "bad_issuer_response"),
        ({"header": {"crit": ["x"]}}, "bad_issuer_response"),
    ],
    ids=str,
)
def test_gate_tells_whose_fault_a_bad_phantom_is(
    world: World, changes: dict[str, object], expected: str
) -> None:
    """Claims that fail are the token's; a JWT that nobody may issue is the issuer's."""
    decision = world.told(OPAQUE, phantom_answer(jwt(**changes)))
    assert outcome(decision) == expected
    assert OUTCOMES[decision.reason].status in {401, 403, 502}


@pytest.mark.parametrize(
    "phantom",
    [
        b"",
        b"not a jwt",
        b"a.b.c",
        b"{}",
        jwt() + b" ",
        jwt() + b"," + jwt(),
        jwt() + b".x",
        jwt()[:-1],
        b"x" * 9000,
        jwt() + b"\xff",
    ],
)
def test_gate_blames_the_issuer_for_an_unusable_phantom(
    world: World, phantom: bytes
) -> None:
    """Neither 400 nor 401: the client did nothing wrong."""
    assert outcome(world.told(OPAQUE, phantom_answer(phantom))) == "bad_issuer_response"


def test_gate_asks_for_the_key_of_a_phantom(world: World) -> None:
    """A key that is nowhere, or refuses, is the issuer's fault; ours is ours."""
    answer = phantom_answer(jwt(key=signing_key("ES256", "new")))
    decision = world.told(OPAQUE, answer)
    assert (outcome(decision), decision.ask_kid) == ("ask_key", "new")
    asked = Asked()
    asked.introspection = answer
    asked.key_answered(decision)
    assert outcome(world.ask(OPAQUE, asked=asked)) == "bad_issuer_response"
    world.use_keys(signing_key(), last_fetch_ok=False)
    assert outcome(world.ask(OPAQUE, asked=asked)) == "keys_unavailable"
    world.use_keys(signing_key("ES256", "new"))
    assert outcome(world.ask(OPAQUE, asked=asked)) == "allow"
    forged = Asked()
    forged.introspection = phantom_answer(jwt(key=SigningKey("ES256", "new")))
    forged.key_answered(world.ask(OPAQUE, asked=forged))
    assert outcome(world.ask(OPAQUE, asked=forged)) == "bad_issuer_response"


@pytest.mark.parametrize(
    ("kind", "expected", "status"),
    [
        (AnswerKind.INACTIVE, "inactive", 401),
        (AnswerKind.ISSUER_FAULT, "bad_issuer_response", 502),
        (AnswerKind.UNAVAILABLE, "introspection_unavailable", 503),
    ],
)
def test_gate_turns_answers_into_refusals(
    world: World, kind: AnswerKind, expected: str, status: int
) -> None:
    """The issuer's trouble is never 401: clients would refresh in a loop."""
    decision = world.told(OPAQUE, IntrospectionAnswer(kind))
    assert outcome(decision) == expected
    assert OUTCOMES[decision.reason].status == status


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "allow"),
        ({"iss": None}, "allow"),
        ({"exp": None}, "allow"),
        ({"iat": None}, "allow"),
        ({"exp": NOW - 60}, "expired"),
        ({"nbf": NOW + 60}, "not_yet"),
        ({"aud": ["x", "api"]}, "allow"),
        ({"aud": None}, "bad_aud"),
        ({"aud": "x"}, "bad_aud"),
        ({"scope": "x"}, "scope"),
        ({"region": "atlantis"}, "unknown_region"),
        ({"cnf": {"jkt": "x"}}, "bound"),
        ({"iss": "https://evil.example"}, "bad_issuer_response"),
        ({"exp": "soon"}, "bad_issuer_response"),
        ({"active": False}, "bad_issuer_response"),
        ({"active": "true"}, "bad_issuer_response"),
        ({"active": None}, "bad_issuer_response"),
    ],
    ids=str,
)
def test_gate_judges_members_as_the_issuers_word(
    world: World, changes: dict[str, object], expected: str
) -> None:
    """The original token goes on, for there is no JWT."""
    decision = world.told(OPAQUE, claims_answer(members(**changes)))
    assert outcome(decision) == expected
    if expected == "allow":
        assert (decision.token, decision.kind) == (OPAQUE, "opaque")
        assert ("X-Fastgate-Subject", "user-bob-0001") in decision.facts.identity
    assert len(world.cache) == 0


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{", b'{"active":true,"active":true}']
)
def test_gate_blames_the_issuer_for_unreadable_members(
    world: World, document: bytes
) -> None:
    """Read by the strict scanner, duplicates and all."""
    decision = world.told(OPAQUE, claims_answer(document))
    assert outcome(decision) == "bad_issuer_response"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.JTI, "j-1"),
        (Kind.SUB, "user-bob-0001"),
        (Kind.CLIENT, "web-app"),
        (Kind.ISSUER, ISSUER),
    ],
)
def test_gate_finds_revocations_of_introspected_tokens(
    world: World, kind: Kind, value: str
) -> None:
    """A local revocation beats `active: true`, by members and by phantom."""
    world.revoke(kind, value)
    assert outcome(world.told(OPAQUE, claims_answer(members()))) == "revoked"
    phantom = phantom_answer(jwt(jti="j-1"))
    assert outcome(world.told(OPAQUE, phantom)) == "revoked"


def test_gate_introspects_a_wrapped_token(world: World) -> None:
    """A JWT without `aud` is confidential to its issuer, if the issuer says so."""
    wrapped = jwt(aud=None, sub=None)
    assert outcome(world.ask(wrapped)) == "bad_aud"
    world.use_profile(wrapped=True)
    decision = world.ask(wrapped)
    assert (outcome(decision), decision.kind) == ("ask_introspection", "wrapped")
    assert (decision.credential, decision.region) == (wrapped, US)
    phantom = jwt()
    decision = world.told(wrapped, phantom_answer(phantom))
    assert (outcome(decision), decision.kind) == ("allow", "wrapped")
    assert decision.token == phantom
    assert outcome(world.ask(jwt())) == "allow"
    world.use_route(accept_opaque=False)
    assert outcome(world.ask(wrapped)) == "malformed"


def test_gate_refuses_an_expired_wrapped_token_without_asking(world: World) -> None:
    """Cheap refusals come before any question."""
    world.use_profile(wrapped=True)
    token = jwt(aud=None, exp=NOW - 60, iat=NOW - 90)
    assert outcome(world.ask(token)) == "expired"


def test_gate_does_not_unwrap_twice(world: World) -> None:
    """A phantom without `aud` is judged, not asked about again."""
    world.use_profile(wrapped=True)
    answer = phantom_answer(jwt(aud=None, jti="inner"))
    assert outcome(world.told(OPAQUE, answer)) == "bad_aud"
