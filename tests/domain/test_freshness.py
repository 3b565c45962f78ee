"""Age without a common clock: a bound may be loose, never too young."""

from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.freshness import CALIBRATION_LIFE_NS, AgeClock, NonceLog

SECOND = 10**9


def clock_with(*sent: tuple[str, int]) -> AgeClock:
    nonces = NonceLog()
    for nonce, at in sent:
        nonces.sent(nonce, at)
    return AgeClock(nonces)


def test_marker_proves_nothing_when_its_writer_never_echoed():
    """No echo from this writer yet means no evidence."""
    clock = clock_with(("n1", 10))
    assert clock.written_ns("gw", "b1", 500, now_ns=10**12) is None
    clock.learn("gw", "b1", 500, "foreign")
    clock.learn("gw", "b1", 500, None)
    assert clock.written_ns("gw", "b1", 500, now_ns=10**12) is None


def test_later_marker_is_as_much_younger_as_its_writer_says():
    """A marker of the same writer that is d later was written at or after t + d."""
    clock = clock_with(("n1", 100 * SECOND))
    clock.learn("gw", "b1", 5_000 * SECOND, "n1")
    now = 200 * SECOND
    assert clock.written_ns("gw", "b1", 5_003 * SECOND, now) == 103 * SECOND


def test_nothing_is_proven_for_another_boot_of_the_writer():
    """A restarted host counts from zero again."""
    clock = clock_with(("n1", 100))
    clock.learn("gw", "b1", 5_000, "n1")
    assert clock.written_ns("gw", "b2", 5_003, 10**12) is None


def test_repeated_echo_does_not_age_a_proof():
    """While reports are cut, markers echo the old nonce; that must not loosen it."""
    clock = clock_with(("n1", 100 * SECOND))
    for i in range(30):
        clock.learn("gw", "b1", (5_000 + i) * SECOND, "n1")
    written = clock.written_ns("gw", "b1", 5_030 * SECOND, 200 * SECOND)
    assert written == 130 * SECOND


def test_calibration_is_void_after_ten_minutes():
    """Two clocks drift; past ten minutes a proof proves nothing."""
    clock = clock_with(("n1", 0))
    clock.learn("gw", "b1", 0, "n1")
    assert clock.written_ns("gw", "b1", SECOND, CALIBRATION_LIFE_NS) == SECOND
    assert clock.written_ns("gw", "b1", SECOND, CALIBRATION_LIFE_NS + 1) is None


def test_nothing_was_written_later_than_now():
    """A writer's clock that runs ahead cannot make a view younger than new."""
    clock = clock_with(("n1", 100))
    clock.learn("gw", "b1", 0, "n1")
    assert clock.written_ns("gw", "b1", 10**15, now_ns=200) == 200


@given(
    offset=st.integers(0, 10**15),
    delays=st.lists(
        st.tuples(st.integers(0, 15 * SECOND), st.integers(0, 15 * SECOND)),
        min_size=1,
        max_size=40,
    ),
)
def test_bound_is_never_later_than_the_truth_whatever_the_delays(offset, delays):
    """An even delay of 12 s, or any other, never makes a view look younger."""
    nonces = NonceLog()
    clock = AgeClock(nonces)
    for i, (out, back) in enumerate(delays):
        sent = i * SECOND
        nonces.sent(f"n{i}", sent)
        written = sent + out  # local time, unknown to the reader
        clock.learn("gw", "b", written + offset, f"n{i}")
        bound = clock.written_ns("gw", "b", written + offset, written + back)
        assert bound is not None
        assert sent <= bound <= written


def test_nonce_is_forgotten_when_a_thousand_newer_ones_were_sent():
    """The log is bounded."""
    nonces = NonceLog()
    for i in range(2_000):
        nonces.sent(str(i), i)
    assert nonces.when("0") is None
    assert nonces.when("1999") == 1_999
