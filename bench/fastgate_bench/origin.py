"""Origin: the upstream where no nginx is installed. Runs as a process of its own.

Owns:      its listening socket. It answers every path with the file or size it names,
           and with the request's own tag.
Called by: stand_ins, as `python -m fastgate_bench.origin PORT FOLDER`.

It reads requests with a Content-Length or chunked body from a gateway on loopback, and
closes the connection over anything else.
"""

import asyncio
import pathlib
import sys
from typing import Final, cast

import uvloop

__all__ = ["Origin", "main"]

_HEAD_BYTES: Final = 65_536
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Origin(asyncio.Protocol):
    """One connection of a gateway.

    files: Path to the body that it is answered with; any other path gets a short one.
    """

    def __init__(self, files: dict[bytes, bytes]) -> None:
        self._files = files
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer = b""
        self._left = 0  # octets of a body; -1: chunked, until the last chunk
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Of uvloop, whose transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on, and answer each request that is complete."""
        self._buffer += data
        while self._buffer and self._step():
            pass

    def _step(self) -> bool:
        if self._answer:
            return self._body()
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_BYTES and self._transport is not None:
                self._transport.abort()
            return False
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        lower = head.lower()
        tag = _value(head, lower, b"x-bench-tag")
        target = head.split(b" ", 2)[1] if head.count(b" ") > 1 else b"/"
        body = self._files.get(target, b"ok")
        self._answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Bench-Tag: %b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (tag, len(body), body)
        )
        length = _value(head, lower, b"content-length")
        self._left = int(length) if length.isdigit() else 0
        if b"chunked" in _value(head, lower, b"transfer-encoding").lower():
            self._left, self._tail = -1, b""
        return self._body()

    def _body(self) -> bool:
        """Skip the body; True once the request has been answered."""
        if self._left > 0:
            taken = min(self._left, len(self._buffer))
            self._left -= taken
            self._buffer = self._buffer[taken:]
        elif self._left < 0:
            self._tail = (self._tail + self._buffer)[-len(_LAST_CHUNK) :]
            self._buffer = b""
            self._left = 0 if self._tail == _LAST_CHUNK else -1
        if self._left:
            return False
        if self._transport is not None:
            self._transport.write(self._answer)
        self._answer = b""
        return True


def _value(head: bytes, lower: bytes, name: bytes) -> bytes:
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def read_files(folder: pathlib.Path) -> dict[bytes, bytes]:
    """Return what each path is answered with: the files below a folder."""
    return {
        b"/" + str(path.relative_to(folder)).encode(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def serve(port: int, files: dict[bytes, bytes]) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Origin(files), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    """Serve on the port and the folder that the arguments name."""
    uvloop.run(serve(int(sys.argv[1]), read_files(pathlib.Path(sys.argv[2]))))


if __name__ == "__main__":
    main()
