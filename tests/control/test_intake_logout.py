"""Logout tokens: one revocation each, or a reason, and never more."""

import asyncio
import time
from dataclasses import replace

import pytest
from tests import tokens
from tests.intake_kit import (
    ISSUER,
    LOGOUTS,
    RULES,
    intake_world,
    logout_claims,
    logout_token,
    signed,
)

from fastgate.domain.notice import Fault, NoticeError
from fastgate.domain.revocation import EVERYTHING, Kind
from fastgate.errors import ControlError


async def refused(coroutine) -> Fault:
    with pytest.raises(NoticeError) as caught:
        await coroutine
    return caught.value.fault


async def test_logout_token_ends_its_session_and_leaves_an_audit_line():
    async with intake_world() as world:
        await world.intake.logout(logout_token())
        assert world.cutoff(Kind.SID, "s-1") == EVERYTHING
        assert world.cutoff(Kind.SUB, "bob") is None
        [(actor, action, line)] = world.lines
        assert (actor, action, line["kind"]) == ("intake logout", "revoke", "sid")
        assert "s-1" not in str(line)
        assert world.intake.counts == {("logout", "revoked"): 1}


async def test_logout_token_without_sid_ends_what_the_user_got_until_its_iat():
    now = int(time.time()) - 7
    async with intake_world() as world:
        await world.intake.logout(logout_token(sid=None, iat=now))
        assert world.cutoff(Kind.SUB, "bob") == now


async def test_logout_by_sub_ends_the_user_whatever_session_is_named():
    rules = replace(RULES, logouts={ISSUER: replace(LOGOUTS, by_user=True)})
    async with intake_world(rules) as world:
        await world.intake.logout(logout_token())
        assert world.cutoff(Kind.SID, "s-1") is None
        assert world.cutoff(Kind.SUB, "bob") is not None


async def test_logout_belongs_to_the_region_that_the_token_names():
    async with intake_world() as world:
        await world.intake.logout(logout_token(region="us"))
        await world.intake.logout(logout_token(region="xx", jti="2", sid="s-2"))
        assert [asked["home"] for asked in world.entered] == ["us", None]


async def test_replayed_logout_token_is_refused_and_changes_nothing_b10():
    """Also after a restart, since the id is in the journal."""
    token = logout_token()
    async with intake_world() as world:
        await world.intake.logout(token)
        assert await refused(world.intake.logout(token)) is Fault.REPEATED
        await world.restart()
        assert await refused(world.intake.logout(token)) is Fault.REPEATED
        assert world.journal.last == 1


async def test_replayed_logout_token_does_not_undo_a_lift_b10():
    token = logout_token()
    async with intake_world() as world:
        await world.intake.logout(token)
        [line] = world.lines
        await world.feed.lift(line[2]["id"])
        assert world.cutoff(Kind.SID, "s-1") is None
        assert await refused(world.intake.logout(token)) is Fault.REPEATED
        assert world.cutoff(Kind.SID, "s-1") is None


