"""Headers of a request: what is refused, what is removed, what is written anew.

Owns:      the header rules that both lanes share, towards the upstream.
Called by: hotpath.relay before the gate (`read_head`) and after it (`upstream_head`).
Source:    RFC 9110 sections 5, 7 and 10, RFC 9112 section 6, RFC 7239; the order of
           removal is that of THREATS section 1 fact 5: reserved names, then what
           `Connection` names, then ours.
"""

import re
from collections.abc import Sequence

from fastgate.domain.request import HOP_BY_HOP, RequestHead, is_reserved, normalised
from fastgate.domain.snapshot import Limits
from fastgate.domain.target import Target, parse_target
from fastgate.domain.verdict import Reason
from fastgate.hotpath.way import FORWARDED_NAMES, Way

__all__ = [
    "REQUEST_DROPPED",
    "Inbound",
    "RawHeaders",
    "read_head",
    "trace_id",
    "upstream_head",
]

RawHeaders = Sequence[tuple[bytes, bytes]]

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_NAME = re.compile(rb"[!#$%&'*+\-.^`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+(?::[0-9]{1,5})?"
    rb"|\[(?=[^\]]*:)[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_MAX_PORT = 65_535

# Reason: RFC 9110 section 9.3.6 and 9.3.8; a gateway that tunnels or echoes is a hole.
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})
# Of IANA's registry, those that act on the target that a route was chosen for. COPY,
# MOVE, LINK and the like name a second one, which no check has seen.
FORWARDED_METHODS = frozenset(
    {
        *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"),
        *("SEARCH", "REPORT", "PROPFIND", "PROPPATCH", "MKCOL", "MKCALENDAR"),
        *("LOCK", "UNLOCK", "ACL"),
    }
)
# `Connection` may not remove what framing, routing or identity hangs on (T9).
_PROTECTED = frozenset(
    {b"host", b"authorization", b"content-length", b"transfer-encoding"}
)
# Written by upstream_head itself, so that each is there once and means what we parsed.
_REWRITTEN = frozenset(
    {b"host", b"content-length", b"expect", b"authorization", b"x-request-id"}
)
_ONCE = frozenset(
    {
        *(b"host", b"content-length", b"transfer-encoding", b"content-type"),
        *(b"authorization", b"dpop"),
    }
)
_HOP_BY_HOP = frozenset(name.encode() for name in HOP_BY_HOP)
# What no upstream gets as the client wrote it; both lanes use this.
REQUEST_DROPPED = _REWRITTEN | _HOP_BY_HOP


class Inbound:
    """A request head that passed the checks before the gate.

    head: What the gate sees. target: Raw and canonical. minor: HTTP/1.minor.
    headers: As received. dropped: Lower-case names that `Connection` lists.
    host: Value of Host; b"" only in HTTP/1.0.
    length: Content-Length, -1 when absent. chunked: Transfer-Encoding is chunked.
    expects: The client waits for 100 Continue.
    websocket: It asks for a WebSocket; upgrade: it sent any Upgrade at all.
    close: It wants the connection closed.
    hops, request_id, forwarded: Claims of the client about its way here, believed only
        from trusted peers: b"" or empty when absent.
    """

    __slots__ = (
        "chunked",
        "close",
        "dropped",
        "expects",
        "forwarded",
        "head",
        "headers",
        "hops",
        "host",
        "length",
        "minor",
        "request_id",
        "target",
        "trace_id",
        "trailers",
        "upgrade",
        "websocket",
    )

    def __init__(self, target: Target, headers: RawHeaders, minor: int) -> None:
        self.head: RequestHead
        self.target = target
        self.headers = headers
        self.minor = minor
        self.dropped: frozenset[bytes] = frozenset()
        self.host = b""
        self.length = -1
        self.chunked = False
        self.expects = False
        self.upgrade = False
        self.websocket = False
        self.trailers = False
        self.close = minor == 0
        self.hops = b""
        self.request_id = b""
        self.trace_id = ""
        self.forwarded: dict[bytes, bytes] = {}


