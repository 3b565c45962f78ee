"""Redis live: the tail of every origin's stream, as it grows.

Owns:      how far each stream was told; nothing is kept for the feed.
Called by: adapters.redis_bus.bus, while the link is up.
Source:    ECOSYSTEM.md section 9: no consumer groups, each node reads everything. An id
           that is ahead of its stream would wait for ever, so every second each stream
           is asked whether it is still the one that was read.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from fastgate.adapters.redis_bus.wire import (
    Names,
    id_of,
    position_of,
    stored_of,
    translated,
)
from fastgate.domain.stream import Stored
from fastgate.errors import ControlError

__all__ = ["Live", "glance"]

_BLOCK_MS = 500
_COUNT = 64
_LOOK_S = 1.0
# Reason: what is farther behind than this comes by replay, which the feed paces.
_MAX_BEHIND = 4_096


async def glance(
    client: Redis, names: Names, origins: tuple[str, ...]
) -> dict[str, tuple[str, int, int]]:
    """Return name, last position and bytes of each stream there is, in one answer.

    One into which somebody wrote with ids of his own is left out: it has no positions
    any more, and the other origins are not to suffer. Raises ControlError.
    """
    found: dict[str, tuple[str, int, int]] = {}
    with translated():
        async with client.pipeline(transaction=True) as pipe:
            for origin in origins:
                pipe.hmget(names.account(origin), "made", "bytes")
                pipe.xinfo_stream(names.log(origin))
            answers: list[Any] = await pipe.execute(raise_on_error=False)
    for origin, account, info in zip(origins, answers[::2], answers[1::2], strict=True):
        if isinstance(account, list) and account[0] and isinstance(info, dict):
            made, size = account
            with contextlib.suppress(ControlError):
                last = position_of(info.get("last-generated-id"))
                found[origin] = made.decode("ascii", "replace"), last, int(size or 0)
    return found


class Live:
    """Reads the streams of all origins and tells each message once.

    tell: Takes a message, on the loop; never raises.
    """

    def __init__(
        self, names: Names, origins: tuple[str, ...], tell: Callable[[Stored], None]
    ) -> None:
        self._names = names
        self._origins = origins
        self._tell = tell
        self._made: dict[str, str] = {}
        self._at: dict[str, int] = {}
        self._foreign: set[str] = set()
        self._by_key = {names.log(o).encode(): o for o in origins}

    async def begin(self, client: Redis) -> None:
        """Go on where each stream was left, or at its end. Raises ControlError."""
        seen = await glance(client, self._names, self._origins)
        for origin in self._origins:
            made, last, _ = seen.get(origin, ("", 0, 0))
            if origin in seen:
                self._foreign.discard(origin)
            at = self._at.get(origin)
            if at is None or last - at > _MAX_BEHIND:
                # The feed finds what lies between by position, and reads it.
                self._at[origin] = last
            elif made != self._made.get(origin) or last < at:
                self._at[origin] = last if last > _MAX_BEHIND else 0
            self._made[origin] = made

    def _take(self, origin: str, entries: list[Any]) -> None:
        for entry in entries:
            try:
                stored = stored_of(origin, entry)
            except ControlError:
                # Not followed before it was made anew; its view ages.
                self._foreign.add(origin)
                return
            self._at[origin] = stored.position
            self._tell(stored)

    async def run(self, client: Redis) -> None:
        """Tell what comes, until a connection fails. Raises ControlError."""
        clock = asyncio.get_running_loop().time
        looked = clock()
        while True:
            streams: dict[Any, Any] = {
                self._names.log(origin): id_of(at) if at else "0-0"
                for origin, at in self._at.items()
                if origin not in self._foreign
            }
            answer: Any = ()
            if streams:
                with translated():
                    answer = await client.xread(streams, count=_COUNT, block=_BLOCK_MS)
            else:
                await asyncio.sleep(_BLOCK_MS / 1000)
            for key, entries in answer or ():
                self._take(self._by_key[key], entries)
            # A stream that is far ahead must not hold up the loop's other work.
            await asyncio.sleep(0)
            if clock() - looked >= _LOOK_S:
                await self.begin(client)
                looked = clock()
