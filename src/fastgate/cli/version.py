"""Version: `fastgate version`.

Owns:      the text of the version.
Called by: cli.entry, before anything else is imported.
"""

import sys

from fastgate import __version__

__all__ = ["run"]

_USAGE = """\
usage: fastgate version [--json]

Print the version of fastgate and of Python.
"""


def run(arguments: list[str]) -> int:
    """Print the version and return the exit code.

    arguments: Those after the verb.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    if not arguments:
        print(f"fastgate {__version__} (Python {python})")
    elif arguments == ["--json"]:
        # Neither text can hold a character that JSON would escape.
        print(f'{{"version": "{__version__}", "python": "{python}"}}')
    elif arguments[0] in {"-h", "--help"}:
        print(_USAGE, end="")
    else:
        print(_USAGE, end="", file=sys.stderr)
        return 2
    return 0
