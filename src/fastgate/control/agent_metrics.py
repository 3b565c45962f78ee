"""Agent metrics: what only the agent knows, as samples and as columns of its own row.

Owns:      where each count stood when this agent started, so that a restart goes on.
Called by: control.agent, samples at each scrape and columns once a second.
"""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import fastgate

__all__ = ["ColumnFollower", "samples"]

Sample = tuple[str, Sequence[str], float]

_STALE_NEVER_S = 1e9  # shown for an origin never heard: older than any limit


class _Plan(Protocol):
    def column(self, name: str, *labels: str) -> int: ...


class _Row(Protocol):
    def get(self, column: int) -> int: ...

    def set(self, column: int, value: int) -> None: ...


class ColumnFollower:
    """Copies running totals of the agent into its row of the shared table.

    plan: Of the configuration in force. row: The agent's own row.
    """

    def __init__(self, plan: _Plan, row: _Row) -> None:
        self._plan = plan
        self._row = row
        self._bases: dict[int, int] = {}

    def follow(self, name: str, labels: Sequence[str], total: int) -> None:
        """Set a counter to its value before this agent plus `total` of this one."""
        try:
            column = self._plan.column(name, *labels)
        except KeyError:
            return  # an origin outside the plan has no series
        base = self._bases.setdefault(column, self._row.get(column))
        self._row.set(column, base + total)

    def follow_feed(self, feed: Mapping[str, Any]) -> None:
        """Copy what `Feed.status` counts by origin, and of the urgent path."""
        for line in feed["origins"]:
            origin = line["origin"]
            self.follow(
                "fastgate_revocation_feed_gaps_total", [origin], line.get("gaps", 0)
            )
            for cause, count in line.get("rejected", {}).items():
                self.follow(
                    "fastgate_revocation_feed_rejected_total", [origin, cause], count
                )
        for result, count in feed["urgent"]["heard"].items():
            self.follow("fastgate_revocation_urgent_total", [result], count)

    def follow_reloads(self, counts: Mapping[str, int]) -> None:
        """Copy how many reloads came to what."""
        for result, count in counts.items():
            self.follow("fastgate_config_reloads_total", [result], count)

    def follow_intake(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Copy what came of each notice, by the way it came."""
        for labels, count in counts.items():
            self.follow("fastgate_intake_total", labels, count)


def samples(status: Mapping[str, Any]) -> Iterator[Sample]:
    """Yield the samples that follow from an agent's status."""
    yield (
        "fastgate_build_info",
        (fastgate.__version__, platform.python_version(), status["commit"]),
        1.0,
    )
    yield "fastgate_process_up", ("agent", "0"), 1.0
    for worker in status["workers"]:
        yield (
            "fastgate_process_up",
            ("worker", str(worker["slot"])),
            float(worker["up"]),
        )
    yield (
        "fastgate_config_last_reload_success_timestamp_seconds",
        (),
        status["config"]["since"],
    )
    for issuer in status["keys"]:
        alias = issuer["alias"]
        yield "fastgate_jwks_keys", (alias,), float(len(issuer["keys"]))
        if issuer["age_s"] is not None:
            yield (
                "fastgate_jwks_last_success_timestamp_seconds",
                (alias,),
                time.time() - issuer["age_s"],
            )
    entries = status["revocations"]["entries"]
    yield "fastgate_revocation_entries", ("all",), float(entries)
    feed = status["feed"]
    for line in feed["origins"]:
        age_s = _STALE_NEVER_S if line["age_s"] is None else line["age_s"]
        origin = (line["origin"],)
        yield "fastgate_revocation_feed_staleness_seconds", origin, age_s
        yield "fastgate_revocation_feed_connected", origin, float(feed["connected"])
    for alarm in status["alarms"]:
        labels = (alarm["alarm"], alarm["dependency"])
        yield "fastgate_alarm_active", labels, 1.0
