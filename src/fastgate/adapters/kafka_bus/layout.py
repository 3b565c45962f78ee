"""Kafka layout: a cluster's topics beside what gateways need.

Owns:      one admin client for as long as it looks.
Called by: `fastgate bus init`, through wiring.buses.
Source:    ECOSYSTEM.md section 9: one partition, retention no shorter than a token's
           life, nothing dropped for size, writes on every in-sync replica.
"""

import asyncio
from collections.abc import Iterator

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from fastgate.adapters.kafka_bus.settings import KafkaSettings, client_options
from fastgate.adapters.kafka_bus.topics import (
    NEEDED_RECORD_BYTES,
    config_of,
    make_topic,
    number,
)
from fastgate.adapters.kafka_bus.wire import (
    REQUEST_S,
    GoneError,
    answer,
    rev_topic,
    talk_topic,
    translated,
)
from fastgate.domain.layout import Line, Standing, judged

__all__ = ["inspect"]


async def inspect(
    settings: KafkaSettings, *, origins: tuple[str, ...], make: bool
) -> list[Line]:
    """Return what is there, line by line.

    make: Make the topics that are missing; what is there is never changed.
    Raises ControlError where the cluster cannot be asked.
    """
    with translated():
        admin = AdminClient(client_options(settings, "fastgate-bus-init"))
    held = [admin]
    try:
        lines: list[Line] = []
        for origin in origins:
            for talk in (False, True):
                lines += await _topic(admin, settings, origin, talk=talk, make=make)
        return lines
    finally:
        del admin
        # Letting go of it waits for its threads.
        await asyncio.to_thread(held.clear)


async def _topic(
    admin: AdminClient, settings: KafkaSettings, origin: str, *, talk: bool, make: bool
) -> list[Line]:
    named = talk_topic if talk else rev_topic
    topic = named(settings.prefix, origin)
    place = f"topic {topic}"
    with translated():
        asked = admin.describe_topics(
            TopicCollection([topic]), request_timeout=REQUEST_S
        )
    try:
        described = await answer(asked[topic])
    except GoneError:
        if not make:
            return [Line(place, "", "none", "a topic", Standing.MISSING)]
        await make_topic(admin, settings, topic, talk=talk)
        return [Line(place, "", "", "", Standing.MADE)]
    partitions = described.partitions
    replicas = min((len(each.replicas) for each in partitions), default=0)
    count = len(partitions)
    lines = [
        judged(place, "partitions", count, "1", good=count == 1),
        judged(
            place,
            "replicas",
            replicas,
            f"{settings.replicas} or more",
            good=replicas >= settings.replicas,
        ),
    ]
    config = await config_of(admin, topic)
    return [*lines, *_lines_of(place, settings, config, talk=talk)]


def _lines_of(
    place: str, settings: KafkaSettings, config: dict[str, str], *, talk: bool
) -> Iterator[Line]:
    policy = config.get("cleanup.policy", "")
    yield judged(place, "cleanup.policy", policy, "delete", good=policy == "delete")
    size = number(config.get("max.message.bytes"))
    yield judged(
        place,
        "max.message.bytes",
        size,
        f"{NEEDED_RECORD_BYTES} or more",
        good=size >= NEEDED_RECORD_BYTES,
    )
    if talk:
        return  # what is said there matters for seconds
    age, least = number(config.get("retention.ms")), settings.least_age_s * 1000
    yield judged(
        place,
        "retention.ms",
        age,
        f"{least} or more, or -1",
        good=age < 0 or age >= least,
    )
    room = number(config.get("retention.bytes"))
    yield judged(place, "retention.bytes", room, "-1", good=room < 0)
    copies = number(config.get("min.insync.replicas"))
    yield judged(
        place,
        "min.insync.replicas",
        copies,
        f"{settings.copies} or more",
        good=copies >= settings.copies,
    )
    unclean = config.get("unclean.leader.election.enable", "")
    yield judged(
        place,
        "unclean.leader.election.enable",
        unclean,
        "false",
        good=unclean == "false",
    )
