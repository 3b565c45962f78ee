"""Steps: what goes on for long ends with its session; how long a token really lives.

Owns:      nothing.
Called by: demo.tour.
Source:    DESIGN.md section 8; REQUIREMENTS.md S4.9 and S4.10.
"""

import asyncio
import json
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp

from fastgate.demo.gateway import SESSION_EVENTS
from fastgate.demo.scene import OK, Scene, hold
from fastgate.demo.steps_sessions import refused_everywhere, sign_out
from fastgate.demo.upstream import DOWNLOAD, LIVE
from fastgate.demo.world import ISSUER_ALIAS, REGIONS, USERS
from fastgate.domain import base64url

__all__ = ["forced_logout", "window"]

_CREATED: Final = 201
_WITHIN_S: Final = 5.0
_POLICY_VIOLATION: Final = 1008
_ROUNDS: Final = 4
_CANARY_LIMIT_S: Final = 12.0


async def forced_logout(scene: Scene) -> str:
    """An administrator ends a session: what it has open ends, in every region."""
    gone, other = await scene.sign_in("bob"), await scene.sign_in("bob")
    async with AsyncExitStack() as stack:
        visitor = scene.visitor
        live = f"{scene.gateway('eu')}{LIVE}"
        socket = await stack.enter_async_context(visitor.socket(live, gone.access))
        kept = await stack.enter_async_context(visitor.socket(live, other.access))
        events = await stack.enter_async_context(
            visitor.stream(f"{scene.gateway('ap')}{SESSION_EVENTS}", gone.access)
        )
        download = await stack.enter_async_context(
            visitor.stream(f"{scene.gateway('us')}{DOWNLOAD}", gone.access)
        )
        for opened in (socket, kept):
            await opened.send_str("hello")
            hold(await opened.receive_str() == "hello", "the WebSocket has no echo")
        endings = [
            asyncio.create_task(_timed(ending))
            for ending in (_closed(socket), _told(events), _cut(download))
        ]
        try:
            asked = time.perf_counter()
            receipt = await _end_session(scene, _claim(gone.access, "sid"))
            async with asyncio.timeout(_WITHIN_S):
                ended_s = await asyncio.gather(*endings)
        finally:
            for ending in endings:
                ending.cancel()
        await kept.send_str("still here")
        hold(await kept.receive_str() == "still here", "another session was hit")
    socket_ms, events_ms, download_ms = ((at_s - asked) * 1e3 for at_s in ended_s)
    return (
        f"receipt {receipt}; WebSocket at eu closed with 1008 after {socket_ms:.0f} ms,"
        f" browser at ap told after {events_ms:.0f} ms, download at us cut after"
        f" {download_ms:.0f} ms; bob's other session goes on"
    )


async def _end_session(scene: Scene, sid: str) -> str:
    """Revoke as an operator would, and return the receipt in words."""
    document = {
        "kind": "sid",
        "issuer": ISSUER_ALIAS,
        "value": sid,
        "home": "us",
        "urgent": True,
        "wait": "regions",
        "reason": "forced logout",
    }
    where = REGIONS if scene.regions.bus == "local" else ("us",)
    told: dict[str, Any] = {}
    for region in where:
        url = f"{scene.admin(region)}/v1/revocations"
        reply = await scene.visitor.ask(url, method="POST", document=document)
        if reply.status != _CREATED:
            scene.unexpected(f"{region} admin", reply, _CREATED)
        told |= {region: reply.json()["receipt"].get(region)}
        if scene.regions.bus != "local":
            told = reply.json()["receipt"]
            hold(bool(reply.json()["complete"]), f"the receipt is incomplete: {told}")
    return ", ".join(
        f"{region} {told[region]['nodes']} node {told[region]['ms']:.0f} ms"
        for region in REGIONS
    )


def _claim(token: str, name: str) -> str:
    payload = base64url.decode(token.split(".")[1]) or b"{}"
    return str(json.loads(payload)[name])


async def _timed(ending: Awaitable[None]) -> float:
    await ending
    return time.perf_counter()


async def _closed(socket: aiohttp.ClientWebSocketResponse) -> None:
    last = await socket.receive()
    seen = f"the WebSocket got {last.type.name} {last.data}"
    hold(last.type is aiohttp.WSMsgType.CLOSE, seen)
    hold(last.data == _POLICY_VIOLATION, seen)


async def _told(events: aiohttp.ClientResponse) -> None:
    hold(events.status == OK, f"session events were answered {events.status}")
    text = (await events.content.read()).decode()
    hold("event: logged-out" in text, f"the browser was told {text!r}")


async def _cut(download: aiohttp.ClientResponse) -> None:
    hold(download.status == OK, f"the download was answered {download.status}")
    try:
        while await download.content.readany():
            pass
    except aiohttp.ClientError:
        return
    hold(False, "the download looks as if it were complete")


async def window(scene: Scene) -> str:
    """How long revoked tokens were accepted: asked here, and by the gateways' own."""
    worst_s, count = 0.0, 0
    for _ in range(_ROUNDS):
        for user, home in USERS.items():
            tokens = await scene.sign_in(user)
            for region in REGIONS:
                await scene.accepted(region, tokens.access)
            waits = await refused_everywhere(
                scene, tokens.access, sign_out(scene, home, tokens)
            )
            at_s = scene.regions.notices[home].accepted_s
            worst_s = max(worst_s, *(wait_s - at_s for wait_s in waits))
            count += 1
    said = (
        f"{count} sign-outs in {len(USERS)} regions, each token tried everywhere:"
        f" the last was accepted {max(0.0, worst_s) * 1e3:.0f} ms after its 201"
    )
    if scene.regions.bus == "local":
        return said
    return f"{said}; {await _canaries(scene)}"


async def _canaries(scene: Scene) -> str:
    """What the gateways measured of themselves, in workers."""
    found: list[dict[str, Any]] = []

    async def look() -> bool:
        for region in REGIONS:
            reply = await scene.visitor.ask(f"{scene.admin(region)}/v1/status")
            origins = reply.json()["feed"]["canaries"]["origins"]
            measured = {name for name, it in origins.items() if it["p50_ms"]}
            if measured != set(REGIONS):
                return False
            found.extend(origins.values())
        return True

    await scene.until("no canary of every region", _CANARY_LIMIT_S, look)
    hold(not any(it["missed"] for it in found), "a worker let a canary pass")
    half = sorted(it["p50_ms"] for it in found)[len(found) // 2]
    most = max(it["max_ms"] for it in found)
    return (
        f"the gateways' own canaries: {half:.0f} ms from one region to another's"
        f" workers, {most:.0f} ms at most (faults of the steps before included)"
    )
