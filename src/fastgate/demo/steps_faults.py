"""Steps: what breaks, who feels it, and that it mends itself.

Owns:      nothing.
Called by: demo.tour.
Source:    DESIGN.md sections 3 and 8; REVOCATION.md section 4.
"""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from fastgate.demo.children import child_named
from fastgate.demo.gateway import MAX_STALENESS_S
from fastgate.demo.links import Link
from fastgate.demo.load import load
from fastgate.demo.scene import OK, REFUSED, STALE, Scene, hold
from fastgate.demo.steps_sessions import sign_out
from fastgate.demo.visitor import Tokens
from fastgate.demo.world import REGIONS, USERS
from fastgate.errors import UpstreamError

__all__ = ["agent_down", "bus_cut"]

_AGENT = "fastgate:agent"
_BEFORE, _AFTER, _AFTER_CUT = 30, 300, 30
_SUCCESSOR_S = 10.0
# Past the contract by what finding out may take, and by a busy machine.
_STALE_LIMIT_S = MAX_STALENESS_S + 10.0
_NOTICE_LIMIT_S = 15.0
# A decision may be so old when its request leaves (REVOCATION.md section 1).
_DECISION_S = 1.0
_HEAL_LIMIT_S = 20.0


async def agent_down(scene: Scene) -> str:
    """The keeper of the state is killed: requests go on, another one takes over."""
    at = "eu"
    supervisor = scene.regions.gateways[at].pid
    victim = child_named(supervisor, _AGENT)
    hold(victim > 0, f"the agent of {at} was not found")
    tokens = [(await scene.sign_in(user)).access for user in USERS]
    async with load(scene, [(at, token) for token in tokens]) as requests:
        await requests.more(_BEFORE)
        os.kill(victim, signal.SIGKILL)

        began = time.perf_counter()

        async def is_up() -> bool:
            if child_named(supervisor, _AGENT) in {0, victim}:
                return False
            return bool(await _status(scene, at))

        async def is_complete() -> bool:
            return bool((await _status(scene, at)).get("ready"))

        await scene.until("no successor", _SUCCESSOR_S, is_up)
        up_s = time.perf_counter() - began
        await scene.until("the successor is behind", _SUCCESSOR_S, is_complete)
        complete_s = time.perf_counter() - began
        await requests.more(_AFTER)
    hold(requests.failed == 0, f"requests failed: {requests.summary}")
    return (
        f"agent of {at} killed: {requests.total} requests, 0 failed;"
        f" successor answers after {up_s * 1e3:.0f} ms, knows all again after"
        f" {complete_s:.1f} s"
    )


async def _status(scene: Scene, region: str) -> dict[str, Any]:
    """Return what a gateway says of itself; empty where it does not answer."""
    try:
        reply = await scene.visitor.ask(f"{scene.admin(region)}/v1/status")
    except UpstreamError:
        return {}
    return reply.json() if reply.status == OK else {}


async def bus_cut(scene: Scene) -> str:
    """One region is cut off: only its users elsewhere wait; then it heals by itself."""
    here, elsewhere = "us", [region for region in REGIONS if region != "us"]
    bob, gone = (await scene.sign_in("bob")).access, await scene.sign_in("bob")
    others = [(await scene.sign_in(user)).access for user in USERS if user != "bob"]
    untouched = [(region, token) for region in elsewhere for token in others]
    for region in REGIONS:
        await scene.accepted(region, bob)
        await scene.accepted(region, gone.access)
    link = scene.regions.leaf_links[here]
    attempts = link.attempts
    cut = time.perf_counter()
    await link.cut()
    try:
        async with load(scene, [*untouched, (here, bob)]) as requests:
            stale_s = await _stale(scene, elsewhere, bob)
            await sign_out(scene, here, gone)
            await _refused(scene, here, gone)
            await _noticed(scene, link, attempts)
            await requests.more(_AFTER_CUT)
        cut_s = time.perf_counter() - cut
        hold(requests.failed == 0, f"others were touched: {requests.summary}")
    finally:
        link.heal()
    healed_s = await _healed(scene, elsewhere, bob)
    window_s = await _refused_in_time(scene, gone)
    await _healed(scene, [here], others[0])
    return (
        f"us cut from transit for {cut_s:.1f} s: bob at eu, ap 503 after"
        f" {stale_s:.1f} s (limit {MAX_STALENESS_S} s here, 10 s by default);"
        f" {requests.total} requests of others 200; healed +{healed_s:.1f} s; what us"
        f" revoked meanwhile was refused everywhere {window_s:.1f} s after its 201"
    )


async def _stale(scene: Scene, regions: Sequence[str], token: str) -> float:
    """Return after how many seconds all of them answer that they cannot know."""
    began = time.perf_counter()
    for region in regions:

        async def look(region: str = region) -> bool:
            reply = await scene.call(region, token)
            if reply.status == OK:
                return False
            if reply.code != "stale_revocation" or "Retry-After" not in reply.headers:
                scene.unexpected(f"{region} gateway", reply, STALE)
            return True

        await scene.until(f"{region} still serves bob", _STALE_LIMIT_S, look)
    return time.perf_counter() - began


async def _noticed(scene: Scene, link: Link, attempts: int) -> None:
    """Return when the servers gave their link up and try anew: healing is more then."""

    async def look() -> bool:
        return link.attempts > attempts

    await scene.until("no server noticed the cut", _NOTICE_LIMIT_S, look)


async def _refused(scene: Scene, region: str, tokens: Tokens) -> None:
    reply = await scene.call(region, tokens.access)
    if reply.status != REFUSED:
        where = f"{region} gateway, signed out during the cut"
        scene.unexpected(where, reply, REFUSED)


async def _refused_in_time(scene: Scene, tokens: Tokens) -> float:
    """Return when every region refused a token, in seconds after its 201.

    A region that is fresh again by a marker from before that 201 accepts it until what
    follows in the stream is there: within the contract, never past it.
    """
    told_s = scene.regions.notices["us"].accepted_s
    limit_s = MAX_STALENESS_S + _DECISION_S
    for region in REGIONS:

        async def look(region: str = region) -> bool:
            reply = await scene.call(region, tokens.access)
            within = time.perf_counter() - told_s < limit_s
            if reply.status == OK and not within:
                scene.unexpected(f"{region}, {limit_s:g} s after", reply, REFUSED)
            return reply.status == REFUSED

        await scene.until(f"{region} does not refuse", _HEAL_LIMIT_S, look)
    return time.perf_counter() - told_s


async def _healed(scene: Scene, regions: Sequence[str], token: str) -> float:
    """Return after how many seconds all of these serve the user again."""
    began = time.perf_counter()
    for region in regions:

        async def look(region: str = region) -> bool:
            return (await scene.call(region, token)).status == OK

        await scene.until(f"{region} still refuses what is good", _HEAL_LIMIT_S, look)
    return time.perf_counter() - began
