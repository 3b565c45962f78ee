"""Canaries take the way of revocations, and workers say whether they refuse them."""

from types import SimpleNamespace

import pytest
from tests.fakes import FakeClock, FakeMeter

from fastgate.control.canaries import CANARY, Canaries
from fastgate.control.canary_judge import CanaryJudge
from fastgate.domain.event import EVERYTHING, Event
from fastgate.domain.metric_plan import MetricPlan
from fastgate.domain.revocation import Kind

KEY = bytes(range(16))


def event(at, **changes):
    fields = {
        "id": "c1",
        "origin": "us",
        "at": at,
        "kind": Kind.JTI,
        "key": KEY,
        "key_id": "none",
        "cutoff": EVERYTHING,
        "expires": int(at) + 3600,
        "reason": CANARY,
    }
    return Event(**(fields | changes))


class Rig:
    def __init__(self):
        self.clock = FakeClock()
        self.told = []
        self.alarms = []
        feed = SimpleNamespace(
            clock=self.clock,
            origins=("eu", "us"),
            alarm=lambda *alarm: self.alarms.append(alarm),
        )
        self.canaries = Canaries(feed)
        self.canaries.tell = lambda kind, data: self.told.append((kind, data))


def test_workers_are_told_the_key_of_a_canary_and_of_nothing_else():
    """Not of revocations, nor of canaries from before this agent began."""
    rig = Rig()
    now = rig.clock.wall_s()
    rig.canaries.entered(event(now, reason="stolen"))
    rig.canaries.entered(event(now, kind=Kind.SID))
    rig.canaries.entered(event(now - 60))
    assert rig.told == []
    rig.canaries.entered(event(now + 1))
    assert rig.told == [("canary", {"key": KEY.hex(), "origin": "us", "at": now + 1})]


def test_times_are_kept_by_origin_and_a_worker_that_does_not_refuse_is_an_alarm():
    """It stands until a canary of that origin is refused again."""
    rig = Rig()
    for ms in (1.0, 2.0, 9.0):
        rig.canaries.judged({"origin": "us", "refused": True, "ms": ms})
    rig.canaries.judged({"origin": "us", "refused": False, "ms": 5.0})
    assert rig.alarms[-1] == ("canary", "us", True)
    rig.canaries.judged({"origin": "us", "refused": True, "ms": 3.0})
    assert rig.alarms[-1] == ("canary", "us", False)
    found = rig.canaries.status()["origins"]["us"]
    assert found == {
        "count": 5,
        "missed": 1,
        "last_ms": 3.0,
        "p50_ms": 3.0,
        "p99_ms": 9.0,
        "max_ms": 9.0,
    }


@pytest.mark.parametrize(
    "said",
    [None, [], {}, {"origin": "mars", "refused": True, "ms": 1.0}, {"origin": "us"}],
    ids=["none", "list", "empty", "unknown-origin", "half"],
)
def test_what_a_worker_says_that_is_nothing_is_ignored(said):
    """A worker that was taken over may lie, but changes nothing else."""
    rig = Rig()
    rig.canaries.judged(said)
    assert rig.canaries.status()["origins"] == {}
    assert rig.alarms == []


class Judge:
    def __init__(self, code):
        self.clock, self.meter, self.notes = FakeClock(), FakeMeter(), []
        self.keys = []

        def check(keys, *_):
            self.keys.append(keys)
            return code

        def note(kind, data):
            self.notes.append((kind, data))
            return True

        self.judge = CanaryJudge(
            SimpleNamespace(check=check), self.clock, SimpleNamespace(notify=note)
        )
        self.plan = MetricPlan(
            routes=("r",), regions=("eu", "us"), issuers=("login",), own_region="eu"
        )
        self.judge.adopt(self.plan, self.meter)

    def buckets(self, origin):
        first, bounds = self.plan.histogram(
            "fastgate_revocation_propagation_seconds", origin
        )
        columns = self.meter.columns
        return sum(columns[first + at] for at in range(len(bounds) + 1))


def test_a_worker_looks_the_key_up_and_counts_the_time_of_a_refusal():
    """By the reader that its gate uses; from the entry to the refusal."""
    it = Judge(code=2)
    at = it.clock.wall_s() - 0.004
    it.judge.told("canary", {"key": KEY.hex(), "origin": "us", "at": at})
    assert it.keys == [KEY]
    ((kind, said),) = it.notes
    assert (kind, said["origin"], said["refused"]) == ("canary", "us", True)
    assert 3.9 < said["ms"] < 4.1
    assert (it.buckets("us"), it.buckets("eu")) == (1, 0)


def test_a_worker_that_finds_the_key_clear_says_so_and_counts_no_time():
    """It would have let such a token pass."""
    it = Judge(code=1)
    at = it.clock.wall_s()
    it.judge.told("canary", {"key": KEY.hex(), "origin": "us", "at": at})
    assert it.notes[0][1]["refused"] is False
    assert it.buckets("us") == 0


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("other", {"key": KEY.hex(), "origin": "us", "at": 1.0}),
        ("canary", None),
        ("canary", {"key": "xyz", "origin": "us", "at": 1.0}),
        ("canary", {"key": "00", "origin": "us", "at": 1.0}),
        ("canary", {"key": KEY.hex(), "origin": 7, "at": 1.0}),
        ("canary", {"key": KEY.hex(), "origin": "us", "at": None}),
    ],
    ids=["kind", "none", "hex", "short", "origin", "time"],
)
def test_a_worker_ignores_what_is_no_canary(kind, data):
    """Nothing is looked up, and nothing said."""
    it = Judge(code=2)
    it.judge.told(kind, data)
    assert (it.keys, it.notes) == ([], [])
