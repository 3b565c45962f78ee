"""Canary judge: a worker's own word on whether it refuses a canary by now.

Owns:      the histograms of this worker, by origin.
Called by: the worker's end of the link to the agent, for each canary that was applied.
Source:    DESIGN.md section 8: canaries reach a worker's real decision.

It asks the reader that the gate asks, in this process, through the mapping and the
generation that requests are judged by. No token is involved: nobody could sign one.
"""

from collections.abc import Callable
from typing import Any, Protocol

from fastgate.domain.metric_plan import MetricPlan
from fastgate.ports import Clock, Meter, RevocationReader

__all__ = ["CanaryJudge"]

_REVOKED = 2
_KEY_BYTES = 16
_ANY_AGE_NS = 1 << 62
_EVERY_ORIGIN = -1
_METRIC = "fastgate_revocation_propagation_seconds"


class Link(Protocol):
    """The worker's end of the link to the agent."""

    on_tell: Callable[[str, object], None]

    def notify(self, kind: str, data: object) -> bool:
        """Send a note; False where it was dropped."""
        ...


class CanaryJudge:
    """One per worker; it listens to what the agent tells through the link."""

    def __init__(self, reader: RevocationReader, clock: Clock, link: Link) -> None:
        self._reader = reader
        self._clock = clock
        self._notify = link.notify
        link.on_tell = self.told
        self._plan: MetricPlan | None = None
        self._meter: Meter | None = None

    def adopt(self, plan: MetricPlan, meter: Meter) -> None:
        """Count under a configuration."""
        self._plan, self._meter = plan, meter

    def told(self, kind: str, data: object) -> None:
        """Judge a canary; the agent is not trusted to send one that is whole."""
        if kind != "canary" or not isinstance(data, dict):
            return
        origin, at = data.get("origin"), data.get("at")
        try:
            key = bytes.fromhex(data.get("key", ""))
        except (TypeError, ValueError):
            return
        if (
            len(key) != _KEY_BYTES
            or not isinstance(origin, str)
            or not isinstance(at, int | float)
        ):
            return
        code = self._reader.check(
            key,
            0,
            int(self._clock.wall_s()),
            self._clock.boot_ns(),
            _EVERY_ORIGIN,
            _ANY_AGE_NS,
            0,
            _ANY_AGE_NS,
        )
        refused = code & 0xFF == _REVOKED
        took_s = max(0.0, self._clock.wall_s() - at)
        if refused:
            self._count(origin, took_s)
        self._notify(
            "canary", {"origin": origin, "refused": refused, "ms": took_s * 1e3}
        )

    def _count(self, origin: str, took_s: float) -> None:
        if self._plan is None or self._meter is None:
            return
        place: Any = self._plan.histogram(_METRIC, origin)
        self._meter.histogram(*place).observe(int(took_s * 1e9))