def read_head(
    method: str,
    target: bytes,
    version: tuple[int, int],
    headers: RawHeaders,
    *,
    peer: str,
    limits: Limits,
) -> Inbound | Reason:
    """Return the checked head, or why it is refused.

    target, headers: As received, whitespace around values removed.
    peer: Address of the client.
    Source: RFC 9112 sections 3 and 6; THREATS T1, T3, T5, T6, T8, T9, T17.
    """
    fault = _line_fault(method, target, version, limits)
    if fault is not None:
        return fault
    known = _collect(headers, limits)
    if isinstance(known, Reason):
        return known
    host = _one(known, b"host")
    if not _acceptable_host(host, version[1]):
        return Reason.BAD_REQUEST
    parsed = parse_target(target, authority=host or None)
    if parsed is None:
        return Reason.BAD_REQUEST
    inbound = Inbound(parsed, headers, version[1])
    inbound.host = host
    return (
        _read_framing(inbound, known)
        or _read_connection(inbound, known, method)
        or _filled(inbound, known, method, peer)
    )


def _line_fault(
    method: str, target: bytes, version: tuple[int, int], limits: Limits
) -> Reason | None:
    if version[0] != 1 or version[1] > 1:
        return Reason.HTTP_VERSION
    if method in _REFUSED_METHODS:
        return Reason.METHOD_NOT_ALLOWED
    if method not in FORWARDED_METHODS:
        # RFC 9110 section 9.1: 501 for a method that is one and not known.
        return Reason.NOT_SUPPORTED if _METHOD.fullmatch(method) else Reason.BAD_REQUEST
    # The line holds two spaces and the version besides.
    if len(method) + len(target) + 10 > limits.request_line_bytes:
        return Reason.TARGET_TOO_LONG
    return None


def _collect(headers: RawHeaders, limits: Limits) -> dict[bytes, list[bytes]] | Reason:
    # One pass over names and values, so that everything after it looks up only.
    known: dict[bytes, list[bytes]] = {}
    total = 0
    if len(headers) > limits.header_count:
        return Reason.HEADERS_TOO_LARGE
    for name, value in headers:
        size = len(name) + len(value) + 4
        if size > limits.header_line_bytes:
            return Reason.HEADERS_TOO_LARGE
        total += size
        if not _NAME.fullmatch(name) or _CONTROL.search(value):
            return Reason.BAD_REQUEST  # "_" is no part of an accepted name (T8)
        known.setdefault(name.lower(), []).append(value)
    if total > limits.head_bytes:
        return Reason.HEADERS_TOO_LARGE
    for name in _ONCE:
        if len(known.get(name, ())) > 1:
            # Two credentials are ambiguous for RFC 6750 section 2, all else for HTTP.
            credential = name in {b"authorization", b"dpop"}
            return Reason.INVALID_REQUEST if credential else Reason.BAD_REQUEST
    return known


def _one(known: dict[bytes, list[bytes]], name: bytes) -> bytes:
    values = known.get(name)
    return values[0] if values else b""


def _acceptable_host(host: bytes, minor: int) -> bool:
    # RFC 9112 section 3.2: exactly one Host in HTTP/1.1; userinfo, a list, a path or a
    # port out of range are none. An empty one would let each hop invent its own.
    if not host:
        return minor == 0
    if not _HOST.fullmatch(host):
        return False
    port = host.rpartition(b":")[2]
    return not port.isdigit() or b":" not in host or int(port) <= _MAX_PORT


def _read_framing(inbound: Inbound, known: dict[bytes, list[bytes]]) -> Reason | None:
    coding = known.get(b"transfer-encoding")
    length = known.get(b"content-length")
    if coding:
        # RFC 9112 section 6.1; with Content-Length or in HTTP/1.0 two readers disagree.
        if length or inbound.minor == 0 or coding[0].lower() != b"chunked":
            return Reason.BAD_REQUEST
        inbound.chunked = True
    elif length:
        if not _LENGTH.fullmatch(length[0]):
            return Reason.BAD_REQUEST
        inbound.length = int(length[0])
    expect = known.get(b"expect")
    # RFC 9110 section 10.1.1: ignored in HTTP/1.0.
    if expect and inbound.minor == 1:
        if len(expect) > 1 or expect[0].lower() != b"100-continue":
            return Reason.EXPECTATION_FAILED
        inbound.expects = inbound.chunked or inbound.length > 0
    return None


def _read_connection(
    inbound: Inbound, known: dict[bytes, list[bytes]], method: str
) -> Reason | None:
    named = _tokens(known.get(b"connection", ()))
    if named is None:
        return Reason.BAD_REQUEST
    for name in named:
        if name in _PROTECTED or is_reserved(normalised(name.decode("ascii"))):
            return Reason.BAD_REQUEST
    upgrade = known.get(b"upgrade")
    inbound.upgrade = upgrade is not None
    inbound.websocket = (
        upgrade is not None
        and len(upgrade) == 1
        and upgrade[0].lower() == b"websocket"
        and b"upgrade" in named
        and method == "GET"
        and inbound.minor == 1
        and not inbound.chunked
        and inbound.length <= 0
    )
    coded = _tokens(known.get(b"te", ()))
    inbound.trailers = coded is not None and b"trailers" in coded
    inbound.close = inbound.minor == 0 or b"close" in named
    inbound.dropped = named
    return None


