"""Answers: what a client gets, ours and the upstream's.

Owns:      problem bodies, challenges, the head of an answer, the region cookie.
Called by: hotpath.relay and hotpath.forwarding, for both lanes.
Source:    RFC 6750 section 3, RFC 9457, RFC 9110 section 15, RFC 9112 section 6.

Nothing of a token, a header value or an exception text ever gets into an answer of
ours: the exact reason is for log, metrics and a route's debug header.
"""

import email.utils
import http
import re

import orjson

from fastgate.domain.region import RegionCookie
from fastgate.domain.request import HOP_BY_HOP, is_reserved, normalised
from fastgate.domain.route import Route
from fastgate.domain.verdict import OUTCOMES, Challenge, Outcome, Reason
from fastgate.hotpath.headers import RawHeaders

__all__ = [
    "ANSWER_DROPPED",
    "STATUS_LINES",
    "Framing",
    "answer_head",
    "bodiless",
    "challenge",
    "http_date",
    "problem",
    "region_cookie",
]

_PROBLEM_TYPE = "urn:fastgate:problem:"
_DESCRIPTIONS = {
    Challenge.INVALID_TOKEN: "The access token is not valid.",
    Challenge.INVALID_REQUEST: "The request is ambiguous.",
    Challenge.INSUFFICIENT_SCOPE: "The access token lacks a scope.",
}
_ERRORS = {
    Challenge.INVALID_TOKEN: "invalid_token",
    Challenge.INVALID_REQUEST: "invalid_request",
    Challenge.INSUFFICIENT_SCOPE: "insufficient_scope",
}
# Ours to write, or nobody's business outside (THREATS U5).
ANSWER_DROPPED = HOP_BY_HOP | {"content-length", "server", "x-request-id", "date"}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ALLOWED_METHODS = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_NO_CONTENT = 204
_NOT_MODIFIED = 304
_SWITCHING = 101
_FIRST_FINAL = 200

# The reason phrase is rewritten: an upstream's may hold anything (CVE-2026-34519).
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode("ascii")
    for status in http.HTTPStatus
}


class Framing:
    """How the body of an answer ends.

    length: Bytes, -1: not known. chunked: Each write is a chunk.
    close: The connection ends with the answer.
    """

    __slots__ = ("chunked", "close", "length")

    def __init__(self, length: int, *, chunked: bool, close: bool) -> None:
        self.length = length
        self.chunked = chunked
        self.close = close

    @classmethod
    def of(cls, *, length: int, bodiless: bool, minor: int, close: bool) -> "Framing":
        """Choose the framing of a body for a client.

        length: What the upstream announced, -1: it did not. minor: HTTP/1.minor of the
            client, which knows no chunks in HTTP/1.0.
        Source: RFC 9112 section 6.3.
        """
        if bodiless or length >= 0:
            return cls(length, chunked=False, close=close)
        if minor == 0:
            return cls(-1, chunked=False, close=True)
        return cls(-1, chunked=True, close=close)


def bodiless(method: str, status: int) -> bool:
    """Tell whether an answer has no body whatever its headers say (RFC 9112 6.3)."""
    return (
        method == "HEAD"
        or status in {_NO_CONTENT, _NOT_MODIFIED}
        or status < _FIRST_FINAL
    )


class _Date:
    # The text of one second; formatting it costs more than the rest of a head.
    second = -1
    text = b""


def http_date(wall_s: float) -> bytes:
    """Return a Date header value (RFC 9110 section 6.6.1)."""
    second = int(wall_s)
    if second != _Date.second:
        text = email.utils.formatdate(second, usegmt=True)
        _Date.text, _Date.second = text.encode("ascii"), second
    return _Date.text


def _quoted(text: str) -> str:
    # RFC 9110 section 5.6.4; other bytes than visible ASCII do not fit a challenge.
    visible = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + visible.replace("\\", "\\\\").replace('"', '\\"') + '"'


def challenge(kind: Challenge, route: Route | None) -> bytes:
    """Return the WWW-Authenticate value of an answer, b"" for none.

    route: Whose realm, scope and metadata are named; None before one was found.
    Source: RFC 6750 section 3; RFC 9728 section 5.1 (resource_metadata).
    """
    if kind is Challenge.NONE:
        return b""
    members = [f"realm={_quoted(route.realm if route else 'api')}"]
    if kind in _ERRORS:
        members.append(f"error={_quoted(_ERRORS[kind])}")
        members.append(f"error_description={_quoted(_DESCRIPTIONS[kind])}")
    if route is not None:
        if route.scope_text and kind in (Challenge.BARE, Challenge.INSUFFICIENT_SCOPE):
            members.append(f"scope={_quoted(route.scope_text)}")
        if route.resource_metadata and kind is not Challenge.INSUFFICIENT_SCOPE:
            members.append(f"resource_metadata={_quoted(route.resource_metadata)}")
    return b"Bearer " + ", ".join(members).encode("ascii")