NOW = int(time.time())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"iss": "https://evil.example.com"}, Fault.ISSUER, id="iss"),
        pytest.param({"iss": ISSUER + "/"}, Fault.ISSUER, id="iss-slash-j10"),
        pytest.param({"iss": [ISSUER]}, Fault.ISSUER, id="iss-list-j10"),
        pytest.param({"aud": "other"}, Fault.AUDIENCE, id="aud"),
        pytest.param({"aud": ["other", 1]}, Fault.AUDIENCE, id="aud-no-text-j10"),
        pytest.param({"aud": []}, Fault.AUDIENCE, id="aud-empty-j10"),
        pytest.param({"aud": None}, Fault.AUDIENCE, id="aud-absent"),
        pytest.param({"exp": NOW - 60}, Fault.TIME, id="expired"),
        pytest.param({"exp": None}, Fault.CLAIMS, id="exp-absent"),
        pytest.param({"exp": True}, Fault.CLAIMS, id="exp-bool-j9"),
        pytest.param({"exp": 9e9}, Fault.CLAIMS, id="exp-float-j9"),
        pytest.param({"iat": NOW + 600}, Fault.TIME, id="iat-future-j9"),
        pytest.param({"iat": NOW - 7200}, Fault.TIME, id="old"),
        pytest.param({"iat": None}, Fault.CLAIMS, id="iat-absent"),
        pytest.param({"iat": str(NOW)}, Fault.CLAIMS, id="iat-text-j9"),
        pytest.param({"jti": None}, Fault.CLAIMS, id="jti-absent"),
        pytest.param({"jti": ""}, Fault.CLAIMS, id="jti-empty"),
        pytest.param({"jti": "x" * 2000}, Fault.CLAIMS, id="jti-long"),
        pytest.param({"nonce": "n"}, Fault.CLAIMS, id="nonce"),
        pytest.param({"nonce": 0}, Fault.CLAIMS, id="nonce-zero"),
        pytest.param({"events": None}, Fault.CLAIMS, id="events-absent"),
        pytest.param({"events": []}, Fault.CLAIMS, id="events-list"),
        pytest.param({"events": {"x": {}}}, Fault.CLAIMS, id="events-other"),
        pytest.param({"sid": None, "sub": None}, Fault.CLAIMS, id="nobody"),
        pytest.param({"sid": {"a": 1}}, Fault.CLAIMS, id="sid-object"),
    ],
)
async def test_bad_logout_token_changes_nothing_b10(changes, fault):
    claims = logout_claims() | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    async with intake_world() as world:
        token = signed(claims, "logout+jwt")
        assert await refused(world.intake.logout(token)) is fault
        assert (world.index.entries, world.entered) == ({}, [])
        assert world.intake.counts == {("logout", "refused"): 1}


@pytest.mark.parametrize(
    ("typ", "header", "fault"),
    [
        pytest.param("at+jwt", {}, Fault.TYPE, id="access-token"),
        pytest.param("secevent+jwt", {}, Fault.TYPE, id="set"),
        pytest.param("logout+jwt", {"alg": "none"}, Fault.ALGORITHM, id="none-j1"),
        pytest.param("logout+jwt", {"alg": "NonE"}, Fault.ALGORITHM, id="None-j1"),
        pytest.param("logout+jwt", {"alg": "HS256"}, Fault.ALGORITHM, id="hs256-j2"),
        pytest.param("logout+jwt", {"alg": "RS256"}, Fault.ALGORITHM, id="not-listed"),
        pytest.param("logout+jwt", {"alg": None}, Fault.ALGORITHM, id="no-alg"),
        pytest.param("logout+jwt", {"alg": 1}, Fault.MALFORMED, id="alg-number"),
        pytest.param("logout+jwt", {"crit": []}, Fault.MALFORMED, id="crit-j6"),
        pytest.param("logout+jwt", {"b64": False}, Fault.MALFORMED, id="b64-j6"),
        pytest.param("logout+jwt", {"zip": "DEF"}, Fault.MALFORMED, id="zip-j13"),
        pytest.param("logout+jwt", {"cty": "JWT"}, Fault.MALFORMED, id="nested-j13"),
        pytest.param("logout+jwt", {"kid": "other"}, Fault.KEY, id="kid-j14"),
        pytest.param("logout+jwt", {"kid": "a\nb"}, Fault.MALFORMED, id="kid-lf"),
        pytest.param("logout+jwt", {"kid": "k" * 300}, Fault.MALFORMED, id="kid-long"),
    ],
)
async def test_logout_token_of_another_kind_is_refused_b10(typ, header, fault):
    async with intake_world() as world:
        token = signed(logout_claims(), typ, **header)
        assert await refused(world.intake.logout(token)) is fault
        assert world.index.entries == {}


