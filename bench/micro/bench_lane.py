"""A plain request through the compiled lane, without a socket: what our own code costs.

Run: python -m pytest bench/micro/bench_lane.py -o python_files='bench_*.py'
     -o python_functions='bench_*'

The kernel's part of a request is in `fastgate bench peers`. Here are the scan, the
gate, both heads rebuilt, the pools and the counters, with the real objects of a worker;
only the transports do nothing. The floor is the gate alone.
"""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from fastgate.adapters.clock import SystemClock
from fastgate.domain.metric_plan import TABLE_COLUMNS
from fastgate.domain.snapshot import SnapshotCell
from fastgate.hotpath.desk import Desk
from fastgate.hotpath.tally import Tally
from fastgate.hotpath.upstreams import UpstreamHealth
from fastgate.wiring import compiled
from fastgate_bench.gate_kit import GateKit, head_of
from fastgate_bench.tokens import Issuer

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n"
    b"Date: Sat, 21 Nov 2026 13:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
)


class Transport:
    """Takes bytes, and remembers how many."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        """Count."""
        self.written += len(data)

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Name a client."""
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_write_buffer_limits(self, *, high: int) -> None:
        """Nothing waits here."""

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""

    def abort(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


class Served:
    """One client and one upstream connection of a lane."""

    def __init__(self, kit: GateKit, *, access_log: bool = False) -> None:
        self.loop = uvloop.new_event_loop()
        self.kit = kit
        snapshot = dataclasses.replace(kit.snapshot, access_log=access_log)
        self.upstream: Any = None
        self.connections: Counter[str] = Counter()
        memory = bytearray(compiled.counters.size(1, TABLE_COLUMNS))
        compiled.counters.CounterTable(memory, 1, TABLE_COLUMNS)
        row = compiled.counters.CounterRow(memory, 0, TABLE_COLUMNS)
        clock = SystemClock()
        desk = Desk(
            gate=kit.gate,
            health=UpstreamHealth(),
            clock=clock,
            access_log=SimpleNamespace(),
            counting=SimpleNamespace(tally=Tally.of(snapshot, row)),
            dialer=self,
        )
        general = SimpleNamespace(
            draining=False, admit=lambda *_: True, lost=lambda _: None
        )
        cell = SnapshotCell(snapshot)
        self.lane = compiled.http1.Lane(self.loop, general, cell, desk)
        self.client: Any = self.lane()
        self.transport = Transport()
        self.client.connection_made(self.transport)

    async def dial(
        self, _: str, factory: Callable[[], Any], __: float, ___: int
    ) -> Any:
        """Make the one upstream connection."""
        self.upstream = factory()
        self.upstream.connection_made(Transport())
        return self.upstream

    def exchange(self, request: bytes) -> None:
        """Pass a request on, and its answer back."""
        deliver(self.client, request)
        deliver(self.upstream, ANSWER)

    def first(self, request: bytes) -> None:
        """Do the same where the connection has to be made before."""
        deliver(self.client, request)
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))
        deliver(self.upstream, ANSWER)
        assert self.transport.written > len(ANSWER)


def deliver(protocol: Any, data: bytes) -> None:
    """Hand over bytes as uvloop does: read into the protocol's own buffer."""
    protocol.get_buffer(-1)[: len(data)] = data
    protocol.buffer_updated(len(data))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served(GateKit(Issuer(), cached=4_000, entries=100_000))
    yield made
    made.lane.close()
    made.loop.close()


def request_with(token: str) -> bytes:
    return (
        "GET /orders/1 HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: bench/1\r\n"
        f"Accept: */*\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


def bench_lane__token_seen_before(benchmark: BenchmarkFixture, served: Served) -> None:
    """From the bytes of a request to those of its answer."""
    request = request_with(served.kit.issuer.token())
    served.first(request)
    before = served.transport.written
    served.exchange(request)
    assert served.transport.written > before + len(ANSWER) // 2
    benchmark(served.exchange, request)


def bench_lane__token_seen_before__floor(
    benchmark: BenchmarkFixture, served: Served
) -> None:
    """The gate alone."""
    head = head_of(served.kit.issuer.token())
    benchmark(served.kit.decide, head)
