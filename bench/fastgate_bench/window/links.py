"""Links: TCP between two processes of the rig, which can be cut, slowed, made one-way.

Owns:      the bytes in flight on each link.
Called by: rig, which puts one between servers, and between a node and its server.

A direction that does not pass holds what was sent, as packets that vanish are sent
again: nobody is told, and nothing arrives before it heals. Only a reset is told.
"""

import asyncio
import contextlib
from collections import deque
from typing import Final

__all__ = ["FaultLink"]

_HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 1 << 16
_WINDOW_PARTS: Final = 4096
_CONNECT_S: Final = 5.0


class _Direction:
    """Whether one direction passes, and how late."""

    def __init__(self) -> None:
        self.passing = asyncio.Event()
        self.passing.set()
        self.delay_s = 0.0


class FaultLink:
    """A port on loopback that leads to another one."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.up, self.down = _Direction(), _Direction()
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, _HOST, port)

    async def stop(self) -> None:
        """Break every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        await self._break()

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        """Let nothing pass from the client's side (up), or to it (down)."""
        for held, way in ((up, self.up), (down, self.down)):
            if held:
                way.passing.clear()

    def slow(self, delay_s: float) -> None:
        """Deliver everything so much later, in order."""
        self.up.delay_s = self.down.delay_s = delay_s

    async def reset(self) -> None:
        """Break what is open, and refuse what comes."""
        self._refusing = True
        await self._break()

    def heal(self) -> None:
        """Pass everything again; what waited arrives now."""
        self._refusing = False
        self.slow(0.0)
        self.up.passing.set()
        self.down.passing.set()

    async def _break(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self.up.passing.wait()
            async with asyncio.timeout(_CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(
                    _HOST, self._target
                )
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        ways = {
            asyncio.create_task(_carry(reader, far_writer, self.up)),
            asyncio.create_task(_carry(far_reader, writer, self.down)),
        }
        try:
            # The end of either direction is the end of a connection of the bus.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()
            writer.transport.abort()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Direction
) -> None:
    loop = asyncio.get_running_loop()
    parts: deque[tuple[float, bytes]] = deque()
    come, room = asyncio.Event(), asyncio.Event()

    async def take() -> None:
        while True:
            data = await reader.read(_READ_BYTES)
            parts.append((loop.time() + way.delay_s, data))
            come.set()
            if not data:
                return
            while len(parts) >= _WINDOW_PARTS:
                room.clear()
                await room.wait()

    taking = asyncio.create_task(take())
    try:
        with contextlib.suppress(OSError):
            while True:
                while not parts:
                    come.clear()
                    await come.wait()
                due, data = parts[0]
                wait_s = due - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                await way.passing.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
                parts.popleft()
                room.set()
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
