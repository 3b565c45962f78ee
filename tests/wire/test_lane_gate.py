"""The general lane with the real gate: tokens over sockets, each kind of route once."""

import pytest
from tests.fakes import FakeClock, FakeIntrospector, FakeKeyAsker
from tests.lane_kit import gateway, issuer_profile, service, snapshot_of
from tests.recorder import recording
from tests.tokens import ISSUER, signing_key, token

from fastgate._ext.decisions import DecisionCache
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.revocation import KeyHasher
from fastgate.domain.route import Route
from fastgate.domain.token import Introspection
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys

NOW = 1_800_000_000
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


class Revocations:
    """A view of the index in which `code` is the answer to everything."""

    code = 1

    def check(self, *_: object) -> int:
        return self.code

    def evidence(self, origin: int) -> int:
        del origin
        return 0


def get(credential: bytes | None, target: bytes = b"/api/") -> bytes:
    line = b"" if credential is None else b"Authorization: Bearer %b\r\n" % credential
    return b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, line)


def jwt(**override: object) -> bytes:
    return token(now=NOW, **override)


# Signed once: two ES256 signatures of the same claims differ.
GOOD = jwt()


@pytest.fixture
async def running():
    profile = issuer_profile(
        issuer=ISSUER,
        hasher=KeyHasher(b"", ISSUER),
        introspection=Introspection(("http://i", "http://i"), "gateway", "secret"),
    )
    keys = build_keys([signing_key().jwk()], last_fetch_ok=True)
    async with recording() as eu, recording() as us:
        lives = service(eu.base, us=(us.base,))
        api = Route(
            0,
            "api",
            "/api/",
            lives,
            issuer=profile,
            accept_opaque=True,
            scope=frozenset({"orders"}),
            scope_text="orders",
        )
        oauth = Route(1, "oauth", "/oauth/", lives, oauth=True)
        snapshot = snapshot_of(api, oauth, issuers=(profile,), keys=(keys,))
        revocations = Revocations()
        introspector = FakeIntrospector(IntrospectionAnswer(AnswerKind.INACTIVE))
        async with gateway(
            snapshot,
            gate=Gate(DecisionCache(64), revocations),
            clock=FakeClock(wall_s=NOW),
            introspector=introspector,
        ) as gw:
            yield gw, eu, us, revocations, introspector


async def test_gate_sends_a_user_home_by_the_verified_claim(running):
    """A token of region us goes to us, with its identity, and the log says why."""
    gw, eu, us, _, _ = running
    for cache in ("miss", "hit"):
        assert (await gw.ask(get(GOOD))).status == 200
        line = (await gw.logged(1))[-1]
        assert (line["region"], line["region_source"]) == ("us", "claim")
        assert (line["token"], line["cache"], line["kid"]) == ("jwt", cache, "es256-1")
    assert (len(eu.requests), len(us.requests)) == (0, 2)
    assert us.requests[0].one("authorization") == b"Bearer " + GOOD
    assert us.requests[0].one("x-fastgate-subject") == b"user-bob-0001"
    assert us.requests[0].one("x-fastgate-region") == b"us"


@pytest.mark.parametrize(
    ("credential", "status", "code"),
    [
        (None, 401, "missing_token"),
        (jwt(exp=NOW - 100, iat=NOW - 200), 401, "invalid_token"),
        (jwt(aud="other"), 401, "invalid_token"),
        (jwt(scope="read"), 403, "insufficient_scope"),
        (jwt(region="atlantis"), 403, "unknown_region"),
        (GOOD[:-4] + b"AAAA", 401, "invalid_token"),
        (b"a b", 400, "invalid_request"),
    ],
    ids=["none", "expired", "audience", "scope", "region", "forged", "two_words"],
)
async def test_gate_refuses_over_the_wire(running, credential, status, code):
    """Status, public code and challenge; no upstream sees anything."""
    gw, eu, us, _, _ = running
    got = await gw.ask(get(credential))
    assert (got.status, got.code) == (status, code)
    has_challenge = got.one("www-authenticate") is not None
    assert has_challenge == (code != "unknown_region")
    assert not eu.received
    assert not us.received


@pytest.mark.parametrize(("code", "status"), [(2, 401), (3, 503), (4, 503), (5, 503)])
async def test_gate_judges_revocation_and_freshness_on_cached_tokens_too(
    running, code, status
):
    """Revoked is 401, stale is 503, also where the signature is known."""
    gw, _, us, revocations, _ = running
    assert (await gw.ask(get(GOOD))).status == 200
    revocations.code = code
    got = await gw.ask(get(GOOD))
    assert got.status == status
    assert (got.one("retry-after") is not None) == (status == 503)
    assert len(us.requests) == 1


async def test_gate_swaps_an_opaque_token_for_its_jwt(running):
    """The phantom token is verified like any other and forwarded in its place."""
    gw, _, us, _, introspector = running
    introspector.answer = IntrospectionAnswer(AnswerKind.JWT, GOOD)
    assert (await gw.ask(get(b"_opaque-token_"))).status == 200
    assert us.requests[0].one("authorization") == b"Bearer " + GOOD
    assert introspector.asked[0][0] == b"_opaque-token_"
    introspector.answer = IntrospectionAnswer(AnswerKind.JWT, GOOD[:-4] + b"AAAA")
    got = await gw.ask(get(b"_other-token_"))
    assert (got.status, got.code) == (502, "bad_issuer_response")
    assert introspector.forgotten == [b"_other-token_"]


async def test_gate_refuses_an_inactive_opaque_token(running):
    """The issuer's word: 401."""
    gw, *_ = running
    assert (await gw.ask(get(b"_opaque-token_"))).status == 401


async def test_gate_routes_an_oauth_message_by_its_form(running):
    """A refresh token names its region; the bytes go up as they came."""
    gw, eu, us, _, _ = running
    body = b"grant_type=refresh_token&refresh_token=" + GOOD
    got = await gw.ask(
        b"POST /oauth/token HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b"
        % (FORM, len(body), body)
    )
    assert got.status == 200
    assert us.requests[0].body == body
    assert not eu.requests
    doubled = body + b"&refresh_token=x"
    got = await gw.ask(
        b"POST /oauth/token HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b"
        % (FORM, len(doubled), doubled)
    )
    assert (got.status, got.code) == (400, "invalid_request")
    assert got.one("www-authenticate").startswith("Bearer realm=")


async def test_gate_repairs_the_cookie_of_a_user_whose_claim_says_otherwise(running):
    """The claim decides, and the answer sets the cookie right."""
    gw, *_ = running
    got = await gw.ask(get(GOOD).replace(b"\r\n\r\n", b"\r\nCookie: region=eu\r\n\r\n"))
    assert got.all("set-cookie")[0].startswith("region=us; Path=/; HttpOnly")


async def test_gate_is_asked_again_after_the_keys_changed(running):
    """A key that the agent found while the request waited is used at once."""
    gw, _, us, _, _ = running
    newer = signing_key("ES256", "k-new")
    snapshot = gw.cell.current
    keys = build_keys([newer.jwk()], last_fetch_ok=True)
    asker = FakeKeyAsker(
        lambda: setattr(gw.cell, "current", snapshot.with_keys((keys,)))
    )
    gw.relay._key_asker = asker
    assert (await gw.ask(get(token(newer, now=NOW)))).status == 200
    assert asker.asked == ["k-new"]
    assert len(us.requests) == 1
