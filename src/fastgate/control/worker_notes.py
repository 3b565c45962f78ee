"""Worker notes: what the workers last said of themselves, and which alarms they raise.

Owns:      a note a worker slot; which slots hold up an alarm.
Called by: control.agent.

A worker that was taken over may lie: what it says is bounded by its link, and names are
checked against what exists.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from fastgate.ports import Clock

__all__ = ["WorkerNotes"]

# Reason: workers write a note each second; three missed are no accident.
_SILENT_NS = 5_000_000_000
_ALARMS = frozenset({"introspection_unavailable", "introspection_credentials", "tap"})


class WorkerNotes:
    """One per agent.

    alarms: Called with alarm, issuer alias and whether any worker still raises it.
    """

    def __init__(
        self, workers: int, clock: Clock, alarms: Callable[[str, str, bool], None]
    ) -> None:
        self._clock = clock
        self._alarms = alarms
        self._notes: list[Mapping[str, Any]] = [{} for _ in range(workers)]
        self._noted_ns = [0] * workers
        self._raised: dict[tuple[str, str], set[int]] = {}

    def take(
        self, slot: int, kind: str, data: object, aliases: Collection[str]
    ) -> None:
        """Take a note; anything that is none is ignored.

        aliases: Of the issuers of the configuration in force.
        """
        if not isinstance(data, dict) or not 0 <= slot < len(self._notes):
            return
        if kind == "worker":
            if data.get("pid") != self._notes[slot].get("pid"):
                # Another process: what its predecessor raised, nobody would end.
                self._end(lambda _: True, slot)
            self._end(lambda key: key[1] not in aliases, *range(len(self._notes)))
            self._notes[slot] = data
            self._noted_ns[slot] = self._clock.boot_ns()
        elif kind == "alarm":
            self._raise(slot, data, aliases)

    def shown(self, config: int, keys: int) -> list[dict[str, Any]]:
        """Return a line a slot, for status.

        config, keys: Versions of the documents that a worker should follow.
        """
        now_ns = self._clock.boot_ns()
        return [
            {
                "slot": slot,
                "up": now_ns - self._noted_ns[slot] < _SILENT_NS,
                "current": (note.get("config"), note.get("keys")) == (config, keys),
                "pid": note.get("pid"),
                "cache": note.get("cache"),
                "rss_bytes": note.get("rss_bytes"),
            }
            for slot, note in enumerate(self._notes)
        ]

    def _raise(
        self, slot: int, note: Mapping[str, object], aliases: Collection[str]
    ) -> None:
        alarm, issuer = note.get("alarm"), note.get("dependency")
        if not isinstance(alarm, str) or not isinstance(issuer, str):
            return
        if alarm not in _ALARMS or issuer not in aliases:
            return
        if note.get("active"):
            self._raised.setdefault((alarm, issuer), set()).add(slot)
            self._alarms(alarm, issuer, True)
        else:
            self._end(lambda key: key == (alarm, issuer), slot)

    def _end(self, fits: Callable[[tuple[str, str]], bool], *slots: int) -> None:
        """Take slots out of the alarms that fit; with the last one an alarm ends."""
        for key in [key for key in self._raised if fits(key)]:
            self._raised[key].difference_update(slots)
            if not self._raised[key]:
                del self._raised[key]
                self._alarms(*key, False)
