"""Breaker: stop asking an endpoint that keeps failing, and notice when it is back.

Owns:      the state of one endpoint.
Called by: control.introspection. Pure: the caller brings the time.
Source:    THREATS.md I10, F17.
"""

import enum
import random

__all__ = ["Breaker", "Leave"]

# Reason: single lost answers are ordinary; five in a row are not.
_FAILURES = 5
_FIRST_OPEN_S = 1.0
_MOST_OPEN_S = 30.0
_JITTER = 0.2


class Leave(enum.Enum):
    """Whether a question may be sent."""

    REFUSED = 0
    ORDINARY = 1
    PROBE = 2  # the one that finds out whether the endpoint is back


class Breaker:
    """Closed, open for a while, or half-open with one probe under way.

    now_s: CLOCK_BOOTTIME seconds, in every method.
    """

    __slots__ = ("_failures", "_open_s", "_open_until_s", "_probing", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._open_s = 0.0
        self._open_until_s = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """True from opening until a probe succeeded."""
        return self._open_s > 0

    def wait_s(self, now_s: float) -> float:
        """Return seconds until it is worth asking; 0 now."""
        if not self.is_open:
            return 0.0
        if self._probing:
            return _FIRST_OPEN_S
        return max(self._open_until_s - now_s, 0.0)

    def enter(self, now_s: float) -> Leave:
        """Take leave to ask; unless REFUSED, one of those below must follow."""
        if self.wait_s(now_s) > 0:
            return Leave.REFUSED
        if not self.is_open:
            return Leave.ORDINARY
        self._probing = True
        return Leave.PROBE

    def succeeded(self) -> None:
        """Note an answer, good or bad: somebody is there."""
        self._failures = 0
        self._open_s = 0.0
        self._probing = False

    def failed(self, leave: Leave, now_s: float, asked_s: float = 0.0) -> None:
        """Note that there was no answer.

        leave: What `enter` said before. A question that was sent before the breaker
            opened tells nothing new when it fails afterwards.
        asked_s: How long the endpoint asked to be left alone, honoured up to 30 s.
        """
        self._failures += 1
        if leave is Leave.PROBE:
            self._probing = False
        opens = self._failures >= _FAILURES or asked_s > 0
        if leave is Leave.PROBE or (opens and not self.is_open):
            doubled_s = min(max(self._open_s * 2, _FIRST_OPEN_S), _MOST_OPEN_S)
            self._open_s = doubled_s * (1 + _JITTER * self._rng.random())
            self._open_until_s = now_s + self._open_s
        if self.is_open:
            asked_until_s = now_s + min(asked_s, _MOST_OPEN_S)
            self._open_until_s = max(self._open_until_s, asked_until_s)
