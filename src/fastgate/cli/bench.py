"""Bench: `fastgate bench` measures stages and gateways, and gates CI by their budgets.

Owns:      the table of figures, the bar on stderr and the exit code.
Called by: cli.main.
Source:    DESIGN.md section 10.

The one module that imports `fastgate_bench`, and only when a bench runs: the suite
needs packages that a gateway does not.
"""

import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fastgate.cli.output import (
    EXIT_BUDGET,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    fail,
    is_terminal,
    print_json,
    print_line,
    print_table,
)

if TYPE_CHECKING:
    from fastgate_bench.figures import Figure
    from fastgate_bench.suite import Result

__all__ = ["command"]


def command(
    name: Annotated[
        str, typer.Argument(help="decision, relay, revocation, peers or window.")
    ],
    budget: Annotated[
        pathlib.Path | None,
        typer.Option("--budget", help="Limits (YAML); unset: those of the suite."),
    ] = None,
    out: Annotated[
        pathlib.Path | None,
        typer.Option("--out", help="Write NAME.json and NAME.html into this folder."),
    ] = None,
    results: Annotated[
        pathlib.Path | None,
        typer.Option(
            "--results",
            help="Keep it here, by kind of machine, and show what the last one was.",
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            "--target", help="relay: measure this URL, of any server that is yours."
        ),
    ] = "",
    token_file: Annotated[
        pathlib.Path | None,
        typer.Option("--token-file", help="relay: bearer tokens for it, one a line."),
    ] = None,
    status: Annotated[
        list[int] | None,
        typer.Option("--status", help="relay: what it may answer; 200 by default."),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            "--rate",
            min=0,
            help="Requests a second, open loop. 0: relay half of the maximum that it "
            "finds first, peers as fast as they answer.",
        ),
    ] = 0.0,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=0, max=600, help="Of each measurement; 0: 5, quick 0.5."
        ),
    ] = 0.0,
    rounds: Annotated[
        int,
        typer.Option("--rounds", min=0, max=9999, help="0: as the bench finds right."),
    ] = 0,
    connections: Annotated[
        int,
        typer.Option(
            "--connections", min=0, max=20_000, help="Open at a time; 0: 32, peers 64."
        ),
    ] = 0,
    churn: Annotated[
        int, typer.Option("--churn", min=0, help="Requests a connection; 0: no limit.")
    ] = 0,
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log", help="relay, peers: with the access log on everywhere."
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="window: of its faults; 0: another.")
    ] = 0,
    first: Annotated[
        int, typer.Option("--first", min=0, help="window: number of the first round.")
    ] = 0,
    keep: Annotated[
        pathlib.Path | None,
        typer.Option("--keep", help="window: folder that its logs stay in."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="See that it works; no figures to keep.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure, print figures and their budgets, exit with 99 when one is missed.

    decision: stages of the gate, in one process. relay: requests through a gateway
    against the direct call, what connections hold, good requests beside 10,000 others.
    revocation: look-ups, and revoke until refused. peers: CPU per request beside
    HAProxy, nginx and Envoy, where they are installed.

    window: rounds of faults, and the longest that a revoked token still worked in them.
    A run that is interrupted prints the rounds before that, and exits with 99.

    Wrk is used beside our own generator where it is installed, and the output says so.

    Example: fastgate bench relay --target http://127.0.0.1:8080/ --budget mine.yaml
    """
    suite, options = _load()
    if name not in suite.NAMES:
        fail(f"no bench `{name}`; there are {', '.join(suite.NAMES)}", EXIT_USAGE)
    if target and name != "relay":
        fail("--target belongs to `bench relay`", EXIT_USAGE)
    if results is not None and (quick or target):
        fail(
            "--results keeps full runs of fastgate: no --quick, no --target", EXIT_USAGE
        )
    chosen = options(
        quick=quick,
        target=target,
        token_file=token_file,
        statuses=tuple(status or (200,)),
        rate=rate,
        seconds=seconds,
        rounds=rounds,
        connections=connections,
        churn=churn,
        access_log=access_log,
        seed=seed,
        first=first,
        keep=keep,
    )
    with _bar(lines=name == "window") as tell:
        result: Result = suite.run(name, chosen, budget, tell, results)
    if as_json or not is_terminal():
        print_json(result.document())
    else:
        _print(result)
    for folder, write in ((out, result.write), (results, result.keep)):
        if folder is None:
            continue
        try:
            written = write(folder)
        except OSError as error:
            fail(f"{folder}: {error.strerror}")
        if is_terminal() and not as_json:
            print_line(("report: ", "dim"), (str(written[-1]), ""))
    if not result.ok:
        missing_only = result.only_absent
        raise typer.Exit(EXIT_UNAVAILABLE if missing_only else EXIT_BUDGET)


def _load() -> tuple[Any, Any]:
    """Return the suite and its options; the extra may not be installed."""
    try:
        from fastgate_bench import suite
        from fastgate_bench.options import Options
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "fastgate":
            raise
        fail(f"bench needs {error.name}: pip install 'fastgate[bench]'")
    return suite, Options


@contextlib.contextmanager
def _bar(*, lines: bool) -> Iterator[Callable[[str, float], None]]:
    """Show how far a run is on stderr; nothing where nobody looks.

    lines: A run that takes long enough to be looked at in a log: a line a step there.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("starting", total=1.0)

        def tell(text: str, done: float) -> None:
            progress.update(task, description=text, completed=done)
            if lines and not console.is_terminal:
                print(f"{done:4.0%} {text}", file=sys.stderr, flush=True)

        yield tell


def _print(result: "Result") -> None:
    from fastgate_bench.figures import DETAILS, quantity
    from fastgate_bench.report import verdict

    machine = result.machine
    print_line(
        (f"{machine['cpu']}, {machine['cores']} cores, ", "dim"),
        (f"Linux {machine['kernel']}, Python {machine['python']}, ", "dim"),
        (f"fastgate {machine['fastgate']} {result.commit}", "dim"),
    )
    for name, value in result.measured.conditions.items():
        print_line((f"{name.replace('_', ' ')}: {value}", "dim"))
    for note in result.measured.notes:
        print_line((note, "dim"))
    has_before = any(figure.before is not None for figure in result.figures)
    rows = []
    for figure in result.figures:
        if figure.budget is None and figure.ok and figure.metric.endswith(DETAILS):
            continue  # in the report, and in JSON
        outcome = "" if figure.budget is None and figure.ok else "ok"
        before = "" if figure.before is None else quantity(figure.before, figure.unit)
        rows.append(
            (
                figure.metric,
                quantity(figure.value, figure.unit),
                *([before] if has_before else []),
                "" if figure.budget is None else _limit(figure),
                outcome if figure.ok else "MISSED",
                figure.why,
            )
        )
    columns = ["metric", "value", "budget", "outcome", "note"]
    if has_before:
        columns.insert(2, "before")
    print_table(columns, rows)
    text = verdict(result.document()["figures"])
    print_line((text, "bold green" if result.ok else "bold red"))


def _limit(figure: "Figure") -> str:
    from fastgate_bench.figures import quantity

    least = "at least " if figure.at_least else ""
    return f"{least}{quantity(figure.budget, figure.unit)}"
