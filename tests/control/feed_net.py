"""A small world of nodes on one broker, for the feed's tests."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from tests.feed_fakes import (
    BootClock,
    FakeBroker,
    FakeBus,
    FakeIndex,
    FakeJournal,
    until,
)

from fastgate.control.feed import Feed
from fastgate.control.feed_settings import FeedSettings
from fastgate.domain.entry import Entry, Lifetimes
from fastgate.domain.revocation import KeyHasher, Kind

HASH_KEY = b"h" * 32
ISSUER = "https://id.example"
SETTINGS = FeedSettings(
    lifetimes=Lifetimes(max_token_s=3_600, max_session_s=43_200, leeway_s=30),
    default_origin="eu",
    hash_key=HASH_KEY,
    publish_wait_s=0.5,
    regions_wait_s=3.0,
    tick_s=0.05,
)


def entry(value: str = "s-1", kind: Kind = Kind.SID, **members: object) -> Entry:
    return Entry(kind=kind, issuer=ISSUER, issuer_alias="login", value=value, **members)


def hashed(value: str = "s-1", kind: Kind = Kind.SID) -> bytes:
    return KeyHasher(HASH_KEY, ISSUER).key(kind, value)


@dataclass
class Node:
    """One gateway's feed and everything it stands on."""

    feed: Feed
    bus: FakeBus
    index: FakeIndex
    journal: FakeJournal
    clock: BootClock
    alarms: set[tuple[str, str]]

    def has(self, value: str = "s-1", kind: Kind = Kind.SID) -> bool:
        return hashed(value, kind) in self.index.entries

    def fresh(self, *origins: str) -> bool:
        wanted = [self.feed.origins.index(o) for o in origins or self.feed.origins]
        return all(self.index.evidence.get(i) for i in wanted)

    def newer(self, origin: str, than_ns: int) -> bool:
        return self.index.evidence.get(self.feed.origins.index(origin), 0) > than_ns


class Net:
    """Starts nodes and stops whatever it started."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self.broker = FakeBroker()
        self._stack = stack

    def make(
        self,
        region: str,
        name: str = "",
        *,
        journal: FakeJournal | None = None,
        settings: FeedSettings = SETTINGS,
        index: FakeIndex | None = None,
        **parts: object,
    ) -> Node:
        name = name or f"gw-{region}-1"
        bus, index = FakeBus(self.broker, region), index or FakeIndex()
        clock, alarms = BootClock(), set()
        journal = journal or FakeJournal(name)

        def alarm(alarm_name: str, dependency: str, on: bool) -> None:
            assert on is ((alarm_name, dependency) not in alarms)
            alarms.symmetric_difference_update({(alarm_name, dependency)})

        feed = Feed(
            region=region,
            node=name,
            origins=("eu", "us", "ap"),
            standalone=False,
            journal=journal,
            bus=bus,
            writer=index,
            clock=clock,
            settings=settings,
            alarms=alarm,
            **parts,
        )
        return Node(feed, bus, index, journal, clock, alarms)

    async def start(self, node: Node) -> Node:
        await node.feed.start()
        self._stack.push_async_callback(self.stop, node)
        return node

    async def stop(self, node: Node) -> None:
        """Stop a node; a second time does nothing."""
        if node.bus in self.broker.buses:
            self.broker.buses.remove(node.bus)
            await node.feed.stop()

    async def add(self, region: str, name: str = "", **how: object) -> Node:
        return await self.start(self.make(region, name, **how))


@contextlib.asynccontextmanager
async def network() -> AsyncGenerator[Net, None]:
    async with contextlib.AsyncExitStack() as stack:
        yield Net(stack)


async def world(net: Net) -> tuple:
    """Start a gateway in each region and wait until all of them are fresh."""
    nodes = [await net.add(region) for region in ("eu", "us", "ap")]
    await until(lambda: all(node.fresh() for node in nodes))
    return tuple(nodes)
