"""Fakes of the revocation feed's ports: a broker in memory, a journal, an index."""

import asyncio
import itertools
import struct
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace

from fastgate.domain.event import Event
from fastgate.domain.stream import JournalStart, Kept, Stored, StreamState
from fastgate.errors import ControlError
from fastgate.ports import BusListener


async def until(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Return once a condition holds; fail with its source line past the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.005)


class BootClock:
    """ports.Clock over the real boot clock, whose wall may be set off."""

    def __init__(self) -> None:
        self.wall_offset_s = 0.0

    def wall_s(self) -> float:
        return time.time() + self.wall_offset_s

    def boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class FakeIndex:
    """ports.RevocationWriter in a dict."""

    def __init__(self, *, room: int = 10**9) -> None:
        self.room = room
        self.entries: dict[bytes, tuple[int, int]] = {}
        self.evidence: dict[int, int] = {}
        self.urgent = 0
        self.order: list[str] = []

    def insert(self, key: bytes, cutoff: int, expiry: int) -> int:
        known = self.entries.get(key)
        if known is None and len(self.entries) >= self.room:
            return 3
        self.order.append("insert")
        before = known or (0, 0)
        self.entries[key] = (max(before[0], cutoff), max(before[1], expiry))
        return 1 if known is None else 2

    def settle(self, key: bytes, cutoff: int, expiry: int) -> bool:
        if key not in self.entries:
            return False
        if expiry:
            self.entries[key] = cutoff, expiry
        else:
            del self.entries[key]
        return True

    def insert_many(self, packed: bytes) -> int:
        records = list(struct.iter_unpack("=16sII", packed))
        return sum(self.insert(*record) != 3 for record in records)

    def records(self, cursor: int, slots: int) -> tuple[bytes, int]:
        packed = [struct.pack("=16sII", k, *at) for k, at in self.entries.items()]
        return b"".join(packed), 0

    def begin_rebuild(self, entries: int = 0) -> bool:
        return True

    def recover(self, mixed: int, seed0: int, seed1: int) -> bytes | None:
        return next((k for k in self.entries if _mix(k, seed0, seed1) == mixed), None)

    def set_evidence(self, origin: int, boot_ns: int) -> None:
        self.order.append("evidence")
        self.evidence[origin] = boot_ns

    def bump_urgent(self) -> int:
        self.urgent += 1
        return self.urgent

    def stats(self) -> dict[str, int]:
        return {"entries": len(self.entries), "applied": len(self.order)}


def _mix(key: bytes, seed0: int, seed1: int) -> int:
    low, high = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    product = (low ^ seed0) * (high ^ seed1)
    return (product ^ product >> 64) & (2**64 - 1)


@dataclass
class FakeStream:
    """One origin's stream in memory."""

    incarnation: str
    last: int = 0
    messages: dict[int, Stored] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    fill: float = 0.0


class FakeBroker:
    """The streams of all regions, and the links to them."""

    def __init__(self) -> None:
        self._made = itertools.count(1)
        self.streams: dict[str, FakeStream] = {}
        self.buses: list[FakeBus] = []

    def stream(self, origin: str) -> FakeStream:
        if origin not in self.streams:
            self.wipe(origin)
        return self.streams[origin]

    def wipe(self, origin: str) -> None:
        """Make a stream anew."""
        self.streams[origin] = FakeStream(f"made-{next(self._made)}")

    def store(
        self, origin: str, publisher: str, payload: bytes, id_: str = ""
    ) -> Stored:
        stream = self.stream(origin)
        stream.last += 1
        stored = Stored(origin, stream.last, publisher, payload)
        stream.messages[stream.last] = stored
        if id_:
            stream.ids[id_] = stream.last
        for bus in self.buses:
            bus.deliver(stored)
        return stored


