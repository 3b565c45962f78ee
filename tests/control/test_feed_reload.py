"""The feed when its configuration changes, and when its alarms end."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import ISSUER, SETTINGS, Net, entry, hashed, network
from tests.feed_fakes import until

from fastgate.domain.revocation import Kind

LONGER = replace(
    SETTINGS, lifetimes=replace(SETTINGS.lifetimes, max_token_s=7_200, leeway_s=60)
)


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def test_live_entries_are_lengthened_everywhere_when_tokens_may_live_longer(net):
    """A token of the new length must not outlive its revocation."""
    eu, us = await net.add("eu"), await net.add("us")
    await until(lambda: us.fresh("eu"))
    await eu.feed.enter(entry("s-1", home="eu"))
    await eu.feed.enter(entry("u-1", Kind.SUB, home="eu"))
    await until(lambda: us.has("u-1", Kind.SUB))
    before = dict(us.index.entries)
    eu.feed.reconfigure(LONGER)
    for key, (cutoff, expires) in before.items():
        await until(lambda k=key, e=expires: us.index.entries[k][1] >= e + 3_629)
        assert us.index.entries[key][0] == cutoff
    await until(lambda: us.feed.trackers["eu"].marker.max_token_lifetime == 7_200)
    began = us.clock.boot_ns()
    await until(lambda: us.newer("eu", began))


async def test_live_entries_are_lengthened_once_when_the_node_starts_with_longer_lives(
    net,
):
    """The journal tells what the old configuration gave them."""
    eu = await net.add("eu")
    await eu.feed.enter(entry("s-1", home="eu"))
    expires = eu.index.entries[hashed()][1]
    await net.stop(eu)
    for _ in range(2):
        again = await net.add("eu", journal=eu.journal, settings=LONGER)
        await until(lambda a=again: a.index.entries[hashed()][1] >= expires + 3_629)
        await until(lambda: all(kept.position for kept in eu.journal.rows))
        await net.stop(again)
    assert len(eu.journal.rows) == 2


async def test_lengthening_is_tried_again_when_the_journal_fails(net):
    """A full disk at the wrong moment."""
    eu = await net.add("eu")
    await eu.feed.enter(entry("s-1", home="eu"))
    eu.journal.failing = True
    eu.feed.reconfigure(LONGER)
    await until(lambda: ("journal", "journal") in eu.alarms)
    eu.journal.failing = False
    await until(lambda: len(eu.journal.rows) == 2)


async def test_new_issuer_home_is_followed_after_a_reload(net):
    """The gate judges by it from then on, so the event must be published there."""
    eu, ap = await net.add("eu"), await net.add("ap")
    eu.feed.reconfigure(replace(SETTINGS, issuer_homes={ISSUER: "ap"}))
    receipt = await eu.feed.enter(entry("app", Kind.CLIENT))
    assert (receipt.origin, receipt.published) == ("ap", True)
    assert ap.has("app", Kind.CLIENT)


async def test_alarm_about_a_task_ends_when_it_runs_again(net, monkeypatch):
    """A fault that is over must not be shown for ever."""
    monkeypatch.setattr("fastgate.control.housekeeping._WELL_NS", 10**8)
    eu = net.make("eu")
    broken = [True]
    run = eu.feed.handover.run

    async def fail_once() -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("a fault of ours")
        await run()

    monkeypatch.setattr(eu.feed.handover, "run", fail_once)
    await net.start(eu)
    await until(lambda: ("feed_task", "handover") in eu.alarms)
    await until(lambda: ("feed_task", "handover") not in eu.alarms)


async def test_alarm_about_a_home_ends_when_nothing_waits_for_it(net):
    """Another gateway delivered it, as its stream tells."""
    eu, us = await net.add("eu"), await net.add("us")
    await until(lambda: eu.fresh("us"))
    us.bus.switch(up=False)
    await eu.feed.enter(entry(home="us"))
    await until(lambda: ("handover", "us") in eu.alarms)
    (hand,) = eu.feed.handover._waiting.values()
    hand.due_ns = 10**30
    event = replace(eu.journal.rows[0].event, origin="us", hand=(), seq=0)
    us.bus.switch(up=True)
    await us.feed.publisher.enter(event)
    await until(lambda: ("handover", "us") not in eu.alarms)


async def test_ordinary_events_are_refused_by_a_home_that_is_nearly_full(net):
    """Urgent ones and markers must still find room: REVOCATION.md section 5."""
    eu, us = await net.add("eu"), await net.add("us")
    await until(lambda: us.fresh("us"))
    net.broker.stream("us").fill = 0.95
    await until(lambda: (us.feed.readers["us"].poke(), us.feed._nearly_full())[1])
    receipt = await eu.feed.enter(entry("s-1", home="us"))
    assert not receipt.published
    assert eu.has("s-1")
    receipt = await eu.feed.enter(entry("s-2", home="us", urgent=True))
    assert receipt.published
    net.broker.stream("us").fill = 0.1
    await until(lambda: us.has("s-1"), within_s=20)
