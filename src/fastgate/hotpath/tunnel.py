"""Tunnel: pass bytes both ways after an upstream switched protocols.

Owns:      the two streams of one tunnel and its idle rule; nothing is read or changed.
Called by: hotpath.forward after a 101, on routes that allow WebSocket.
Source:    RFC 6455, RFC 9110 section 7.8; THREATS T4: bytes behind the switch are never
           parsed as HTTP, and the connections are not used for anything else again.
"""

import asyncio
from typing import Any

from fastgate.ports import Exchange, UpstreamLink

__all__ = ["stop", "tunnel"]


async def tunnel(exchange: Exchange, link: UpstreamLink, idle_s: float) -> None:
    """Pass bytes until one side ends, or until nothing moved for idle_s seconds.

    exchange: Its answer's head is set and not yet written.
    Raises what the first of the two directions raised.
    """
    exchange.tunnel()
    link.tunnel()
    await exchange.write(b"", idle_s)

    async def downwards() -> None:
        while data := await link.read():
            await exchange.write(data, idle_s)

    async def upwards() -> None:
        while data := await exchange.read():
            link.send(data)
            await link.drain()

    ways = {asyncio.create_task(downwards()), asyncio.create_task(upwards())}
    ended: set[asyncio.Task[None]] = set()
    try:
        moved = -1
        while not ended and moved != exchange.bytes_in + exchange.bytes_out:
            moved = exchange.bytes_in + exchange.bytes_out
            ended, _ = await asyncio.wait(
                ways, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED
            )
    finally:
        for way in ways:
            await stop(way)
    for way in ended:
        way.result()
    await exchange.finish()


async def stop(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and take its outcome, which its owner no longer wants."""
    if not task.done():
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
