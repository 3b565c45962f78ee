"""What ends sessions cannot wait; what ends a token alone can."""

import pytest
from tests.control.test_intake_tap import WITH_TAP, token
from tests.feed_fakes import until
from tests.intake_kit import (
    CAEP,
    RISC,
    USER,
    intake_world,
    logout_token,
    security_event,
)

BEARER = "a-token-of-the-issuer"
CHANGED = {"change_type": "revoke", "credential_type": "password"}


@pytest.mark.parametrize("changes", [{}, {"sid": None}], ids=["session", "user"])
async def test_back_channel_logout_is_urgent(changes):
    """Workers look at their open streams at once, wherever it is entered."""
    async with intake_world() as world:
        await world.intake.logout(logout_token(**changes))
        assert world.entered[0]["urgent"] is True
        assert world.index.urgent == 1


@pytest.mark.parametrize(
    ("event", "body", "urgent"),
    [
        (f"{CAEP}session-revoked", {}, True),
        (f"{CAEP}credential-change", CHANGED, False),
        (f"{RISC}account-disabled", {}, False),
    ],
    ids=["session-revoked", "credential-change", "account-disabled"],
)
async def test_security_event_is_urgent_when_sessions_are_revoked(event, body, urgent):
    """An account or a credential is another matter than what is open now."""
    async with intake_world() as world:
        await world.intake.pushed(security_event(event, body), None)
        assert world.entered[0]["urgent"] is urgent
        assert world.index.urgent == urgent


async def test_global_token_revocation_is_urgent():
    """All sessions of the user end."""
    async with intake_world() as world:
        await world.intake.end_user(USER, BEARER)
        assert world.entered[0]["urgent"] is True
        assert world.index.urgent == 1


async def test_end_of_session_in_passing_is_urgent():
    """The end-session endpoint has answered: whoever logs out means now."""
    async with intake_world(WITH_TAP) as world:
        note = {"issuer": "login", "token": token("JWT"), "end": "session"}
        world.intake.noted(note)
        await until(lambda: world.index.urgent == 1)


async def test_end_of_a_token_in_passing_is_urgent_for_its_session_only():
    """A token that was given up is nothing to hurry for; a session is."""
    async with intake_world(WITH_TAP) as world:
        world.intake.noted({"issuer": "login", "token": token("rt+jwt")})
        await until(lambda: world.intake.counts["tap", "revoked"] == 1)
        assert world.index.urgent == 0
        again = token("rt+jwt", jti="t-2")
        ends = {"refresh": True, "session": True}
        world.intake.noted({"issuer": "login", "token": again} | ends)
        await until(lambda: world.intake.counts["tap", "revoked"] == 2)
        urgent = {asked["kind"] for asked in world.entered if asked["urgent"]}
        assert urgent == {"sid"}
        assert world.index.urgent == 1
