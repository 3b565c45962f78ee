"""Exchange: one request on a connection of the general lane, and the way to answer it.

Owns:      the bytes of one request's body and of its answer.
Called by: aiohttp's request loop makes it; hotpath.relay answers through it.
Source:    RFC 9112 sections 7 and 9; THREATS T3, T4, T16.

Heads come from the relay as bytes, so nothing is added or re-encoded on the way out.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp.streams import StreamReader

from fastgate.domain.verdict import Reason
from fastgate.errors import CallerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastgate.domain.decision import Decision

__all__ = ["READ_BYTES", "LaneConnection", "LaneExchange"]

# Reason: the stream pauses at twice this (THREATS section 4: pause at 64 KiB).
READ_BYTES = 32_768
# Reason: THREATS section 4.
MINIMUM_RATE_BYTES_S = 500

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class LaneConnection(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport | None
    judged: "Decision | None"

    @property
    def peername(self) -> Any:
        """Address of the client, as the transport names it."""
        ...

    @property
    def secure(self) -> bool:
        """The client speaks TLS."""
        ...

    @property
    def writing_paused(self) -> bool:
        """The client takes nothing more for now."""
        ...

    @property
    def draining(self) -> bool:
        """No further request is taken."""
        ...

    @property
    def body_idle_s(self) -> float:
        """Longest wait for body bytes."""
        ...

    async def drained(self) -> None:
        """Wait until the client takes more."""
        ...

    def take_raw(self) -> StreamReader:
        """Stop reading requests; return what comes from now on."""
        ...

    def forget_tail(self) -> None:
        """Drop bytes that came behind an upgrade."""
        ...

    def ended(self) -> None:
        """Go on to the next message."""
        ...

    async def end(self, *, linger: bool) -> None:
        """Close; with `linger` so that the client gets the answer while it sends."""
        ...

    def cut(self, *, reset: bool) -> None:
        """Drop the connection; `reset` so that it looks like no end of a message."""
        ...


class LaneExchange:
    """One request on a connection (ports.Exchange).

    For aiohttp it is the request and the response object at once: `prepare`,
    `write_eof`, `keep_alive`, `_finish`, `_cancel` and `_task` are what it calls.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_payload",
        "_task",
        "_tunnels",
        "_waited_s",
        "begun",
        "bytes_in",
        "bytes_out",
        "closes",
        "finished",
        "headers",
        "judged",
        "lane",
        "method",
        "peer",
        "secure",
        "target",
        "version",
    )

    def __init__(
        self,
        message: Any,
        payload: StreamReader,
        connection: LaneConnection,
        task: "asyncio.Task[None]",
    ) -> None:
        self._connection = connection
        self._payload = payload
        self._task = task
        self._head = b""
        self._chunked = False
        self._tunnels = False
        self._waited_s = 0.0
        self.method: str = message.method
        # aiohttp decodes what it parsed; this gives the bytes back as they came.
        self.target: bytes = message.path.encode("utf-8", "surrogateescape")
        self.version: tuple[int, int] = message.version
        self.headers: Sequence[tuple[bytes, bytes]] = tuple(message.raw_headers)
        peer = connection.peername
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self.secure = connection.secure
        self.lane = "general"
        # Of this message alone, and not kept while the connection idles.
        self.judged, connection.judged = connection.judged, None
        self.bytes_in = 0
        self.bytes_out = 0
        self.begun = False
        self.finished = False
        self.closes = False

    # -- the request's body ----------------------------------------------------------

    @property
    def body_ended(self) -> bool:
        """The body was read to its end."""
        return self._payload.at_eof() and self._payload.exception() is None

    @property
    def draining(self) -> bool:
        """This is to be the last answer of the connection."""
        return self._connection.draining

    def take(self) -> bytes:
        """Return the body bytes that are here already."""
        try:
            data = self._payload.read_nowait()
        except ConnectionError:
            raise
        except Exception as error:
            # Whatever the parser found wrong with the body: a bad chunk, an early end.
            raise CallerError(Reason.BAD_REQUEST) from error
        self.bytes_in += len(data)
        return data

    async def read(self) -> bytes:
        """Return the next body bytes, b"" at the end."""
        data = self.take()
        if data or self._payload.at_eof():
            return data
        connection = self._connection
        if connection.transport is None:
            raise ConnectionResetError("the client is gone")
        loop = asyncio.get_running_loop()
        idle_s = None if self._tunnels else connection.body_idle_s
        before_s = loop.time()
        try:
            async with asyncio.timeout(idle_s):
                data = await self._payload.readany()
        except ConnectionError:
            raise
        except TimeoutError as error:
            raise CallerError(Reason.REQUEST_TIMEOUT) from error
        except Exception as error:
            raise CallerError(Reason.BAD_REQUEST) from error
        self.bytes_in += len(data)
        if idle_s is not None:
            # Only time spent waiting for the client counts, not for the upstream.
            self._waited_s += loop.time() - before_s
            if self._waited_s > idle_s + self.bytes_in / MINIMUM_RATE_BYTES_S:
                raise CallerError(Reason.REQUEST_TIMEOUT)
        return data

    def proceed(self) -> None:
        """Send 100 Continue."""
        transport = self._connection.transport
        if transport is not None and not transport.is_closing():
            transport.write(_CONTINUE)

    # -- the answer ------------------------------------------------------------------

    def begin(self, head: bytes, *, chunked: bool, close: bool) -> None:
        """Set the head of the answer, written with its first bytes."""
        self._head = head
        self._chunked = chunked
        self.closes = close

    async def write(self, data: bytes, stall_s: float) -> None:
        """Write body bytes; CallerError when nothing moves for stall_s seconds."""
        self.bytes_out += len(data)
        if data and self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._put(data)
        connection = self._connection
        if connection.writing_paused:
            try:
                async with asyncio.timeout(stall_s):
                    await connection.drained()
            except TimeoutError as error:
                raise CallerError(Reason.REQUEST_TIMEOUT) from error

    async def finish(self) -> None:
        """End the answer."""
        self._put(b"0\r\n\r\n" if self._chunked else b"")
        self.finished = True

    def _put(self, data: bytes) -> None:
        if self._head:
            data = self._head + data
            self._head = b""
        if not data:
            return
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self.begun = True
        transport.write(data)

    def abort(self) -> None:
        """Cut the connection, so that no client takes the answer for complete."""
        self.closes = True
        # Without chunks the end of the connection may be the end of the body: reset it.
        self._connection.cut(reset=self.begun and not self._chunked)

    def tunnel(self) -> None:
        """Turn the rest of the connection into plain bytes for read and write."""
        self._payload = self._connection.take_raw()
        self._tunnels = True

    # -- called by aiohttp -----------------------------------------------------------

    @property
    def keep_alive(self) -> bool:
        """The connection may serve another request."""
        return self.finished and not self.closes

    def _finish(self) -> None:
        if self.closes:
            # Bytes behind a declined upgrade are never read as requests (T4).
            self._connection.forget_tail()

    def _cancel(self, exc: BaseException) -> None:
        if not self._payload.is_eof():
            self._payload.set_exception(exc)

    async def prepare(self, _: object) -> None:
        """Do nothing: the relay has written the head."""

    async def write_eof(self) -> None:
        """Close the connection where the answer said so, else go on with it."""
        if self.keep_alive:
            self._connection.ended()
        else:
            await self._connection.end(linger=self.finished and not self._tunnels)
