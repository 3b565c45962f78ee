"""What a stream lost of publishers that are gone is published by whoever holds it."""

from collections.abc import AsyncGenerator

import pytest
from tests.control.feed_net import Net, entry, network, world
from tests.feed_fakes import until


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def test_events_of_a_dead_publisher_come_back_when_its_stream_was_wiped(net):
    """The journal is gone with its node; another node of the region has its events."""
    eu, us, _ = await world(net)
    other = await net.add("eu", "gw-eu-2")
    await until(other.fresh)
    first = await eu.feed.enter(entry("s-1", home="eu"))
    gone = await eu.feed.enter(entry("s-2", home="eu"))
    await eu.feed.enter(entry("u-1", home="eu", reason="stolen"))
    await eu.feed.lift(gone.id)
    await until(lambda: other.has("u-1") and not other.has("s-2"))
    await net.stop(eu)
    net.broker.wipe("eu")
    late = await net.add("us", "gw-us-2")
    await until(lambda: late.has("s-1") and late.has("u-1"))
    await until(late.fresh)
    assert not late.has("s-2")
    assert other.feed.restoring.restored == 3, "the lift of s-2 among them"
    again = [kept.event for kept in other.journal.rows]
    assert first.id in {event.id for event in again}
    await other.feed.lift(first.id)
    await until(lambda: not late.has("s-1") and not us.has("s-1"))


async def test_lift_of_a_node_that_is_gone_comes_back_with_its_event(net):
    """The entry has left the index, and the lift is said again all the same."""
    eu, us, _ = await world(net)
    lifter = await net.add("eu", "gw-eu-2")
    third = await net.add("eu", "gw-eu-3")
    await until(lambda: lifter.fresh() and third.fresh())
    event = await eu.feed.enter(entry("s-1", home="eu"))
    await until(lambda: lifter.has("s-1"))
    await lifter.feed.lift(event.id)
    await until(lambda: not any(n.has("s-1") for n in (eu, us, third)))
    await net.stop(lifter)
    net.broker.wipe("eu")
    holders = eu.feed.restoring, third.feed.restoring
    await until(lambda: any(restoring.restored for restoring in holders))
    late = await net.add("us", "gw-us-2")
    await until(late.fresh)
    assert not late.has("s-1"), "its publisher said it again, and so was the lift"
    assert late.feed.enforcement.store.stats()["events"] == 1


async def test_nothing_is_restored_when_publishers_see_to_their_own(net):
    """Those that live republish under their own numbers; nobody does it for them."""
    eu, _, _ = await world(net)
    other = await net.add("eu", "gw-eu-2")
    await until(other.fresh)
    await eu.feed.enter(entry("s-1", home="eu"))
    await until(lambda: other.has("s-1"))
    net.broker.wipe("eu")
    await until(lambda: other.feed.trackers["eu"].gaps > 0)
    began = other.clock.boot_ns()
    await until(lambda: other.newer("eu", began + 2 * 10**9), within_s=20)
    assert other.feed.restoring.restored == 0
    assert other.journal.rows == []


async def test_tail_that_the_stream_lost_reaches_a_node_that_joins_later(net):
    """Acknowledged, read by one node, then lost with the server that had it."""
    eu, us, _ = await world(net)
    other = await net.add("eu", "gw-eu-2")
    await until(other.fresh)
    await eu.feed.enter(entry("s-1", home="eu"))
    await until(lambda: other.has("s-1") and us.has("s-1"))
    await net.stop(eu)
    stream = net.broker.stream("eu")
    lost = [p for p, m in stream.messages.items() if m.payload.startswith(b"\xfa\x5e")]
    for position in lost:
        del stream.messages[position]
    stream.incarnation = "restored"
    late = await net.add("us", "gw-us-2")
    await until(lambda: late.has("s-1"))
    await until(lambda: late.fresh("eu"))


async def test_nothing_is_proven_to_a_new_node_until_all_of_it_is_back(net):
    """The gateway that writes markers knows what its stream lost, and says nothing."""
    eu, _, _ = await world(net)
    other = await net.add("eu", "gw-eu-2")
    await until(other.fresh)
    await other.feed.enter(entry("s-1", home="eu"))
    await until(lambda: eu.has("s-1"))
    await net.stop(other)
    net.broker.wipe("eu")
    late = await net.add("us", "gw-us-2")
    await until(lambda: late.fresh("eu"))
    assert late.has("s-1")
    assert not eu.feed.restoring.pending
    assert eu.feed.restoring.restored == 1


async def test_region_whose_stream_lost_nothing_is_not_held_up(net):
    """A start is no loss: markers come with the first second."""
    eu, _, _ = await world(net)
    await eu.feed.enter(entry("s-1", home="eu"))
    await net.stop(eu)
    again = net.make("eu", journal=eu.journal.copy())
    again.feed.restoring._restore = None  # it would fail
    await net.start(again)
    await until(again.fresh)
    assert not again.feed.restoring.pending
    assert "feed_task" not in {name for name, _ in again.alarms}


async def test_own_event_that_another_stream_has_is_said_again(net):
    """The journal calls it published, which is not a word about this stream."""
    eu, _, _ = await world(net)
    await eu.feed.enter(entry("s-1", home="eu"))

    async def nothing(*_: object) -> None:
        """Stand for a journal in which nothing was found to be missing."""

    eu.feed.publisher.audit = nothing
    net.broker.wipe("eu")
    late = await net.add("us", "gw-us-2")
    await until(lambda: late.has("s-1"))
    await until(lambda: late.fresh("eu"))