def problem(
    reason: Reason,
    *,
    route: Route | None,
    request_id: str,
    wall_s: float,
    close: bool,
    head_only: bool = False,
    retry_after_s: int = 0,
    debug: bytes = b"",
) -> tuple[bytes, bytes]:
    """Return head and body of a refusal.

    close: The connection ends with it. head_only: It answers a HEAD.
    retry_after_s: What somebody asked for, in place of the table's; 0: the table's.
    debug: Whole header lines for routes that explain themselves.
    Source: RFC 9457; the table of `domain.verdict`.
    """
    outcome = OUTCOMES[reason]
    body = _problem_body(outcome, request_id)
    lines = [
        STATUS_LINES[outcome.status],
        b"Content-Type: application/problem+json",
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"Date: " + http_date(wall_s),
        b"X-Request-Id: " + request_id.encode("ascii"),
    ]
    authenticate = challenge(outcome.challenge, route)
    if authenticate:
        lines.append(b"WWW-Authenticate: " + authenticate)
    retry = max(retry_after_s, outcome.retry_after_s) if outcome.retry_after_s else 0
    if retry:
        lines.append(b"Retry-After: %d" % retry)
    if reason is Reason.METHOD_NOT_ALLOWED:
        lines.append(_ALLOWED_METHODS)
    if debug:
        lines.append(debug)
    if close:
        lines.append(b"Connection: close")
    lines.append(b"\r\n")
    return b"\r\n".join(lines), b"" if head_only else body


def _problem_body(outcome: Outcome, request_id: str) -> bytes:
    return orjson.dumps(
        {
            "type": _PROBLEM_TYPE + outcome.public,
            "title": outcome.title,
            "status": outcome.status,
            "code": outcome.public,
            "request_id": request_id,
        }
    )


def answer_head(
    status: int,
    headers: RawHeaders,
    framing: Framing,
    *,
    request_id: str,
    wall_s: float,
    extra: list[bytes],
) -> bytes | None:
    """Return the head that a client gets of an upstream's answer.

    headers: The upstream's, as received. extra: Whole header lines of ours.
    Returns None where a value holds a control character: a fault of the upstream.
    Source: PROTOCOLS section 17 rule 6; THREATS U2, U4, U5. Set-Cookie lines stay
    apart and in order, as does everything else.
    """
    dropped = _named_by_connection(headers)
    lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    date = b""
    for name, value in headers:
        lower = normalised(name.decode("latin-1"))
        if lower == "date" and not date:
            date = value
        if lower in ANSWER_DROPPED or lower in dropped or is_reserved(lower):
            continue
        if _CONTROL.search(value):
            return None
        lines.append(name + b": " + value)
    if _CONTROL.search(date):
        return None
    lines.append(b"Date: " + (date or http_date(wall_s)))
    lines.append(b"X-Request-Id: " + request_id.encode("ascii"))
    lines += extra
    if status == _SWITCHING:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
    else:
        if framing.length >= 0:
            lines.append(b"Content-Length: %d" % framing.length)
        elif framing.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if framing.close:
            lines.append(b"Connection: close")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _named_by_connection(headers: RawHeaders) -> frozenset[str]:
    named: set[str] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            named.update(
                normalised(member.strip(b" \t").decode("latin-1"))
                for member in value.split(b",")
            )
    return frozenset(named)


def region_cookie(cookie: RegionCookie, region: str) -> bytes:
    """Return a whole Set-Cookie line that sends the client to its region next time.

    region: A name of the closed set.
    Source: PROTOCOLS section 16; RFC 6265 section 4.1.
    """
    parts = [f"Set-Cookie: {cookie.name}={region}", "Path=/", "HttpOnly"]
    if cookie.secure:
        parts.append("Secure")
    parts += ["SameSite=Lax", f"Max-Age={cookie.max_age_s}"]
    if cookie.domain:
        parts.append(f"Domain={cookie.domain}")
    return "; ".join(parts).encode("ascii")
