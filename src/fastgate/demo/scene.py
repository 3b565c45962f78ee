"""Scene: what every step of the tour stands on.

Owns:      how a step says that something does not hold, and how it waits for something.
Called by: the steps.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import orjson

from fastgate.demo.regions import Regions
from fastgate.demo.visitor import Reply, Tokens, Visitor
from fastgate.demo.world import USERS
from fastgate.errors import FastgateError

__all__ = ["FORBIDDEN", "OK", "REFUSED", "STALE", "Scene", "StepError", "hold"]

OK: Final = 200
REFUSED: Final = 401
FORBIDDEN: Final = 403
STALE: Final = 503

_LOOK_S: Final = 0.02
_LOG_WAIT_S: Final = 3.0


class StepError(FastgateError):
    """A step saw something else than it should; the text says what."""

    code = "step"


def hold(true: bool, otherwise: str) -> None:
    """Raise StepError unless something is as it should be."""
    if not true:
        raise StepError(otherwise)


class Scene:
    """The regions, and somebody who visits them."""

    def __init__(self, regions: Regions, visitor: Visitor) -> None:
        self.regions = regions
        self.visitor = visitor

    def gateway(self, region: str) -> str:
        """Return the URL of a region's gateway."""
        return self.regions.ports.url(region, "gateway")

    def admin(self, region: str) -> str:
        """Return the URL of the admin API of a region's gateway."""
        return self.regions.ports.url(region, "admin")

    async def sign_in(
        self, user: str, client_id: str = "web-app", *, at: str | None = None
    ) -> Tokens:
        """Sign a user in through a region's gateway; unset: that of the home."""
        home = USERS[user]
        return await self.visitor.sign_in(
            self.gateway(at or home), user, client_id, home=home
        )

    async def call(self, region: str, token: str, path: str = "/orders/1") -> Reply:
        """Call the API through a region's gateway."""
        return await self.visitor.ask(self.gateway(region) + path, token=token)

    async def accepted(self, region: str, token: str) -> Reply:
        """Call the API; raise StepError unless it answers."""
        reply = await self.call(region, token)
        if reply.status != OK:
            self.unexpected(f"{region} gateway", reply, OK)
        return reply

    def unexpected(self, where: str, reply: Reply, wanted: int) -> NoReturn:
        """Raise StepError about an answer that should have been another."""
        why = reply.reason or reply.code or reply.body[:80].decode("utf-8", "replace")
        raise StepError(f"{where}: {reply.status} {why}, expected {wanted}")

    async def until(
        self, what: str, limit_s: float, look: Callable[[], Awaitable[bool]]
    ) -> float:
        """Return the seconds until `look` says True. Raises StepError past the limit.

        what: Completes "after 5 s: ...". `look` is asked about fifty times a second.
        """
        began = time.perf_counter()
        while not await look():
            if time.perf_counter() - began >= limit_s:
                raise StepError(f"after {limit_s:g} s: {what}")
            await asyncio.sleep(_LOOK_S)
        return time.perf_counter() - began

    async def answers(self, region: str, token: str, status: int) -> bool:
        """Tell whether the API call has a status now."""
        return (await self.call(region, token)).status == status

    async def overhead_us(self, region: str, reply: Reply) -> int:
        """Return what the gateway itself took for a request, microseconds.

        Source: The access line of that request; it is written a moment later.
        """
        wanted = reply.headers.get("X-Request-Id", "")
        found: list[int] = []

        async def look() -> bool:
            path = self.regions.gateways[region].access_log
            lines = path.read_bytes().splitlines() if path.exists() else []
            for line in reversed(lines):
                if wanted.encode() in line:
                    try:
                        found.append(int(orjson.loads(line)["overhead_us"]))
                    except (json.JSONDecodeError, KeyError):
                        return False  # only half of it is there yet
                    return True
            return False

        await self.until(f"no access line at {region}", _LOG_WAIT_S, look)
        return found[0]
