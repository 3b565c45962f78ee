"""Origin: what is read again, what the bus is asked, and what frames cannot do."""

from dataclasses import replace

import pytest
from tests.control.origin_stream import ONE, SECOND, TWO, WALL, Origin, event

from fastgate.control.native import PublisherState
from fastgate.control.origin import Plan
from fastgate.domain.event import Batch, encode_batch
from fastgate.domain.frame import FaultKind
from fastgate.domain.stream import Stored


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"\xff", FaultKind.MALFORMED),
        (b"{}" * 200_000, FaultKind.OVERSIZE),
        (b'{"v":2,"t":"events"}', FaultKind.VERSION),
        (b'{"v":1,"t":"news"}', FaultKind.CRITICAL),
    ],
)
def test_unreadable_frame_is_a_gap_when_its_publisher_is_known(payload, kind):
    """It may have named somebody: nothing is proven until that is ruled out."""
    origin = Origin()
    origin.live(origin.say(1), origin.write(payload), origin.mark(by=TWO))
    assert origin.tracker.faults[kind] == 1
    assert origin.tracker.gaps
    assert origin.proofs == []


def test_unreadable_frame_is_only_counted_when_its_publisher_is_unknown():
    """A name that never published cannot stop a region."""
    origin = Origin()
    origin.live(origin.say(1), origin.write(b"\xff", "x.00000000"), origin.mark())
    assert origin.proofs == [origin.now]


def test_unreadable_frame_is_ruled_out_when_the_next_number_follows():
    """What had no number named nobody."""
    origin = Origin()
    origin.live(origin.say(1), origin.write(b"\xff"), origin.say(2))
    origin.live(origin.mark(by=TWO))
    assert origin.proofs == [origin.now]


def test_unreadable_frame_is_ruled_out_when_its_publisher_gives_an_equal_digest():
    """The publisher knows what it sent."""
    origin = Origin()
    origin.live(origin.say(1), origin.write(b"\xff"), origin.mark(by=ONE))
    assert origin.proofs == [origin.now]


def test_unreadable_frame_stays_a_gap_when_it_took_a_number():
    """A writer that cannot read it either must not make everybody fresh."""
    origin = Origin()
    foreign = replace(event(2), key_id="ffffffff")
    origin.live(
        origin.say(1),
        origin.write(encode_batch(Batch("eu", ONE, (foreign,)))),
        origin.say(3),
        origin.mark(by=TWO),
    )
    assert origin.tracker.faults[FaultKind.KEY] == 1
    assert origin.proofs == []


def test_unreadable_frame_before_the_first_readable_one_is_a_gap_at_cold_start():
    """A node that starts later is as careful as one that was there."""
    origin = Origin(ready=False)
    origin.write(b"\xff")
    origin.said[ONE] = PublisherState()
    origin.say(7)
    origin.mark(by=TWO)
    origin.catch_up()
    assert origin.proofs == []


def test_frame_is_refused_when_it_speaks_for_another_publisher():
    """An account is held to its own names."""
    origin = Origin()
    batch = Batch("eu", TWO, (event(1),))
    origin.live(origin.write(encode_batch(batch), ONE))
    assert origin.tracker.faults[FaultKind.FOREIGN] == 1
    assert origin.applied == []


def test_marker_is_refused_when_another_account_wrote_it():
    """A node writes markers under its own name only."""
    origin = Origin()
    stored = origin.mark(by=TWO)
    origin.live(replace(stored, publisher=ONE))
    assert origin.tracker.faults[FaultKind.FOREIGN] == 1
    assert origin.proofs == []


def test_frame_of_an_unknown_kind_is_skipped_when_it_says_so():
    """Later versions may add frames that older nodes need not understand."""
    origin = Origin()
    payload = b'{"v":1,"t":"news","optional":true}'
    origin.live(origin.write(payload), origin.mark())
    assert origin.proofs == [origin.now]


def test_stream_is_read_from_its_start_when_it_was_made_anew():
    """Positions mean something else in another stream."""
    origin = Origin()
    origin.live(origin.say(1), origin.mark())
    origin.wipe()
    origin.say(1, by=TWO)
    origin.mark(by=TWO)
    origin.now += 3 * SECOND
    assert origin.plan() == Plan(0, 2)
    origin.tracker.failed()
    origin.catch_up()
    assert (TWO, "gw-eu-2-1") in origin.applied


def test_stream_is_read_from_its_start_when_it_is_shorter_than_what_was_read():
    """A server that lost its tail gives those positions to other events."""
    origin = Origin()
    origin.live(origin.say(1), origin.say(2))
    origin.last = 1
    assert origin.plan() == Plan(0, 1)


def test_bus_is_asked_when_live_positions_begin_again():
    """Another stream under the same name looks like a repeat at first."""
    origin = Origin()
    origin.live(origin.say(1), origin.mark())
    origin.wipe()
    origin.now += SECOND
    assert not origin.tracker.wants_state(origin.now)
    origin.live(origin.say(1, by=TWO))
    assert origin.tracker.wants_state(origin.now)
    assert origin.plan() == Plan(0, 1)


