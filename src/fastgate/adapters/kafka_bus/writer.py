"""Kafka writer: one producer, and the thread in which it tells what was stored.

Owns:      the producer; what is under way, which the library bounds.
Called by: adapters.kafka_bus.link makes one a session; bus and talk send with it.
Source:    ECOSYSTEM.md section 9: `acks=all`, idempotent. What was not stored for
           certain is an error: whoever publishes comes again, under the same numbers.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping

from confluent_kafka import KafkaError, Message, Producer

from fastgate.adapters.kafka_bus.settings import KafkaSettings, producer_options
from fastgate.adapters.kafka_bus.wire import REQUEST_S, fault_of, translated
from fastgate.errors import ControlError

__all__ = ["Writer"]

_log = logging.getLogger(__name__)

_POLL_S = 0.1


class Writer:
    """Stores records; made on the loop that it answers to."""

    def __init__(self, settings: KafkaSettings, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.broken = ""
        options = producer_options(settings, name) | {"error_cb": self._on_error}
        with translated():
            self._producer = Producer(options, logger=_log)
        self._closing = False
        self._thread = threading.Thread(
            target=self._poll, name="kafka-writer", daemon=True
        )
        self._thread.start()

    def _poll(self) -> None:
        while not self._closing:
            self._producer.poll(_POLL_S)

    def _on_error(self, error: KafkaError) -> None:
        _log.info("kafka producer: %s", error.name())
        if error.fatal():
            # This producer takes nothing any more; the session ends, another begins.
            self.broken = error.name()

    async def store(
        self, topic: str, key: str, payload: bytes, headers: Mapping[str, str]
    ) -> int:
        """Return the offset of a record that every in-sync replica has.

        Raises ControlError where that is not known within a bounded time.
        """
        done: asyncio.Future[int] = self._loop.create_future()

        def settle(error: KafkaError | None, offset: int | None) -> None:
            if done.done():
                return
            if error is not None or offset is None or offset < 0:
                fault = fault_of(error) if error else ControlError("no offset")
                done.set_exception(fault)
            else:
                done.set_result(offset)

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(settle, error, offset)

        with translated():
            self._producer.produce(
                topic,
                payload,
                key=key,
                partition=0,
                headers={name: text.encode() for name, text in headers.items()},
                on_delivery=delivered,
            )
            async with asyncio.timeout(2 * REQUEST_S):
                return await done

    def say(
        self, topic: str, key: str, payload: bytes, headers: Mapping[str, str]
    ) -> None:
        """Send a record of which nobody asks what became. Raises ControlError."""
        with translated():
            self._producer.produce(
                topic,
                payload,
                key=key,
                partition=0,
                headers={name: text.encode() for name, text in headers.items()},
            )

    def close(self) -> None:
        """Forget what is under way and end; waits, so not on the loop."""
        self._producer.purge()
        self._closing = True
        self._thread.join(REQUEST_S)
