"""`fastgate keys`: the table, and fetching now."""

import json

import pytest
from tests.admin.fake_agent import KEYS
from tests.cli.gateways import gateway, run, terminal


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A gateway, and its address in the environment."""
    monkeypatch.chdir(tmp_path)
    with gateway(tmp_path) as (agent, address):
        monkeypatch.setenv("FASTGATE_ADMIN", address)
        yield agent


def test_keys_prints_what_the_gateway_holds(there):
    """The `keys` of the status, for scripts; of one issuer where it is named."""
    assert json.loads(run("keys").stdout) == [KEYS]
    assert json.loads(run("keys", "--issuer", "login").stdout) == [KEYS]
    assert json.loads(run("keys", "--issuer", "other").stdout) == []
    assert there.calls == []


def test_keys_shows_a_row_a_key_on_a_terminal(there, monkeypatch):
    """Which keys, since when, and when they are fetched again."""
    terminal(monkeypatch)
    done = run("keys")
    row = done.stdout.splitlines()[1]
    for text in ("login", "ec-1", "ES256", "current", "2025-11-20 23:00Z", "in 7m47s"):
        assert text in row


def test_keys_shows_an_issuer_without_keys_and_why(there, monkeypatch):
    """What is missing is what one looks for."""
    terminal(monkeypatch)
    bare = KEYS | {"keys": [], "last_error": "timed out", "next_refresh_s": None}
    monkeypatch.setattr(there, "status", lambda: {"keys": [bare]})
    assert "timed out" in run("keys").stdout


def test_keys_refresh_fetches_first(there):
    """One issuer or all; the gateway waits for the fetch."""
    assert run("keys", "--refresh", "--issuer", "login").exit_code == 0
    assert ("refresh_keys", {"issuer": "login", "wait": True}) in there.calls


def test_keys_refresh_that_fails_shows_the_keys_and_exits_69(there, monkeypatch):
    """The last good keys are still in use, and are shown."""

    async def failing(_issuer, *, wait):
        return {"login": {"ok": False, "error": "timed out", "kids": ["ec-1"]}}

    monkeypatch.setattr(there, "refresh_keys", failing)
    done = run("keys", "--refresh")
    assert done.exit_code == 69
    assert done.stderr == "fastgate: login: timed out\n"
    assert json.loads(done.stdout) == [KEYS]
