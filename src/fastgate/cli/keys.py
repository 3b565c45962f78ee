"""Keys: `fastgate keys` shows the keys of a running gateway's issuers.

Owns:      the table of keys.
Called by: cli.main.
Source:    DESIGN.md section 10.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from fastgate.cli.admin_client import (
    AdminOption,
    ConfigOption,
    JsonOption,
    ask,
    client,
    plain,
)
from fastgate.cli.output import EXIT_UNAVAILABLE, fail, show, working
from fastgate.config.values import format_duration

__all__ = ["command"]

_COLUMNS = ("issuer", "kid", "algorithms", "state", "first seen", "source", "refresh")


def command(
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Fetch the keys now, then show them.")
    ] = False,
    issuer: Annotated[
        str | None, typer.Option(help="Alias; unset: all issuers.")
    ] = None,
    admin: AdminOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each issuer's keys, how old they are and when they are fetched again.

    Exits with 69 if --refresh could not fetch.

    Example: fastgate keys --refresh --issuer login
    """
    gateway = client(admin, config)
    failed: list[str] = []
    if refresh:
        with working("Fetching keys"):
            body = {"issuer": issuer, "wait": "local"}
            outcome = ask(gateway, "POST", "/v1/jwks/refresh", body).document
        failed = [
            plain(f"{alias}: {each.get('error') or 'not fetched'}")
            for alias, each in outcome.items()
            if not each.get("ok")
        ]
    keys = ask(gateway, "GET", "/v1/status").document.get("keys", [])
    if issuer is not None:
        keys = [each for each in keys if each.get("alias") == issuer]
    rows = [row for each in keys for row in _rows(each)]
    show(keys, _COLUMNS, rows, as_json=as_json)
    if failed:
        fail("; ".join(failed), EXIT_UNAVAILABLE)


def _rows(issuer: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    alias = plain(issuer.get("alias"))
    source = plain(issuer.get("source"))
    next_s = issuer.get("next_refresh_s")
    refresh = "–" if next_s is None else f"in {_span(next_s)}"  # noqa: RUF001 - a dash
    for key in issuer.get("keys", []):
        yield (
            alias,
            plain(key.get("kid")),
            plain(", ".join(key.get("algorithms", []))),
            plain(key.get("state")),
            _moment(key.get("first_seen", 0)),
            source,
            refresh,
        )
    if not issuer.get("keys"):
        why = plain(issuer.get("last_error") or "no keys yet")
        yield (alias, "none", "", why, "", source, refresh)


def _span(seconds: float) -> str:
    return format_duration(timedelta(seconds=int(seconds)))


def _moment(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M}Z"
