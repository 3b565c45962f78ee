"""A raw recording upstream: keeps the exact bytes it got, and answers by script.

It reads requests by its own few lines, so that nothing of the product or of aiohttp
vouches for what the gateway sent. What it cannot read it keeps as `unclean`.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

DEADLINE_S = 5.0

HEAD = re.compile(
    rb"([A-Z-]+) (/[\x21-\x7e]*) HTTP/1\.1\r\n((?:[!-9;-~]+: [^\r\n\x00]*\r\n)*)\r\n"
)


@dataclass
class Recorded:
    """One complete request, as its bytes say."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    raw: bytes
    connection: int

    def all(self, name: str) -> list[bytes]:
        """Values of a header by exact lower-case name, in order."""
        wanted = name.encode()
        return [value for key, value in self.headers if key.lower() == wanted]

    def one(self, name: str) -> bytes | None:
        """The only value of a header, None when absent."""
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None


def answer(
    body: bytes = b"ok", *, status: bytes = b"200 OK", headers: bytes = b""
) -> bytes:
    """A well-framed answer; `headers` are whole lines with CRLF."""
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status,
        headers,
        len(body),
        body,
    )


@dataclass
class Talk:
    """The upstream's side of one connection, for scripts."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    note: Callable[[], Awaitable[None]]
    buffer: bytearray = field(default_factory=bytearray)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def more(self) -> bool:
        """Read what comes; False at the end."""
        try:
            data = await self.reader.read(65536)
        except ConnectionError:
            return False
        self.buffer += data
        await self.note()
        return bool(data)

    async def gone(self) -> bool:
        """Wait, without answering, until the gateway closes; False: do not go on."""
        while await self.more():
            pass
        return False

    def reset(self) -> None:
        """Cut the connection with an RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Recorded, Talk], Awaitable[bool | None]]


async def say_ok(request: Recorded, talk: Talk) -> bool:
    """Answer 200 to everything, and keep the connection."""
    await talk.send(answer() if request.method != "HEAD" else answer()[:-2])
    return True


class Recorder:
    """Listens on a free loopback port; `requests` are complete, in order of arrival.

    script: Called for each complete request; returns whether to keep the connection.
    on_connect: Called before anything is read, in place of reading requests.
    """

    def __init__(
        self,
        script: Script = say_ok,
        *,
        on_connect: Callable[[Talk], Awaitable[None]] | None = None,
    ) -> None:
        self.script = script
        self.on_connect = on_connect
        self.requests: list[Recorded] = []
        self.received: list[bytearray] = []
        self.unclean: list[bytes] = []
        self.closed = 0
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def base(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def connections(self) -> int:
        return len(self.received)

    async def start(self) -> "Recorder":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Callable[["Recorder"], bool]) -> None:
        """Wait until a condition on this recorder holds."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        talk = Talk(reader, writer, len(self.received), self._note)
        self.received.append(talk.buffer)
        await self._note()
        try:
            if self.on_connect is not None:
                await self.on_connect(talk)
            else:
                await self._converse(talk)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)
            self.closed += 1
            with contextlib.suppress(asyncio.CancelledError):
                await self._note()

    async def _converse(self, talk: Talk) -> None:
        at = 0
        while True:
            while (request := self._next(talk, at)) is None:
                if not await talk.more():
                    if len(talk.buffer) > at:
                        self.unclean.append(bytes(talk.buffer[at:]))
                    return
            at += len(request.raw)
            self.requests.append(request)
            await self._note()
            if not await self.script(request, talk):
                return

    def _next(self, talk: Talk, at: int) -> Recorded | None:
        data = bytes(talk.buffer[at:])
        if b"\r\n\r\n" not in data:
            return None
        match = HEAD.match(data)
        if match is None:
            self.unclean.append(data)
            raise ConnectionAbortedError
        headers = [
            (line.split(b": ", 1)[0], line.split(b": ", 1)[1])
            for line in match[3].split(b"\r\n")[:-1]
        ]
        lengths = [v for k, v in headers if k.lower() == b"content-length"]
        codings = [v for k, v in headers if k.lower() == b"transfer-encoding"]
        assert len(lengths) + len(codings) <= 1, headers
        end = match.end()
        if codings:
            assert codings == [b"chunked"]
            found = _chunks(data, end)
            if found is None:
                return None
            body, end = found
        else:
            size = int(lengths[0]) if lengths else 0
            if len(data) < end + size:
                return None
            body = data[end : end + size]
            end += size
        return Recorded(
            match[1].decode(), match[2], headers, body, data[:end], talk.number
        )


def _chunks(data: bytes, at: int) -> tuple[bytes, int] | None:
    body = b""
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        assert re.fullmatch(rb"[0-9a-f]+", data[at:line]), data[at:line]
        size = int(data[at:line], 16)
        end = line + 2 + size
        if len(data) < end + 2:
            return None
        assert data[end : end + 2] == b"\r\n", data
        body += data[line + 2 : end]
        at = end + 2
        if size == 0:
            return body, at


@contextlib.asynccontextmanager
async def recording(
    script: Script = say_ok,
    *,
    on_connect: Callable[[Talk], Awaitable[None]] | None = None,
) -> AsyncIterator[Recorder]:
    """A started recorder that stops at the end."""
    recorder = await Recorder(script, on_connect=on_connect).start()
    try:
        yield recorder
    finally:
        await recorder.stop()
