"""Slow readings of what went over wires: requests, and answers to them.

Owns:      a plain second opinion on both, which shares no code with the product.
Called by: tests.fuzz.lane, which compares the two sides of a gateway by them.
Source:    RFC 9112 sections 2 to 7, RFC 9110 section 6.4.1.
"""

import re
from dataclasses import dataclass

from tests.fuzz.requests import CHUNKED, MalformedError, framing, unchunked

_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
_ENDS = b"\r\n\r\n"


@dataclass
class Said:
    """One message: its head, its content as far as it came, whether it is whole.

    at: Where it begins among the bytes that were read; end: where it ends, or where
    what is there of it ends. length: As announced; CHUNKED, or -2: up to the end.
    """

    line: bytes
    fields: list[tuple[bytes, bytes]]
    content: bytes
    whole: bool
    at: int
    end: int
    length: int

    def all(self, name: bytes) -> list[bytes]:
        """Values of a field by lower-case name."""
        return [value for key, value in self.fields if key.lower() == name]

    def one(self, name: bytes) -> bytes | None:
        """The only value of a field; None where it is absent."""
        values = self.all(name)
        assert len(values) <= 1, f"two fields {name!r}"
        return values[0] if values else None

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    @property
    def status(self) -> int:
        return int(self.line.split(b" ")[1])

    def options(self) -> list[bytes]:
        """Names that Connection lists, in lower case."""
        listed = b",".join(self.all(b"connection")).lower().split(b",")
        return [name.strip(b" \t") for name in listed if name.strip(b" \t")]

    def ends_connection(self) -> bool:
        """Whether no message may follow this request on its connection."""
        return self.line.endswith(b"HTTP/1.0") or b"close" in self.options()


UNTIL_END = -2


def fields_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Pairs of name and value."""
    parts = (line.partition(b":") for line in lines.split(b"\r\n") if line)
    return [(name, value.strip(b" \t")) for name, _, value in parts]


def read_requests(data: bytes, *, lenient: bool) -> tuple[list[Said], int]:
    """Requests in `data`, and where the first byte is that belongs to none of them.

    lenient: They come from a client: an empty line before each is forgiven, and the
    reading ends at the first that is malformed; else that is an AssertionError.
    """
    found: list[Said] = []
    at = 0
    while at < len(data):
        start = at + 2 if lenient and data.startswith(b"\r\n", at) else at
        end = data.find(_ENDS, start)
        if end < 0:
            break
        end += len(_ENDS)
        head = data[start:end]
        try:
            length = framing(head)
        except AssertionError:
            if lenient:
                break
            raise
        said = _request(data, head, start, end, length, lenient=lenient)
        found.append(said)
        at = said.end
        if not said.whole or (lenient and said.ends_connection()):
            break
    return found, at


def _request(
    data: bytes, head: bytes, at: int, end: int, length: int, *, lenient: bool
) -> Said:
    line, _, lines = head.partition(b"\r\n")
    if length != CHUNKED:
        content = data[end : end + length]
        whole, stop = len(content) == length, end + len(content)
    else:
        try:
            content, size = unchunked(data[end:])
        except MalformedError as fault:
            if not lenient:
                raise
            content, size = fault.content, -1
        whole = size >= 0
        stop = end + size if whole else len(data)
    return Said(line, fields_of(lines), content, whole, at, stop, length)


def read_answer(data: bytes, method: bytes, *, ended: bool) -> Said | None:
    """The final answer at the start of `data`; None where it has not come.

    method: Of the request. ended: The connection ended cleanly behind `data`.
    Raises AssertionError for what is no answer.
    """
    at = 0
    while True:
        end = data.find(_ENDS, at)
        if end < 0:
            return None
        end += len(_ENDS)
        match = _HEAD.fullmatch(data[at:end])
        assert match is not None, f"no answer: {data[at:end]!r}"
        if int(match[2]) >= 200:
            break
        at = end
    said = Said(data[at : end - 4].partition(b"\r\n")[0], [], b"", True, at, end, 0)
    said.fields = fields_of(match[3])
    lengths, codings = said.all(b"content-length"), said.all(b"transfer-encoding")
    assert len(lengths) + len(codings) <= 1, "two framings"
    if method == b"HEAD" or said.status in {204, 304}:
        return said
    if codings:
        assert codings[0].lower() == b"chunked", "another coding"
        assert match[1] == b"1", "a coding in HTTP/1.0"
        said.length = CHUNKED
        try:
            said.content, size = unchunked(data[end:])
        except MalformedError as fault:
            said.content, size = fault.content, -1
        said.whole = size >= 0
        said.end = end + size if said.whole else len(data)
    elif lengths:
        assert re.fullmatch(rb"[0-9]+", lengths[0]), "no length"
        said.length = int(lengths[0])
        said.content = data[end : end + said.length]
        said.whole = len(said.content) == said.length
        said.end = end + len(said.content)
    else:
        said.length = UNTIL_END
        said.content, said.whole, said.end = data[end:], ended, len(data)
    return said
