"""The gate as a whole: what it is built of, routes, regions, and hostile requests."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hotpath.gates import (
    AP,
    BOOT_NS,
    EU,
    EVERYWHERE,
    NOW,
    US,
    World,
    claims_answer,
    gate_module,
    jwt,
    outcome,
    phantom_answer,
)

from fastgate.domain.decision import Asked
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.region import RegionSource
from fastgate.domain.request import RequestHead
from fastgate.domain.revocation import Kind
from fastgate.domain.route import OnStale, Route, Service
from fastgate.domain.target import parse_target
from fastgate.domain.verdict import Verdict

TOKEN = jwt()
FORM = "application/x-www-form-urlencoded"


def public(prefix: str = "/", **changes: object) -> Route:
    """A route that asks for no token."""
    return Route(0, prefix, prefix, EVERYWHERE, **changes)


def test_product_gate_is_compiled_and_the_other_one_is_not() -> None:
    """The tests of both would be tests of one otherwise."""
    assert gate_module("compiled").COMPILED
    assert not gate_module("uncompiled").COMPILED
    assert gate_module("compiled").__file__.endswith(".so")
    assert gate_module("uncompiled").__file__.endswith("gate.py")


def test_gate_explains_each_step_in_order(world: World) -> None:
    """A trace names what was found, also for what the cache remembered."""
    trace: list[tuple[str, str]] = []
    world.ask(TOKEN, trace=trace)
    assert [step for step, _ in trace] == [
        *("route", "shape", "signature", "claims", "revocation", "region"),
    ]
    trace.clear()
    world.ask(TOKEN, trace=trace)
    assert ("signature", "valid (cached)") in trace
    trace.clear()
    world.ask(jwt(scope="x"), trace=trace)
    assert trace[-1] == ("scope", "scope")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a", "a"),
        ("/a/", "a"),
        ("/a/x/y/z", "a"),
        ("/a/b", "b"),
        ("/a/b/", "b"),
        ("/a/b/c/d", "d"),
        ("/a/b/c/dd", "b"),
        ("/a/bb", "a"),
        ("/ab", "root"),
        ("/A/b", "root"),
        ("/", "root"),
        ("/z/a/b", "root"),
    ],
)
def test_gate_matches_the_longest_prefix_on_segment_borders(
    world: World, path: str, expected: str
) -> None:
    """Case-sensitively; a prefix with or without its slash is the same."""
    names = {"root": "/", "a": "/a/", "b": "/a/b", "d": "/a/b/c/d/"}
    world.use_routes(
        *(replace(public(prefix), name=name) for name, prefix in names.items())
    )
    assert world.ask(path=path).route.name == expected


def test_gate_knows_no_route_where_none_matches(world: World) -> None:
    """404 before any look at a credential."""
    decision = world.ask(b"junk", path="/other", credentials=2)
    assert (outcome(decision), decision.route) == ("no_route", None)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/files/a%2Fb", "allow"),
        (b"/files/a%5Cb", "allow"),
        (b"/files%2Fa", "bad_request"),
        (b"/orders%2F1", "bad_request"),
        (b"/plain%2F1", "bad_request"),
        (b"/orders;x=1/1", "bad_request"),
        (b"/orders;/1", "bad_request"),
        (b"/;x/orders/1", "bad_request"),
        (b"/orders%3Bx/1", "bad_request"),
        (b"/orders%3Fx", "bad_request"),
        (b"/orders%23x", "bad_request"),
        (b"/%256Frders/1", "bad_request"),
        (b"/%25256Frders/1", "bad_request"),
        (b"/plain/%252e%252e/orders/1", "bad_request"),
        (b"/plain/%25252e%25252e/orders/1", "bad_request"),
        (b"/plain/%2500", "bad_request"),
        (b"/%252Forders/1", "bad_request"),
        (b"/%6Frders/1", "missing_token"),
        (b"/orders/1;x=1", "missing_token"),
        (b"/orders/100%25", "missing_token"),
        (b"/orders/a%3Fb%23c", "missing_token"),
        (b"/plain/a;b=c/d", "allow"),
        (b"/plain/100%25", "allow"),
        (b"/plain/a%20b", "allow"),
    ],
)
def test_gate_refuses_a_path_that_means_another_route_to_some_server(
    world: World, target: bytes, expected: str
) -> None:
    """T7: an open route must not lead to what a guarded one serves."""
    world.use_routes(
        world.route,
        public(),
        public("/plain/"),
        public("/files/", encoded_slashes=True),
    )
    parsed = parse_target(target)
    decision = world.ask(path=parsed.path, encoded_separators=parsed.encoded_separators)
    assert outcome(decision) == expected


def test_gate_looks_at_no_token_on_an_open_route(world: World) -> None:
    """By cookie, else to the default region; whatever stands in the header."""
    world.use_routes(public())
    for token in (None, b"junk", jwt(region="us")):
        decision = world.ask(token)
        assert (outcome(decision), decision.token) == ("allow", b"")
        assert (decision.region, decision.source) == (EU, RegionSource.DEFAULT)
        assert (decision.facts, decision.kind, decision.cache) == (None, "none", "")
    decision = world.ask(cookie="a=b; region=ap")
    assert (decision.region, decision.source) == (AP, RegionSource.COOKIE)


@pytest.mark.parametrize(
    ("claim", "cookie", "region", "source", "repaired"),
    [
        ("us", None, US, "claim", False),
        ("us", "region=us", US, "claim", False),
        ("us", "other=1", US, "claim", False),
        ("us", "region=ap", US, "claim", True),
        ("us", "region=mars", US, "claim", True),
        ("us", "region=us; region=ap", US, "claim", True),
        (None, None, EU, "default", False),
        (None, "region=ap", AP, "cookie", False),
        (None, "region=mars", EU, "default", False),
    ],
)
def test_gate_sends_users_home_by_claim_then_cookie_then_default(
    world: World,
    claim: str | None,
    cookie: str | None,
    region: int,
    source: str,
    repaired: bool,
) -> None:
    """A verified claim is certain, so a cookie that says otherwise is repaired."""
    for _ in range(2):
        decision = world.ask(jwt(region=claim, jti="one"), cookie=cookie)
        assert outcome(decision) == "allow"
        assert (decision.region, decision.source.value) == (region, source)
        assert decision.repair_cookie is repaired
        wrong = repaired or cookie == "region=mars"
        assert decision.conflict is (RegionSource.COOKIE if wrong else None)


def test_gate_refuses_where_the_service_lacks_the_region(world: World) -> None:
    """503 there, for tokens, open routes and messages alike."""
    partial = Service("orders", (("http://eu",), (), ("http://ap",)))
    world.use_route(service=partial)
    assert outcome(world.ask(TOKEN)) == "region_unavailable"
    assert outcome(world.ask(jwt(region="ap"))) == "allow"
    for kind in ({"issuer": None}, {"issuer": None, "oauth": True}):
        world.use_route(**kind)
        assert outcome(world.ask(cookie="region=us")) == "region_unavailable"
        assert outcome(world.ask(cookie="region=eu")) == "allow"


def test_gate_asks_for_the_form_of_an_oauth_message_and_for_nothing_else(
    world: World,
) -> None:
    """Only a POST of that type with a body has one; then it is read once."""
    world.use_routes(public("/oauth/", oauth=True))
    head = RequestHead("POST", "/oauth/token", content_type=FORM, has_body=True)
    assert outcome(world.decide(head)) == "ask_form"
    head.form = {"grant_type": ["refresh_token"], "refresh_token": [jwt().decode()]}
    decision = world.decide(head)
    assert (outcome(decision), decision.region) == ("allow", US)
    assert decision.source is RegionSource.FIELD
    head.form = {"token": ["a", "b"]}
    assert outcome(world.decide(head)) == "invalid_request"
    for change in (
        {"method": "PUT"},
        {"content_type": "application/json"},
        {"has_body": False},
    ):
        other = RequestHead("POST", "/oauth/token", content_type=FORM, has_body=True)
        for name, value in change.items():
            setattr(other, name, value)
        assert outcome(world.decide(other)) == "allow"


def test_facts_of_the_product_cannot_be_written() -> None:
    """They are shared by all requests with that token."""
    facts = World("compiled").ask(TOKEN).facts
    for name in ("region", "exp", "scope", "revocation_keys", "identity"):
        with pytest.raises(AttributeError):
            setattr(facts, name, getattr(facts, name))


# -- both builds, hostile input --------------------------------------------------------

HOMELESS = jwt(region=None)
CREDENTIALS = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.sampled_from(
        [
            TOKEN,
            HOMELESS,
            jwt(region="mars"),
            jwt(aud=None),
            jwt(exp=NOW - 60, iat=NOW - 90),
            jwt(sid="gone"),
            TOKEN[:-3] + b"AAA",
            b"_opaque_",
            b"a.b.c",
        ]
    ).map(lambda token: b"Bearer " + token),
    st.binary(max_size=40).map(lambda raw: b"Bearer " + raw),
)
ANSWERS = st.one_of(
    st.none(),
    st.builds(IntrospectionAnswer, st.sampled_from(AnswerKind), st.binary(max_size=30)),
    st.sampled_from(
        [
            phantom_answer(TOKEN),
            phantom_answer(b"a.b.c"),
            claims_answer(b'{"active":true,"aud":"api","scope":"orders"}'),
            claims_answer(b'{"active":true}', asked_boot_ns=0),
        ]
    ),
)
PATHS = st.one_of(
    st.sampled_from(["/orders/1", "/oauth/authorize", "/open", "/", "/;/orders"]),
    st.text("/orders;%25._", max_size=12),
)
HEADS = st.fixed_dictionaries(
    {
        "authorization": CREDENTIALS,
        "credentials": st.sampled_from([-1, -1, -1, 2]),
        "cookie": st.one_of(st.none(), st.text("region=us;ap ", max_size=20)),
        "query": st.sampled_from([b"", b"access_token=x", b"id_token_hint=a.b.c"]),
        "form": st.one_of(
            st.none(),
            st.dictionaries(
                st.sampled_from(["grant_type", "token", "refresh_token", "client_id"]),
                st.lists(st.sampled_from(["", "refresh_token", TOKEN.decode(), "é"])),
            ),
        ),
        "content_type": st.sampled_from(["", FORM]),
        "has_body": st.booleans(),
        "encoded_separators": st.booleans(),
    }
)


def hostile_world(build: str) -> World:
    """A gate with a route of each kind, and something revoked."""
    world = World(build, on_stale=OnStale.INTROSPECT)
    world.revoke(Kind.SID, "gone")
    world.use_routes(world.route, public("/oauth/", oauth=True), public("/open"))
    return world


COMPILED, UNCOMPILED = hostile_world("compiled"), hostile_world("uncompiled")


def seen(
    world: World, head: RequestHead, asked: Asked, age_s: int
) -> tuple[object, ...]:
    """All that a lane reads of a decision; an exception would fail the test."""
    world.boot_ns = BOOT_NS + age_s * 10**9
    trace: list[tuple[str, str]] = []
    decision = world.decide(head, asked=asked, trace=trace)
    facts = decision.facts
    return (
        *(outcome(decision), decision.region, decision.source, decision.conflict),
        *(decision.repair_cookie, decision.token, decision.kind, decision.cache),
        *(decision.credential, decision.stale_question, decision.ask_kid),
        *(decision.failed_keys, decision.age_ms),
        facts and (facts.identity, facts.revocation_keys, facts.revocation_kinds),
        trace,
    )


@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "BREW"]),
    path=PATHS,
    fields=HEADS,
    answer=ANSWERS,
    key_asked=st.booleans(),
    age_s=st.sampled_from([0, 11]),
)
def test_gate_decides_the_same_compiled_and_uncompiled_whatever_comes(
    method: str,
    path: str,
    fields: dict[str, object],
    answer: IntrospectionAnswer | None,
    key_asked: bool,
    age_s: int,
) -> None:
    """No request makes it raise, and nothing passes without a verified token."""
    head = RequestHead(method, path, **fields)
    asked = Asked()
    asked.introspection = answer
    asked.key_asked = key_asked
    compiled = seen(COMPILED, head, asked, age_s)
    assert compiled == seen(UNCOMPILED, head, asked, age_s)
    if compiled[0] == "allow" and path.startswith("/orders"):
        assert compiled[5] in {TOKEN, HOMELESS} or (answer and compiled[6] == "opaque")


def test_gate_means_by_a_raw_path_what_it_means_by_the_canonical_one() -> None:
    """T7, over 20,000 random paths: canonical is canonical, and routes alike."""
    draw = random.Random(7)
    pieces = [
        *("/", "//", "a", "b", "orders", "open", ".", "..", "%2e", "%2E", "%2f"),
        *("%6f", "%6Frders", ";x=1", "%3b", "%25", "%2541", "%c3%a9", "%00", "%", "?"),
    ]
    world = COMPILED
    accepted = 0
    for _ in range(20_000):
        raw = "/" + "".join(draw.choices(pieces, k=draw.randint(0, 6)))
        target = parse_target(raw.encode())
        if target is None:
            continue
        accepted += 1
        again = parse_target(target.path.encode())
        assert again is not None
        assert again.path == target.path
        assert again.encoded_separators == target.encoded_separators
        decided = [
            world.ask(path=t.path, encoded_separators=t.encoded_separators)
            for t in (target, again)
        ]
        assert outcome(decided[0]) == outcome(decided[1])
        assert decided[0].route is decided[1].route
    assert accepted > 4_000


def test_gate_gives_every_decision_a_verdict(world: World) -> None:
    """UNDECIDED never leaves it."""
    for token in (None, b"", b"x", TOKEN, b"a.b.c"):
        assert world.ask(token).verdict is not Verdict.UNDECIDED
