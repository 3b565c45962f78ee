"""The feed of a host by itself: the journal is the stream, and proves all origins."""

import contextlib
from dataclasses import replace

from tests.control.feed_net import ISSUER, SETTINGS, entry, hashed
from tests.feed_fakes import (
    BootClock,
    FakeBroker,
    FakeBus,
    FakeIndex,
    FakeJournal,
    until,
)

from fastgate.control.feed import Feed
from fastgate.domain.revocation import Kind


@contextlib.asynccontextmanager
async def standing(
    *,
    journal: FakeJournal | None = None,
    index: FakeIndex | None = None,
    origins=("eu", "us"),
    settings=SETTINGS,
    held=(),
):
    journal = journal or FakeJournal("gw")
    feed = Feed(
        region=origins[0],
        node="gw",
        origins=origins,
        standalone=True,
        journal=journal,
        bus=FakeBus(FakeBroker(), origins[0]),
        writer=index or FakeIndex(),
        clock=BootClock(),
        settings=settings,
        alarms=lambda *_: None,
        held_keys=lambda: held,
    )
    await feed.start()
    try:
        yield feed
    finally:
        journal.failing = False
        await feed.stop()


def told(feed: Feed, name: str) -> bool:
    return any(alarm == name for alarm, _ in feed.alarms_on)


async def test_standalone_node_stands_in_for_every_region():
    """With `local`, the journal is the stream, and it proves all origins."""
    index, journal = FakeIndex(), FakeJournal("gw")
    async with standing(index=index, journal=journal) as feed:
        receipt = await feed.enter(entry(home="us"), wait="regions")
        assert (receipt.origin, receipt.published, receipt.complete) == (
            "us",
            True,
            True,
        )
        assert list(receipt.regions) == ["eu"]
        await until(lambda: set(index.evidence) == {0, 1})
        assert feed.ready()[0]
        journal.failing = True
        await until(lambda: told(feed, "journal"))
        stopped = dict(index.evidence)
        await feed.stop()
        assert index.evidence == stopped
        assert feed.status()["promise"] == "this host only"


async def test_standalone_node_takes_kinds_for_everybody_whatever_their_home():
    """The issuer's home is a region that has no stream here: this node is all."""
    settings = replace(SETTINGS, issuer_homes={ISSUER: "us"})
    index = FakeIndex()
    async with standing(origins=("ap",), settings=settings, index=index) as feed:
        receipt = await feed.enter(entry("k-1", Kind.KID))
        assert (receipt.origin, receipt.published) == ("ap", True)
        assert hashed("k-1", Kind.KID) in index.entries


async def test_standalone_node_proves_nothing_while_an_entry_has_no_room():
    """What is not in the index must not be called covered: B7."""
    index = FakeIndex(room=1)
    async with standing(index=index) as feed:
        await feed.enter(entry("s-1"))
        await until(lambda: len(index.evidence) == 2)
        await feed.enter(entry("s-2"))
        proven = dict(index.evidence)
        pruned = feed.publisher.pruned_ns
        await until(lambda: feed.publisher.pruned_ns > pruned)
        assert index.evidence == proven
        assert told(feed, "index_full")
        index.room = 2
        await until(lambda: index.evidence != proven)
        assert hashed("s-2") in index.entries
        assert not told(feed, "index_full")


async def test_standalone_node_proves_nothing_when_its_journal_does_not_fit():
    """The same after a restart with a smaller index."""
    journal = FakeJournal("gw")
    async with standing(journal=journal) as feed:
        for name in ("s-1", "s-2"):
            await feed.enter(entry(name))
    index = FakeIndex(room=1)
    async with standing(journal=journal, index=index) as feed:
        await until(lambda: feed.publisher.pruned_ns)
        assert index.evidence == {}
        assert not feed.ready()[0]


async def test_standalone_node_proves_nothing_when_the_hash_key_is_another():
    """Entries under the old key match no token, so they are not enforced."""
    journal, index = FakeJournal("gw"), FakeIndex()
    async with standing(journal=journal) as feed:
        await feed.enter(entry("s-1"))
    other = replace(SETTINGS, hash_key=b"k" * 32)
    async with standing(journal=journal, index=index, settings=other) as feed:
        await until(lambda: feed.publisher.pruned_ns)
        assert told(feed, "hash_key")
        assert index.evidence == {}
        # Once the last token that they could touch is over, nothing is missing.
        for row, kept in enumerate(journal.rows):
            journal.rows[row] = replace(kept, event=replace(kept.event, expires=1))
        await until(lambda: len(index.evidence) == 2)
        assert not told(feed, "hash_key")


async def test_alarms_are_raised_while_the_disk_hangs(monkeypatch):
    """F13: a commit that never returns must not keep the node from telling."""
    journal = FakeJournal("gw")
    settings = replace(SETTINGS, max_staleness_s=0.2)
    async with standing(journal=journal, settings=settings) as feed:
        await until(lambda: feed.publisher.pruned_ns)

        async def hang(before_s: int) -> None:
            await until(lambda: False, within_s=60)

        monkeypatch.setattr(journal, "prune", hang)
        await until(lambda: told(feed, "revocation_stale"))


async def test_revoked_key_stays_revoked_while_its_issuer_publishes_it():
    """Renewed before the entry ends, until no token of the key can be alive."""
    journal, index, held = FakeJournal("gw"), FakeIndex(), [(ISSUER, "k-1")]
    async with standing(journal=journal) as feed:
        await feed.enter(entry("k-1", Kind.KID))
        await feed.enter(entry("k-2", Kind.KID))
        await feed.enter(entry("k-1", Kind.JTI))
    soon = int(feed.clock.wall_s()) + 60
    for row, kept in enumerate(journal.rows):
        ending = replace(kept.event, expires=soon)
        # As after twelve hours: a new start would lengthen what it gave too little.
        journal.rows[row] = replace(kept, event=replace(ending, at=ending.at - 50_000))
    async with standing(journal=journal, index=index, held=held) as feed:
        key = hashed("k-1", Kind.KID)
        await until(lambda: index.entries.get(key, (0, 0))[1] == soon + 43_200)
        assert len(journal.rows) == 4
        pruned = feed.publisher.pruned_ns
        await until(lambda: feed.publisher.pruned_ns > pruned)
        assert len(journal.rows) == 4
        assert index.entries[hashed("k-2", Kind.KID)][1] == soon
