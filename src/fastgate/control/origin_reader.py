"""Origin reader: the task that reads a stream where the live path left a gap.

Owns:      nothing but its pace; `control.origin` says what to read.
Called by: control.feed, one task per origin.
Source:    REVOCATION.md section 4: backfill starts after 250 ms, driven by us, never by
           a client library's reconnect.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from fastgate.control.journal import Publisher
from fastgate.control.origin import OriginTracker
from fastgate.control.pause import pause
from fastgate.control.stream_head import StreamHead
from fastgate.errors import ControlError
from fastgate.ports import Bus, Clock

__all__ = ["OriginReader"]

_log = logging.getLogger(__name__)

_POLL_S = 0.05
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 1.0
# Reason: between two yields the loop answers nothing else; 32 frames take about 1 ms.
_FRAMES_AT_ONCE = 32


class OriginReader:
    """Keeps one origin's tracker supplied.

    own: The publisher, in the own origin only; it learns what the stream lacks.
    head: Looks after the beginning of that stream, in the own origin only.
    alarm: Called with name, dependency and whether it is on.
    """

    def __init__(
        self,
        tracker: OriginTracker,
        *,
        bus: Bus,
        clock: Clock,
        own: Publisher | None,
        head: StreamHead | None = None,
        alarm: Callable[[str, str, bool], None],
    ) -> None:
        self._tracker = tracker
        self._bus = bus
        self._clock = clock
        self._own = own
        self._head = head
        self._alarm = alarm
        self._poked = asyncio.Event()
        self.fill = 0.0
        self.replays = 0
        # Reading begins behind what another node has read: our journal is compared.
        self.audit_due = False

    def poke(self) -> None:
        """Look at once: the bus is back."""
        self._poked.set()

    async def run(self) -> None:
        """Read whenever the tracker wants it, for ever; supervised by the feed."""
        wait_s = _RETRY_FIRST_S
        while True:
            pause_s = _POLL_S
            if self._tracker.wants_state(self._clock.boot_ns()):
                try:
                    await self.read()
                    wait_s = _RETRY_FIRST_S
                except ControlError as error:
                    self._alarm("stream", self._tracker.origin, True)
                    _log.info("stream of %s: %s", self._tracker.origin, error)
                    pause_s, wait_s = wait_s, min(_RETRY_LAST_S, 2 * wait_s)
            await pause(self._poked, pause_s)

    async def read(self) -> None:
        """Ask how far the stream is and read what is missing. Raises ControlError."""
        tracker = self._tracker
        before = tracker.position
        state = await self._bus.state(tracker.origin)
        self.fill = state.fill
        if self._head is not None and await self._head.is_cut(state.first):
            _log.warning("the stream of %s lost its head", tracker.origin)
            tracker.begin_again(self._clock.boot_ns())
        plan = tracker.plan(state, before, self._clock.boot_ns())
        if plan is not None:
            self.replays += 1
            await self._replay(plan.after, plan.to)
        self._alarm("stream", tracker.origin, False)

    async def _replay(self, after: int, to: int) -> None:
        tracker = self._tracker
        done = False
        try:
            async with contextlib.aclosing(
                self._bus.replay(tracker.origin, after, to)
            ) as messages:
                count = 0
                async for stored in messages:
                    tracker.replayed(stored, self._clock.boot_ns())
                    count += 1
                    if count % _FRAMES_AT_ONCE == 0:
                        await asyncio.sleep(0)
            done = True
        finally:
            if not done:
                tracker.failed()
        own = self._own
        name = own.name if own is not None else ""
        tracker.reached(to, self._clock.boot_ns(), own=name)
        if own is not None:
            own.mark_seen(tracker.publishers().get(name, 0))
            own.verified()
            if after == 0 or self.audit_due:
                self.audit_due = False
                await own.audit(tracker.own_holes, tracker.own_read_to)
