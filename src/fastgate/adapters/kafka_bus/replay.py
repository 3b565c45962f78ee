"""Kafka replay: a stretch of an origin's topic, read by a consumer of its own.

Owns:      one consumer for as long as a stretch is read; its calls run in a thread.
Called by: adapters.kafka_bus.bus.
Source:    ECOSYSTEM.md section 9. Retention cuts a topic's head; what was cut is a hole
           as by TTL, and the digests say whether anything live was in it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Executor

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from fastgate.adapters.kafka_bus.settings import KafkaSettings, consumer_options
from fastgate.adapters.kafka_bus.wire import (
    REQUEST_S,
    expired,
    fault_of,
    stored_of,
    translated,
)
from fastgate.domain.stream import Stored
from fastgate.errors import ControlError

__all__ = ["replay"]

_PAGE = 64
_WAIT_S = 0.5


async def replay(
    threads: Executor,
    settings: KafkaSettings,
    name: str,
    *,
    topic: str,
    origin: str,
    first: int,
    end: int,
) -> AsyncGenerator[Stored, None]:
    """Yield the records of a topic with offsets in [first, end), in order.

    Raises ControlError rather than skip a record that the topic still has.
    """
    loop = asyncio.get_running_loop()
    consumer = await loop.run_in_executor(threads, _open, settings, name, topic, first)
    try:
        at, idle = first, 0.0
        while at < end:
            page, ended = await loop.run_in_executor(
                threads, _page, consumer, min(_PAGE, end - at)
            )
            idle = 0.0 if page else idle + _WAIT_S
            for message in page:
                offset = message.offset() or 0
                if offset >= end:
                    return
                at = offset + 1
                if not expired(message, time.time()):
                    yield stored_of(origin, message)
            if ended:
                return
            if idle >= REQUEST_S:
                raise ControlError("no answer in time")
    finally:
        await asyncio.shield(loop.run_in_executor(threads, consumer.close))


def _open(settings: KafkaSettings, name: str, topic: str, first: int) -> Consumer:
    with translated():
        consumer = Consumer(consumer_options(settings, name))
        consumer.assign([TopicPartition(topic, 0, first)])
    return consumer


def _page(consumer: Consumer, count: int) -> tuple[list[Message], bool]:
    """Return the next records, and whether the topic's end was reached."""
    with translated():
        messages = consumer.consume(count, _WAIT_S)
    good: list[Message] = []
    for message in messages:
        error = message.error()
        if error is None:
            good.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            return good, True
        else:
            raise fault_of(error)
    return good, False
