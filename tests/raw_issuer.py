"""A raw HTTP server on loopback that plays an issuer's endpoint, good or bad."""

import asyncio
from contextlib import asynccontextmanager

from fastgate.adapters.http_fetch import HttpFetcher

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class RawServer:
    """Answers each request by a script of raw bytes, and remembers the requests.

    answers: Per request, bytes to send; None hangs up, "hang" sends nothing. The last
        one serves for all that follow.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.arrived = asyncio.Queue()
        self.connections = 0
        self.url = ""

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ]
                body = await reader.readexactly(length[0]) if length else b""
                self.requests.append(head + body)
                self.arrived.put_nowait(None)
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if said is None:
                    break
                if said == "hang":
                    await reader.read()
                    break
                await self.send(writer, said)
                if b"connection: close" in bytes(said[:500]).lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def send(self, writer, said):
        writer.write(said)
        await writer.drain()


@asynccontextmanager
async def serving(*answers, kind=RawServer, **options):
    """Yield a server and a fetcher."""
    raw = kind(*answers)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    raw.url = f"http://{host}:{port}"
    fetcher = HttpFetcher(**options)
    try:
        yield raw, fetcher
    finally:
        await fetcher.close()
        server.close()
        await server.wait_closed()


def get(fetcher, url, **rest):
    """Fetch with ordinary bounds."""
    named = {"timeout_s": 5.0, "max_bytes": 1000, **rest}
    return fetcher.fetch(named.pop("method", "GET"), url, **named)
