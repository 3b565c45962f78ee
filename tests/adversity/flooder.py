"""A client that only does harm: requests at a rate, whatever comes back.

    python -m tests.adversity.flooder < plan.json

Each connection keeps some requests under way and counts the statuses that come back;
bodies are not read further than that. It goes its own way from another address than
the good clients, so that a gateway can tell them apart.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import uvloop

_TICK_S = 0.002
_UNDER_WAY = 8  # a connection; below what a gateway takes of pipelined requests
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ")
_STATUS_BYTES = 13


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    source: Address to come from. path: Of every request.
    tokens: File with a bearer token a line, used in turn.
    """

    host: str
    port: int
    source: str
    path: str
    tokens: str
    rate: float
    seconds: float
    connections: int = 32


class _Connection(asyncio.Protocol):
    """One connection of the flood."""

    def __init__(self, flood: "Flood") -> None:
        self.flood = flood
        self.under_way = 0
        self.tail = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.tail + data
        found = _STATUS.findall(data)
        # Too short for a status line to be found twice, long enough for a cut one.
        self.tail = data[1 - _STATUS_BYTES :]
        self.under_way -= len(found)
        self.flood.statuses.update(found)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if not self.flood.ending:
            self.flood.broken += self.under_way
        self.under_way = 0
        self.flood.reconnect(self)


class Flood:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.statuses: Counter[bytes] = Counter()
        self.broken = 0
        self.sent = 0
        self.ending = False
        self._requests = cycle(
            b"GET %b HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer %b\r\n\r\n"
            % (plan.path.encode(), token)
            for token in Path(plan.tokens).read_bytes().split()
        )
        self._connections = [_Connection(self) for _ in range(plan.connections)]
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, Any]:
        """Send it all; returns what came back."""
        await asyncio.gather(*map(self._connect, self._connections))
        began = time.monotonic()
        while (passed := time.monotonic() - began) < self.plan.seconds:
            self._send(int(self.plan.rate * passed) - self.sent)
            await asyncio.sleep(_TICK_S)
        self.ending = True
        await asyncio.sleep(10 * _TICK_S)
        for connection in self._connections:
            if connection.transport is not None:
                connection.transport.abort()
        return {
            "sent": self.sent,
            "seconds": passed,
            "broken": self.broken,
            "statuses": {code.decode(): n for code, n in self.statuses.items()},
            "cpu_s": time.process_time(),
        }

    def _send(self, count: int) -> None:
        for connection in self._connections:
            room = min(count, _UNDER_WAY - connection.under_way)
            if room <= 0 or connection.transport is None:
                continue
            connection.transport.write(
                b"".join([next(self._requests) for _ in range(room)])
            )
            connection.under_way += room
            self.sent += room
            count -= room

    async def _connect(self, connection: _Connection) -> None:
        plan = self.plan
        await asyncio.get_running_loop().create_connection(
            lambda: connection, plan.host, plan.port, local_addr=(plan.source, 0)
        )

    def reconnect(self, connection: _Connection) -> None:
        """Open a connection again that the gateway has closed."""
        if not self.ending:
            connection.tail = b""
            task = asyncio.ensure_future(self._connect(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def flood(plan: Plan) -> dict[str, Any]:
    """Run a plan in a process of its own; returns what came back."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.adversity.flooder"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(plan.seconds + 30):
            out, _ = await process.communicate(json.dumps(asdict(plan)).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found: dict[str, Any] = json.loads(out)
    return found


def main() -> None:
    """Run the plan on standard input."""
    plan = Plan(**json.load(sys.stdin))
    print(json.dumps(uvloop.run(Flood(plan).run())))  # noqa: T201 - the outcome


if __name__ == "__main__":
    main()
