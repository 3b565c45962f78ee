"""Judge every third-party set, and write docs/conformance.md.

    FASTGATE_VECTORS=DIR python -m tests.conformance.report

The page is written only where every set was there; the table is printed in any case.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.conformance import http_sets, key_sets, naughty_sets, token_sets
from tests.conformance.rows import Row, count
from tests.conformance.sources import sources
from tests.vectors import find_vectors

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"

_HEAD = """\
# Conformance

What fastgate does with test inputs of other projects. A wrong acceptance is an input
that its label (or our stricter rule) wants refused and that was accepted, or refused
for another reason; a wrong refusal is the opposite. Both should be zero, and are for
tokens, keys and JSON. This page is written by `make conformance`; the files are no part
of the project, `python -m tests.conformance.fetch DIR` gets those that their projects
publish as files.

"""
_TOKENS = """\
## Tokens, keys and JSON

Given to the token scanner and to the key objects, as the gateway uses them. Messages
that are valid elsewhere but signed with an algorithm that fastgate does not serve are
wanted refused.

"""
_REQUESTS = """\
## Requests

Sent raw to a running gateway with a public route in front of an upstream that records
what arrives: whole, and a sample also byte by byte and in pieces that end at each CRLF.
A message without a Host gets one, so that its own fault is tested. What the sets call
legal and fastgate refuses by rule (CONNECT and TRACE, fragments, `*`, codings other
than `chunked`, an underscore in a name, a body with GET) is wanted refused. The last
column names what is wrong.

"""
_STRINGS = """\
## Strings

Strings that break naive programs, in path, query and headers. Wrong is more than one
answer, a header of the client's making in it, or a request at the upstream that differs
from the one that was sent. Each request leaves one line in the access log.

"""
_SOURCES = """\
## Where the inputs come from

Commits are those of the repositories named. Sets marked *extract* were taken out of
source code or documents, and are not offered by the command above.

"""


def table(rows: Iterable[Row]) -> str:
    """Return rows as a table of Markdown."""
    lines = [
        "| set | inputs tried | wrongly accepted | wrongly refused | notes |",
        "|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.set} | {row.tried} | {row.wrongly_accepted} | {row.wrongly_refused} "
        f"| {row.note} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def tokens_part(rows: Iterable[Row]) -> str:
    """Return the part of the page that a test compares, heading included."""
    return f"{_TOKENS}{table(rows)}\n"


def origins() -> str:
    """Return the table of the sets' repositories and commits."""
    lines = ["| folder | source | commit | licence | |", "|---|---|---|---|---|"]
    lines += [
        f"| {source.folder} | {source.repository} | {source.commit} "
        f"| {source.licence} | {'' if source.files else 'extract'} |"
        for source in sources()
    ]
    return "\n".join([*lines, ""])


def token_and_key_rows(folder: Path, missing: list[str]) -> Iterator[Row]:
    """Yield a row for each set on tokens and keys; the names of others are added."""
    for name, (run, note) in {**token_sets.SETS, **key_sets.SETS}.items():
        try:
            row = count(name, run(folder), note)
        except FileNotFoundError:
            row = None
        if row is None or not row.tried:
            missing.append(name)
        else:
            yield row


def rows_of(read: Callable[[], list[Row]], name: str, missing: list[str]) -> list[Row]:
    """Return the rows of several sets, none where one of them is not there."""
    try:
        return read()
    except* FileNotFoundError:
        missing.append(name)
    return []


def page(missing: list[str]) -> str:
    """Judge everything; returns the page. Raises FileNotFoundError without a folder.

    missing: Gets the names of the sets that were not there.
    """
    tokens = tokens_part(list(token_and_key_rows(find_vectors(), missing)))
    requests = table(rows_of(http_sets.rows, "requests", missing))
    strings = table(rows_of(naughty_sets.rows, "strings", missing))
    return (
        f"{_HEAD}{tokens}{_REQUESTS}{requests}\n{_STRINGS}{strings}\n"
        f"{_SOURCES}{origins()}"
    )


def main() -> int:
    """Run from the command line; 1 where a set was not there."""
    missing: list[str] = []
    try:
        text = page(missing)
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if missing:
        print(text)  # noqa: T201
        sys.stderr.write(f"not written, because not there: {', '.join(missing)}\n")
        return 1
    PAGE.write_text(text, "utf-8")
    print(f"{PAGE} is written")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
