"""A gateway with another hash key than the others: it enters nothing, and if it did."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import (
    HASH_KEY,
    ISSUER,
    SETTINGS,
    Net,
    entry,
    network,
    world,
)
from tests.control.test_feed_base import left, sharing
from tests.feed_fakes import FakeJournal, until
from tests.shelf_fake import FakeShelf

from fastgate.adapters.snapshot_file import SnapshotFile
from fastgate.domain.event import Event, key_id
from fastgate.domain.revocation import KeyHasher, Kind
from fastgate.errors import ControlError

WRONG = b"w" * 32
UNEQUAL = replace(SETTINGS, hash_key=WRONG)


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


def under(key: bytes, value: str) -> bytes:
    return KeyHasher(key, ISSUER).key(Kind.SID, value)


async def agreed(net: Net) -> tuple:
    nodes = await world(net)
    await until(lambda: all(node.feed.keys.agreed for node in nodes))
    await until(lambda: all(sure(node) for node in nodes))
    return nodes


def sure(node) -> bool:
    marker = node.feed.trackers[node.feed.region].marker
    return marker is not None and marker.agreed


async def unequal(net: Net, ap, **how):
    """Start the gateway of ap again, with another key."""
    await net.stop(ap)
    journal = ap.journal.copy()
    node = net.make("ap", journal=journal, settings=UNEQUAL, **how)
    await net.start(node)
    await until(lambda: node.feed.keys.in_doubt)
    return node


async def test_gateway_with_another_key_enters_nothing_and_hurts_nobody(net):
    """It refuses with a reason, is not ready, and others stay fresh for its region."""
    eu, us, ap = await agreed(net)
    wrong = await unequal(net, ap)
    for refused in (
        wrong.feed.enter(entry("s-1", home="ap")),
        wrong.feed.lift("a" * 24),
    ):
        with pytest.raises(ControlError, match="hash_key"):
            await refused
    with pytest.raises(ControlError, match="hash_key"):
        await wrong.feed.handed(b"")
    assert wrong.journal.rows == ap.journal.rows
    assert not wrong.feed.ready()[0]
    await until(lambda: ("hash_key", "markers") in wrong.alarms)
    began = eu.clock.boot_ns()
    await until(lambda: eu.newer("ap", began) and us.newer("ap", began))
    await until(lambda: ("hash_key", "ap") in eu.alarms)
    receipt = await eu.feed.enter(entry("s-2", home="eu"), wait="local")
    assert receipt.published
    await net.stop(wrong)
    again = await net.start(net.make("ap", journal=wrong.journal.copy()))
    await until(again.fresh)
    await until(lambda: ("hash_key", "ap") not in eu.alarms)
    assert (await again.feed.enter(entry("s-3", home="ap"))).published


async def test_gateway_with_another_key_behind_a_cut_is_told_by_its_own_stream(net):
    """What it said before the restart contradicts it, where nobody else is heard."""
    _, _, ap = await agreed(net)
    await net.stop(ap)
    wrong = net.make("ap", journal=ap.journal.copy(), settings=UNEQUAL)
    wrong.bus.cut = {"eu", "us"}
    await net.start(wrong)
    await until(lambda: wrong.feed.keys.in_doubt)
    with pytest.raises(ControlError, match="hash_key"):
        await wrong.feed.enter(entry(home="ap"))


async def test_entry_of_before_the_doubt_is_not_published(net):
    """Nobody was told that it is, and it would be a gap for everybody."""
    eu, _, ap = await agreed(net)
    await net.stop(ap)
    wrong = net.make("ap", journal=ap.journal.copy(), settings=UNEQUAL)
    wrong.bus.up = False
    await net.start(wrong)
    receipt = await wrong.feed.enter(entry("s-1", home="ap"))
    assert not receipt.published
    wrong.bus.switch(up=True)
    await until(lambda: wrong.feed.keys.in_doubt)
    began = eu.clock.boot_ns()
    await until(lambda: eu.newer("ap", began))
    assert wrong.feed.publisher.pending == 1
    # With the right key it is still pending: nobody could look it up.
    await net.stop(wrong)
    again = await net.start(net.make("ap", journal=wrong.journal.copy()))
    await until(lambda: again.fresh("eu", "us"))
    assert ("hash_key", "journal") in again.alarms
    began = eu.clock.boot_ns()
    await until(lambda: eu.newer("ap", began))
    assert again.feed.publisher.pending == 1
    assert not eu.feed.trackers["ap"].blind
    assert not again.fresh("ap")
    assert not again.feed.ready()[0]


async def said_under(net: Net, key: bytes, *, journal: FakeJournal | None = None):
    """Have a gateway of ap alone publish under a key, before anybody else is there."""
    alone = replace(SETTINGS, hash_key=key)
    first = await net.add("ap", settings=alone, journal=journal)
    await until(lambda: first.fresh("ap"))
    receipt = await first.feed.enter(entry("s-1", home="ap"))
    assert receipt.published
    await net.stop(first)
    return first


async def test_published_gap_is_not_forgotten_when_its_publisher_is_gone(net):
    """The journal lost, the gateway back with the right key and a new name."""
    await said_under(net, WRONG)
    eu, us, ap = [await net.add(region) for region in ("eu", "us", "ap")]
    await until(lambda: all(node.fresh("eu", "us") for node in (eu, us, ap)))
    assert (await eu.feed.enter(entry("s-2", home="eu"))).published
    net.broker.wipe("ap")
    began = eu.clock.boot_ns()
    await until(lambda: all(node.newer("us", began) for node in (eu, us, ap)))
    await until(lambda: eu.feed.trackers["ap"].marker_ns > began)
    assert not any(node.fresh("ap") for node in (eu, us, ap))
    assert all(("hash_key", "ap") in node.alarms for node in (eu, us, ap))


async def test_published_gap_is_closed_by_the_key_at_every_gateway(net):
    """What an operator does: the other key beside the own one, everywhere."""
    await said_under(net, WRONG)
    both = replace(SETTINGS, old_hash_keys=(WRONG,))
    nodes = [await net.add(region, settings=both) for region in ("eu", "us", "ap")]
    await until(lambda: all(node.fresh() for node in nodes))
    assert all(under(WRONG, "s-1") in node.index.entries for node in nodes)


async def test_state_saved_under_another_key_is_no_state(net, tmp_path):
    """Its entries are looked up by nobody, so everything is read again."""
    _, _, ap = await agreed(net)
    assert (await ap.feed.enter(entry("s-1", home="ap"))).published
    await net.stop(ap)
    store = SnapshotFile(tmp_path, HASH_KEY)
    first = net.make("ap", journal=ap.journal.copy(), snapshots=store)
    await net.start(first)
    await until(first.fresh)
    assert await first.feed.snapshots.save()
    wrong = await unequal(net, first, snapshots=store)
    assert wrong.feed.snapshots.loaded == 0
    await until(lambda: wrong.feed.trackers["ap"].blind)
    assert wrong.feed.enforcement.incomplete
    assert not wrong.fresh("ap")
    await net.stop(wrong)
    again = net.make("ap", journal=wrong.journal.copy(), snapshots=store)
    await net.start(again)
    await until(again.fresh)
    assert again.has("s-1")


async def test_state_of_another_node_under_another_key_is_not_taken(net):
    """A base that is looked up by nobody would pass for a complete one."""
    shelf = FakeShelf()
    await left(net, shelf)
    node = await net.start(sharing(net, shelf, "gw-us-9", UNEQUAL))
    await until(lambda: node.feed.trackers["eu"].blind)
    assert not node.feed.base.taken_from
    assert not node.fresh("eu")


async def test_marker_during_a_walk_through_the_journal_proves_nothing(
    net, monkeypatch
):
    """The own events that are in force nowhere are not forgotten meanwhile."""
    journal = FakeJournal("gw-eu-1")
    strange = Event(
        id="a" * 24,
        origin="eu",
        at=0.0,
        kind=Kind.SID,
        key=bytes(16),
        expires=2**31,
        key_id=key_id(WRONG),
    )
    await journal.append(strange)
    eu = await net.add("eu", journal=journal)
    seen = []
    read = journal.read

    async def reading(row, **how):
        seen.append(eu.feed.enforcement.incomplete)
        return await read(row, **how)

    monkeypatch.setattr(journal, "read", reading)
    await eu.feed._house._refill()
    assert seen
    assert all(seen)
    assert eu.feed.enforcement.incomplete
