"""Explain: the same checks as for requests, told step by step."""

import pytest
from tests.fakes import FakeClock, FakeIntrospector
from tests.lane_kit import issuer_profile, service, snapshot_of
from tests.tokens import ISSUER, signing_key, token

from fastgate._ext.decisions import DecisionCache
from fastgate.control.explain import Explainer
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.revocation import KeyHasher
from fastgate.domain.route import Route
from fastgate.domain.token import Introspection
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys

NOW = 1_800_000_000
GOOD = token(now=NOW, region="eu").decode()
SERVICE = service("http://127.0.0.1:1", us=("http://127.0.0.1:2",))


class Revocations:
    """A view of the index in which `code` is the answer to everything."""

    code = 1

    def check(self, *_):
        return self.code

    def evidence(self, origin):
        del origin
        return 0


class Rig:
    """An explainer over the real gate."""

    def __init__(self) -> None:
        profile = issuer_profile(
            issuer=ISSUER,
            hasher=KeyHasher(b"", ISSUER),
            introspection=Introspection(("http://i", "http://i"), "gateway", "s"),
        )
        api = Route(
            0,
            "api",
            "/api/",
            SERVICE,
            issuer=profile,
            accept_opaque=True,
            scope=frozenset({"orders"}),
            scope_text="orders",
        )
        oauth = Route(1, "oauth", "/oauth/", SERVICE, oauth=True)
        keys = build_keys([signing_key().jwk()], last_fetch_ok=True)
        self.snapshot = snapshot_of(api, oauth, issuers=(profile,), keys=(keys,))
        self.revocations = Revocations()
        self.introspector = FakeIntrospector(IntrospectionAnswer(AnswerKind.INACTIVE))
        self.clock = FakeClock(wall_s=NOW)
        self.seen = {0: self.clock.boot_ns() - 1_500_000_000}
        self.explainer = Explainer(
            Gate(DecisionCache(64), self.revocations),
            self.clock,
            self.introspector,
            lambda origin: self.seen.get(origin, 0),
        )

    async def explain(self, **asked):
        named = {"token": None, "method": "GET", "path": "/api/1"}
        named |= {"cookies": None, "form": None}
        return await self.explainer.explain(self.snapshot, **(named | asked))


@pytest.fixture
def rig():
    return Rig()


async def test_good_token_is_explained_to_its_region(rig):
    """Every step has an outcome; what the decision rests on is shown, no identity."""
    said = await rig.explain(token=GOOD)
    assert (said["verdict"], said["status"], said["reason"]) == ("allow", 200, None)
    assert (said["route"], said["region"], said["source"]) == ("api", "eu", "claim")
    assert len(said["steps"]) > 3
    assert all(set(step) == {"step", "outcome"} for step in said["steps"])
    assert said["facts"]["kid"] == "es256-1"
    assert said["facts"]["scope"] == ["orders", "read"]
    assert {"jti", "sid", "sub", "client"} <= set(said["facts"]["revocable_by"])
    assert "user-bob-0001" not in str(said)


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ({}, 401, "missing_token"),
        ({"token": token(now=NOW - 9_999).decode()}, 401, "expired"),
        ({"token": token(now=NOW, scope="read").decode()}, 403, "scope"),
        ({"token": GOOD[:-6] + "AAAAAA"}, 401, "bad_signature"),
        ({"token": GOOD, "path": "/nowhere"}, 404, "no_route"),
        ({"token": GOOD, "path": "/api/../x"}, 400, "bad_request"),
        ({"token": GOOD, "path": "/api/\ud800"}, 400, "bad_request"),
        ({"token": "opaque_of_some_length"}, 401, "inactive"),
        ({"token": "\ud800"}, 401, "malformed"),
        ({"token": ""}, 400, "invalid_request"),
    ],
)
async def test_refusal_is_explained_by_its_exact_reason(rig, asked, status, reason):
    """A client learns the class only; whoever may ask here learns why."""
    said = await rig.explain(**asked)
    assert (said["verdict"], said["status"]) == ("deny", status)
    assert said["reason"] == reason
    assert said["steps"]


async def test_unknown_kid_is_told_and_nothing_is_fetched(rig):
    """The keys are those that are held; there is a decision all the same."""
    stranger = token(signing_key("ES256", "nobody-has-it"), now=NOW).decode()
    said = await rig.explain(token=stranger)
    assert (said["verdict"], said["reason"]) == ("deny", "unknown_kid")
    assert {"step": "key", "outcome": "kid 'nobody-has-it' is not held"} in said[
        "steps"
    ]


async def test_opaque_token_is_asked_about_as_a_worker_would(rig):
    """The phantom token that comes back is judged like any other."""
    phantom = token(now=NOW, region="us")
    rig.introspector.answer = IntrospectionAnswer(AnswerKind.JWT, phantom)
    said = await rig.explain(token="opaque_of_some_length")
    assert (said["verdict"], said["region"], said["token"]) == ("allow", "us", "opaque")
    ((credential, _, _),) = rig.introspector.asked
    assert credential == b"opaque_of_some_length"


async def test_revoked_token_is_explained_as_such(rig):
    """Also when the very same token was fine a moment ago."""
    assert (await rig.explain(token=GOOD))["verdict"] == "allow"
    rig.revocations.code = 2
    said = await rig.explain(token=GOOD)
    assert (said["verdict"], said["reason"]) == ("deny", "revoked")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_oauth_message_without_a_form_goes_to_the_default_region(rig, method):
    """A form that nobody gave is an empty one, not an open question."""
    said = await rig.explain(path="/oauth/token", method=method)
    assert (said["verdict"], said["region"]) == ("allow", "eu")
    assert (said["source"], said["status"]) == ("default", 200)


async def test_oauth_message_is_sent_home_by_its_form_or_cookie(rig):
    """The same mapping as on the wire; the token of a form beats the cookie."""
    form = {
        "grant_type": ["refresh_token"],
        "refresh_token": [token(now=NOW, region="us").decode()],
    }
    said = await rig.explain(path="/oauth/token", method="POST", form=form)
    assert (said["region"], said["source"]) == ("us", "field")
    said = await rig.explain(path="/oauth/authorize", cookies="region=us")
    assert (said["region"], said["source"]) == ("us", "cookie")


async def test_age_of_the_evidence_is_shown_by_origin(rig):
    """Why a token is stale, or how far from it: seconds, or never."""
    said = await rig.explain(token=GOOD)
    assert 1.5 in said["freshness"]["age_s"].values()
    away = await rig.explain(token=token(now=NOW, region="us").decode())
    assert None in away["freshness"]["age_s"].values()
