"""Validate: data against the models; every error at once, in the operator's words.

Owns:      the translation of pydantic's errors, and what can be checked beside them.
Called by: config.load.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fastgate.config.model import Config
from fastgate.config.problems import Path, closest, did_you_mean
from fastgate.config.shape import keys_at, word_at
from fastgate.config.values import shown

__all__ = ["Salvage", "SchemaError", "salvage", "validate"]

# Reason: a required value that is wrong takes its parent with it, one level a round.
_MAX_ROUNDS = 12
# Reason: more names than this help nobody who mistyped one.
_MAX_LISTED = 8

_TEXTS = {
    "missing": "is missing",
    "tuple_type": "is no list; write it like [a, b]",
    "dict_type": "is no mapping",
    "model_type": "is no mapping",
    "too_short": "needs at least {min_length}",
    "too_long": "has more than {max_length}",
}


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One thing that the models refuse.

    path: In the data that was validated.
    kind: pydantic's stable name of the error.
    """

    path: Path
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Salvage:
    """What is left of refused data, so that its meaning can be checked too.

    config: The models without the refused values.
    dropped: Paths that were left out because they are wrong or incomplete, and those
        that a mistyped key probably means.
    kept: Path of a list, in the salvaged data → original index of each item.
    """

    config: Config
    dropped: frozenset[Path]
    kept: Mapping[Path, tuple[int, ...]]

    def original(self, path: Path) -> Path:
        """Return where a path of the salvaged data was in the original."""
        return _original(path, self.kept)


def validate(data: Mapping[str, Any]) -> tuple[Config | None, list[SchemaError]]:
    """Return the configuration, or every schema error."""
    try:
        return Config.model_validate(data), []
    except ValidationError as error:
        return None, list(_errors(error))


def _errors(error: ValidationError) -> Iterator[SchemaError]:
    details = error.errors(include_url=False)
    paths = [_path(detail) for detail in details]
    parents = {path[:depth] for path in paths for depth in range(len(path))}
    for detail, path in zip(details, paths, strict=True):
        # A list whose only item is wrong is not "too short" as well.
        if path in parents and detail["type"] == "too_short":
            continue
        yield SchemaError(path, detail["type"], _message(detail, path))


def _path(detail: ErrorDetails) -> Path:
    # "<tag>" names a union's alternative, "[key]" a refused key; the data has neither.
    return tuple(
        part
        for part in detail["loc"]
        if not (isinstance(part, str) and (part == "[key]" or part.startswith("<")))
    )


def _message(detail: ErrorDetails, path: Path) -> str:
    message = _translate(detail, path)
    word = word_at(path)
    if word is not None and message.startswith("is no "):
        return f'is neither "{word}" nor a {message.removeprefix("is no ")}'
    return message


def _translate(detail: ErrorDetails, path: Path) -> str:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind in {"enum", "literal_error"}:
        return _not_one_of(detail["input"], context)
    if kind in _TEXTS:
        return _TEXTS[kind].format_map(context)
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _unknown_key(path: Path) -> str:
    known = keys_at(path[:-1])
    hint = did_you_mean(str(path[-1]), known)
    if not hint and len(known) <= _MAX_LISTED:
        hint = f"; known: {', '.join(known)}"
    return f"unknown key{hint}"


def _not_one_of(value: object, context: Mapping[str, Any]) -> str:
    known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    if not isinstance(value, str):
        return f"is not one of {', '.join(known)}"
    hint = did_you_mean(value, known)
    return f'"{shown(value)}" is not one of {", ".join(known)}{hint}'


def salvage(data: Mapping[str, Any]) -> Salvage | None:
    """Return what stands without the refused values; None where nothing does."""
    dropped: set[Path] = set()
    unknown: set[Path] = set()
    meant: set[Path] = set()
    for _ in range(_MAX_ROUNDS):
        kept: dict[Path, tuple[int, ...]] = {}
        pruned = _prune(data, (), (), dropped | unknown, kept)
        config, errors = validate(pruned)
        if config is not None:
            return Salvage(config, frozenset(dropped | meant), kept)
        for error in errors:
            path = _original(error.path, kept)
            if error.kind == "extra_forbidden":
                unknown.add(path)
                near = closest(str(path[-1]), keys_at(path[:-1]))
                meant |= {(*path[:-1], near)} if near else set()
            elif error.kind == "missing":
                dropped.add(path[:-1])
            else:
                dropped.add(path)
        if () in dropped:
            return None
    return None


def _prune(
    node: Any,
    path: Path,
    pruned_path: Path,
    without: set[Path],
    kept: dict[Path, tuple[int, ...]],
) -> Any:
    if isinstance(node, dict):
        return {
            key: _prune(value, (*path, key), (*pruned_path, key), without, kept)
            for key, value in node.items()
            if (*path, key) not in without
        }
    if isinstance(node, list):
        indices = tuple(i for i in range(len(node)) if (*path, i) not in without)
        kept[pruned_path] = indices
        return [
            _prune(node[i], (*path, i), (*pruned_path, at), without, kept)
            for at, i in enumerate(indices)
        ]
    return node


def _original(path: Path, kept: Mapping[Path, tuple[int, ...]]) -> Path:
    out: list[str | int] = []
    for depth, part in enumerate(path):
        indices = kept.get(path[:depth])
        known = indices is not None and isinstance(part, int) and part < len(indices)
        out.append(indices[part] if known else part)  # type: ignore[index]
    return tuple(out)
