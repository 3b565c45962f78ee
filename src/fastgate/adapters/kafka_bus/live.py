"""Kafka live: one consumer of every topic that is followed, in a thread of its own.

Owns:      the consumer, and where it stands in each topic.
Called by: adapters.kafka_bus.link makes one a session and moves it.
Source:    ECOSYSTEM.md section 9: partitions are assigned by hand. An offset that the
           broker does not have is no reason to begin elsewhere by itself: whoever
           placed the reader is asked, and the feed reads the gap.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from fastgate.adapters.kafka_bus.settings import KafkaSettings, consumer_options
from fastgate.adapters.kafka_bus.wire import REQUEST_S, translated

__all__ = ["Live"]

_log = logging.getLogger(__name__)

_POLL_S = 0.1
_COUNT = 63


class Live:
    """Follows topics from the offsets it is placed at.

    tell: Takes each record, on the loop; never raises.
    lost: Called on the loop where a topic has to be placed anew.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        name: str,
        *,
        tell: Callable[[Message], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._lost = lost
        with translated():
            self._consumer = Consumer(consumer_options(settings, name), logger=_log)
        # The next offset by topic; only the thread writes it once that has begun.
        self._next: dict[str, int] = {}
        self.astray: set[str] = set()
        self._moves: dict[str, int] = {}
        self._moving = threading.Lock()
        self._taken = threading.Event()
        self._closing = False
        self._thread = threading.Thread(
            target=self._run, name="kafka-live", daemon=True
        )
        self._thread.start()

    def at(self, topic: str) -> int | None:
        """Return the next offset of a topic, None where it is not followed."""
        with self._moving:
            return self._moves.get(topic, self._next.get(topic))

    def move(self, offsets: Mapping[str, int]) -> None:
        """Follow topics from these offsets; the others stay where they are."""
        with self._moving:
            self._moves.update(offsets)
            self.astray.difference_update(offsets)

    def _run(self) -> None:
        try:
            while not self._closing:
                self._move()
                first = self._consumer.poll(_POLL_S)
                if first is not None:
                    self._pass([first, *self._consumer.consume(_COUNT, 0)])
        except Exception:  # noqa: BLE001
            # The last border of a thread: the session sees that it has ended.
            _log.exception("the kafka reader failed")
        finally:
            self._consumer.close()

    @property
    def running(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def _move(self) -> None:
        with self._moving:
            moves, self._moves = self._moves, {}
            self._next.update(moves)
        if moves:
            places = [TopicPartition(t, 0, at) for t, at in self._next.items()]
            self._consumer.assign(places)

    def _pass(self, messages: list[Message]) -> None:
        good = [message for message in messages if self._is_good(message)]
        if not good or self._loop.is_closed():
            return
        # One batch at a time: a loop that is slow is waited for, not flooded.
        self._taken.clear()
        self._loop.call_soon_threadsafe(self._take, good)
        while not self._taken.wait(_POLL_S):
            if self._closing:
                return

    def _is_good(self, message: Message) -> bool:
        error, topic = message.error(), message.topic()
        if error is None:
            offset = message.offset()
            if topic is not None and offset is not None:
                self._next[topic] = offset + 1
            return True
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            _log.info("kafka reader: %s", error.name())
            if topic:
                with self._moving:
                    self.astray.add(topic)
                if not self._loop.is_closed():
                    self._loop.call_soon_threadsafe(self._lost)
        return False

    def _take(self, messages: list[Message]) -> None:
        try:
            if not self._closing:
                for message in messages:
                    self._tell(message)
        finally:
            self._taken.set()

    def close(self) -> None:
        """End; waits, so not on the loop."""
        self._closing = True
        self._taken.set()
        self._thread.join(2 * REQUEST_S)
