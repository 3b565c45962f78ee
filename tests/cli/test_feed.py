"""`fastgate feed`: status, verify and adopt, as a shell sees them."""

import json

import pytest
from tests.cli.gateways import gateway, run, terminal

from fastgate.cli import feed


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A gateway, and its address in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(feed, "_PAUSE_S", 0.0)
    with gateway(tmp_path) as (agent, address):
        monkeypatch.setenv("FASTGATE_ADMIN", address)
        agent.address = address
        yield agent


@pytest.fixture
def other(tmp_path_factory):
    """Another node of the same deployment."""
    with gateway(tmp_path_factory.mktemp("other")) as (agent, address):
        agent.address = address
        yield agent


def said(last: int, digest: str | None) -> dict:
    return {"eu": {"gw-eu-1.abcdefgh": {"last": last, "digest": digest}}}


def test_status_shows_a_row_an_origin(there, monkeypatch):
    """State, age, position, what was missing and what was refused."""
    terminal(monkeypatch)
    line = {
        "origin": "ap", "state": "fresh", "age_s": 0.31, "position": 7, "lag": 0,
        "gaps": 1, "replays": 2, "rejected": {"key": 3, "signature": 1},
        "adopted_by": "eu",
    }  # fmt: skip
    monkeypatch.setattr(there, "status", lambda: {"feed": {"origins": [line]}})
    row = run("feed", "status").stdout.splitlines()[1]
    assert row.split() == [
        "ap",
        "(by",
        "eu)",
        "fresh",
        "0.3",
        "s",
        "7",
        "0",
        "1",
        "2",
        "4",
    ]


def test_status_says_what_came_by_the_urgent_path(there, monkeypatch):
    """How many it enforced before the stream brought them, and how many not."""
    terminal(monkeypatch)
    heard = {"first": 7, "known": 2, "late": 0}
    feed = {"origins": [], "urgent": {"said": 3, "unsaid": 1, "heard": heard}}
    monkeypatch.setattr(there, "status", lambda: {"feed": feed})
    line = run("feed", "status").stdout.splitlines()[-1]
    assert line == "urgent path: 3 sent, 1 not · heard: first 7, known 2"


def test_verify_asks_the_other_node_as_of_the_same_marks(there, other):
    """Equal digests: neither has what the other one lacks."""
    there.origins = other.origins = said(4, "ab")
    done = run("feed", "verify", "--with", other.address, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["equal"] is True
    assert other.calls == [("digests", (7, {"eu/gw-eu-1.abcdefgh": 4}))]


@pytest.mark.parametrize(
    ("theirs", "outcome"),
    [
        (said(4, "cd"), "differs"),
        (said(3, "ab"), "behind"),
        (said(4, None), "cannot be told"),
        ({}, "unknown there"),
    ],
    ids=["differs", "behind", "untold", "unknown"],
)
def test_verify_fails_when_the_nodes_are_not_equal(there, other, theirs, outcome):
    """Each way of not being equal has a name."""
    there.origins, other.origins = said(4, "ab"), theirs
    done = run("feed", "verify", "--with", other.address, "--json")
    assert done.exit_code == 1
    [line] = json.loads(done.stdout)["publishers"]
    assert line["outcome"] == outcome


def test_verify_takes_nothing_for_nothing(there, other):
    """A publisher whose events have all expired is known to one of them only."""
    there.origins = said(4, "0" * 32)
    assert run("feed", "verify", "--with", other.address).exit_code == 0


def test_adopt_is_asked_of_a_gateway_of_the_adopter(there):
    """And says what it took over, and since when nothing was proven."""
    done = run("feed", "adopt", "ap", "--by", "eu")
    assert done.exit_code == 0
    assert done.stdout == "eu speaks for ap · 12 events · complete as of 34.6 s ago\n"
    wrong = run("feed", "adopt", "ap", "--by", "us")
    assert wrong.exit_code == 2
    assert [given for name, given in there.calls if name == "adopt"] == ["ap"]
