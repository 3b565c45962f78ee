"""Agent: what it shows, what it believes of workers, and what it enters."""

import os
import signal

import pytest
from tests.config.documents import BASE, load_text
from tests.control.agent_rig import NOTE, Rig
from tests.feed_fakes import until

from fastgate.control.agent import key_sources
from fastgate.domain.entry import EntryError
from fastgate.domain.revocation import Kind


@pytest.fixture
def rig():
    return Rig()


# -- readiness and life ----------------------------------------------------------------


def test_agent_is_ready_when_workers_keys_and_origins_are(rig):
    """Each has a line of its own, so that it is clear what is waited for."""
    assert rig.failing() == ["worker 0", "worker 1"]
    rig.note(0)
    rig.note(1, config=0)
    assert rig.failing() == ["worker 1"]
    rig.note(1)
    rig.keyring.issuers[0]["ready"] = False
    rig.feed.origins = [{"origin": "us", "ready": False, "state": "never_heard"}]
    assert rig.failing() == ["keys login", "origin us"]
    assert rig.agent.ready()[0] is False
    rig.keyring.issuers[0]["ready"] = rig.feed.origins[0]["ready"] = True
    assert rig.agent.ready()[0] is True


def test_readiness_stays_when_keys_or_origins_fail_later(rig):
    """A cut link or an issuer's bad day is answered by the routes it concerns."""
    rig.note(0)
    rig.note(1)
    assert rig.agent.ready()[0] is True
    rig.keyring.issuers[0]["ready"] = rig.feed.origins[0]["ready"] = False
    assert rig.agent.ready()[0] is True
    assert rig.failing() == ["keys login", "origin eu"]


def test_readiness_goes_with_a_silent_worker_and_comes_back(rig):
    """Connections of that slot wait for a successor, so others should get them."""
    rig.note(0)
    rig.note(1)
    assert rig.agent.ready()[0] is True
    rig.clock.advance(4)
    rig.note(0)
    rig.clock.advance(2)
    assert rig.agent.ready()[0] is False
    rig.note(1)
    assert rig.agent.ready()[0] is True


def test_draining_node_is_not_ready_but_alive(rig):
    """Balancers send their traffic elsewhere; nobody restarts it for that."""
    rig.note(0)
    rig.note(1)
    assert rig.agent.ready()[0] is True
    rig.draining_ns = 1
    assert rig.agent.ready()[0] is False
    assert rig.failing() == ["not draining"]
    assert rig.agent.alive()[0] is True
    assert rig.agent.status()["draining"] is True


def test_node_is_alive_while_any_worker_is(rig):
    """Staleness, keys and a lost worker are no reasons to restart everything."""
    rig.note(1)
    rig.feed.origins[0]["ready"] = rig.keyring.issuers[0]["ready"] = False
    rig.clock.advance(3)
    assert rig.agent.alive()[0] is True
    rig.clock.advance(40)
    alive, checks = rig.agent.alive()
    assert alive is False
    assert [check["ok"] for check in checks] == [False, False]


def test_node_that_just_started_is_alive(rig):
    """Workers say of themselves once a second; until then nobody knows."""
    assert rig.agent.alive()[0] is True
    rig.clock.advance(31)
    assert rig.agent.alive()[0] is False


# -- what workers say ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slot", "kind", "data"),
    [
        (2, "worker", NOTE),
        (-1, "worker", NOTE),
        (0, "worker", "text"),
        (0, "worker", None),
        (0, "other", NOTE),
        (0, "alarm", ["introspection_unavailable"]),
        (0, "alarm", {}),
        (0, "alarm", {"alarm": "made_up", "dependency": "login", "active": True}),
        (0, "alarm", {"alarm": "introspection_unavailable", "active": True}),
        (
            0,
            "alarm",
            {"alarm": "introspection_unavailable", "dependency": "x", "active": True},
        ),
        (
            0,
            "alarm",
            {"alarm": "introspection_unavailable", "dependency": [], "active": True},
        ),
        (0, "alarm", {"alarm": {}, "dependency": "login", "active": True}),
    ],
)
def test_note_that_makes_no_sense_is_ignored(rig, slot, kind, data):
    """A worker that was taken over can lie about itself, and about nothing else."""
    rig.agent.noted(slot, kind, data)
    assert rig.alarms.active() == []
    assert not any(worker["up"] for worker in rig.agent.status()["workers"])


def test_alarm_of_a_worker_is_raised_and_cleared(rig):
    """Introspection is the workers' own affair; the agent only shows it."""
    note = {"alarm": "introspection_unavailable", "dependency": "login"}
    rig.agent.noted(0, "alarm", note | {"active": True})
    (alarm,) = rig.agent.status()["alarms"]
    assert (alarm["alarm"], alarm["dependency"]) == (
        "introspection_unavailable",
        "login",
    )
    rig.agent.noted(0, "alarm", note | {"active": False})
    assert rig.agent.status()["alarms"] == []


