"""The digest: the same set gives the same sum, whatever the order and the clock."""

from hypothesis import given
from hypothesis import strategies as st

from fastgate.control.native import PublisherState, term

numbers = st.lists(st.integers(1, 60), unique=True, min_size=1, max_size=40)


def expiry(seq: int) -> int:
    return 1_000 + seq * 7 % 50


def expected(seqs: set[int], mark: int, wall: int) -> int:
    alive = [s for s in seqs if s <= mark and expiry(s) > wall]
    return sum(term(f"id-{s}", expiry(s)) for s in alive) % 2**128


@given(numbers, st.integers(0, 60), st.lists(st.integers(980, 1_060), min_size=1))
def test_digest_equals_the_plain_sum_when_events_come_in_any_order(seqs, mark, walls):
    """F6: order and repeats change nothing; the wall clock may go both ways."""
    state = PublisherState()
    for seq in seqs + seqs[::-1]:
        state.add(seq, f"id-{seq}", expiry(seq))
    for wall in walls:
        assert state.digest(mark, wall) == expected(set(seqs), mark, wall)


@given(numbers)
def test_holes_are_exactly_the_numbers_not_seen(seqs):
    """A number counts as missing until it is seen, in whatever order."""
    state = PublisherState()
    for seq in seqs:
        assert state.add(seq, f"id-{seq}", expiry(seq))
        assert not state.add(seq, f"id-{seq}", expiry(seq))
    for seq in range(1, 61):
        assert state.missing(seq) is (seq not in seqs)


@given(numbers, st.integers(1, 60))
def test_confirm_forgives_holes_up_to_the_mark_only(seqs, mark):
    """What lies past the mark has not been judged yet."""
    state = PublisherState()
    for seq in seqs:
        state.add(seq, f"id-{seq}", expiry(seq))
    state.confirm(mark)
    for seq in range(1, max(seqs) + 1):
        assert state.missing(seq) is (seq not in seqs and seq > mark)


def test_digest_is_unknown_when_the_mark_lies_before_what_is_kept():
    """No answer is better than a wrong one; the next marker is judged instead."""
    state = PublisherState()
    for seq in range(1, 65_600):
        state.add(seq, "id", 2_000)
    assert state.digest(10, 1_000) is None
    assert state.digest(65_599, 1_000) == 65_599 * term("id", 2_000) % 2**128


def test_expired_buckets_are_forgotten_when_long_past():
    """Memory follows what is alive; the sum does not change."""
    state = PublisherState()
    for seq in range(1, 201):
        state.add(seq, f"id-{seq}", 1_000 + seq)
    assert state.alive
    assert state.digest(200, 64 * 1_000) == 0
    assert not state.alive
