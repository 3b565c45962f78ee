"""Access: who may speak to the admin API at all.

Owns:      the checks before a request is looked at: rate, Host, Origin, admin token.
Called by: admin.api, once per request.
Source:    THREATS.md M1 (CSRF as in CVE-2026-27589, DNS rebinding), T22 (timing).

A browser is the enemy here: it runs code of other sites, it can reach loopback, and a
name that its attacker owns may resolve to 127.0.0.1. So a request must name a host of
ours, and must come from no page but one of ours.
"""

import hashlib
import hmac
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiohttp import hdrs, web

from fastgate.admin.problems import RefusedError
from fastgate.admin.rates import Rates

__all__ = ["Access", "Caller", "is_private"]

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Reason: an identity provider that revokes in bursts is served; a loop is slowed.
_BURST = 500
_PER_S = 200
_HOST = re.compile(
    r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,252}))(?::[0-9]{1,5})?",
    re.ASCII,
)
_BEARER = re.compile(r"bearer +([!-~]+) *", re.ASCII | re.IGNORECASE)
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fastgate admin"'}
_OWN_SITE = frozenset({"same-origin", "none"})
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: ucred of unix(7)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    actor: For the audit line: `admin_token`, else the peer. peer: `uid:N` or address.
    """

    actor: str
    peer: str


def is_private(sock: socket.socket) -> bool:
    """Tell whether only processes of this host reach a listening socket."""
    if sock.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback


class Access:
    """The checks of one listener.

    token: Returns the token that is asked for now; None: none is.
    names: Host names and addresses that this listener answers to, beside those of
        loopback. A wildcard address stands for every IP literal, since only a name
        can be made to point elsewhere.
    """

    def __init__(
        self,
        *,
        token: Callable[[], str | None],
        names: Iterable[str],
        rates: Rates | None = None,
    ) -> None:
        self._token = token
        known = {_spelled(name.lower()) for name in names}
        self._any_literal = not known.isdisjoint({"0.0.0.0", "[::]"})  # noqa: S104
        self._names = known | _LOOPBACK_NAMES
        self._rates = rates or Rates(burst=_BURST, per_s=_PER_S)

    def check(self, request: web.BaseRequest) -> Caller:
        """Return the caller. Raises RefusedError."""
        peer = _peer(request)
        if not self._rates.take(peer):
            raise RefusedError("too_many_requests")
        host = self._host(request)
        _check_origin(request, host)
        return Caller(self._actor(request) or peer, peer)

    def _host(self, request: web.BaseRequest) -> str:
        hosts = request.headers.getall(hdrs.HOST, [])
        host = hosts[0].lower() if len(hosts) == 1 else ""
        match = _HOST.fullmatch(host)
        if match is None:
            raise RefusedError("bad_request", "one Host header is required")
        name = match[1]
        if name in self._names or (self._any_literal and _is_literal(name)):
            return host
        raise RefusedError(
            "misdirected", "use the address in `admin`, localhost or 127.0.0.1"
        )

    def _actor(self, request: web.BaseRequest) -> str:
        expected = self._token()
        if expected is None:
            return ""
        given = request.headers.getall(hdrs.AUTHORIZATION, [])
        match = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        presented = match[1] if match else ""
        # Hashed first, so that neither content nor length shows in the time.
        if not hmac.compare_digest(_digest(presented), _digest(expected)):
            raise RefusedError(
                "unauthorized",
                "send `Authorization: Bearer` with the value of `admin_token`",
                headers=_CHALLENGE,
            )
        return "admin_token"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _check_origin(request: web.BaseRequest, host: str) -> None:
    # A page of another site can send GET and simple POST without asking first; what it
    # cannot do is leave out or forge these two (Fetch standard, forbidden headers).
    origins = request.headers.getall(hdrs.ORIGIN, [])
    own = {f"http://{host}", f"https://{host}"}
    if any(origin.lower() not in own for origin in origins):
        raise RefusedError("cross_origin")
    sites = request.headers.getall("Sec-Fetch-Site", [])
    if any(site not in _OWN_SITE for site in sites):
        raise RefusedError("cross_origin")


def _spelled(name: str) -> str:
    # As a Host header spells it: an IPv6 address stands in brackets.
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _peer(request: web.BaseRequest) -> str:
    transport = request.transport
    if transport is None:
        raise RefusedError("bad_request", "the connection is gone")
    address = transport.get_extra_info("peername")
    if isinstance(address, tuple):
        return str(address[0])
    shared = transport.get_extra_info("socket")
    # The loop's socket object may lack getsockopt; a copy of the descriptor has it.
    with socket.socket(fileno=os.dup(shared.fileno())) as sock:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return f"uid:{_CREDENTIALS.unpack(raw)[1]}"
