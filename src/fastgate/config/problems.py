"""Problems: all that is wrong with a configuration, at once, each with its place.

Owns:      Problem, its order and its text.
Called by: config.load and config.check report; the command line and the log print.

A problem never repeats a secret: texts are made here or in the validators, not from the
offending input.
"""

import difflib
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Level",
    "Path",
    "Problem",
    "closest",
    "did_you_mean",
    "format_path",
    "format_problems",
    "in_order",
    "problem_documents",
    "summary",
]

Path = tuple[str | int, ...]


class Level(enum.StrEnum):
    """How bad it is: an error stops the start, a warning does not, info is a fact."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to tell the operator.

    file: Name of the file as given, or `env:NAME`.
    line, col: From 1; 0 where there is none (environment, whole file).
    path: Dotted path of the value, "" for the whole configuration.
    """

    file: str
    line: int
    col: int
    level: Level
    path: str
    message: str

    @property
    def place(self) -> str:
        """`file:line:col`, without what is not known."""
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.col}"


def format_path(path: Iterable[str | int]) -> str:
    """Write a path as `issuers.login.algorithms[0]`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out += f".{part}" if out else part
    return out


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that may be meant, or None."""
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for a close known name, else nothing."""
    meant = closest(name, known)
    return "" if meant is None else f'; did you mean "{meant}"?'


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return each problem once, by file, place and path."""
    return tuple(
        sorted(
            set(problems),
            key=lambda p: (p.file, p.line, p.col, p.path, p.level, p.message),
        )
    )


def summary(problems: Sequence[Problem]) -> str:
    """Count errors and warnings, as in `3 errors, 1 warning`."""
    errors = sum(problem.level is Level.ERROR for problem in problems)
    warnings = sum(problem.level is Level.WARN for problem in problems)

    def counted(count: int, noun: str) -> str:
        return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

    return f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"


def format_problems(problems: Sequence[Problem]) -> str:
    """Write one line a problem in aligned columns, then the counts."""
    width = max((len(problem.place) for problem in problems), default=0)
    lines = [
        f"{problem.place:<{width}}  {problem.level:<5}  "
        + (f"{problem.path}: " if problem.path else "")
        + problem.message
        for problem in problems
    ]
    return "\n".join([*lines, summary(problems)])


def problem_documents(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Return the problems as JSON-ready mappings, for `--json`."""
    return [
        {
            "file": problem.file,
            "line": problem.line,
            "col": problem.col,
            "level": problem.level.value,
            "path": problem.path,
            "message": problem.message,
        }
        for problem in problems
    ]
