"""Request targets: one canonical form to route on, the raw form to forward.

Owns:      which targets are accepted, and what a path means.
Called by: both lanes, before the gate.
Source:    RFC 9112 section 3.2, RFC 3986 section 6.2.2; THREATS.md T5, T7.

Routing reads the canonical path while the raw bytes are forwarded. That is safe only if
no reader of the raw path can see another resource, so every spelling whose meaning
depends on the reader (dot segments, encoded slashes, backslashes) is refused.
"""

import re
from typing import NamedTuple

__all__ = ["Target", "canonical_path", "other_readings", "parse_target"]

_UNRESERVED = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_PERCENT, _SPACE, _DELETE = 0x25, 0x20, 0x7F
_HEX = {
    digit: value
    for value, pair in enumerate(
        (
            *(b"%d" % digit for digit in range(10)),
            b"aA",
            b"bB",
            b"cC",
            b"dD",
            b"eE",
            b"fF",
        )
    )
    for digit in pair
}
# RFC 3986 pchar without "%", plus "/" (path) or "/?" (query). Servers also meet raw
# characters such as "|" or "{" from browsers in queries; those are legal there.
_PATH = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*")
_QUERY = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]{}|^`\"<>\\]*")
# "..;x" is ".." to servers that drop path parameters, "..%2F" to those that decode
# before they split.
_DOT_SEGMENT = re.compile(rb"(?:/|%2F|%5C)\.\.?(?:/|%2F|%5C|;|%3B|\Z)")
# Longer spellings of a character, which lax decoders take (RFC 3629 section 10). A
# letter of an older encoding is let be: no continuation byte comes behind it.
_OVERLONG = re.compile(
    rb"%(?:C[01]%[89AB]|E0%[89]|F0%8|F8%8[0-7]|FC%8[0-3])", re.IGNORECASE
)
_PARAMETERS = re.compile(r"(?:;|%3B)[^/]*")
_CUT = re.compile(r"(?:%3F|%23).*")
_SEPARATORS = re.compile(r"(?:/|%2F|%5C)+")
_TWICE = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")
_ENCODED_SEPARATORS = ("%2F", "%5C")


class Target(NamedTuple):
    """An accepted request target.

    raw: Path and query exactly as received; what is forwarded.
    path: Canonical path; what is routed on.
    encoded_separators: The path holds %2F or %5C, which only routes that opt in take.
    """

    raw: bytes
    path: str
    encoded_separators: bool


def canonical_path(raw: bytes) -> str | None:
    """Return the path that every reader of `raw` agrees on, or None where they differ.

    raw: Path without query, as received. %2F and %5C stay as opaque text: the gate
        refuses them unless the route opts in.
    Source: RFC 3986 section 6.2.2.2 (decode unreserved), THREATS.md T7.
    """
    if not _PATH.fullmatch(raw):
        return None
    if b"%" in raw:
        decoded = _decode_unreserved(raw)
        if decoded is None:
            return None
        raw = decoded
    if b"//" in raw:
        return None
    if b"." in raw and _DOT_SEGMENT.search(raw):
        return None
    if b"%" in raw and _OVERLONG.search(raw):
        return None
    return raw.decode("ascii")


def _decode_unreserved(raw: bytes) -> bytes | None:
    out = bytearray()
    at = 0
    while at < len(raw):
        byte = raw[at]
        if byte != _PERCENT:
            out.append(byte)
            at += 1
            continue
        if at + 2 >= len(raw):
            return None
        high, low = _HEX.get(raw[at + 1]), _HEX.get(raw[at + 2])
        if high is None or low is None:
            return None
        value = high << 4 | low
        if value < _SPACE or value == _DELETE:
            return None
        if value in _UNRESERVED:
            out.append(value)
        else:
            out += b"%%%02X" % value
        at += 3
    return bytes(out)


def parse_target(target: bytes, *, authority: bytes | None = None) -> Target | None:
    """Return the accepted form of a request target, or None for a 400.

    target: The request-target as received.
    authority: The Host header; absolute-form is accepted only where it is equal.
    Source: RFC 9112 section 3.2; origin-form, or absolute-form naming this very host.
    """
    if not target.startswith(b"/"):
        if authority is None:
            return None
        for scheme in (b"http://", b"https://"):
            if target[: len(scheme)].lower() == scheme:
                rest = target[len(scheme) :]
                break
        else:
            return None
        host, slash, tail = rest.partition(b"/")
        if not slash or not host or host.lower() != authority.lower():
            return None
        target = slash + tail
    path, mark, query = target.partition(b"?")
    if mark and not _QUERY.fullmatch(query):
        return None
    canonical = canonical_path(path)
    if canonical is None:
        return None
    encoded = b"%" in path and any(mark in canonical for mark in _ENCODED_SEPARATORS)
    return Target(target, canonical, encoded)


def other_readings(path: str) -> tuple[str | None, ...]:
    """Return what servers that read more into a canonical path make of it.

    One that drops path parameters; and one that also decodes again what it decoded,
    takes encoded slashes for slashes and cuts at an encoded "?" or "#". None stands for
    a path that is not canonical then. All are to mean the same route.
    Source: RFC 3986 section 3.3 (parameters); CVE-2025-66490 and others of T7.
    """
    plain = _SEPARATORS.sub("/", _PARAMETERS.sub("", path))
    again = canonical_path(_TWICE.sub("%", path).encode())
    if again is None:
        return plain, None
    again = _PARAMETERS.sub("", _CUT.sub("", again))
    return plain, _SEPARATORS.sub("/", again)