@pytest.mark.parametrize("typ", ["logout+jwt", "application/Logout+JWT", "JWT", None])
async def test_logout_token_needs_no_explicit_type(typ):
    """Recommended only: OpenID Connect Back-Channel Logout 1.0 section 2.4."""
    async with intake_world() as world:
        await world.intake.logout(signed(logout_claims(), typ))
        assert world.cutoff(Kind.SID, "s-1") == EVERYTHING


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda t: t[:-4] + "AAAA", id="signature"),
        pytest.param(lambda t: t.rpartition(".")[0] + ".", id="no-signature-j1"),
        pytest.param(lambda t: t.rpartition(".")[0], id="two-parts-j8"),
        pytest.param(lambda t: t + ".e30", id="four-parts-j8"),
        pytest.param(lambda t: t + "=", id="padding-j8"),
        pytest.param(lambda t: " " + t, id="space-j8"),
        pytest.param(lambda t: t.replace(".", "..", 1), id="empty-part-j8"),
        pytest.param(lambda t: t + "A" * 70_000, id="long-j11"),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda t: t + "\u00e9", id="not-ascii"),
    ],
)
async def test_spoilt_logout_token_is_refused_b10(spoil):
    async with intake_world() as world:
        fault = await refused(world.intake.logout(spoil(logout_token())))
        assert fault in {Fault.MALFORMED, Fault.SIGNATURE}
        assert world.index.entries == {}


async def test_forged_logout_token_is_refused_b10():
    """Signed by a key of the same name that is not the issuer's."""
    forger = tokens.SigningKey("ES256", tokens.signing_key().kid)
    async with intake_world() as world:
        token = signed(logout_claims(), "logout+jwt", forger)
        assert await refused(world.intake.logout(token)) is Fault.SIGNATURE
        # A known kid that fails to verify may have a new key: one question.
        assert world.asked == [("login", None)]


async def test_doubled_claims_are_refused_j7():
    key = tokens.signing_key()
    head = {"alg": key.alg, "kid": key.kid, "typ": "logout+jwt"}
    text = tokens.json.dumps(logout_claims())[:-1] + ', "s\\u0069d": "victim"}'
    token = tokens.encode(head, text.encode(), key).decode()
    async with intake_world() as world:
        assert await refused(world.intake.logout(token)) is Fault.MALFORMED


async def test_logout_signed_by_a_new_key_finds_it():
    new = tokens.SigningKey("ES256", "new")
    async with intake_world() as world:
        world.newly = new
        await world.intake.logout(signed(logout_claims(), "logout+jwt", new))
        assert world.asked == [("login", "new")]
        assert world.cutoff(Kind.SID, "s-1") == EVERYTHING


async def test_unknown_kid_while_keys_cannot_be_fetched_may_come_again():
    async with intake_world() as world:
        world.publish(tokens.signing_key(), fetched=False)
        new = tokens.SigningKey("ES256", "new")
        with pytest.raises(ControlError):
            await world.intake.logout(signed(logout_claims(), "logout+jwt", new))
        assert world.intake.counts == {("logout", "unavailable"): 1}


async def test_logout_that_was_not_kept_may_come_again():
    token = logout_token()
    async with intake_world() as world:
        world.fault = ControlError("the journal is slow")
        with pytest.raises(ControlError):
            await world.intake.logout(token)
        world.fault = None
        await world.intake.logout(token)
        assert world.cutoff(Kind.SID, "s-1") == EVERYTHING


async def test_same_logout_token_at_once_is_one_event():
    token = logout_token()
    async with intake_world() as world:
        came = await asyncio.gather(
            *(world.intake.logout(token) for _ in range(8)), return_exceptions=True
        )
        assert [each for each in came if each is None] == [None]
        assert all(isinstance(e, (ControlError, NoticeError)) for e in came if e)
        assert world.journal.last == 1


async def test_audit_log_that_fails_does_not_undo_a_revocation():
    async with intake_world() as world:
        world.intake._audit = _failing
        await world.intake.logout(logout_token())
        assert world.cutoff(Kind.SID, "s-1") == EVERYTHING
        assert world.alarms == {("audit", "intake")}


def _failing(*_):
    raise ControlError("the disk is full")


async def test_full_index_still_keeps_the_id():
    """The journal has it; a replay is one all the same."""
    token = logout_token()
    async with intake_world() as world:
        world.index.room = 0
        await world.intake.logout(token)
        assert await refused(world.intake.logout(token)) is Fault.REPEATED
