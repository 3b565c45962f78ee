"""Upstream: the service behind all gateways; notes when each request reached it.

Owns:      the upstream log: a line a request, `ID NANOSECONDS` of CLOCK_MONOTONIC, and
           `lag NANOSECONDS` where this process itself was late by more than 50 ms.
Called by: rig starts it: `python -m fastgate_bench.window.upstream PORT LOG JWKS`.
"""

import asyncio
import pathlib
import re
import sys
import time
from typing import Final, TextIO, cast

import uvloop

__all__ = ["HEADER"]

HEADER: Final = "X-Window-Id"
_ID: Final = re.compile(rb"\r\nx-window-id: *([0-9a-z-]+)\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
_LOOK_S: Final = 0.02
_LATE_NS: Final = 50_000_000


class _Service(asyncio.Protocol):
    """Answers every request at once; none has a body."""

    def __init__(self, log: TextIO, jwks: bytes) -> None:
        self._log = log
        self._jwks = jwks
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._held += data
        while (end := self._held.find(_END)) >= 0:
            head, self._held = self._held[: end + 2], self._held[end + 4 :]
            named = _ID.search(head)
            if named is not None:
                self._log.write(f"{named[1].decode()} {now_ns}\n")
            body = self._jwks if head.startswith(b"GET /jwks ") else b"ok"
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )


async def _serve(port: int, path: pathlib.Path, jwks: bytes) -> None:
    loop = asyncio.get_running_loop()
    with path.open("a", encoding="ascii") as log:
        await loop.create_server(lambda: _Service(log, jwks), "127.0.0.1", port)
        while True:
            before_ns = time.monotonic_ns()
            await asyncio.sleep(_LOOK_S)
            late_ns = time.monotonic_ns() - before_ns - int(_LOOK_S * 1e9)
            if late_ns > _LATE_NS:
                log.write(f"lag {late_ns}\n")
            log.flush()


def _main() -> None:
    port, log, jwks = sys.argv[1:]
    keys = pathlib.Path(jwks).read_bytes()
    uvloop.run(_serve(int(port), pathlib.Path(log), keys))


if __name__ == "__main__":
    _main()
