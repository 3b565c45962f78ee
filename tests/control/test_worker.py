"""Worker: beats, follows, tells, asks once, and drains."""

import asyncio
import os

import pytest
from tests.fakes import FakeClock
from tests.feed_fakes import until
from tests.lane_kit import issuer_profile

from fastgate.control.worker import Worker
from fastgate.domain.snapshot import Timers

LOGIN = issuer_profile()
OTHER = issuer_profile(alias="other", index=1)


class FakeLink:
    """The way to an agent, which may be gone."""

    def __init__(self) -> None:
        self.notes = []
        self.asked = []
        self.on_ask = lambda: None

    def notify(self, kind, data):
        self.notes.append((kind, data))
        return True

    async def ask(self, issuer, kid):
        self.asked.append((issuer.alias, kid))
        self.on_ask()


class FakeFollower:
    """Counts how often it looked, and has timers."""

    def __init__(self, timers):
        self.looks = 0
        self.versions = (3, 7)
        self.cell = self
        self.current = self
        self.timers = timers

    def refresh(self):
        self.looks += 1


class FakeLane:
    """Remembers how it was drained."""

    def __init__(self):
        self.drained = []

    async def drain(self, timeout_s):
        self.drained.append(timeout_s)


class Rig:
    """A worker with everything around it faked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.link = FakeLink()
        self.follower = FakeFollower(Timers(drain_delay_s=0.0, drain_s=12.0))
        self.beats = []
        self.draining_ns = 0
        self.worker = Worker(
            slot=1,
            follower=self.follower,
            link=self.link,
            clock=self.clock,
            beat=self.beats.append,
            draining_since_ns=lambda: self.draining_ns,
            cache_stats=lambda: (1, 20, 3, 4),
        )


@pytest.fixture
def rig():
    return Rig()


async def test_worker_beats_and_follows_while_it_lives(rig):
    """The supervisor sees the loop run; requests see the newest state."""
    await rig.worker.start()
    await until(lambda: len(rig.beats) > 2)
    await rig.worker.stop()
    assert set(rig.beats) == {rig.clock.boot_ns()}
    assert rig.follower.looks >= len(rig.beats) - 1
    looks = rig.follower.looks
    await asyncio.sleep(0)
    assert rig.follower.looks == looks


async def test_worker_tells_of_itself_once_a_second(rig):
    """What status and readiness show: who, which versions, how large, which cache."""
    await rig.worker.start()
    await until(lambda: len(rig.beats) > 3)
    assert len(rig.link.notes) == 1
    rig.clock.advance(1.0)
    await until(lambda: len(rig.link.notes) == 2)
    await rig.worker.stop()
    kind, note = rig.link.notes[0]
    assert kind == "worker"
    assert note["pid"] == os.getpid()
    assert (note["config"], note["keys"]) == (3, 7)
    assert note["rss_bytes"] > 1 << 20
    assert note["cache"] == {"entries": 1, "hits": 20, "misses": 3, "evicted": 4}


async def test_worker_tells_at_once_what_it_has_followed(rig):
    """Readiness waits for that word, so it does not wait for the second to end."""
    await rig.worker.start()
    await until(lambda: len(rig.link.notes) == 1)
    rig.follower.versions = (3, 8)
    await until(lambda: len(rig.link.notes) == 2)
    await until(lambda: len(rig.beats) > 3)
    await rig.worker.stop()
    assert [note["keys"] for _, note in rig.link.notes] == [7, 8]


async def test_unknown_kid_is_asked_for_and_the_answer_taken(rig):
    """The keys that came meanwhile are there before the request goes on."""
    rig.link.on_ask = lambda: setattr(rig.follower, "looks", 100)
    await rig.worker.ask(LOGIN, "new")
    assert rig.link.asked == [("login", "new")]
    assert rig.follower.looks == 101


async def test_failed_signature_asks_again_only_after_a_pause(rig):
    """Junk under a known kid does not become a stream of questions."""
    for issuer in (LOGIN, LOGIN, OTHER, LOGIN):
        await rig.worker.ask(issuer, None)
    assert rig.link.asked == [("login", None), ("other", None)]
    # A kid that nobody knows is another question; the agent has its own cool-down.
    await rig.worker.ask(LOGIN, "new")
    assert rig.link.asked[2:] == [("login", "new")]
    rig.clock.advance(1.0)
    await rig.worker.ask(LOGIN, None)
    assert rig.link.asked[3:] == [("login", None)]


def test_alarm_of_a_worker_goes_to_the_agent(rig):
    """Only the agent shows alarms."""
    rig.worker.alarm("introspection_unavailable", "login", True)
    assert rig.link.notes == [
        (
            "alarm",
            {
                "alarm": "introspection_unavailable",
                "dependency": "login",
                "active": True,
            },
        )
    ]


async def test_draining_node_goes_on_accepting_for_the_delay(rig):
    """Balancers get their time; in a rolling restart there is nothing to notice."""
    lane = FakeLane()
    rig.follower.timers = Timers(drain_delay_s=3600.0, drain_s=12.0)
    # The node is not draining: this worker alone is replaced.
    await rig.worker.drain(lane)
    assert lane.drained == [12.0]
    rig.draining_ns = 1
    waiting = asyncio.create_task(rig.worker.drain(lane))
    await asyncio.sleep(0)
    assert lane.drained == [12.0]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_draining_node_ends_requests_after_the_delay(rig):
    """Here without one."""
    lane = FakeLane()
    rig.draining_ns = 1
    await rig.worker.drain(lane)
    assert lane.drained == [12.0]
