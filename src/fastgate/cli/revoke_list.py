"""Revoke list: `fastgate revoke --list` shows the revocations that a gateway knows.

Owns:      the table of revocations; how many pages are asked for.
Called by: cli.revoke.
Source:    DESIGN.md section 10. There is no identifier to show: a gateway has hashes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from fastgate.cli.admin_client import AdminClient, ask, plain
from fastgate.cli.output import is_terminal, print_line, show, working

__all__ = ["list_revocations"]

_COLUMNS = ("id", "origin", "kind", "tokens issued", "until", "state")
_PAGE = 1_000
# Reason: what a terminal can show of ten million; --json goes on with --cursor.
_MAX_PAGES = 100


def list_revocations(
    gateway: AdminClient,
    *,
    origin: str | None,
    kind: str | None,
    live: bool,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """Print at most about `limit` revocations, and where to go on."""
    found: list[dict[str, Any]] = []
    at = cursor
    with working("Listing"):
        for _ in range(_MAX_PAGES):
            asked = {
                "limit": str(min(_PAGE, limit - len(found))),
                "live": "true" if live else "false",
                "origin": origin,
                "kind": kind,
                "cursor": at,
            }
            query = urlencode({name: v for name, v in asked.items() if v is not None})
            page = ask(gateway, "GET", f"/v1/revocations?{query}").document
            found += page.get("revocations", [])
            at = page.get("next")
            if at is None or len(found) >= limit:
                break
    document = {"revocations": found, "next": at}
    show(document, _COLUMNS, _rows(found), as_json=as_json)
    if at is not None and is_terminal() and not as_json:
        print_line((f"There are more: --cursor {plain(at)}", ""))


def _rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for each in found:
        before = each.get("issued_before")
        yield (
            plain(each.get("id") or "unknown"),
            plain(each.get("origin")),
            plain(each.get("kind")),
            "all" if before is None else f"to {_moment(before)}",
            _moment(each.get("expires", 0)),
            "lifted" if each.get("lifted") else "in force",
        )


def _moment(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M:%S}Z"
