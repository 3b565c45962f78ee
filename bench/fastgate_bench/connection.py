"""Connection: one client connection of the load generator, one request at a time.

Owns:      the framing of the answer that is being read; bodies are counted, not kept.
Called by: loader, which it tells of each complete answer and of its own end.
Source:    RFC 9112 section 6.3 (length of a message body), section 7.1 (chunked).
"""

import asyncio
from typing import Final, Protocol, cast

__all__ = ["Connection", "Owner"]

_HEAD_BYTES: Final = 65_536  # of an answer's head; a gateway sends a few hundred
_LINE_BYTES: Final = 256  # of a chunk-size line or trailer
_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304
_OK: Final = 200
_HEX: Final = 16
_LAST_DIGITS: Final = 15


class BadAnswerError(Exception):
    """What came is no answer that can be framed."""


class Owner(Protocol):
    """What a connection tells its run."""

    def answered(self, connection: "Connection", status: int, *, own: bool) -> None:
        """One complete answer came; `own`: it carries the tag of its request."""

    def ended(self, connection: "Connection", why: str) -> None:
        """The connection is gone; `why` is empty where that was to be expected."""


class Connection(asyncio.Protocol):
    """One connection.

    intended_ns: When the request under way should have been sent; 0: none is.
    served: Answers so far.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_closes",
        "_left",
        "_owner",
        "_status",
        "_tag",
        "_tag_name",
        "_transport",
        "intended_ns",
        "served",
    )

    def __init__(self, owner: Owner, tag_name: str) -> None:
        self._owner = owner
        self._tag_name = tag_name.lower().encode()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._tag = b""
        self._status = 0  # 0: the head is still to come
        self._left = 0  # octets of a body or a chunk; -1: until the end
        self._chunked = False
        self._closes = False
        self.intended_ns = 0
        self.served = 0

    def send(self, data: bytes, tag: bytes, intended_ns: int) -> None:
        """Send one request; the connection must be free."""
        self._tag = tag
        self._status = 0
        self.intended_ns = intended_ns
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close it; `ended` follows."""
        self._closes = True
        if self._transport is not None:
            self._transport.close()

    # -- asyncio -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Of uvloop, whose transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on; whatever cannot be framed ends the connection."""
        try:
            self._read(self._buffer + data if self._buffer else data)
        except BadAnswerError as error:
            self._fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the run, and what it means for the request under way."""
        self._transport = None
        if self.intended_ns and self._status and self._left < 0:
            self._finish()  # a body that ends with the connection
        why = "" if self._closes else "closed"
        if self.intended_ns:
            why = "reset" if exc is not None else "closed in an answer"
        self._owner.ended(self, why)

    # -- framing -----------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        self._buffer = b""
        if not self.intended_ns:
            raise BadAnswerError("an answer to nothing")
        if not self._status:
            data = self._head(data)
            if not self._status:
                self._buffer = data
                return
        if self._chunked:
            self._chunks(data)
        elif self._left >= 0:
            self._left -= len(data)
            if self._left < 0:
                raise BadAnswerError("more than the announced length")
            if not self._left:
                self._finish()

    def _head(self, data: bytes) -> bytes:
        """Take the head off; what is returned is its body, or an incomplete head."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _HEAD_BYTES:
                raise BadAnswerError("endless head")
            return data
        head, rest = data[:end].lower(), data[end + 4 :]
        digits = head[9:12]
        if not head.startswith(b"http/1.") or not digits.isdigit():
            raise BadAnswerError("no HTTP/1 answer")
        status = int(digits)
        if status < _OK:
            return self._head(rest)  # 100, 103: the answer itself follows
        self._status = status
        self._frame(head)
        if self._tag_name and self._tag not in _values(head, self._tag_name):
            self._tag = b""
        return rest

    def _frame(self, head: bytes) -> None:
        self._closes = b"close" in _values(head, b"connection")
        self._chunked = False
        self._left = -1
        length = _values(head, b"content-length")
        if self._status in {_NO_CONTENT, _NOT_MODIFIED}:
            self._left = 0
        elif b"chunked" in _values(head, b"transfer-encoding"):
            self._chunked, self._left = True, 0
        elif length:
            if len(length) != 1 or not length[0].isdigit():
                raise BadAnswerError("a Content-Length that is no number")
            if len(length[0]) > _LAST_DIGITS:
                raise BadAnswerError("a Content-Length past all bounds")
            self._left = int(length[0])
        elif not self._closes:
            raise BadAnswerError("an answer without length")

    def _chunks(self, data: bytes) -> None:
        """Read chunks; `_left` is what the current one still owes, with its CRLF."""
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                continue
            end = data.find(b"\r\n")
            if end < 0:
                if len(data) > _LINE_BYTES:
                    raise BadAnswerError("endless chunk size")
                self._buffer = data
                return
            size = _chunk_size(data[:end])
            if size:
                self._left = size + 2
                data = data[end + 2 :]
            elif data[end:] == b"\r\n\r\n":
                self._finish()
                return
            elif len(data) - end > _LINE_BYTES or len(data) - end >= len(b"\r\n\r\n"):
                raise BadAnswerError("trailers, or more than the last chunk")
            else:
                self._buffer = data
                return

    def _finish(self) -> None:
        status, own = self._status, bool(self._tag) or not self._tag_name
        self._status = 0
        self.served += 1
        self._owner.answered(self, status, own=own)
        if self._closes and self._transport is not None:
            self._transport.close()

    @property
    def is_open(self) -> bool:
        """Tell whether another request may be sent on it."""
        return self._transport is not None and not self._closes

    def _fail(self, why: str) -> None:
        self._owner.ended(self, why)
        self.intended_ns = 0
        self._closes = True
        if self._transport is not None:
            self._transport.abort()


def _values(head: bytes, name: bytes) -> list[bytes]:
    """Return every value of a header; `head` and `name` are in lower case."""
    found = []
    at = head.find(b"\r\n" + name + b":")
    while at >= 0:
        start = at + len(name) + 3
        end = head.find(b"\r\n", start)
        found.append(head[start : end if end >= 0 else len(head)].strip())
        at = head.find(b"\r\n" + name + b":", start)
    return found


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 0 < len(digits) <= _LAST_DIGITS:
        raise BadAnswerError("no chunk size")
    try:
        return int(digits, _HEX)
    except ValueError as error:
        raise BadAnswerError("no chunk size") from error
