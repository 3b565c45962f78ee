"""The cache of verified tokens: it remembers signatures, judges nothing (T14, T15)."""

import itertools
import json
from dataclasses import replace

import pytest
from tests.hotpath.gates import (
    AP,
    BOOT_NS,
    EU,
    NOW,
    US,
    World,
    claims_answer,
    jwt,
    outcome,
    phantom_answer,
    profile,
)
from tests.tokens import ISSUER, signing_key

from fastgate.domain.revocation import KeyHasher, Kind
from fastgate.domain.route import OnStale

TOKEN = jwt()


def test_gate_answers_a_token_seen_before_from_the_cache(world: World) -> None:
    """The same decision, and the same facts, without a second verification."""
    first, second = world.ask(TOKEN), world.ask(TOKEN)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert first.facts is second.facts
    for decision in (first, second):
        assert outcome(decision) == "allow"
        assert (decision.kind, decision.token) == ("jwt", TOKEN)
        assert (decision.region, decision.source.value) == (US, "claim")
        assert decision.route is world.route
        assert decision.decided_boot_ns == BOOT_NS


@pytest.mark.parametrize("form", ["phantom", "members"])
def test_cve_2021_32701_answer_kept_from_one_route_does_not_lend_its_scope(
    world: World, form: str
) -> None:
    """One answer of the issuer, kept, and routes that ask for different scopes."""
    document = {"active": True, "iss": ISSUER, "aud": "api", "scope": "orders read"}
    times = {"iat": NOW, "exp": NOW + 300, "jti": "j-1", "sub": "u", "region": "us"}
    answer = (
        phantom_answer(jwt(scope="orders read"))
        if form == "phantom"
        else claims_answer(json.dumps(document | times).encode())
    )
    world.use_routes(
        replace(world.route, prefix="/a/"),
        replace(world.route, prefix="/b/", scope=frozenset({"orders", "admin"})),
    )
    for path, expected in [("/a/", "allow"), ("/b/", "scope")] * 2:
        decision = world.told(b"_opaque-token_", answer, path=path)
        assert outcome(decision) == expected


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_gate_keeps_routes_and_issuers_apart_for_one_token(
    world: World, order: tuple[int, ...]
) -> None:
    """T14: two routes by two issuers, one token, in every order of arrival."""
    base = world.route
    other = profile(1)  # trusts the same key, but is another issuer
    world.use_routes(
        replace(base, prefix="/a/", issuer=world.profile),
        replace(base, prefix="/b/", issuer=world.profile, scope=frozenset({"admin"})),
        replace(base, prefix="/c/", issuer=other),
        replace(base, prefix="/d/", issuer=other, scope=frozenset({"admin"})),
    )
    asked = [
        ("/a/", "allow"),
        ("/b/", "scope"),
        ("/c/", "bad_iss"),
        ("/d/", "bad_iss"),
    ]
    for n in order * 2:
        path, expected = asked[n]
        assert outcome(world.ask(TOKEN, path=path)) == expected


def test_gate_judges_audience_and_scope_per_route_on_hits(world: World) -> None:
    """One cached signature, four demands."""
    base = world.route
    world.use_routes(
        base,
        replace(base, prefix="/wide/", scope=frozenset({"orders", "admin"})),
        replace(base, prefix="/none/", scope=frozenset()),
        replace(base, prefix="/other/", audience=frozenset({"billing"})),
    )
    assert outcome(world.ask(TOKEN)) == "allow"
    for path, expected in (
        ("/wide/", "scope"),
        ("/none/", "allow"),
        ("/other/", "bad_aud"),
    ):
        decision = world.ask(TOKEN, path=path)
        assert (outcome(decision), decision.cache) == (expected, "hit")


def test_gate_judges_times_on_hits(world: World) -> None:
    """Expiry ends a cached token at the same second as any other."""
    token = jwt(exp=NOW + 60, nbf=NOW)
    assert outcome(world.ask(token)) == "allow"
    world.let_pass(64)
    world.hear_from()
    assert outcome(world.ask(token)) == "allow"
    world.let_pass(1)
    decision = world.ask(token)
    assert (outcome(decision), decision.cache) == ("expired", "hit")
    world.wall_s = NOW - 6  # a clock that stepped back
    assert outcome(world.ask(token)) == "not_yet"


@pytest.mark.parametrize(
    ("kind", "value", "cutoff"),
    [
        (Kind.JTI, "P$b2116bfc-4aaf-4ab9-b633-61bc3ed6897c", None),
        (Kind.SID, "s-1234567890", None),
        (Kind.SUB, "user-bob-0001", NOW),
        (Kind.CLIENT, "web-app", NOW),
        (Kind.KID, "es256-1", None),
        (Kind.ISSUER, ISSUER, NOW),
        (Kind.GRANT, "g-1", None),
    ],
)
def test_gate_refuses_a_cached_token_once_it_is_revoked(
    world: World, kind: Kind, value: str, cutoff: int | None
) -> None:
    """T15: by each of the seven kinds; the hit is dropped, the refusal stays."""
    token = jwt(grant_id="g-1")
    assert outcome(world.ask(token)) == "allow"
    assert len(world.cache) == 1
    world.revoke(kind, value, *([] if cutoff is None else [cutoff]))
    trace: list[tuple[str, str]] = []
    decision = world.ask(token, trace=trace)
    assert (outcome(decision), decision.cache) == ("revoked", "hit")
    assert ("revocation", kind.value) in trace
    assert len(world.cache) == 0
    assert outcome(world.ask(token)) == "revoked"
    assert len(world.cache) == 0


