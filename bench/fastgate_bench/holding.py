"""Holding: what connections cost while they do little, and whom a crowd of them harms.

Owns:      the stages `idle-connection`, `busy-*`, `calm` and `*-crowd`.
Called by: relay, before its own load.

Memory is what all processes of the gateway have grown by, without the kernel's socket
buffers. Each kind has a gateway of its own, since memory that was freed would hide what
the next connections take.
"""

import asyncio
import contextlib
import dataclasses
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

from fastgate_bench.crowd import Crowd, CrowdPlan, State, largest
from fastgate_bench.figures import Measured, Stage, refused
from fastgate_bench.gateways import FASTGATE, Place, Running, running
from fastgate_bench.generator import generate
from fastgate_bench.machine import Pins, memory_bytes
from fastgate_bench.options import Options, Tell
from fastgate_bench.plan import Plan
from fastgate_bench.runs import Rounds
from fastgate_bench.stand_ins import Upstream, free_ports

__all__ = ["hold"]

_CROWD: Final = (10_000, 200)  # connections: full, quick
_BUSY: Final = (128, 16)  # fewer than a worker's connections to one upstream address
_RATE: Final = (1_000.0, 200.0)  # good requests a second, beside the crowd
# Reason: of a worker, past the crowd: good requests, and those that are closing.
_ROOM: Final = 2_000
# Reason: more than the kernel's buffers on the way take, else nothing waits in between.
_UPLOAD_BYTES: Final = 4 << 20
_SETTLE_S: Final = (10.0, 0.5)  # full, quick
_LOOK_S: Final = 0.25
_STEADY_LOOKS: Final = 4
_STEADY_BYTES: Final = 262_144
_HEAD: Final = "{method} {target} HTTP/1.1\r\nHost: gateway.test\r\n"


@dataclass(slots=True)
class _Bench:
    options: Options
    tell: Tell
    pins: Pins
    measured: Measured
    folder: pathlib.Path
    api: Upstream
    place: Place

    def of(self, sizes: tuple[int, int]) -> int:
        """Return a size: full or quick."""
        return sizes[1] if self.options.quick else sizes[0]

    def fresh(self, name: str, held_port: int = 0) -> Place:
        """Return the place of a gateway that has held nothing yet."""
        port, admin, status = free_ports(3)
        return dataclasses.replace(
            self.place,
            folder=self.folder / name,
            port=port,
            admin_port=admin,
            status_port=status,
            connections=self.of(_CROWD) + _ROOM,
            held_port=held_port,
        )

    def crowd(self, gateway: Running, count: int, first: str) -> CrowdPlan:
        """Return a crowd at a gateway."""
        port = gateway.place.port
        return CrowdPlan("127.0.0.1", port, count, first, cpu=self.pins.load)


async def hold(
    options: Options,
    tell: Tell,
    pins: Pins,
    measured: Measured,
    folder: pathlib.Path,
    api: Upstream,
    place: Place,
    plan: Plan,
) -> None:
    """Add the stages to what was measured.

    place: Of the gateway that relay measures. plan: Of its good requests.
    Raises StartError where a crowd cannot be gathered.
    """
    bench = _Bench(options, tell, pins, measured, folder, api, place)
    tell("memory of busy connections", 0.02)
    async with running(FASTGATE, bench.fresh("downloads"), pins) as gateway:
        await _downloads(bench, gateway)
    async with _held() as held_port:
        place = bench.fresh("uploads", held_port=held_port)
        async with running(FASTGATE, place, pins) as gateway:
            await _uploads(bench, gateway)
    tell("idle connections", 0.05)
    async with running(FASTGATE, bench.fresh("crowds"), pins) as gateway:
        await _crowds(bench, gateway, plan)


# -- memory ----------------------------------------------------------------------------


async def _downloads(bench: _Bench, gateway: Running) -> None:
    head = _HEAD.format(method="GET", target="/orders/16m")
    token = gateway.place.issuer.token()
    plan = bench.crowd(
        gateway, bench.of(_BUSY), f"{head}Authorization: Bearer {token}\r\n\r\n"
    )
    note = "the client reads nothing of an answer of 16 MiB"
    await _grown(bench, gateway, "busy-download", plan, note)


async def _uploads(bench: _Bench, gateway: Running) -> None:
    head = _HEAD.format(method="POST", target="/held/1")
    plan = dataclasses.replace(
        bench.crowd(
            gateway, bench.of(_BUSY), f"{head}Content-Length: {_UPLOAD_BYTES}\r\n\r\n"
        ),
        body_bytes=_UPLOAD_BYTES,
    )
    note = "the upstream reads nothing of a request of 4 MiB"
    await _grown(bench, gateway, "busy-upload", plan, note)


