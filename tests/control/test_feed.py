"""The feed of several nodes on one broker: entering, telling, ending."""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import SETTINGS, Net, entry, network, world
from tests.feed_fakes import BootClock, FakeIndex, FakeJournal, until

from fastgate.control.feed import Feed
from fastgate.domain.marker import Report, encode_report
from fastgate.domain.revocation import EVERYTHING, Kind
from fastgate.errors import ConfigError, ControlError


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def test_entry_reaches_every_region_when_all_is_well(net):
    """A revocation entered in one region is enforced in all of them."""
    nodes = await world(net)
    receipt = await nodes[0].feed.enter(entry(home="eu"), wait="regions")
    assert (receipt.published, receipt.complete, receipt.origin) == (True, True, "eu")
    assert receipt.seq == 1
    assert {r: at["nodes"] for r, at in receipt.regions.items()} == {
        "eu": 1,
        "us": 1,
        "ap": 1,
    }
    assert all(node.has() for node in nodes)
    assert all(node.feed.ready()[0] for node in nodes)


async def test_entry_is_in_the_own_index_before_it_is_published(net):
    """Journal and own index first, then the stream, then the answer."""
    node = await net.add("eu")
    node.bus.switch(up=False)
    receipt = await node.feed.enter(entry(home="eu"))
    assert (receipt.published, receipt.complete) == (False, False)
    assert node.has()
    assert len(node.journal.rows) == 1
    assert net.broker.stream("eu").messages == {}


async def test_receipt_is_incomplete_when_a_region_is_missing(net):
    """`wait: regions` ends, and says which regions enforce it."""
    settings = replace(SETTINGS, regions_wait_s=0.3)
    eu = await net.add("eu", settings=settings)
    us = await net.add("us")
    await until(lambda: eu.fresh("eu", "us") and us.fresh("eu", "us"))
    receipt = await eu.feed.enter(entry(home="eu"), wait="regions")
    assert (receipt.published, receipt.complete) == (True, False)
    assert set(receipt.regions) == {"eu", "us"}


async def test_longer_token_lifetime_of_an_origin_is_an_alarm(net):
    """Unequal lifetimes leave tokens that outlive their revocation."""
    lifetimes = replace(SETTINGS.lifetimes, max_token_s=7_200)
    eu = await net.add("eu", settings=replace(SETTINGS, lifetimes=lifetimes))
    us = await net.add("us")
    await until(lambda: ("token_lifetime", "eu") in us.alarms)
    assert ("token_lifetime", "us") not in eu.alarms


async def test_pending_entry_is_named_by_an_alarm_and_published_when_the_bus_heals(net):
    """202 now, enforced here at once, published when it can be."""
    eu, us, _ = await world(net)
    eu.bus.switch(up=False)
    receipt = await eu.feed.enter(entry(home="eu"))
    assert not receipt.published
    await until(lambda: ("revocation_pending", receipt.id) in eu.alarms)
    assert eu.feed.status()["pending"]["oldest_id"] == receipt.id
    eu.bus.switch(up=True)
    await until(us.has)
    await until(lambda: not any(name == "revocation_pending" for name, _ in eu.alarms))
    assert eu.feed.status()["pending"]["count"] == 0


async def test_entry_is_refused_and_enforced_nowhere_when_the_journal_fails(net):
    """F13: what could not be stored was not revoked, and the caller knows."""
    node = await net.add("eu")
    node.journal.failing = True
    with pytest.raises(ControlError):
        await node.feed.enter(entry(home="eu"))
    assert not node.has()
    assert ("journal", "journal") in node.alarms
    node.journal.failing = False
    await node.feed.enter(entry(home="eu"))
    assert node.has()


async def test_caller_that_goes_away_does_not_stop_its_entry(net):
    """A closed connection must not leave an event in the journal only."""
    eu, us, _ = await world(net)
    task = asyncio.create_task(eu.feed.enter(entry(home="eu")))
    await asyncio.sleep(0)
    task.cancel()
    await until(us.has)


async def test_cutoff_and_expiry_travel_unchanged(net):
    """`expires` is set once by the publisher."""
    eu, us, _ = await world(net)
    await eu.feed.enter(entry("u-1", Kind.SUB, home="eu"))
    await eu.feed.enter(entry("s-1", home="eu"))
    await until(us.has)
    assert us.index.entries == eu.index.entries
    cutoffs = sorted(cutoff for cutoff, _ in us.index.entries.values())
    assert cutoffs[0] < EVERYTHING == cutoffs[1]


async def test_urgent_event_wakes_workers_everywhere(net):
    """Open streams end at once, so the counter moves on every node."""
    eu, us, ap = await world(net)
    before = [node.index.urgent for node in (us, ap)]
    await eu.feed.enter(entry(home="eu", urgent=True))
    await until(lambda: us.has() and ap.has())
    assert [node.index.urgent for node in (us, ap)] > before


async def test_new_node_has_everything_when_it_starts_late(net):
    """Cold start: replay from the first message, ready when proven complete."""
    eu, us, _ = await world(net)
    for i in range(300):
        await eu.feed.enter(entry(f"s-{i}", home="eu"))
    late = net.make("us", "gw-us-2")
    assert late.feed.ready()[0] is False
    await net.start(late)
    await until(lambda: late.feed.ready()[0])
    assert late.index.entries == us.index.entries
    assert late.index.order.index("evidence") > 0


