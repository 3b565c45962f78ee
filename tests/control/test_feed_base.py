"""A node without a state of its own begins with one that another node left."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import SETTINGS, Net, Node, entry, network, world
from tests.feed_fakes import BootClock, FakeJournal, until
from tests.shelf_fake import FakeShelf, states, sums_of

SHARING = replace(SETTINGS, share_every_s=0.2)
# Takes a state and never leaves one in the time of a test.
TAKING = replace(SETTINGS, share_every_s=36_000.0)


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


@pytest.fixture
def shelf() -> FakeShelf:
    return FakeShelf()


def sharing(net: Net, shelf: FakeShelf, name: str, settings=SHARING, **how) -> Node:
    """Make a node of `us` that leaves its state on a shelf, and takes one."""
    journal = how.pop("journal", None) or FakeJournal(name)
    shared = states(shelf, BootClock(), publisher=journal.publisher, **how)
    return net.make("us", name, journal=journal, settings=settings, shared=shared)


async def shared_since(writer: Node) -> None:
    """Wait for a state that was begun from now on."""
    for _ in range(2):
        seen = writer.feed.clock.boot_ns()
        await until(lambda: writer.feed.base.shared_ns > seen)  # noqa: B023


async def left(net: Net, shelf: FakeShelf, revoked: int = 30) -> tuple[Node, list[str]]:
    """Return eu and its events, of which a node has left the state on the shelf."""
    eu, _, _ = await world(net)
    ids = [(await eu.feed.enter(entry(f"s-{i}", home="eu"))).id for i in range(revoked)]
    await eu.feed.lift(ids[1])
    writer = await net.start(sharing(net, shelf, "gw-us-2"))
    await until(lambda: writer.fresh() and writer.has(f"s-{revoked - 1}"))
    await until(lambda: not writer.has("s-1"))
    await shared_since(writer)
    await net.stop(writer)
    return eu, ids


async def test_wiped_node_enforces_at_once_what_it_cannot_read(net, shelf):
    """The origin is unreachable: entries are in force, and nothing is proven."""
    await left(net, shelf)
    node = sharing(net, shelf, "gw-us-9", TAKING)
    node.bus.cut.add("eu")
    await net.start(node)
    await until(lambda: node.feed.base.taken_from)
    assert node.has("s-29")
    assert node.feed.base.status()["taken_from"] == "gw-us-2"
    assert node.feed.base.loaded == 30
    assert not node.has("s-1"), "the lift was in the state"
    await until(lambda: node.fresh("us", "ap"))
    assert not node.fresh("eu"), "a base proves nothing"
    assert not node.feed.ready()[0]
    node.bus.cut.clear()
    await until(node.fresh)


async def test_wiped_node_becomes_complete_when_the_stream_was_trimmed(net, shelf):
    """What the stream lacks is in the base, and the digests say so."""
    eu, _ = await left(net, shelf)
    stream = net.broker.stream("eu")
    for position in list(stream.messages)[:-2]:
        del stream.messages[position]
    bare = await net.add("us", "gw-us-8")
    node = await net.start(sharing(net, shelf, "gw-us-9", TAKING))
    await until(node.fresh)
    assert node.has("s-0")
    assert sums_of(node)["eu"] == sums_of(eu)["eu"]
    assert not bare.fresh("eu"), "without the base it is not complete"


async def test_only_what_came_since_is_read(net, shelf):
    """A base saves the reading, and what was lifted or revoked later counts."""
    eu, ids = await left(net, shelf)
    await eu.feed.enter(entry("later", home="eu"))
    await eu.feed.lift(ids[2])
    node = sharing(net, shelf, "gw-us-9", TAKING)
    read: list[int] = []
    replay = node.bus.replay
    node.bus.replay = lambda o, after, to: (read.append(after), replay(o, after, to))[1]
    await net.start(node)
    await until(node.fresh)
    assert node.has("later")
    assert node.has("s-0")
    await until(lambda: not node.has("s-2"))
    assert min(read) > 0


async def test_event_of_the_base_is_lifted_by_its_id(net, shelf):
    """Ids and keys are in it, not entries alone."""
    eu, ids = await left(net, shelf)
    node = await net.start(sharing(net, shelf, "gw-us-9", TAKING))
    await until(node.fresh)
    await eu.feed.lift(ids[3])
    await until(lambda: not node.has("s-3"))


async def test_stream_made_anew_is_read_whole_and_gets_the_base_again(net, shelf):
    """Positions of another stream mean nothing; what it lost is published again."""
    await left(net, shelf)
    net.broker.wipe("us")
    node = await net.start(sharing(net, shelf, "gw-us-9", TAKING))
    await until(node.fresh)
    assert node.has("s-0")


async def test_own_journal_counts_and_the_writers_does_not(net, shelf):
    """A node that lost its state keeps its journal: all of it is applied again."""
    await world(net)
    first = await net.start(sharing(net, shelf, "gw-us-2", TAKING))
    await until(first.fresh)
    mine = await first.feed.enter(entry("mine", home="us"))
    undone = await first.feed.enter(entry("undone", home="us"))
    assert mine.published
    assert undone.published
    writer = await net.start(sharing(net, shelf, "gw-us-3"))
    await until(lambda: writer.has("mine") and writer.has("undone"))
    await net.stop(first)
    await writer.feed.lift(undone.id)
    await shared_since(writer)
    await writer.feed.enter(entry("theirs", home="us"))
    await net.stop(writer)
    journal = first.journal.copy()
    again = await net.start(sharing(net, shelf, "gw-us-2", TAKING, journal=journal))
    await until(again.fresh)
    assert again.feed.base.loaded
    assert again.feed.publisher.name == first.feed.publisher.name
    assert again.has("mine")
    assert again.has("theirs")
    await until(lambda: not again.has("undone"))
    third = await again.feed.enter(entry("third", home="us"))
    assert third.seq == undone.seq + 1


async def test_own_events_that_the_stream_lost_since_are_published_again(net, shelf):
    """The base is behind our journal: the stream is compared with that."""
    await left(net, shelf)
    node = await net.start(sharing(net, shelf, "gw-us-7", TAKING))
    await until(node.fresh)
    lost = await node.feed.enter(entry("lost", home="us"))
    assert lost.published
    await net.stop(node)
    stream = net.broker.stream("us")
    for position, stored in list(stream.messages.items()):
        if stored.publisher == node.journal.publisher:
            del stream.messages[position]
    journal = node.journal.copy()
    again = await net.start(sharing(net, shelf, "gw-us-7", TAKING, journal=journal))
    await until(again.fresh)
    reader = await net.add("us", "gw-us-8")
    await until(lambda: reader.has("lost"))


async def test_next_node_writes_when_the_first_by_name_is_silent(net, shelf):
    """One node a region leaves a state; which one follows from names alone."""
    await world(net)
    slow = replace(SETTINGS, share_every_s=1.0)
    second = await net.start(sharing(net, shelf, "gw-us-2", slow))
    third = await net.start(sharing(net, shelf, "gw-us-3", slow))
    await until(lambda: second.feed.base.shared_ns > 0)
    seen = second.feed.base.shared_ns
    await until(lambda: second.feed.base.shared_ns > seen)
    assert third.feed.base.shared_ns == 0
    await net.stop(second)
    await until(lambda: third.feed.base.shared_ns > 0)


@pytest.mark.parametrize("fault", ["full", "down", "large"])
async def test_alarm_names_the_bus_when_no_state_can_be_left(net, shelf, fault):
    """The feed goes on as if nothing were; the alarm ends with the fault."""
    eu, _, _ = await world(net)
    await eu.feed.enter(entry("s-0", home="eu"))
    shelf.space = 10 if fault == "full" else 1 << 30
    node = sharing(
        net, shelf, "gw-us-2", **({"max_bytes": 64} if fault == "large" else {})
    )
    shelf.down = fault == "down"
    await net.start(node)
    await until(lambda: node.fresh() and ("snapshot", "bus") in node.alarms)
    assert not any("card" in name for _, name in shelf.blobs)
    assert node.has("s-0")
    if fault != "large":
        shelf.space, shelf.down = 1 << 30, False
        await until(lambda: ("snapshot", "bus") not in node.alarms)
        assert node.feed.base.shared_ns


async def test_nothing_is_left_before_every_origin_was_read(net, shelf):
    """Half a view is no base for others."""
    await world(net)
    node = sharing(net, shelf, "gw-us-2")
    node.bus.cut.add("ap")
    await net.start(node)
    seen = node.clock.boot_ns()
    await until(lambda: node.fresh("eu", "us"))
    await until(lambda: node.newer("us", seen + 500_000_000))
    assert shelf.puts == 0


async def test_base_is_refused_when_this_node_has_no_room_for_it(net, shelf):
    """A position is claimed only where every entry of it is in the index."""
    await left(net, shelf)
    node = sharing(net, shelf, "gw-us-9", replace(TAKING, capacity=10))
    await net.start(node)
    await until(lambda: node.feed.trackers["us"].caught_up)
    assert node.feed.base.loaded == 0
    assert node.feed.base.status()["taken_from"] is None


async def test_base_of_this_region_is_taken_before_a_newer_one_elsewhere(net, shelf):
    """What is near is read; another region's where this one has none."""
    await left(net, shelf)
    us = {key: blob for key, blob in shelf.blobs.items() if key[0] == "us"}
    eu_shared = states(shelf, BootClock(), region="eu", publisher="gw-eu-1.journal-1")
    node = net.make("eu", "gw-eu-9", settings=TAKING, shared=eu_shared)
    assert us
    await net.start(node)
    await until(node.fresh)
    assert node.feed.base.taken_from == "gw-us-2"


async def test_what_is_entered_while_a_base_is_taken_stays(net, shelf, monkeypatch):
    """The events of the base are filled aside; own ones come before, amid and after."""
    await left(net, shelf)
    node = sharing(net, shelf, "gw-us-9", TAKING)
    entered = []
    fill = node.feed.base._fill

    async def slow(*parts: object) -> None:
        await fill(*parts)
        entered.append(await node.feed.enter(entry("amid", home="us")))

    monkeypatch.setattr(node.feed.base, "_fill", slow)
    node.bus.up = False
    await net.start(node)
    entered.append(await node.feed.enter(entry("before", home="us")))
    node.bus.switch(up=True)
    await until(lambda: node.feed.base.taken_from and node.fresh())
    entered.append(await node.feed.enter(entry("after", home="us")))
    assert all(node.has(name) for name in ("before", "amid", "after", "s-0"))
    for receipt in entered:
        await node.feed.lift(receipt.id)
    await until(lambda: not any(map(node.has, ("before", "amid", "after"))))
    assert node.has("s-0")
