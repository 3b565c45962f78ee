"""Pulse: what a node says once a second: its report, and its region's marker.

Owns:      the nonce of the second.
Called by: control.feed, which runs `report` and `mark` as a task each.
Source:    REVOCATION.md sections 4 and 5.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from typing import TYPE_CHECKING

from fastgate.control.markers import MARKER_TTL_S, MarkerWriter
from fastgate.control.origin import OriginTracker
from fastgate.control.pause import pause
from fastgate.domain.freshness import NonceLog
from fastgate.domain.marker import Report, encode_report
from fastgate.errors import ControlError

if TYPE_CHECKING:
    from fastgate.control.feed import Feed

__all__ = ["Pulse"]

_log = logging.getLogger(__name__)

# Reason: an urgent burst must not become a burst of reports from every node.
_REPORT_GAP_S = 0.02
_LOOK_SHARE = 0.1
# Reason: in step with its reports, one of two nodes of the same name (a cloned machine)
# would never find its nonce echoed, and be stale for ever.
_SOONEST_SHARE = 0.9


class Pulse:
    """The two tasks.

    now: Set where a report is wanted at once.
    """

    def __init__(
        self, feed: "Feed", markers: MarkerWriter, nonces: NonceLog, now: asyncio.Event
    ) -> None:
        self._feed = feed
        self._markers = markers
        self._nonces = nonces
        self._nonce = secrets.token_hex(8)
        self._reported_ns = -(10**18)
        self._now = now

    def speaks(self) -> bool:
        """Tell whether this node would write the marker of its region now."""
        feed = self._feed
        own = feed.trackers.get(feed.region)
        return own is None or self._is_due(own)

    def _is_due(self, own: OriginTracker) -> bool:
        feed = self._feed
        due = self._markers.is_due(own, feed.clock.boot_ns())
        return due and not feed.restoring.pending

    async def report(self) -> None:
        """Report each second, and when somebody waits."""
        feed = self._feed
        while True:
            await pause(self._now, self._report_in_s())
            now_ns = feed.clock.boot_ns()
            if self._report_in_s() == 0:
                # An extra report, asked for by an event, repeats the nonce, so that
                # the log of nonces keeps its reach in time.
                self._nonce = secrets.token_hex(8)
                self._nonces.sent(self._nonce, now_ns)
                self._reported_ns = now_ns
            positions = {o: t.applied for o, t in feed.trackers.items()}
            report = Report(feed.region, feed.node, self._nonce, positions)
            with contextlib.suppress(ControlError):  # the next one is a second away
                await feed.bus.report(encode_report(report))
            await asyncio.sleep(_REPORT_GAP_S)

    def _report_in_s(self) -> float:
        since_ns = self._feed.clock.boot_ns() - self._reported_ns
        return max(0.0, self._feed.settings.tick_s - since_ns / 1e9)

    async def mark(self) -> None:
        """Write the marker of each second in which this node is the one to write it."""
        feed = self._feed
        own = feed.trackers[feed.region]
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            # Looked for sooner than each second: whoever has just caught up, or takes
            # over, is waited for by its whole region.
            pause_s = feed.settings.tick_s * _LOOK_SHARE
            if not self._is_due(own):
                continue
            share = random.uniform(_SOONEST_SHARE, 1.0)  # noqa: S311 - no secret
            pause_s = feed.settings.tick_s * share
            publisher = feed.publisher.name
            frame = self._markers.compose(own, feed.adoption.own)
            payload = feed.seal.close(feed.region, publisher, frame)
            name = f"{publisher}/marker/{secrets.token_hex(8)}"
            try:
                await feed.bus.publish(publisher, "marker", name, payload, MARKER_TTL_S)
            except ControlError as error:
                _log.info("the marker was not taken: %s", error)
