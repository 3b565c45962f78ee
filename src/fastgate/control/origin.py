"""Origin: what this node has of one origin's stream, and what that proves.

Owns:      the position reached, the messages held back, every publisher's state, the
           newest proof. Pure: no I/O, no clock; others act on `plan` and `take_lost`.
Called by: control.feed, one OriginTracker per origin; control.markers reads `marks`.
Source:    REVOCATION.md section 4. Complete as of a marker: all messages before it were
           applied and all digests are equal. Else nothing is proven; the age runs on.
"""

from collections import Counter
from collections.abc import Callable, Collection

from fastgate.control.event_batch import ends_at, read_batch
from fastgate.control.frame_seal import FrameSeal
from fastgate.control.native import EventFrame, PublisherState
from fastgate.control.origin_buffers import MAX_HELD, Acknowledged, HeldBack
from fastgate.control.origin_gaps import OriginGaps
from fastgate.control.origin_plan import OriginState, Plan
from fastgate.control.saved_state import SavedStream
from fastgate.domain.event import MAGIC, Batch
from fastgate.domain.frame import FaultKind, FrameError, open_frame
from fastgate.domain.freshness import AgeClock, NonceLog
from fastgate.domain.marker import MAX_MARKS, Mark, Marker, decode_marker
from fastgate.domain.stream import Stored, StreamState

__all__ = ["OriginState", "OriginTracker", "Plan"]

# Reason: REVOCATION.md section 4: backfill starts after 250 ms.
_PATIENCE_NS = 250_000_000
# Reason: markers come once a second; three missed mean that the live path is broken.
_SILENCE_NS = 3_000_000_000
# Reason: one small question; finds a stream made anew that has grown past ours.
_CHECK_NS = 5_000_000_000
_DOUBT_NS = 500_000_000
# Reason: gateways of a region, and their journals lost within a token's life.
_MAX_PUBLISHERS = 4_096
_REREAD_FIRST_NS = 2_000_000_000
_REREAD_LAST_NS = 60_000_000_000


