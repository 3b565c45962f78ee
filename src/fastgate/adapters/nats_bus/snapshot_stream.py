"""NATS snapshot stream: what the stream of a region's saved states must be like.

Owns:      the settings of one made here, and which of them one must have.
Called by: adapters.nats_bus.shelf and adapters.nats_bus.layout.
Source:    ECOSYSTEM.md section 9. One message a subject and two places for a state: the
           size is bounded whoever writes, and nothing has to be purged.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.adapters.nats_bus.answers import snapshot_name
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.domain.layout import Line, judged
from fastgate.errors import ControlError

__all__ = ["refuse_other", "snapshot_config", "snapshot_lines", "snapshot_room"]

_NS = 10**9
# Reason: cards; beside them, a hundredth of a state is subjects and headers.
_CARDS_BYTES = 1 << 20
_PLACES = 2
_UNBOUNDED = 1 << 62


def snapshot_config(settings: NatsSettings, region: str) -> dict[str, Any]:
    """Return the stream of a region's saved states as it is made."""
    size = settings.snapshot_bytes
    return {
        "name": snapshot_name(region),
        "subjects": [f"fg.snap.{region}.*.*"],
        "storage": "file",
        "retention": "limits",
        "num_replicas": settings.replicas,
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_bytes": _PLACES * (size + size // 50) + _CARDS_BYTES,
        "max_age": max(1, settings.least_age_s) * _NS,
        "allow_direct": True,
    }


def snapshot_room(config: Mapping[str, Any]) -> int:
    """Return how many bytes a state in such a stream may have."""
    size = config.get("max_bytes", -1)
    if not isinstance(size, int) or size <= 0:
        return _UNBOUNDED
    return max(0, (size - _CARDS_BYTES) // _PLACES * 100 // 101)


def _wanted(region: str) -> dict[str, Any]:
    return {
        "subjects": [f"fg.snap.{region}.*.*"],
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "allow_direct": True,
    }


def refuse_other(region: str, config: object) -> None:
    """Refuse a stream that keeps states otherwise. Raises ControlError."""
    found = config if isinstance(config, dict) else {}
    for name, want in _wanted(region).items():
        if found.get(name) != want:
            raise ControlError(f"{snapshot_name(region)} needs {name} {_text(want)}")


def snapshot_lines(
    settings: NatsSettings, region: str, found: Mapping[str, Any]
) -> Iterator[Line]:
    """Yield a line for each setting that saved states need; all of them advice."""
    place = f"stream {snapshot_name(region)}"
    for name, want in _wanted(region).items():
        has = found.get(name)
        good = has == want
        yield judged(place, name, _text(has), _text(want), good=good, advice=True)
    size, want = found.get("max_bytes", -1), snapshot_config(settings, region)
    enough = snapshot_room(found) >= settings.snapshot_bytes
    wide = f"{want['max_bytes']} or more, or -1"
    yield judged(place, "max_bytes", size, wide, good=enough, advice=True)


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
