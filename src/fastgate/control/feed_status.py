"""Feed status: what people, probes and alarms are told of the feed.

Owns:      nothing; every value is read from the feed when it is asked for.
Called by: control.feed.
Source:    DESIGN.md section 8 (alarms at 5 s and 10 s; not ready until caught up).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastgate.control.origin import OriginState, OriginTracker

if TYPE_CHECKING:
    from fastgate.control.feed import Feed

__all__ = ["digests", "raise_alarms", "ready", "status"]

_SKEW_S = 2.0
# Reason: an answer of 201 takes milliseconds; a second is worth a name in an alarm.
_PENDING_ALARM_NS = 1_000_000_000


def status(feed: "Feed") -> dict[str, Any]:
    """Return the feed's section of `/v1/status`."""
    oldest = _oldest(feed)
    return {
        "bus": feed.bus.name,
        "connected": feed.bus_up,
        "region": feed.region,
        "node": feed.node,
        "standalone": feed.standalone,
        "promise": "this host only" if feed.standalone else "all regions",
        "publisher": feed.publisher.name,
        "pending": {
            "count": feed.publisher.pending + feed.handover.pending,
            "oldest_id": oldest[0] if oldest else None,
            "oldest_s": _seconds(feed, oldest[1]) if oldest else 0.0,
        },
        "origins": [_origin(feed, origin) for origin in feed.origins],
        "nodes": {name: dict(at) for name, at in feed.receipts.positions().items()},
        "rejected_reports": feed.receipts.rejected,
        "urgent": feed.urgent.status(),
        "events": feed.enforcement.store.stats(),
        "restored": feed.restoring.restored,
        "snapshot": {
            "serial": feed.snapshots.serial,
            "loaded": feed.snapshots.loaded,
            "saved_s": _seconds(feed, feed.snapshots.saved_ns)
            if feed.snapshots.saved_ns
            else None,
            "bus": feed.base.status(),
        },
        "alarms": sorted(feed.alarms_on),
        "canaries": feed.canaries.status(),
    }


def ready(feed: "Feed") -> tuple[bool, list[dict[str, Any]]]:
    """Return whether every origin was once proven complete, and a line for each."""
    lines = []
    for origin in feed.origins:
        # With a hash key that others contradict, what was proven means nothing.
        proven = _evidence_ns(feed, origin) > 0 and not feed.keys.in_doubt
        state = _state(feed, origin)
        lines.append({"origin": origin, "ready": proven, "state": state.value})
    return all(line["ready"] for line in lines), lines


def digests(
    feed: "Feed", wall_s: int | None, marks: Mapping[str, int] | None
) -> dict[str, Any]:
    """Return numbers and digests of what was read, by origin and publisher.

    wall_s: Seconds; events that are alive then, by default now.
    marks: By `<origin>/<publisher>`; others are not told. None: what was read last.
    """
    wall_s = int(feed.clock.wall_s()) if wall_s is None else wall_s
    said: dict[str, dict[str, Any]] = {}
    for origin, tracker in feed.trackers.items():
        said[origin] = {}
        for publisher, last in tracker.publishers().items():
            mark = last if marks is None else marks.get(f"{origin}/{publisher}")
            if mark is not None:
                digest = tracker.digest(publisher, min(mark, last), wall_s)
                shown = None if digest is None else f"{digest:032x}"
                said[origin][publisher] = {"last": last, "digest": shown}
    return {"node": feed.node, "region": feed.region, "wall": wall_s, "origins": said}


