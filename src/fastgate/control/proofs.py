"""Proofs: as of when this node is complete, origin by origin, and who is told.

Owns:      the order: entries, then the board, then what waits for completeness.
Called by: control.feed's trackers, control.housekeeping with the bus `local`.
Source:    REVOCATION.md section 4 (entries first, then the freshness board).
"""

from typing import TYPE_CHECKING

from fastgate.ports import RevocationWriter

if TYPE_CHECKING:
    from fastgate.control.feed import Feed

__all__ = ["Proofs"]


class Proofs:
    """One per node."""

    def __init__(self, feed: "Feed", writer: RevocationWriter) -> None:
        self._feed = feed
        self._writer = writer
        # With `local`: as of when everything is enforced.
        self._all_ns = 0
        self._proven_ns: dict[str, int] = {}

    def of(self, origin: str) -> int:
        """Return as of when this node is complete for an origin, 0 for never."""
        feed = self._feed
        if feed.standalone:
            return self._all_ns
        adopted_ns = feed.adoption.evidence_ns.get(origin, 0)
        return max(self._proven_ns.get(origin, 0), adopted_ns)

    def prove_all(self, boot_ns: int) -> None:
        """State that everything up to a time is enforced: this node is every origin."""
        self._all_ns = boot_ns
        for index in range(len(self._feed.origins)):
            self._writer.set_evidence(index, boot_ns)

    def prove(self, origin: str, boot_ns: int) -> None:
        """State that everything of an origin up to a time is enforced."""
        feed = self._feed
        if origin in feed.speaks_for and feed.enforcement.incomplete:
            # The stream has what our own journal has, and some of that is in force
            # nowhere: its hash key is not one of ours, or it did not fit.
            return
        self._proven_ns[origin] = boot_ns
        marker = feed.trackers[origin].marker
        adopted = marker.adopted if marker is not None else ()
        if adopted:
            feed.adoption.told(origin, adopted, boot_ns)
        for name in (origin, *adopted):
            if name in feed.trackers:
                self._writer.set_evidence(feed.origins.index(name), self.of(name))
        if all(map(self.of, feed.trackers)):
            feed.enforcement.settle()
            feed.keys.proven()
