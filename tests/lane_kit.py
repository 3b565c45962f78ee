"""A general lane in this process, and a raw client: bytes in, bytes out."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes import (
    FakeAccessLog,
    FakeClock,
    FakeGate,
    FakeIntrospector,
    FakeKeyAsker,
    FakeMeter,
)

from fastgate._ext import http1, http1_front
from fastgate.adapters.aiohttp_client.pool import UpstreamPool
from fastgate.adapters.aiohttp_server.lane import GeneralLane
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.region import RegionCookie, RegionSet
from fastgate.domain.revocation import KeyHasher
from fastgate.domain.route import Route, RouteTable, Service
from fastgate.domain.snapshot import Limits, Snapshot, SnapshotCell, Timers
from fastgate.domain.token import IssuerProfile
from fastgate.hotpath.desk import Desk
from fastgate.hotpath.live import LiveExchanges
from fastgate.hotpath.relay import Relay
from fastgate.hotpath.tally import Tally
from fastgate.hotpath.upstreams import UpstreamHealth
from fastgate.ports import UpstreamDialer

DEADLINE_S = 5.0
# Which lane serves plain requests unless a test says; the wire tests try both.
LANE = "compiled"
REGIONS = RegionSet(
    names=("eu", "us"),
    default=0,
    own=0,
    claims=("region",),
    cookie=RegionCookie("region"),
)
ANSWER = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


def issuer_profile(**changes: Any) -> IssuerProfile:
    """An issuer named `login`."""
    fields: dict[str, Any] = {
        "index": 0,
        "alias": "login",
        "issuer": "https://login.example.com",
        "audience": frozenset({"api"}),
        "algorithms": frozenset({"ES256"}),
        "types": frozenset({"at+jwt", "jwt", None}),
        "leeway_s": 5,
        "max_lifetime_s": 3600,
        "iat_required": False,
        "wrapped": False,
        "region_claims": ("region",),
        "grant_claims": ("grant_id",),
        "require": (),
        "max_token_bytes": 8192,
        "hasher": KeyHasher(b"", "https://login.example.com"),
        "home_origin": 0,
    }
    return IssuerProfile(**(fields | changes))


def service(*eu: str, us: Sequence[str] = ()) -> Service:
    """A service with addresses in the own region, and perhaps in the other."""
    return Service("echo", (tuple(eu), tuple(us)))


def snapshot_of(*routes: Route, **changes: Any) -> Snapshot:
    """A snapshot of these routes; indices are set here."""
    numbered = tuple(replace(route, index=i) for i, route in enumerate(routes))
    snapshot = Snapshot(
        version=1,
        source_hash="",
        node="n1",
        regions=REGIONS,
        origins=(0, 1),
        origin_names=("eu", "us"),
        services=tuple(route.service for route in numbered),
        issuers=(),
        keys=(),
        routes=RouteTable(numbered),
    )
    return replace(snapshot, **changes)


def public(base: str, **changes: Any) -> Route:
    """A route for everything that asks for no token."""
    return Route(0, "public", "/", service(base), **changes)


@dataclass
class Response:
    """An answer as it came, and what of it a client would read."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    @property
    def problem(self) -> dict[str, Any]:
        assert self.one("content-type") == "application/problem+json", self.raw
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.problem["code"]


