"""Urgent: the second path of urgent events, beside the stream, out and in.

Owns:      what waits to be said that way; how much each sender may say; the counts.
Called by: control.journal says each new urgent event, control.feed passes on what came.
Source:    DESIGN.md section 8 (the last paragraph); THREATS.md M1 (signed where frames
           are signed, with a nonce, which is the event's id, and a window of 30 s).

What comes this way is enforced, and no more: no number, mark or digest moves, so that
it proves nothing and loses nothing. The stream's own copy comes later and finds the
event known. A frame that is lost, late or one too many is only not faster than that.
"""

import asyncio
import enum
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from fastgate.control import journal_walk
from fastgate.control.allowance import Allowance
from fastgate.control.event_batch import event_of, read_batch
from fastgate.domain.event import Batch, Event, encode_batch
from fastgate.domain.frame import MAX_FRAME_BYTES, FaultKind, FrameError
from fastgate.domain.stream import Kept
from fastgate.errors import ControlError

if TYPE_CHECKING:
    from fastgate.control.feed import Feed

__all__ = ["Urgent", "UrgentResult"]

_log = logging.getLogger(__name__)

# Source: THREATS.md M1; and as much again as clocks of two regions may be apart before
# somebody has been called (feed_status raises its alarm at two seconds).
_WINDOW_S = 30.0
_SKEW_S = 10.0
# Reason: whoever logs out a thousand sessions at once is served at once; what is past
# it costs each reader nothing here, and comes by the stream.
_PER_S, _BURST = 500.0, 1_000.0
_ALL_PER_S, _ALL_BURST = 2_000.0, 4_000.0
# Reason: the burst that readers take.
_MAX_WAITING = 1_000
# Reason: a bus that needs longer is no faster than the stream.
_SEND_S = 1.0
# Reason: a signed envelope around the largest frame.
_MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES + 512


class UrgentResult(enum.StrEnum):
    """What came of an event that came this way; metric label."""

    FIRST = "first"  # enforced before the stream brought it
    KNOWN = "known"
    LATE = "late"  # outside the window, or over
    FLOOD = "flood"  # a frame too many, not read
    REJECTED = "rejected"  # a frame that nobody may send, or that cannot be read
    FULL = "full"  # no room in the index, which the stream will find as well


class Urgent:
    """One per agent."""

    def __init__(self, feed: "Feed") -> None:
        self._feed = feed
        self._me = feed.region, feed.node
        self._waiting: deque[Kept] = deque()
        self._work = asyncio.Event()
        self._allowance = Allowance(
            per_s=_PER_S, burst=_BURST, all_per_s=_ALL_PER_S, all_burst=_ALL_BURST
        )
        self.said = self.unsaid = 0
        self.counts: Counter[UrgentResult] = Counter()
        self.faults: Counter[FaultKind] = Counter()

    # Out.

    def say(self, kept: Kept) -> None:
        """Send an urgent event that is in journal and index here.

        Never waits or raises.
        """
        feed, event = self._feed, kept.event
        if feed.standalone or event.lifts or not self._is_new(event):
            return
        if len(self._waiting) >= _MAX_WAITING:
            self.unsaid += 1
            return
        self._waiting.append(kept)
        self._work.set()

    def _is_new(self, event: Event) -> bool:
        age_s = self._feed.clock.wall_s() - event.at
        return -_SKEW_S <= age_s <= _WINDOW_S + _SKEW_S

    async def run(self) -> None:
        """Send what waits, for ever; supervised by the feed."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                publisher = self._waiting[0].publisher
                events = []
                while self._waiting and self._waiting[0].publisher == publisher:
                    events.append(self._waiting.popleft().event)
                for run in journal_walk.runs(events):
                    await self._send(publisher, run)

    async def _send(self, publisher: str, run: list[Event]) -> None:
        feed = self._feed
        frame = encode_batch(Batch(feed.region, publisher, tuple(run)))
        payload = feed.seal.close(_place(feed.region), publisher, frame)
        try:
            async with asyncio.timeout(_SEND_S):
                await feed.bus.urge(publisher, payload)
        except (ControlError, TimeoutError) as error:
            # The stream brings them; whoever entered them waits for that alone.
            self.unsaid += len(run)
            _log.info("urgent events go by the stream alone: %s", error)
        else:
            self.said += len(run)

    # In.

    def heard(self, origin: str, publisher: str, payload: bytes) -> None:
        """Take a frame, whoever sent it; never waits or raises.

        origin, publisher: Under which it came.
        """
        sender = origin, publisher.partition(".")[0]
        if sender == self._me:
            return
        now_ns = self._feed.clock.boot_ns()
        if not self._allowance.admits("/".join(sender), now_ns):
            self.counts[UrgentResult.FLOOD] += 1
            return
        try:
            events = self._read(origin, publisher, payload)
            self._allowance.charge("/".join(sender), len(events) - 1, now_ns)
            for event in events:
                self.counts[self._enforce(event)] += 1
        except FrameError as fault:
            self.counts[UrgentResult.REJECTED] += 1
            self.faults[fault.kind] += 1
        except Exception:  # noqa: BLE001
            # The border towards the bus: the stream brings whatever it was.
            self.counts[UrgentResult.REJECTED] += 1
            _log.exception("an urgent frame of %s failed", origin)

    def _read(self, origin: str, publisher: str, payload: bytes) -> list[Event]:
        if origin not in self._feed.origins:
            raise FrameError(FaultKind.FOREIGN, "origin")
        if len(payload) > _MAX_PAYLOAD_BYTES:
            raise FrameError(FaultKind.OVERSIZE, "frame")
        opened = self._feed.seal.open(_place(origin), publisher, payload)
        frame = read_batch(opened, self._feed.settings.known_keys)
        # As with the stream: the payload must agree with what the bus says.
        if (frame.origin, frame.publisher) != (origin, publisher):
            raise FrameError(FaultKind.FOREIGN, "publisher")
        events = [event_of(frame, index) for index in range(frame.count)]
        if any(event.lifts or not event.urgent for event in events):
            # Only an origin's own stream lifts, and what can wait has no hurry.
            raise FrameError(FaultKind.FOREIGN, "urgent")
        return [event for event in events if event.kind is not None]

    def _enforce(self, event: Event) -> UrgentResult:
        enforcement = self._feed.enforcement
        if not self._is_new(event) or event.expires <= enforcement.now_s:
            return UrgentResult.LATE
        if enforcement.has(event):
            return UrgentResult.KNOWN
        return UrgentResult.FIRST if enforcement.add(event) else UrgentResult.FULL

    def status(self) -> dict[str, Any]:
        """Return what `/v1/status` shows of this path."""
        return {
            "said": self.said,
            "unsaid": self.unsaid + len(self._waiting),
            "heard": {each.value: self.counts[each] for each in UrgentResult},
            "rejected": {kind.value: n for kind, n in sorted(self.faults.items())},
        }


def _place(origin: str) -> str:
    # A frame that was signed for the stream says nothing here, nor one from here there.
    return f"urgent/{origin}"