def _tokens(values: Sequence[bytes]) -> frozenset[bytes] | None:
    """Return the members of a comma list in lower case; None where one is no token."""
    if not values:
        return frozenset()
    members = {
        stripped
        for value in values
        for member in value.split(b",")
        if (stripped := member.strip(b" \t").lower())
    }
    # "_" is no token character here, as in names: an alias of a protected name (T9).
    if all(_NAME.fullmatch(member) for member in members):
        return frozenset(members)
    return None


def _filled(
    inbound: Inbound, known: dict[bytes, list[bytes]], method: str, peer: str
) -> Inbound:
    authorization = known.get(b"authorization")
    cookies = known.get(b"cookie")
    content_type = _one(known, b"content-type").partition(b";")[0].strip(b" \t")
    inbound.head = RequestHead(
        method,
        inbound.target.path,
        authorization=authorization[0] if authorization else None,
        credentials=len(authorization) if authorization else 0,
        # Latin-1 keeps each byte; region names are ASCII, and nothing else is compared.
        cookie=b"; ".join(cookies).decode("latin-1") if cookies else None,
        query=inbound.target.raw.partition(b"?")[2],
        content_type=content_type.decode("latin-1").lower(),
        has_body=inbound.chunked or inbound.length > 0,
        encoded_separators=inbound.target.encoded_separators,
        peer=peer,
    )
    inbound.hops = b",".join(known.get(b"x-fastgate-hops", ()))
    request_id = _one(known, b"x-request-id")
    if _REQUEST_ID.fullmatch(request_id):
        inbound.request_id = request_id
    inbound.trace_id = trace_id(_one(known, b"traceparent"))
    for name in FORWARDED_NAMES:
        values = known.get(name)
        if values:
            inbound.forwarded[name] = b", ".join(values)
    return inbound


def trace_id(traceparent: bytes) -> str:
    """Return the trace id that a traceparent value names, "" where it names none."""
    parts = traceparent.split(b"-")
    if len(parts) > 1 and len(parts[1]) == 32 and parts[1].isalnum():  # noqa: PLR2004 - W3C trace-id
        return parts[1].decode("ascii")
    return ""


def upstream_head(
    inbound: Inbound,
    way: Way,
    *,
    authority: bytes,
    token: bytes,
    own_credentials: bool,
    identity: bytes,
    body_bytes: int | None = None,
    websocket: bool = False,
) -> bytes:
    """Return the head for the upstream, rebuilt from what was parsed.

    authority: Host to send where an HTTP/1.0 client named none.
    token: Forwarded as the bearer; b"" writes none.
    own_credentials: The client's own Authorization passes, since no token is judged.
    identity: Lines of `domain.token.TokenFacts`, already encoded; b"" for none.
    body_bytes: Size of a body that was read completely; None where it is streamed.
    websocket: The upgrade is asked for.
    Source: PROTOCOLS section 17, in its order; RFC 9112 section 6.3.
    """
    head = inbound.head
    lines = [
        f"{head.method} ".encode("ascii") + inbound.target.raw + b" HTTP/1.1",
        b"Host: " + (inbound.host or authority),
    ]
    for name, value in inbound.headers:
        lower = name.lower()
        if (
            lower in REQUEST_DROPPED
            or lower in inbound.dropped
            or is_reserved(lower.decode("ascii"))
        ):
            continue
        lines.append(name + b": " + value)
    if token:
        lines.append(b"Authorization: Bearer " + token)
    elif own_credentials and head.authorization is not None:
        lines.append(b"Authorization: " + head.authorization)
    lines.extend(identity.splitlines())
    lines += way.lines(inbound.host, inbound.minor, inbound.forwarded)
    if websocket:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
    elif inbound.trailers:
        lines.append(b"Connection: TE\r\nTE: trailers")
    if body_bytes is not None:
        lines.append(b"Content-Length: %d" % body_bytes)
    elif inbound.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif inbound.length >= 0:
        lines.append(b"Content-Length: %d" % inbound.length)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
