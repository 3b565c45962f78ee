"""Listener: one bounded HTTP server of the agent, over a socket that is bound already.

Owns:      connections, their number and their time-outs; errors before any handler.
Called by: admin.api and admin.status_page.
Source:    THREATS.md section 4 (limits and timers).

Whoever holds idle connections must not keep a probe out: past the limit the idle
connection that is oldest makes room for the newest.
"""

import asyncio
import logging
import pathlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from fastgate.admin.problems import RefusedError
from fastgate.errors import BadAnswerError, ControlError

__all__ = ["Handler", "Listener"]

_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Reason: a whole head must be there within it, from accept or from the last answer.
_KEEP_ALIVE_S = 10.0
# Reason: what a refused body may still send before the connection ends.
_LINGER_S = 1.0
_SHUTDOWN_S = 2.0
_HANDSHAKE_S = 5.0  # THREATS.md section 4, as at the data listener
_BACKLOG = 128
_MAX_LINE_BYTES = 8_190
_MAX_HEADERS = 100


class _Protocol(web.RequestHandler):
    """aiohttp's connection, with this room's errors."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(self._manager, _Server):
            self._manager.make_room(self)

    @property
    def is_idle(self) -> bool:
        """True where no request is being answered."""
        return not self._request_in_progress

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        # Neither `exc` nor `message` is shown or logged: they repeat what was sent.
        del exc, message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        code = "internal_error"
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            code = "bad_request"
        return RefusedError(code, close=True).response()


class _Server(web.Server):
    """aiohttp's server, which counts its connections."""

    def __init__(self, handler: Handler, max_connections: int) -> None:
        super().__init__(
            handler,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=_LINGER_S,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
        )
        self._max_connections = max_connections

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)

    def make_room(self, newest: _Protocol) -> None:
        """End a connection where there is one too many: the oldest idle one."""
        if len(self._connections) <= self._max_connections:
            return
        for each in self._connections:
            if each is newest or (isinstance(each, _Protocol) and each.is_idle):
                each.force_close()
                return


class Listener:
    """Serves one handler on one socket.

    handler: Answers every request; what it raises becomes a problem body.
    max_connections: Held at once.
    """

    def __init__(self, handler: Handler, *, max_connections: int) -> None:
        self._handler = handler
        self._max_connections = max_connections
        self._server: _Server | None = None
        self._accepting: asyncio.AbstractServer | None = None

    async def start(
        self, sock: socket.socket, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Begin to accept on a listening socket, TCP or Unix.

        tls: Of clients; None: they speak plain HTTP.
        """
        self._server = _Server(self._guarded, self._max_connections)
        self._accepting = await asyncio.get_running_loop().create_server(
            self._server,
            sock=sock,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else _HANDSHAKE_S,
            backlog=_BACKLOG,
        )

    async def stop(self) -> None:
        """Stop accepting, end what is open; does nothing where it is stopped."""
        accepting, self._accepting = self._accepting, None
        if accepting is not None:
            accepting.close()
        server, self._server = self._server, None
        if server is not None:
            # What has arrived begins to be answered, before idle connections end.
            await asyncio.sleep(0)
            server.pre_shutdown()
            await server.shutdown(_SHUTDOWN_S)

    async def _guarded(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._handler(request)
        except RefusedError as refused:
            return refused.response()
        except BadAnswerError:
            return RefusedError("bad_issuer_response").response()
        except ControlError:
            return RefusedError("unavailable").response()
        except ConnectionError:
            raise  # nobody is left to be told
        except Exception as error:  # noqa: BLE001
            # The last border of a request. Its text may hold a token, so it is not
            # logged; the place is what finds the fault.
            _log.error("a request failed: %s", _place(error))
            if request.writer.output_size > 0:
                raise ConnectionError("an answer has begun already") from None
            return RefusedError("internal_error").response()


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    if trace is None:
        return name
    file = pathlib.PurePath(trace.tb_frame.f_code.co_filename).name
    return f"{name} at {file}:{trace.tb_lineno}"
