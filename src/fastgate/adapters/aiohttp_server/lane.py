"""Lane: accepts connections on a worker's socket, and lets them end.

Owns:      the set of open client connections of one worker.
Called by: wiring starts and drains it; each request goes to ports.ExchangeHandler.
Source:    THREATS section 4 (cap on connections), F25 (drain).
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

import aiohttp.http_parser
from aiohttp import web_server
from aiohttp.streams import StreamReader

from fastgate.adapters.aiohttp_server.connection import Connection, Front
from fastgate.adapters.aiohttp_server.exchange import LaneExchange
from fastgate.domain.snapshot import Snapshot, SnapshotCell
from fastgate.errors import StartError
from fastgate.ports import ExchangeHandler

__all__ = ["GeneralLane", "require_c_parser"]

# Reason: idle connections are closed within a second (THREATS F25); busy clients send
# their next request much sooner, and lose none.
IDLE_GRACE_S = 0.5
# Reason: THREATS section 4.
TLS_HANDSHAKE_S = 5.0


def require_c_parser() -> None:
    """Raise StartError where aiohttp has no C parser.

    Its slow one would miss every budget and is not what was tested.
    """
    parser = aiohttp.http_parser.HttpRequestParser
    if parser.__module__ != "aiohttp._http_parser":
        raise StartError(
            "aiohttp has no C parser: unset AIOHTTP_NO_EXTENSIONS, or install "
            "aiohttp from a wheel for this interpreter"
        )


class LaneFront(Front, Protocol):
    """What the lane needs of each connection's front."""

    def close_if_idle(self) -> None:
        """Close where no request is being received or served."""
        ...


class Acceptor(Protocol):
    """Makes the protocol of each connection; see _ext.http1_front.Acceptor."""

    def __call__(self) -> asyncio.BaseProtocol:
        """Make the protocol of a new connection."""
        ...

    def close(self) -> None:
        """Let go of timers and upstream connections."""
        ...


# Makes what makes the protocol of each connection; see _ext.http1_front.Acceptor.
MakeAcceptor = Callable[
    [asyncio.AbstractEventLoop, Any, SnapshotCell],
    "Acceptor",
]


class GeneralLane(web_server.Server):
    """The general lane of one worker; make it on the running loop.

    handler: The relay. cell: Limits and timers of new connections.
    front: Makes the acceptor whose fronts stand between clients and this lane.
    Raises StartError as `require_c_parser` does.
    """

    def __init__(
        self, handler: ExchangeHandler, cell: SnapshotCell, front: MakeAcceptor
    ) -> None:
        require_c_parser()
        self.loop = asyncio.get_running_loop()
        super().__init__(self._serve, handler_cancellation=True, loop=self.loop)  # type: ignore[arg-type]
        self.handler = handler
        self.draining = False
        self.live: set[LaneFront] = set()
        self._acceptor = front(self.loop, self, cell)
        self._listeners: list[asyncio.Server] = []
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(
        self, sock: socket.socket, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Accept on a bound socket, which stays the caller's to keep open elsewhere.

        tls: Of clients; None: they speak plain HTTP, behind whatever ends TLS.
        """
        handshake_s = TLS_HANDSHAKE_S if tls is not None else None
        self._listeners.append(
            await self.loop.create_server(
                self._acceptor,
                sock=sock,
                backlog=socket.SOMAXCONN,
                ssl=tls,
                ssl_handshake_timeout=handshake_s,
            )
        )

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, finish what was begun, then cut what is left.

        timeout_s: For requests in flight. Idle connections are closed after a moment:
        a request may be on its way on any of them, and its answer says it is the last.
        """
        self.draining = True
        for listener in self._listeners:
            listener.close()
        grace_s = min(IDLE_GRACE_S, timeout_s)
        if await self._emptied(grace_s):
            return
        for connection in list(self.live):
            connection.close_if_idle()
        if not await self._emptied(timeout_s - grace_s):
            for connection in list(self.live):
                connection.cut(reset=True)

    def close(self) -> None:
        """Let go of timers and upstream connections, after the drain."""
        self._acceptor.close()

    async def _emptied(self, timeout_s: float) -> bool:
        """Tell whether every connection ended within so many seconds."""
        if self.live:
            self._empty.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return True

    def admit(self, connection: LaneFront, limit: int) -> bool:
        """Take a connection in; False where it is one too many."""
        if len(self.live) >= limit:
            return False
        self.live.add(connection)
        return True

    def lost(self, connection: LaneFront) -> None:
        """Forget a connection."""
        self.live.discard(connection)
        if not self.live:
            self._empty.set()

    def open_back(self, front: Front, snapshot: Snapshot) -> Connection:
        """Make this lane's side of a connection, with the front as its transport."""
        connection = Connection(self, self, snapshot, front)
        connection.connection_made(cast("asyncio.Transport", front))
        return connection

    async def _serve(self, exchange: LaneExchange) -> LaneExchange:
        await self.handler.handle(exchange)
        return exchange

    def _make_request(  # type: ignore[override]
        self,
        message: Any,
        payload: StreamReader,
        protocol: Connection,
        writer: object,
        task: "asyncio.Task[None]",
    ) -> LaneExchange:
        del writer  # bytes go to the transport as they are
        return LaneExchange(message, payload, protocol, task)
