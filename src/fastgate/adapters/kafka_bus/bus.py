"""Kafka bus: a topic per region, followed by every gateway.

Owns:      what the feed asks of topics, and the names of what was just stored.
Called by: control.feed through ports.Bus.
Source:    ECOSYSTEM.md section 9. Kafka has no window for repeats of a name: what this
           process saw stored it does not store again; any other repeat is stored
           twice, which readers see by our numbers.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator

from confluent_kafka import Message

from fastgate.adapters.kafka_bus.link import Link
from fastgate.adapters.kafka_bus.replay import replay
from fastgate.adapters.kafka_bus.settings import KafkaSettings
from fastgate.adapters.kafka_bus.talk import Talk
from fastgate.adapters.kafka_bus.wire import REQUEST_S, rev_topic, stored_of
from fastgate.domain.stream import Stored, StreamState
from fastgate.ports import BusListener

__all__ = ["KafkaBus"]

# Reason: a publisher tries again within seconds; 4,096 batches are more than it sends.
_MAX_NAMES = 4_096


class KafkaBus:
    """The topics of all regions as one gateway sees them.

    region, node: This gateway. origins: Regions whose streams are followed.
    """

    name = "kafka"

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        region: str,
        node: str,
        origins: tuple[str, ...],
    ) -> None:
        self._settings = settings
        self._client = f"fastgate-{region}-{node}"
        self._topic = rev_topic(settings.prefix, region)
        self._origins = {rev_topic(settings.prefix, o): o for o in origins}
        self._listener: BusListener | None = None
        self._link = Link(
            settings,
            region=region,
            name=self._client,
            origins=origins,
            record=self._on_record,
            tell=self._tell,
        )
        self._talk = Talk(
            settings.prefix,
            region=region,
            node=node,
            origins=origins,
            writer=self._link.writer,
            listener=lambda: self._listener,
        )
        self._task: asyncio.Task[None] | None = None
        self._up: bool | None = None
        self._stored: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def start(self, listener: BusListener) -> None:
        """Connect in the background and return at once."""
        self._listener = listener
        self._task = asyncio.create_task(
            self._link.stay_connected(), name="kafka-connect"
        )

    async def stop(self) -> None:
        """Disconnect; nothing is told to the listener afterwards."""
        self._listener = None
        left = {self._task} if self._task else set()
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=4 * REQUEST_S)
        await self._talk.stop()

    def _tell(self, up: bool) -> None:
        if up is not self._up and self._listener is not None:
            self._listener.connected(up)
        self._up = up

    def _on_record(self, message: Message) -> None:
        origin = self._origins.get(message.topic() or "")
        if origin is None:
            self._talk.take(message)
        elif self._listener is not None:
            self._listener.live(stored_of(origin, message))

    async def publish(
        self, publisher: str, kind: str, message_id: str, payload: bytes, ttl_s: int
    ) -> int:
        """Store a message in the own region's topic; return its position.

        Raises ControlError where it is not known that every in-sync replica has it.
        """
        writer = self._link.writer()
        name = (self._link.incarnation, message_id)
        if name in self._stored:
            return self._stored[name]
        headers = {"v": "1", "kind": kind, "name": message_id, "ttl": str(ttl_s)}
        offset = await writer.store(self._topic, publisher, payload, headers)
        self._stored[name] = offset + 1
        if len(self._stored) > _MAX_NAMES:
            self._stored.popitem(last=False)
        return offset + 1

    async def state(self, origin: str) -> StreamState:
        """Return the state of a stream, asked of the leader of its partition.

        Kafka has no bound that refuses, so no share of one is taken.
        """
        head = await self._link.head(rev_topic(self._settings.prefix, origin))
        return StreamState(head.made, head.high, fill=0.0)

    async def replay(
        self, origin: str, after: int, to: int
    ) -> AsyncGenerator[Stored, None]:
        """Yield every message stored in (after, to], in order.

        Raises ControlError rather than skip a message that the stream still has.
        """
        topic = rev_topic(self._settings.prefix, origin)
        head = await self._link.head(topic)
        first, end = max(after, head.low), min(to, head.high)
        if first >= end:
            return
        async for stored in replay(
            self._link.threads,
            self._settings,
            self._client,
            topic=topic,
            origin=origin,
            first=first,
            end=end,
        ):
            yield stored

    async def report(self, payload: bytes) -> None:
        """Send a report to every node of every region; nobody answers."""
        self._talk.report(payload)

    async def urge(self, publisher: str, payload: bytes) -> None:
        """Send an urgent frame through the region's topic for talk."""
        self._talk.urge(publisher, payload)

    async def hand(self, home: str, payload: bytes) -> bytes:
        """Hand an event to a gateway of its home; return the answer."""
        return await self._talk.hand(home, payload)
