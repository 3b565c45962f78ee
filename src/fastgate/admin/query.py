"""Query: the query of a GET, read as strictly as the members of a body.

Owns:      the bounds of a query; names close by for one that is not known.
Called by: handlers of the admin API that take one.
Source:    REQUIREMENTS: what is not known is refused, with what was meant.
"""

from collections.abc import Collection
from urllib.parse import parse_qsl

from aiohttp import web

from fastgate.admin.members import Members
from fastgate.admin.problems import RefusedError, did_you_mean

__all__ = ["read_query", "whole"]

_MAX_QUERY = 1_024
_MAX_FIELDS = 16


def read_query(request: web.BaseRequest, known: Collection[str]) -> Members:
    """Return the members of a query, all of them texts; without one there are none.

    known: Names that are served. Raises RefusedError for anything else, and for a name
    that is given twice.
    """
    raw = request.raw_path.partition("?")[2]
    if not raw:
        return Members({})
    if len(raw) > _MAX_QUERY:
        raise RefusedError("bad_request", "the query is too long")
    try:
        pairs = parse_qsl(
            raw,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise RefusedError("bad_request", "the query cannot be read") from None
    given: dict[str, object] = {}
    for name, value in pairs:
        if name not in known:
            detail = did_you_mean(name, known)
            raise RefusedError("invalid_request", f"member {detail}", field=name[:64])
        if name in given:
            raise RefusedError("invalid_request", "is given twice", field=name)
        given[name] = value
    return Members(given)


def whole(members: Members, name: str, default: int, least: int, most: int) -> int:
    """Return a number of a query. Raises RefusedError where it is out of bounds."""
    text = members.text(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)):
        raise _wrong(name, least, most)
    if not least <= int(text) <= most:
        raise _wrong(name, least, most)
    return int(text)


def _wrong(name: str, least: int, most: int) -> RefusedError:
    detail = f"must be a whole number from {least} to {most}"
    return RefusedError("invalid_request", detail, field=name)
