"""What was taken off the head of the own stream is missed, and said again."""

import pytest
from tests.control.feed_net import entry, network, world
from tests.fakes import FakeClock
from tests.feed_fakes import until

from fastgate.control import origin, stream_head
from fastgate.control.stream_head import StreamHead


class Rows:
    """A journal's live events, by position."""

    def __init__(self, *positions: int) -> None:
        self.positions = positions
        self.asked = 0

    async def lowest(self, at_least: int, wall_s: int) -> int:
        assert wall_s > 0
        self.asked += 1
        return min((p for p in self.positions if p >= max(1, at_least)), default=0)


def head_of(*positions):
    rows, clock = Rows(*positions), FakeClock()
    return StreamHead(rows, clock), rows, clock


async def test_head_is_cut_where_a_live_event_stood_before_it():
    """Once for each loss: what is said again has other positions."""
    head, _, clock = head_of(5, 9)
    assert not await head.is_cut(5)
    clock.advance(10)
    assert await head.is_cut(6)
    clock.advance(10)
    assert not await head.is_cut(9)
    clock.advance(10)
    assert await head.is_cut(10)


async def test_head_that_lost_expired_messages_only_is_not_cut():
    """As markers do each second."""
    head, rows, clock = head_of(50)
    for first in range(1, 51):
        assert not await head.is_cut(first)
        clock.advance(1)
    assert rows.asked == 1, "the journal is read when there is a reason"


async def test_journal_is_read_at_most_every_ten_seconds():
    """The head moves each second, and a journal may be long."""
    head, rows, clock = head_of()
    for first in range(1, 31):
        assert not await head.is_cut(first)
        clock.advance(1)
    assert rows.asked == 3


async def test_bus_that_does_not_tell_its_head_is_not_watched():
    """It says 0."""
    head, rows, _ = head_of(5)
    assert not await head.is_cut(0)
    assert rows.asked == 0


@pytest.fixture
async def net():
    async with network() as made:
        yield made


async def test_new_node_is_complete_once_the_publisher_has_missed_its_events(
    net, monkeypatch
):
    """Nobody else would ever prove anything to it."""
    monkeypatch.setattr(stream_head, "_ASK_EVERY_NS", 10**8)
    monkeypatch.setattr(origin, "_CHECK_NS", 10**8)
    eu, us, _ = await world(net)
    for number in range(3):
        await eu.feed.enter(entry(f"s-{number}", home="eu"))
    stream = net.broker.stream("eu")
    stream.messages = {}
    late = await net.add("us", "gw-us-2")
    await until(late.fresh)
    assert all(late.has(f"s-{number}") for number in range(3))
    began = us.clock.boot_ns()
    await until(lambda: us.newer("eu", began) and eu.newer("eu", began))