async def test_node_is_not_ready_when_an_origin_was_never_heard(net):
    """F1: a region that nobody speaks for is stale, not empty."""
    node = await net.add("eu")
    await until(lambda: node.fresh("eu"))
    ready, lines = node.feed.ready()
    assert not ready
    assert [line["state"] for line in lines] == ["fresh", "never heard", "never heard"]


async def test_full_index_raises_an_alarm_and_proves_nothing(net):
    """B7: stale for what is not covered; a live entry is never dropped."""
    eu, _, _ = await world(net)
    small = await net.add("us", "gw-us-2", index=FakeIndex(room=1))
    await until(small.fresh)
    await eu.feed.enter(entry("s-1", home="eu"))
    await eu.feed.enter(entry("s-2", home="eu"))
    await until(lambda: ("index_full", "index") in small.alarms)
    full = small.clock.boot_ns()
    await until(lambda: small.newer("ap", full))
    assert not small.newer("eu", full)


async def test_ordinary_entries_stop_when_the_stream_is_nearly_full(net):
    """Urgent events and markers go on to the last byte."""
    node = await net.add("eu")
    await until(lambda: node.fresh("eu"))
    node.feed.readers["eu"].fill = 0.95
    with pytest.raises(ControlError, match="full"):
        await node.feed.enter(entry(home="eu"))
    receipt = await node.feed.enter(entry(home="eu", urgent=True))
    assert receipt.published


async def test_feed_survives_and_proves_on_when_anything_is_thrown_at_it(net):
    """F7: garbage from strangers is counted and stops nothing."""
    eu, us, _ = await world(net)
    rng = random.Random(7)
    sample = next(iter(net.broker.stream("eu").messages.values())).payload
    for i in range(500):
        mutated = bytearray(sample)
        for _ in range(rng.randint(1, 8)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        net.broker.store("eu", f"stranger.{i:08d}", bytes(mutated))
        us.feed.reported("", bytes(mutated))
    await eu.feed.enter(entry(home="eu"))
    began = us.clock.boot_ns()
    await until(lambda: us.has() and us.newer("eu", began))
    assert us.feed.trackers["eu"].faults.total() >= 400
    assert us.feed.receipts.rejected == 500


async def test_report_is_refused_when_it_speaks_for_another_node(net):
    """An account is held to its own name; nonces prove ages."""
    eu, _, _ = await world(net)
    payload = encode_report(Report("us", "gw-us-1", "00" * 8, {"eu": 10**6}))
    eu.feed.reported("ap/gw-ap-1", payload)
    assert eu.feed.receipts.rejected == 1
    assert eu.feed.receipts.positions()["us/gw-us-1"]["eu"] < 10**6


async def test_status_shows_what_a_person_asks(net):
    """Where each origin stands, who wrote the marker, what waits."""
    eu, _, _ = await world(net)
    await eu.feed.enter(entry(home="eu"))
    status = eu.feed.status()
    assert (status["bus"], status["connected"], status["region"]) == (
        "fake",
        True,
        "eu",
    )
    line = status["origins"][0]
    assert (line["state"], line["path"], line["writer"]) == ("fresh", "live", "gw-eu-1")
    assert line["publishers"] == {eu.journal.publisher: 1}
    assert line["age_s"] < 5
    assert status["pending"] == {"count": 0, "oldest_id": None, "oldest_s": 0.0}


async def test_feed_is_refused_when_its_region_does_not_publish():
    """Its events would have no stream."""
    with pytest.raises(ConfigError, match="origins"):
        Feed(
            region="eu",
            node="gw",
            origins=("us",),
            standalone=False,
            journal=FakeJournal("gw"),
            bus=None,
            writer=FakeIndex(),
            clock=BootClock(),
            settings=SETTINGS,
            alarms=print,
        )


async def test_no_task_is_left_when_the_feed_has_stopped(net):
    """A stop leaves nothing running."""
    node = await net.add("eu")
    await net.stop(node)
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith(("feed-", "journal-"))]


async def test_receipt_of_a_pending_entry_says_so_once_it_is_published(net):
    """`GET /v1/revocations/{id}` is for whoever was answered 202."""
    eu, _, _ = await world(net)
    eu.bus.switch(up=False)
    receipt = await eu.feed.enter(entry(home="eu"))
    assert eu.feed.so_far(receipt) == receipt
    eu.bus.switch(up=True)
    await until(lambda: eu.feed.so_far(receipt).published)
    later = eu.feed.so_far(receipt)
    assert (later.seq, later.complete) == (1, True)


async def test_receipt_of_a_handed_entry_gets_its_number_from_the_home(net):
    """Its own stream has it long before; that is not what 201 means."""
    eu, us, _ = await world(net)
    us.bus.switch(up=False)
    receipt = await eu.feed.enter(entry(home="us"))
    await until(lambda: eu.feed.publisher.pending == 0)
    assert not eu.feed.so_far(receipt).published
    us.bus.switch(up=True)
    await until(lambda: eu.feed.so_far(receipt).published)
    assert eu.feed.so_far(receipt).seq == us.journal.rows[0].event.seq
