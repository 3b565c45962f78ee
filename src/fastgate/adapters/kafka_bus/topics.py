"""Kafka topics: what each origin's topic must be like, and how far it is.

Owns:      the settings of topics made here; the look at those that are there.
Called by: adapters.kafka_bus.link and adapters.kafka_bus.bus.
Source:    ECOSYSTEM.md section 9; REVOCATION.md section 4: positions are one line, so
           one partition.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from fastgate.adapters.kafka_bus.settings import KafkaSettings
from fastgate.adapters.kafka_bus.wire import (
    REQUEST_S,
    GoneError,
    answer,
    translated,
)
from fastgate.errors import ControlError

__all__ = [
    "NEEDED_RECORD_BYTES",
    "Head",
    "config_of",
    "heads",
    "make_topic",
    "number",
    "refuse_lossy",
]

# Reason: a frame, its key and its headers.
NEEDED_RECORD_BYTES = 300_000
# Reason: nobody reads what was said a minute ago; a segment closes before it goes.
_TALK_MS = 600_000
_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Head:
    """A topic now. made: Its id, another one when it was made anew."""

    made: str
    low: int
    high: int


async def heads(admin: AdminClient, topics: Iterable[str]) -> dict[str, Head]:
    """Return those of the topics that there are. Raises ControlError."""
    found: dict[str, Head] = {}
    with translated():
        asked = admin.describe_topics(
            TopicCollection(list(topics)), request_timeout=REQUEST_S
        )
    made: dict[str, str] = {}
    for topic, future in asked.items():
        try:
            described = await answer(future)
        except GoneError:
            continue
        made[topic] = str(described.topic_id)
    places = [TopicPartition(topic, 0) for topic in made]
    if not places:
        return {}
    with translated():
        low = admin.list_offsets(
            dict.fromkeys(places, _EARLIEST),
            request_timeout=REQUEST_S,
        )
        high = admin.list_offsets(
            dict.fromkeys(places, _LATEST), request_timeout=REQUEST_S
        )
    lows = {place.topic: future for place, future in low.items()}
    highs = {place.topic: future for place, future in high.items()}
    for topic, id_ in made.items():
        first, last = await answer(lows[topic]), await answer(highs[topic])
        found[topic] = Head(id_, max(0, first.offset), max(0, last.offset))
    return found


async def make_topic(
    admin: AdminClient, settings: KafkaSettings, topic: str, *, talk: bool = False
) -> bool:
    """Make a topic where there is none; returns whether it did. Raises ControlError.

    talk: What is said in it matters for seconds only.
    """
    age_ms = _TALK_MS if talk else settings.max_age_s * 1000
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(age_ms),
        "retention.bytes": "-1",
        # A segment is kept whole until its newest record may go.
        "segment.ms": str(max(60_000, age_ms // 24)),
        "max.message.bytes": str(max(1_048_588, NEEDED_RECORD_BYTES)),
        "min.insync.replicas": str(1 if talk else settings.copies),
        "unclean.leader.election.enable": "false",
    }
    with translated():
        asked = admin.create_topics(
            [NewTopic(topic, 1, settings.replicas, config=config)],
            operation_timeout=REQUEST_S,
            request_timeout=REQUEST_S,
        )
    try:
        await answer(asked[topic])
    except ControlError as error:
        cause = error.__cause__
        if (
            isinstance(cause, KafkaException)
            and cause.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
        ):
            return False
        raise
    return True


async def config_of(admin: AdminClient, topic: str) -> dict[str, str]:
    """Return a topic's settings. Raises ControlError."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    with translated():
        asked = admin.describe_configs([resource], request_timeout=REQUEST_S)
    entries = await answer(asked[resource])
    return {name: entry.value or "" for name, entry in entries.items()}


def refuse_lossy(topic: str, config: dict[str, str], least_age_s: int) -> None:
    """Refuse a topic that drops live revocations. Raises ControlError."""
    if config.get("cleanup.policy") != "delete":
        raise ControlError(f"{topic} needs cleanup.policy delete: it drops live events")
    age_ms = number(config.get("retention.ms"))
    if 0 <= age_ms < least_age_s * 1000:
        raise ControlError(
            f"{topic} keeps records for less than {least_age_s} s, which is how long a "
            "revocation may live"
        )
    if number(config.get("retention.bytes")) >= 0:
        raise ControlError(
            f"{topic} needs retention.bytes -1: it drops live events when it is full"
        )
    if 0 <= number(config.get("max.message.bytes")) < NEEDED_RECORD_BYTES:
        raise ControlError(
            f"{topic} needs max.message.bytes of {NEEDED_RECORD_BYTES} or more"
        )


def number(text: str | None) -> int:
    """Return a setting that is a number; -1, which is no bound, where it is none."""
    try:
        return int(text or "-1")
    except ValueError:
        return -1
