"""JSON from issuers, read strictly: one meaning per document, or none.

Owns:      nothing.
Called by: control.jwks, control.discovery, control.introspection_answer.
Source:    RFC 8259; RFC 7517 section 4 and RFC 7515 section 4 (unique member names).
"""

import json
from typing import TypeGuard

import orjson

__all__ = ["JsonError", "is_int", "read_object"]

# Source: RFC 7519 section 2 with RFC 8259 section 6: exact in every implementation.
_MAX_EXACT = 2**53 - 1


class JsonError(ValueError):
    """The text is no JSON object with unique names; nothing of it is in the message."""


def read_object(body: bytes) -> dict[str, object]:
    """Return the JSON object that `body` is, and nothing else.

    body: UTF-8 without BOM, of a size the caller has bounded.
    Raises JsonError, also for doubled member names at any level, NaN, lone surrogates,
    and nesting that a parser gives up on.
    """
    try:
        # orjson is strict about text and numbers but lets the last of two members win,
        # json tells about both members but takes NaN and broken text: each covers the
        # other's leniency.
        value = orjson.loads(body)
        json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise JsonError("no strict JSON") from None
    if not isinstance(value, dict):
        raise JsonError("no JSON object")
    return value


def is_int(value: object, *, least: int = 0) -> TypeGuard[int]:
    """Tell whether `value` is an exact integer from `least` to 2^53 - 1, no boolean."""
    return type(value) is int and least <= value <= _MAX_EXACT


def _unique(pairs: list[tuple[str, object]]) -> None:
    # Source: RFC 7515 section 4: names are compared after unescaping, as they are here.
    if len({name for name, _ in pairs}) != len(pairs):
        raise JsonError("doubled member name")
