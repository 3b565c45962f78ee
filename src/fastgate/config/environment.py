"""Environment: `FASTGATE_A__B` over the file, and `${VAR}`, `${file:PATH}` inside it.

Owns:      Draft (data with the place of each value), the overlay and the interpolation.
Called by: config.load.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from fastgate.config.problems import Path
from fastgate.config.shape import keys_at, takes
from fastgate.config.source import (
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    SourceError,
    read,
)
from fastgate.config.values import Given, shown

__all__ = ["Draft", "Fault", "Place", "expand", "overlay", "read_bounded"]

_PREFIX = "FASTGATE_"
# Not settings: the file itself, the build, and switches of tests and benches.
_RESERVED = re.compile(
    r"CONFIG|BUILD|VECTORS(?:_\w+)?|BUSES_\w+|BENCH_\w+|TEST_\w+|"
    # Kubernetes sets these in every pod beside a Service that is called `fastgate`.
    r"SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_[0-9]+_\w+",
    re.ASCII,
)
_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_]\w*)\}|\{file:([^{}]+)\}|)", re.ASCII)
# Reason: keys and tokens are small; a log file named by mistake is not.
_MAX_SECRET_BYTES = 64 * 1024
_MAX_SHOWN_PATH = 256


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written.

    file: Name of the file, or `env:NAME`.
    line, col: Of the value, from 1; 0 in the environment.
    key_line, key_col: Of its key; those of the value where it has none.
    literal: The value stands there as it is, without `${...}`.
    """

    file: str
    line: int
    col: int
    key_line: int
    key_col: int
    literal: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem of one path, before it is placed."""

    path: Path
    message: str
    place: Place | None = None


@dataclass(slots=True)
class Draft:
    """The data as read, with the place of everything in it.

    data: Plain mappings, lists and scalars.
    places: By path; what is missing has its parent's place.
    """

    data: dict[Any, Any] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)

    @classmethod
    def of(cls, root: MapNode, file: str) -> "Draft":
        """Make the draft of a file."""
        draft = cls()
        draft.places[()] = Place(file, 1, 1, 1, 1)
        draft.data = draft._plain(root, (), file, None)
        return draft

    def _plain(
        self, node: Node, path: Path, file: str, key: tuple[int, int] | None
    ) -> Any:
        if path:
            at = (node.line, node.col)
            self.places[path] = Place(file, *at, *(key or at))
        if isinstance(node, MapNode):
            return {
                name: self._plain(child, (*path, name), file, (line, col))
                for name, (line, col, child) in node.entries.items()
            }
        if isinstance(node, ListNode):
            return [
                self._plain(child, (*path, at), file, None)
                for at, child in enumerate(node.items)
            ]
        return node.value if isinstance(node, ScalarNode) else None

    def replace(self, path: Path, value: Any, place: Place) -> None:
        """Put a value in the place of whatever stands at `path`.

        Raises KeyError naming the part of the path that is no mapping.
        """
        target = self.data
        for depth, part in enumerate(path[:-1], 1):
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise KeyError(path[:depth])
            self.places.setdefault(path[:depth], place)
        target[path[-1]] = value
        for known in [p for p in self.places if p[: len(path)] == path]:
            del self.places[known]
        self.places[path] = place

    def place(self, path: Path) -> Place:
        """Return the place of a path, or of what contains it."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def overlay(draft: Draft, environ: Mapping[str, str]) -> Iterator[Fault]:
    """Put every `FASTGATE_…` of the environment over the draft.

    Yields what cannot be used. Nothing in a value is interpolated.
    """
    for name in sorted(environ):
        rest = name.removeprefix(_PREFIX)
        if rest == name or _RESERVED.fullmatch(rest):
            continue
        place = Place(f"env:{name}", 0, 0, 0, 0, literal=False)
        segments = rest.split("__")
        from_file = re.fullmatch(r"\w*[A-Z0-9]_FILE", segments[-1]) is not None
        if from_file:
            segments[-1] = segments[-1].removesuffix("_FILE")
            if name.removesuffix("_FILE") in environ:
                yield Fault((), f"and {name.removesuffix('_FILE')} are both set", place)
                continue
        path = _path(draft, segments)
        if path is None:
            yield Fault((), "names no setting: write FASTGATE_A__B for a.b", place)
            continue
        try:
            text = _secret(environ[name]) if from_file else environ[name]
            draft.replace(path, _parse(path, text, from_file=from_file), place)
        except (OSError, ValueError, SourceError) as error:
            yield Fault(path, _why(error), place)
        except KeyError as error:
            yield Fault(error.args[0], "is no mapping; give it as a whole", place)


