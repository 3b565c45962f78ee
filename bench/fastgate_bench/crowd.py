"""Crowd: many connections that do little, in a process of their own.

Owns:      its connections, and the counts of what became of them.
Called by: holding, through `Crowd.of`; runs as `python -m fastgate_bench.crowd`.

Each connection sends what the plan says, and then waits: idle after a whole request,
slow where it was only the beginning of one and the rest drips, busy where the answer is
not read. One that is closed is opened again, so that the crowd keeps its size. It ends
with its standard input, so with whoever started it.
"""

import asyncio
import contextlib
import dataclasses
import os
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self, cast

import orjson
import uvloop

from fastgate.errors import StartError

__all__ = ["Crowd", "CrowdPlan", "largest"]

_TICK_S: Final = 0.02
_SPARE_FILES: Final = 200
_SMALL_BYTES: Final = 16_384
_BIND_ADDRESS_NO_PORT: Final = 24  # ip(7); the socket module has no name for it
_STATUS_END: Final = 12  # octets of "HTTP/1.1 200"
_READY_S: Final = 60.0
_LOOK_S: Final = 0.1
# Reason: a gateway that closes slow heads after 10 s always has some yet to come back.
_SETTLED_SHARE: Final = 0.95


@dataclass(frozen=True, slots=True)
class CrowdPlan:
    """What a crowd does.

    count: Connections. per_s: How many are opened in a second, at first and again.
    first: What each sends at once, and `body_bytes` of something after it.
    drip: What it sends every `drip_s` seconds from then on.
    reads: False: it takes nothing of what comes back.
    sources: Loopback addresses that it comes from, 127.0.0.2 and so on; one address
        has ports for 28,000 connections, and a gateway may count by address.
    cpu: Core to stay on; -1: any.
    """

    host: str
    port: int
    count: int
    first: str
    body_bytes: int = 0
    drip: str = ""
    drip_s: float = 5.0
    reads: bool = True
    per_s: float = 2_000.0
    sources: int = 8
    cpu: int = -1


@dataclass(frozen=True, slots=True)
class State:
    """What became of it so far.

    standing: Open now; of those that read, only after an answer, where one is due.
    opened: Ever. closed: By the other side. failed: Not even opened.
    statuses: Count of answers by status.
    """

    standing: int
    opened: int
    closed: int
    failed: int
    statuses: dict[str, int]


def largest(wanted: int) -> int:
    """Return how many connections this process and its children may hold."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, hard - _SPARE_FILES))


# -- in the process of the bench -------------------------------------------------------


class Crowd:
    """A running crowd."""

    def __init__(self, plan: CrowdPlan, process: asyncio.subprocess.Process) -> None:
        self.plan = plan
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, plan: CrowdPlan) -> AsyncIterator[Self]:
        """Gather one until the block ends. Raises StartError: it does not stand."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastgate_bench.crowd"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        crowd = cls(plan, process)
        try:
            await crowd._tell(orjson.dumps(dataclasses.asdict(plan)))
            await crowd._gathered()
            yield crowd
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def state(self) -> State:
        """Return what became of it so far. Raises StartError: it is gone."""
        await self._tell(b"state")
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise StartError("the crowd is gone")
        return State(**orjson.loads(line))

    async def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        with contextlib.suppress(ConnectionError):  # then the answer is missing
            await self._process.stdin.drain()

    async def _gathered(self) -> None:
        limit_s = _READY_S + self.plan.count / self.plan.per_s
        wanted = self.plan.count * (_SETTLED_SHARE if self.plan.drip else 1)
        standing = 0
        try:
            async with asyncio.timeout(limit_s):
                while standing < wanted:
                    await asyncio.sleep(_LOOK_S)
                    standing = (await self.state()).standing
        except TimeoutError:
            raise StartError(
                f"only {standing} of {self.plan.count} connections stand"
            ) from None


# -- in its own process ----------------------------------------------------------------


class _One(asyncio.Protocol):
    """One connection of the crowd."""

    __slots__ = ("_run", "answered", "transport")

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self.transport: asyncio.Transport | None = None
        self.answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if not self._run.plan.reads:
            # Not at once: uvloop begins to read after this call, whatever was said.
            asyncio.get_running_loop().call_soon(self.transport.pause_reading)
        self._run.made(self)
        self.transport.write(self._run.first)

    def data_received(self, data: bytes) -> None:
        if not self.answered:
            self.answered = True
            self._run.statuses[data[_STATUS_END - 3 : _STATUS_END].decode("ascii")] += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None
        self._run.lost(self)


class _Run:
    """All connections of one plan."""

    def __init__(self, plan: CrowdPlan) -> None:
        self.plan = plan
        self.first = plan.first.encode("ascii") + b"x" * plan.body_bytes
        self.statuses: Counter[str] = Counter()
        self._drip = plan.drip.encode("ascii")
        self._open: dict[_One, None] = {}
        self._opened = self._closed = self._failed = 0
        self._trying = self._tried = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def state(self) -> dict[str, Any]:
        waits = self.plan.reads and not self.plan.drip
        standing = sum(one.answered for one in self._open) if waits else len(self._open)
        return {
            "standing": standing,
            "opened": self._opened,
            "closed": self._closed,
            "failed": self._failed,
            "statuses": dict(self.statuses),
        }

    def made(self, one: _One) -> None:
        self._opened += 1
        self._open[one] = None

    def lost(self, one: _One) -> None:
        if self._open.pop(one, self) is None:
            self._closed += 1

    async def run(self) -> None:
        """Open, drip and open again, for ever."""
        allowed, dripped = 0.0, 0.0
        while True:
            # Bounded by both: what is missing, and what may be opened in this tick.
            allowed = min(allowed + self.plan.per_s * _TICK_S, self.plan.per_s)
            missing = self.plan.count - len(self._open) - self._trying
            for _ in range(min(missing, int(allowed))):
                allowed -= 1
                self._start()
            if self._drip:
                dripped += len(self._open) * _TICK_S / self.plan.drip_s
                for one in tuple(islice(self._open, int(dripped))):
                    dripped -= 1
                    self._again(one)
            await asyncio.sleep(_TICK_S)

    def _again(self, one: _One) -> None:
        """Let one drip, and put it behind all others."""
        if one.transport is not None and not one.transport.is_closing():
            one.transport.write(self._drip)
        del self._open[one]
        self._open[one] = None

    def _start(self) -> None:
        self._trying += 1
        task = asyncio.ensure_future(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        source = f"127.0.0.{2 + self._tried % self.plan.sources}"
        self._tried += 1
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if not self.plan.reads:
                # Else the kernel would take a whole answer, and nothing would wait.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BYTES)
            # Else the kernel looks for a port that nobody at all uses.
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
            await loop.sock_connect(sock, (self.plan.host, self.plan.port))
            await loop.create_connection(lambda: _One(self), sock=sock)
        except OSError:
            self._failed += 1
            sock.close()
        finally:
            self._trying -= 1


async def _serve() -> None:
    """Read the plan, then answer each further line with the state; end with it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    plan = CrowdPlan(**orjson.loads(await reader.readline()))
    if plan.cpu >= 0:
        os.sched_setaffinity(0, {plan.cpu})
    run = _Run(plan)
    gathering = asyncio.ensure_future(run.run())
    while await reader.readline():
        sys.stdout.buffer.write(orjson.dumps(run.state()) + b"\n")
        sys.stdout.buffer.flush()
    gathering.cancel()


def main() -> None:
    """Run the plan in the first line of standard input until that ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
