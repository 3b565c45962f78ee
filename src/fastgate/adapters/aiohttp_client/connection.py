"""Connection to an upstream, and the link that lends it for one exchange.

Owns:      the reading of answers on one connection, and whether it may be used again.
Called by: adapters.aiohttp_client.pool makes it; hotpath.forward uses it as
           ports.UpstreamLink.
Source:    RFC 9112 sections 4 to 9; THREATS U1-U6, T24.

aiohttp's client session is left out: it normalises heads, retries by itself, and
follows, decompresses and remembers unless told not to; here each request's head goes
out as the header rules built it. aiohttp parses what comes back, and since it is
lenient with answers, the strict checks of domain.answer and domain.chunks stand in
front of it: it gets heads that were taken, and chunks of our own.
"""

import asyncio
from typing import Protocol

from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from fastgate.domain.answer import is_chunked, is_hopeless, read_answer_head
from fastgate.domain.chunks import ChunkReader
from fastgate.domain.verdict import Reason
from fastgate.errors import UpstreamError
from fastgate.ports import Answer

__all__ = ["Connection", "Link", "Pool"]

# Reason: room for large cookies and policies; THREATS U1 names a header of 1 MiB.
MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 256
# Reason: one for Continue, one for Early Hints, and some; endless ones are an attack.
MAX_INFORMATIONAL = 8
# Reason: the stream pauses at twice this (THREATS section 4: pause at 64 KiB).
READ_BYTES = 32_768

_SWITCHING = 101
_FIRST_FINAL = 200
_BODILESS = frozenset({204, 304})


class Pool(Protocol):
    """What a connection needs of its pool."""

    loop: asyncio.AbstractEventLoop

    def opened(self, connection: "Connection") -> None:
        """Count a connection."""
        ...

    def closed(self, connection: "Connection") -> None:
        """Forget a connection."""
        ...

    def give_back(self, connection: "Connection") -> None:
        """Keep a connection whose exchange ended cleanly; close any other."""
        ...


