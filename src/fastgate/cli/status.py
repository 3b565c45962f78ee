"""Status: `fastgate status` shows regions, freshness and workers of a running gateway.

Owns:      the table of origins; the picture that --watch redraws. Other lines are
           cli.status_text's.
Called by: cli.main.
Source:    ECOSYSTEM.md section 6.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from fastgate.cli.admin_client import (
    AdminClient,
    AdminOption,
    AskError,
    ConfigOption,
    JsonOption,
    ask,
    client,
    plain,
)
from fastgate.cli.output import is_terminal, print_json, print_line, print_table
from fastgate.cli.status_text import status_lines
from fastgate.config.values import format_duration

__all__ = ["command"]

_PERIOD_S = 1.0
_CLEAR = "\x1b[H\x1b[2J"
_COLUMNS = ("origin", "publishers", "position", "lag", "age", "path", "gaps", "state")


def command(
    watch: Annotated[
        bool, typer.Option("--watch", help="Redraw each second until Ctrl-C.")
    ] = False,
    admin: AdminOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show regions, freshness of revocations, workers and alarms.

    Example: fastgate status --watch
    """
    gateway = client(admin, config)
    as_json = as_json or not is_terminal()
    if not watch:
        _print(ask(gateway, "GET", "/v1/status").document, as_json=as_json)
        return
    try:
        while True:
            _redraw(gateway, as_json=as_json)
            _pause()
    except KeyboardInterrupt:
        return


def _pause() -> None:
    time.sleep(_PERIOD_S)


def _redraw(gateway: AdminClient, *, as_json: bool) -> None:
    try:
        status = gateway.ask("GET", "/v1/status").document
    except AskError as error:
        # A gateway that restarts comes back; who watches wants to see just that.
        print(f"fastgate: {error}", file=sys.stderr)
        return
    if not as_json:
        print(_CLEAR, end="")
    _print(status, as_json=as_json)


def _print(status: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(status)
        return
    print_line((_summary(status), "bold"))
    feed = status.get("feed") or {}
    print_table(_COLUMNS, map(_origin, feed.get("origins", [])))
    workers = status.get("workers", [])
    up = sum(bool(worker.get("up")) for worker in workers)
    old = sum(not worker.get("current") for worker in workers if worker.get("up"))
    behind = f", {old} on an old configuration" if old else ""
    print_line((f"workers {up} of {len(workers)} up{behind}", ""))
    for text, style in status_lines(status):
        print_line((plain(text), style))
    for alarm in status.get("alarms", []):
        print_line((_alarm(alarm), "bold red"))


def _summary(status: dict[str, Any]) -> str:
    state = "ready" if status.get("ready") else "not ready"
    if status.get("draining"):
        state = "draining"
    up_for = timedelta(seconds=int(status.get("uptime_s", 0)))
    config = status.get("config") or {}
    feed = status.get("feed") or {}
    bus = "connected" if feed.get("connected") else "not connected"
    parts = (
        f"{status.get('node')} in {status.get('region')}",
        state,
        f"up {format_duration(up_for)}",
        f"configuration {config.get('version')} {config.get('hash')}",
        f"bus {feed.get('bus')} {bus}",
    )
    return plain(" · ".join(parts))


def _origin(line: dict[str, Any]) -> tuple[str, ...]:
    age_s = line.get("age_s")
    publishers = line.get("publishers")
    cells = (
        line.get("origin"),
        "–" if publishers is None else len(publishers),  # noqa: RUF001 - a dash
        line.get("position", "–"),  # noqa: RUF001
        line.get("lag"),
        "never" if age_s is None else f"{age_s:.1f} s",
        line.get("path"),
        line.get("gaps"),
        str(line.get("state")).replace("_", " "),
    )
    return tuple(map(plain, cells))


def _alarm(alarm: dict[str, Any]) -> str:
    since = datetime.fromtimestamp(alarm.get("since", 0), UTC)
    name = f"{alarm.get('alarm')} {alarm.get('dependency')}"
    return plain(f"alarm {name} since {since:%H:%M:%S}Z")
