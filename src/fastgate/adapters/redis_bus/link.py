"""Redis link: connections that come back by themselves, and the own region's stream.

Owns:      the client, whether the bus is up, and what a server must be like.
Called by: adapters.redis_bus.bus.
Source:    ECOSYSTEM.md sections 1 and 9: the client library's retries are switched
           off; a request has an answer within a bounded time or is a ControlError, and
           nothing is kept for later.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fastgate.adapters.redis_bus.scripts import MAKE, PUBLISH
from fastgate.adapters.redis_bus.wire import AnewError, Names, translated
from fastgate.errors import ControlError

__all__ = ["REQUEST_S", "Link", "RedisSettings", "client_of", "refuse_eviction"]

_log = logging.getLogger(__name__)

REQUEST_S = 2.0
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 1.0
_AGAIN_S = 0.25
# Reason: publisher, reports, hands and one replay an origin; others wait their turn.
_MAX_CONNECTIONS = 8
_DUPLICATE_WINDOW_MS = 120_000
_DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How to reach Redis, and what a stream may hold.

    url: `redis://HOST:PORT`, or `rediss://` for TLS.
    ca, certificate, key: PEM files; without `ca` the system's authorities count.
    prefix: First word of every key and channel.
    copies: Replicas that must have a message before it counts as published.
    max_bytes: Of one origin's stream; a message past it is refused.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    prefix: str = "fg"
    copies: int = 0
    max_bytes: int = 268_435_456


def client_of(settings: RedisSettings, *, wait_s: float = REQUEST_S) -> Redis:
    """Return a client that connects when it is first asked, and never tries twice.

    wait_s: Longest wait for one answer.
    """
    url = urlsplit(settings.url)
    login: dict[str, Any] = {
        "host": url.hostname or "",
        "port": url.port or _DEFAULT_PORT,
        "username": settings.user,
        "password": settings.password,
    }
    kind: type[Connection] = Connection
    if url.scheme == "rediss":
        kind = SSLConnection
        files = {
            "ssl_ca_certs": settings.ca,
            "ssl_certfile": settings.certificate,
            "ssl_keyfile": settings.key,
        }
        login |= {name: str(file) for name, file in files.items() if file}
    pool = BlockingConnectionPool(
        connection_class=kind,
        max_connections=_MAX_CONNECTIONS,
        timeout=REQUEST_S,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=wait_s,
        socket_connect_timeout=REQUEST_S,
        **login,
    )
    return Redis.from_pool(pool)


def refuse_eviction(memory: dict[str, Any]) -> None:
    """Refuse a server that drops keys when it is full. Raises ControlError."""
    policy = memory.get("maxmemory_policy")
    if not isinstance(policy, str) or policy.startswith("allkeys"):
        raise ControlError(
            f"maxmemory-policy is {policy}: Redis would drop live revocations; "
            "set noeviction"
        )


class Link:
    """The connections of one gateway.

    region: This gateway's.
    begin: Called with each new client, before anything is served.
    serve: What runs while the bus is up, called with a client; each ends by
        ControlError only, and then all begin again.
    tell: Told whether the bus can be reached, at every attempt.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        region: str,
        begin: Callable[[Redis], Awaitable[None]],
        serve: Sequence[Callable[[Redis], Awaitable[None]]],
        tell: Callable[[bool], None],
    ) -> None:
        self._names = Names(settings.prefix)
        self._settings = settings
        self._region = region
        self._begin = begin
        self._serve = serve
        self._tell = tell
        self._client: Redis | None = None
        self._made = ""
        self._trouble = ""
        self._again = asyncio.Event()

    async def stay_connected(self) -> None:
        """Connect, look after the own stream, serve, and connect again, for ever."""
        wait_s = _RETRY_FIRST_S
        while True:
            began_s = asyncio.get_running_loop().time()
            try:
                await self._session()
            except ControlError as error:
                self._tell(False)
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    _log.warning("redis: %s; it is tried again", error)
            if asyncio.get_running_loop().time() - began_s > 2 * REQUEST_S:
                wait_s = _RETRY_FIRST_S
            # Reason: gateways must not come back in step.
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311
            wait_s = min(_RETRY_LAST_S, 2 * wait_s)

    async def _session(self) -> None:
        client = client_of(self._settings)
        try:
            await self._set_up(client)
            await self._begin(client)
            self._client = client
            self._trouble = ""
            await self._together(client)
        finally:
            self._client = None
            with contextlib.suppress(ControlError), translated():
                async with asyncio.timeout(REQUEST_S):
                    await client.aclose()

    async def _together(self, client: Redis) -> None:
        # One that fails ends the others: half a bus would look like a whole one.
        jobs = [*(serve(client) for serve in self._serve), self._look_again(client)]
        tasks = {asyncio.ensure_future(job) for job in jobs}
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ended.pop().result()
        finally:
            await _end(tasks)

    def up(self) -> None:
        """Say that the bus is up: what serves has subscribed."""
        self._tell(True)

    async def _look_again(self, client: Redis) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            await self._set_up(client)

    async def _set_up(self, client: Redis) -> None:
        names, region = self._names, self._region
        with translated():
            refuse_eviction(await client.info("memory"))
            keys = (names.log(region), names.account(region), names.due(region))
            made = await client.register_script(MAKE)(
                keys=keys, args=[secrets.token_hex(8)]
            )
        self._made = made.decode("ascii", "replace")

    def connected(self) -> Redis:
        """Return the client. Raises ControlError while it is not connected."""
        if self._client is None:
            raise ControlError("not connected")
        return self._client

    async def store(
        self, publisher: str, message_id: str, payload: bytes, ttl_s: int
    ) -> int:
        """Store a message in the own stream; return its position.

        Raises ControlError where the stream, or a replica too few, has it.
        """
        client, names, region = self.connected(), self._names, self._region
        keys = [names.log(region), names.account(region), names.due(region)]
        keys.append(names.once(region, message_id))
        window_ms = min(_DUPLICATE_WINDOW_MS, ttl_s * 1000)
        told = (self._made, publisher, payload, ttl_s * 1000, window_ms)
        try:
            with translated():
                # One connection: WAIT counts what came over it.
                async with client.client() as one:
                    position = int(
                        await one.register_script(PUBLISH)(
                            keys=keys, args=[*told, self._settings.max_bytes]
                        )
                    )
                    await self._spread(one)
        except AnewError:
            self._again.set()
            raise
        except ValueError as exc:
            raise ControlError("an answer cannot be read") from exc
        return position

    async def _spread(self, one: Redis) -> None:
        wanted = self._settings.copies
        if not wanted:
            return
        have = await one.wait(wanted, int(REQUEST_S * 500))
        if have < wanted:
            raise ControlError(f"{have} of {wanted} replicas have it")


async def _end(tasks: Collection["asyncio.Future[None]"]) -> None:
    """Cancel tasks until each has ended, and forget what became of them.

    Not a TaskGroup, which cancels once: on Python 3.11 the client library swallows a
    cancellation that comes together with an answer (asyncio.wait_for).
    """
    left, cancelled = set(tasks), False
    while left:
        for task in left:
            task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=_AGAIN_S)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if cancelled:
        raise asyncio.CancelledError
