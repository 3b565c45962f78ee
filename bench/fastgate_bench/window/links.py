"""Links: TCP between two processes of the rig, which can be cut, slowed, made one-way.

Owns:      the bytes in flight on each link.
Called by: rig, which puts one between servers, and between a node and its server.

A direction that does not pass holds what was sent, as packets that vanish are sent
again: nobody is told, and nothing arrives before it heals. Only a reset is told.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from fastgate_bench.window.mixing import Mixer

__all__ = ["FaultLink"]

_HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 1 << 16
_WINDOW_PARTS: Final = 4096
_CONNECT_S: Final = 5.0

_Read = Callable[[int], Awaitable[bytes]]


class _Direction:
    """Whether one direction passes, and how late."""

    def __init__(self) -> None:
        self.passing = asyncio.Event()
        self.passing.set()
        self.delay_s = 0.0


class FaultLink:
    """A port that leads to another one.

    host: Address that it listens on. to: Address of the other one.
    """

    def __init__(self, target: int, *, host: str = _HOST, to: str = _HOST) -> None:
        self._target = target
        self._host = host
        self._to = to
        self.up, self.down = _Direction(), _Direction()
        self._refusing = False
        self._mixing: random.Random | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, self._host, port)

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

    async def mix(self, chance: random.Random) -> None:
        """Double and reorder live messages to the client, on connections from now on.

        What is open breaks: messages can be told apart from a connection's start only.
        """
        self._mixing = chance
        await self._break()

    async def turn(self, target: int) -> None:
        """Lead to another port; what is open breaks."""
        self._target = target
        await self._break()

    def heal(self) -> None:
        """Pass everything again; what waited arrives now."""
        self._refusing = False
        self._mixing = None
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
                    self._to, self._target
                )
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        ways = {
            asyncio.create_task(_carry(reader.read, far_writer, self.up)),
            asyncio.create_task(_carry(self._read(far_reader), writer, self.down)),
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

    def _read(self, reader: asyncio.StreamReader) -> _Read:
        """Return how a new connection is read from the server's side."""
        if self._mixing is None:
            return reader.read
        mixer, now = Mixer(self._mixing), asyncio.get_running_loop().time

        async def read(most: int) -> bytes:
            # An empty read is the end, so one that only fills the mixer is none.
            while data := await reader.read(most):
                if self._mixing is None:
                    return mixer.rest() + data
                if mixed := mixer.mix(data, now()):
                    return mixed
            return mixer.rest()

        return read


async def _carry(read: _Read, writer: asyncio.StreamWriter, way: _Direction) -> None:
    loop = asyncio.get_running_loop()
    parts: deque[tuple[float, bytes]] = deque()
    come, room = asyncio.Event(), asyncio.Event()

    async def take() -> None:
        while True:
            try:
                data = await read(_READ_BYTES)
            except (OSError, ValueError):
                data = b""
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
