"""Findings: what a check of the meaning says, before it is placed in the file.

Owns:      Finding and its three makers.
Called by: config.check and its parts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastgate.config.problems import Level, Path, did_you_mean

__all__ = ["Finding", "duplicates", "error", "info", "not_one_of", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the meaning of a configuration.

    because: Other paths it rests on; it is not reported where one of them was refused.
    at_key: Place it at the key rather than at the value.
    """

    level: Level
    path: Path
    message: str
    because: tuple[Path, ...] = ()
    at_key: bool = False


def error(path: Path, message: str, *because: Path, at_key: bool = False) -> Finding:
    """Make a finding that stops the start."""
    return Finding(Level.ERROR, path, message, because, at_key)


def warn(path: Path, message: str, *because: Path, at_key: bool = False) -> Finding:
    """Make a finding that an operator should know."""
    return Finding(Level.WARN, path, message, because, at_key)


def info(path: Path, message: str, *because: Path) -> Finding:
    """Make a finding that states a fact, such as a bound; placed at its key."""
    return Finding(Level.INFO, path, message, because, at_key=True)


def not_one_of(value: str, known: Iterable[str]) -> str:
    """Say that a name is unknown, and which one may be meant."""
    names = tuple(known)
    listed = ", ".join(names[:16]) or "nothing, since none is configured"
    return f'"{value}" is not one of {listed}{did_you_mean(value, names)}'


def duplicates(path: Path, values: Iterable[object]) -> Iterator[Finding]:
    """Report each value of a list that stands in it already."""
    seen: set[object] = set()
    for at, value in enumerate(values):
        if value in seen:
            yield error((*path, at), f'"{value}" is listed twice', path)
        seen.add(value)