class FakeBus:
    """ports.Bus of one node on a broker; every fault is a switch."""

    name = "fake"

    def __init__(self, broker: FakeBroker, region: str) -> None:
        self._broker = broker
        self._region = region
        self._listener: BusListener | None = None
        self.up = True
        self.cut: set[str] = set()
        self.drop_live = False
        self.lose_acknowledged = 0
        self.lose_answers = 0
        self.lie_empty = False
        self.hang = self.drop_urgent = False
        self.published: list[tuple[str, str]] = []
        broker.buses.append(self)

    async def start(self, listener: BusListener) -> None:
        self._listener = listener
        listener.connected(up=self.up)

    async def stop(self) -> None:
        self._listener = None

    def switch(self, *, up: bool) -> None:
        """Cut this node off, or connect it."""
        self.up = up
        if self._listener is not None:
            self._listener.connected(up=up)

    def deliver(self, stored: Stored) -> None:
        if self.up and not self.drop_live and stored.origin not in self.cut:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._live, stored)

    def _live(self, stored: Stored) -> None:
        if self._listener is not None:
            self._listener.live(stored)

    def _check(self, origin: str) -> None:
        if not self.up or origin in self.cut:
            raise ControlError("unreachable")

    async def publish(
        self, publisher: str, kind: str, message_id: str, payload: bytes, ttl_s: int
    ) -> int:
        self._check(self._region)
        assert ttl_s > 0
        while self.hang:
            await asyncio.sleep(0.005)
        stream = self._broker.stream(self._region)
        self.published.append((kind, message_id))
        if message_id in stream.ids:
            return stream.ids[message_id]
        if self.lose_acknowledged and kind != "marker":
            self.lose_acknowledged -= 1
            stream.last += 1
            return stream.last
        position = self._broker.store(
            self._region, publisher, payload, message_id
        ).position
        if self.lose_answers and kind != "marker":
            self.lose_answers -= 1
            raise ControlError("no answer")
        return position

    async def state(self, origin: str) -> StreamState:
        self._check(origin)
        stream = self._broker.stream(origin)
        first = min(stream.messages, default=stream.last + 1)
        return StreamState(stream.incarnation, stream.last, stream.fill, first)

    async def replay(
        self, origin: str, after: int, to: int
    ) -> AsyncGenerator[Stored, None]:
        messages = self._broker.stream(origin).messages
        if self.lie_empty:
            return
        for position in sorted(messages):
            self._check(origin)
            if after < position <= to:
                yield messages[position]

    async def report(self, payload: bytes) -> None:
        self._check(self._region)
        for bus in self._broker.buses:
            if bus.up and bus._listener is not None:
                bus._listener.reported("", payload)

    async def urge(self, publisher: str, payload: bytes) -> None:
        self._check(self._region)
        if self.drop_urgent:
            raise ControlError("no such path")
        for bus in self._broker.buses:
            if bus.up and self._region not in bus.cut and bus._listener is not None:
                bus._listener.urged(self._region, publisher, payload)

    async def hand(self, home: str, payload: bytes) -> bytes:
        self._check(home)
        for bus in self._broker.buses:
            if bus._region == home and bus.up and bus._listener is not None:
                try:
                    return await bus._listener.handed(payload)
                except ControlError:  # the home answered, and did not take it
                    return b'{"v":1,"t":"refused"}'
        raise ControlError("nobody of that region answers")


class FakeJournal:
    """ports.Journal in memory; `copy` restores or clones it."""

    def __init__(self, node: str, *, start: JournalStart = JournalStart.NEW) -> None:
        self._node = node
        self._start = start
        self._ids = itertools.count(1)
        self.publisher = f"{node}.journal-{id(self):x}"
        self.last = 0
        self.rows: list[Kept] = []
        self.hands: list[tuple[str, str]] = []
        self.failing = False
        self.pruned = 0
        self.saved = 0
        self.adopted: tuple[str, ...] = ()

    def copy(self) -> "FakeJournal":
        other = FakeJournal(self._node, start=JournalStart.KEPT)
        other.publisher, other.last = self.publisher, self.last
        other.rows, other.hands = list(self.rows), list(self.hands)
        other.saved, other.adopted = self.saved, self.adopted
        return other

    def _check(self) -> None:
        if self.failing:
            raise ControlError("disk full")

    async def open(self) -> JournalStart:
        return self._start

    async def close(self) -> None:
        pass

    async def append(self, event: Event) -> Kept:
        await asyncio.sleep(0)
        self._check()
        for kept in self.rows:
            if kept.event.id == event.id:
                return kept
        self.last += 1
        kept = Kept(
            len(self.rows) + 1, self.publisher, 0, replace(event, seq=self.last)
        )
        self.rows.append(kept)
        self.hands += [(event.id, home) for home in event.hand]
        return kept

    async def note_adopted(self, regions: Sequence[str]) -> None:
        self._check()
        self.adopted = tuple(regions)

    async def note_saved(self, serial: int) -> None:
        self._check()
        self.saved = serial

    async def published(self, rows: Sequence[int], position: int) -> None:
        self._check()
        for row in rows:
            self.rows[row - 1] = replace(self.rows[row - 1], position=position)

    async def handed(self, id_: str, home: str) -> None:
        self._check()
        if (id_, home) in self.hands:
            self.hands.remove((id_, home))

    async def unhanded(self) -> list[Event]:
        events = {kept.event.id: kept.event for kept in self.rows}
        return [replace(events[id_], hand=(home,)) for id_, home in self.hands]

    async def read(self, after_row: int, *, unpublished: bool = False) -> list[Kept]:
        return [
            kept
            for kept in self.rows
            if kept.row > after_row and not (unpublished and kept.position)
        ][:3]

    async def lowest(self, at_least: int, wall_s: int) -> int:
        live = (kept for kept in self.rows if kept.event.expires > wall_s)
        return min(
            (k.position for k in live if k.position >= max(1, at_least)), default=0
        )

    async def renew(self) -> str:
        self.publisher = f"{self._node}.renewed-{next(self._ids)}-{id(self):x}"
        self.last = 0
        for i, kept in enumerate(self.rows):
            if not kept.position:
                self.last += 1
                event = replace(kept.event, seq=self.last)
                self.rows[i] = replace(kept, publisher=self.publisher, event=event)
        return self.publisher

    async def prune(self, before_s: int) -> None:
        self._check()
        self.pruned = before_s
