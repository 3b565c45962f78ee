"""Way: what an upstream is told about how a request came here, and whom we believe.

Owns:      the forwarding headers and the hop counter.
Called by: hotpath.relay makes one per request, hotpath.headers writes it.
Source:    RFC 7239, RFC 9110 section 7.6.3 (Via), PROTOCOLS section 17 rule 5,
           THREATS T8 (spoofed forwarding headers) and R4 (loops).
"""

import re
from collections.abc import Mapping

__all__ = ["FORWARDED_NAMES", "Way", "hops_behind"]

_HOPS = re.compile(rb"[0-9]{1,3}")
_VISIBLE = re.compile(rb"[\x20-\x7e]+")
# What a trusted proxy may say, in lower case; the client's is used all or none.
FORWARDED_NAMES = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
)


class Way:
    """What the upstream is told about the way of a request.

    peer: Address of the client's end of the connection. scheme: Of that connection.
    trusted: The peer is a configured proxy, so what it says is passed on.
    hops: Gateways behind this request, this one included.
    request_id: Name of this request in every log.
    """

    __slots__ = ("hops", "peer", "request_id", "scheme", "trusted")

    def __init__(
        self,
        *,
        peer: str,
        trusted: bool,
        hops: int,
        request_id: str,
        scheme: str = "http",
    ) -> None:
        self.peer = peer
        self.trusted = trusted
        self.hops = hops
        self.request_id = request_id
        self.scheme = scheme

    def lines(
        self, host: bytes, minor: int, forwarded: Mapping[bytes, bytes]
    ) -> list[bytes]:
        """Return header lines, each written once.

        host: Value of Host; b"" where an HTTP/1.0 client sent none.
        minor: HTTP/1.minor that the request came in.
        forwarded: What the client says, by name; used only from a trusted peer.
        """
        said = forwarded if self.trusted else {}
        if not all(_VISIBLE.fullmatch(value) for value in said.values()):
            said = {}  # all or none
        peer = self.peer.encode("ascii", "replace") or b"unknown"
        proto = self.scheme.encode("ascii")
        port = host.rpartition(b":")[2]
        if b":" not in host or not port.isdigit():
            port = b"443" if self.scheme == "https" else b"80"
        chain = said.get(b"x-forwarded-for")
        lines = [
            b"X-Forwarded-For: " + (chain + b", " + peer if chain else peer),
            b"X-Forwarded-Proto: " + said.get(b"x-forwarded-proto", proto),
            b"X-Forwarded-Port: " + said.get(b"x-forwarded-port", port),
        ]
        if host or b"x-forwarded-host" in said:
            lines.append(b"X-Forwarded-Host: " + said.get(b"x-forwarded-host", host))
        if b"x-forwarded-prefix" in said:
            lines.append(b"X-Forwarded-Prefix: " + said[b"x-forwarded-prefix"])
        node = b'"[' + peer + b']"' if b":" in peer else peer
        element = b"for=" + node + b";proto=" + proto
        if host:
            element += b';host="' + host + b'"'
        before = said.get(b"forwarded")
        return [
            *lines,
            b"Forwarded: " + (before + b", " + element if before else element),
            b"Via: 1.%d fastgate" % minor,
            b"X-Fastgate-Hops: %d" % self.hops,
            b"X-Request-Id: " + self.request_id.encode("ascii"),
        ]


def hops_behind(claim: bytes, *, trusted: bool) -> int | None:
    """Return how many gateways a request has passed; None for a claim that is none.

    claim: Value of X-Fastgate-Hops, b"" when absent.
    trusted: The claim comes from a configured peer; others' is not looked at.
    Source: THREATS R4.
    """
    if not trusted or not claim:
        return 0
    return int(claim) if _HOPS.fullmatch(claim) else None
