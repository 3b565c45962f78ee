"""A region that is gone for good is spoken for by another one."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import SETTINGS, Net, entry, network, world
from tests.feed_fakes import until

from fastgate.domain.entry import EntryError

SOON = replace(SETTINGS, max_staleness_s=0.5)


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def gone(net: Net):
    """Return eu, us and the id of an event of ap, which is gone with its stream."""
    eu, us, ap = [await net.add(region, settings=SOON) for region in ("eu", "us", "ap")]
    await until(lambda: all(node.fresh() for node in (eu, us, ap)))
    receipt = await ap.feed.enter(entry("s-ap", home="ap"))
    await until(lambda: eu.has("s-ap") and us.has("s-ap"))
    await net.stop(ap)
    for node in (eu, us):
        node.bus.cut.add("ap")
    line = eu.feed.status()["origins"][2]
    assert line["origin"] == "ap"
    await until(lambda: eu.feed.status()["origins"][2]["state"] == "stale")
    return eu, us, receipt.id


async def test_users_of_an_adopted_region_are_served_again(net):
    """Its evidence is that of the adopter, everywhere; the gap is named."""
    eu, us, _ = await gone(net)
    adopted = await eu.feed.adopt("ap")
    assert (adopted.region, adopted.by, adopted.events) == ("ap", "eu", 1)
    assert adopted.proven_s > 0.4
    began = us.clock.boot_ns()
    await until(lambda: us.newer("ap", began) and eu.newer("ap", began))
    assert us.feed.status()["origins"][2]["adopted_by"] == "eu"
    assert us.feed.status()["origins"][2]["state"] == "fresh"


async def test_new_node_has_the_events_of_an_adopted_region(net):
    """The adopter has published them anew; the old stream is not needed."""
    eu, _, _ = await gone(net)
    await eu.feed.adopt("ap")
    late = net.make("us", "gw-us-2", settings=SOON)
    late.bus.cut.add("ap")
    await net.start(late)
    await until(late.fresh)
    assert late.has("s-ap")
    assert late.feed.ready()[0]


async def test_adopter_takes_new_events_and_lifts_old_ones(net):
    """Whatever belonged to the region that is gone is the adopter's."""
    eu, us, id_ = await gone(net)
    await eu.feed.adopt("ap")
    await until(lambda: us.feed.adoption.speaker.get("ap") == "eu")
    receipt = await us.feed.enter(entry("s-new", home="ap"))
    assert (receipt.published, receipt.origin) == (True, "eu")
    assert eu.has("s-new")
    await eu.feed.lift(id_)
    await until(lambda: not us.has("s-ap") and not eu.has("s-ap"))


async def test_entry_that_waited_for_the_region_is_published_by_the_adopter(net):
    """202 must not last for ever."""
    eu, us, _ = await gone(net)
    receipt = await us.feed.enter(entry("s-late", home="ap"))
    own = await eu.feed.enter(entry("s-own", home="ap"))
    assert not receipt.published
    assert not own.published
    await eu.feed.adopt("ap")
    await until(lambda: us.feed.so_far(receipt).published)
    await until(lambda: eu.feed.so_far(own).published)
    assert us.feed.status()["pending"]["count"] == 0


async def test_adoption_survives_a_restart_of_the_adopter(net):
    """What an operator said once is not said again after each restart."""
    eu, us, _ = await gone(net)
    await eu.feed.adopt("ap")
    journal = eu.journal.copy()
    await net.stop(eu)
    again = net.make("eu", journal=journal, settings=SOON)
    again.bus.cut.add("ap")
    await net.start(again)
    began = us.clock.boot_ns()
    await until(lambda: us.newer("ap", began))


async def test_region_that_lives_is_not_adopted(net):
    """Two regions that speak for the same users would contradict each other."""
    eu, _, _ = await world(net)
    for region, says in (
        ("ap", "is alive"),
        ("eu", "not another"),
        ("xx", "not another"),
    ):
        with pytest.raises(EntryError, match=says):
            await eu.feed.adopt(region)
