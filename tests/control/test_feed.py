"""The feed of several nodes on one broker, with every fault that a bus may have."""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import HASH_KEY, ISSUER, SETTINGS, Net, entry, network
from tests.feed_fakes import BootClock, FakeIndex, FakeJournal, until

from fastgate.control.feed import Feed
from fastgate.domain.entry import EntryError
from fastgate.domain.frame import FaultKind
from fastgate.domain.marker import Report, encode_report
from fastgate.domain.revocation import EVERYTHING, Kind
from fastgate.domain.stream import JournalStart
from fastgate.errors import ConfigError, ControlError


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def world(net: Net) -> tuple:
    nodes = [await net.add(region) for region in ("eu", "us", "ap")]
    await until(lambda: all(node.fresh() for node in nodes))
    return tuple(nodes)


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


async def test_event_is_handed_to_its_home_when_entered_elsewhere(net):
    """Enforced at once where it is entered; published by the home under its own id."""
    eu, us, ap = await world(net)
    receipt = await eu.feed.enter(entry(home="us"), wait="regions")
    assert (receipt.origin, receipt.published, receipt.complete) == ("us", True, True)
    assert receipt.seq == 1
    assert all(node.has() for node in (eu, us, ap))
    assert us.journal.rows[0].event.id == receipt.id
    assert us.journal.rows[0].event.expires == eu.journal.rows[0].event.expires
    await until(lambda: eu.journal.hands == [])


async def test_entry_is_pending_and_enforced_when_its_home_is_cut_off(net):
    """B9: the receipt is not complete before the home has published."""
    eu, us, ap = await world(net)
    us.bus.switch(up=False)
    receipt = await eu.feed.enter(entry(home="us"))
    assert (receipt.published, receipt.complete, receipt.seq) == (False, False, None)
    # `handed`: enforced wherever the entry region's stream is seen.
    await until(ap.has)
    assert eu.has()
    assert not us.has()
    us.bus.switch(up=True)
    await until(us.has)
    await until(lambda: eu.feed.status()["pending"]["count"] == 0)
    assert [kept.event.origin for kept in us.journal.rows] == ["us"]


async def test_handover_is_resumed_from_the_journal_when_the_node_restarts(net):
    """A restart between entry and delivery loses nothing."""
    eu, us, _ = await world(net)
    us.bus.switch(up=False)
    await eu.feed.enter(entry(home="us"))
    await net.stop(eu)
    again = net.make("eu", journal=eu.journal.copy())
    await net.start(again)
    assert again.has()
    us.bus.switch(up=True)
    await until(us.has)
    await until(lambda: us.journal.rows)
    await until(lambda: again.journal.hands == [])


async def test_another_gateway_delivers_when_the_entering_one_died(net, monkeypatch):
    """The sender's death loses nothing: the entry region's stream has the event."""
    monkeypatch.setattr("fastgate.control.handover._GRACE_NS", 10**8)
    eu, us, _ = await world(net)
    second = await net.add("eu", "gw-eu-2")
    await until(second.fresh)
    us.bus.switch(up=False)
    await eu.feed.enter(entry(home="us"))
    await until(second.has)
    await net.stop(eu)
    us.bus.switch(up=True)
    await until(lambda: us.journal.rows)


async def test_home_takes_an_event_once_when_it_is_handed_again(net):
    """Retries of a lost answer must not become two events."""
    eu, us, _ = await world(net)
    await eu.feed.enter(entry(home="us"))
    kept = eu.journal.rows[0].event
    for _ in range(3):
        hand = eu.feed.handover
        hand._seen.clear()
        hand.offer(kept, "us")
    await until(lambda: eu.feed.handover.pending == 0)
    assert len(us.journal.rows) == 1


async def test_event_goes_to_every_origin_when_its_home_is_unknown(net):
    """Published when all have it."""
    eu, us, ap = await world(net)
    ap.bus.switch(up=False)
    receipt = await eu.feed.enter(entry())
    assert not receipt.published
    ap.bus.switch(up=True)
    await until(lambda: us.journal.rows and ap.journal.rows)
    receipt = await eu.feed.enter(entry("s-2"))
    assert receipt.published
    for node, origin in ((eu, "eu"), (us, "us"), (ap, "ap")):
        assert node.journal.rows[-1].event.origin == origin


async def test_kind_for_everybody_goes_to_the_issuers_home(net):
    """Clients, keys and issuers belong to the issuer, whoever's token it is."""
    settings = replace(SETTINGS, issuer_homes={ISSUER: "ap"})
    eu = await net.add("eu", settings=settings)
    ap = await net.add("ap")
    receipt = await eu.feed.enter(entry("app", Kind.CLIENT, home="eu"))
    assert (receipt.origin, receipt.published) == ("ap", True)
    assert ap.has("app", Kind.CLIENT)


async def test_entry_is_refused_when_its_home_is_no_origin(net):
    """The set of regions is closed."""
    node = await net.add("eu")
    with pytest.raises(EntryError, match="home"):
        await node.feed.enter(entry(home="mars"))


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


async def test_origin_clock_that_is_off_is_an_alarm_and_changes_no_proof(net):
    """F8: a wrong wall clock is reported; ages do not use it."""
    eu, us, _ = await world(net)
    eu.clock.wall_offset_s = 30.0
    await until(lambda: ("clock", "eu") in us.alarms)
    began = us.clock.boot_ns()
    await until(lambda: us.newer("eu", began))


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
    assert us.feed.rejected == 500


async def test_report_is_refused_when_it_speaks_for_another_node(net):
    """An account is held to its own name; nonces prove ages."""
    eu, _, _ = await world(net)
    payload = encode_report(Report("us", "gw-us-1", "00" * 8, {"eu": 10**6}))
    eu.feed.reported("ap/gw-ap-1", payload)
    assert eu.feed.rejected == 1
    assert eu.feed.receipts.positions()["us/gw-us-1"]["eu"] < 10**6


async def test_hostile_hand_is_refused_and_changes_nothing(net):
    """B10: what is handed over is read as strictly as anything else."""
    node = await net.add("us")
    for payload in (b"", b"{}", b'{"v":1,"t":"event"}', b"\xff" * 10_000):
        with pytest.raises(ControlError):
            await node.feed.handed(payload)
    assert node.index.entries == {}
    assert node.journal.rows == []


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
