"""Upstream: an API behind the gateways that answers what it saw.

Owns:      the count of requests that reached this region's API; an endless download and
           an echo by WebSocket, for what goes on for long.
Called by: demo.regions, one a region; the tour reads its answers.
"""

import asyncio
import contextlib
from typing import Any, Final

import orjson
from aiohttp import web

from fastgate.demo.server import LoopbackServer, json_answer
from fastgate.domain import base64url

__all__ = ["DOWNLOAD", "LIVE", "Upstream"]

# Paths of what goes on until somebody ends it.
DOWNLOAD: Final = "/orders/download"
LIVE: Final = "/orders/live"

_IDENTITY: Final = "x-fastgate-"
_MAX_BODY_BYTES: Final = 1 << 20
_MAX_WAIT_MS: Final = 10_000
_JWT_PARTS: Final = 3
_PIECE: Final = b"x" * 1024
_PIECE_S: Final = 0.05
# Reason: a visitor that forgets it does not keep it for ever.
_MOST_PIECES: Final = 1200


class Upstream:
    """The API of one region.

    requests: How many requests reached it.
    """

    def __init__(self, region: str) -> None:
        self.region = region
        self.requests = 0
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_get(DOWNLOAD, self._download)
        app.router.add_get(LIVE, self._live)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._server = LoopbackServer(app)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        return await self._server.start(host, port)

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        wait_ms = request.query.get("wait_ms", "")
        if wait_ms.isdecimal():
            await asyncio.sleep(min(int(wait_ms), _MAX_WAIT_MS) / 1000)
        return json_answer(
            {
                "region": self.region,
                "request": self.requests,
                "method": request.method,
                "target": request.raw_path,
                "authorization": _credential(request.headers.get("Authorization")),
                "identity": _identity(request),
                "via": request.headers.get("Via"),
                "body_bytes": len(body),
            },
            headers={"X-Demo-Region": self.region},
        )

    async def _download(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        answer = web.StreamResponse(headers={"X-Demo-Region": self.region})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):  # that is how these end
            for _ in range(_MOST_PIECES):
                await answer.write(_PIECE)
                await asyncio.sleep(_PIECE_S)
        return answer

    async def _live(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is web.WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket


def _identity(request: web.Request) -> dict[str, list[str]]:
    """Return every value of each identity header, spoofed ones too."""
    found: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        lower = name.lower().replace("_", "-")
        if lower.startswith(_IDENTITY):
            found.setdefault(lower.removeprefix(_IDENTITY), []).append(value)
    return found


def _credential(value: str | None) -> dict[str, Any]:
    """Say what kind of credential arrived; never the credential itself."""
    if value is None:
        return {"kind": "none"}
    scheme, _, token = value.partition(" ")
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return {"scheme": scheme, "kind": "opaque"}
    try:
        header = orjson.loads(base64url.decode(parts[0]) or b"")
    except ValueError:
        return {"scheme": scheme, "kind": "opaque"}
    return {"scheme": scheme, "kind": "jwt", "typ": header.get("typ")}
