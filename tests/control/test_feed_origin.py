"""One origin's state machine: what arrives, what is wanted, what is proven."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.control.origin import OriginState, OriginTracker, Plan
from fastgate.domain.digest import PublisherState
from fastgate.domain.event import Batch, Event, encode_batch, key_id
from fastgate.domain.frame import FaultKind
from fastgate.domain.freshness import NonceLog
from fastgate.domain.marker import Mark, Marker, encode_marker
from fastgate.domain.revocation import Kind
from fastgate.domain.stream import Stored, StreamState

SECOND = 10**9
WALL = 1_700_000_000
KEY = key_id(b"")
ONE, TWO = "gw-eu-1.aaaaaaaa", "gw-eu-2.bbbbbbbb"
ME = "us/gw-us-1"


def event(seq: int, name: str = "", expires: int = WALL + 3_600) -> Event:
    return Event(
        id=name or f"id-{seq}",
        origin="eu",
        at=float(WALL),
        kind=Kind.JTI,
        key=seq.to_bytes(16),
        expires=expires,
        key_id=KEY,
        seq=seq,
    )


class Origin:
    """A stream written by hand, and the tracker that reads it."""

    def __init__(self, *, ready: bool = True, room: int = 10**9) -> None:
        self.nonces = NonceLog()
        self.applied: list[tuple[str, str]] = []
        self.proofs: list[int] = []
        self.room = room
        self.tracker = OriginTracker(
            "eu",
            me=ME,
            nonces=self.nonces,
            known_keys={KEY},
            apply=self._apply,
            prove=self.proofs.append,
        )
        self.stream: dict[int, Stored] = {}
        self.last = 0
        self.incarnation = "first"
        self.said: dict[str, PublisherState] = {}
        self.now = 1_000 * SECOND
        if ready:
            self.catch_up()

    def _apply(self, batch: Batch, position: int) -> bool:
        assert position
        self.applied += [(batch.publisher, one.id) for one in batch.events]
        return len(self.applied) <= self.room

    def write(self, payload: bytes, publisher: str = ONE) -> Stored:
        self.last += 1
        stored = Stored("eu", self.last, publisher, payload)
        self.stream[self.last] = stored
        return stored

    def say(self, *seqs: int, by: str = ONE, counted: bool = True) -> Stored:
        events = tuple(event(seq, f"{by[:7]}-{seq}") for seq in seqs)
        for one in events if counted else ():
            self.said.setdefault(by, PublisherState()).add(one.seq, one.id, one.expires)
        return self.write(encode_batch(Batch("eu", by, events)), by)

    def mark(self, *, by: str = ONE, echo: bool = True, wall: int = WALL) -> Stored:
        """Write what an honest writer says now, echoing a nonce sent just before."""
        self.now += SECOND
        nonce = f"{self.now:016x}"
        self.nonces.sent(nonce, self.now)
        marks = {
            name: Mark(state.last, state.digest(state.last, wall) or 0)
            for name, state in self.said.items()
        }
        marker = Marker(
            origin="eu",
            writer=by.partition(".")[0],
            boot="00" * 8,
            as_of=self.now + 77 * SECOND,
            wall=float(wall),
            marks=marks,
            echo={ME: nonce} if echo else {},
            max_token_lifetime=3_600,
            roster=(),
        )
        return self.write(encode_marker(marker), by)

    def live(self, *stored: Stored) -> None:
        for one in stored:
            self.tracker.live(one, self.now)

    def state(self) -> StreamState:
        return StreamState(self.incarnation, self.last, 0.0)

    def plan(self) -> Plan | None:
        return self.tracker.plan(self.state(), self.tracker.position, self.now)

    def catch_up(self) -> None:
        plan = self.plan()
        if plan is None:
            return
        for position in sorted(self.stream):
            if plan.after < position <= plan.to:
                self.tracker.replayed(self.stream[position], self.now)
        self.tracker.reached(plan.to, self.now)

    def wipe(self) -> None:
        self.stream.clear()
        self.said.clear()
        self.last, self.incarnation = 0, "second"


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
    written: list[Stored] = []
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
