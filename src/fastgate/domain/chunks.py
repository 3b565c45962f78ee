"""Chunked bodies of answers: read strictly, before any lenient parser sees them.

Owns:      what of a chunked body is data, where it ends, and what is no chunk.
Called by: the adapters that hold upstream connections, for each segment of such a body.
Source:    RFC 9112 section 7.1, RFC 9110 section 6.5.1; THREATS U1, T17 and section 4.

The rules are those of the compiled lane (_ext/http1_chunks); a test compares the two.
Extensions and trailers are checked, bounded and dropped.
"""

import re

__all__ = ["ChunkReader"]

# Reasons: THREATS section 4; 15 digits are more than any disk.
_MAX_EXTENSION = 256
_MAX_EXTENSIONS = 16_384
_MAX_TRAILER_BYTES = 8_192
_MAX_TRAILERS = 32
_MAX_LINE = 15 + _MAX_EXTENSION
_CRLF = b"\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_PAIR = _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + b"|" + _QUOTED + b"))?"
# No blank before the first semicolon, and none at the end: the size and the line mean
# the same to every reader. Those in between RFC 9112 section 7.1.1 wants read.
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(;[ \t]*+" + _PAIR + rb"(?:[ \t]*;[ \t]*+" + _PAIR + rb")*)?"
)
# What a line that has not ended may be so far; all else can only become a fault.
_SIZE_SO_FAR = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:;[\t\x20-\x7e\x80-\xff]*+)?\r?)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^`|~0-9A-Za-z]++):[\t\x20-\x7e\x80-\xff]*+")
_TRAILER_SO_FAR = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+\r?")
# Some reader could take one of these for the header that it is not.
_NO_TRAILER = frozenset(
    {
        *(b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade"),
        *(b"te", b"expect", b"authorization", b"cookie", b"dpop"),
    }
)


class ChunkReader:
    """Reads one chunked body, in whatever segments it comes.

    ended: The body has come to its end. rest: Bytes behind it, which belong to nobody.
    """

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._held = bytearray()
        self._left = 0  # bytes of the current chunk still to come
        self._closing = False  # the CRLF behind a chunk's data is to come
        self._in_trailers = False
        self._extensions = 0
        self._trailers = 0
        self._trailer_bytes = 1  # of the empty line at the end

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return the data in the next segment, and whether all of it was in order.

        After a fault nothing more may be fed.
        """
        held = self._held
        held += data
        found = bytearray()
        at = 0
        while not self.ended:
            if self._left:
                piece = held[at : at + self._left]
                found += piece
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._closing = True
            end = at if self._closing else held.find(_CRLF, at)
            if end < 0 or len(held) - end < len(_CRLF):
                if not self._may_go_on(held[at:]):
                    return bytes(found), False
                break
            if held[end : end + 2] != _CRLF or not self._take(bytes(held[at:end])):
                return bytes(found), False
            at = end + 2
        del held[:at]
        if self.ended:
            self.rest = bytes(held)
        return bytes(found), True

    def _may_go_on(self, part: bytearray) -> bool:
        """Tell whether the start of a line may become one."""
        if self._closing:
            return bytes(part) in {b"", b"\r"}
        if self._in_trailers:
            room = _MAX_TRAILER_BYTES + 1 - self._trailer_bytes
            return len(part) <= room and _TRAILER_SO_FAR.fullmatch(part) is not None
        return len(part) <= _MAX_LINE + 1 and _SIZE_SO_FAR.fullmatch(part) is not None

    def _take(self, line: bytes) -> bool:
        """Take a line without its CRLF; False for a fault."""
        if self._closing:
            self._closing = False
            return True
        if self._in_trailers:
            return self._take_trailer(line)
        match = _SIZE.fullmatch(line) if len(line) <= _MAX_LINE else None
        if match is None:
            return False
        extension = len(match[2] or b"")
        self._extensions += extension
        self._left = int(match[1], 16)
        self._in_trailers = self._left == 0
        return extension <= _MAX_EXTENSION and self._extensions <= _MAX_EXTENSIONS

    def _take_trailer(self, line: bytes) -> bool:
        if not line:
            self.ended = True
            return True
        self._trailers += 1
        self._trailer_bytes += len(line) + len(_CRLF)
        match = _TRAILER.fullmatch(line)
        return (
            match is not None
            and match[1].lower() not in _NO_TRAILER
            and self._trailers <= _MAX_TRAILERS
            and self._trailer_bytes <= _MAX_TRAILER_BYTES
        )