def test_gate_lets_a_user_in_again_whose_token_is_younger_than_the_cutoff(
    world: World,
) -> None:
    """ "Log out everywhere" ends what was issued up to then; no iat is the oldest."""
    world.revoke(Kind.SUB, "user-bob-0001", NOW - 10)
    assert outcome(world.ask(jwt(iat=NOW - 10))) == "revoked"
    assert outcome(world.ask(jwt(iat=NOW - 9))) == "allow"
    world.revoke(Kind.CLIENT, "old-app", 1)
    assert outcome(world.ask(jwt(client_id="old-app", iat=None))) == "revoked"
    assert outcome(world.ask(jwt(client_id="old-app", iat=2))) == "lifetime"


def test_gate_hears_only_revocations_of_the_tokens_own_issuer(world: World) -> None:
    """The same identifier under another issuer is another user."""
    stranger = KeyHasher(b"k" * 32, "https://other.example")
    key = stranger.key(Kind.SID, "s-1234567890")
    world.writer.insert(key, 0xFFFF_FFFF, NOW + 60)
    assert outcome(world.ask(TOKEN)) == "allow"


def test_gate_forgets_facts_whose_key_has_left(world: World) -> None:
    """They are asked anew, and count again only with the key."""
    assert outcome(world.ask(TOKEN)) == "allow"
    world.use_keys(signing_key("ES256", "next"))
    assert outcome(world.ask(TOKEN)) == "ask_key"
    assert len(world.cache) == 0
    world.use_keys(signing_key("ES256", "next"), signing_key())
    decision = world.ask(TOKEN)
    assert (outcome(decision), decision.cache) == ("allow", "miss")
    world.use_keys(signing_key(), signing_key("ES256", "more"))
    assert world.ask(TOKEN).cache == "hit"


@pytest.mark.parametrize(
    "change",
    [
        {"types": frozenset({"logout+jwt"})},
        {"algorithms": frozenset({"ES384"})},
        {"issuer": "https://moved.example"},
        {"require": ("tenant",)},
        {"max_lifetime_s": 100},
        {"iat_required": True, "leeway_s": 0},
        {"region_claims": ("zone",)},
        {"hasher": KeyHasher(b"rotated", ISSUER)},
    ],
    ids=", ".join,
)
def test_gate_forgets_facts_when_the_profile_has_changed(
    world: World, change: dict[str, object]
) -> None:
    """What was accepted under other rules is read again."""
    assert outcome(world.ask(TOKEN)) == "allow"
    assert world.ask(TOKEN).cache == "hit"
    world.use_profile(**change)
    assert world.ask(TOKEN).cache == "miss"


def test_gate_sends_nobody_to_the_wrong_region_after_regions_were_reordered(
    world: World,
) -> None:
    """Facts hold an index into the regions, which another configuration renumbers."""
    assert world.ask(TOKEN).region == US
    regions = replace(world.snapshot.regions, names=("us", "ap", "eu"))
    world.snapshot = replace(world.snapshot, regions=regions)
    decision = world.ask(TOKEN)
    assert (outcome(decision), decision.region) == ("allow", 0)
    assert ("X-Fastgate-Region", "us") in decision.facts.identity
    without = replace(regions, names=("eu", "ap", "mx"))
    world.snapshot = replace(world.snapshot, regions=without)
    assert outcome(world.ask(TOKEN)) == "unknown_region"


def test_gate_keeps_phantoms_apart_from_what_clients_send(world: World) -> None:
    """A phantom without `aud` passes as an answer; from a client it is introspected."""
    world.use_profile(wrapped=True, audience=frozenset())
    phantom = jwt(aud=None)
    assert outcome(world.told(b"_opaque_", phantom_answer(phantom))) == "allow"
    assert world.told(b"_opaque_", phantom_answer(phantom)).cache == "hit"
    decision = world.ask(phantom)
    assert (outcome(decision), decision.kind) == ("ask_introspection", "wrapped")
    assert outcome(world.ask(b"phantom\n" + phantom)) != "allow"


def test_gate_caches_nothing_that_it_refused_before_the_signature_counted(
    world: World,
) -> None:
    """Junk leaves no trace in the cache (T10)."""
    for token in (
        jwt(header={"typ": "x"}),
        jwt(exp=NOW - 60, iat=NOW - 90),
        jwt(iss="https://evil.example"),
        jwt(cnf={}),
        TOKEN[:-4] + b"AAAA",
        b"a.b.c",
        b"junk",
    ):
        world.ask(token)
    assert len(world.cache) == 0


def test_gate_serves_two_snapshots_in_turn(world: World) -> None:
    """A request ends on the snapshot it began with, so both tables are alive."""
    old = world.snapshot
    world.use_route(scope=frozenset({"admin"}))
    new = world.snapshot
    for _ in range(3):
        world.snapshot = old
        assert outcome(world.ask(TOKEN)) == "allow"
        world.snapshot = new
        assert outcome(world.ask(TOKEN)) == "scope"


def test_gate_judges_freshness_by_home_on_hits(world: World) -> None:
    """A cut link hurts only users whose home is on its other side."""
    far, near = jwt(region="ap"), jwt(region="eu")
    assert outcome(world.ask(far)) == outcome(world.ask(near)) == "allow"
    world.let_pass(11)
    world.hear_from(EU, US)
    decision = world.ask(far)
    assert (outcome(decision), decision.cache) == ("stale_revocation", "hit")
    assert outcome(world.ask(near)) == "allow"
    world.hear_from(AP)
    assert outcome(world.ask(far)) == "allow"
    assert world.route.on_stale is OnStale.DENY
