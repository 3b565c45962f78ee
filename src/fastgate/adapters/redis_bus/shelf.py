"""Redis shelf: where saved states lie on a Redis server, a key for each blob.

Owns:      the keys `fg.snap.<region>.…`; what of the server's memory they may have.
Called by: control.shared_snapshots, through ports.Shelf.
Source:    ECOSYSTEM.md section 9. Redis keeps everything in memory and refuses writes
           when it is full: revocations come first, so half of it stays theirs.
"""

from fastgate.adapters.redis_bus.link import Link
from fastgate.adapters.redis_bus.wire import Names, translated
from fastgate.errors import ControlError

__all__ = ["RedisShelf"]

_MAX_BLOB_BYTES = 262_144
# Reason: past it a server is too full to carry anything but revocations.
_SHARE = 2
_UNBOUNDED = 1 << 62


class RedisShelf:
    """The blobs of all regions.

    region: This gateway's, which it writes. keep_s: Life of a blob.
    """

    def __init__(self, link: Link, names: Names, region: str, keep_s: int) -> None:
        self._link = link
        self._names = names
        self._region = region
        self._keep_ms = keep_s * 1000

    async def room(self) -> int:
        """Return how many bytes a saved state may have. Raises ControlError."""
        with translated():
            memory = await self._link.connected().info("memory")
        limit = int(memory.get("maxmemory", 0))
        if limit == 0:
            return _UNBOUNDED  # what a state may have is bounded by its writer
        return max(0, limit // _SHARE - int(memory.get("used_memory", 0)))

    async def put(self, name: str, data: bytes) -> None:
        """Keep a blob. Raises ControlError where the server does not say so."""
        if len(data) > _MAX_BLOB_BYTES:
            raise ControlError("too large")
        key = self._names.blob(self._region, name)
        with translated():
            done = await self._link.connected().set(key, data, px=self._keep_ms)
        if not done:
            raise ControlError("the server did not keep a blob")

    async def get(self, region: str, name: str) -> bytes | None:
        """Return a blob, None where there is none. Raises ControlError."""
        key = self._names.blob(region, name)
        with translated():
            # Never more than that, whoever put it there.
            found = await self._link.connected().getrange(key, 0, _MAX_BLOB_BYTES)
        if not isinstance(found, bytes) or len(found) > _MAX_BLOB_BYTES:
            raise ControlError("a blob is none of ours")
        return found or None
