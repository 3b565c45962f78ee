"""Breaker: closed, open, half-open, and for how long."""

from tests.key_fakes import steady

from fastgate.control.breaker import Breaker


def failing(times, now_s=0.0):
    """Return a breaker after this many failures."""
    breaker = Breaker(steady())
    for _ in range(times):
        assert breaker.enter(now_s)
        breaker.failed(now_s)
    return breaker


def test_breaker_stays_closed_below_five_failures_in_a_row():
    """Single lost answers are ordinary."""
    breaker = failing(4)
    assert breaker.enter(0.0)
    breaker.succeeded()
    for _ in range(4):
        assert breaker.enter(0.0)
        breaker.failed(0.0)
    assert not breaker.is_open


def test_breaker_opens_at_the_fifth_failure_and_lets_one_probe_through():
    """I10: half-open means one question, not a herd."""
    breaker = failing(5)
    assert breaker.is_open
    assert breaker.wait_s(0.5) == 0.5
    assert not breaker.enter(0.999)
    assert breaker.enter(1.0)
    assert not breaker.enter(1.0)
    assert breaker.wait_s(1.0) > 0


def test_breaker_closes_when_the_probe_succeeds():
    """One answer is enough: somebody is there."""
    breaker = failing(5)
    assert breaker.enter(1.0)
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.enter(1.0)
    assert breaker.enter(1.0)


def test_breaker_stays_open_longer_with_each_failed_probe_up_to_half_a_minute():
    """A dead issuer is asked less and less, but never forgotten."""
    breaker, now_s, waits = failing(5), 0.0, []
    for _ in range(8):
        waits.append(breaker.wait_s(now_s))
        now_s += waits[-1]
        assert breaker.enter(now_s)
        breaker.failed(now_s)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_breaker_honours_retry_after_up_to_half_a_minute():
    """The issuer knows best when it will be back, but cannot switch itself off."""
    breaker = Breaker(steady())
    assert breaker.enter(0.0)
    breaker.failed(0.0, asked_s=7)
    assert breaker.wait_s(0.0) == 7
    assert breaker.enter(7.0)
    breaker.failed(7.0, asked_s=100_000)
    assert breaker.wait_s(7.0) == 30


def test_breaker_probes_again_when_a_probe_was_abandoned():
    """A withdrawn question must not block the endpoint for good."""
    breaker = failing(5)
    assert breaker.enter(1.0)
    breaker.abandoned()
    assert breaker.enter(1.0)
