"""Freshness: judged by the token's home; what each `on_stale` does past the limit."""

from dataclasses import replace

import pytest
from tests.hotpath.gates import (
    AP,
    BOOT_NS,
    EU,
    SECOND_NS,
    US,
    World,
    claims_answer,
    jwt,
    outcome,
    phantom_answer,
)

from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.revocation import Kind
from fastgate.domain.route import OnStale

TOKEN = jwt(region="us")
HOMELESS = jwt(region=None)


def test_gate_is_fresh_up_to_the_limit_and_stale_past_it(world: World) -> None:
    """The limit is inclusive; the age is told in milliseconds."""
    world.boot_ns = BOOT_NS + world.route.max_staleness_ns
    decision = world.ask(TOKEN)
    assert (outcome(decision), decision.age_ms) == ("allow", 10_000)
    world.boot_ns += 1
    decision = world.ask(TOKEN)
    assert (outcome(decision), decision.age_ms) == ("stale_revocation", 10_000)


def test_gate_judges_a_token_without_region_by_the_oldest_origin(world: World) -> None:
    """Nobody knows whose word would count, so all are needed."""
    world.let_pass(11)
    world.hear_from(EU, US)
    assert outcome(world.ask(TOKEN)) == "allow"
    decision = world.ask(HOMELESS)
    assert (outcome(decision), decision.age_ms) == ("stale_revocation", 11_000)
    world.hear_from(AP)
    decision = world.ask(HOMELESS)
    assert (outcome(decision), decision.age_ms) == ("allow", 0)


def test_gate_gives_the_issuers_home_its_own_wider_limit(world: World) -> None:
    """One cut does not stop every region at once, but it does in the end."""
    assert world.profile.home_origin == EU
    world.let_pass(300)
    world.hear_from(US)
    assert outcome(world.ask(jwt(region="us"))) == "allow"
    world.boot_ns += 1
    assert outcome(world.ask(jwt(region="us"))) == "stale_revocation"
    assert outcome(world.ask(jwt(region="us"))) == "stale_revocation"


def test_gate_denies_where_an_origin_was_never_heard(world: World) -> None:
    """Evidence of nothing is no evidence, under every policy that needs some."""
    world.writer.set_evidence(US, 0)
    decision = world.ask(TOKEN)
    assert (outcome(decision), decision.age_ms) == ("stale_revocation", -1)
    world.use_route(on_stale=OnStale.ALLOW, allow_for_ns=10**18)
    assert outcome(world.ask(TOKEN)) == "stale_revocation"


def test_gate_maps_regions_to_origins_of_the_snapshot(world: World) -> None:
    """With the local bus one origin stands in for every region."""
    world.snapshot = replace(
        world.snapshot, origins=(EU, EU, EU), origin_names=("all",)
    )
    world.let_pass(11)
    world.hear_from(EU)
    assert outcome(world.ask(TOKEN)) == "allow"


def test_gate_allows_for_the_written_time_and_then_denies(world: World) -> None:
    """`on_stale: allow` widens both limits by `allow_for`, no further."""
    world.use_route(on_stale=OnStale.ALLOW, allow_for_ns=300 * SECOND_NS)
    world.boot_ns += 310 * SECOND_NS
    world.hear_from(EU)
    trace: list[tuple[str, str]] = []
    assert outcome(world.ask(TOKEN, trace=trace)) == "allow"
    assert ("freshness", "stale, allowed by on_stale") in trace
    world.boot_ns += 1
    assert outcome(world.ask(TOKEN)) == "stale_revocation"


def test_gate_refuses_the_revoked_though_stale_is_allowed(world: World) -> None:
    """What is known holds at any age."""
    world.use_route(on_stale=OnStale.ALLOW, allow_for_ns=300 * SECOND_NS)
    world.let_pass(60)
    world.revoke(Kind.SID, "s-1234567890")
    assert outcome(world.ask(TOKEN)) == "revoked"
    world.use_route(on_stale=OnStale.INTROSPECT)
    assert outcome(world.ask(TOKEN)) == "revoked"


