"""Answer heads: which ones of an upstream are taken, before any parser sees them.

Owns:      the strict reading of a response head: syntax, and one meaning of framing.
Called by: the adapters that hold upstream connections, once per head.
Source:    RFC 9112 sections 4 to 6, RFC 9110 sections 6.4.1 and 15.3.5; THREATS U1, U2.

Parsers of answers are lenient by habit, and two lenient readers differ. A head is taken
only where there is nothing to be lenient about.
"""

import re

__all__ = ["is_chunked", "is_hopeless", "read_answer_head"]

_SWITCHING = 101
_NO_CONTENT = 204
_FIRST_FINAL = 200

# CRLF only, no folding, no blank before the colon, no control character. Possessive, so
# that no input makes it search twice.
_STATUS = rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"
_FIELD = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n"
_HEAD = re.compile(_STATUS + b"((?:" + _FIELD + rb")*+)\r\n")
_FRAMING = re.compile(
    rb"^(content-length|transfer-encoding):([^\r]*+)\r$",
    re.IGNORECASE | re.MULTILINE,
)
_UPGRADE = re.compile(
    rb"^upgrade:[ \t]*+websocket[ \t]*+\r$", re.IGNORECASE | re.MULTILINE
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_BARE_LF = re.compile(rb"(?<!\r)\n")


def is_hopeless(head: bytes | bytearray, start: int) -> bool:
    """Tell whether an unfinished head can only become a fault.

    start: Bytes of it that were searched before.
    """
    # A head with a bare LF may never end in CRLF CRLF, so it is not waited for.
    return _BARE_LF.search(head, max(0, start - 1)) is not None


def read_answer_head(head: bytes, *, upgrade: bool) -> tuple[int, int] | None:
    """Return status and announced length (-1: none) of a head, None for a fault.

    head: Complete, with its empty line. upgrade: A switch to WebSocket was asked for.
    """
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    status = int(match[2])
    if status == _SWITCHING and not (upgrade and _UPGRADE.search(match[3])):
        return None
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for name, value in _FRAMING.findall(match[3]):
        (lengths if name.lower() == b"content-length" else codings).append(
            value.strip(b" \t")
        )
    if not _is_clear(lengths, codings, minor=match[1]):
        return None
    length = int(lengths[0]) if lengths else -1
    bodiless = status < _FIRST_FINAL or status == _NO_CONTENT
    if bodiless and (codings or length > 0):
        return None
    return status, length


def is_chunked(head: bytes) -> bool:
    """Tell whether the body of a head that was taken comes in chunks."""
    found = _FRAMING.search(head)
    return found is not None and found[1].lower() == b"transfer-encoding"


def _is_clear(lengths: list[bytes], codings: list[bytes], *, minor: bytes) -> bool:
    # Two readers of any other head would see two bodies (RFC 9112 section 6.3).
    if len(lengths) + len(codings) > 1:
        return False
    if codings:
        return codings[0].lower() == b"chunked" and minor == b"1"
    return not lengths or _LENGTH.fullmatch(lengths[0]) is not None
