"""The feed of several nodes: what buses, journals and clocks do wrong."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import HASH_KEY, SETTINGS, Net, entry, network, world
from tests.feed_fakes import FakeJournal, until

from fastgate.domain.frame import FaultKind
from fastgate.domain.stream import JournalStart


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def test_event_is_sent_once_when_its_answer_was_lost(net):
    """Killed or cut between stream and answer: the same message name again."""
    eu, us, _ = await world(net)
    eu.bus.lose_answers = 1
    receipt = await eu.feed.enter(entry(home="eu"))
    assert receipt.published
    await until(us.has)
    frames = [id_ for kind, id_ in eu.bus.published if kind == "sid"]
    assert len(set(frames)) == 1


async def test_event_is_published_again_when_the_bus_lost_what_it_acknowledged(net):
    """Buses lose acknowledged messages; the publisher sees what is not there."""
    eu, us, ap = await world(net)
    eu.bus.lose_acknowledged = 1
    receipt = await eu.feed.enter(entry(home="eu"))
    assert receipt.published
    await until(lambda: us.has() and ap.has())
    began = eu.clock.boot_ns()
    await until(lambda: us.newer("eu", began))


async def test_nobody_is_fresh_while_an_acknowledged_event_is_lost(net):
    """Between loss and repair the digest differs, so no marker proves anything."""
    _, us, _ = await world(net)
    other = await net.add("eu", "gw-eu-2")
    await until(other.fresh)
    # The second gateway publishes; the first, which writes the markers, cannot know.
    other.bus.lose_acknowledged = 1_000
    await other.feed.enter(entry(home="eu"))
    await until(lambda: other.feed.trackers["eu"].gaps)
    assert not us.has()
    other.bus.lose_acknowledged = 0
    await until(us.has)


async def test_node_starts_and_heals_when_the_bus_is_down_at_start(net):
    """F1: it serves, is not ready, says so, and needs no restart."""
    us, ap = await net.add("us"), await net.add("ap")
    eu = net.make("eu")
    eu.bus.up = False
    await net.start(eu)
    assert ("bus", "bus") in eu.alarms
    assert not eu.feed.ready()[0]
    eu.bus.switch(up=True)
    await until(lambda: all(node.fresh() for node in (eu, us, ap)))
    await until(lambda: eu.alarms == set())


async def test_evidence_stops_when_the_link_to_an_origin_is_cut_and_heals(net):
    """F3, F4: only the view of that origin grows old."""
    eu, us, ap = await world(net)
    us.bus.cut.add("eu")
    await eu.feed.enter(entry(home="eu"))
    stopped = us.index.evidence[0]
    began = us.clock.boot_ns()
    await until(lambda: us.newer("ap", began) and ap.newer("eu", began))
    assert us.index.evidence[0] - stopped < 10**9
    assert not us.has()
    us.bus.cut.clear()
    await until(us.has)
    healed = us.clock.boot_ns()
    await until(lambda: us.newer("eu", healed))


async def test_isolated_node_proves_nothing_about_its_own_region(net):
    """Its own markers are not acknowledged, so its own users go stale there too."""
    eu, _, _ = await world(net)
    eu.bus.switch(up=False)
    stopped = dict(eu.index.evidence)
    await eu.feed.enter(entry(home="eu"))
    await until(lambda: ("publish", "bus") in eu.alarms)
    assert eu.index.evidence == stopped


async def test_live_path_that_says_nothing_is_replaced_by_reading(net):
    """A subscription that silently died is found by the absence of markers."""
    eu, us, _ = await world(net)
    us.bus.drop_live = True
    await eu.feed.enter(entry(home="eu"))
    began = us.clock.boot_ns()
    await until(lambda: us.has() and us.newer("eu", began))
    assert us.feed.status()["origins"][0]["replays"] > 1


async def test_view_grows_old_when_the_bus_answers_ok_but_empty(net):
    """F5: an empty answer is no proof."""
    eu, us, _ = await world(net)
    us.bus.drop_live, us.bus.lie_empty = True, True
    await eu.feed.enter(entry(home="eu"))
    replays = us.feed.readers["eu"].replays
    stopped = us.index.evidence[0]
    await until(lambda: us.feed.readers["eu"].replays > replays)
    assert us.index.evidence[0] - stopped < 10**9
    us.bus.drop_live, us.bus.lie_empty = False, False
    await until(us.has)


async def test_stream_made_anew_is_filled_again_and_healed(net):
    """F5: publishers put back what lives; nobody forgets anything meanwhile."""
    eu, us, _ = await world(net)
    await eu.feed.enter(entry(home="eu"))
    await until(us.has)
    net.broker.wipe("eu")
    began = us.clock.boot_ns()
    late = await net.add("us", "gw-us-2")
    await until(late.has)
    await until(lambda: us.newer("eu", began) and late.newer("eu", began))


async def test_next_gateway_writes_markers_when_the_first_dies(net):
    """A node that is gone does not make its region stale."""
    eu, us, _ = await world(net)
    second = await net.add("eu", "gw-eu-2")
    await until(second.fresh)
    await net.stop(eu)
    began = us.clock.boot_ns()
    await until(lambda: us.newer("eu", began + 3 * 10**9))
    assert us.feed.trackers["eu"].marker.writer == "gw-eu-2"


async def test_restarted_node_continues_its_numbers(net):
    """The id belongs to the journal, and so do the numbers."""
    eu, us, _ = await world(net)
    await eu.feed.enter(entry("s-1", home="eu"))
    await net.stop(eu)
    again = await net.start(net.make("eu", journal=eu.journal.copy()))
    receipt = await again.feed.enter(entry("s-2", home="eu"), wait="regions")
    assert (receipt.seq, receipt.complete) == (2, True)
    assert again.feed.publisher.name == eu.feed.publisher.name
    assert us.has("s-2")


async def test_restored_journal_takes_a_new_publisher_id(net):
    """A journal that the stream contradicts never continues an old id."""
    eu, us, _ = await world(net)
    await eu.feed.enter(entry("s-1", home="eu"))
    old = eu.journal.copy()
    await eu.feed.enter(entry("s-2", home="eu"))
    await net.stop(eu)
    restored = await net.start(net.make("eu", journal=old))
    receipt = await restored.feed.enter(entry("s-3", home="eu"), wait="regions")
    assert (receipt.complete, receipt.seq) == (True, 1)
    await until(lambda: ("journal_contradicted", "journal") in restored.alarms)
    assert restored.journal.publisher != eu.journal.publisher
    assert all(us.has(f"s-{i}") for i in (1, 2, 3))


async def test_cloned_journal_takes_a_new_publisher_id_while_both_run(net):
    """Two nodes with one id would answer for each other's events."""
    eu, us, _ = await world(net)
    await eu.feed.enter(entry("s-1", home="eu"))
    clone = net.make("eu", journal=eu.journal.copy())
    await net.start(clone)
    await until(clone.fresh)
    await asyncio.gather(
        eu.feed.enter(entry("s-2", home="eu")),
        clone.feed.enter(entry("s-3", home="eu")),
    )
    await until(lambda: us.has("s-2") and us.has("s-3"))
    await until(lambda: eu.journal.publisher != clone.journal.publisher)


