"""Connection: the general lane's side of a client's connection, behind the front.

Owns:      how a message that the front lent is read, answered and brought to an end.
Called by: adapters.aiohttp_server.lane makes one when a connection first needs it; the
           compiled front feeds it (the same methods as the event loop would call).
Source:    RFC 9112 sections 2.2 and 9; THREATS T1, T4, T16, T25.

The front has framed what comes here, keeps the timers of heads, and lends one message
at a time. aiohttp parses it once more: what the two read differently is refused.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Never, Protocol

from aiohttp import web_protocol
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from fastgate.adapters.aiohttp_server.exchange import READ_BYTES, LaneExchange
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.verdict import Reason
from fastgate.ports import ExchangeHandler

if TYPE_CHECKING:
    from fastgate.domain.decision import Decision

__all__ = ["Connection", "Front", "Lane"]

_LOG = logging.getLogger("fastgate.lane")

# Reason: long enough for a refusal to arrive where the client still sends, short enough
# that many of these cost nobody anything.
LINGER_S = 1.0
# The front ends idle connections; aiohttp wants a number of its own.
_NEVER_S = 1e6


class Front(Protocol):
    """What a connection needs of the front, which is its transport, too."""

    def exchange_ended(self) -> None:
        """Learn that the lent message was answered and the connection goes on."""
        ...

    def tunnel(self) -> None:
        """Pass every byte from now on as it comes."""
        ...

    def deafen(self) -> None:
        """Look at no further byte, but read on."""
        ...

    def cut(self, *, reset: bool) -> None:
        """Drop the connection."""
        ...


class Lane(Protocol):
    """What a connection needs of its lane."""

    handler: ExchangeHandler
    loop: asyncio.AbstractEventLoop
    draining: bool


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
    """One client connection as aiohttp serves it, one lent message at a time.

    judged: What the compiled lane decided about the message that it lends.
    """

    __slots__ = ("_front", "_gone", "_last_payload", "judged", "lane", "snapshot")

    def __init__(
        self, lane: Lane, server: Any, snapshot: Snapshot, front: Front
    ) -> None:
        limits = snapshot.limits
        super().__init__(
            server,
            loop=lane.loop,
            keepalive_timeout=_NEVER_S,
            access_log=None,  # type: ignore[arg-type]
            # The front has enforced them.
            max_line_size=limits.request_line_bytes,
            max_field_size=limits.header_line_bytes,
            max_headers=limits.header_count + 1,
            lingering_time=0.0,
            read_bufsize=READ_BYTES,
            auto_decompress=False,
        )
        self.lane = lane
        self.snapshot = snapshot
        self._front = front
        self.judged: Decision | None = None
        self._last_payload: StreamReader = EMPTY_PAYLOAD
        self._gone: asyncio.Future[None] | None = None

    # -- called by the front ---------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes of the lent message, or of a tunnel."""
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            message, payload = self._messages[-1]
            if isinstance(message, web_protocol._ErrInfo):  # noqa: SLF001
                # The front and aiohttp disagree: nothing more is read (T1, T25).
                self._front.deafen()
                self.spoil()
            else:
                self._last_payload = payload

    def spoil(self) -> None:
        """Learn that the rest of the lent message can never come: it is malformed."""
        if not self._last_payload.is_eof():
            self._last_payload.set_exception(
                web_protocol.RequestPayloadError("unreadable")
            )

    def refuse(self, reason: str) -> None:
        """Answer instead of the message that was being received, and close."""
        error = web_protocol._ErrInfo(  # noqa: SLF001
            status=400, exc=_UnreadableError(Reason(reason)), message=""
        )
        self._messages.append((error, EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop whatever was done for this client."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)

    def _process_keepalive(self) -> None:
        # The front ends idle connections.
        self._keepalive_handle = None

    # -- answers to what could not be read -------------------------------------------

    def _make_error_handler(self, err_info: Any) -> Callable[[Any], Awaitable[Any]]:
        reason = self._reason_of(err_info.exc)

        async def handler(exchange: LaneExchange) -> LaneExchange:
            await self.lane.handler.refuse(exchange, reason)
            return exchange

        return handler

    @staticmethod
    def _reason_of(error: BaseException) -> Reason:
        if isinstance(error, _UnreadableError):
            return error.reason
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
    def secure(self) -> bool:
        """The client speaks TLS."""
        return self.ssl_context is not None

    @property
    def body_idle_s(self) -> float:
        """Longest wait for body bytes."""
        return self.snapshot.timers.body_idle_s

    def take_raw(self) -> StreamReader:
        """Stop reading requests; return what comes from now on."""
        reader = StreamReader(self, READ_BYTES, loop=self.lane.loop)
        self.set_parser(_Raw(reader))  # type: ignore[arg-type]
        self._front.tunnel()
        return reader

    async def drained(self) -> None:
        """Wait until the client takes more."""
        await self._drain_helper()

    def forget_tail(self) -> None:
        """Drop bytes that came behind an upgrade."""
        self._message_tail = b""

    def ended(self) -> None:
        """Let the front go on to the next message."""
        self._front.exchange_ended()

    async def end(self, *, linger: bool) -> None:
        """Close; with `linger` so that the client gets the answer while it sends."""
        transport = self.transport
        if transport is None:
            return
        self._front.deafen()
        if linger and transport.can_write_eof() and not transport.is_closing():
            # Closing with bytes unread resets the connection, and the answer is lost.
            self._gone = self.lane.loop.create_future()
            transport.write_eof()
            await asyncio.wait({self._gone}, timeout=LINGER_S)
        self.force_close()

    def cut(self, *, reset: bool) -> None:
        """Drop the connection; `reset` so that it looks like no end of a message."""
        self._force_close = True
        if self.transport is not None:
            self._front.cut(reset=reset)
