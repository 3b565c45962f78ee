"""What the contract tests share: one Kafka broker for all of them."""

from collections.abc import Iterator

import pytest
from tests.kafka_broker import KafkaBroker


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Start a broker when the first test asks; each test has a prefix of its own."""
    folder = tmp_path_factory.mktemp("kafka")
    broker = KafkaBroker(folder)
    try:
        yield broker.start()
    finally:
        broker.stop()
