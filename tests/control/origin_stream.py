"""One origin's stream as a test writes it, and a tracker that reads it."""

from fastgate.control.native import EventFrame, PublisherState
from fastgate.control.origin import OriginTracker, Plan
from fastgate.domain.event import Batch, Event, encode_batch, key_id
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
            wall_s=lambda: WALL,
        )
        self.stream: dict[int, Stored] = {}
        self.last = 0
        self.incarnation = "first"
        self.said: dict[str, PublisherState] = {}
        self.now = 1_000 * SECOND
        if ready:
            self.catch_up()

    def _apply(self, frame: EventFrame, position: int) -> bool:
        assert position
        self.applied += [(frame.publisher, id_) for id_ in frame.ids()]
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