def _path(draft: Draft, segments: list[str]) -> Path | None:
    # Aliases may be written in any case and with "-", which a variable's name cannot.
    path: Path = ()
    here: Any = draft.data
    for segment in segments:
        if not segment:
            return None
        known = {_plain_name(k): k for k in keys_at(path)}
        if isinstance(here, dict):
            known.update({_plain_name(k): k for k in here})
        key = known.get(_plain_name(segment), segment.lower())
        path = (*path, key)
        here = here.get(key) if isinstance(here, dict) else None
    return path


def _plain_name(name: str) -> str:
    return re.sub(r"[-.]", "_", name).lower()


def _parse(path: Path, text: str, *, from_file: bool) -> Any:
    structured = takes(path, "array") or takes(path, "object")
    if from_file or not structured or text[:1] not in {"[", "{"}:
        return Given(text)
    node, faults = read(text)
    if faults:
        raise faults[0]
    return _given(node)


def _given(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {key: _given(child) for key, (_, _, child) in node.entries.items()}
    if isinstance(node, ListNode):
        return [_given(child) for child in node.items]
    return node.value if isinstance(node, ScalarNode) else None


def expand(
    draft: Draft, environ: Mapping[str, str], folder: FilePath
) -> Iterator[Fault]:
    """Resolve `${VAR}`, `${file:PATH}` and `$$` in every text that the file wrote.

    folder: Where relative paths begin.
    Yields what cannot be resolved; the value is then left as it is.
    """

    def text(path: Path, value: str) -> Any:
        place = draft.places.get(path)
        if place is None or place.file.startswith("env:") or "$" not in value:
            return value
        if "${" in value:
            draft.places[path] = replace(place, literal=False)
        return Given(_resolve(value, environ, folder))

    faults: list[Fault] = []
    draft.data = _walk(draft.data, (), text, faults)
    yield from faults


def _walk(
    node: Any, path: Path, text: Callable[[Path, str], Any], faults: list[Fault]
) -> Any:
    if isinstance(node, dict):
        return {k: _walk(v, (*path, k), text, faults) for k, v in node.items()}
    if isinstance(node, list):
        return [_walk(v, (*path, i), text, faults) for i, v in enumerate(node)]
    if isinstance(node, str):
        try:
            return text(path, node)
        except (OSError, ValueError) as error:
            faults.append(Fault(path, _why(error)))
    return node


def _resolve(value: str, environ: Mapping[str, str], folder: FilePath) -> str:
    def one(match: re.Match[str]) -> str:
        dollar, name, file = match.groups()
        if dollar:
            return "$"
        if name:
            if name not in environ:
                raise ValueError(f"${{{name}}} is not set")
            return environ[name]
        if file:
            return _secret(str(folder / file))
        raise ValueError("write $$ for a dollar sign, else ${VAR} or ${file:PATH}")

    return _REFERENCE.sub(one, value)


def _secret(path: str) -> str:
    try:
        raw = read_bounded(path, _MAX_SECRET_BYTES)
        text = raw.decode()
    except UnicodeDecodeError:
        # No cause is attached: it would carry the bytes of a secret.
        raise ValueError(f"{shown(path, _MAX_SHOWN_PATH)} is no UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


def read_bounded(path: str, limit_bytes: int) -> bytes:
    """Return what a regular file or pipe holds.

    Raises OSError where it cannot be read, ValueError where it holds more than
    `limit_bytes` or is a folder or device.
    """
    with FilePath(path).open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise ValueError(f"{shown(path, _MAX_SHOWN_PATH)} is no regular file")
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(
            f"{shown(path, _MAX_SHOWN_PATH)} holds more than {limit_bytes} bytes"
        )
    return content


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{shown(str(error.filename), _MAX_SHOWN_PATH)}: {error.strerror}"
    return error.message if isinstance(error, SourceError) else str(error)
