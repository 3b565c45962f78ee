"""`fastgate revoke`: how it is asked for, what it prints, how it ends."""

import json
import re
from dataclasses import replace

import pytest
from tests.admin.fake_agent import RECEIPT
from tests.cli.gateways import gateway, run, terminal

from fastgate.domain.entry import EntryError
from fastgate.errors import ControlError


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A gateway, and its address in the environment."""
    monkeypatch.chdir(tmp_path)
    with gateway(tmp_path) as (agent, address):
        monkeypatch.setenv("FASTGATE_ADMIN", address)
        yield agent


def asked(agent):
    return next(given for name, given in agent.calls if name == "enter")


def test_revoke_prints_one_line_with_the_receipt(there):
    """Number, kind, regions by the time they took, and when it was everywhere."""
    done = run("revoke", "--sub", "bob", "--issuer", "login", "--home", "us", "--wait")
    assert done.exit_code == 0
    assert done.stdout == (
        "us seq 1044 · sub · us 2 nodes 3.1 ms · eu 2 nodes 94 ms"
        " · everywhere after 94 ms\n"
    )
    assert asked(there) == {
        "kind": "sub",
        "issuer": "login",
        "value": "bob",
        "home": "us",
        "issued_before": None,
        "expires_in": None,
        "urgent": False,
        "reason": "",
        "wait": "regions",
    }


@pytest.mark.parametrize(
    ("arguments", "kind", "value"),
    [
        (["--sid", "s-1"], "sid", "s-1"),
        (["--jti", "t-1"], "jti", "t-1"),
        (["--client", "app"], "client", "app"),
        (["--grant", "g-1"], "grant", "g-1"),
        (["--kid", "ec-1"], "kid", "ec-1"),
        (["--kind", "sid", "s-1"], "sid", "s-1"),
        (["--kind", "issuer"], "issuer", ""),
    ],
)
def test_revoke_takes_every_kind(there, arguments, kind, value):
    """Each kind has an option of its own, and all go through --kind."""
    done = run("revoke", *arguments, "--issuer", "login", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["seq"] == 1044
    given = asked(there)
    assert (given["kind"], given["value"]) == (kind, value)
    assert given["wait"] == "local"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1763679072", 1763679072.0),
        ("1763679072.5", 1763679072.5),
        ("2025-11-20T22:51:12Z", 1763679072.0),
        ("2025-11-20T23:51:12+01:00", 1763679072.0),
    ],
)
def test_revoke_reads_times_and_durations(there, text, seconds):
    """A moment with its zone or seconds; a duration with its unit."""
    done = run(
        "revoke",
        *("--sub", "bob", "--issuer", "login", "--issued-before", text),
        *("--expires-in", "1h30m", "--urgent", "--reason", "lost phone"),
    )
    assert done.exit_code == 0
    given = asked(there)
    assert (given["issued_before"], given["expires_in"]) == (seconds, 5400)
    assert (given["urgent"], given["reason"]) == (True, "lost phone")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give one of --sid, --sub"),
        (["--sid", "a", "--sub", "b"], "give one of --sid, --sub"),
        (["s-1"], "give one of --sid, --sub"),
        (["--sid", "a", "s-1"], "give one of --sid, --sub"),
        (["--kind", "sid"], "--kind sid needs a VALUE"),
        (["--sid", ""], "--kind sid needs a VALUE"),
        (["--sub", "b", "--issued-before", "noon"], "--issued-before noon: write"),
        (["--sub", "b", "--issued-before", "2025-11-20T22:51:12"], "write 2026-"),
        (["--sub", "b", "--expires-in", "soon"], '--expires-in "soon" is no duration'),
    ],
)
def test_revoke_spelled_wrongly_is_a_usage_error_that_helps(there, arguments, says):
    """Nothing is sent, and the message says how to write it."""
    done = run("revoke", *arguments, "--issuer", "login")
    assert done.exit_code == 2
    assert says in done.stderr
    assert there.calls == []


def test_revoke_not_yet_published_says_so(there):
    """202 is a success of this node, and is told as no more than that."""
    there.receipt = replace(
        RECEIPT, published=False, complete=False, seq=None, regions={}
    )
    done = run("revoke", "--sid", "s-1", "--issuer", "login")
    assert done.exit_code == 0
    assert done.stdout == (
        "us · sid · pending: enforced by this node, not yet published\n"
    )


def test_revoke_wait_without_every_region_fails(there):
    """A script that waits for all regions must not go on without one."""
    there.receipt = replace(RECEIPT, complete=False)
    done = run("revoke", "--sid", "s-1", "--issuer", "login", "--wait")
    assert done.exit_code == 1
    assert "not yet everywhere" in done.stdout
    assert "not every region has confirmed" in done.stderr


def test_revoke_refused_by_the_gateway_names_the_option(there):
    """The member at fault and what is known, from the gateway."""
    done = run("revoke", "--sid", "s-1", "--issuer", "logn")
    assert done.exit_code == 2
    assert done.stderr == (
        'fastgate: issuer: "logn" is unknown; did you mean "login"?\n'
    )
    there.fault = EntryError("expires_in", "at most 7200 seconds")
    done = run("revoke", "--sid", "s-1", "--issuer", "login")
    assert done.stderr == "fastgate: expires_in: at most 7200 seconds\n"


def test_revoke_that_could_not_be_stored_exits_69(there):
    """A dependency is away; trying again helps."""
    there.fault = ControlError("journal")
    assert run("revoke", "--sid", "s-1", "--issuer", "login").exit_code == 69


def test_lift_names_what_it_undoes(there):
    """The id that the revocation was answered with; nothing else is asked for."""
    done = run("revoke", "--lift", RECEIPT.id, "--wait", "--reason", "mistake")
    assert done.exit_code == 0
    assert f"lift of {RECEIPT.id}" in done.stdout
    assert "everywhere after" in done.stdout
    given = next(what for name, what in there.calls if name == "lift")
    assert given == {"id": RECEIPT.id, "wait": "regions", "reason": "mistake"}


def test_lift_tells_where_the_event_stays_in_force(there):
    """Of an unknown home: every region lifts its own."""
    there.receipt = replace(RECEIPT, elsewhere=("ap", "us"))
    done = run("revoke", "--lift", RECEIPT.id)
    assert done.stdout.strip().endswith("still in force in ap, us")


@pytest.mark.parametrize(
    "arguments",
    [["--sid", "s-1"], ["--issuer", "login"], ["--urgent"], ["--home", "us"]],
    ids=["sid", "issuer", "urgent", "home"],
)
def test_lift_takes_no_option_of_a_revocation(there, arguments):
    """What is lifted is named by its id alone."""
    done = run("revoke", "--lift", RECEIPT.id, *arguments)
    assert done.exit_code == 2
    assert "--lift takes" in done.stderr
    assert there.calls == []


def test_lift_of_no_id_is_refused_before_anything_is_asked(there):
    """It becomes a part of a path, so it must be a name."""
    assert run("revoke", "--lift", "../status").exit_code == 2
    assert there.calls == []


def test_revocation_without_an_issuer_is_refused(there):
    """Identifiers are an issuer's."""
    done = run("revoke", "--sid", "s-1")
    assert done.exit_code == 2
    assert "--issuer is missing" in done.stderr


