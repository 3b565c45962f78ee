"""Entry: the console script. Two verbs answer before anything heavy is imported.

Owns:      nothing; it chooses which half of the command line is loaded.
Called by: the `fastgate` script, and `python -m fastgate.cli.entry`.

`healthcheck` runs every few seconds in every container and `version` in every script,
so neither pays for the import of typer, pydantic or the gateway.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    verb, *arguments = sys.argv[1:] or [""]
    if verb == "healthcheck":
        from fastgate.cli import healthcheck

        sys.exit(healthcheck.run(arguments))
    if verb in {"version", "--version"}:
        from fastgate.cli import version

        sys.exit(version.run(arguments))
    from fastgate.cli.main import run

    run()


if __name__ == "__main__":
    main()
