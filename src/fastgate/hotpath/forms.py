"""Forms: read the body of an OAuth message so that it can be routed.

Owns:      the bounds and the one way a form is decoded; its bytes are kept.
Called by: hotpath.relay when the gate asks for the form.
Source:    PROTOCOLS section 15 rule 2, THREATS R5; the urlencoded parser of the URL
           standard, made strict: what two readers could read differently is refused.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from fastgate.domain.verdict import Reason
from fastgate.errors import CallerError
from fastgate.ports import Exchange

__all__ = ["FORM_TYPE", "decode_form", "read_form"]

FORM_TYPE = "application/x-www-form-urlencoded"
# Reason: an OAuth message has some twenty fields; each costs objects.
_MAX_FIELDS = 256
_HEX = frozenset(b"0123456789abcdefABCDEF")


async def read_form(
    exchange: Exchange, *, content_type: str, length: int, limit_bytes: int
) -> tuple[bytes, Mapping[str, Sequence[str]]]:
    """Return the body as it came, and its fields.

    content_type: Lower case, without parameters. length: Announced, -1 when chunked.
    limit_bytes: A larger body is refused, announced or not.
    Raises CallerError: 415 for another type, 413 for too much, 400 for a bad encoding.
    """
    if content_type != FORM_TYPE:
        raise CallerError(Reason.UNSUPPORTED_MEDIA_TYPE)
    if length > limit_bytes:
        raise CallerError(Reason.BODY_TOO_LARGE)
    parts: list[bytes] = []
    total = 0
    while data := await exchange.read():
        total += len(data)
        if total > limit_bytes:
            raise CallerError(Reason.BODY_TOO_LARGE)
        parts.append(data)
    body = b"".join(parts)
    return body, decode_form(body)


def decode_form(body: bytes) -> dict[str, list[str]]:
    """Return names and values; a name that came twice has two values.

    Bytes that are no UTF-8 become U+FFFD: such a value names no region, and the
    upstream gets the original bytes anyway (a password may be in any encoding).
    Raises CallerError for a broken percent sequence or too many fields.
    """
    fields: dict[str, list[str]] = {}
    count = 0
    for pair in body.split(b"&", _MAX_FIELDS):
        if not pair:
            continue
        count += 1
        name, _, value = pair.partition(b"=")
        fields.setdefault(_decoded(name), []).append(_decoded(value))
        if count > _MAX_FIELDS:
            raise CallerError(Reason.INVALID_REQUEST)
    return fields


def _decoded(text: bytes) -> str:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text.decode("utf-8", "replace")
    at = text.find(b"%")
    while at >= 0:
        digits = text[at + 1 : at + 3]
        if len(digits) != 2 or not _HEX.issuperset(digits):  # noqa: PLR2004 - RFC 3986 section 2.1
            raise CallerError(Reason.INVALID_REQUEST)
        at = text.find(b"%", at + 3)
    return unquote_to_bytes(text).decode("utf-8", "replace")
