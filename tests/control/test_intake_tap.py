"""What workers hear in passing: verified by the agent, no wider than the token."""

import time
from dataclasses import replace

import pytest
from tests import tokens
from tests.feed_fakes import until
from tests.intake_kit import ISSUER, RULES, intake_world, signed

from fastgate.domain.revocation import EVERYTHING, Kind
from fastgate.domain.tapped_token import TappedRules
from fastgate.errors import ControlError

TAPPED = TappedRules("login", ISSUER, frozenset({"ES256"}), 5, ("grant_id",))
WITH_TAP = replace(RULES, taps={"login": TAPPED})


def token(typ: str | None = "at+jwt", key=None, **changes) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "bob",
        "jti": "t-1",
        "sid": "s-1",
        "grant_id": "g-1",
        "iat": now,
        "exp": now + 300,
    }
    claims = {k: v for k, v in (claims | changes).items() if v is not None}
    return signed(claims, typ, key)


async def tell(world, text, result, **note):
    """Tell it, and wait until it was judged."""
    world.intake.noted({"issuer": "login", "token": text, "end": "token"} | note)
    await until(lambda: world.intake.counts["tap", result])


async def test_access_token_ends_alone():
    async with intake_world(WITH_TAP) as world:
        await tell(world, token(), "revoked")
        assert world.cutoff(Kind.JTI, "t-1") == EVERYTHING
        assert len(world.index.entries) == 1


async def test_refresh_token_ends_its_grant_and_where_asked_its_session():
    async with intake_world(WITH_TAP) as world:
        await tell(world, token("rt+jwt"), "revoked", refresh=True)
        assert world.cutoff(Kind.GRANT, "g-1") == EVERYTHING
        assert world.cutoff(Kind.SID, "s-1") is None
        text = token("rt+jwt", jti="t-2")
        world.intake.noted(
            {"issuer": "login", "token": text, "refresh": True, "session": True}
        )
        await until(lambda: world.cutoff(Kind.SID, "s-1") == EVERYTHING)


async def test_ended_session_ends_by_its_hint_though_that_has_expired():
    async with intake_world(WITH_TAP) as world:
        await tell(world, token("JWT", exp=1, iat=0), "revoked", end="session")
        assert world.cutoff(Kind.SID, "s-1") == EVERYTHING
        await tell(world, token("JWT", sid=None), "revoked", end="session")
        await until(lambda: world.cutoff(Kind.SUB, "bob") is not None)


async def test_token_that_is_over_by_itself_needs_no_revocation():
    async with intake_world(WITH_TAP) as world:
        await tell(world, token(exp=int(time.time()) - 60), "ignored")
        assert world.index.entries == {}


FORGER = tokens.SigningKey("ES256", tokens.signing_key().kid)


# Made when they are told: one that has expired meanwhile would be ignored, not refused.
UNVERIFIED = {
    "forged": lambda: token(key=FORGER),
    "iss": lambda: token(iss="https://evil"),
    "logout-token": lambda: token("logout+jwt"),
    "set": lambda: token("secevent+jwt"),
    "status-list": lambda: token("statuslist+jwt"),
    "no-jti": lambda: token(jti=None),
    "signature": lambda: token()[:-4] + "AAAA",
    "opaque": lambda: "opaque",
    "empty": str,
}


@pytest.mark.parametrize("what", UNVERIFIED)
async def test_token_that_does_not_verify_ends_nobody_b10(what):
    async with intake_world(WITH_TAP) as world:
        await tell(world, UNVERIFIED[what](), "refused")
        assert world.index.entries == {}


@pytest.mark.parametrize(
    "note",
    [
        pytest.param({"issuer": "other"}, id="unknown-issuer"),
        pytest.param({"issuer": None}, id="no-issuer"),
        pytest.param({"token": 5}, id="no-text"),
    ],
)
async def test_note_of_a_lying_worker_ends_nobody(note):
    async with intake_world(WITH_TAP) as world:
        await tell(world, token(), "refused", **note)
        assert world.index.entries == {}


async def test_opaque_token_ends_by_the_jti_that_its_issuer_told():
    """Only that token: whatever else a worker says of it is not looked at."""
    async with intake_world(WITH_TAP) as world:
        more = {"sid": "s-1", "sub": "bob", "session": True, "refresh": True}
        note = {"issuer": "login", "end": "members", "jti": "t-1"} | more
        for result in ("revoked", "repeated"):
            world.intake.noted(note)
            await until(lambda result=result: world.intake.counts["tap", result])
        assert world.cutoff(Kind.JTI, "t-1") == EVERYTHING
        assert len(world.index.entries) == 1
        await tell(world, token(), "repeated")


@pytest.mark.parametrize("jti", [None, "", 1.5, [], "x" * 2_000])
async def test_opaque_token_without_a_usable_jti_ends_nothing(jti):
    async with intake_world(WITH_TAP) as world:
        world.intake.noted({"issuer": "login", "end": "members", "jti": jti})
        await until(lambda: world.intake.counts["tap", "refused"])
        assert world.index.entries == {}


async def test_nobody_is_believed_where_no_route_taps():
    async with intake_world() as world:
        await tell(world, token(), "refused")
        assert world.index.entries == {}


async def test_revocation_that_could_not_be_kept_is_tried_again():
    """Nobody will send it once more: the client has its answer."""
    async with intake_world(WITH_TAP) as world:
        world.fault = ControlError("the journal is slow")
        world.intake.noted({"issuer": "login", "token": token(), "end": "token"})
        await until(lambda: world.alarms == {("tap_lost", "login")})
        world.fault = None
        await until(lambda: world.cutoff(Kind.JTI, "t-1") == EVERYTHING)
        await until(lambda: world.alarms == set())


async def test_flood_of_notes_is_bounded():
    async with intake_world(WITH_TAP) as world:
        for n in range(500):
            text = token(jti=f"t-{n}")
            world.intake.noted({"issuer": "login", "token": text, "end": "token"})
        assert len(world.intake._tapped) <= 64
        assert world.intake.counts["tap", "unavailable"] >= 400
        await until(lambda: not world.intake._tapped)