class Client:
    """A raw connection; reads with a deadline, never waits for a fixed time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def read_to_end(self) -> bytes:
        """Everything until the gateway closes; b"" more where it resets."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    break
                if not data:
                    break
                self.buffer += data
        rest, self.buffer = self.buffer, b""
        return rest

    async def ended_cleanly(self) -> bool:
        """Wait for the end; False for a reset."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while data := await self.reader.read(65536):
                    self.buffer += data
            except ConnectionError:
                return False
        return True

    async def until(self, mark: bytes) -> bytes:
        """Read until `mark` is there."""
        async with asyncio.timeout(DEADLINE_S):
            while mark not in self.buffer:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError(self.buffer)
                self.buffer += data
        return self.buffer

    async def response(self, *, head_only: bool = False) -> Response:
        """One complete answer, 1xx skipped; raises EOFError where it is cut short."""
        while True:
            await self.until(b"\r\n\r\n")
            match = ANSWER.match(self.buffer)
            assert match is not None, self.buffer
            status = int(match[1])
            if status >= 200 or status == 101:
                break
            self.buffer = self.buffer[match.end() :]
        headers = [
            (name.decode("latin-1"), value.strip().decode("latin-1"))
            for name, _, value in (
                line.partition(b":") for line in match[2].split(b"\r\n")[:-1]
            )
        ]
        start = match.end()
        named = {name.lower(): value for name, value in headers}
        if head_only or status in {101, 204, 304}:
            body, end = b"", start
        elif named.get("transfer-encoding") == "chunked":
            body, end = await self._chunked(start)
        elif "content-length" in named:
            end = start + int(named["content-length"])
            await self._filled(end)
            body = self.buffer[start:end]
        else:
            body = (await self.read_to_end())[start:]
            return Response(status, headers, body, b"")
        raw, self.buffer = self.buffer[:end], self.buffer[end:]
        return Response(status, headers, body, raw)

    async def _filled(self, size: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(self.buffer) < size:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError(self.buffer)
                self.buffer += data

    async def _chunked(self, at: int) -> tuple[bytes, int]:
        body = b""
        while True:
            while b"\r\n" not in self.buffer[at:]:
                await self._filled(len(self.buffer) + 1)
            line = self.buffer.index(b"\r\n", at)
            size = int(self.buffer[at:line], 16)
            end = line + 2 + size + 2
            await self._filled(end)
            body += self.buffer[line + 2 : end - 2]
            at = end
            if size == 0:
                return body, at

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class Gateway:
    """Running lanes with a scripted gate; `lane` says which serves plain requests."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        gate: Any = None,
        clock: Any = None,
        introspector: Any = None,
        key_asker: Any = None,
        dialer: UpstreamDialer | None = None,
        lane: str | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.cell = SnapshotCell(snapshot)
        # The compiled lane has connections of its own kind alone.
        self.served_by = (lane or LANE) if dialer is None else "general"
        self.gate = gate or FakeGate()
        self.clock = clock or FakeClock()
        self.log = FakeAccessLog()
        self.meter = FakeMeter()
        self.health = UpstreamHealth()
        self.pool = UpstreamPool()
        introspector = introspector or FakeIntrospector(
            IntrospectionAnswer(AnswerKind.UNAVAILABLE)
        )
        # What the agent would count in shared memory; tests look by hand.
        self.urgent = 0
        self.live = LiveExchanges(
            gate=self.gate,
            cell=self.cell,
            clock=self.clock,
            introspector=introspector,
            urgent=lambda: self.urgent,
        )
        self.relay = Relay(
            gate=self.gate,
            cell=self.cell,
            key_asker=key_asker or FakeKeyAsker(),
            introspector=introspector,
            dialer=dialer or self.pool,
            health=self.health,
            clock=self.clock,
            access_log=self.log,
            tally=tally or tally_of(snapshot, self.meter),
            live=self.live,
        )
        self.desk = Desk(
            gate=self.gate,
            health=self.health,
            clock=self.clock,
            access_log=self.log,
            counting=self.relay,
            dialer=self.pool,
        )
        self.lane = GeneralLane(self.relay, self.cell, self._front)
        self.port = 0
        self._clients: list[Client] = []

    def _front(self, loop: Any, lane: Any, cell: SnapshotCell) -> Any:
        if self.served_by != "compiled":
            return http1_front.Acceptor(loop, lane, cell)
        self.live.lane = http1.Lane(loop, lane, cell, self.desk)
        return self.live.lane

    async def start(self) -> "Gateway":
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self.port = sock.getsockname()[1]
        await self.lane.start(sock)
        return self

    async def stop(self) -> None:
        for client in self._clients:
            client.close()
        await self.lane.drain(DEADLINE_S)
        self.lane.close()
        self.pool.close()

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    def forget_closed(self) -> None:
        """Let go of clients that have ended; a long run makes many."""
        self._clients = [it for it in self._clients if not it.writer.is_closing()]

    async def ask(self, data: bytes, *, head_only: bool = False) -> Response:
        """Send bytes on a connection of their own and read one answer."""
        client = await self.connect()
        await client.send(data)
        return await client.response(head_only=head_only)

    async def logged(self, count: int) -> list[dict[str, object]]:
        """Wait until so many access lines were written."""
        await eventually(lambda: len(self.log.lines) >= count)
        return self.log.lines


def tally_of(snapshot: Snapshot, meter: FakeMeter) -> Tally:
    """A tally under the plan of a snapshot."""
    return Tally.of(snapshot, meter)


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def gateway(snapshot: Snapshot, **parts: Any) -> AsyncIterator[Gateway]:
    """A started gateway that drains at the end."""
    running = await Gateway(snapshot, **parts).start()
    try:
        yield running
    finally:
        await running.stop()


def limits(**changes: Any) -> Limits:
    """Limits with some changed."""
    return replace(Limits(), **changes)


def timers(**changes: Any) -> Timers:
    """Timers with some changed."""
    return replace(Timers(), **changes)
