"""Load: file and environment to a checked configuration, or every problem at once.

Owns:      the order: read, overlay, expand, validate, check the meaning, place.
Called by: cli.check, and control.reload at start and on each reload.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from fastgate.config.check import check
from fastgate.config.environment import (
    Draft,
    Fault,
    Place,
    expand,
    overlay,
    read_bounded,
)
from fastgate.config.model import Config
from fastgate.config.problems import Level, Path, Problem, format_path, in_order
from fastgate.config.shape import is_secret
from fastgate.config.source import MapNode, SourceError, read
from fastgate.config.validate import Salvage, SchemaError, salvage, validate
from fastgate.errors import ConfigError

__all__ = ["DEFAULT_PATHS", "Loaded", "find", "load"]

# Looked for in this order where neither an argument nor FASTGATE_CONFIG names a file.
DEFAULT_PATHS = ("fastgate.yaml", "/etc/fastgate/fastgate.yaml")
# Reason: thousands of routes fit; reading stays quick.
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of loading.

    config: None where there is any error.
    problems: All of them, in order; warnings and facts too.
    source_hash: Equal for equal configurations; of the raw file where it is refused.
    file: Name of the file that was read.
    places: Where each value was written, by path.
    """

    config: Config | None
    problems: tuple[Problem, ...]
    source_hash: str
    file: str
    places: Mapping[Path, Place] = field(default_factory=dict, repr=False)

    def problem(self, level: Level, path: Path, message: str) -> Problem:
        """Place something that was found out later, such as an unreachable host."""
        place = Draft(places={(): Place(self.file, 1, 1, 1, 1), **self.places})
        return _placed(place.place(path), level, path, message)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop a start."""
        return tuple(p for p in self.problems if p.level is Level.ERROR)

    def require(self) -> Config:
        """Return the configuration.

        Raises ConfigError with one line an error where there is none.
        """
        if self.config is None:
            lines = (f"{p.place} {p.path}: {p.message}" for p in self.errors)
            raise ConfigError("\n".join(lines))
        return self.config


def find(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> str:
    """Return the file to read: the argument, FASTGATE_CONFIG, else a usual place."""
    if path is not None:
        return os.fspath(path)
    if environ.get("FASTGATE_CONFIG"):
        return environ["FASTGATE_CONFIG"]
    present = (name for name in DEFAULT_PATHS if FilePath(name).is_file())
    return next(present, DEFAULT_PATHS[-1])


def load(
    path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read and check a configuration; blocks on files, raises nothing for bad input.

    path: The file; None looks in the usual places (`find`).
    environ: Variables; None takes those of the process.
    """
    environ = os.environ if environ is None else environ
    file = find(path, environ)
    try:
        raw = read_bounded(file, _MAX_FILE_BYTES)
        root, faults = read(_decoded(raw))
    except OSError as error:
        return _refused(file, error.strerror or "cannot be read")
    except ValueError as error:
        return _refused(file, str(error))
    except SourceError as error:
        return _refused(file, error.message, error.line, error.col)
    if not isinstance(root, MapNode):
        return _refused(file, "is no mapping", root.line, root.col)
    draft = Draft.of(root, file)
    problems = [_syntax(file, fault) for fault in faults]
    problems += _fill(draft, environ, FilePath(file).parent)
    config = _judge(draft, problems)
    digest = config.digest() if config else hashlib.sha256(raw).hexdigest()[:16]
    return Loaded(config, in_order(problems), digest, file, draft.places)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError("is no UTF-8 text", line, 1) from error


def _refused(file: str, message: str, line: int = 0, col: int = 0) -> Loaded:
    problem = Problem(file, line, col, Level.ERROR, "", message)
    return Loaded(None, (problem,), "", file)


def _syntax(file: str, error: SourceError) -> Problem:
    return Problem(file, error.line, error.col, Level.ERROR, "", error.message)


def _fill(
    draft: Draft, environ: Mapping[str, str], folder: FilePath
) -> Iterable[Problem]:
    for fault in [*overlay(draft, environ), *expand(draft, environ, folder)]:
        place = fault.place or draft.place(fault.path)
        yield _placed(place, Level.ERROR, fault.path, fault.message)
    nulls: list[Fault] = []
    draft.data = _without_nulls(draft.data, (), nulls)
    for fault in nulls:
        place = draft.place(fault.path)
        yield _placed(place, Level.ERROR, fault.path, fault.message, at_key=True)


def _without_nulls(node: Any, path: Path, faults: list[Fault]) -> Any:
    # Null could mean "unset" or "forgotten"; it is neither accepted nor guessed.
    if isinstance(node, dict):
        return {
            key: _without_nulls(value, (*path, key), faults)
            for key, value in node.items()
            if not _is_null(value, (*path, key), faults)
        }
    if isinstance(node, list):
        return [_without_nulls(v, (*path, i), faults) for i, v in enumerate(node)]
    return node


def _is_null(value: Any, path: Path, faults: list[Fault]) -> bool:
    if value is None:
        faults.append(Fault(path, "has no value; give one or remove the line"))
    return value is None


def _judge(draft: Draft, problems: list[Problem]) -> Config | None:
    reported = {problem.path for problem in problems}
    config, errors = validate(draft.data)
    problems += [
        _schema_problem(draft, error)
        for error in errors
        if format_path(error.path) not in reported
    ]
    problems += _meaning(draft, config)
    problems += _literal_secrets(draft)
    wrong = any(problem.level is Level.ERROR for problem in problems)
    return None if wrong else config


def _meaning(draft: Draft, config: Config | None) -> Iterable[Problem]:
    # What is refused by the models is left out, so that the rest can still be judged;
    # findings that rest on what was left out would be guesses.
    rest = Salvage(config, frozenset(), {}) if config else salvage(draft.data)
    if rest is None:
        return
    for finding in check(rest.config):
        rests_on = [rest.original(path) for path in (finding.path, *finding.because)]
        if any(_touch(p, d) for p in rests_on for d in rest.dropped):
            continue
        path = rests_on[0]
        at_key = finding.at_key or path not in draft.places or _whole(draft, path)
        place = draft.place(path)
        yield _placed(place, finding.level, path, finding.message, at_key=at_key)


def _touch(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _schema_problem(draft: Draft, error: SchemaError) -> Problem:
    # A missing key is placed at the key of the mapping that should have it.
    by_key = error.kind in {"extra_forbidden", "missing"}
    at_key = by_key or _whole(draft, error.path)
    place = draft.place(error.path)
    return _placed(place, Level.ERROR, error.path, error.message, at_key=at_key)


def _whole(draft: Draft, path: Path) -> bool:
    return isinstance(_value(draft.data, path), dict | list)


def _value(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _literal_secrets(draft: Draft) -> Iterable[Problem]:
    for path, place in draft.places.items():
        written = isinstance(_value(draft.data, path), str) and place.literal
        if written and is_secret(path):
            message = "is written into the file; use ${file:PATH} or ${VAR}"
            yield _placed(place, Level.WARN, path, message)


def _placed(
    place: Place, level: Level, path: Path, message: str, *, at_key: bool = False
) -> Problem:
    line, col = (place.key_line, place.key_col) if at_key else (place.line, place.col)
    return Problem(place.file, line, col, level, format_path(path), message)
