"""Places where a bus lives: a real server behind a link that can be cut.

Each has the same levers, so that one test can disturb every bus in the same way.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from nats.aio.client import Client
from redis.asyncio import Redis
from tests.kafka_broker import KafkaBroker
from tests.nats_server import NatsServer
from tests.redis_server import RedisServer

from fastgate.adapters.kafka_bus.bus import KafkaBus
from fastgate.adapters.kafka_bus.settings import KafkaSettings
from fastgate.adapters.nats_bus.bus import NatsBus
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.adapters.redis_bus.bus import RedisBus
from fastgate.adapters.redis_bus.link import RedisSettings
from fastgate.demo.links import Cut, Link
from fastgate.ports import Bus

REMOTE = ("nats", "redis", "kafka")
ORIGINS = ("eu", "us")
_numbers = itertools.count(1)


class Place:
    """A server, and the link by which gateways reach it."""

    server: NatsServer | RedisServer | KafkaBroker

    def __init__(self, port: int) -> None:
        self.link = Link("bus", "127.0.0.1", port)
        self.port = 0
        self._refused = False

    async def open(self) -> None:
        self.port = await self.link.start("127.0.0.1", 0)

    async def close(self) -> None:
        await self.link.stop()
        self.server.stop()

    def bus(
        self,
        node: str = "gw",
        region: str = "eu",
        origins: tuple[str, ...] = ORIGINS,
        **changes: Any,
    ) -> Bus:
        raise NotImplementedError

    async def forget(self) -> None:
        """Delete the streams while everybody is connected."""
        raise NotImplementedError

    async def trim(self, upto: int) -> None:
        """Lose what eu's stream acknowledged, up to a position."""
        raise NotImplementedError

    async def inject(self, payload: bytes) -> None:
        """Write into eu's stream what no gateway would."""
        raise NotImplementedError

    async def cut(self, how: str = "blackhole") -> None:
        """Let nothing pass: packets vanish, or connections are `refused`."""
        self._refused = how == "refused"
        if self._refused:
            # What is accepted in the last moment is broken too.
            await self.link.cut(Cut.RESET)
            await self.link.stop()
        else:
            await self.link.cut()

    async def heal(self) -> None:
        """Let everything pass again."""
        self.link.heal()
        if self._refused:
            await self.link.start("127.0.0.1", self.port)
        self._refused = False

    def replace(self) -> None:
        """Put an empty server in its place."""
        self.server.stop()
        self.server.wipe()
        self.server.start()

    def restart(self) -> None:
        """Kill the server and start it with what it has on disk."""
        self.server.stop()
        self.server.start()


class NatsPlace(Place):
    def __init__(self, folder: Path) -> None:
        self.server: NatsServer = NatsServer(folder / "nats")
        super().__init__(self.server.port)

    async def open(self) -> None:
        self.server.start()
        await super().open()

    def bus(self, node="gw", region="eu", origins=ORIGINS, **changes):
        url = f"nats://127.0.0.1:{self.port}"
        settings = NatsSettings(servers=(url,), **changes)
        return NatsBus(settings, region=region, node=node, origins=origins)

    async def _ask(self, subject: str, body: object = None) -> dict[str, Any]:
        client = Client()
        await client.connect(self.server.url)
        try:
            payload = b"" if body is None else orjson.dumps(body)
            answer = orjson.loads((await client.request(subject, payload)).data)
        finally:
            await client.close()
        assert "error" not in answer, answer
        return answer

    async def forget(self) -> None:
        names = (await self._ask("$JS.API.STREAM.NAMES"))["streams"]
        for name in names:
            await self._ask(f"$JS.API.STREAM.DELETE.{name}")

    async def trim(self, upto: int) -> None:
        await self._ask("$JS.API.STREAM.PURGE.FG_REV_eu", {"seq": upto + 1})

    async def inject(self, payload: bytes) -> None:
        await self._ask_raw("fg.rev.eu.short", payload)

    async def _ask_raw(self, subject: str, payload: bytes) -> None:
        client = Client()
        await client.connect(self.server.url)
        try:
            await client.request(subject, payload)
        finally:
            await client.close()


