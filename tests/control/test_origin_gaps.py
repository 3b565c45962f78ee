"""Frames under a hash key that is not known here: a gap that nothing but time ends."""

from dataclasses import replace

import pytest
from tests.control.origin_stream import KEY, ONE, SECOND, TWO, WALL, Origin, event

from fastgate.control.event_batch import decode_batch
from fastgate.control.native import PublisherState
from fastgate.control.saved_state import SavedStream
from fastgate.domain.event import Batch, encode_batch
from fastgate.domain.frame import FaultKind

STRANGE = "deadbeef"
ENDS = WALL + 3_600


def strange(origin, *seqs, by=ONE, key_id=STRANGE, counted=True, expires=ENDS):
    """Write a batch under another hash key, which its publisher counts."""
    events = tuple(
        replace(event(seq, f"x-{seq}", expires), key_id=key_id) for seq in seqs
    )
    for one in events if counted else ():
        origin.said.setdefault(by, PublisherState()).add(one.seq, one.id, one.expires)
    return origin.write(encode_batch(Batch("eu", by, events)), by)


def blinded():
    origin = Origin()
    origin.live(origin.say(1), strange(origin, 2))
    return origin


def test_frame_under_an_unknown_key_is_counted_and_proves_nothing():
    """Its digest is equal, so that no reading is begun for it again and again."""
    origin = blinded()
    origin.live(origin.mark())
    assert origin.proofs == []
    assert origin.tracker.faults[FaultKind.KEY] == 1
    assert origin.tracker.publishers() == {ONE: 2}
    assert not origin.tracker.wants_state(origin.now + SECOND)


def test_position_is_not_reported_past_what_is_in_force_nowhere():
    """A receipt must not name this node."""
    origin = blinded()
    origin.live(origin.say(3), origin.mark())
    assert origin.tracker.applied == 1


def test_gap_stays_when_its_publisher_calls_everything_complete():
    """The publisher cannot know what others can look up."""
    origin = blinded()
    origin.live(origin.mark(by=ONE))
    assert origin.proofs == []


def test_gap_stays_when_the_next_number_follows():
    """No number is missing, and somebody is not refused."""
    origin = blinded()
    origin.live(origin.say(3), origin.mark())
    assert origin.proofs == []


def test_gap_stays_when_its_publisher_has_a_new_name():
    """A renewed journal drops out of the marks, and what it revoked does not lapse."""
    origin = blinded()
    origin.said.clear()
    origin.live(origin.say(1, by=TWO), origin.mark(by=TWO))
    assert origin.proofs == []


def test_gap_of_a_publisher_that_no_mark_ever_named_is_one():
    """A gateway whose state was wiped before and after has said it once."""
    origin = Origin()
    origin.live(strange(origin, 1, by=TWO, counted=False))
    origin.live(origin.say(1), origin.mark())
    assert origin.proofs == []


def test_gap_stays_when_the_stream_is_made_anew():
    """The stream forgot it, and whoever was told that it is published did not."""
    origin = blinded()
    origin.wipe()
    origin.catch_up()
    origin.live(origin.say(1), origin.mark())
    assert origin.proofs == []
    assert origin.tracker.applied == 0


def test_gap_stays_when_it_is_said_again_under_another_name():
    """Re-publication under the same key does not make the key known."""
    origin = blinded()
    origin.live(strange(origin, 1, by=TWO), origin.mark(by=TWO))
    assert origin.proofs == []


def test_gap_ends_when_no_live_token_can_be_touched_any_more(monkeypatch):
    """Not a second earlier."""
    origin = blinded()
    wall = WALL
    monkeypatch.setattr(origin.tracker, "_wall_s", lambda: wall)
    for wall, proofs in ((ENDS, 0), (ENDS + 1, 1)):
        origin.live(origin.mark(wall=int(wall)))
        assert len(origin.proofs) == proofs
    assert origin.tracker.applied == origin.tracker.position
    assert not origin.tracker.blind


def test_expired_events_under_an_old_key_are_no_gap():
    """At the end of a rotation the stream still has them for a while."""
    origin = Origin()
    origin.live(strange(origin, 1, expires=WALL - 1), origin.mark())
    assert len(origin.proofs) == 1


def test_gap_is_kept_on_the_disk():
    """A restart forgets no promise."""
    before = blinded()
    before.live(before.mark())
    saved = before.tracker.saved()
    assert saved.blind == {STRANGE: ENDS}
    after = Origin(ready=False)
    after.tracker.restore(saved)
    after.stream, after.said = before.stream, before.said
    after.last, after.now = before.last, before.now
    after.live(after.mark())
    after.catch_up()
    after.live(after.mark())
    assert after.applied == []  # it went on from where it was
    assert after.proofs == []
    assert after.tracker.applied == 0


def test_stream_is_read_again_when_the_key_has_become_known():
    """What was counted only is enforced by the next reading."""
    before = blinded()
    saved = before.tracker.saved()
    after = Origin(ready=False)
    after.tracker._known_keys = {KEY, STRANGE}
    after.tracker.restore(saved)
    after.stream, after.said = before.stream, before.said
    after.last, after.now = before.last, before.now
    after.catch_up()
    after.live(after.mark())
    assert (ONE, "x-2") in after.applied
    assert len(after.proofs) == 1


def test_keys_that_nobody_knows_do_not_make_memory_grow():
    """A hostile gateway may name any; what is kept without a name is a gap as well."""
    origin = Origin()
    for seq in range(1, 100):
        origin.live(strange(origin, seq, key_id=f"{seq:08x}"))
    assert len(origin.tracker.saved().blind) <= 17
    origin.live(origin.mark())
    assert origin.proofs == []


@pytest.mark.parametrize("blind", [{}, {STRANGE: ENDS}], ids=["whole", "blind"])
def test_frame_that_cannot_be_read_at_all_is_not_kept_on_the_disk(blind):
    """Only another reading tells what it was; so the stream is read from its start."""
    origin = Origin()
    origin.tracker.restore(SavedStream("first", 0, {}, blind))
    origin.live(origin.say(1), origin.write(b"{", ONE))
    assert origin.tracker.saved() is None


def test_whoever_enforces_takes_no_frame_under_an_unknown_key():
    """Counting is the tracker's; others must be able to look it up."""
    frame = strange(Origin(), 1).payload
    with pytest.raises(Exception, match="key_id"):
        decode_batch(frame, {KEY})
    assert decode_batch(frame, None).events[0].id == "x-1"


def test_own_hole_is_not_closed_by_the_marker_of_another_gateway():
    """It read a stream that never had them, and its digest of that is equal."""
    origin = Origin()
    origin.tracker._node = ONE.partition(".")[0]
    origin.say(1)
    origin.say(3)
    origin.mark(by=TWO)
    plan = origin.plan()
    for stored in origin.stream.values():
        origin.tracker.replayed(stored, origin.now)
    origin.tracker.reached(plan.to, origin.now, own=ONE)
    assert origin.tracker.own_holes == ((2, 3),)
    assert origin.tracker.own_read_to == 3


def test_number_that_was_said_again_behind_a_marker_is_counted():
    """Else no reading would ever come to the digest of its publisher."""
    origin = Origin()
    origin.say(1)
    origin.say(3)
    origin.mark(by=TWO)
    origin.say(2)
    origin.mark()
    plan = origin.plan()
    for stored in origin.stream.values():
        origin.tracker.replayed(stored, origin.now)
    origin.tracker.reached(plan.to, origin.now)
    origin.live(origin.mark())
    assert origin.proofs
    assert origin.tracker.digest(ONE, 3, WALL) == origin.said[ONE].digest(3, WALL)
