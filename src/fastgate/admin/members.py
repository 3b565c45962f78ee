"""Members: the JSON body of a request, read strictly.

Owns:      the size and time limits of a body; types of members, and names close by.
Called by: the handlers of the admin API.
Source:    RFC 8259; REQUIREMENTS: what is not known is refused, with what was meant.
"""

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence

import orjson
from aiohttp import hdrs, web

from fastgate.admin.problems import RefusedError, did_you_mean

__all__ = ["Members", "read_body", "read_members", "required"]

_MAX_BODY_BYTES = 64 * 1024
_BODY_S = 10.0
_JSON = "application/json"


async def read_members(request: web.BaseRequest, known: Collection[str]) -> "Members":
    """Return the members of a request's body; an empty body has none.

    known: Names that are served. Raises RefusedError for anything else.
    """
    _check_type(request)
    raw = await read_body(request)
    try:
        document = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        raise RefusedError("bad_request", "the body is no JSON") from None
    if not isinstance(document, dict):
        raise RefusedError("bad_request", "the body is no JSON object")
    for name in document:
        if name not in known:
            detail = did_you_mean(name, known)
            raise RefusedError("invalid_request", f"member {detail}", field=name[:64])
    return Members(document)


def _check_type(request: web.BaseRequest) -> None:
    # A page of another site cannot send this type without a preflight, and there is no
    # CORS here to grant one (CVE-2026-27589).
    types = request.headers.getall(hdrs.CONTENT_TYPE, [])
    parts = [part.strip().lower() for part in types[0].split(";")] if types else []
    plain = parts in ([_JSON], [_JSON, "charset=utf-8"])
    if len(types) != 1 or not plain or hdrs.CONTENT_ENCODING in request.headers:
        raise RefusedError("unsupported_media_type", headers={"Accept": _JSON})


async def read_body(request: web.BaseRequest) -> bytes:
    """Return a body of at most 64 KiB that arrives in time. Raises RefusedError."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            while part := await request.content.readany():
                body += part
                if len(body) > _MAX_BODY_BYTES:
                    raise RefusedError("body_too_large", close=True)
    except TimeoutError:
        raise RefusedError("request_timeout", close=True) from None
    except web.RequestPayloadError:
        raise RefusedError("bad_request", close=True) from None
    return bytes(body)


class Members:
    """Members of one body, taken by name and type; absent and null are the same."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document

    def text(self, name: str) -> str | None:
        """Return a text."""
        value = self._document.get(name)
        if value is not None and not isinstance(value, str):
            raise _wrong(name, "must be a text")
        return value

    def choice(self, name: str, known: Collection[str]) -> str | None:
        """Return a text that is one of `known`."""
        value = self.text(name)
        if value is not None and value not in known:
            raise _wrong(name, did_you_mean(value, known))
        return value

    def flag(self, name: str) -> bool:
        """Return a truth value, False where it is absent."""
        value = self._document.get(name)
        if value is not None and not isinstance(value, bool):
            raise _wrong(name, "must be true or false")
        return bool(value)

    def whole(self, name: str) -> int | None:
        """Return a whole number."""
        value = self._document.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise _wrong(name, "must be a whole number")

    def number(self, name: str) -> float | None:
        """Return a finite number."""
        value = self._document.get(name)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
            if math.isfinite(number):
                return number
        raise _wrong(name, "must be a number")

    def form(self, name: str) -> dict[str, Sequence[str]] | None:
        """Return an object whose values are texts, or lists of texts."""
        value = self._document.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _wrong(name, "must be an object")
        form: dict[str, Sequence[str]] = {}
        for field, given in value.items():
            values = given if isinstance(given, list) else [given]
            if not all(isinstance(each, str) for each in values):
                raise _wrong(name, "has a value that is no text")
            form[field] = tuple(values)
        return form


def _wrong(name: str, detail: str) -> RefusedError:
    return RefusedError("invalid_request", detail, field=name)


def required(name: str) -> RefusedError:
    """Return the refusal of a request that lacks a member."""
    return _wrong(name, "is required")