class _Raw:
    """Takes the bytes of a tunnel; what aiohttp calls a payload parser."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


class Connection(ResponseHandler):
    """One connection to an upstream.

    Idle, it is in the pool, and any byte that comes is unasked for. Lent, it expects
    heads until the final one, then a body, then nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: Pool, base: str) -> None:
        super().__init__(loop)
        self.pool = pool
        self.base = base
        self.length = -1
        self.heard = False
        self.idle_since_s = 0.0
        self._idle = False
        self._expecting = False
        self._upgrade = False
        self._bodiless = False
        self._left = -1  # bytes of body still to come; -1: chunked, or up to the end
        self._chunks: ChunkReader | None = None
        self._heads = bytearray()
        self._seen = 0  # bytes of _heads that were searched
        self._informational = 0

    def expect(self, method: str, *, upgrade: bool) -> None:
        """Prepare for one answer."""
        self._idle = False
        self._expecting = True
        self._upgrade = upgrade
        self._bodiless = method == "HEAD"
        self._left = -1
        self._chunks = None
        self._heads.clear()
        self._seen = 0
        self._informational = 0
        self.heard = False
        self.set_response_params(
            skip_payload=self._bodiless,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=READ_BYTES,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            max_headers=MAX_HEADERS,
        )

    def rest(self, now_s: float) -> None:
        """Go back into the pool."""
        self._idle = True
        self.idle_since_s = now_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        super().connection_made(transport)
        self.pool.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let no reset pass for the end of a body that is delimited by closing."""
        payload = self._payload
        if exc is not None:
            _break(payload)
        super().connection_lost(exc)
        _break(payload)
        self.pool.closed(self)

    def data_received(self, data: bytes) -> None:
        """Check heads before aiohttp reads them; its reading of answers is lenient."""
        if self._idle:
            # An answer nobody asked for would be taken for the next one (T24).
            self.abort()
        elif self._expecting:
            if data:
                self.heard = True
            self._heads += data
            self._check_heads()
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self._chunks is not None:
            self._feed_chunks(self._chunks, data)
            return
        if self._left >= 0 and data:
            if len(data) > self._left:
                # What is behind the body belongs to nobody (T24).
                self.force_close()
                data = data[: self._left]
                if not data:
                    return
            self._left -= len(data)
        self._parse(data)

    def _feed_chunks(self, chunks: ChunkReader, data: bytes) -> None:
        found, sound = chunks.feed(data)
        framed = b"%x\r\n%b\r\n" % (len(found), found) if found else b""
        if chunks.ended:
            framed += b"0\r\n\r\n"
            # What is behind the body, now or later, belongs to nobody (T24).
            self._chunks, self._left = None, 0
            if chunks.rest:
                self.force_close()
        payload = self._payload
        if framed:
            self._parse(framed)
        if not sound:
            self.force_close()
            _break(payload)

    def _parse(self, data: bytes) -> None:
        payload = self._payload
        super().data_received(data)
        if self.exception() is not None:
            _break(payload)

    def _check_heads(self) -> None:
        while self._expecting:
            seen, self._seen = self._seen, len(self._heads)
            end = self._heads.find(b"\r\n\r\n", max(0, seen - 3)) + 4
            if end < 4:  # noqa: PLR2004 - not found
                if self._seen > MAX_HEAD_BYTES or is_hopeless(self._heads, seen):
                    self._fail()
                return
            read = None
            if end <= MAX_HEAD_BYTES:
                read = read_answer_head(bytes(self._heads[:end]), upgrade=self._upgrade)
            if read is None:
                self._fail()
                return
            self._seen = 0
            status, self.length = read
            if status < _FIRST_FINAL and status != _SWITCHING:
                self._informational += 1
                if self._informational > MAX_INFORMATIONAL:
                    self._fail()
                    return
                del self._heads[:end]
                continue
            self._begin_body(status, end)

    def _begin_body(self, status: int, end: int) -> None:
        self._expecting = False
        head, rest = bytes(self._heads[:end]), bytes(self._heads[end:])
        self._heads.clear()
        if self._bodiless or status in _BODILESS:
            self._left = 0
        elif self.length >= 0:
            self._left = self.length
        elif is_chunked(head):
            self._chunks = ChunkReader()
        super().data_received(head)
        if rest:
            self._feed(rest)

    def _fail(self) -> None:
        self._expecting = False
        self._heads.clear()
        self.set_exception(UpstreamError(Reason.BAD_UPSTREAM_RESPONSE))
        if self.transport is not None:
            self.transport.abort()


def _break(payload: StreamReader | None) -> None:
    # aiohttp leaves a body that can never end without an end where a chunk was bad.
    if payload is not None and not payload.is_eof() and payload.exception() is None:
        payload.set_exception(UpstreamError(Reason.BAD_UPSTREAM_RESPONSE))


class Link:
    """A connection lent for one exchange (ports.UpstreamLink)."""

    __slots__ = ("_connection", "_payload", "reused")

    def __init__(self, connection: Connection, *, reused: bool) -> None:
        self._connection = connection
        self._payload: StreamReader = EMPTY_PAYLOAD
        self.reused = reused

    @property
    def heard(self) -> bool:
        """A byte of the answer has come."""
        return self._connection.heard

    def expect(self, method: str, *, upgrade: bool) -> None:
        """Prepare for the answer to a request that is about to be sent."""
        self._connection.expect(method, upgrade=upgrade)

    def send(self, data: bytes) -> None:
        """Queue bytes; a broken connection shows in `drain` and `answer`."""
        transport = self._connection.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    async def drain(self) -> None:
        """Wait until the upstream takes more."""
        try:
            await self._connection._drain_helper()  # noqa: SLF001 - aiohttp's own waiter
        except ConnectionError as error:
            raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE) from error

    async def answer(self) -> Answer:
        """Return the head of the final answer."""
        connection = self._connection
        if connection.transport is None:
            raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE)
        try:
            message, self._payload = await connection.read()
        except Exception as error:
            # Whatever parser or connection raised, the upstream gave no answer.
            raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE) from error
        return Answer(message.code, message.raw_headers, connection.length)

    def take(self) -> bytes:
        """Return the body bytes that are here already."""
        try:
            return self._payload.read_nowait()
        except Exception as error:
            raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE) from error

    async def read(self) -> bytes:
        """Return the next body bytes, b"" at the end."""
        try:
            return await self._payload.readany()
        except Exception as error:
            # As above: cut short, reset, or a chunk that is none.
            raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE) from error

    def tunnel(self) -> None:
        """Turn the connection into plain bytes, after a 101."""
        connection = self._connection
        reader = StreamReader(connection, READ_BYTES, loop=connection.pool.loop)
        self._payload = reader
        connection.set_parser(_Raw(reader), reader)

    def release(self) -> None:
        """Give the connection back; it is kept only if the exchange ended cleanly."""
        self._connection.pool.give_back(self._connection)

    def abort(self) -> None:
        """Drop the connection."""
        self._connection.abort()
