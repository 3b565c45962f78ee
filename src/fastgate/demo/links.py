"""Links: TCP between two places that are far apart, and can be cut off.

Owns:      the bytes in flight on each link, bounded, and whether the link passes them.
Called by: demo.regions; the tour cuts and heals.

A cut of kind BLACKHOLE is what a partition is: packets vanish. Nobody is told; what was
sent waits at its sender, as TCP holds and sends again, so nothing is delivered (the end
of a connection neither) until the link heals. RESET is the friendlier failure: open
connections break at once and new ones are refused.
"""

import asyncio
import contextlib
import enum
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Cut", "Link"]

_log = logging.getLogger(__name__)

# Reason: TCP's window on a fast long path; a sender past it waits, as it would there.
_WINDOW_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 16
# Reason: two gateways' workers with their pools of connections.
_MAX_CONNECTIONS: Final = 512
_CONNECT_TIMEOUT_S: Final = 5.0

Sleep = Callable[[float], Awaitable[object]]


class Cut(enum.Enum):
    """How a link fails."""

    BLACKHOLE = "blackhole"
    RESET = "reset"


class _Flow:
    """Bytes on their way in one direction: each part is delivered when it is due."""

    def __init__(
        self,
        link: "Link",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._link = link
        self._reader = reader
        self._writer = writer
        self._clock = asyncio.get_running_loop().time
        # (when due, what): b"" is the end, an error is a broken connection. Both travel
        # like data, so that a cut hides them too.
        self._parts: deque[tuple[float, bytes | OSError]] = deque()
        self._size = 0
        self._changed = asyncio.Event()

    async def take_in(self) -> None:
        """Read until the end, never more than a window ahead of delivery."""
        part: bytes | OSError = b"more"
        while part and not isinstance(part, OSError):
            while self._size >= _WINDOW_BYTES:
                await self._change()
            try:
                part = await self._reader.read(_READ_BYTES)
                self._size += len(part)
            except OSError as error:
                part = error
            self._parts.append((self._clock() + self._link.delay_s, part))
            self._changed.set()

    async def deliver(self) -> None:
        """Write each part when it is due and the link passes; then the end.

        Raises OSError where either end broke the connection.
        """
        while True:
            while not self._parts:
                await self._change()
            due, part = self._parts[0]
            while (wait_s := due - self._clock()) > 0:
                await self._link.sleep(wait_s)
            await self._link.passing.wait()
            if isinstance(part, OSError):
                raise part
            if not part:
                self._writer.write_eof()
                return
            self._writer.write(part)
            await self._writer.drain()
            self._parts.popleft()
            self._size -= len(part)
            self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Link:
    """A port on loopback that stands for a place far away.

    name: For logs. host, port: What it leads to. delay_s: One way, seconds.
    sleep: Waits that many seconds; tests give another.
    attempts: Connections that anybody ever began.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        delay_s: float = 0.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name = name
        self.delay_s = delay_s
        self.sleep = sleep
        self.attempts = 0
        self.passing = asyncio.Event()
        self.passing.set()
        self._target = (host, port)
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chose where 0 was given."""
        self._server = await asyncio.start_server(self._accept, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Break every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        await self._break_all()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """Connections that are open or wait for the link to heal."""
        return len(self._open)

    async def cut(self, how: Cut = Cut.BLACKHOLE) -> None:
        """Let nothing pass any more, in either direction."""
        self.passing.clear()
        if how is Cut.RESET:
            self._refusing = True
            await self._break_all()

    def heal(self) -> None:
        """Let everything pass again; what waited arrives now."""
        self._refusing = False
        self.passing.set()

    async def _break_all(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.attempts += 1
        if self._refusing or len(self._open) >= _MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self.sleep(self.delay_s)
            await self.passing.wait()
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                far_reader, far_writer = await asyncio.open_connection(*self._target)
            try:
                await self._carry(
                    _Flow(self, reader, far_writer), _Flow(self, far_reader, writer)
                )
                await _flush(far_writer)
                await _flush(writer)
            finally:
                far_writer.transport.abort()
        except OSError as error:
            # One end went away, or the far one is not there: the ends are told by the
            # broken connection.
            _log.debug("link %s: %s", self.name, error)
        finally:
            writer.transport.abort()

    async def _carry(self, there: _Flow, back: _Flow) -> None:
        jobs = there.take_in(), there.deliver(), back.take_in(), back.deliver()
        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(job)
        except* OSError as errors:
            raise OSError(str(errors.exceptions[0])) from None


async def _flush(writer: asyncio.StreamWriter) -> None:
    # What was delivered must leave before the connection does.
    writer.close()
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await writer.wait_closed()
