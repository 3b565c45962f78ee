"""Client: asks gateways, and never waits longer than it said.

Owns:      a few connections to each gateway.
Called by: window.rig and window.load.
"""

import asyncio
import contextlib
from typing import Final

import orjson

__all__ = ["Caller"]

_HOST: Final = "127.0.0.1"
_LIMIT_S: Final = 2.5
_CONNECTIONS: Final = 48

_Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Caller:
    """Sends requests to one port; a connection that failed is not used again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Link] = []
        self._room = asyncio.Semaphore(_CONNECTIONS)

    def close(self) -> None:
        """Close what is open."""
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()

    async def ask(self, head: bytes) -> int:
        """Return the status of the answer, 0 where none came in time."""
        link: _Link | None = None
        try:
            async with asyncio.timeout(_LIMIT_S), self._room:
                if self._idle:
                    link = self._idle.pop()
                else:
                    link = await asyncio.open_connection(_HOST, self._port)
                status, _, keep = await _exchange(link, head)
                if keep:
                    self._idle.append(link)
                    link = None
                return status
        except (OSError, TimeoutError, EOFError, ValueError):
            return 0
        finally:
            if link is not None:
                link[1].transport.abort()

    @staticmethod
    async def once(
        port: int, method: str, path: str, body: object = None, limit_s: float = 5.0
    ) -> tuple[int, bytes] | None:
        """Ask the admin API on a connection of its own; None where nothing came."""
        data = b"" if body is None else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        with contextlib.suppress(OSError, TimeoutError, EOFError, ValueError):
            async with asyncio.timeout(limit_s):
                link = await asyncio.open_connection(_HOST, port)
                try:
                    status, text, _ = await _exchange(
                        link, head.encode() + b"\r\n" + data
                    )
                finally:
                    link[1].transport.abort()
                return status, text
        return None


async def _exchange(link: _Link, request: bytes) -> tuple[int, bytes, bool]:
    reader, writer = link
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, rest = head.partition(b"content-length:")
    body = await reader.readexactly(int(rest.split(b"\r\n")[0] or b"0"))
    return int(head[9:12]), body, b"connection: close" not in head