def raise_alarms(feed: "Feed") -> None:
    """Set or clear the alarms that follow from what is known; called each second."""
    now_ns = feed.clock.boot_ns()
    limit_ns = int(feed.settings.max_staleness_s * 1e9)
    for origin in feed.origins:
        # Nothing is late that was never due: the first evidence takes a second or two.
        age_ns = now_ns - max(_evidence_ns(feed, origin), feed.started_ns)
        cause = _cause(feed, origin, now_ns - limit_ns // 2)
        for name, past_ns in (
            ("revocation_age", limit_ns // 2),
            ("revocation_stale", limit_ns),
        ):
            _say_late(feed, name, origin, cause if age_ns > past_ns else "")
    max_token_s = feed.settings.lifetimes.max_token_s
    others = feed.keys.contradicting()
    feed.alarm("hash_key", "markers", feed.keys.in_doubt)
    for origin, tracker in feed.trackers.items():
        _check_clock(feed, origin, tracker, now_ns)
        feed.alarm("hash_key", origin, tracker.blind or origin in others)
        said_s = tracker.marker.max_token_lifetime if tracker.marker else 0
        # Its tokens may outlive what this region keeps of its own revocations.
        feed.alarm("token_lifetime", origin, said_s > max_token_s)
    oldest = _oldest(feed)
    named = oldest[0] if oldest and now_ns - oldest[1] > _PENDING_ALARM_NS else None
    for name, id_ in list(feed.alarms_on):
        if name == "revocation_pending" and id_ != named:
            feed.alarm(name, id_, False)
    if named is not None:
        feed.alarm("revocation_pending", named, True)


def _cause(feed: "Feed", origin: str, since_ns: int) -> str:
    """Return which dependency keeps this node from knowing an origin's state.

    since_ns: A marker heard before that is an old one.
    """
    if feed.standalone:
        return "journal"
    if not feed.bus_up:
        return "bus"
    if ("stream", origin) in feed.alarms_on:
        return "stream"
    # No marker: the origin is silent, or its link is cut. Markers, and still old: what
    # they speak of is not all here.
    return "markers" if feed.trackers[origin].marker_ns < since_ns else "gap"


def _say_late(feed: "Feed", name: str, origin: str, cause: str) -> None:
    """Set an alarm that names origin and dependency; clear what it said before."""
    named = f"{origin}: {cause}" if cause else ""
    for known, dependency in list(feed.alarms_on):
        about = dependency.partition(":")[0]
        if known == name and about == origin and dependency != named:
            feed.alarm(known, dependency, False)
    if named:
        feed.alarm(name, named, True)


def _check_clock(
    feed: "Feed", origin: str, tracker: OriginTracker, now_ns: int
) -> None:
    # Only the newest marker, and only where its age is known: then both walls are too.
    if tracker.marker is None or tracker.proof is None:
        return
    wall_then, proven_ns = tracker.proof
    expected = wall_then + (now_ns - proven_ns) / 1e9
    # The proof is a lower bound, so a true clock may seem ahead by one round trip.
    ahead_s = expected - feed.clock.wall_s()
    feed.alarm("clock", origin, abs(ahead_s) > _SKEW_S + feed.settings.tick_s)


def _oldest(feed: "Feed") -> tuple[str, int] | None:
    waiting = feed.publisher.oldest()
    own = (waiting.kept.event.id, waiting.since_ns) if waiting else None
    handed = feed.handover.oldest()
    return min((x for x in (own, handed) if x), key=lambda x: x[1], default=None)


def _evidence_ns(feed: "Feed", origin: str) -> int:
    return feed.proofs.of(origin)


def _seconds(feed: "Feed", since_ns: int) -> float:
    return round((feed.clock.boot_ns() - since_ns) / 1e9, 3)


def _state(feed: "Feed", origin: str) -> OriginState:
    now_ns = feed.clock.boot_ns()
    limit_ns = int(feed.settings.max_staleness_s * 1e9)
    proven_ns = _evidence_ns(feed, origin)
    fresh = proven_ns and now_ns - proven_ns <= limit_ns
    if not feed.standalone and origin not in feed.adoption.speaker:
        state = feed.trackers[origin].state(now_ns, limit_ns)
        if fresh or state is not OriginState.FRESH:
            return state
        return OriginState.STALE  # all of it was read, and some is not in force
    if not proven_ns:
        return OriginState.NEVER_HEARD
    return OriginState.FRESH if fresh else OriginState.STALE


def _origin(feed: "Feed", origin: str) -> dict[str, Any]:
    evidence_ns = _evidence_ns(feed, origin)
    line: dict[str, Any] = {
        "origin": origin,
        "state": _state(feed, origin).value,
        "age_s": _seconds(feed, evidence_ns) if evidence_ns else None,
    }
    if feed.standalone:
        return line | {"path": "journal", "gaps": 0, "lag": 0}
    tracker, reader = feed.trackers[origin], feed.readers[origin]
    marker = tracker.marker
    marks = marker.marks if marker else {}
    read = tracker.publishers()
    return line | {
        "path": "live" if tracker.caught_up else "replay",
        "position": tracker.position,
        "lag": sum(max(0, m.last - read.get(p, 0)) for p, m in marks.items()),
        "publishers": read,
        "mark": {p: m.last for p, m in marks.items()},
        "writer": marker.writer if marker else None,
        "roster": list(marker.roster) if marker else [],
        "max_token_lifetime_s": marker.max_token_lifetime if marker else None,
        "gaps": tracker.gaps,
        "repeats": tracker.repeats,
        "replays": reader.replays,
        "rejected": {kind.value: n for kind, n in tracker.faults.items()},
        "fill": reader.fill,
        "adopted_by": feed.adoption.speaker.get(origin),
    }
