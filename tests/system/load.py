"""Load on a running gateway: clients that ask without a pause and note the answers."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.lane_kit import Client
from tests.recorder import answer
from tests.system.gateway import Gateway, request, until

_BROKEN = (ConnectionError, EOFError, asyncio.IncompleteReadError)


@dataclass
class Asker:
    """One client: a connection at a time, a request at a time.

    statuses: Of complete answers. lost: Requests that got none. opened: Connections.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    opened: int = 0

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return self.statuses.total()


class Load:
    """Some clients that all send what `make` returns, each time anew."""

    def __init__(self, gateway: Gateway, make: Callable[[], bytes], count: int) -> None:
        self.askers = [Asker() for _ in range(count)]
        self._gateway = gateway
        self._make = make
        self._ending = False

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return sum(asker.answers for asker in self.askers)

    @property
    def lost(self) -> int:
        """How many requests got no answer, or half of one."""
        return sum(asker.lost for asker in self.askers)

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers had which status."""
        return dict(sum((asker.statuses for asker in self.askers), Counter()))

    async def more(self, answers: int) -> None:
        """Wait for so many further answers to each client."""
        wanted = [asker.answers + answers for asker in self.askers]
        await until(
            lambda: all(
                asker.answers >= least
                for asker, least in zip(self.askers, wanted, strict=True)
            ),
            "more answers",
        )

    async def ask(self, asker: Asker) -> None:
        """Be one of the clients until the end."""
        while not self._ending:
            try:
                client = await self._gateway.connect()
            except ConnectionError:
                asker.lost += 1
                continue
            asker.opened += 1
            try:
                await self._converse(client, asker)
            finally:
                client.close()

    async def _converse(self, client: Client, asker: Asker) -> None:
        while not self._ending:
            try:
                await client.send(self._make())
                said = await client.response()
            except _BROKEN:
                asker.lost += 1
                return
            asker.statuses[said.status] += 1
            if said.one("connection") == "close":
                return

    def end(self) -> None:
        """Let every client finish the request it is at."""
        self._ending = True


@contextlib.asynccontextmanager
async def quiet_api() -> AsyncIterator[str]:
    """Serve an API that remembers nothing, for loads that last; yields its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer())
                await writer.drain()
        except _BROKEN:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def under_load(
    gateway: Gateway, token: bytes, *, count: int = 16, path: str = "/orders/1"
) -> AsyncIterator[Load]:
    """Ask all the time with one good token; no request is cut at the end."""
    load = Load(gateway, lambda: request(path, token), count)
    async with asyncio.TaskGroup() as tasks:
        for asker in load.askers:
            tasks.create_task(load.ask(asker))
        try:
            await load.more(1)
            yield load
        finally:
            load.end()