class OriginTracker:
    """The state machine of one origin.

    origin: Name of the stream. me: This node, as echoes name it.
    known_keys: Ids of the hash keys that can be looked up.
    apply: Takes a batch; False where not all of it is in force then.
    wall_s: Tells the wall time here: until when an event can touch a live token.
    prove: Told a local CLOCK_BOOTTIME ns up to which everything was applied.
    seal: Checks who signed, if anybody. anew: Told before everything is read again.
    heard: Told of each marker, old ones too.
    """

    def __init__(
        self,
        origin: str,
        *,
        me: str,
        nonces: NonceLog,
        known_keys: Collection[str],
        apply: Callable[[EventFrame, int], bool],
        prove: Callable[[int], None],
        wall_s: Callable[[], float],
        seal: FrameSeal | None = None,
        anew: Callable[[], None] = lambda: None,
        heard: Callable[[Marker], None] = lambda _: None,
    ) -> None:
        self.origin = origin
        self.position = 0
        self.caught_up, self.evidence_ns = False, 0
        self.marker: Marker | None = None
        # The origin's wall clock and the local boot time of the newest proof.
        self.proof: tuple[float, int] | None = None
        self.gaps = self.repeats = 0
        self.faults: Counter[FaultKind] = Counter()
        self.own_holes: tuple[tuple[int, int], ...] = ()
        self.own_read_to = 0
        self._me, self._node = me, me.partition("/")[2]
        self._known_keys = known_keys
        self._seal = seal or FrameSeal()
        self._anew = anew
        self._apply = apply
        self._prove = prove
        self._wall_s = wall_s
        self._heard = heard
        self._ages = AgeClock(nonces)
        self._incarnation = ""
        self._publishers: dict[str, PublisherState] = {}
        self._missing = OriginGaps()
        self._held, self._own = HeldBack(), Acknowledged()
        self._gap_ns = 0
        self.marker_ns = 0
        self._asked_ns, self._reading, self._doubt = 0, False, False
        self._reread_ns, self._reread_wait_ns = 0, _REREAD_FIRST_NS

    # What arrives.

    def live(self, stored: Stored, now_ns: int) -> None:
        """Take a message of the live path: lost, repeated or out of order."""
        if stored.position <= self.position:
            # A repeat; or another stream under the same name, which begins again.
            self.repeats += 1
            self._doubt = True
            return
        if self._reading or not self.caught_up or stored.position > self.position + 1:
            self._hold(stored, now_ns)
            return
        self._take(stored, now_ns)
        self._release(now_ns)

    def replayed(self, stored: Stored, now_ns: int) -> None:
        """Take the next message of a replay; positions may jump where some expired."""
        if stored.position > self.position:
            self._take(stored, now_ns)

    def reached(self, to: int, now_ns: int, *, own: str = "") -> None:
        """Note that a replay yielded all there was up to `to`.

        own: This node's publisher id, in its own origin: what of it the stream lacks
        is put into `own_holes`, for the journal to publish again.
        """
        self._reading = False
        self.position = max(self.position, to)
        self._settle_own()
        if own:
            state = self._publisher(own)
            self.own_holes, self.own_read_to = tuple(state.holes), state.last
        self._held.drop(to=self.position)
        self._release(now_ns)
        self.caught_up = True

    def failed(self) -> None:
        """Note that a replay broke off; what it brought is kept."""
        self._reading = False

    def acked(self, batch: Batch, position: int) -> None:
        """Count what this node published, at once: its marker must not miss it."""
        state = self._expect(batch.publisher, batch.events[0].seq)
        for event in batch.events:
            state.add(event.seq, event.id, event.expires)
        self._own.acked(batch, position)
        self._settle_own()

    def spoil(self, now_ns: int) -> None:
        """Read everything again: applying a message failed for a reason unknown."""
        self._plan_reread(now_ns, wanted=True)
        self._missing.refused(self.position + 1)

    def begin_again(self, now_ns: int) -> None:
        """Read everything again at once: the stream may lack what was read."""
        self._reread_ns = now_ns

    # What is kept on the disk.

    def saved(self) -> SavedStream | None:
        """Return what was read; None where only another reading tells what it was."""
        if not self.caught_up or self._missing.is_saved_by_reading:
            return None
        sums = {name: state.dump() for name, state in self._publishers.items()}
        blind = self._missing.saved()
        return SavedStream(self._incarnation, self.position, sums, blind)

    def restore(self, stream: SavedStream) -> None:
        """Go on from what a snapshot has; nothing is proven by it."""
        if not self._missing.restore(stream.blind, self._known_keys):
            return
        loaded = {n: PublisherState.load(raw) for n, raw in stream.sums.items()}
        self._publishers.update(loaded)
        self._incarnation, self.position = stream.incarnation, stream.position

    # What is to be done.

    def wants_state(self, now_ns: int) -> bool:
        """Tell whether the bus should be asked how far the stream is."""
        if self._reading:
            return False
        if not self.caught_up or (self._reread_ns and now_ns >= self._reread_ns):
            return True
        if self._gap_ns and now_ns - self._gap_ns >= _PATIENCE_NS:
            return True
        since_ns = now_ns - self._asked_ns
        if since_ns >= _CHECK_NS or (self._doubt and since_ns >= _DOUBT_NS):
            return True
        return min(since_ns, now_ns - self.marker_ns) >= _SILENCE_NS

    def plan(self, state: StreamState, before: int, now_ns: int) -> Plan | None:
        """Return what to read, given what the bus says of the stream.

        before: `position` when the bus was asked; live messages came in since.
        A stream that was made anew, or is shorter than what was read, is read again
        from its start: its positions mean something else now.
        """
        self._asked_ns = now_ns
        self._doubt = False
        anew = state.incarnation != self._incarnation or state.last < before
        if anew or (self._reread_ns and now_ns >= self._reread_ns):
            if anew and self._incarnation:
                self.gaps += 1
            self._incarnation = state.incarnation
            self._forget()
        # Of no stream that there is: kept, it would look like a gap for ever.
        self._held.drop(past=state.last + MAX_HELD)
        if not self._held:
            self._gap_ns = 0
        if state.last <= self.position and self.caught_up and not self._gap_ns:
            return None
        self._reading = True
        return Plan(self.position, max(state.last, self.position))

    def _forget(self) -> None:
        # The index keeps every entry; only the account of the stream begins again.
        self.position, self.caught_up = 0, False
        self._anew()
        self._publishers.clear()
        self._missing.begin_anew()
        self._held.clear()
        self._gap_ns = self._reread_ns = 0
        self._own.clear()

    def take_lost(self) -> list[Batch]:
        """Return what the stream acknowledged and then did not have."""
        return self._own.take_lost()

    # What is known.

    @property
    def applied(self) -> int:
        """Position up to which everything read is enforced, for receipts."""
        flaw = self._missing.flaw
        return flaw - 1 if flaw else self.position

    @property
    def full(self) -> bool:
        """True where the index refused something that was read."""
        return self._missing.full

    @property
    def blind(self) -> bool:
        """True while it lacks the hash key of events that may touch a live token."""
        return self._missing.is_blind(self._wall_s())

    def marks(self, wall_s: int) -> dict[str, Mark]:
        """Return every publisher's mark, for a marker written at `wall_s`."""
        marks: dict[str, Mark] = {}
        for name, state in reversed(self._publishers.items()):
            digest = state.digest(state.last, wall_s)
            if digest is not None and len(marks) < MAX_MARKS:
                marks[name] = Mark(state.last, digest)
        return marks

    def digest(self, publisher: str, mark: int, wall_s: int) -> int | None:
        """Return a publisher's sum as it was read, None where it cannot be told."""
        return self._publishers[publisher].digest(mark, wall_s)

    def publishers(self) -> dict[str, int]:
        """Return the highest number of each publisher, for status."""
        return {name: state.last for name, state in self._publishers.items()}

    def state(self, now_ns: int, limit_ns: int) -> OriginState:
        """Return the word for people."""
        if self.marker is None:
            return OriginState.NEVER_HEARD
        if self.evidence_ns and now_ns - self.evidence_ns <= limit_ns:
            return OriginState.FRESH
        return OriginState.STALE if self.caught_up else OriginState.BEHIND

    # Inside.

    def _hold(self, stored: Stored, now_ns: int) -> None:
        if not self._held.hold(stored):
            self.repeats += 1
        elif self._gap_ns == 0:
            self._gap_ns = now_ns
            # Before the first replay everything is held, and nothing is missing.
            self.gaps += self.caught_up and not self._reading

    def _release(self, now_ns: int) -> None:
        while (stored := self._held.pop(self.position + 1)) is not None:
            self._take(stored, now_ns)
        if not self._held:
            self._gap_ns = 0

    def _take(self, stored: Stored, now_ns: int) -> None:
        self.position = stored.position
        try:
            self._read(stored, now_ns)
        except FrameError as fault:
            self.faults[fault.kind] += 1
            self._note_unread(stored)
        self._settle_own()

    def _read(self, stored: Stored, now_ns: int) -> None:
        payload = self._seal.open(self.origin, stored.publisher, stored.payload)
        if payload.startswith(MAGIC):
            self._read_events(stored, payload)
            return
        type_, fields = open_frame(payload)
        if type_ == "marker":
            marker = decode_marker(fields)
            speaker = stored.publisher.partition(".")[0]
            if (marker.origin, marker.writer) != (self.origin, speaker):
                raise FrameError(FaultKind.FOREIGN, "writer")
            self._heard(marker)
            self._judge(marker, now_ns)
        elif not fields.flag("optional"):
            raise FrameError(FaultKind.CRITICAL, "t")

    def _read_events(self, stored: Stored, payload: bytes) -> None:
        frame = read_batch(payload, None)
        # The bus holds each account to its own names; the payload must agree.
        if (frame.origin, frame.publisher) != (self.origin, stored.publisher):
            raise FrameError(FaultKind.FOREIGN, "publisher")
        fits = self._apply(frame, stored.position)
        if frame.key_id not in self._known_keys:
            # Counted as anything else that came, and in force nowhere here.
            self.faults[FaultKind.KEY] += 1
            self.gaps += 1
            self._missing.blinded(frame.key_id, ends_at(frame), stored.position)
        elif not fits:
            self._missing.refused(stored.position)
        self._expect(frame.publisher, frame.seq).add_frame(frame)
        if frame.publisher.partition(".")[0] == self._node:
            self._own.read(stored.position)

    def _note_unread(self, stored: Stored) -> None:
        state = self._publishers.get(stored.publisher)
        self.gaps += state is not None
        last = state.last if state else 0
        self._missing.unread(stored.publisher, last, stored.position)

    def _publisher(self, name: str) -> PublisherState:
        state = self._publishers.get(name)
        if state is None:
            state = self._publishers[name] = PublisherState()
            if len(self._publishers) > _MAX_PUBLISHERS:
                # Its digest is asked for again where it still has live events.
                del self._publishers[next(iter(self._publishers))]
        return state

    def _expect(self, publisher: str, first: int) -> PublisherState:
        state = self._publisher(publisher)
        if first > state.last + 1 and state.last and self.caught_up:
            self.gaps += 1
        # No number is missing around it: what was unreadable named nobody.
        self._missing.followed(publisher, first)
        return state

    def _settle_own(self) -> None:
        self.gaps += self._own.settle(self.position)

    def _judge(self, marker: Marker, now_ns: int) -> None:
        nonce = marker.echo.get(self._me)
        self._ages.learn(marker.writer, marker.boot, marker.as_of, nonce)
        self.marker = marker
        self.marker_ns = now_ns
        written_ns = self._ages.written_ns(
            marker.writer, marker.boot, marker.as_of, now_ns
        )
        if self._reading and written_ns is None:
            return  # history: it could prove nothing, and events may have left since
        equal = self._equal(marker)
        if equal is None or self.full:
            self._plan_reread(now_ns, wanted=self.full)
            return
        if not equal:
            if not self._reading:
                self.gaps += 1
                self._plan_reread(now_ns, wanted=True)
            return
        # What is missing at an old marker may have been said again behind it.
        for name, mark in () if self._reading else marker.marks.items():
            self._publisher(name).confirm(mark.last)
        self._reread_ns, self._reread_wait_ns = 0, _REREAD_FIRST_NS
        if self.blind:
            return  # all of it came, and some of it can be looked up by nobody here
        self._missing.proven()
        if written_ns is not None and written_ns > self.evidence_ns:
            self.evidence_ns = written_ns
            self.proof = (marker.wall, written_ns)
            self._prove(written_ns)

    def _equal(self, marker: Marker) -> bool | None:
        wall_s = int(marker.wall)
        for name, mark in marker.marks.items():
            state = self._publishers.get(name)
            digest = state.digest(mark.last, wall_s) if state else 0
            if digest is None:
                return None
            if digest != mark.digest:
                return False
            if name.partition(".")[0] == marker.writer:
                # The publisher itself says that what was read is all there is.
                self._missing.vouched(name)
        known = self._publishers.keys() | marker.marks.keys()
        return not self._missing.has_unread_of(known)

    def _plan_reread(self, now_ns: int, *, wanted: bool) -> None:
        if wanted and not self._reread_ns:
            self._reread_ns = now_ns + self._reread_wait_ns
            self._reread_wait_ns = min(2 * self._reread_wait_ns, _REREAD_LAST_NS)
