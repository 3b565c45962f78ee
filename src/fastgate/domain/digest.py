"""Digest: an order-free sum over a publisher's live events, in expiry buckets.

Owns:      what one publisher said: numbers seen, numbers missing, the sum by expiry.
Called by: control.origin, one object per publisher and origin.
Source:    REVOCATION.md section 4 (digest). It detects
           loss; only signatures detect lies.
"""

import hashlib
from collections import deque

__all__ = ["PublisherState", "term"]

_MODULUS = 2**128
# Reason: an origin's wall clock may be set back by an hour and the sum be asked again.
_KEEP_AFTER_EXPIRY_S = 7_200
# Reason: the walk over all buckets stays rare.
_SWEEP_S = 64
# Reason: events between two markers; the mark may name any of them.
_MAX_RECENT = 65_536
# Reason: each is one lost or expired stretch; past it a full read decides.
_MAX_HOLES = 4_096


def term(id_: str, expires: int) -> int:
    """Return an event's share of the sum: 128 bits over its id and its expiry."""
    raw = hashlib.blake2b(f"{id_}\n{expires}".encode(), digest_size=16).digest()
    return int.from_bytes(raw)


class PublisherState:
    """What one publisher has said in one stream, as far as it was read.

    last: Highest number seen. holes: Half-open ranges below it that were not seen:
    expired, or lost; the next equal digest says which.
    """

    __slots__ = (
        "_buckets",
        "_dropped",
        "_expired",
        "_recent",
        "_swept",
        "_total",
        "_wall",
        "holes",
        "last",
    )

    def __init__(self) -> None:
        self.last = 0
        self.holes: list[tuple[int, int]] = []
        self._buckets: dict[int, int] = {}
        self._total = 0
        # Sum of the buckets with an expiry at or before `_wall`.
        self._expired = 0
        self._wall = 0
        self._recent: deque[tuple[int, int, int]] = deque()
        self._dropped = 0
        self._swept = 0

    def add(self, seq: int, id_: str, expires: int) -> bool:
        """Count an event once; False where that number was seen before."""
        if seq <= self.last:
            if not self._fill(seq):
                return False
        else:
            if seq > self.last + 1 and len(self.holes) < _MAX_HOLES:
                self.holes.append((self.last + 1, seq))
            self.last = seq
        share = term(id_, expires)
        self._buckets[expires] = (self._buckets.get(expires, 0) + share) % _MODULUS
        self._total += share
        if expires <= self._wall:
            self._expired += share
        self._recent.append((seq, share, expires))
        if len(self._recent) > _MAX_RECENT:
            self._dropped = max(self._dropped, self._recent.popleft()[0])
        return True

    def _fill(self, seq: int) -> bool:
        for i, (start, end) in enumerate(self.holes):
            if start <= seq < end:
                parts = [(start, seq), (seq + 1, end)]
                self.holes[i : i + 1] = [part for part in parts if part[0] < part[1]]
                return True
        return False

    def missing(self, seq: int) -> bool:
        """Tell whether a number was not seen."""
        return seq > self.last or any(s <= seq < e for s, e in self.holes)

    def digest(self, mark: int, wall: int) -> int | None:
        """Return the sum over events up to `mark` that are alive at `wall` (seconds).

        None where it cannot be told: the mark lies before what is kept one by one.
        """
        if mark < self._dropped:
            return None
        self._move(wall)
        later = sum(s for q, s, expires in self._recent if q > mark and expires > wall)
        return (self._total - self._expired - later) % _MODULUS

    def confirm(self, mark: int) -> None:
        """Take the publisher as complete up to `mark`: what is absent has expired."""
        self.holes = [(max(s, mark + 1), e) for s, e in self.holes if e > mark + 1]
        self.last = max(self.last, mark)
        recent = self._recent
        while recent and recent[0][0] <= mark:
            recent.popleft()

    @property
    def alive(self) -> bool:
        """True while an event is kept that the sum may still count."""
        return bool(self._buckets)

    def _move(self, wall: int) -> None:
        # One second a marker, as a rule; a stepped clock walks the buckets once.
        low, high = sorted((wall, self._wall))
        if high - low < len(self._buckets):
            between = sum(self._buckets.get(s, 0) for s in range(low + 1, high + 1))
        else:
            between = sum(b for s, b in self._buckets.items() if low < s <= high)
        self._expired += between if wall > self._wall else -between
        self._wall = wall
        self._forget(wall - _KEEP_AFTER_EXPIRY_S)

    def _forget(self, before: int) -> None:
        if before - self._swept < _SWEEP_S:
            return
        self._swept = before
        for expires in [s for s in self._buckets if s <= before]:
            gone = self._buckets.pop(expires)
            self._total -= gone
            self._expired -= gone
