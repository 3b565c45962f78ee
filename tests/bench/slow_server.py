"""A server whose latency is known, for what the load generator makes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

# Given the number of a request and its tag, returns what to send, piece by piece; None
# closes the connection.
Script = Callable[[int, bytes], list[bytes] | None]


def answer(tag: bytes, status: int = 200, body: bytes = b"ok") -> bytes:
    """An ordinary answer that carries a tag."""
    head = b"HTTP/1.1 %d X\r\nX-Bench-Tag: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, tag, len(body)) + body


def echo(_number: int, tag: bytes) -> list[bytes]:
    """Answer each request as it should be."""
    return [answer(tag)]


@dataclass
class SlowServer:
    """Answers by a script.

    stall_at, stall_s: From that request on, it answers nobody for so long.
    delay_s: Of each answer. silent_from: Requests from that number on get no answer.
    """

    script: Script = echo
    stall_at: int = -1
    stall_s: float = 0.0
    delay_s: float = 0.0
    silent_from: int = 1 << 60
    port: int = 0
    requests: int = 0
    bodies: int = 0
    heads: list[bytes] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader, writer):
        """Serve one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._body(reader, head)
                number, self.requests = self.requests, self.requests + 1
                self.heads.append(head)
                if number >= self.silent_from:
                    await asyncio.Event().wait()
                if number == self.stall_at:
                    self._open.clear()
                    asyncio.get_running_loop().call_later(self.stall_s, self._open.set)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._open.wait()
                _, _, tag = head.partition(b"X-Bench-Tag: ")
                pieces = self.script(number, tag.split(b"\r\n")[0])
                if pieces is None:
                    break
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    async def _body(self, reader, head):
        _, _, length = head.partition(b"Content-Length: ")
        body = await reader.readexactly(int(length.split(b"\r\n")[0] or b"0"))
        self.bodies += len(body)


@contextlib.asynccontextmanager
async def slow_server(**settings) -> AsyncIterator[SlowServer]:
    """Run one; whoever still waits for an answer is cut at the end."""
    server = SlowServer(**settings)
    server._open.set()
    tasks = set()

    async def accept(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await server.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
