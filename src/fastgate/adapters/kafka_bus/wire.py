"""Kafka wire: topics, records and errors, as our values and our errors.

Owns:      the border at which foreign errors and foreign bytes end.
Called by: the other modules of this package.
Source:    ECOSYSTEM.md section 9: a topic per origin with one partition, key =
           publisher, what we number in headers. Offsets begin at 0, positions at 1.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message

from fastgate.domain.stream import Stored
from fastgate.errors import ControlError

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = [
    "REQUEST_S",
    "GoneError",
    "answer",
    "expired",
    "fault_of",
    "headers_of",
    "rev_topic",
    "stored_of",
    "talk_topic",
    "translated",
]

_T = TypeVar("_T")

REQUEST_S = 2.0
_MAX_HEADERS = 16
_MAX_TTL_DIGITS = 10
_GONE = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001  # librdkafka's own codes are spelled so
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
}


class GoneError(ControlError):
    """There is no such topic."""


def fault_of(error: KafkaError) -> ControlError:
    """Return what a broker's or the library's error means."""
    if error.code() in _GONE:
        return GoneError("there is no such topic")
    return ControlError(f"kafka: {error.name()}")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise foreign errors of the block as ControlError."""
    try:
        yield
    except KafkaException as exc:
        raise fault_of(exc.args[0]) from exc
    except BufferError as exc:
        raise ControlError("too much waits to be sent") from exc
    except TimeoutError as exc:
        raise ControlError("no answer in time") from exc
    except (RuntimeError, ValueError, TypeError) as exc:
        # A client that was closed meanwhile; a record that the library cannot spell.
        raise ControlError(f"kafka: {type(exc).__name__}") from exc


async def answer(asked: "Future[_T]") -> _T:
    """Return what an admin client answers. Raises ControlError, GoneError."""
    with translated():
        async with asyncio.timeout(2 * REQUEST_S):
            return await asyncio.wrap_future(asked)


def rev_topic(prefix: str, origin: str) -> str:
    """Return the topic of an origin's stream."""
    return f"{prefix}.rev.{origin}"


def talk_topic(prefix: str, region: str) -> str:
    """Return the topic of what a region's gateways say beside the stream."""
    return f"{prefix}.talk.{region}"


def headers_of(message: Message) -> dict[str, bytes]:
    """Return a record's headers; the first of a name counts, few are read."""
    found: dict[str, bytes] = {}
    listed: Any = message.headers() or []
    for name, value in listed[:_MAX_HEADERS]:
        if isinstance(value, bytes):
            found.setdefault(name, value)
    return found


def stored_of(origin: str, message: Message) -> Stored:
    """Return a record as a message of a stream, a foreign one too.

    It keeps its position: left out, it would look like a loss for ever.
    """
    key, value, offset = message.key(), message.value(), message.offset()
    publisher = key.decode("ascii", "replace") if isinstance(key, bytes) else ""
    payload = value if isinstance(value, bytes) else b""
    return Stored(origin, (offset or 0) + 1, publisher, payload)


def expired(message: Message, wall_s: float) -> bool:
    """Tell whether a record has outlived what its publisher gave it.

    Kafka has one life for all records of a topic; this one is ours.
    """
    ttl = headers_of(message).get("ttl", b"")
    kind, at_ms = message.timestamp()
    if not kind or len(ttl) > _MAX_TTL_DIGITS or not ttl.isdigit():
        return False
    return at_ms / 1000 + int(ttl) < wall_s