def test_list_shows_ids_and_times_of_every_page(there, monkeypatch):
    """Page after page, until all is told."""
    terminal(monkeypatch)
    done = run("revoke", "--list", "--limit", "500")
    assert done.exit_code == 0
    lines = re.sub("\x1b\\[[0-9;]*m", "", done.stdout).splitlines()
    assert " ".join(lines[0].split()) == "id origin kind tokens issued until state"
    assert [line.split()[0] for line in lines[1:]] == ["a" * 24, "unknown", "b" * 24]
    assert lines[1].rstrip().endswith("in force")
    assert lines[3].rstrip().endswith("lifted")
    assert [asked["cursor"] for asked in there.listing.asked] == [None, "next-page"]
    assert [asked["limit"] for asked in there.listing.asked] == [500, 498]


def test_list_is_narrowed_and_ends_at_its_limit(there, monkeypatch):
    """Then it says how to go on."""
    terminal(monkeypatch)
    there.origins = {"eu": {}, "us": {}}
    options = ("--kind", "sid", "--home", "us", "--all", "--limit", "2")
    done = run("revoke", "--list", *options)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "There are more: --cursor next-page"
    (asked,) = there.listing.asked
    assert (asked["kind"], asked["origin"], asked["live"]) == ("sid", "us", False)


def test_list_as_json_has_the_cursor(there):
    """One document, whatever the number of pages."""
    done = run("revoke", "--list", "--limit", "2", "--json")
    document = json.loads(done.stdout)
    assert document["next"] == "next-page"
    assert len(document["revocations"]) == 2


@pytest.mark.parametrize(
    "options",
    [["--sid", "s"], ["--lift", "a"], ["--issuer", "login"], ["--urgent"], ["--wait"]],
)
def test_list_revokes_nothing(there, options):
    """Whoever mixes them up is told, before anything is asked."""
    done = run("revoke", "--list", *options)
    assert done.exit_code == 2
    assert there.calls == []
