"""Worker notes: what is shown of workers, and when their alarms end."""

import pytest
from tests.fakes import FakeClock

from fastgate.control.worker_notes import WorkerNotes

ALIASES = ("login", "other")
ALARM = "introspection_unavailable"


class Rig:
    """Notes of two workers and the alarms that hold."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.on: set[tuple[str, str]] = set()
        self.notes = WorkerNotes(2, self.clock, self._alarm)
        for slot in (0, 1):
            self.note(slot, pid=100 + slot)

    def _alarm(self, name: str, dependency: str, active: bool) -> None:
        (self.on.add if active else self.on.discard)((name, dependency))

    def note(self, slot: int, pid: int, aliases=ALIASES) -> None:
        self.notes.take(slot, "worker", {"pid": pid, "config": 3, "keys": 5}, aliases)

    def alarm(self, slot: int, active: bool, name=ALARM, issuer="login") -> None:
        data = {"alarm": name, "dependency": issuer, "active": active}
        self.notes.take(slot, "alarm", data, ALIASES)


@pytest.fixture
def rig():
    return Rig()


def test_alarm_holds_until_the_last_worker_ends_it(rig):
    """One worker's good luck does not end the trouble of another."""
    rig.alarm(0, True)
    rig.alarm(1, True)
    rig.alarm(0, False)
    assert rig.on == {(ALARM, "login")}
    rig.alarm(1, False)
    assert rig.on == set()


def test_alarm_ends_when_the_worker_that_raised_it_was_replaced(rig):
    """Its successor knows nothing of it and would never end it."""
    rig.alarm(0, True)
    rig.note(0, pid=100)
    assert rig.on == {(ALARM, "login")}
    rig.note(0, pid=200)
    assert rig.on == set()


def test_alarm_ends_when_its_issuer_is_gone(rig):
    """A reload took it away; nobody will ask it again."""
    rig.alarm(0, True)
    rig.note(1, pid=101, aliases=("other",))
    assert rig.on == set()


@pytest.mark.parametrize(
    ("name", "issuer"), [("made_up", "login"), (ALARM, "made-up"), (ALARM, 7), (7, "x")]
)
def test_alarm_of_unknown_name_or_issuer_is_ignored(rig, name, issuer):
    """A worker that was taken over raises nothing else."""
    rig.alarm(0, True, name=name, issuer=issuer)
    assert rig.on == set()


@pytest.mark.parametrize(("slot", "data"), [(2, {}), (-1, {}), (0, []), (0, None)])
def test_note_of_another_shape_is_ignored(rig, slot, data):
    """Nothing that a worker sends breaks the agent."""
    before = rig.notes.shown(3, 5)
    rig.notes.take(slot, "worker", data, ALIASES)
    assert rig.notes.shown(3, 5) == before


def test_worker_is_shown_as_down_when_it_is_silent(rig):
    """Five seconds without a note."""
    rig.clock.advance(4.9)
    rig.note(1, pid=101)
    assert [line["up"] for line in rig.notes.shown(3, 5)] == [True, True]
    rig.clock.advance(0.2)
    assert [line["up"] for line in rig.notes.shown(3, 5)] == [False, True]


@pytest.mark.parametrize(
    ("config", "keys", "current"), [(3, 5, 1), (4, 5, 0), (3, 6, 0)]
)
def test_worker_is_current_with_both_documents(rig, config, keys, current):
    """With old keys it would refuse what the agent says is known."""
    rig.note(1, pid=101)
    lines = rig.notes.shown(config, keys)
    assert [line["current"] for line in lines][1] is bool(current)
