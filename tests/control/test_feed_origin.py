"""One origin's state machine: what arrives, what is wanted, what is proven."""

from hypothesis import given
from hypothesis import strategies as st
from tests.control.origin_stream import ONE, SECOND, TWO, WALL, Origin, event

from fastgate.control.native import PublisherState
from fastgate.control.origin import OriginState, Plan
from fastgate.domain.event import Batch, encode_batch


def test_nothing_is_proven_when_no_marker_came():
    """Never complete means stale, whatever the clock says."""
    origin = Origin()
    origin.live(origin.say(1))
    assert origin.proofs == []
    assert origin.tracker.state(origin.now, SECOND) is OriginState.NEVER_HEARD


def test_marker_proves_its_moment_when_everything_before_it_was_applied():
    """The newest complete marker is the evidence of freshness."""
    origin = Origin()
    origin.live(origin.say(1, 2), origin.mark())
    assert origin.proofs == [origin.now]
    assert origin.tracker.state(origin.now, SECOND) is OriginState.FRESH


def test_entries_are_applied_before_the_marker_proves_them():
    """Entries first, then the board: a reader never sees a proof without its entry."""
    origin = Origin()
    seen: list[int] = []
    origin.tracker._prove = lambda _: seen.append(len(origin.applied))
    marker = (origin.say(1), origin.say(2), origin.mark())
    origin.live(*reversed(marker))
    origin.catch_up()
    assert seen == [2]


def test_marker_without_echo_proves_nothing():
    """A second or two pass until a new writer has heard this node."""
    origin = Origin()
    origin.live(origin.say(1), origin.mark(echo=False))
    assert origin.proofs == []


def test_gap_is_read_after_a_quarter_second_when_it_does_not_close():
    """Reordering closes by itself; loss does not."""
    origin = Origin()
    origin.live(origin.mark())
    origin.say(1)
    origin.live(origin.say(2))
    assert not origin.tracker.wants_state(origin.now + 249_000_000)
    assert origin.tracker.wants_state(origin.now + 250_000_000)
    assert origin.applied == []
    origin.catch_up()
    assert [id_ for _, id_ in origin.applied] == ["gw-eu-1-1", "gw-eu-1-2"]
    assert not origin.tracker.wants_state(origin.now + 250_000_000)


def test_gap_closes_by_itself_when_the_missing_message_arrives():
    """A reader waits for what is only late."""
    origin = Origin()
    origin.live(origin.mark())
    first, second = origin.say(1), origin.say(2)
    origin.live(second, first)
    assert len(origin.applied) == 2
    assert not origin.tracker.wants_state(origin.now + SECOND)


def test_marker_proves_nothing_when_a_message_before_it_is_missing():
    """A lost message is found by the marker behind it."""
    origin = Origin()
    origin.say(1)
    origin.live(origin.mark())
    assert origin.proofs == []
    origin.catch_up()
    assert origin.proofs == [origin.now]


def test_lost_tail_is_asked_for_when_markers_stop():
    """Silence for three seconds is a reason to ask the bus."""
    origin = Origin()
    origin.live(origin.mark())
    assert not origin.tracker.wants_state(origin.now + 2 * SECOND)
    assert origin.tracker.wants_state(origin.now + 3 * SECOND)


def test_digest_refuses_proof_when_the_stream_itself_lost_an_event():
    """Positions are contiguous after a replay; only the digest shows the loss."""
    origin = Origin()
    origin.live(origin.say(1))
    lost = origin.say(2)
    del origin.stream[lost.position]
    origin.mark()
    origin.catch_up()
    origin.live(origin.mark())
    assert origin.proofs == []
    assert origin.tracker.gaps


def test_whole_stream_is_read_again_when_the_digest_differs():
    """The event may have come back: its publisher publishes it again."""
    origin = Origin()
    lost = origin.say(1)
    del origin.stream[lost.position]
    origin.catch_up()
    origin.live(origin.mark())
    origin.write(lost.payload)
    origin.now += 2 * SECOND
    assert origin.tracker.wants_state(origin.now)
    assert origin.plan() == Plan(0, origin.last)
    origin.tracker.failed()
    origin.now += 100 * SECOND
    origin.mark()
    origin.catch_up()
    assert origin.proofs == [origin.now]


def test_expired_hole_is_no_gap_when_the_digest_is_equal():
    """A number absent after the whole range was read has expired."""
    origin = Origin(ready=False)
    expired = encode_batch(Batch("eu", ONE, (event(1, expires=WALL - 5),)))
    origin.said[ONE] = PublisherState()
    origin.said[ONE].add(1, "id-1", WALL - 5)
    gone = origin.write(expired)
    del origin.stream[gone.position]
    origin.say(2)
    origin.mark()
    origin.catch_up()
    assert origin.proofs == [origin.now]
    assert origin.tracker.gaps == 0


def test_other_publishers_may_be_ahead_of_the_mark():
    """Events that came after the writer took its marks are subtracted."""
    origin = Origin()
    origin.live(origin.say(1, by=TWO))
    late = origin.say(2, by=TWO, counted=False)
    origin.live(late, origin.mark())
    assert origin.proofs == [origin.now]


def test_repeats_change_nothing():
    """F6: at least once is enough."""
    origin = Origin()
    messages = [origin.say(1), origin.say(2), origin.mark()]
    origin.live(*messages, *messages, *messages)
    assert len(origin.applied) == 2
    assert len(origin.proofs) == 1


@given(st.data())
def test_set_and_proof_are_the_same_whatever_order_and_loss(data):
    """F4, F6: whatever was lost or repeated, a replay ends in the stream's set."""
    origin = Origin()
    seqs = {ONE: 0, TWO: 0}
    written: list = []
    for _ in range(data.draw(st.integers(1, 25))):
        by = data.draw(st.sampled_from([ONE, TWO, None]))
        if by is None:
            written.append(origin.mark())
            continue
        count = data.draw(st.integers(1, 3))
        written.append(origin.say(*range(seqs[by] + 1, seqs[by] + 1 + count), by=by))
        seqs[by] += count
    order = data.draw(st.permutations(written))
    for stored in order:
        if data.draw(st.booleans()):
            origin.live(stored)
        if data.draw(st.integers(0, 9)) == 0:
            origin.catch_up()
    proven = list(origin.proofs)
    for moment in proven:
        assert moment <= origin.now
    origin.mark()
    origin.catch_up()
    assert origin.proofs[-1] == origin.now
    expected = {(by, f"{by[:7]}-{s + 1}") for by, n in seqs.items() for s in range(n)}
    assert set(origin.applied) == expected
