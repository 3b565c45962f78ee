"""Alarms at half the limit and past it name the origin, and what is in the way."""

from types import SimpleNamespace

import pytest
from tests.fakes import FakeClock

from fastgate.control.feed_status import raise_alarms

S = 1_000_000_000


class Feed:
    """A feed as its alarms see it; one origin, `us`, proven when it began."""

    def __init__(self):
        self.clock = FakeClock()
        self.started_ns = self.clock.boot_ns()
        self.settings = SimpleNamespace(
            max_staleness_s=10.0, lifetimes=SimpleNamespace(max_token_s=3600)
        )
        self.standalone, self.bus_up = False, True
        self.tracker = SimpleNamespace(
            marker_ns=self.started_ns, marker=None, proof=None, blind=False
        )
        self.keys = SimpleNamespace(in_doubt=False, contradicting=tuple)
        self.origins, self.trackers = ("us",), {"us": self.tracker}
        self.alarms_on = set()
        nothing = SimpleNamespace(oldest=lambda: None)
        self.publisher = self.handover = nothing
        self.proven_ns = self.started_ns
        self.proofs = SimpleNamespace(of=lambda _: self.proven_ns)

    def alarm(self, name, dependency, on):
        (self.alarms_on.add if on else self.alarms_on.discard)((name, dependency))

    def after(self, seconds):
        self.clock.advance(seconds)
        raise_alarms(self)
        return {it for it in self.alarms_on if it[0].startswith("revocation")}


def test_the_first_alarm_comes_at_five_seconds_and_the_second_at_ten():
    """They end when the origin is known again."""
    feed = Feed()
    assert feed.after(4.9) == set()
    assert feed.after(0.2) == {("revocation_age", "us: markers")}
    assert feed.after(5.0) == {
        ("revocation_age", "us: markers"),
        ("revocation_stale", "us: markers"),
    }
    feed.proven_ns = feed.clock.boot_ns()
    assert feed.after(0.1) == set()


@pytest.mark.parametrize("cause", ["bus", "stream", "gap", "journal"])
def test_the_dependency_that_is_in_the_way_is_named(cause):
    """Another cause takes the place of the first: an origin has one alarm of a kind."""
    feed = Feed()
    feed.after(6.0)
    if cause == "bus":
        feed.bus_up = False
    elif cause == "stream":
        feed.alarms_on.add(("stream", "us"))
    elif cause == "gap":
        feed.tracker.marker_ns = feed.clock.boot_ns()
    else:
        feed.standalone = True
    assert feed.after(0.5) == {("revocation_age", f"us: {cause}")}


@pytest.mark.parametrize("fault", ["blind", "contradicting", "in_doubt"])
def test_hash_key_that_is_not_the_others_is_an_alarm(fault):
    """Named by its region, or as ours where theirs is another."""
    feed = Feed()
    if fault == "blind":
        feed.tracker.blind = True
    else:
        found = ("us",) if fault == "contradicting" else True
        setattr(
            feed.keys, fault, (lambda: found) if fault == "contradicting" else found
        )
    feed.after(1)
    place = "markers" if fault == "in_doubt" else "us"
    assert ("hash_key", place) in feed.alarms_on
