"""Canaries: revocations of nobody, entered all the time, to measure the real window.

Owns:      when the next one is due; what the workers said of the last ones, by origin.
Called by: control.feed, which runs the rounds and tells of each that is applied here.
Source:    DESIGN.md section 8 (proof); REVOCATION.md section 5.

A canary takes the whole way of a revocation: journal, stream, the other regions, index;
and there each worker is told its key and looks it up, by the reader that its gate uses.
The time from the entry to that refusal is read from two wall clocks, so it is as good
as they agree; an alarm names origins whose clock is more than two seconds off.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastgate.control.event_batch import event_of
from fastgate.control.native import EventFrame
from fastgate.domain.entry import Entry, EntryError
from fastgate.domain.event import Event
from fastgate.domain.revocation import Kind
from fastgate.errors import ControlError

if TYPE_CHECKING:
    from fastgate.control.feed import Feed

__all__ = ["CANARY", "Canaries"]

# The issuer and the reason of canaries: no token can have that issuer, since none that
# is configured may.
CANARY = "urn:fastgate:canary"
# Reason: an hour of one every five seconds.
_KEPT = 720
_LOOK_S = 1.0
_HALF = 0.5
_ALMOST = 0.99


class _Outcomes:
    """What became of the canaries of one origin."""

    def __init__(self) -> None:
        self.count = 0
        self.missed = 0
        self.times_ms: deque[float] = deque(maxlen=_KEPT)

    def document(self) -> dict[str, Any]:
        ordered = sorted(self.times_ms)
        return {
            "count": self.count,
            "missed": self.missed,
            "last_ms": self.times_ms[-1] if self.times_ms else None,
            "p50_ms": _at(ordered, _HALF),
            "p99_ms": _at(ordered, _ALMOST),
            "max_ms": _at(ordered, 1.0),
        }


class Canaries:
    """One per agent.

    tell: Sends the key of a canary to every worker of this node; set by who has a link.
    """

    def __init__(self, feed: "Feed") -> None:
        self._feed = feed
        self.tell: Callable[[str, Mapping[str, object]], None] = lambda _, __: None
        # Older ones are read again from journal and stream, and measure nothing.
        self._since_s = feed.clock.wall_s()
        self._outcomes: dict[str, _Outcomes] = {}
        self._receipt: dict[str, Any] = {}

    async def run(self) -> None:
        """Enter one every few seconds, where this node speaks for its region."""
        while True:
            every_s = self._feed.settings.canary_s
            await asyncio.sleep(every_s or _LOOK_S)
            if every_s and self._feed.pulse.speaks():
                with contextlib.suppress(ControlError, EntryError):
                    await self._enter()

    async def _enter(self) -> None:
        receipt = await self._feed.enter(
            Entry(
                kind=Kind.JTI,
                issuer=CANARY,
                issuer_alias="",
                value=secrets.token_hex(16),
                home=self._feed.region,
                reason=CANARY,
            ),
            wait="regions",
        )
        self._receipt = {"complete": receipt.complete, "regions": receipt.regions}

    # -- told by the feed --------------------------------------------------------------

    def watching(self, insert: Callable[[Event], bool]) -> Callable[[Event], bool]:
        """Return a function that puts an own event into the index, and tells of it."""

        def inserted(event: Event) -> bool:
            fits = insert(event)
            self.entered(event)
            return fits

        return inserted

    def applied(self, frame: EventFrame) -> None:
        """Look for canaries in a batch whose publisher waits for it."""
        for index in range(frame.count):
            self.entered(event_of(frame, index))

    def entered(self, event: Event) -> None:
        """Have the workers look for a canary that is in the index by now."""
        if event.reason != CANARY or event.kind is not Kind.JTI or event.lifts:
            return
        if event.at >= self._since_s:
            asked = {"key": event.key.hex(), "origin": event.origin, "at": event.at}
            self.tell("canary", asked)

    # -- told by the workers -----------------------------------------------------------

    def judged(self, data: object) -> None:
        """Take a worker's word about a canary; anything else is ignored."""
        if not isinstance(data, dict):
            return
        origin, ms, refused = data.get("origin"), data.get("ms"), data.get("refused")
        if origin not in self._feed.origins or not isinstance(refused, bool):
            return
        outcomes = self._outcomes.setdefault(origin, _Outcomes())
        outcomes.count += 1
        if refused and isinstance(ms, int | float):
            outcomes.times_ms.append(round(float(ms), 3))
        else:
            outcomes.missed += 1
        # A revocation that this node has, and a worker does not refuse by, is the worst
        # that can be: it says so until a canary is refused again.
        self._feed.alarm("canary", origin, not refused)

    def status(self) -> dict[str, Any]:
        """Return times by origin, and what the last own one's receipt said."""
        return {
            "origins": {
                origin: outcomes.document()
                for origin, outcomes in sorted(self._outcomes.items())
            },
            "receipt": self._receipt,
        }


def _at(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
