"""Accounts: codes are used once, refresh tokens rotate, an ended session ends all."""

import pytest

from fastgate.demo.accounts import Accounts, GrantError, challenge_of

NOW = 1_800_000_000.0
VERIFIER = "v" * 43
BACK = "https://app.example.com/callback"


@pytest.fixture
def accounts():
    return Accounts()


def a_code(accounts, now_s=NOW):
    return accounts.code(
        "bob",
        "web-app",
        scope="orders",
        challenge=challenge_of(VERIFIER),
        redirect_uri=BACK,
        now_s=now_s,
    )


def redeem(accounts, code, **override):
    use = {"verifier": VERIFIER, "redirect_uri": BACK, "now_s": NOW, **override}
    return accounts.redeem(code, use.pop("client_id", "web-app"), **use)


@pytest.fixture
def session(accounts):
    return redeem(accounts, a_code(accounts))


def test_challenge_is_that_of_the_rfc():
    """The example of RFC 7636 appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    "wrong",
    [
        {"verifier": "w" * 43},
        {"redirect_uri": BACK + "/"},
        {"client_id": "phone-app"},
        {"now_s": NOW + 60},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_code_is_refused_when_anything_does_not_fit(accounts, wrong):
    """Verifier, place, client and age all count (RFC 6749, RFC 7636)."""
    code = a_code(accounts)
    with pytest.raises(GrantError):
        redeem(accounts, code, **wrong)


def test_code_ends_its_session_when_used_twice(accounts):
    """A code used twice was stolen once; RFC 6749 section 4.1.2."""
    code = a_code(accounts)
    session = redeem(accounts, code)
    with pytest.raises(GrantError):
        redeem(accounts, code)
    assert session.ended


def test_refresh_token_rotates_at_each_use(accounts, session):
    """A refresh token is answered with another one."""
    first = accounts.refresh_token(session, NOW)
    found, second = accounts.rotate(first, "web-app", NOW)
    assert found is session
    assert second != first
    assert accounts.rotate(second, "web-app", NOW)[1] not in {first, second}


def test_used_refresh_token_gets_the_newest_one_within_the_grace(accounts, session):
    """An answer lost on the way can be fetched again for 30 s."""
    first = accounts.refresh_token(session, NOW)
    _, second = accounts.rotate(first, "web-app", NOW)
    assert accounts.rotate(first, "web-app", NOW + 29)[1] == second
    assert not session.ended


def test_used_refresh_token_ends_the_family_after_the_grace(accounts, session):
    """Later use is theft: thief and owner both sign in again."""
    first = accounts.refresh_token(session, NOW)
    _, second = accounts.rotate(first, "web-app", NOW)
    with pytest.raises(GrantError):
        accounts.rotate(first, "web-app", NOW + 30)
    with pytest.raises(GrantError):
        accounts.rotate(second, "web-app", NOW + 30)


@pytest.mark.parametrize(
    "wrong", [("nobody", "web-app"), (None, "phone-app")], ids=["unknown", "client"]
)
def test_refresh_token_is_refused_when_it_does_not_fit(accounts, session, wrong):
    """An unknown token, and another client's token."""
    token = accounts.refresh_token(session, NOW)
    with pytest.raises(GrantError):
        accounts.rotate(wrong[0] or token, wrong[1], NOW)


def test_access_token_is_active_until_it_expires(accounts, session):
    """Five minutes, and not a second more."""
    access = accounts.access(session, NOW)
    assert access.is_active(NOW + 299)
    assert not access.is_active(NOW + 300)


def test_access_tokens_end_with_their_session(accounts, session):
    """Ending a session leaves nothing of it usable."""
    access = accounts.access(session, NOW)
    assert accounts.end(session.sid)
    assert not access.is_active(NOW)
    assert not accounts.end("unknown")


def test_handle_finds_only_the_token_it_stands_for(accounts, session):
    """An opaque text means one access token, and unknown text means none."""
    access = accounts.access(session, NOW)
    handle = accounts.handle(access)
    assert accounts.find_handle(handle) is access
    assert accounts.find_handle(handle + "x") is None
    assert accounts.find(access.jti) is access


def test_browser_is_forgotten_when_it_signs_out(accounts):
    """The cookie means nothing afterwards."""
    browser = accounts.sign_in("bob")
    assert accounts.user_of(browser) == "bob"
    accounts.sign_out(browser)
    assert accounts.user_of(browser) is None


def test_accounts_stay_bounded_when_flooded(accounts, monkeypatch):
    """The oldest entry leaves when there are too many."""
    monkeypatch.setattr("fastgate.demo.accounts._MOST_KEPT", 3)
    first = a_code(accounts)
    for _ in range(3):
        a_code(accounts)
    with pytest.raises(GrantError):
        redeem(accounts, first)
