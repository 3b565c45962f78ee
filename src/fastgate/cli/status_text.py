"""Status text: what `fastgate status` says of a gateway below the table of its origins.

Owns:      the words; values come as `/v1/status` has them.
Called by: cli.status.
Source:    PROTOCOLS.md sections 6 to 9; REVOCATION.md section 2 (`feed adopt`).

A line is there where there is something to tell: a gateway without ways in has none.
"""

from collections.abc import Iterator
from typing import Any

__all__ = ["status_lines"]

Line = tuple[str, str]

_BAD = "bold red"


def status_lines(status: dict[str, Any]) -> Iterator[Line]:
    """Yield lines and their styles; texts may hold what issuers sent."""
    feed = status.get("feed") or {}
    intake = status.get("intake") or {}
    yield from _adopted(feed)
    yield from _urgent(feed.get("urgent") or {})
    yield from _ways(intake.get("ways") or {})
    for stream in intake.get("streams") or ():
        yield _stream(stream)
    for poll in intake.get("polls") or ():
        yield _poll(poll)
    for each in status.get("status_lists") or ():
        yield _list(each)
    canaries = (feed.get("canaries") or {}).get("origins") or {}
    if canaries:
        said = ", ".join(_window(*item) for item in canaries.items())
        yield f"canaries refused after, p50 / p99: {said}", ""


def _adopted(feed: dict[str, Any]) -> Iterator[Line]:
    for origin in feed.get("origins") or ():
        if origin.get("adopted_by"):
            name, by = origin.get("origin"), origin["adopted_by"]
            yield f"adopted: {by} speaks for {name}", "yellow"


def _urgent(urgent: dict[str, Any]) -> Iterator[Line]:
    heard = urgent.get("heard") or {}
    if not urgent.get("said") and not urgent.get("unsaid") and not any(heard.values()):
        return
    came = ", ".join(f"{count} {result}" for result, count in heard.items() if count)
    unsaid = urgent.get("unsaid") or 0
    parts = [f"urgent: {urgent.get('said', 0)} said"]
    if unsaid:
        parts.append(f"{unsaid} not said")
    if came:
        parts.append(f"heard {came}")
    yield ", ".join(parts), _BAD if unsaid else ""


def _ways(ways: dict[str, dict[str, int]]) -> Iterator[Line]:
    said = (
        f"{way} {', '.join(f'{count} {result}' for result, count in results.items())}"
        for way, results in ways.items()
    )
    text = "; ".join(said)
    if text:
        yield f"ways in: {text}", ""


def _stream(line: dict[str, Any]) -> Line:
    state, limit_s = line.get("state"), line.get("max_silence_s")
    heard_s = line.get("heard_s")
    text = (
        f"stream of {line.get('issuer')}: {state}, heard {_ago(heard_s)}, "
        f"verified {_ago(line.get('verified_s'))}"
    )
    # One that was never heard is judged by its alarm: this does not know since when.
    mute = limit_s is not None and heard_s is not None and heard_s > limit_s
    return text, _BAD if mute or state in {"paused", "disabled"} else ""


def _poll(line: dict[str, Any]) -> Line:
    text = f"poll of {line.get('issuer')}: answered {_ago(line.get('answered_s'))}"
    error = line.get("error")
    return (f"{text}, now {error}", _BAD) if error else (text, "")


def _list(line: dict[str, Any]) -> Line:
    fresh_s, error = line.get("fresh_s") or 0.0, line.get("error")
    holds = f"holds for {fresh_s:.0f} s" if fresh_s else "stale"
    text = (
        f"status list of {line.get('issuer')} {line.get('uri')}: {holds}, "
        f"fetched {_ago(line.get('age_s'))}, next in {line.get('next_s') or 0.0:.0f} s"
    )
    text = f"{text}, last {error}" if error else text
    return text, _BAD if error or not fresh_s else ""


def _window(origin: str, window: dict[str, Any]) -> str:
    half_ms, almost_ms = window.get("p50_ms"), window.get("p99_ms")
    missed = f", {window['missed']} not refused" if window.get("missed") else ""
    if half_ms is None or almost_ms is None:
        return f"{origin} never{missed}"
    return f"{origin} {half_ms:.1f} / {almost_ms:.1f} ms{missed}"


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s ago"
