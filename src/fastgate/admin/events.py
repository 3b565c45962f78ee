"""Events: `GET /v1/events`, the status twice a second as server-sent events.

Owns:      the listeners' number, the newest frame, and the end of every stream.
Called by: admin.api.
Source:    HTML standard section 9.2 (server-sent events); ECOSYSTEM.md section 5.

A listener that reads slowly misses frames, never delays others: there is one frame, the
newest, and nothing is queued.
"""

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web

from fastgate.admin.problems import RefusedError, plain_headers

__all__ = ["StatusEvents"]

_PERIOD_S = 0.5
# Reason: a few dashboards; each costs a serialised status twice a second.
_MAX_LISTENERS = 16
# Reason: past it the client connects anew by itself, and is asked for its token again.
_MAX_STREAM_S = 600.0
_STALLED_S = 10.0
_RETRY = b"retry: 2000\n\n"


class StatusEvents:
    """All streams of one listener.

    read: Returns the status.
    """

    def __init__(
        self,
        read: Callable[[], dict[str, object]],
        *,
        period_s: float = _PERIOD_S,
        max_listeners: int = _MAX_LISTENERS,
        max_stream_s: float = _MAX_STREAM_S,
    ) -> None:
        self._read = read
        self._period_s = period_s
        self._max_listeners = max_listeners
        self._max_stream_s = max_stream_s
        self._listeners = 0
        self._closing = asyncio.Event()
        self._frame = b""
        self._framed_s = -period_s

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return self._listeners

    def close(self) -> None:
        """End every stream."""
        self._closing.set()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send the status until the listener goes, or is asked to come again.

        Raises RefusedError where there are as many listeners as there may be.
        """
        if self._listeners >= self._max_listeners:
            raise RefusedError("overloaded", "there are as many listeners as may be")
        response = web.StreamResponse(headers=plain_headers("text/event-stream"))
        self._listeners += 1
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                await self._send(response)
        except (ConnectionError, TimeoutError):
            response.force_close()  # the listener is gone, or no longer reads
        finally:
            self._listeners -= 1
        return response

    async def _send(self, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._max_stream_s
        await response.write(_RETRY)
        while not self._closing.is_set() and loop.time() < end_s:
            async with asyncio.timeout(_STALLED_S):
                await response.write(self._newest(loop.time()))
            try:
                await asyncio.wait_for(self._closing.wait(), self._period_s)
            except TimeoutError:
                continue

    def _newest(self, now_s: float) -> bytes:
        # Half a period of slack: listeners that wake together share a frame.
        if now_s - self._framed_s > self._period_s / 2:
            self._frame = b"event: status\ndata: %b\n\n" % orjson.dumps(self._read())
            self._framed_s = now_s
        return self._frame
