"""Steps: a session that ends in one region ends in all of them.

Owns:      nothing.
Called by: demo.tour.
Source:    DESIGN.md section 8.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from fastgate.demo.scene import OK, REFUSED, Scene, hold
from fastgate.demo.visitor import Tokens
from fastgate.demo.world import OAUTH, REGIONS

__all__ = ["logout_everywhere", "refused_everywhere", "sign_out"]

_LIMIT_S = 10.0
_PACE_S = 0.01


async def logout_everywhere(scene: Scene) -> str:
    """Bob signs out in us; the token he still has is refused everywhere."""
    tokens = await scene.sign_in("bob")
    other = await scene.sign_in("bob")
    for region in REGIONS:
        await scene.accepted(region, tokens.access)
    refused_s = await refused_everywhere(
        scene, tokens.access, sign_out(scene, "us", tokens)
    )
    notice = scene.regions.notices["us"]
    status = notice.last.get("status")
    hold(status == 201, f"the gateway took the logout with {status}")  # noqa: PLR2004 - RFC 9110 section 15.3.2
    for region in REGIONS:
        # Only that session has ended: bob's other one goes on.
        await scene.accepted(region, other.access)
    waits = [max(0.0, at_s - notice.accepted_s) * 1e3 for at_s in refused_s]
    shown = ", ".join(
        f"{region} {ms:.0f} ms" for region, ms in zip(REGIONS, waits, strict=True)
    )
    how = "" if scene.regions.bus == "nats" else " (the provider told each gateway)"
    return (
        f"same token 401 everywhere, after the 201{how}: {shown}; other session lives"
    )


async def sign_out(scene: Scene, region: str, tokens: Tokens) -> None:
    """Sign a user out through a region's gateway."""
    reply = await scene.visitor.ask(
        f"{scene.gateway(region)}{OAUTH}oauth-logout",
        method="POST",
        form={"id_token_hint": tokens.id_token},
    )
    hold(reply.status == OK, f"the logout in {region} was answered {reply.status}")


async def refused_everywhere(
    scene: Scene, token: str, end: Coroutine[Any, Any, None]
) -> list[float]:
    """Return when each region refused a token first, time.perf_counter().

    end: What ends its session; begun once every region is being asked.
    """
    watches = [
        asyncio.create_task(_refused_at(scene, region, token)) for region in REGIONS
    ]
    try:
        await end
        return await asyncio.gather(*watches)
    finally:
        for watch in watches:
            watch.cancel()


async def _refused_at(scene: Scene, region: str, token: str) -> float:
    """Return when a token was refused for the first time, time.perf_counter().

    One request follows the other without waiting for its answer: an accepted one comes
    back from home only after a round trip, which would hide the moment.
    """
    refused: list[float] = []
    failed = []
    began = time.perf_counter()

    async def ask() -> None:
        reply = await scene.call(region, token)
        if reply.status == REFUSED:
            refused.append(time.perf_counter())
        elif reply.status != OK:
            failed.append(reply)

    async with asyncio.TaskGroup() as group:
        while not refused and not failed:
            within = time.perf_counter() - began < _LIMIT_S
            hold(within, f"{region} still accepts the token")
            group.create_task(ask())
            await asyncio.sleep(_PACE_S)
    if failed:
        scene.unexpected(f"{region} gateway", failed[0], REFUSED)
    return min(refused)
