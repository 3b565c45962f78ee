"""What only Kafka can do wrong: compact, cut by size, split, know no such user."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from tests.contract.places import KafkaPlace, place_of
from tests.contract.test_buses import Listener
from tests.feed_fakes import until

from fastgate.adapters.kafka_bus.bus import KafkaBus
from fastgate.adapters.kafka_bus.settings import (
    KafkaSettings,
    client_options,
    consumer_options,
    producer_options,
)
from fastgate.adapters.kafka_bus.topics import config_of
from fastgate.errors import ControlError

PUBLISHER = "gw.0123456789abcdef"


@pytest.fixture
async def place(request, tmp_path: Path) -> AsyncGenerator[KafkaPlace, None]:
    async with place_of("kafka", tmp_path, request) as made:
        yield made


@contextlib.asynccontextmanager
async def connected(bus: KafkaBus) -> AsyncGenerator[Listener, None]:
    listener = Listener()
    await bus.start(listener)
    try:
        await until(lambda: listener.up)
        yield listener
    finally:
        await bus.stop()


async def test_topic_is_made_so_that_nothing_is_dropped_silently(place):
    """ECOSYSTEM section 9: the settings that the promise rests on."""
    async with connected(place.bus(max_age_s=50_000)):
        config = await config_of(place._admin, f"{place.prefix}.rev.eu")
    assert config["cleanup.policy"] == "delete"
    assert config["retention.ms"] == "50000000"
    assert config["retention.bytes"] == "-1"
    assert config["unclean.leader.election.enable"] == "false"


@pytest.mark.parametrize(
    "flaw",
    [
        {"cleanup.policy": "compact"},
        {"retention.ms": "3599000"},
        {"retention.bytes": "1000000"},
        {"max.message.bytes": "100000"},
    ],
    ids=lambda flaw: next(iter(flaw)),
)
async def test_topic_that_drops_live_events_is_refused(place, flaw):
    """A new node would not learn of what is still revoked."""
    topic = f"{place.prefix}.rev.eu"
    whole = {"cleanup.policy": "delete", "retention.ms": "3600000"}
    made = place._admin.create_topics([NewTopic(topic, 1, 1, config=whole | flaw)])
    await asyncio.wrap_future(made[topic])
    async with connected(place.bus(least_age_s=3_600)) as listener:
        assert listener.up == [False]


async def test_producer_waits_for_every_copy_and_repeats_nothing():
    """Idempotent, acknowledged by all, bounded in time and memory."""
    options = producer_options(KafkaSettings(("127.0.0.1:1",)), "gw")
    assert options["acks"] == "all"
    assert options["enable.idempotence"] is True
    assert options["message.timeout.ms"] <= 2_000
    assert options["queue.buffering.max.kbytes"] <= 16_384


async def test_reader_never_chooses_an_offset_by_itself():
    """An offset that is gone is an error, never a silent jump."""
    options = consumer_options(KafkaSettings(("127.0.0.1:1",)), "gw")
    assert options["auto.offset.reset"] == "error"
    assert options["enable.auto.commit"] is False


@pytest.mark.parametrize(
    ("tls", "user", "protocol"),
    [
        (False, None, "PLAINTEXT"),
        (True, None, "SSL"),
        (False, "gw", "SASL_PLAINTEXT"),
        (True, "gw", "SASL_SSL"),
    ],
    ids=["plain", "tls", "user", "tls and user"],
)
async def test_protocol_follows_encryption_and_user(tls, user, protocol):
    """Nothing that was configured is left out on the way."""
    settings = KafkaSettings(("a:1",), tls=tls, user=user, ca=Path("/ca"))
    options = client_options(settings, "gw")
    assert options["security.protocol"] == protocol
    assert ("ssl.ca.location" in options) is tls
    assert ("sasl.username" in options) is (user is not None)


async def test_name_that_was_stored_is_not_stored_again_by_this_gateway(place):
    """Kafka has no window for names; another gateway's repeat is seen by numbers."""
    bus = place.bus()
    async with connected(bus):
        first = await bus.publish(PUBLISHER, "jti", "a", b"a", 60)
        assert await bus.publish(PUBLISHER, "jti", "a", b"a", 60) == first
        other = place.bus("gw-2")
        async with connected(other):
            assert await other.publish(PUBLISHER, "jti", "a", b"a", 60) == first + 1


async def test_retention_that_cut_the_head_is_no_fault_of_a_replay(place):
    """What was cut is a hole, as by age; a stretch inside it is empty."""
    bus = place.bus()
    async with connected(bus):
        for number in range(6):
            await bus.publish(PUBLISHER, "jti", f"{number}", b"%d" % number, 60)
        await place.trim(4)
        assert [s.position async for s in bus.replay("eu", 0, 3)] == []
        assert [s.position async for s in bus.replay("eu", 2, 6)] == [5, 6]
        with pytest.raises(ControlError):
            await anext(bus.replay("us", 0, 1))


async def test_cluster_that_does_not_know_the_user_is_told(place):
    """A wrong password or mechanism is a reason, not only a silence."""
    admin = AdminClient({"bootstrap.servers": place.server.server, "log_level": 0})
    assert admin.list_topics(timeout=10).brokers
    async with connected(place.bus(user="gw", password="wrong")) as listener:
        assert listener.up == [False]
