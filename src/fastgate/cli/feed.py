"""Feed: `fastgate feed` shows, compares and adopts what revocations come from.

Owns:      the tables of status and verify, and their exit codes.
Called by: cli.main.
Source:    REVOCATION.md sections 2 and 4.
"""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from fastgate.cli.admin_client import (
    AdminClient,
    AdminOption,
    ConfigOption,
    JsonOption,
    ask,
    client,
    plain,
)
from fastgate.cli.output import (
    EXIT_FAILURE,
    EXIT_USAGE,
    fail,
    is_terminal,
    print_json,
    print_line,
    show,
    working,
)

__all__ = ["command"]

command = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = ("origin", "state", "age", "position", "lag", "gaps", "replays", "refused")
_COMPARED = ("origin", "publisher", "number", "outcome")
# Reason: one of the two may be a second behind, and catches up in as much.
_TRIES = 5
_PAUSE_S = 0.5


@command.callback()
def group() -> None:
    """Show, compare and adopt what revocations come from."""


@command.command()
def status(
    admin: AdminOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show how far each origin was read, and what is kept of it.

    Example: fastgate feed status
    """
    feed = ask(client(admin, config), "GET", "/v1/status").document.get("feed", {})
    rows = [_row(line) for line in feed.get("origins", [])]
    show(feed, _COLUMNS, rows, as_json=as_json)
    urgent = feed.get("urgent")
    if urgent and is_terminal() and not as_json:
        print_line((_urgent(urgent), ""))


def _urgent(urgent: dict[str, Any]) -> str:
    heard = urgent.get("heard") or {}
    counts = (f"{plain(name)} {plain(count)}" for name, count in heard.items() if count)
    said = f"{plain(urgent.get('said'))} sent, {plain(urgent.get('unsaid'))} not"
    return f"urgent path: {said} · heard: {', '.join(counts) or 'nothing'}"


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    age = line.get("age_s")
    by = line.get("adopted_by")
    origin = plain(line.get("origin")) + (f" (by {plain(by)})" if by else "")
    return (
        origin,
        plain(line.get("state")),
        "never" if age is None else f"{age:.1f} s",
        *(plain(line.get(name, 0)) for name in ("position", "lag", "gaps", "replays")),
        plain(sum((line.get("rejected") or {}).values())),
    )


@command.command()
def verify(
    other: Annotated[
        str, typer.Option("--with", metavar="ADMIN", help="The other node's admin API.")
    ],
    admin: AdminOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the digests of two nodes, publisher by publisher.

    Exits with 1 if one of them has something that the other one lacks.

    Example: fastgate feed verify --with 10.0.0.2:8085
    """
    first, second = client(admin, config), client(other, None)
    with working("Comparing"):
        lines = _compare(first, second)
    good = all(line["outcome"] == "equal" for line in lines)
    if as_json:
        print_json({"equal": good, "publishers": lines})
    else:
        rows = [tuple(plain(line[name]) for name in _COMPARED) for line in lines]
        show(lines, _COMPARED, rows, as_json=False)
    if not good:
        raise typer.Exit(EXIT_FAILURE)


def _compare(first: AdminClient, second: AdminClient) -> list[dict[str, Any]]:
    said = ask(first, "POST", "/v1/feed/digests", {}).document
    marks = {
        f"{origin}/{publisher}": str(line["last"])
        for origin, publishers in said["origins"].items()
        for publisher, line in publishers.items()
    }
    body = {"wall": said["wall"], "marks": marks}
    lines: list[dict[str, Any]] = []
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        answer = ask(second, "POST", "/v1/feed/digests", body).document
        lines = list(_lines(said["origins"], answer["origins"]))
        if not any(line["outcome"] == "behind" for line in lines):
            break
    return lines


def _lines(first: dict[str, Any], second: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for origin, publishers in sorted(first.items()):
        for publisher, line in sorted(publishers.items()):
            other = second.get(origin, {}).get(publisher)
            yield {
                "origin": origin,
                "publisher": publisher,
                "number": line["last"],
                "outcome": _outcome(line, other),
            }


def _outcome(line: dict[str, Any], other: dict[str, Any] | None) -> str:
    if other is None:
        # Nothing alive of it may be known here; then both sums are nothing.
        return "equal" if line["digest"] == "0" * 32 else "unknown there"
    if other["last"] < line["last"]:
        return "behind"
    if None in {line["digest"], other["digest"]}:
        return "cannot be told"
    return "equal" if line["digest"] == other["digest"] else "differs"


@command.command()
def adopt(
    region: Annotated[str, typer.Argument(help="The region that is gone for good.")],
    by: Annotated[
        str, typer.Option("--by", help="The region that speaks for it from now on.")
    ],
    admin: AdminOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a region speak for one that is gone for good; asked of a gateway of it.

    Example: fastgate feed adopt ap --by eu
    """
    gateway = client(admin, config)
    here = ask(gateway, "GET", "/v1/status").document.get("region")
    if here != by:
        fail(f"that gateway is of {plain(here)}: ask one of {plain(by)}", EXIT_USAGE)
    with working("Adopting"):
        answer = ask(gateway, "POST", "/v1/feed/adopt", {"region": region}).document
    if as_json:
        print_json(answer)
        return
    age = answer.get("proven_s")
    gap = "never complete here" if age is None else f"complete as of {age:.1f} s ago"
    count = answer.get("events")
    print_line((f"{by} speaks for {region} · {count} events · {gap}", ""))