class RedisPlace(Place):
    def __init__(self, folder: Path) -> None:
        self.server: RedisServer = RedisServer(folder / "redis")
        super().__init__(self.server.port)

    async def open(self) -> None:
        self.server.start()
        await super().open()

    def bus(self, node="gw", region="eu", origins=ORIGINS, **changes):
        settings = RedisSettings(f"redis://127.0.0.1:{self.port}", **changes)
        return RedisBus(settings, region=region, node=node, origins=origins)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncGenerator[Redis, None]:
        async with Redis(port=self.server.port, protocol=2) as client:
            yield client

    async def forget(self) -> None:
        async with self.client() as client:
            await client.flushall()

    async def trim(self, upto: int) -> None:
        async with self.client() as client:
            await client.xtrim("fg.rev.eu", minid=f"0-{upto + 1}", approximate=False)

    async def inject(self, payload: bytes) -> None:
        async with self.client() as client:
            await client.xadd("fg.rev.eu", {"odd": payload}, id="0-*")


class KafkaPlace(Place):
    def __init__(self, broker: KafkaBroker) -> None:
        self.server: KafkaBroker = broker
        self.prefix = f"t{next(_numbers)}"
        super().__init__(broker.far_port)
        self._admin = AdminClient({"bootstrap.servers": broker.server, "log_level": 0})

    async def open(self) -> None:
        self.port = await self.link.start("127.0.0.1", self.server.link_port)

    async def close(self) -> None:
        # The broker is everybody's.
        await self.link.stop()
        self.server.thaw()
        await asyncio.to_thread(self._delete)

    def bus(self, node="gw", region="eu", origins=ORIGINS, **changes):
        settings = KafkaSettings(
            (f"127.0.0.1:{self.port}",), prefix=self.prefix, **changes
        )
        return KafkaBus(settings, region=region, node=node, origins=origins)

    def _delete(self) -> None:
        topics = self._admin.list_topics(timeout=10).topics
        mine = [name for name in topics if name.startswith(f"{self.prefix}.")]
        for deleted in self._admin.delete_topics(mine).values() if mine else ():
            with contextlib.suppress(KafkaException):
                deleted.result(10)

    async def forget(self) -> None:
        await asyncio.to_thread(self._delete)

    async def trim(self, upto: int) -> None:
        place = TopicPartition(f"{self.prefix}.rev.eu", 0, upto)
        await asyncio.wrap_future(self._admin.delete_records([place])[place])

    async def inject(self, payload: bytes) -> None:
        def write() -> None:
            producer = Producer(
                {"bootstrap.servers": self.server.server, "log_level": 0}
            )
            producer.produce(f"{self.prefix}.rev.eu", payload, partition=0)
            assert producer.flush(10) == 0

        await asyncio.to_thread(write)


@contextlib.asynccontextmanager
async def place_of(
    name: str, folder: Path, request: pytest.FixtureRequest
) -> AsyncGenerator[Place, None]:
    """Open a place by the name of its bus, and close it whatever happens."""
    makers: dict[str, Callable[[], Place]] = {
        "nats": lambda: NatsPlace(folder),
        "redis": lambda: RedisPlace(folder),
        "kafka": lambda: KafkaPlace(request.getfixturevalue("kafka")),
    }
    place = makers[name]()
    try:
        await place.open()
        yield place
    finally:
        await place.close()


async def eventually(
    check: Callable[[], Awaitable[bool]], *, within_s: float = 20.0
) -> None:
    """Wait until a question to the outside is answered with yes."""
    async with asyncio.timeout(within_s):
        while not await check():
            await asyncio.sleep(0.02)
