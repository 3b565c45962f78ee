"""Log lines: what a line may say, and how any text is spelled in it.

Owns:      the closed set of access fields; the one spelling of hostile text.
Called by: adapters.log_writer, for each access and audit line.
Source:    RFC 8259 section 7 (escapes), THREATS.md T19 (log and terminal injection).

A line is printable ASCII: no field can move a cursor, end a line or turn the reading
direction round, whatever the terminal believes its character set to be.
"""

import json
import math
import re
from collections.abc import Mapping

import orjson

__all__ = ["ACCESS_FIELDS", "encode_access", "encode_ascii"]

# What an access line may say beside `ts`, `msg` and the hashed peer. Never a token, a
# query, a subject or a path.
ACCESS_FIELDS = frozenset(
    {
        *("request_id", "trace_id", "method", "route", "proto", "status", "bytes_in"),
        *("bytes_out", "duration_ms", "upstream_ms", "overhead_us", "lane", "region"),
        *("region_source", "gateway_region", "token", "verdict", "reason", "kid"),
        *("cache", "age_ms"),
    }
)

# Characters a text may have in an access line; the first that lets it fit is used.
_TEXT_LIMITS = (256, 64, 8)
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode_access(fields: Mapping[str, object], room_bytes: int) -> bytes:
    """Return the JSON object of ACCESS_FIELDS; other names are left out.

    room_bytes: Longest result, 3,072 at least; texts are cut to it, ending in `…`.
    Raises nothing: a value that is no JSON scalar becomes null.
    """
    if not fields.keys() <= ACCESS_FIELDS:
        fields = {name: fields[name] for name in fields if name in ACCESS_FIELDS}
    try:
        encoded = orjson.dumps(fields)
    except TypeError:  # half a surrogate pair, an integer past 64 bits, an object
        return _encode_cut(fields, room_bytes)
    if encoded.isascii() and b"\x7f" not in encoded and len(encoded) <= room_bytes:
        return encoded
    return _encode_cut(fields, room_bytes)


def encode_ascii(fields: Mapping[str, object]) -> bytes:
    r"""Return a JSON object in which all but printable ASCII is spelled \uXXXX.

    Raises TypeError for a value that JSON cannot say, ValueError for one not finite.
    """
    text = json.dumps(
        _without_surrogates(fields), allow_nan=False, separators=(",", ":")
    )
    return text.replace("\x7f", "\\u007f").encode("ascii")


def _encode_cut(fields: Mapping[str, object], room_bytes: int) -> bytes:
    encoded = b""
    for limit in _TEXT_LIMITS:
        encoded = encode_ascii({n: _cut(v, limit) for n, v in fields.items()})
        if len(encoded) <= room_bytes:
            break
    return encoded


def _cut(value: object, limit: int) -> object:
    match value:
        case str():
            return value if len(value) <= limit else f"{value[:limit]}…"
        case int():
            return value if abs(value) < 1 << 63 else None
        case float():
            return value if math.isfinite(value) else None
        case _:
            return None


def _without_surrogates(value: object) -> object:
    # Half a surrogate pair would make a line that strict readers refuse.
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case Mapping():
            return {name: _without_surrogates(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_without_surrogates(inner) for inner in value]
        case _:
            return value
