"""Main: the table of verbs, each imported only when it is asked for.

Owns:      the names and one-line helps of all verbs, and the border where errors of
           fastgate become exit codes.
Called by: cli.entry.

A verb is a module `fastgate.cli.<verb>` with an attribute `command`: a function that
typer can call, or a typer app where the verb has verbs of its own.
"""

import importlib
import os
import sys
from collections.abc import Callable

import typer

from fastgate.cli.output import EXIT_CONFIG, EXIT_FAILURE, fail
from fastgate.errors import ConfigError, FastgateError

__all__ = ["VERBS", "build", "run"]

VERBS = {
    "serve": "Run the gateway.",
    "check": "Check a configuration: every problem at once.",
    "demo": "Run three regions on loopback and a guided tour.",
    "revoke": "Revoke a token, session, user, client, grant, key or issuer.",
    "explain": "Show what the gateway decides about a token, and why.",
    "status": "Show regions, freshness, keys and workers of a running gateway.",
    "keys": "Show the keys of a running gateway's issuers.",
    "feed": "Show, compare and adopt what revocations come from.",
    "bus": "Make or check the streams on the bus that carries revocations.",
    "bench": "Measure latencies, compare gateways, keep budgets.",
    "config": "Print the configuration's schema or reference page.",
    "healthcheck": "Ask a running gateway whether it lives, or is ready.",
    "version": "Print the version.",
}
_HELP = "A regional OAuth gateway: verify locally, refuse what is revoked, route home."


def build(verb: str | None) -> typer.Typer:
    """Return the application, with the module of one verb loaded.

    verb: The verb that will run; None loads none, so only helps are shown.
    """
    app = typer.Typer(
        name="fastgate",
        help=_HELP,
        no_args_is_help=True,
        # A traceback with local variables would print secrets.
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root() -> None:
        """Keep the verbs as verbs, also if there were only one."""

    for name, text in VERBS.items():
        command = _load(name) if name == verb else None
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=text)
        else:
            app.command(name, help=None if command else text)(command or _absent)
    return app


def _load(verb: str) -> Callable[..., object] | typer.Typer:
    module = f"fastgate.cli.{verb}"
    try:
        command: Callable[..., object] | typer.Typer = importlib.import_module(
            module
        ).command
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return _absent
    return command


def _absent() -> None:
    fail("this installation lacks that verb; install fastgate again")


def run() -> None:
    """Run the verb that the arguments name, and exit with its code."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    verb = words[0] if words else None
    if "_FASTGATE_COMPLETE" in os.environ:
        typed = os.environ.get("COMP_WORDS", "").split()
        verb = typed[1] if len(typed) > 1 and typed[1] in VERBS else None
    try:
        build(verb)(prog_name="fastgate")
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)
    except FastgateError as error:
        fail(str(error), EXIT_FAILURE)
