"""Oracle of the JSON rules of `_ext/token`: one document, left to right, as a tree.

Owns:      nothing. Called by: tests/oracle/token.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

SPACE = b" \t\r\n"
ESCAPES = dict(zip(b'"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))
MAX_EXACT = 2**53 - 1

Path = tuple[str, ...]
Rules = dict[Path, tuple[str, str]]  # what is asked of a member: kind, code if wrong


class Limits(Protocol):
    """What a document may have."""

    @property
    def max_depth(self) -> int: ...
    @property
    def max_members(self) -> int: ...
    @property
    def max_key_bytes(self) -> int: ...


class Fault(Exception):  # noqa: N818 - it is a verdict, not an error of the oracle
    """The first fault found; its argument is the name of the code."""


@dataclass(frozen=True)
class Num:
    """A JSON number as it was written."""

    text: str

    @property
    def exact(self) -> int | None:
        """Its value where it is an integer in [0, 2**53 - 1], else None."""
        if re.fullmatch(r"[0-9]{1,16}", self.text) and int(self.text) <= MAX_EXACT:
            return int(self.text)
        return None


FIRST_BYTES = {  # of the values that fit each kind
    "text": b'"',
    "name": b'"',
    "content type": b'"',
    "identifier": b'"-0123456789',
    "integer": b"-0123456789",
    "audience": b'"[',
    "scopes": b'"[',
    "object": b"{",
    "status list": b"{",
}


def judge(kind: str, code: str, value: Any) -> None:
    """Refuse a value that has the right type and is wrong all the same."""
    right = True
    if kind == "name":
        controls = any(character < " " for character in value)
        right = 1 <= len(value.encode()) <= 256 and not controls
    elif kind == "content type":
        if value.lower() in {"jwt", "application/jwt"}:
            raise Fault("nested")
    elif kind == "identifier" and isinstance(value, Num):
        right = bool(re.fullmatch(r"-?[1-9][0-9]*|0", value.text))
    elif kind == "integer":
        right = value.exact is not None
    elif kind == "audience":
        right = value not in ("", [])
    elif kind == "status list":
        right = "idx" in value and "uri" in value
    if not right:
        raise Fault(code)


@dataclass
class Parser:
    """One JSON document, read from left to right; the first fault is raised."""

    data: bytes
    limits: Limits
    rules: Rules
    at: int = 0
    depth: int = 0

    def byte(self) -> int | None:
        return self.data[self.at] if self.at < len(self.data) else None

    def peek(self) -> int | None:
        """The next byte that is no white space; None at the end."""
        while self.byte() is not None and self.data[self.at] in SPACE:
            self.at += 1
        return self.byte()

    def unexpected(self) -> Fault:
        return Fault("json_truncated" if self.byte() is None else "json_syntax")

    def expect(self, byte: bytes) -> None:
        if self.peek() != byte[0]:
            raise self.unexpected()
        self.at += 1

    def document(self) -> dict[str, Any]:
        first = self.peek()
        if first != ord("{"):
            raise Fault("json_truncated" if first is None else "not_object")
        value: dict[str, Any] = self.object(())
        if self.peek() is not None:
            raise Fault("trailing_data")
        return value

    def enter(self) -> None:
        self.at += 1
        self.depth += 1
        if self.depth > self.limits.max_depth:
            raise Fault("too_deep")

    def object(self, path: Path | None) -> dict[str, Any]:
        """An object; `path` leads to it through objects alone, else it is None."""
        self.enter()
        members: dict[str, Any] = {}
        while members or self.peek() != ord("}"):
            self.expect(b'"')
            key = self.string()
            if len(key.encode()) > self.limits.max_key_bytes:
                raise Fault("key_too_long")
            if len(members) == self.limits.max_members:
                raise Fault("too_many_members")
            if key in members:
                raise Fault("duplicate_member")
            here = None if path is None else (*path, key)
            if here in self.rules and self.rules[here][0] == "forbidden":
                raise Fault(self.rules[here][1])
            self.expect(b":")
            members[key] = self.member(here)
            if self.peek() == ord("}"):
                break
            self.expect(b",")
        self.at += 1
        self.depth -= 1
        return members

    def member(self, path: Path | None) -> Any:
        kind, code = self.rules.get(path, ("", "")) if path else ("", "")
        first = self.peek()
        if not kind:
            return self.value(path)
        if first is None or first not in FIRST_BYTES[kind]:
            if first is not None and first in b'"{[-0123456789tfn':
                raise Fault(code)
            raise self.unexpected()
        if first == ord("["):
            return self.texts(kind, code)
        value = self.value(path)
        judge(kind, code, value)
        return value

    def texts(self, kind: str, code: str) -> list[str]:
        """An array of strings: as array(), with a rule for each entry."""
        limit = 64 if kind == "audience" else 256
        entries: list[str] = []
        self.enter()
        if self.peek() == ord("]") and kind == "audience":
            raise Fault(code)
        while entries or self.peek() != ord("]"):
            first = self.peek()
            if first is not None and first in b"{[-0123456789tfn":
                raise Fault(code)
            self.expect(b'"')
            entry = self.string()
            if entry == "" or len(entries) == limit:
                raise Fault(code)
            entries.append(entry)
            if self.peek() == ord("]"):
                break
            self.expect(b",")
        self.at += 1
        self.depth -= 1
        return entries

    def array(self) -> list[Any]:
        self.enter()
        entries: list[Any] = []
        while entries or self.peek() != ord("]"):
            entries.append(self.value(None))
            if self.peek() == ord("]"):
                break
            self.expect(b",")
        self.at += 1
        self.depth -= 1
        return entries

    def value(self, path: Path | None) -> Any:
        first = self.peek()
        if first == ord('"'):
            self.at += 1
            return self.string()
        if first == ord("{"):
            return self.object(path)
        if first == ord("["):
            return self.array()
        if first is not None and first in b"-0123456789":
            return self.number()
        for word, meaning in ((b"true", True), (b"false", False), (b"null", None)):
            if first == word[0]:
                for byte in word:
                    if self.byte() != byte:
                        raise self.unexpected()
                    self.at += 1
                return meaning
        raise self.unexpected()

    def number(self) -> Num:
        start = self.at
        if self.byte() == ord("-"):
            self.at += 1
        whole = self.digits()
        if len(whole) > 1 and whole[0] == ord("0"):
            raise Fault("bad_number")
        if self.byte() == ord("."):
            self.at += 1
            self.digits()
        if self.byte() in (ord("e"), ord("E")):
            self.at += 1
            if self.byte() in (ord("+"), ord("-")):
                self.at += 1
            self.digits()
        return Num(self.data[start : self.at].decode("ascii"))

    def digits(self) -> bytes:
        found = re.compile(rb"[0-9]*").match(self.data, self.at)
        assert found
        if not found[0]:
            raise Fault("json_truncated" if self.byte() is None else "bad_number")
        self.at = found.end()
        return found[0]

    def string(self) -> str:
        """The rest of a string behind its opening quote."""
        characters: list[str] = []
        while self.byte() != ord('"'):
            byte = self.byte()
            if byte is None:
                raise Fault("json_truncated")
            if byte < 0x20:
                raise Fault("control_character")
            if byte == ord("\\"):
                characters.append(self.escape())
            else:
                size = (
                    1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                )
                try:
                    characters.append(self.data[self.at : self.at + size].decode())
                except UnicodeDecodeError:
                    raise Fault("bad_utf8") from None
                self.at += size
        self.at += 1
        return "".join(characters)

    def escape(self) -> str:
        self.at += 1
        byte = self.byte()
        if byte is None:
            raise Fault("json_truncated")
        self.at += 1
        if byte in ESCAPES:
            return ESCAPES[byte]
        if byte != ord("u"):
            raise Fault("bad_escape")
        unit = self.hex4()
        if not 0xD800 <= unit <= 0xDFFF:
            return chr(unit)
        if unit >= 0xDC00 or self.data[self.at : self.at + 2] != b"\\u":
            raise Fault("lone_surrogate")
        self.at += 2
        low = self.hex4()
        if not 0xDC00 <= low <= 0xDFFF:
            raise Fault("lone_surrogate")
        return (unit.to_bytes(2, "big") + low.to_bytes(2, "big")).decode("utf-16-be")

    def hex4(self) -> int:
        digits = self.data[self.at : self.at + 4]
        for digit in digits:
            if digit not in b"0123456789abcdefABCDEF":
                raise Fault("bad_escape")
        if len(digits) < 4:
            raise Fault("json_truncated")
        self.at += 4
        return int(digits, 16)
