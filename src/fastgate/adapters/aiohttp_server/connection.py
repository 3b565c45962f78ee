"""Connection: a client's connection, with the timers and limits that aiohttp lacks.

Owns:      how long a client may take, how much it may send unread, and how it ends.
Called by: adapters.aiohttp_server.lane makes one per accepted connection.
Source:    RFC 9112 sections 2.2 and 9; THREATS T1, T16, T17 and section 4.

aiohttp parses. Here are timers for the first byte and the head, a bound on a head that
does not end, one answer for whatever cannot be parsed, and an end of connections that
lets the answer arrive.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Never, Protocol, cast

from aiohttp import web_protocol
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from fastgate.adapters.aiohttp_server.exchange import READ_BYTES, LaneExchange
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.verdict import Reason
from fastgate.ports import ExchangeHandler

__all__ = ["Connection", "Lane"]

_LOG = logging.getLogger("fastgate.lane")

# Reason: THREATS section 4.
MAX_PIPELINED = 16
# Reason: long enough for a refusal to arrive where the client still sends, short enough
# that many of these cost nobody anything.
LINGER_S = 1.0

_OVERLOADED_BODY = (
    b'{"type":"urn:fastgate:problem:overloaded","title":"The gateway is at its limit.",'
    b'"status":503,"code":"overloaded"}'
)
# Written without a parser, a relay or a request: there is no room for any of them.
_OVERLOADED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%b"
) % (len(_OVERLOADED_BODY), _OVERLOADED_BODY)


class Lane(Protocol):
    """What a connection needs of its lane."""

    handler: ExchangeHandler
    loop: asyncio.AbstractEventLoop
    draining: bool

    def admit(self, connection: "Connection", limit: int) -> bool:
        """Take a connection in; False where it is one too many."""
        ...

    def lost(self, connection: "Connection") -> None:
        """Forget a connection."""
        ...


class _UnreadableError(Exception):
    """Why a message that was never parsed is refused."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class _Raw:
    """Takes the bytes of a tunnel; what aiohttp calls a payload parser."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


class Connection(web_protocol.RequestHandler):
    """One client connection, with the timers and limits that aiohttp lacks."""

    __slots__ = (
        "_deaf",
        "_gone",
        "_head_bytes",
        "_last_payload",
        "_partial",
        "_timer",
        "lane",
        "snapshot",
    )

    def __init__(self, lane: Lane, server: Any, snapshot: Snapshot) -> None:
        limits = snapshot.limits
        super().__init__(
            server,
            loop=lane.loop,
            keepalive_timeout=snapshot.timers.keep_alive_s,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=limits.request_line_bytes,
            # One more than a line where both are equal, since aiohttp's error names
            # only the limit, and the two are answered differently.
            max_field_size=limits.header_line_bytes
            + (limits.header_line_bytes == limits.request_line_bytes),
            # The relay counts; this only bounds what is held until then.
            max_headers=2 * limits.header_count,
            lingering_time=0.0,
            read_bufsize=READ_BYTES,
            auto_decompress=False,
        )
        self._max_msg_queue_size = MAX_PIPELINED
        self._msg_queue_resume_size = MAX_PIPELINED // 2
        self.lane = lane
        self.snapshot = snapshot
        self._timer: asyncio.TimerHandle | None = None
        self._partial = False
        self._deaf = False
        self._head_bytes = 0
        self._last_payload: StreamReader = EMPTY_PAYLOAD
        self._gone: asyncio.Future[None] | None = None

    # -- arrival ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away where there are too many."""
        if not self.lane.admit(self, self.snapshot.limits.connections):
            self._deaf = self._force_close = True
            self._manager = None
            # Not every loop's transport is an asyncio.Transport by class.
            stream = cast("asyncio.Transport", transport)
            stream.write(_OVERLOADED)
            stream.close()
            return
        super().connection_made(transport)
        self._arm(self.snapshot.timers.first_byte_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop whatever was done for this client."""
        self._disarm()
        self.lane.lost(self)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and keep watch over heads that do not end."""
        if self._deaf:
            return
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self._disarm()
            self._partial = False
            self._head_bytes = 0
            message, payload = self._messages[-1]
            if isinstance(message, web_protocol._ErrInfo):  # noqa: SLF001
                self._stop_reading()
            else:
                self._last_payload = payload
        elif data and (before == 0 or self._is_waiting()):
            self._head_bytes += len(data)
            if not self._partial:
                self._partial = True
                self._arm(self.snapshot.timers.head_s)
            limits = self.snapshot.limits
            if self._head_bytes > limits.request_line_bytes + limits.head_bytes:
                self._refuse(Reason.HEADERS_TOO_LARGE)

    def _stop_reading(self) -> None:
        # No further byte of this connection means anything (T1); a body that was being
        # received can never end.
        self._deaf = True
        if not self._last_payload.is_eof():
            self._last_payload.set_exception(
                web_protocol.RequestPayloadError("unreadable")
            )

    def _is_waiting(self) -> bool:
        waiter = self._waiter
        return waiter is not None and not waiter.done()

    def _arm(self, delay_s: float) -> None:
        self._disarm()
        self._timer = self.lane.loop.call_later(delay_s, self._is_late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        self._timer = None
        if self._partial:
            self._refuse(Reason.REQUEST_TIMEOUT)
        elif self._request_count == 0:
            self.force_close()

    def _refuse(self, reason: Reason) -> None:
        """Answer instead of the message that is being received."""
        self._deaf = True
        error = web_protocol._ErrInfo(  # noqa: SLF001
            status=400, exc=_UnreadableError(reason), message=""
        )
        self._messages.append((error, EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- answers to what could not be read -------------------------------------------

    def _make_error_handler(self, err_info: Any) -> Callable[[Any], Awaitable[Any]]:
        reason = self._reason_of(err_info.exc)

        async def handler(exchange: LaneExchange) -> LaneExchange:
            await self.lane.handler.refuse(exchange, reason)
            return exchange

        return handler

    def _reason_of(self, error: BaseException) -> Reason:
        if isinstance(error, _UnreadableError):
            return error.reason
        if isinstance(error, LineTooLong):
            too_long = error.args[1] == self.snapshot.limits.request_line_bytes
            return Reason.TARGET_TOO_LONG if too_long else Reason.HEADERS_TOO_LARGE
        return Reason.BAD_REQUEST

    def handle_error(self, *_: Any, **__: Any) -> Never:
        """Close: the relay answers for every fault, so this one is in between."""
        raise ConnectionAbortedError("no answer can be given")

    def log_exception(self, *_: Any, exc_info: Any = None, **__: Any) -> None:
        """Log the name of a fault; its text may hold what a client sent."""
        _LOG.error("connection failed: %s", type(exc_info).__name__)

    # -- the end ---------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """No further request is taken."""
        return self.lane.draining

    @property
    def body_idle_s(self) -> float:
        """Longest wait for body bytes."""
        return self.snapshot.timers.body_idle_s

    def take_raw(self) -> StreamReader:
        """Stop reading requests; return what comes from now on."""
        reader = StreamReader(self, READ_BYTES, loop=self.lane.loop)
        self.set_parser(_Raw(reader))  # type: ignore[arg-type]
        return reader

    async def drained(self) -> None:
        """Wait until the client takes more."""
        await self._drain_helper()

    def forget_tail(self) -> None:
        """Drop bytes that came behind an upgrade."""
        self._message_tail = b""

    async def end(self, *, linger: bool) -> None:
        """Close; with `linger` so that the client gets the answer while it sends."""
        self._deaf = True
        self._disarm()
        transport = self.transport
        if transport is None:
            return
        if linger and transport.can_write_eof() and not transport.is_closing():
            # Closing with bytes unread resets the connection, and the answer is lost.
            self._gone = self.lane.loop.create_future()
            transport.write_eof()
            self._reading_paused = self._buffer_paused = False
            self._resume_transport_reading()
            await asyncio.wait({self._gone}, timeout=LINGER_S)
        self.force_close()

    def cut(self, *, reset: bool) -> None:
        """Drop the connection; `reset` so that it looks like no end of a message."""
        self._deaf = self._force_close = True
        self._disarm()
        transport = self.transport
        if transport is None:
            return
        if reset:
            connected = transport.get_extra_info("socket")
            if connected is not None:
                linger = struct.pack("ii", 1, 0)
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    def close_if_idle(self) -> None:
        """Close where no request is being received or served."""
        if self._is_waiting() and not self._partial:
            self.force_close()
