"""Rates: how often one peer may ask, by token bucket.

Owns:      the buckets of one listener, a bounded number of them.
Called by: admin.access and admin.status_page, once per request.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Rates"]

# Reason: administrators and probes are few; past it the one unseen for longest begins
# anew with a full bucket.
_MAX_PEERS = 1_024


class Rates:
    """Token buckets by peer.

    burst: Requests at once. per_s: Requests a second for ever.
    """

    def __init__(
        self,
        *,
        burst: float,
        per_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._now_s = now_s
        # Peer: what was left in the bucket, and when.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, peer: str) -> bool:
        """Tell whether a peer may ask once more, and count it if so."""
        now_s = self._now_s()
        left, since_s = self._left.get(peer, (self._burst, now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_s)
        allowed = left >= 1
        self._left[peer] = (left - 1 if allowed else left, now_s)
        self._left.move_to_end(peer)
        if len(self._left) > _MAX_PEERS:
            self._left.popitem(last=False)
        return allowed
