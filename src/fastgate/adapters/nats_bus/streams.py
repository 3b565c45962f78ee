"""NATS streams: what each origin's stream must be like.

Owns:      the settings of streams made here, and which of them a stream must have.
Called by: adapters.nats_bus.link and adapters.nats_bus.layout.
Source:    ECOSYSTEM.md section 9.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.adapters.nats_bus.answers import stream_name
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.domain.layout import Line, judged
from fastgate.errors import ControlError

__all__ = ["lines_of", "mirror_config", "refuse_lossy", "stream_config"]

_DUPLICATE_WINDOW_S = 120
_NS = 10**9
_LIVE = "fg.live.>"


def stream_config(settings: NatsSettings, origin: str) -> dict[str, Any]:
    """Return an origin's stream as it is made."""
    return {
        "name": stream_name(origin),
        "subjects": [f"fg.rev.{origin}.>"],
        "storage": "file",
        "retention": "limits",
        "num_replicas": settings.replicas,
        # Never drop a live revocation silently: the publisher gets an error.
        "discard": "new",
        "max_bytes": settings.max_bytes,
        "max_age": settings.max_age_s * _NS,
        "allow_msg_ttl": True,
        "allow_direct": True,
        "deny_delete": True,
        "duplicate_window": min(_DUPLICATE_WINDOW_S, settings.max_age_s) * _NS,
        "republish": {"src": "fg.rev.>", "dest": _LIVE},
    }


def mirror_config(settings: NatsSettings, origin: str, domain: str) -> dict[str, Any]:
    """Return the mirror of another region's stream as it is made.

    domain: JetStream domain of that region.
    """
    name = stream_name(origin)
    return {
        "name": name,
        "storage": "file",
        "num_replicas": settings.replicas,
        "allow_msg_ttl": True,
        "mirror_direct": True,
        "mirror": {
            "name": name,
            "external": {"api": f"$JS.{domain}.API", "deliver": ""},
        },
    }


def lines_of(
    settings: NatsSettings, origin: str, found: Mapping[str, Any]
) -> Iterator[Line]:
    """Yield a line for each setting that the promise rests on."""
    wanted = stream_config(settings, origin)
    place = f"stream {stream_name(origin)}"
    for name in ("subjects", "storage", "retention", "discard"):
        want = wanted[name]
        has = found.get(name)
        yield judged(place, name, _text(has), _text(want), good=has == want)
    for name in ("allow_msg_ttl", "allow_direct", "deny_delete"):
        has = bool(found.get(name))
        yield judged(place, name, has, "true", good=has)
    republish = found.get("republish")
    dest = republish.get("dest") if isinstance(republish, dict) else None
    yield judged(place, "republish", dest or "none", _LIVE, good=dest == _LIVE)
    age_s = _number(found.get("max_age")) // _NS
    least = settings.least_age_s
    good = age_s <= 0 or age_s >= least
    yield judged(place, "max_age", f"{age_s}s", f"{least}s or more, or 0s", good=good)
    for name in ("max_msgs", "max_msgs_per_subject"):
        count = _number(found.get(name, -1))
        yield judged(place, name, count, "-1", good=count <= 0)
    size = _number(found.get("max_bytes", -1))
    enough = size <= 0 or size >= settings.max_bytes
    # A smaller stream refuses earlier, and says so.
    wide = f"{settings.max_bytes} or more, or -1"
    yield judged(place, "max_bytes", size, wide, good=enough, advice=True)
    count = _number(found.get("num_replicas", 1))
    want_copies = f"{settings.replicas} or more"
    good = count >= settings.replicas
    yield judged(place, "num_replicas", count, want_copies, good=good)


def refuse_lossy(origin: str, config: object, least_age_s: int) -> None:
    """Refuse a stream that would lose events silently. Raises ControlError."""
    name = stream_name(origin)
    if not isinstance(config, dict):
        raise ControlError("a stream's configuration cannot be read")
    republish = config.get("republish")
    live = isinstance(republish, dict) and republish.get("dest") == _LIVE
    if not live or not config.get("allow_msg_ttl") or config.get("discard") != "new":
        raise ControlError(
            f"{name} needs republish to fg.live.>, allow_msg_ttl and discard new"
        )
    per_subject = config.get("max_msgs_per_subject")
    unbounded = per_subject is None or _number(per_subject) <= 0
    if config.get("retention", "limits") != "limits" or not unbounded:
        raise ControlError(
            f"{name} needs retention limits and no max_msgs_per_subject: it drops "
            "live events"
        )
    max_age = config.get("max_age", 0)
    if not isinstance(max_age, int) or 0 < max_age < least_age_s * _NS:
        raise ControlError(
            f"{name} keeps messages for less than {least_age_s} s, which is how long "
            "a revocation may live"
        )


def _number(value: object) -> int:
    # What is no number bounds something in a way that nobody knows.
    return value if isinstance(value, int) else 1


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
