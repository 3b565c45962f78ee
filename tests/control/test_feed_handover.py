"""The feed of several nodes: whose event it is, and how it gets home."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import ISSUER, SETTINGS, Net, entry, network, world
from tests.feed_fakes import until

from fastgate.domain.entry import EntryError
from fastgate.domain.revocation import Kind
from fastgate.errors import ControlError


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


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
        hand._published = lambda *_: None
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


async def test_hostile_hand_is_refused_and_changes_nothing(net):
    """B10: what is handed over is read as strictly as anything else."""
    node = await net.add("us")
    for payload in (b"", b"{}", b'{"v":1,"t":"event"}', b"\xff" * 10_000):
        with pytest.raises(ControlError):
            await node.feed.handed(payload)
    assert node.index.entries == {}
    assert node.journal.rows == []
