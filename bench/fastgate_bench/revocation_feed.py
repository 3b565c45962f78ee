"""Revocation feed: batches from octets into index and event table, and from the disk.

Owns:      the frames that are applied; what an event and an entry take.
Called by: revocation.

What is measured is what the agent does with each batch, without bus and journal: it
reads the frame, puts each event into table and index, and adds it to the sums.
"""

import asyncio
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastgate.adapters.clock import SystemClock
from fastgate.adapters.snapshot_file import SnapshotFile
from fastgate.control.enforcement import Enforcement
from fastgate.control.event_batch import read_batch
from fastgate.control.feed_settings import FeedSettings
from fastgate.control.kid_renewal import KidRenewal
from fastgate.control.native import PublisherState
from fastgate.control.snapshots import Snapshots
from fastgate.control.steady import SteadyWall
from fastgate.domain.entry import Lifetimes
from fastgate.domain.event import MAGIC, MAX_EVENTS, key_id
from fastgate.domain.stream import JournalStart, Kept
from fastgate.errors import BugError
from fastgate_bench.figures import Stage
from fastgate_bench.gate_kit import Index

__all__ = ["feed_stages"]

_PUBLISHER: Final = b"gw-eu-1.0123456789abcdef"
_LIFE_S: Final = 43_200
_MOST: Final = 1_000_000
_LARGE: Final = 10_000_000


class _NoJournal:
    """The part of a journal that snapshots ask for; nothing was published here."""

    publisher = _PUBLISHER.decode()
    last = 0

    def __init__(self) -> None:
        self.saved = 0
        self.adopted: tuple[str, ...] = ()

    async def note_saved(self, serial: int) -> None:
        self.saved = serial

    async def open(self) -> JournalStart:
        return JournalStart.NEW

    async def read(self, after_row: int) -> list[Kept]:
        del after_row
        return []


def _frames(count: int) -> Iterator[bytes]:
    """Yield batches of random events, each the same size as a real one."""
    name = bytes.fromhex(key_id(b""))
    soon = int(time.time()) + 600
    for seq in range(1, count + 1, MAX_EVENTS):
        some = min(MAX_EVENTS, count + 1 - seq)
        head = struct.pack(">2sBB4sQH", MAGIC, 1, 0, name, seq, some)
        parts = [head, b"\x02eu", bytes([len(_PUBLISHER)]), _PUBLISHER]
        random = os.urandom(28 * some)
        for at in range(some):
            key = random[28 * at : 28 * at + 16]
            id_ = random[28 * at + 16 : 28 * at + 28].hex().encode()
            expires = soon + (seq + at) % _LIFE_S
            event = struct.pack(">BB16sQI", 2, 0, key, 0, expires) + b"\x18" + id_
            parts += struct.pack(">H", len(event)), event
        yield b"".join(parts)


def _enforcement(index: Index) -> Enforcement:
    clock = SystemClock()
    settings = FeedSettings(Lifetimes(3_600, _LIFE_S, 30), default_origin="eu")
    return Enforcement(
        index.writer,
        origins=("eu", "us", "ap"),
        speaks_for=(),
        settings=settings,
        kids=KidRenewal((b"",), tuple),
        steady=SteadyWall(clock),
        alarm=lambda *_: None,
    )


def feed_stages(count: int) -> list[Stage]:
    """Return the rate of applying, the bytes of an event, and the time of a restart.

    count: Events; a million at most, but from ten million on bytes and restart of ten
        million as well. Raises BugError where something that was applied is missing.
    """
    some = min(count, _MOST)
    index, enforcement, sums, rate = _applied(some)
    what = f"{some} events in batches of {MAX_EVENTS}"
    stages = [
        Stage("apply-frames", "/s", {"rate": rate}, "rate", note=f"{what}, and sums"),
        *_bytes("", index, enforcement, sums),
        asyncio.run(_restart("restore", index, enforcement, some)),
    ]
    if count < _LARGE:
        return stages
    del index, enforcement, sums
    index, enforcement, sums, _ = _applied(_LARGE)
    stages += _bytes("-10m", index, enforcement, sums)
    stages.append(asyncio.run(_restart("restore-10m", index, enforcement, _LARGE)))
    return stages


def _applied(count: int) -> tuple[Index, Enforcement, PublisherState, float]:
    """Return index, table and sums with so many events, and events applied a second."""
    index = Index(count)
    enforcement, sums = _enforcement(index), PublisherState()
    known = {key_id(b"")}
    spent_ns = 0
    for position, payload in enumerate(_frames(count), 1):
        began_ns = time.perf_counter_ns()
        frame = read_batch(payload, known)
        enforcement.apply(frame, position)
        sums.add_frame(frame)
        spent_ns += time.perf_counter_ns() - began_ns
    stats, entries = enforcement.store.stats(), index.writer.stats()
    if not stats["events"] == entries["entries"] == sums.last == count:
        raise BugError("an applied event is not there")
    # As after the next marker: what it named is not kept one by one any more.
    sums.confirm(count)
    return index, enforcement, sums, count * 1e9 / spent_ns


def _bytes(
    name: str, index: Index, enforcement: Enforcement, sums: PublisherState
) -> list[Stage]:
    stats, entries = enforcement.store.stats(), index.writer.stats()
    per_event = (stats["bytes"] + len(sums.dump()) * 4 / 3) / stats["events"]
    per_entry = entries["bytes"] / entries["entries"]
    return [
        Stage(
            f"event-bytes{name}", "B", {"mean": per_event}, "mean", note="in the agent"
        ),
        Stage(f"entry-bytes{name}", "B", {"mean": per_entry}, "mean", note="shared"),
    ]


async def _restart(
    name: str, index: Index, enforcement: Enforcement, count: int
) -> Stage:
    """Save, and load into an index and a table that are empty."""
    clock, journal = SystemClock(), _NoJournal()

    with tempfile.TemporaryDirectory(prefix="fastgate-bench-") as folder:

        def snapshots(into: Index, filled: Enforcement) -> Snapshots:
            return Snapshots(
                node="gw-eu-1",
                store=SnapshotFile(Path(folder), b""),
                journal=journal,  # type: ignore[arg-type]  # the part that is asked
                writer=into.writer,
                enforcement=filled,
                trackers={},
                clock=clock,
                every_s=60.0,
                applied_row=lambda: 0,
                alarm=lambda *_: None,
            )

        enforcement.settle()
        if not await snapshots(index, enforcement).save():
            raise BugError("the state could not be saved")
        empty = Index(count)
        other = _enforcement(empty)
        began_ns = time.perf_counter_ns()
        await snapshots(empty, other).restore()
        spent_s = (time.perf_counter_ns() - began_ns) / 1e9
    if empty.writer.stats()["entries"] != count or other.store.events != count:
        raise BugError("the saved state is not what was saved")
    note = f"{count} events and entries from a saved snapshot"
    return Stage(name, "s", {"value": spent_s}, "value", note=note)
