"""`fastgate explain`: the token's way in, the table, the exit codes."""

import json

import pytest
from tests.cli.gateways import gateway, run, terminal

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A gateway, and its address in the environment."""
    monkeypatch.chdir(tmp_path)
    with gateway(tmp_path) as (agent, address):
        monkeypatch.setenv("FASTGATE_ADMIN", address)
        yield agent


def asked(agent):
    return next(given for name, given in agent.calls if name == "explain")


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f"Bearer {TOKEN}\n"])
def test_explain_reads_the_token_from_stdin(there, text):
    """`-` is standard input; a copied header is understood."""
    done = run("explain", "-", "--path", "/orders/42", stdin=text)
    assert done.exit_code == 0
    assert asked(there)["token"] == TOKEN
    assert json.loads(done.stdout)["reason"] == "revoked"


def test_explain_reads_secrets_from_files(there, tmp_path):
    """Token, cookies and form members stay off the list of processes."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "cookies").write_text("region=us; s=1\n")
    (tmp_path / "refresh").write_text("r-1\n")
    done = run(
        "explain",
        *("token", "--path", "/oauth/v2/token", "--method", "post"),
        *("--cookie", "@cookies", "--form", "grant_type=refresh_token"),
        *("--form", "refresh_token=@refresh"),
    )
    assert done.exit_code == 0
    assert asked(there) == {
        "token": TOKEN,
        "method": "POST",
        "path": "/oauth/v2/token",
        "cookies": "region=us; s=1",
        "form": {"grant_type": ("refresh_token",), "refresh_token": ("r-1",)},
    }


def test_explain_without_token_explains_the_request(there):
    """What happens to a request without one is a question too."""
    assert run("explain", "--path", "/public/").exit_code == 0
    assert asked(there)["token"] is None


def test_explain_shows_steps_and_decision_on_a_terminal(there, monkeypatch):
    """One row a check, and the verdict with the region last."""
    terminal(monkeypatch)
    done = run("explain", "-", "--path", "/orders/42", stdin=TOKEN)
    assert [line.split(maxsplit=1)[0] for line in done.stdout.splitlines()[1:]] == [
        "shape",
        "revocation",
        "decision",
    ]
    assert "401 revoked, home us by claim" in done.stdout


def test_t19_explain_prints_no_control_characters(there, monkeypatch):
    """What a token says cannot move the cursor of who looks at it."""
    terminal(monkeypatch)

    async def hostile(**_given):
        outcome = "kid \x1b[2J\x9b2J\u202eevil"
        return {"status": 401, "steps": [{"step": "shape", "outcome": outcome}]}

    monkeypatch.setattr(there, "explain", hostile)
    done = run("explain", "-", "--path", "/", stdin=TOKEN)
    assert "kid ?[2J?2J?evil" in done.stdout


@pytest.mark.parametrize("argument", [TOKEN, "absent.txt"])
def test_t20_explain_of_an_argument_that_is_no_file_repeats_nothing(there, argument):
    """A token given as argument by mistake is not printed into a log as well."""
    done = run("explain", argument, "--path", "/")
    assert done.exit_code == 2
    assert "give a file, or - for stdin" in done.stderr
    assert argument not in done.output


def test_explain_of_a_huge_or_binary_file_is_a_usage_error(there, tmp_path):
    """Nothing that can be no token is sent anywhere."""
    (tmp_path / "huge").write_bytes(b"x" * 40_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("huge", "binary"):
        assert run("explain", name, "--path", "/").exit_code == 2
    assert run("explain", "-", "--path", "/", stdin="x" * 40_000).exit_code == 2
    assert there.calls == []


def test_explain_form_without_a_name_repeats_nothing(there):
    """It may be a secret in the wrong place."""
    done = run("explain", "--path", "/", "--form", TOKEN)
    assert done.exit_code == 2
    assert TOKEN not in done.output
