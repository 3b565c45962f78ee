"""Revoker: revokes tokens at a gateway and sees when each worker refuses them.

Owns:      one connection to each worker, and one to the admin API.
Called by: revocation; propagation asks as it does.
"""

import asyncio
import time
from typing import Final

import orjson

from fastgate.errors import StartError
from fastgate_bench.gateways import Running
from fastgate_bench.machine import holder

__all__ = ["Link", "Revoker", "request_of"]

_HOST: Final = "127.0.0.1"
_DEADLINE_S: Final = 10.0
_LOOK_S: Final = 0.0005  # between two requests of a connection
_MAX_TRIES: Final = 64  # connections until each worker has one
_CREATED: Final = 201
_OK: Final = 200
_REFUSED: Final = 401


class Link:
    """A connection that is asked one thing after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> "Link":
        """Connect to a port on loopback."""
        return cls(*await asyncio.open_connection(_HOST, port))

    @property
    def own_port(self) -> int:
        """The port of this end."""
        return int(self._writer.get_extra_info("sockname")[1])

    async def ask(self, request: bytes) -> int:
        """Send a request and return the status of its answer."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length:")
        await self._reader.readexactly(int(rest.split(b"\r\n")[0] or b"0"))
        return int(head[9:12])

    def close(self) -> None:
        """End it."""
        self._writer.close()


class Revoker:
    """Works on one gateway of so many workers."""

    def __init__(self, gateway: Running, workers: int) -> None:
        self._gateway = gateway
        self._wanted = workers
        self._links: dict[int, Link] = {}  # by the worker's process
        self._admin: Link | None = None

    async def connect(self) -> None:
        """Open a connection to each worker. Raises StartError: not all were met."""
        place = self._gateway.place
        for _ in range(_MAX_TRIES):
            link = await Link.to(place.port)
            await link.ask(request_of(place.issuer.token()))  # accepted by now
            pid = holder(self._gateway.pid, place.port, link.own_port)
            if pid in self._links or not pid:
                link.close()
            else:
                self._links[pid] = link
            if len(self._links) == self._wanted:
                break
        else:
            raise StartError(f"met {len(self._links)} of {self._wanted} workers")
        self._admin = await Link.to(place.admin_port)

    def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            link.close()
        if self._admin is not None:
            self._admin.close()

    async def revoke(self) -> tuple[int, int]:
        """Revoke a new token; returns microseconds until refused, until answered.

        Raises StartError: it was not accepted before, or not refused in time.
        """
        place = self._gateway.place
        jti = f"revoked-{time.monotonic_ns()}"
        request = request_of(place.issuer.token(jti=jti))
        for link in self._links.values():
            if await link.ask(request) != _OK:
                raise StartError("a good token was not accepted")
        assert self._admin is not None
        began = time.perf_counter_ns()
        try:
            async with asyncio.timeout(_DEADLINE_S):
                status, *refused = await asyncio.gather(
                    self._enter(jti),
                    *(_until_refused(link, request) for link in self._links.values()),
                )
        except TimeoutError:
            raise StartError(f"not refused within {_DEADLINE_S:g} s") from None
        return (max(refused) - began) // 1000, (status - began) // 1000

    async def _enter(self, jti: str) -> int:
        """Enter the revocation; returns when it was answered."""
        assert self._admin is not None
        body = orjson.dumps({"kind": "jti", "issuer": "login", "value": jti})
        head = (
            "POST /v1/revocations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        status = await self._admin.ask(head.encode() + body)
        if status != _CREATED:
            raise StartError(f"the admin API answered {status}")
        return time.perf_counter_ns()


async def _until_refused(link: Link, request: bytes) -> int:
    """Ask until the token is refused; returns when that was."""
    while (status := await link.ask(request)) != _REFUSED:
        if status != _OK:
            raise StartError(f"a token that is being revoked was answered {status}")
        await asyncio.sleep(_LOOK_S)
    return time.perf_counter_ns()


def request_of(token: str) -> bytes:
    """Return a request with a token that a gateway under test accepts."""
    return (
        "GET /orders/1 HTTP/1.1\r\nHost: gateway.test\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
