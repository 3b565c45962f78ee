"""Bus: `fastgate bus init` makes or checks what gateways need on the bus's server.

Owns:      the outcome's text, its JSON and its exit code.
Called by: cli.main.
Source:    ECOSYSTEM.md section 9.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from fastgate.cli.admin_client import JsonOption
from fastgate.cli.output import (
    EXIT_CONFIG,
    EXIT_FAILURE,
    EXIT_UNAVAILABLE,
    fail,
    print_json,
    print_line,
    working,
)
from fastgate.domain.layout import Line, Standing
from fastgate.errors import ControlError, StartError

__all__ = ["command"]

command = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_STYLES = {
    Standing.OK: "green",
    Standing.MADE: "cyan",
    Standing.ADVICE: "yellow",
    Standing.MISSING: "bold red",
    Standing.DIFFERS: "bold red",
}


@command.callback()
def group() -> None:
    """Look after the server that carries revocations."""


@command.command()
def init(
    check: Annotated[
        bool, typer.Option("--check", help="Make nothing, only say what differs.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Has `revocation.bus`. Unset: FASTGATE_CONFIG, ./fastgate.yaml.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the streams that are missing, and say line by line what differs.

    What is there is never changed. Exits with 1 if anything differs from what a gateway
    needs, with 69 if the server cannot be asked, and with 78 if this installation has
    no client for that bus or cannot use the files of `revocation.tls`.

    Example: fastgate bus init --check
    """
    from fastgate.config.load import load
    from fastgate.wiring.buses import inspect_bus

    rules = load(config).require()
    try:
        with working("Asking the bus"):
            lines = asyncio.run(inspect_bus(rules, make=not check))
    except ControlError as error:
        fail(f"{rules.revocation.bus}: {error}", EXIT_UNAVAILABLE)
    except StartError as error:
        # Not 1: a script would take it for a layout that differs.
        fail(str(error), EXIT_CONFIG)
    good = all(line.standing.is_good for line in lines)
    if as_json:
        print_json({"ok": good, "bus": rules.revocation.bus, "lines": _rows(lines)})
    else:
        _print(lines)
    raise typer.Exit(0 if good else EXIT_FAILURE)


def _rows(lines: Sequence[Line]) -> list[dict[str, str]]:
    return [
        {
            "standing": line.standing.value,
            "place": line.place,
            "setting": line.setting,
            "found": line.found,
            "wanted": line.wanted,
        }
        for line in lines
    ]


def _print(lines: Sequence[Line]) -> None:
    if not lines:
        print_line(("bus local: the journal is made by the gateway itself", ""))
    place = max((len(line.place) for line in lines), default=0)
    setting = max((len(line.setting) for line in lines), default=0)
    for line in lines:
        needs = "" if line.standing in {Standing.OK, Standing.MADE} else line.wanted
        what = f"  {line.place:<{place}}  {line.setting:<{setting}}  {line.found}"
        print_line(
            (f"{line.standing:<7}", _STYLES[line.standing]),
            (what.rstrip(), ""),
            (f", needs {needs}" if needs else "", "bold"),
        )
