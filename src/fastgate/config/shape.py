"""Shape: what the models allow at a path, read from their JSON Schema.

Owns:      the schema that `fastgate config schema` prints, and questions about it.
Called by: config.environment and config.validate; cli.config and config.reference.
"""

import functools
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from fastgate.config.addresses import Address
from fastgate.config.model import Config
from fastgate.config.problems import Path
from fastgate.config.values import ByteCount, format_duration, format_size

__all__ = ["Schema", "is_secret", "keys_at", "schema_document", "takes", "word_at"]

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Writes defaults the way an operator would."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, ByteCount):
            return format_size(dft)
        if isinstance(dft, Address):
            return str(dft)
        return super().encode_default(dft)


@functools.cache
def schema() -> Schema:
    """Return the JSON Schema (2020-12) of a configuration file; do not change it."""
    made = Config.model_json_schema(schema_generator=_Generator)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "fastgate configuration"
    _tidy(made)
    return made


def schema_document() -> str:
    """Return the schema as the text of docs/config.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    elif isinstance(node, dict):
        _drop_nulls(node)
        # Titles only repeat the names of keys.
        if isinstance(node.get("title"), str) and "$schema" not in node:
            del node["title"]
        for key, value in node.items():
            if key != "default":
                _tidy(value)


def _drop_nulls(node: Schema) -> None:
    # A file has no null: an unset value is a line that is not there.
    for choice in ("anyOf", "oneOf"):
        if choice not in node:
            continue
        node[choice] = [c for c in node[choice] if c != {"type": "null"}]
        if len(node[choice]) == 1:
            only = node.pop(choice)[0]
            node.update({**only, **node})
    if node.get("default", ...) is None:
        word = next((c["const"] for c in node.get("anyOf", ()) if "const" in c), None)
        # `token: none` must be written: a route is never public by omission.
        if word == "auto":
            node["default"] = word
        else:
            del node["default"]


def _alternatives(node: Schema) -> Iterator[Schema]:
    if "$ref" in node:
        yield from _alternatives(schema()["$defs"][node["$ref"].rpartition("/")[2]])
        return
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]
    if not choices:
        yield node
    for choice in choices:
        yield from _alternatives(choice)


def _children(node: Schema, part: str | int) -> Iterator[Schema]:
    if isinstance(part, int):
        if isinstance(node.get("items"), dict):
            yield node["items"]
        return
    if part in node.get("properties", ()):
        yield node["properties"][part]
        return
    yield from node.get("patternProperties", {}).values()
    if isinstance(node.get("additionalProperties"), dict):
        yield node["additionalProperties"]


def _at(path: Path) -> list[Schema]:
    nodes = list(_alternatives(schema()))
    for part in path:
        nodes = [
            alternative
            for node in nodes
            for child in _children(node, part)
            for alternative in _alternatives(child)
        ]
    return nodes


def keys_at(path: Path) -> tuple[str, ...]:
    """Return the keys that the models know in the mapping at `path`."""
    return tuple(key for node in _at(path) for key in node.get("properties", ()))


def takes(path: Path, kind: str) -> bool:
    """Tell whether a value of a JSON type, such as `array`, may stand at `path`."""
    return any(node.get("type") == kind for node in _at(path))


def word_at(path: Path) -> str | None:
    """Return the word that may stand in place of the value at `path`, e.g. `auto`."""
    return next((node["const"] for node in _at(path) if "const" in node), None)


def is_secret(path: Path) -> bool:
    """Tell whether the value at `path` must not be shown."""
    if not path or path[-1] not in _secret_names():
        return False
    return any(node.get("writeOnly") is True for node in _at(path))


@functools.cache
def _secret_names() -> frozenset[str | int]:
    # Asked of every text of a file, so the walk is kept for the few that may be one.
    sections = [schema(), *schema()["$defs"].values()]
    return frozenset(
        key
        for section in sections
        for key, value in section.get("properties", {}).items()
        if '"writeOnly"' in json.dumps(value)
    )