def test_status_shows_each_worker_as_it_last_said(rig):
    """And whether it serves the configuration in force."""
    rig.note(0)
    rig.note(1, config=0, pid=8)
    first, second = rig.agent.status()["workers"]
    assert first == {
        "slot": 0,
        "up": True,
        "current": True,
        "pid": 7,
        "cache": {"hits": 1},
        "rss_bytes": 9,
    }
    assert (second["current"], second["pid"]) == (False, 8)


async def test_question_of_a_worker_goes_to_the_keyring(rig):
    """The one thing a request may wait for."""
    await rig.agent.asked("login", "new")
    assert rig.keyring.questions == [("login", "new")]


# -- what is entered -------------------------------------------------------------------


async def test_revocation_is_entered_with_its_issuer_and_home(rig):
    """The alias becomes the exact `iss`, since that is what is hashed."""
    receipt, entry = await rig.enter(home="us", urgent=True, reason="stolen")
    assert (entry.kind, entry.value, entry.home) == (Kind.SID, "s-1", "us")
    assert entry.issuer == "https://login.example.com"
    assert (entry.issuer_alias, entry.urgent, entry.reason) == ("login", True, "stolen")
    assert await rig.agent.revocation(receipt.id) is receipt
    assert await rig.agent.revocation("unknown") is None


async def test_node_alone_is_home_to_every_user(rig):
    """With the local bus it stands in as origin for all regions."""
    rig.feed.standalone = True
    _, entry = await rig.enter(home="us")
    assert entry.home == "eu"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"issuer": "nobody"}, "issuer"),
        ({"issuer": None}, "issuer"),
        ({"kind": "everything"}, "kind"),
        ({"kind": None}, "kind"),
        ({"home": "mars"}, "home"),
    ],
)
async def test_revocation_that_names_nothing_known_is_refused_by_field(
    rig, asked, field
):
    """Whoever asked learns which member is wrong and what is known."""
    with pytest.raises(EntryError) as refused:
        await rig.enter(**asked)
    assert refused.value.field == field
    assert "known: " in str(refused.value)
    assert rig.feed.entered == []


async def test_receipts_are_kept_for_a_while_and_not_for_ever(rig):
    """A flood of revocations must not grow the agent."""
    first, _ = await rig.enter()
    for _ in range(1_000):
        last, _ = await rig.enter()
    assert await rig.agent.revocation(first.id) is None
    assert await rig.agent.revocation(last.id) is last


# -- tasks -----------------------------------------------------------------------------


async def test_agent_beats_and_keeps_the_index_in_shape(rig):
    """Upkeep is done in slices; counts are copied after it."""
    await rig.agent.start()
    await until(lambda: rig.beats and len(rig.followed) >= 2)
    assert rig.feed.running
    assert len(rig.index.times) == 3
    await rig.agent.stop()
    assert not rig.feed.running


async def test_upkeep_goes_on_after_a_round_that_failed(rig, caplog):
    """An index that nobody cleans up would fill without a word."""
    rig.index.fault = ValueError("once")
    await rig.agent.start()
    await until(lambda: len(rig.index.times) >= 4)
    await rig.agent.stop()
    assert [record.getMessage() for record in caplog.records] == ["_keep_index failed"]


async def test_wall_clock_that_jumped_ahead_ends_no_revocation_early(rig):
    """Entries are cleaned up by the older of both clocks (F31)."""
    started_s = int(rig.clock.wall_s())
    rig.clock.set_wall(started_s + 3_600)
    await rig.agent.start()
    await until(lambda: len(rig.index.times) == 3)
    await rig.agent.stop()
    assert set(rig.index.times) == {started_s}


# -- the rest --------------------------------------------------------------------------


async def test_drain_asks_the_supervisor(rig, monkeypatch):
    """One way to drain, whoever asks for it."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda *call: sent.append(call))
    await rig.agent.drain()
    assert sent == [(os.getppid(), signal.SIGTERM)]


async def test_refresh_audit_and_metrics_go_where_they_belong(rig):
    """The facade adds nothing of its own."""
    assert await rig.agent.refresh_keys("login", wait=True) == {"login": {"ok": True}}
    assert rig.keyring.refreshed == [("login", True)]
    rig.agent.audit("uid:0", "drain", {"a": 1})
    assert rig.audit.lines == [("uid:0", "drain", {"a": 1})]
    assert rig.agent.metrics("text") == (b"text", "text/plain")
    assert rig.agent.admin_token is None
    assert rig.agent.admin_address == "127.0.0.1:8085"


def test_bounds_are_shown_for_routes_that_ask_for_a_token():
    """A public route promises nothing."""
    assert Rig().agent.status()["bounds"] == []


def test_key_sources_are_where_the_configuration_says(tmp_path):
    """URL or discovery, with the lives of keys in seconds."""
    config = load_text(tmp_path, BASE).require()
    (source,) = key_sources(config)
    assert (source.alias, source.issuer) == ("login", "https://login.example.com")
    assert source.jwks_url == "https://login.example.com/jwks"
    assert (source.lifetime_s, source.max_stale_s) == (600.0, 86_400.0)
