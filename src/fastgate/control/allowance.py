"""Allowance: how much each sender may say in a second, and all of them together.

Owns:      what is left to each sender, a bounded number of them.
Called by: control.urgent, once a frame.
"""

from collections import OrderedDict

__all__ = ["Allowance"]

# Reason: as many gateways as the feed knows; past it the one unseen for longest begins
# anew with a full measure, and the common one bounds it all the same.
_MAX_SENDERS = 2_048


class Allowance:
    """Two token buckets: the sender's own, and everybody's.

    per_s, burst: Of one sender. all_per_s, all_burst: Of all together.
    """

    def __init__(
        self, *, per_s: float, burst: float, all_per_s: float, all_burst: float
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._all_per_s = all_per_s
        self._all_burst = all_burst
        # What was left, and when (CLOCK_BOOTTIME ns).
        self._all = (all_burst, 0)
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def admits(self, sender: str, now_ns: int) -> bool:
        """Tell whether a sender may say one thing more, and count that if so."""
        own = self._now(sender, now_ns)
        common = _filled(self._all, self._all_per_s, self._all_burst, now_ns)
        if own < 1 or common < 1:
            return False
        self.charge(sender, 1, now_ns)
        return True

    def charge(self, sender: str, count: int, now_ns: int) -> None:
        """Count what a sender said beyond that; what is not there is owed."""
        common = _filled(self._all, self._all_per_s, self._all_burst, now_ns)
        self._all = common - count, now_ns
        self._left[sender] = self._now(sender, now_ns) - count, now_ns
        self._left.move_to_end(sender)
        if len(self._left) > _MAX_SENDERS:
            self._left.popitem(last=False)

    def _now(self, sender: str, now_ns: int) -> float:
        found = self._left.get(sender, (self._burst, now_ns))
        return _filled(found, self._per_s, self._burst, now_ns)


def _filled(left: tuple[float, int], per_s: float, burst: float, now_ns: int) -> float:
    return min(burst, left[0] + (now_ns - left[1]) / 1e9 * per_s)
