"""A shelf in memory, and the saved states on it, for tests of the feed."""

from collections.abc import Sequence

from tests.control.feed_net import HASH_KEY, Node

from fastgate.control.frame_seal import FrameSeal
from fastgate.control.shared_snapshots import SharedSnapshots
from fastgate.errors import ControlError
from fastgate.ports import Clock

ORIGINS = ("eu", "us", "ap")
LONGEST_S = 50_000


class FakeShelf:
    """ports.Shelf of every region; every fault is a switch."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.space = 1 << 30
        self.down = False
        self.puts = 0

    def of(self, region: str) -> "RegionShelf":
        return RegionShelf(self, region)


class RegionShelf:
    """The shelf as one region writes it."""

    def __init__(self, whole: FakeShelf, region: str) -> None:
        self._whole = whole
        self._region = region

    def _check(self) -> None:
        if self._whole.down:
            raise ControlError("no answer in time")

    async def room(self) -> int:
        self._check()
        return self._whole.space

    async def put(self, name: str, data: bytes) -> None:
        self._check()
        assert len(data) <= 262_144
        self._whole.puts += 1
        self._whole.blobs[self._region, name] = data

    async def get(self, region: str, name: str) -> bytes | None:
        self._check()
        return self._whole.blobs.get((region, name))


def states(
    shelf: FakeShelf,
    clock: Clock,
    *,
    region: str = "us",
    publisher: str = "gw-us-2.journal-1",
    keys: Sequence[bytes] = (HASH_KEY,),
    seal: FrameSeal | None = None,
    max_bytes: int = 1 << 24,
) -> SharedSnapshots:
    """Return the saved states as a node of a region sees them."""
    return SharedSnapshots(
        shelf.of(region),
        region=region,
        origins=ORIGINS,
        keys=keys,
        seal=seal or FrameSeal(),
        publisher=lambda: publisher,
        clock=clock,
        longest_s=LONGEST_S,
        max_bytes=max_bytes,
    )


def sums_of(node: Node) -> dict[str, dict[str, object]]:
    """Return the digests of a node, to be compared with another one's."""
    return node.feed.digests(None, None)["origins"]
