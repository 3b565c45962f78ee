"""Lifts: what was revoked is undone by whoever may, everywhere, and nothing else is."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import SETTINGS, Net, entry, hashed, network, world
from tests.feed_fakes import until

from fastgate.domain.entry import EntryError, followed_by
from fastgate.domain.event import encode_event
from fastgate.domain.revocation import Kind
from fastgate.errors import ControlError


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def revoke(node, *args, **members) -> str:
    return (await node.feed.enter(entry(*args, **members))).id


async def test_lift_ends_a_revocation_in_every_region(net):
    """An event like any other: published, read, counted by the digest of both."""
    nodes = await world(net)
    eu = nodes[0]
    id_ = await revoke(eu, home="eu")
    await until(lambda: all(node.has() for node in nodes))
    receipt = await eu.feed.lift(id_, wait="regions")
    assert (receipt.published, receipt.complete, receipt.elsewhere) == (True, True, ())
    assert not any(node.has() for node in nodes)
    marks = {o: t.marker.marks for o, t in eu.feed.trackers.items() if t.marker}
    await until(lambda: all(n.newer("eu", eu.clock.boot_ns() - 10**9) for n in nodes))
    assert marks


async def test_lift_leaves_other_events_of_the_same_key_in_force(net):
    """The index recomputes that key from the events that remain."""
    eu, us, _ = await world(net)
    first = await revoke(eu, "u-1", Kind.SUB, home="eu", issued_before=1_000)
    await revoke(eu, "u-1", Kind.SUB, home="eu", issued_before=500)
    await until(lambda: us.has("u-1", Kind.SUB))
    assert us.index.entries[hashed("u-1", Kind.SUB)][0] == 1_000
    await eu.feed.lift(first)
    await until(lambda: us.index.entries[hashed("u-1", Kind.SUB)][0] == 500)


async def test_lift_asked_twice_is_one_event(net):
    """Its name follows from what it lifts, in every gateway of the region."""
    eu, us, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    first = await eu.feed.lift(id_)
    assert first.published
    again = await eu.feed.lift(id_)
    assert (again.id, again.published) == (first.id, True)
    other = await net.add("eu", "gw-eu-2")
    await until(other.fresh)
    assert (await other.feed.lift(id_)).id == first.id
    assert len(eu.journal.rows) == 2
    assert other.journal.rows == []
    await until(lambda: not us.has())


async def test_lift_of_another_region_is_refused_and_named(net):
    """It counts only from the origin of that id."""
    eu, us, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    await until(us.has)
    with pytest.raises(EntryError, match="is an event of eu"):
        await us.feed.lift(id_)
    assert us.has()
    assert eu.has()


async def test_lift_that_another_region_hands_over_is_not_taken(net):
    """A region cannot have its word published by the other one."""
    eu, _us, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    lift = replace(eu.journal.rows[0].event, id="l-1", lifts=id_, seq=0)
    with pytest.raises(ControlError, match="can be taken"):
        await eu.feed.handed(encode_event(lift))
    assert eu.has()


async def test_lift_of_what_nobody_knows_is_told_apart(net):
    """A wrong id changes nothing."""
    eu, _, _ = await world(net)
    assert await eu.feed.lift("0" * 24) is None


async def test_lift_tells_where_the_same_event_stays_in_force(net):
    """Of an unknown home: each region has published it as its own."""
    eu, us, ap = await world(net)
    id_ = await revoke(eu)
    await until(lambda: us.has() and ap.has())
    await until(lambda: eu.feed.enforcement.store.published(id_, "ap"))
    receipt = await eu.feed.lift(id_)
    assert receipt.elsewhere == ("ap", "us")
    assert eu.has()
    await us.feed.lift(id_)
    await ap.feed.lift(id_)
    await until(lambda: not (eu.has() or us.has() or ap.has()))


async def test_lift_survives_the_restart_of_a_node(net):
    """The journal brings the event back, the stream its lift."""
    eu, us, _ = await world(net)
    other = await net.add("eu", "gw-eu-2")
    await until(other.fresh)
    id_ = await revoke(eu, home="eu")
    await until(other.has)
    await other.feed.lift(id_)
    await until(lambda: not eu.has())
    journal = eu.journal.copy()
    await net.stop(eu)
    again = net.make("eu", "gw-eu-1", journal=journal)
    await net.start(again)
    assert again.has(), "enforced until it is known that it was lifted"
    await until(lambda: not again.has())
    assert not us.has()


async def test_lifted_session_is_not_lengthened_when_tokens_may_live_longer(net):
    """What was undone does not come back under another name."""
    eu, us, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    await eu.feed.lift(id_)
    lifetimes = replace(SETTINGS.lifetimes, max_token_s=7_200)
    eu.feed.reconfigure(replace(SETTINGS, lifetimes=lifetimes))
    await revoke(eu, "s-2", home="eu")
    await until(lambda: us.has("s-2"))
    assert not eu.has()
    assert not us.has()


async def test_lift_reaches_what_the_event_was_lengthened_to(net):
    """A longer one is the same revocation under a name that follows from the first."""
    eu, us, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    lifetimes = replace(SETTINGS.lifetimes, max_token_s=7_200)
    eu.feed.reconfigure(replace(SETTINGS, lifetimes=lifetimes))
    await until(lambda: len(eu.journal.rows) == 2)
    longer = eu.journal.rows[1].event
    assert longer.id == followed_by(id_, longer.expires)
    await eu.feed.lift(id_)
    await until(lambda: not (eu.has() or us.has()))


async def test_lift_is_refused_when_the_stream_is_nearly_full(net):
    """Room is kept for what is urgent; undoing never is."""
    eu, _, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    eu.feed.readers["eu"].fill = 0.95
    with pytest.raises(ControlError, match="nearly full"):
        await eu.feed.lift(id_)
    assert eu.has()


async def test_lift_is_journalled_before_it_counts(net):
    """F13: what could not be stored was not lifted."""
    eu, _, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    eu.journal.failing = True
    with pytest.raises(ControlError):
        await eu.feed.lift(id_)
    assert eu.has()
    eu.journal.failing = False
    await eu.feed.lift(id_)
    assert not eu.has()


async def test_digests_of_two_nodes_are_equal_as_of_the_same_marks(net):
    """What `feed verify` compares; events, lifts and all publishers."""
    eu, us, _ = await world(net)
    id_ = await revoke(eu, home="eu")
    await revoke(us, "s-2", home="us")
    await eu.feed.lift(id_)
    await until(lambda: us.feed.trackers["eu"].publishers() and not us.has())
    said = eu.feed.digests(None, None)
    marks = {
        f"{origin}/{publisher}": line["last"]
        for origin, publishers in said["origins"].items()
        for publisher, line in publishers.items()
    }
    assert sorted(filter(None, marks.values())) == [1, 2]
    there = us.feed.digests(said["wall"], marks)
    assert there["origins"] == said["origins"]
    assert us.feed.digests(said["wall"], {})["origins"] == {
        "eu": {},
        "us": {},
        "ap": {},
    }


async def test_node_that_lacks_an_origin_still_refuses_what_was_lifted(net):
    """What else revokes that key is not known yet; and it says that it is not ready."""
    eu, us, _ = await world(net)
    receipt = await eu.feed.enter(entry("s-1", home="eu"))
    await until(lambda: us.has("s-1"))
    await eu.feed.lift(receipt.id)
    await until(lambda: not us.has("s-1"))
    late = net.make("us", "gw-us-2")
    late.bus.cut.add("ap")
    await net.start(late)
    await until(lambda: late.fresh("eu", "us"))
    assert late.has("s-1")
    assert not late.feed.ready()[0]
    late.bus.cut.clear()
    await until(lambda: late.feed.ready()[0])
    assert not late.has("s-1")
