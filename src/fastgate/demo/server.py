"""Server: one aiohttp application on a port of loopback, and JSON answers.

Owns:      the life of a listener.
Called by: demo.identity and demo.upstream.
"""

from typing import Any, Final

import orjson
from aiohttp import web

__all__ = ["LoopbackServer", "json_answer"]

_KEEP_ALIVE_S: Final = 75.0
_SHUTDOWN_S: Final = 0.5
_NO_STORE: Final = {"Cache-Control": "no-store"}


def json_answer(
    document: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a JSON answer that nobody keeps unless `headers` says otherwise."""
    return web.Response(
        body=orjson.dumps(document),
        status=status,
        content_type="application/json",
        headers=_NO_STORE | (headers or {}),
    )


class LoopbackServer:
    """An application that listens between `start` and `stop`."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=_KEEP_ALIVE_S,
            shutdown_timeout=_SHUTDOWN_S,
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, chosen by the system where 0 was given."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Stop listening; a request under way gets half a second."""
        await self._runner.cleanup()
