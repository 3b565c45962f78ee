"""Judge every third-party set, and write docs/conformance.md.

    FASTGATE_VECTORS=DIR python -m tests.conformance.report

The page is written only where every set was there; the table is printed in any case.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.conformance import http_judge, key_sets, naughty_sets, token_sets
from tests.conformance.http_wire import LANES
from tests.conformance.rows import LaneRow, Row, count
from tests.conformance.sources import sources
from tests.vectors import find_vectors

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"

_HEAD = """\
# Conformance

What fastgate does with test inputs of other projects. A wrong acceptance is an input
that its label (or our stricter rule) wants refused and that was accepted, or refused
for another reason; a wrong refusal is the opposite. Both should be zero. This page is
written by `make conformance`; the files are no part of the project, `python -m
tests.conformance.fetch DIR` gets those that their projects publish as files.

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
what arrives, three ways each: whole, byte by byte (of long ones the first 1,000, then
larger pieces), and in pieces that end at each CRLF. All of it twice: once with plain
requests in the compiled lane, once with every request in the general lane; the access
log is asked which lane it was. A message without a Host gets one, so that its own fault
is tested.

An input counts once for each lane, and wrong in one way is wrong. *Badly refused* is a
refusal without a problem body that says its status, without `Connection: close`, with
anything behind it, with the connection left open, or with a byte of a malformed head at
the upstream. Where something is wrong, the last column names it.

What the sets call legal and fastgate refuses by rule is wanted refused: methods other
than GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY, SEARCH, REPORT, PROPFIND,
PROPPATCH, MKCOL, MKCALENDAR, LOCK, UNLOCK and ACL (the others name a second target that
no route was chosen for, or are not registered), other target forms, fragments and `*`,
codings other than `chunked`, codings in HTTP/1.0, an underscore in a name, folded
lines, and a body with GET, HEAD or DELETE. The last column says how many.

Chunk extensions and trailers are read, bounded and dropped, and with them what a sender
should not have sent but cannot do harm: blanks inside an extension, which RFC 9112
section 7.1.1 wants read, and trailers such as `Content-Type`. A trailer that could be
taken for framing, for Host or for credentials is refused, and so is a blank between the
size of a chunk and what follows it.

"""
_STRINGS = """\
## Strings

Strings that break naive programs, in path, query and headers. Wrong is more than one
answer, a header of the client's making in it, or a request at the upstream that differs
from the one that was sent. Each request leaves one line in the access log. Sent through
both lanes, as above.

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


def lanes_table(rows: Iterable[LaneRow]) -> str:
    """Return rows of both lanes as a table of Markdown."""
    heads = ("wrongly accepted", "wrongly refused", "badly refused")
    names = [f"{head}, {lane}" for lane in LANES for head in heads]
    lines = [
        f"| set | inputs tried | {' | '.join(names)} | notes |",
        "|---|---:|" + "---:|" * len(names) + "---|",
    ]
    for row in rows:
        counts = " | ".join(str(count) for lane in row.lanes for count in lane)
        lines.append(f"| {row.set} | {row.tried} | {counts} | {row.note} |")
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


def rows_of(
    read: Callable[[], list[LaneRow]], name: str, missing: list[str]
) -> list[LaneRow]:
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
    requests = lanes_table(rows_of(http_judge.rows, "requests", missing))
    strings = lanes_table(rows_of(naughty_sets.rows, "strings", missing))
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
