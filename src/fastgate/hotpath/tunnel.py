"""Tunnel: pass bytes both ways after an upstream switched protocols.

Owns:      the two streams of one tunnel, its idle rule, and the frame that ends it when
           its token was revoked; nothing that passes is changed.
Called by: hotpath.forward after a 101, on routes that allow WebSocket.
Source:    RFC 6455, RFC 9110 section 7.8; THREATS T4: bytes behind the switch are never
           parsed as HTTP, and the connections are not used for anything else again.
           REVOCATION.md section 1: open streams are judged again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from fastgate.domain.verdict import OUTCOMES, Challenge, Reason
from fastgate.errors import CallerError, UpstreamError
from fastgate.hotpath.frames import (
    POLICY_VIOLATION,
    TRY_LATER,
    FrameEdges,
    close_frame,
)
from fastgate.ports import Exchange, UpstreamLink

__all__ = ["stop", "tunnel"]

# Reason: a frame that has begun is ended, and the client answers the close frame; both
# lie inside the second in which an urgent revocation closes what is open.
_LAST_FRAME_S = 0.25
_FAREWELL_S = 0.25


async def tunnel(
    exchange: Exchange,
    link: UpstreamLink,
    idle_s: float,
    ended: Callable[[], Reason | None] = lambda: None,
) -> None:
    """Pass bytes until one side ends, or until nothing moved for idle_s seconds.

    exchange: Its answer's head is set and not yet written.
    ended: Why the tunnel is being cancelled, where that is our own doing; the client is
        then told by a close frame, between two frames of the upstream's.
    Raises what the first of the two directions raised.
    """
    exchange.tunnel()
    link.tunnel()
    await exchange.write(b"", idle_s)
    edges = FrameEdges()

    async def downwards() -> None:
        while data := await link.read():
            edges.feed(data)
            await exchange.write(data, idle_s)

    async def upwards() -> None:
        while data := await exchange.read():
            link.send(data)
            await link.drain()

    ways = {asyncio.create_task(downwards()), asyncio.create_task(upwards())}
    over: set[asyncio.Task[None]] = set()
    try:
        moved = -1
        while not over and moved != exchange.bytes_in + exchange.bytes_out:
            moved = exchange.bytes_in + exchange.bytes_out
            over, _ = await asyncio.wait(
                ways, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED
            )
    except asyncio.CancelledError:
        await _part(exchange, link, edges, ways, ended())
        raise
    finally:
        for way in ways:
            await stop(way)
    for way in over:
        way.result()
    await exchange.finish()


async def _part(
    exchange: Exchange,
    link: UpstreamLink,
    edges: FrameEdges,
    ways: "set[asyncio.Task[None]]",
    reason: Reason | None,
) -> None:
    """Say why the tunnel ends; where no frame may be put in time, say nothing."""
    if reason is None:
        return
    for way in ways:
        await stop(way)
    with contextlib.suppress(ConnectionError, CallerError, UpstreamError, TimeoutError):
        async with asyncio.timeout(_LAST_FRAME_S):
            while not edges.between:
                data = await link.read()
                if not data:
                    return
                await exchange.write(data[: edges.rest(data)], _LAST_FRAME_S)
        outcome = OUTCOMES[reason]
        at_fault = outcome.challenge is not Challenge.NONE
        code = POLICY_VIOLATION if at_fault else TRY_LATER
        await exchange.write(close_frame(code, outcome.public), _FAREWELL_S)
        await exchange.finish()
        async with asyncio.timeout(_FAREWELL_S):
            # Closing with bytes unread resets the connection, and the frame is lost.
            while await exchange.read():
                pass


async def stop(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and take its outcome, which its owner no longer wants."""
    if not task.done():
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