def stale(world: World) -> World:
    """A world whose feed is too old, on a route that asks the issuer then."""
    world.use_route(on_stale=OnStale.INTROSPECT)
    world.let_pass(60)
    return world


def test_gate_asks_the_issuer_when_the_feed_is_stale(world: World) -> None:
    """About the very token, at its home region, and only a young answer counts."""
    decision = stale(world).ask(TOKEN)
    assert outcome(decision) == "ask_introspection"
    assert (decision.stale_question, decision.credential) == (True, TOKEN)
    assert decision.region == US
    old = claims_answer(b"{}", asked_boot_ns=world.boot_ns - 10 * SECOND_NS)
    assert outcome(world.told(TOKEN, old)) == "ask_introspection"
    young = replace(old, asked_boot_ns=old.asked_boot_ns + 1)
    trace: list[tuple[str, str]] = []
    assert outcome(world.told(TOKEN, young, trace=trace)) == "allow"
    assert ("freshness", "stale, the issuer says active") in trace


def test_gate_asks_by_cookie_or_default_for_a_token_without_home(world: World) -> None:
    """The issuer of some region has to be asked."""
    stale(world)
    assert world.ask(HOMELESS).region == EU
    assert world.ask(HOMELESS, cookie="region=ap").region == AP
    unknown = world.ask(jwt(region="atlantis"))
    assert (outcome(unknown), unknown.region) == ("ask_introspection", EU)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (AnswerKind.INACTIVE, "inactive"),
        (AnswerKind.ISSUER_FAULT, "bad_issuer_response"),
        (AnswerKind.UNAVAILABLE, "introspection_unavailable"),
    ],
)
def test_gate_believes_the_issuer_that_it_asked(
    world: World, kind: AnswerKind, expected: str
) -> None:
    """Inactive is 401; no usable answer is the gateway's trouble, never the token's."""
    answer = IntrospectionAnswer(kind, asked_boot_ns=BOOT_NS + 60 * SECOND_NS)
    assert outcome(stale(world).told(TOKEN, answer)) == expected


def test_gate_goes_on_judging_a_stale_token_that_is_active(world: World) -> None:
    """The answer stands in for the feed alone, not for audience, scope and region."""
    stale(world)
    young = claims_answer(b"{}", asked_boot_ns=world.boot_ns)
    for changes, expected in (
        ({"aud": "x"}, "bad_aud"),
        ({"scope": "x"}, "scope"),
        ({"region": "atlantis"}, "unknown_region"),
        ({}, "allow"),
    ):
        assert outcome(world.told(jwt(**changes), young)) == expected


def test_gate_asks_again_about_the_opaque_token_whose_answer_is_old(
    world: World,
) -> None:
    """The credential is asked about, not the phantom that came for it."""
    stale(world)
    phantom = jwt(region="us")
    old = phantom_answer(phantom, asked_boot_ns=world.boot_ns - 11 * SECOND_NS)
    decision = world.told(b"_opaque_", old)
    assert outcome(decision) == "ask_introspection"
    assert (decision.stale_question, decision.credential) == (True, b"_opaque_")
    young = phantom_answer(phantom, asked_boot_ns=world.boot_ns)
    decision = world.told(b"_opaque_", young)
    assert (outcome(decision), decision.token) == ("allow", phantom)


def test_gate_denies_when_stale_and_there_is_nobody_to_ask(world: World) -> None:
    """`on_stale: introspect` without an endpoint is `deny`."""
    stale(world)
    world.use_profile(introspection=None)
    assert outcome(world.ask(TOKEN)) == "stale_revocation"


def test_gate_tells_no_age_where_the_log_wants_none(world: World) -> None:
    """Nobody reads it then."""
    world.snapshot = replace(world.snapshot, access_log=False)
    decision = world.ask(TOKEN)
    assert (outcome(decision), decision.age_ms) == ("allow", -1)
    assert world.ask(None).age_ms == -1
