"""Source: YAML text to plain data, with the place of every key and value.

Owns:      reading YAML 1.2 strictly: no duplicate keys, no tags, no bombs.
Called by: config.load, for the file and for environment values.
Source:    YAML 1.2.2, core schema (section 10.3.2).

The syntax is ruamel.yaml's; only its events are read here, so that depth, size and
alias expansion are bounded before anything is built.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from fastgate.config.values import shown

__all__ = ["ListNode", "MapNode", "Node", "ScalarNode", "SourceError", "read"]

# Reason: the models are at most seven deep; deeper is a mistake or an attack.
_MAX_DEPTH = 32
# Reason: thousands of routes fit; an alias bomb does not.
_MAX_NODES = 200_000

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_BASED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+",
    re.ASCII,
)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class SourceError(Exception):
    """The text is not what a configuration may be.

    line, col: From 1.
    """

    def __init__(self, message: str, line: int, col: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.col = col


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it begins (line and column from 1)."""

    line: int
    col: int


@dataclass(frozen=True, slots=True)
class ScalarNode(Node):
    """One value.

    value: str, int, float, bool or None.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class ListNode(Node):
    """A list of nodes."""

    items: list[Node]


@dataclass(frozen=True, slots=True)
class MapNode(Node):
    """A mapping.

    entries: Key → (line of the key, its column, node), in written order.
    """

    entries: dict[str, tuple[int, int, Node]]


def read(text: str) -> tuple[Node, list[SourceError]]:
    """Return the tree of the one document in `text`, and faults that left it readable.

    Raises SourceError where reading had to stop.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        builder = _Builder(yaml.parse(text))
        return builder.document(), builder.faults
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = " ".join((error.problem or "is no YAML").split())
        raise SourceError(f"is no YAML: {message}", line, col) from error
    except YAMLError as error:
        # The reader's refusal of control characters carries an offset, no mark.
        at = getattr(error, "position", 0)
        line = text.count("\n", 0, at) + 1
        col = at - (text.rfind("\n", 0, at) + 1) + 1
        raise SourceError("has a character that YAML forbids", line, col) from error


class _Builder:
    """Turns events into nodes; holds anchors and the budget."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.faults: list[SourceError] = []
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()
        self._sizes: dict[int, int] = {}
        self._count = 0

    def document(self) -> Node:
        self._expect(StreamStartEvent)
        event = next(self._events)
        if isinstance(event, StreamEndEvent):
            raise SourceError("is empty", 1, 1)
        if not isinstance(event, DocumentStartEvent):
            raise SourceError("is no YAML", *_place(event))
        if event.version is not None and tuple(event.version) != (1, 2):
            raise SourceError("is read as YAML 1.2 only", *_place(event))
        node = self._node(next(self._events), 0)
        self._expect(DocumentEndEvent)
        event = next(self._events)
        if not isinstance(event, StreamEndEvent):
            raise SourceError("holds more than one document", *_place(event))
        return node

    def _expect(self, kind: type[Event]) -> None:
        event = next(self._events)
        if not isinstance(event, kind):
            raise SourceError("is no YAML", *_place(event))

    def _spend(self, count: int, event: Event) -> None:
        self._count += count
        if self._count > _MAX_NODES:
            raise SourceError(f"has more than {_MAX_NODES} values", *_place(event))

    def _node(self, event: Event, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise SourceError(f"nests deeper than {_MAX_DEPTH}", *_place(event))
        if isinstance(event, AliasEvent):
            return self._alias(event)
        before = self._count
        self._spend(1, event)
        tag = getattr(event, "tag", None)
        if tag is not None and str(tag) != "!":
            message = "has a tag; tags are not used here"
            self.faults.append(SourceError(message, *_place(event)))
        anchor = event.anchor if isinstance(event, NodeEvent) else None
        if not anchor:
            return self._value(event, depth)
        self._open.add(anchor)
        node = self._value(event, depth)
        self._open.discard(anchor)
        self._anchors[anchor] = node
        self._sizes[id(node)] = self._count - before
        return node

    def _value(self, event: Event, depth: int) -> Node:
        if isinstance(event, ScalarEvent):
            plain = event.implicit[0] and not event.style
            value = _resolve(event.value) if plain else event.value
            return ScalarNode(*_place(event), value)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, depth)
        if isinstance(event, MappingStartEvent):
            return self._mapping(event, depth)
        raise SourceError("is no YAML", *_place(event))

    def _alias(self, event: AliasEvent) -> Node:
        name = event.anchor
        if name in self._open:
            raise SourceError(f"*{name} contains itself", *_place(event))
        node = self._anchors.get(name)
        if node is None:
            raise SourceError(f"*{name} names nothing", *_place(event))
        # An alias costs what it expands to: a bomb runs out of budget, not of memory.
        self._spend(self._sizes[id(node)], event)
        return node

    def _sequence(self, start: SequenceStartEvent, depth: int) -> ListNode:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return ListNode(*_place(start), items)

    def _mapping(self, start: MappingStartEvent, depth: int) -> MapNode:
        entries: dict[str, tuple[int, int, Node]] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            line, col = _place(event)
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, ScalarNode) or not isinstance(key.value, str):
                message = "a key must be a text; put it in quotes"
                self.faults.append(SourceError(message, line, col))
            elif key.value in entries:
                first = entries[key.value][0]
                message = f'"{shown(key.value)}" is given twice, first in line {first}'
                self.faults.append(SourceError(message, line, col))
            else:
                entries[key.value] = (line, col, value)
        return MapNode(*_place(start), entries)


def _place(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1)


def _resolve(text: str) -> Any:
    # The core schema: `no` is a text, `010` is ten, a time stamp is a text.
    if text in _NULLS:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