def test_bus_is_asked_every_five_seconds_when_all_seems_well():
    """A stream made anew that has grown past ours gives no other sign."""
    origin = Origin()
    for _ in range(4):
        origin.live(origin.mark())
        assert not origin.tracker.wants_state(origin.now)
    origin.live(origin.mark())
    assert origin.tracker.wants_state(origin.now)


def test_live_messages_during_the_question_do_not_look_like_a_shorter_stream():
    """The answer may be older than what arrived since."""
    origin = Origin()
    before, state = origin.tracker.position, origin.state()
    origin.live(origin.say(1))
    assert origin.tracker.plan(state, before, origin.now) is None


def test_nothing_is_proven_when_the_index_is_full():
    """B7: what is not covered must be stale."""
    origin = Origin(room=1)
    origin.live(origin.say(1), origin.say(2), origin.mark())
    assert origin.proofs == []
    origin.room = 10
    origin.now += 2 * SECOND
    assert origin.tracker.wants_state(origin.now)
    origin.mark()
    origin.catch_up()
    origin.live(origin.mark())
    assert origin.proofs[-1] == origin.now


def test_own_publication_is_told_lost_when_the_stream_passes_without_it():
    """The bus acknowledged it and does not have it: it is published again."""
    origin = Origin()
    batch = Batch("eu", "gw-us-1.cccccccc", (event(1),))
    origin.last += 1
    origin.tracker.acked(batch, origin.last)
    assert origin.tracker.take_lost() == []
    origin.mark()
    origin.catch_up()
    assert origin.tracker.take_lost() == [batch]


def test_own_publication_is_not_lost_when_it_was_read_before_its_acknowledgement():
    """The live copy may be faster than the answer."""
    origin = Origin()
    mine = "gw-us-1.cccccccc"
    batch = Batch("eu", mine, (event(1),))
    stored = origin.write(encode_batch(batch), mine)
    origin.live(stored, origin.mark())
    origin.tracker.acked(batch, stored.position)
    assert origin.tracker.take_lost() == []


def test_marks_cover_an_own_publication_before_it_is_read_back():
    """A marker that missed it would call everybody complete without it."""
    origin = Origin()
    batch = Batch("eu", "gw-us-1.cccccccc", (event(1),))
    origin.tracker.acked(batch, 99)
    assert origin.tracker.marks(WALL)["gw-us-1.cccccccc"].last == 1


def test_held_messages_are_bounded_and_come_back_by_replay():
    """A node that cannot read must not grow without end."""
    origin = Origin()
    origin.say(1)
    for seq in range(2, 5_000):
        origin.live(origin.say(seq))
    assert len(origin.tracker._held) <= 4_096
    origin.mark()
    origin.catch_up()
    assert len(origin.applied) == 4_999
    assert origin.proofs == [origin.now]


def test_everything_is_read_again_when_applying_failed():
    """F7: a fault of ours is healed by a full read, and proves nothing until then."""
    origin = Origin()
    origin.live(origin.say(1))
    origin.tracker.spoil(origin.now)
    origin.live(origin.mark())
    assert origin.proofs == []
    origin.now += 5 * SECOND
    assert origin.plan() == Plan(0, origin.last)


def test_stepped_origin_clock_changes_no_proof():
    """F8: -5 s, +5 s, +1 h: wall clocks serve token times only."""
    origin = Origin()
    origin.live(origin.say(1))
    for wall in (WALL, WALL - 5, WALL + 5, WALL + 3_599, WALL - 3_000, WALL + 4_000):
        origin.live(origin.mark(wall=wall))
        assert origin.proofs[-1] == origin.now


def test_unenforced_message_is_not_reported_as_applied():
    """A receipt must not count a node whose index had no room for the event."""
    origin = Origin(room=1)
    origin.live(origin.say(1))
    assert origin.tracker.applied == origin.tracker.position == 1
    origin.live(origin.say(2), origin.say(3))
    assert (origin.tracker.applied, origin.tracker.position) == (1, 3)
    origin.live(origin.mark())
    origin.room = 10
    origin.now += 2 * SECOND
    origin.catch_up()
    assert origin.tracker.applied == origin.tracker.position == 4


def test_unreadable_message_is_not_reported_as_applied_until_a_marker_rules_it_out():
    """Somebody may be named in it."""
    origin = Origin()
    origin.live(origin.say(1), origin.write(b"{}"))
    assert origin.tracker.applied == 1
    origin.live(origin.mark())
    assert origin.tracker.applied == origin.tracker.position == 3


def test_live_message_from_nowhere_is_no_gap_for_ever():
    """A position that no stream reaches must not keep the bus busy with questions."""
    origin = Origin()
    origin.live(origin.say(1), Stored("eu", 2**60, ONE, b"{}"))
    origin.now += SECOND
    assert origin.tracker.wants_state(origin.now)
    origin.catch_up()
    origin.live(origin.mark())
    assert not origin.tracker.wants_state(origin.now + SECOND)
    assert origin.tracker.gaps == 1
