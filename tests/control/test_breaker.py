"""Breaker: closed, open, half-open, and for how long."""

from tests.key_fakes import steady

from fastgate.control.breaker import Breaker, Leave


def failing(times, now_s=0.0):
    """Return a breaker after this many failures, one after the other."""
    breaker = Breaker(steady())
    for _ in range(times):
        breaker.failed(breaker.enter(now_s), now_s)
    return breaker


def test_breaker_stays_closed_below_five_failures_in_a_row():
    """Single lost answers are ordinary."""
    breaker = failing(4)
    assert breaker.enter(0.0) is Leave.ORDINARY
    breaker.succeeded()
    for _ in range(4):
        breaker.failed(breaker.enter(0.0), 0.0)
    assert not breaker.is_open


def test_breaker_opens_at_the_fifth_failure_and_lets_one_probe_through():
    """I10: half-open means one question, not a herd."""
    breaker = failing(5)
    assert breaker.is_open
    assert breaker.wait_s(0.5) == 0.5
    assert breaker.enter(0.999) is Leave.REFUSED
    assert breaker.enter(1.0) is Leave.PROBE
    assert breaker.enter(1.0) is Leave.REFUSED
    assert breaker.wait_s(1.0) > 0


def test_breaker_closes_when_the_probe_succeeds():
    """One answer is enough: somebody is there."""
    breaker = failing(5)
    assert breaker.enter(1.0) is Leave.PROBE
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.enter(1.0) is Leave.ORDINARY
    assert breaker.enter(1.0) is Leave.ORDINARY


def test_breaker_stays_open_longer_with_each_failed_probe_up_to_half_a_minute():
    """A dead issuer is asked less and less, but never forgotten."""
    breaker, now_s, waits = failing(5), 0.0, []
    for _ in range(8):
        waits.append(breaker.wait_s(now_s))
        now_s += waits[-1]
        breaker.failed(breaker.enter(now_s), now_s)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_breaker_opens_once_when_many_questions_fail_together():
    """Sixty lost answers of one outage are one reason to wait a second, not sixty."""
    breaker = Breaker(steady())
    leaves = [breaker.enter(0.0) for _ in range(60)]
    for leave in leaves:
        breaker.failed(leave, 0.0)
    assert breaker.wait_s(0.0) == 1


def test_late_failure_does_not_end_a_probe():
    """A question from before the breaker opened must not let a second probe through."""
    breaker = Breaker(steady())
    leaves = [breaker.enter(0.0) for _ in range(6)]
    for leave in leaves[:5]:
        breaker.failed(leave, 0.0)
    assert breaker.enter(1.0) is Leave.PROBE
    breaker.failed(leaves[5], 1.0)
    assert breaker.enter(1.0) is Leave.REFUSED
    breaker.succeeded()
    assert breaker.enter(1.0) is Leave.ORDINARY


def test_breaker_honours_retry_after_up_to_half_a_minute():
    """The issuer knows best when it will be back, but cannot switch itself off."""
    breaker = Breaker(steady())
    breaker.failed(breaker.enter(0.0), 0.0, asked_s=7)
    assert breaker.wait_s(0.0) == 7
    breaker.failed(breaker.enter(7.0), 7.0, asked_s=100_000)
    assert breaker.wait_s(7.0) == 30
