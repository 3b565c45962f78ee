"""serve: run the gateway.

Owns:      nothing.
Called by: cli.main.
"""

from typing import Annotated

import typer

from fastgate.cli.output import EXIT_CONFIG

__all__ = ["command"]


def command(
    file: Annotated[
        str | None,
        typer.Argument(help="Configuration; else FASTGATE_CONFIG, else usual places."),
    ] = None,
) -> None:
    """Run the gateway until SIGTERM.

    Example: fastgate serve fastgate.yaml

    SIGHUP reloads the configuration, SIGUSR1 reopens log files, SIGUSR2 replaces the
    workers one by one. A bad configuration exits 78 and changes nothing.
    """
    from fastgate.config.load import load
    from fastgate.config.problems import Level, format_problems

    loaded = load(file)
    if loaded.config is None:
        typer.echo(format_problems(loaded.problems), err=True)
        raise typer.Exit(EXIT_CONFIG)
    warnings = [p for p in loaded.problems if p.level is Level.WARN]
    if warnings:
        typer.echo(format_problems(warnings), err=True)

    from fastgate.wiring.supervisor import serve

    raise typer.Exit(serve(loaded.config, loaded.file))
