"""Check: `fastgate check` prints every problem of a configuration at once.

Owns:      the outcome's text, its JSON and its exit code.
Called by: cli.main.
Source:    ECOSYSTEM.md sections 2 and 6.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from fastgate.cli.output import (
    EXIT_CONFIG,
    EXIT_UNAVAILABLE,
    print_json,
    print_line,
    working,
)
from fastgate.config.load import Loaded, load
from fastgate.config.problems import (
    Level,
    Problem,
    in_order,
    problem_documents,
    summary,
)

__all__ = ["command"]

_STYLES = {Level.ERROR: "bold red", Level.WARN: "yellow", Level.INFO: "cyan"}


def command(
    file: Annotated[
        str | None,
        typer.Argument(help="Unset: FASTGATE_CONFIG, else ./fastgate.yaml."),
    ] = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Reach issuers, upstreams and the bus."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings fail the check too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a configuration: every problem at once, and the bound of each route.

    Exits with 78 if the configuration is wrong and with 69 if --online did not reach
    something.

    Example: fastgate check fastgate.yaml --online
    """
    loaded = load(file)
    unreached: list[Problem] = []
    if online and loaded.config is not None:
        with working("Reaching issuers, upstreams and the bus"):
            unreached = _probe(loaded)
    problems = in_order([*loaded.problems, *unreached])
    warned = any(problem.level is Level.WARN for problem in problems)
    code = EXIT_CONFIG if loaded.errors or (strict and warned) else 0
    code = code or (EXIT_UNAVAILABLE if unreached else 0)
    if as_json:
        document = {
            "ok": code == 0,
            "file": loaded.file,
            "source_hash": loaded.source_hash,
            "summary": summary(problems),
            "problems": problem_documents(problems),
        }
        print_json(document)
    else:
        _print(problems)
    raise typer.Exit(code)


def _probe(loaded: Loaded) -> list[Problem]:
    from fastgate.cli.online import probe

    unreached = asyncio.run(probe(loaded.require()))
    return [loaded.problem(Level.ERROR, path, why) for path, why in unreached]


def _print(problems: Sequence[Problem]) -> None:
    width = max((len(problem.place) for problem in problems), default=0)
    for problem in problems:
        path = f"{problem.path}: " if problem.path else ""
        print_line(
            (f"{problem.place:<{width}}  ", ""),
            (f"{problem.level:<5}", _STYLES[problem.level]),
            (f"  {path}{problem.message}", ""),
        )
    print_line((summary(problems), "bold"))
