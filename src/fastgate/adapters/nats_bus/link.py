"""NATS link: one connection that comes back by itself, and the own region's stream.

Owns:      the client, whether it is up, and whether regions have JetStream domains.
Called by: adapters.nats_bus.bus.
Source:    ECOSYSTEM.md sections 1 and 9: the client library's recovery is not relied
           on; a request has an answer within a bounded time or is a ControlError,
           and nothing is buffered for later.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from fastgate.adapters.nats_bus.answers import (
    MissingError,
    TimedOutError,
    answer_of,
    stream_name,
    translated,
)
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.adapters.nats_bus.streams import refuse_lossy, stream_config
from fastgate.errors import ControlError

__all__ = ["REQUEST_S", "Link", "client_options"]

_log = logging.getLogger(__name__)

REQUEST_S = 2.0
_RETRY_S = 0.25
# Reason: a silent partition is seen after two missed pings, about 5 s.
_PING_S = 2
# Reason: a connection that pings and answers nothing else is replaced.
_MAX_TIMEOUTS = 3


def client_options(settings: NatsSettings, name: str) -> dict[str, Any]:
    """Return how a client signs in. name: Shown by the server."""
    options: dict[str, Any] = {
        "servers": list(settings.servers),
        "name": name,
        "connect_timeout": int(REQUEST_S),
        "tls": settings.tls,
    }
    if settings.credentials is not None:
        options["user_credentials"] = str(settings.credentials)
    if settings.user is not None:
        options |= {"user": settings.user, "password": settings.password}
    return options


class Link:
    """The connection of one gateway.

    region, node: This gateway.
    subscribe: Called with each new client, before anything is asked.
    tell: Told whether the bus can be reached, at every change.
    """

    def __init__(
        self,
        settings: NatsSettings,
        *,
        region: str,
        node: str,
        subscribe: Callable[[Client], Awaitable[None]],
        tell: Callable[[bool], None],
    ) -> None:
        self._settings = settings
        self._region = region
        self._node = node
        self._subscribe = subscribe
        self._tell = tell
        self._client: Client | None = None
        self._domains = False
        self._again = asyncio.Event()
        self._timeouts = 0
        self._trouble = ""

    async def stay_connected(self) -> None:
        """Connect, look after the own stream, and connect again, for ever."""
        try:
            while True:
                await self._once()
        finally:
            await self._close()

    async def _once(self) -> None:
        try:
            await self._connect()
            await self._set_up()
        except ControlError as error:
            self._tell(False)
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("nats: %s; it is tried again", error)
            await self._close()
            await asyncio.sleep(_RETRY_S)
            return
        self._trouble = ""
        self._tell(True)
        await self._again.wait()
        self._again.clear()
        if self._timeouts >= _MAX_TIMEOUTS:
            _log.warning("nats: nothing is answered, connecting anew")
            self._tell(False)
            await self._close()

    async def _connect(self) -> None:
        if self._client is not None:
            return
        self._timeouts = 0
        client = self._client = Client()
        # The client tries for as long as it takes, and says nothing meanwhile.
        late = asyncio.get_running_loop().call_later(REQUEST_S, self._tell_late)
        try:
            await self._open(client)
        finally:
            late.cancel()

    def _tell_late(self) -> None:
        _log.warning("nats: no server can be reached; it is tried again")
        self._tell(False)

    async def _open(self, client: Client) -> None:
        with translated():
            await client.connect(
                **client_options(self._settings, f"fastgate-{self._node}"),
                # An account may be held to its own answers.
                inbox_prefix=f"_INBOX.{self._region}.{self._node}",
                reconnect_time_wait=_RETRY_S,  # type: ignore[arg-type]
                max_reconnect_attempts=-1,
                ping_interval=_PING_S,
                max_outstanding_pings=2,
                error_cb=self._on_error,
                disconnected_cb=self._on_lost,
                reconnected_cb=self._on_back,
            )
            await self._subscribe(client)

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(ControlError), translated():
                async with asyncio.timeout(REQUEST_S):
                    await client.close()

    async def _on_error(self, error: Exception) -> None:
        _log.info("nats: %s", type(error).__name__)

    async def _on_lost(self) -> None:
        self._tell(False)

    async def _on_back(self) -> None:
        # The server may be another one, without our stream: look again.
        self._again.set()

    async def _set_up(self) -> None:
        info = await self.ask("$JS.API.INFO", None)
        # A shared server may have a domain of its own; then there is one for all.
        self._domains = info.get("domain") == self._domain(self._region)
        await self._make_stream()

    async def _make_stream(self) -> None:
        name = stream_name(self._region)
        api = self.api(self._region)
        try:
            info = await self.ask(f"{api}.STREAM.INFO.{name}", None)
        except MissingError:
            wanted = stream_config(self._settings, self._region)
            await self.ask(f"{api}.STREAM.CREATE.{name}", wanted)
            _log.info("nats: made the stream %s", name)
            return
        refuse_lossy(self._region, info.get("config"), self._settings.least_age_s)

    def _domain(self, region: str) -> str:
        return self._settings.domains.get(region, region)

    def api(self, region: str) -> str:
        """Return the prefix of the JetStream API that serves a region's stream."""
        return f"$JS.{self._domain(region)}.API" if self._domains else "$JS.API"

    # Requests.

    def connected(self) -> Client:
        """Return the client. Raises ControlError while it is not connected."""
        # The client would keep a request for later; later it would be a lie.
        if self._client is None or not self._client.is_connected:
            raise ControlError("not connected")
        return self._client

    async def ask(self, subject: str, body: object) -> dict[str, Any]:
        """Return a JetStream answer. Raises ControlError, MissingError for 404."""
        payload = b"" if body is None else orjson.dumps(body)
        return answer_of((await self.request(subject, payload)).data)

    async def request(
        self, subject: str, payload: bytes, headers: dict[str, str] | None = None
    ) -> Msg:
        """Return the first answer. Raises ControlError, MissingError for nobody."""
        client = self.connected()
        with translated():
            return await client.request(
                subject, payload, timeout=REQUEST_S, headers=headers
            )

    async def store(
        self, subject: str, payload: bytes, headers: dict[str, str]
    ) -> dict[str, Any]:
        """Return the own stream's answer to a message; heals what that shows broken."""
        try:
            answer = await self.request(subject, payload, headers)
        except MissingError:
            # Nobody answers for the subject: the stream has gone.
            self._again.set()
            raise
        except TimedOutError:
            self._timeouts += 1
            if self._timeouts >= _MAX_TIMEOUTS:
                self._again.set()
            raise
        self._timeouts = 0
        return answer_of(answer.data)
