"""Output: how verbs speak: tables on a terminal, JSON elsewhere, exit codes.

Owns:      exit codes, JSON, tables, the progress line on stderr.
Called by: every verb of the command line but `healthcheck` and `version`.

NO_COLOR and FORCE_COLOR are obeyed by rich. What a token, a header or a peer sent is
printed as text, never as markup.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "EXIT_BUDGET",
    "EXIT_CONFIG",
    "EXIT_FAILURE",
    "EXIT_UNAVAILABLE",
    "EXIT_USAGE",
    "fail",
    "is_terminal",
    "print_json",
    "print_line",
    "print_table",
    "show",
    "working",
]

# Source: DESIGN section 10; 69 and 78 are EX_UNAVAILABLE and EX_CONFIG of sysexits.h.
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78
EXIT_BUDGET = 99


def is_terminal() -> bool:
    """Tell whether standard output is read by a person."""
    return Console().is_terminal


def print_json(document: Any) -> None:
    """Print a document: indented on a terminal, one line elsewhere."""
    option = orjson.OPT_INDENT_2 if is_terminal() else 0
    print(orjson.dumps(document, option=option).decode())


def print_line(*parts: tuple[str, str]) -> None:
    """Print one line of (text, style) parts; styles show on a terminal only."""
    if not is_terminal():
        print("".join(text for text, _ in parts))
        return
    line = Text()
    for text, style in parts:
        line.append(text, style)
    Console(highlight=False, soft_wrap=True).print(line)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a plain table, cells as text without markup."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(highlight=False, soft_wrap=True).print(table)


def show(
    document: Any,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    as_json: bool = False,
) -> None:
    """Print `rows` as a table on a terminal, else `document` as JSON.

    as_json: Print JSON on a terminal too.
    """
    if as_json or not is_terminal():
        print_json(document)
    else:
        print_table(columns, rows)


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """Show on stderr that something takes its time; nothing where nobody looks."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(text)):
        yield


def fail(message: str, code: int = EXIT_FAILURE) -> NoReturn:
    """Print one line on stderr and exit.

    message: Says what is wrong and how it is mended.
    """
    print(f"fastgate: {message}", file=sys.stderr)
    raise SystemExit(code)
