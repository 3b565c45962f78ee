"""Kafka link: whether the cluster answers, the own region's topics, the reader's place.

Owns:      the clients, the session, and where the live reader stands.
Called by: adapters.kafka_bus.bus.
Source:    ECOSYSTEM.md sections 1 and 9: what the library heals by itself is checked
           every second; a request has an answer within a bounded time or is a
           ControlError.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaError, Message
from confluent_kafka.admin import AdminClient

from fastgate.adapters.kafka_bus.live import Live
from fastgate.adapters.kafka_bus.settings import KafkaSettings, client_options
from fastgate.adapters.kafka_bus.topics import Head, config_of, heads, make_topic
from fastgate.adapters.kafka_bus.topics import refuse_lossy as _refuse_lossy
from fastgate.adapters.kafka_bus.wire import (
    REQUEST_S,
    rev_topic,
    talk_topic,
    translated,
)
from fastgate.adapters.kafka_bus.writer import Writer
from fastgate.errors import ControlError

__all__ = ["Link"]

_log = logging.getLogger(__name__)

_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 1.0
_LOOK_S = 1.0
# Reason: a topic that keeps failing is looked at ten times a second, no more.
_LOST_S = 0.1
_MADE_S = 0.02
# Reason: what is farther behind than this comes by replay, which the feed paces.
_MAX_BEHIND = 4_096
# Reason: one replay an origin at a time, of few origins at once, and what is closed.
_THREADS = 8


class Link:
    """The clients of one gateway.

    name: Of this gateway, in the broker's logs. origins: Whose topics are followed.
    record: Takes each record that comes, on the loop; never raises.
    tell: Told whether the bus can be reached, at every attempt.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        region: str,
        name: str,
        origins: tuple[str, ...],
        record: Callable[[Message], None],
        tell: Callable[[bool], None],
    ) -> None:
        self._settings = settings
        self._name = name
        self._own = rev_topic(settings.prefix, region)
        self._own_talk = talk_topic(settings.prefix, region)
        self._revs = {rev_topic(settings.prefix, origin) for origin in origins}
        self._talks = {talk_topic(settings.prefix, origin) for origin in origins}
        self._record = record
        self._tell = tell
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kafka")
        self._admin: AdminClient | None = None
        self._writer: Writer | None = None
        self._live: Live | None = None
        self._up = False
        self._made: dict[str, str] = {}
        self._placed = False
        self._lost = asyncio.Event()
        self._trouble = ""
        self._hint = ""

    @property
    def incarnation(self) -> str:
        """Id of the own topic, "" before it was seen."""
        return self._made.get(self._own, "")

    async def stay_connected(self) -> None:
        """Look after topics and reader, and begin again after trouble, for ever."""
        wait_s = _RETRY_FIRST_S
        try:
            while True:
                try:
                    await self._session()
                except ControlError as error:
                    wait_s = _RETRY_FIRST_S if self._up else wait_s
                    self._down(str(error))
                # Reason: gateways must not come back in step.
                await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311
                wait_s = min(_RETRY_LAST_S, 2 * wait_s)
        finally:
            self._up = False
            await asyncio.shield(self._close())

    def _on_error(self, error: KafkaError) -> None:
        # In one of the library's threads: why a connection fails, such as a bad name,
        # certificate or password.
        self._hint = f" ({error.str()[:200]})"

    def _down(self, why: str) -> None:
        self._up = False
        self._tell(False)
        why, self._hint = why + self._hint, ""
        if why != self._trouble:
            self._trouble = why
            _log.warning("%s; it is tried again", why)

    async def _session(self) -> None:
        if self._admin is None:
            with translated():
                options = client_options(self._settings, self._name)
                self._admin = AdminClient(
                    options | {"error_cb": self._on_error}, logger=_log
                )
        await self._set_up(self._admin)
        if self._writer is None:
            self._writer = Writer(self._settings, self._name)
        if self._live is None:
            self._placed = False
            self._live = Live(
                self._settings, self._name, tell=self._record, lost=self._lost.set
            )
        await self._look(self._admin, self._live)
        self._up, self._trouble = True, ""
        self._tell(True)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._lost.wait()
                    await asyncio.sleep(_LOST_S)
            self._lost.clear()
            await self._check_clients()
            await self._look(self._admin, self._live)

    async def _check_clients(self) -> None:
        writer, live = self._writer, self._live
        loop = asyncio.get_running_loop()
        if writer is not None and writer.broken:
            self._writer = None
            await loop.run_in_executor(self.threads, writer.close)
            raise ControlError(f"kafka: the producer ended with {writer.broken}")
        if live is not None and not live.running:
            self._live = None
            raise ControlError("kafka: the reader ended")

    async def _set_up(self, admin: AdminClient) -> None:
        own = {self._own, self._own_talk}
        there = await heads(admin, own)
        if self._own not in there and await make_topic(
            admin, self._settings, self._own
        ):
            _log.info("kafka: made the topic %s", self._own)
        if self._own_talk not in there:
            await make_topic(admin, self._settings, self._own_talk, talk=True)
        # Made by one node, known to the others a moment later.
        with translated():
            async with asyncio.timeout(REQUEST_S):
                while not own <= there.keys():
                    await asyncio.sleep(_MADE_S)
                    there = await heads(admin, own)
        config = await config_of(admin, self._own)
        _refuse_lossy(self._own, config, self._settings.least_age_s)

    async def _look(self, admin: AdminClient, live: Live) -> None:
        found = await heads(admin, self._revs | self._talks)
        if self._own not in found:
            raise ControlError(f"the topic {self._own} has gone")
        places = {
            topic: place
            for topic, head in found.items()
            if (place := self._place(live, topic, head)) is not None
        }
        self._made.update({topic: head.made for topic, head in found.items()})
        self._placed = True
        if places:
            live.move(places)

    def _place(self, live: Live, topic: str, head: Head) -> int | None:
        """Return where the reader is to go on, None where it stands well."""
        at = live.at(topic)
        whole = 0 if head.high <= _MAX_BEHIND else head.high
        if topic in self._talks:
            # What was said before is nobody's business any more.
            well = at is not None and head.made == self._made.get(topic)
            return None if well and topic not in live.astray else head.high
        if at is None:
            # The feed reads what is there by itself; what is made later is all new.
            return whole if self._placed else head.high
        if head.made != self._made.get(topic):
            return whole
        return head.high if at > head.high or topic in live.astray else None

    async def _close(self) -> None:
        writer, live = self._writer, self._live
        held = [self._admin]
        self._admin = self._writer = self._live = None

        def end() -> None:
            if writer is not None:
                writer.close()
            if live is not None:
                live.close()
            # Letting go of it waits for its threads.
            held.clear()

        await asyncio.get_running_loop().run_in_executor(self.threads, end)
        self.threads.shutdown(wait=False)

    def writer(self) -> Writer:
        """Return the producer. Raises ControlError while the cluster is not reached."""
        if not self._up or self._writer is None:
            raise ControlError("not connected")
        return self._writer

    async def head(self, topic: str) -> Head:
        """Return how far a topic is. Raises ControlError."""
        if not self._up or self._admin is None:
            raise ControlError("not connected")
        found = await heads(self._admin, (topic,))
        if topic not in found:
            raise ControlError(f"there is no topic {topic}")
        if found[topic].made != self._made.get(topic, found[topic].made):
            self._lost.set()
        return found[topic]
