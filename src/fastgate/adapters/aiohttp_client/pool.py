"""Pool: connections to upstreams, kept while they are fresh.

Owns:      open and idle connections per upstream address, and the addresses of names.
Called by: hotpath.forward through ports.UpstreamDialer; wiring makes one per worker.
Source:    RFC 9112 section 9; THREATS section 4 (connect 2 s), F22 (names), F26.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from fastgate.adapters.aiohttp_client.connection import Connection, Link
from fastgate.domain.verdict import Reason
from fastgate.errors import BugError, UpstreamError

__all__ = ["UpstreamPool"]

ConnectionT = TypeVar("ConnectionT", bound=asyncio.BaseProtocol)

# Reason: below the 5 s after which common servers close an idle connection, so that a
# request is rarely written into one that is being closed.
IDLE_S = 4.0
# Reason: a name that moved is followed soon; F22 asks for the last good one meanwhile.
RESOLVED_S = 10.0
MAX_NAMES = 1_024
# Reason: with the connect timer of 2 s, more addresses of a name are never reached.
MAX_ADDRESSES = 3

# Faults of this process, not of the upstream: no descriptor, no port, no memory.
_OURS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class UpstreamPool:
    """Connections to upstreams (ports.UpstreamDialer); make it on the running loop.

    tls: For https upstreams; None: verified against the system's authorities.

    connections: How many are open to each base URL. Whoever has a connection made by
        `dial` counts it here from its making to its loss, so that one limit holds for
        both lanes.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self._tls = tls
        self._idle: dict[str, deque[Connection]] = {}
        self.connections: Counter[str] = Counter()
        self._open: set[Connection] = set()
        self._dialing: Counter[str] = Counter()
        self._names: dict[str, tuple[tuple[str, ...], float]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def connect(
        self, base: str, *, fresh: bool, timeout_s: float, limit: int
    ) -> Link:
        """Return a connection to a base URL; see ports.UpstreamDialer."""
        if not fresh:
            kept = self._take_idle(base)
            if kept is not None:
                return Link(kept, reused=True)
        made = await self.dial(
            base, lambda: Connection(self.loop, self, base), timeout_s, limit
        )
        return Link(made, reused=False)

    async def dial(
        self,
        base: str,
        factory: Callable[[], ConnectionT],
        timeout_s: float,
        limit: int,
    ) -> ConnectionT:
        """Return a new connection to a base URL with a protocol of the caller's.

        timeout_s: To establish it. limit: Connections to that URL, of both lanes and
            with those being made. Raises UpstreamError with the reason.
        """
        if self._dialing[base] + self.connections[base] >= limit:
            raise UpstreamError(Reason.OVERLOADED)
        self._dialing[base] += 1
        try:
            async with asyncio.timeout(timeout_s):
                return await self._dial(base, factory, timeout_s)
        except TimeoutError as error:
            raise UpstreamError(Reason.UPSTREAM_TIMEOUT) from error
        except ssl.SSLError as error:
            raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE) from error
        except OSError as error:
            reason = (
                Reason.OVERLOADED if error.errno in _OURS else Reason.UPSTREAM_REFUSED
            )
            raise UpstreamError(reason) from error
        finally:
            self._dialing[base] -= 1
            if not self._dialing[base]:
                del self._dialing[base]

    def _take_idle(self, base: str) -> Connection | None:
        idle = self._idle.get(base)
        oldest_s = self.loop.time() - IDLE_S
        while idle:
            connection = idle.pop()
            if connection.idle_since_s > oldest_s and connection.is_connected():
                return connection
            connection.close()
        return None

    async def _dial(
        self, base: str, factory: Callable[[], ConnectionT], timeout_s: float
    ) -> ConnectionT:
        parts = urlsplit(base)
        host = parts.hostname
        if host is None:
            raise BugError("an upstream address without a host")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        if secure and self._tls is None:
            self._tls = ssl.create_default_context()
        fault = OSError("the name has no address")
        for address in await self._resolve(host, port, timeout_s / 2):
            try:
                _, connection = await self.loop.create_connection(
                    factory,
                    address,
                    port,
                    ssl=self._tls if secure else None,
                    server_hostname=host if secure else None,
                )
            except OSError as error:
                fault = error
            else:
                return connection
        raise fault

    async def _resolve(self, host: str, port: int, timeout_s: float) -> tuple[str, ...]:
        """Return the addresses of a name: known ones, fresh ones, or the last good."""
        if _is_literal(host):
            return (host,)
        now_s = self.loop.time()
        known, until_s = self._names.get(host, ((), 0.0))
        if now_s < until_s:
            return known
        try:
            async with asyncio.timeout(timeout_s):
                found = await self.loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            if not known:
                raise
            addresses = known
        else:
            distinct = dict.fromkeys(str(info[4][0]) for info in found)
            addresses = tuple(distinct)[:MAX_ADDRESSES]
        if len(self._names) >= MAX_NAMES:
            self._names.clear()
        self._names[host] = (addresses, now_s + RESOLVED_S)
        return addresses

    # -- called by connections and links ---------------------------------------------

    def opened(self, connection: Connection) -> None:
        """Count a connection."""
        self._open.add(connection)
        self.connections[connection.base] += 1

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection in self._open:
            self._open.discard(connection)
            self.connections[connection.base] -= 1
            if not self.connections[connection.base]:
                del self.connections[connection.base]
        idle = self._idle.get(connection.base)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose exchange ended cleanly; close any other."""
        if connection.should_close or not connection.is_connected():
            connection.close()
            return
        connection.rest(self.loop.time())
        self._idle.setdefault(connection.base, deque()).append(connection)
        if self._sweep is None:
            self._sweep = self.loop.call_later(IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        oldest_s = self.loop.time() - IDLE_S
        for base, idle in list(self._idle.items()):
            while idle and idle[0].idle_since_s <= oldest_s:
                idle.popleft().close()
            if not idle:
                del self._idle[base]
        if self._idle:
            self._sweep = self.loop.call_later(IDLE_S, self._close_idle)

    def close(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
