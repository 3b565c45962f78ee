"""Alarms: what is wrong right now, by the dependency that is at fault.

Owns:      the set of active alarms of this node.
Called by: keyring, feed, introspection and reload raise and clear them; status, metrics
           and log show them.
Source:    REQUIREMENTS.md S1.7.
"""

import logging
import time

__all__ = ["Alarms"]

_log = logging.getLogger(__name__)

# Reason: names are fixed and dependencies configured, so this is never reached in an
# honest node; it bounds what a fault of ours could grow.
_MAX_ACTIVE = 1_000


class Alarms:
    """Active alarms; each change is one log line."""

    __slots__ = ("_active",)

    def __init__(self) -> None:
        self._active: dict[tuple[str, str], float] = {}

    def set(self, alarm: str, dependency: str, active: bool) -> None:
        """Raise or clear an alarm; repeats change nothing."""
        key = (alarm, dependency)
        if active and key not in self._active and len(self._active) < _MAX_ACTIVE:
            self._active[key] = time.time()
            _log.warning("alarm %s: %s", alarm, dependency)
        elif not active and self._active.pop(key, None) is not None:
            _log.info("alarm over %s: %s", alarm, dependency)

    def active(self) -> list[dict[str, object]]:
        """Return active alarms, oldest first: alarm, dependency, since (seconds)."""
        return [
            {"alarm": alarm, "dependency": dependency, "since": since}
            for (alarm, dependency), since in self._active.items()
        ]
