"""Streams of security events: mute ones are told, and what is over is forgotten."""

from tests.fakes import FakeClock

from fastgate.control.set_streams import SetStreams, StreamRules
from fastgate.domain.security_event import Heard

RULES = StreamRules("login", 60.0)


class Alarms:
    """What is wrong now; repeats change nothing."""

    def __init__(self) -> None:
        self.active: set[tuple[str, str]] = set()

    def __call__(self, name: str, dependency: str, on: bool) -> None:
        (self.active.add if on else self.active.discard)((name, dependency))


def world(*rules: StreamRules) -> tuple[SetStreams, FakeClock, Alarms]:
    time, alarms = FakeClock(), Alarms()
    streams = SetStreams(clock=time, alarms=alarms)
    streams.follow(rules)
    return streams, time, alarms


def test_mute_stream_raises_an_alarm_until_something_comes():
    """From the start on, and again after each event."""
    streams, time, alarms = world(RULES)
    streams.watch()
    assert alarms.active == set()
    time.advance(61)
    streams.watch()
    assert alarms.active == {("ssf_silent", "login")}
    streams.came("login", "session-revoked")
    assert alarms.active == set()
    time.advance(59)
    streams.watch()
    assert alarms.active == set()
    time.advance(2)
    streams.watch()
    assert alarms.active == {("ssf_silent", "login")}


def test_stream_may_be_mute_where_no_limit_is_set():
    """Transmitters that never send a verification have nothing to say for days."""
    streams, time, alarms = world(StreamRules("login", 0.0))
    time.advance(10**6)
    streams.watch()
    assert alarms.active == set()


def test_stream_that_is_configured_no_more_takes_its_alarms_along():
    """And another one that stays keeps what is known of it."""
    streams, time, alarms = world(RULES, StreamRules("other", 600.0))
    streams.is_now("login", "paused")
    streams.came("other", "verification")
    time.advance(61)
    streams.watch()
    assert alarms.active == {("ssf_silent", "login"), ("ssf_stream", "login")}
    streams.follow((StreamRules("other", 600.0),))
    assert alarms.active == set()
    (line,) = streams.status()
    assert (line["issuer"], line["heard_s"]) == ("other", 61.0)
    streams.came("login", "session-revoked")
    streams.said("login", Heard("set-1", "disabled"))
    assert alarms.active == set()


def test_only_the_latest_questions_are_waited_for():
    """A transmitter that answers years later proves nothing, and costs nothing."""
    streams, _, _ = world(RULES)
    for n in range(10):
        streams.asked("login", f"state-{n}")
    streams.said("login", Heard("set-1", "verified", "", "state-0"))
    assert streams.status()[0]["verified_s"] is None
    streams.said("login", Heard("set-2", "verified", "", "state-9"))
    assert streams.status()[0]["verified_s"] == 0.0