async def _grown(
    bench: _Bench, gateway: Running, name: str, plan: CrowdPlan, note: str
) -> None:
    before = await _settled(bench, gateway.pid)
    async with Crowd.of(dataclasses.replace(plan, reads=False)) as crowd:
        after = await _settled(bench, gateway.pid)
        state = await crowd.state()
    bench.measured.stages.append(_memory(name, after - before, state, note))


async def _settled(bench: _Bench, pid: int) -> int:
    """Return the memory of a gateway, once it does not change any more."""
    looks = [memory_bytes(pid)]
    limit_s = _SETTLE_S[1] if bench.options.quick else _SETTLE_S[0]
    for _ in range(round(limit_s / _LOOK_S)):
        await asyncio.sleep(_LOOK_S)
        looks = [*looks[-_STEADY_LOOKS:], memory_bytes(pid)]
        if len(looks) > _STEADY_LOOKS and max(looks) - min(looks) <= _STEADY_BYTES:
            break
    return looks[-1]


def _memory(name: str, grown: int, state: State, note: str) -> Stage:
    if state.closed or state.failed:
        why = f"{state.closed} of the connections were closed, {state.failed} failed"
        return refused(name, "B", why)
    value = grown / state.standing
    note = f"{state.standing:,} connections; {note}"
    return Stage(name, "B", {"memory": value}, "memory", note=note)


class _Held(asyncio.Protocol):
    """An upstream connection that is taken and not read from."""

    def __init__(self, taken: list[asyncio.BaseTransport]) -> None:
        self._taken = taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing."""
        cast("asyncio.ReadTransport", transport).pause_reading()
        # The loop forgets a transport that waits for nothing, and that closes it.
        self._taken.append(transport)


@contextlib.asynccontextmanager
async def _held() -> AsyncIterator[int]:
    """Serve an upstream that never answers; returns its port."""
    loop = asyncio.get_running_loop()
    taken: list[asyncio.BaseTransport] = []
    server = await loop.create_server(
        lambda: _Held(taken), "127.0.0.1", 0, backlog=1_024
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in taken:
            transport.close()


# -- crowds ----------------------------------------------------------------------------


async def _crowds(bench: _Bench, gateway: Running, plan: Plan) -> None:
    """Send good requests before, beside and after crowds."""
    count = largest(bench.of(_CROWD))
    rate = bench.options.rate or bench.of((int(_RATE[0]), int(_RATE[1])))
    good = dataclasses.replace(plan, port=gateway.place.port, rate=float(rate))
    await generate(dataclasses.replace(good, seconds=1.0))
    before = await _settled(bench, gateway.pid)
    whole = _HEAD.format(method="GET", target="/public/1")
    idle = bench.crowd(gateway, count, f"{whole}\r\n")
    slow = dataclasses.replace(bench.crowd(gateway, count, whole), drip="X-Slow: 1\r\n")
    found = {name: Rounds() for name in ("calm", "idle-crowd", "slow-crowd")}

    async def rounds(name: str) -> None:
        for number in range(bench.options.round_count):
            bench.tell(f"{name}, {rate:.0f}/s, round {number + 1}", 0.1)
            found[name].loads.append(await generate(good))

    await rounds("calm")
    async with Crowd.of(idle) as crowd:
        after, state = await _settled(bench, gateway.pid), await crowd.state()
        stage = _memory("idle-connection", after - before, state, "after one request")
        bench.measured.stages.append(stage)
        await _beside(bench, crowd, found, rounds, "idle-crowd")
    async with Crowd.of(slow) as crowd:
        await _beside(bench, crowd, found, rounds, "slow-crowd")
    await rounds("calm")
    note = f"{rate:.0f} good requests a second, before and after the crowds"
    bench.measured.stages.append(found["calm"].latency("calm", note))


async def _beside(
    bench: _Bench,
    crowd: Crowd,
    found: dict[str, Rounds],
    rounds: Callable[[str], Awaitable[None]],
    name: str,
) -> None:
    """Measure beside a crowd, and add what it did to good requests."""
    await rounds(name)
    state = await crowd.state()
    words = [f"{state.standing:,} connections stand", f"{state.opened:,} opened in all"]
    if state.closed:
        answers = ", ".join(f"{n:,} x {code}" for code, n in state.statuses.items())
        words.append(f"{state.closed:,} closed by the gateway ({answers})")
    stage = found[name].latency(name, "; ".join(words))
    lost = sum(load.outcome.faults for load in found[name].loads)
    due = sum(load.outcome.due for load in found[name].loads)
    faults = [load.fault() for load in found[name].loads if load.fault()]
    note = "; ".join([f"of {due:,} good requests", *faults[:1]])
    bench.measured.stages += [
        stage,
        Stage(f"{name}-refused", "", {"count": float(lost)}, "count", note=note),
    ]