async def test_unreadable_journal_raises_an_alarm(net):
    """A lost journal is not silent."""
    node = await net.add(
        "eu", journal=FakeJournal("gw-eu-1", start=JournalStart.REPLACED)
    )
    assert ("journal_replaced", "journal") in node.alarms


async def test_unequal_hash_keys_prove_nothing(net):
    """A node that cannot look up an event must not look fresh."""
    eu, us, _ = await world(net)
    other = await net.add(
        "ap", "gw-ap-2", settings=replace(SETTINGS, hash_key=b"x" * 32)
    )
    await eu.feed.enter(entry(home="eu"))
    tracker = other.feed.trackers["eu"]
    await until(lambda: tracker.faults[FaultKind.KEY])
    assert not other.newer("eu", us.clock.boot_ns())
    both = replace(SETTINGS, hash_key=b"x" * 32, old_hash_keys=(HASH_KEY,))
    rotating = await net.add("ap", "gw-ap-3", settings=both)
    await until(lambda: rotating.fresh("eu"))
    assert rotating.has()


async def test_origin_clock_that_is_off_is_an_alarm_and_changes_no_proof(net):
    """F8: a wrong wall clock is reported; ages do not use it."""
    eu, us, _ = await world(net)
    eu.clock.wall_offset_s = 30.0
    await until(lambda: ("clock", "eu") in us.alarms)
    began = us.clock.boot_ns()
    await until(lambda: us.newer("eu", began))
