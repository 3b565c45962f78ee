"""Redis bus: one stream per region, read to its end by every gateway.

Owns:      what the feed asks of streams.
Called by: control.feed through ports.Bus.
Source:    ECOSYSTEM.md section 9. A fail-over may lose entries that were acknowledged;
           the feed's own numbers and digests find that, and its journals mend it.
"""

import asyncio
from collections.abc import AsyncGenerator

from redis.asyncio import Redis

from fastgate.adapters.redis_bus.link import (
    REQUEST_S,
    Link,
    RedisSettings,
    client_of,
)
from fastgate.adapters.redis_bus.live import Live, glance
from fastgate.adapters.redis_bus.shelf import RedisShelf
from fastgate.adapters.redis_bus.talk import Talk
from fastgate.adapters.redis_bus.wire import Names, id_of, stored_of, translated
from fastgate.domain.stream import Stored, StreamState
from fastgate.errors import ControlError
from fastgate.ports import BusListener

__all__ = ["RedisBus"]

# Reason: 64 frames of the largest size are 16 MiB, which is all that is held at once.
_PAGE = 64
# Reason: the server blocks a reader for half a second at most.
_READ_S = REQUEST_S + 1.0
_AGAIN_S = 0.25
# Reason: the largest frame, 256 KiB, in its signed envelope.
_MAX_PAYLOAD_BYTES = 300_000


class RedisBus:
    """The streams of all regions as one gateway sees them.

    region, node: This gateway. origins: Regions whose streams are followed.
    """

    name = "redis"

    def __init__(
        self,
        settings: RedisSettings,
        *,
        region: str,
        node: str,
        origins: tuple[str, ...],
    ) -> None:
        self._settings = settings
        self._region = region
        self._listener: BusListener | None = None
        self._names = Names(settings.prefix)
        self._live = Live(self._names, origins, self._on_live)
        self._link = Link(
            settings,
            region=region,
            begin=self._live.begin,
            serve=(self._read, self._hear),
            tell=self._tell,
        )
        self._talk = Talk(
            self._names, region=region, node=node, listener=lambda: self._listener
        )
        self._task: asyncio.Task[None] | None = None
        self._up: bool | None = None

    def shelf(self, keep_s: int) -> RedisShelf:
        """Return where saved states lie. keep_s: Life of a part of one."""
        return RedisShelf(self._link, self._names, self._region, keep_s)

    async def start(self, listener: BusListener) -> None:
        """Connect in the background and return at once."""
        self._listener = listener
        self._task = asyncio.create_task(
            self._link.stay_connected(), name="redis-connect"
        )

    async def stop(self) -> None:
        """Disconnect; nothing is told to the listener afterwards."""
        self._listener = None
        left = {self._task} if self._task else set()
        while left:
            # Again, where a library swallowed it (asyncio.wait_for on Python 3.11).
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_AGAIN_S)
        await self._talk.stop()

    async def _read(self, _: Redis) -> None:
        # A connection of its own, which may wait longer than a command.
        client = client_of(self._settings, wait_s=_READ_S)
        try:
            await self._live.run(client)
        finally:
            await client.aclose()

    async def _hear(self, client: Redis) -> None:
        await self._talk.run(client, self._link.up)

    def _tell(self, up: bool) -> None:
        if up is not self._up and self._listener is not None:
            self._listener.connected(up)
        self._up = up

    def _on_live(self, stored: Stored) -> None:
        if self._listener is not None:
            self._listener.live(stored)

    async def publish(
        self,
        publisher: str,
        kind: str,  # noqa: ARG002  # a stream has no subjects
        message_id: str,
        payload: bytes,
        ttl_s: int,
    ) -> int:
        """Store a message in the own region's stream; return its position.

        Raises ControlError where that stream did not say that it has it.
        """
        if len(payload) > _MAX_PAYLOAD_BYTES:
            raise ControlError("too large")  # Redis itself has no bound that low
        return await self._link.store(publisher, message_id, payload, ttl_s)

    async def state(self, origin: str) -> StreamState:
        """Return the state of a stream, asked of the server that takes its writes."""
        client = self._link.connected()
        seen = await glance(client, self._names, (origin,))
        if origin not in seen:
            raise ControlError(f"there is no stream of {origin} that is ours")
        made, last, size = seen[origin]
        with translated():
            memory = await client.info("memory")
        limit = int(memory.get("maxmemory", 0))
        fill = int(memory.get("used_memory", 0)) / limit if limit else 0.0
        return StreamState(made, last, max(fill, size / self._settings.max_bytes))

    async def replay(
        self, origin: str, after: int, to: int
    ) -> AsyncGenerator[Stored, None]:
        """Yield every message stored in (after, to], in order.

        Raises ControlError rather than skip a message that the stream still has.
        """
        log, account = self._names.log(origin), self._names.account(origin)
        first: object = None
        while after < to:
            with translated():
                async with self._link.connected().pipeline(transaction=True) as pipe:
                    pipe.hget(account, "made")
                    pipe.xrange(log, id_of(after + 1), id_of(to), count=_PAGE)
                    made, entries = await pipe.execute()
            first = first or made
            if not made or made != first:
                # Nothing to read in a stream that has gone is no end of it.
                raise ControlError("the stream was made anew")
            for entry in entries:
                stored = stored_of(origin, entry)
                after = stored.position
                yield stored
            if len(entries) < _PAGE:
                return

    async def report(self, payload: bytes) -> None:
        """Send a report to every node of every region; nobody answers."""
        await self._talk.report(self._link.connected(), payload)

    async def urge(self, publisher: str, payload: bytes) -> None:
        """Send an urgent frame through a channel, which keeps nothing."""
        if len(payload) > _MAX_PAYLOAD_BYTES:
            raise ControlError("too large")
        await self._talk.urge(self._link.connected(), publisher, payload)

    async def hand(self, home: str, payload: bytes) -> bytes:
        """Hand an event to any gateway of its home; return the answer."""
        return await self._talk.hand(self._link.connected(), home, payload)
