"""Saved states of the feed: a base to catch up from, whole or not at all."""

import random
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.control.feed_net import HASH_KEY, SETTINGS, Net, Node, entry, network, world
from tests.feed_fakes import FakeJournal, until

from fastgate.adapters import snapshot_file
from fastgate.adapters.snapshot_file import SnapshotFile
from fastgate.control.origin import OriginTracker
from fastgate.control.saved_state import part, parts
from fastgate.errors import ControlError

KEPT = replace(SETTINGS, snapshot_every_s=3_600.0)


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


def saving(net: Net, folder: Path, journal: FakeJournal | None = None) -> Node:
    """Make a node of `us` that keeps its state in a folder."""
    store = SnapshotFile(folder, HASH_KEY)
    return net.make("us", "gw-us-2", journal=journal, settings=KEPT, snapshots=store)


async def saved(net: Net, folder: Path, revoked: int = 30) -> tuple[Node, FakeJournal]:
    """Return eu, and the journal of a node of `us` that has saved its state."""
    eu, _, _ = await world(net)
    node = await net.start(saving(net, folder))
    await until(node.fresh)
    ids = [(await eu.feed.enter(entry(f"s-{i}", home="eu"))).id for i in range(revoked)]
    await eu.feed.lift(ids[1])
    await until(lambda: node.has(f"s-{revoked - 1}") and not node.has("s-1"))
    assert await node.feed.snapshots.save()
    node.feed.snapshots._store = None
    await net.stop(node)
    return eu, node.journal.copy()


async def test_node_goes_on_from_what_it_saved(net, tmp_path):
    """F2: loaded at the start, not ready until caught up, read on from there."""
    eu, journal = await saved(net, tmp_path)
    late = (await eu.feed.enter(entry("later", home="eu"))).id
    node = saving(net, tmp_path, journal)
    read: list[int] = []
    replay = node.bus.replay
    node.bus.replay = lambda o, after, to: (read.append(after), replay(o, after, to))[1]
    await net.start(node)
    assert node.feed.snapshots.loaded == 30
    assert node.has("s-0")
    assert not node.has("s-1"), "the lift was saved too"
    assert not node.feed.ready()[0], "a saved state proves nothing"
    await until(node.fresh)
    assert node.has("later")
    assert min(read) > 0
    assert node.feed.trackers["eu"].gaps == 0
    await eu.feed.lift(late)
    await until(lambda: not node.has("later"))


async def test_lift_reads_events_that_only_the_snapshot_had(net, tmp_path):
    """The remaining events of a key are kept by id, also over a restart."""
    eu, _ = await saved(net, tmp_path)
    more = [await eu.feed.enter(entry("s-2", home="eu")) for _ in range(2)]
    node = await net.start(saving(net, tmp_path))
    await until(node.fresh)
    for receipt in more:
        await eu.feed.lift(receipt.id)
    await until(lambda: node.feed.trackers["eu"].position >= 33)
    assert node.has("s-2"), "the first event still revokes it"


async def test_whole_stream_is_read_when_it_was_made_anew(net, tmp_path):
    """Positions of another stream mean nothing."""
    eu, journal = await saved(net, tmp_path)
    net.broker.wipe("eu")
    await until(lambda: eu.feed.trackers["eu"].gaps > 0)
    node = await net.start(saving(net, tmp_path, journal))
    await until(node.fresh)
    assert node.has("s-0")


async def test_snapshot_is_refused_when_it_is_cut_or_changed(net, tmp_path):
    """F14: at every octet, and with any bit flipped; everything is read instead."""
    await saved(net, tmp_path, revoked=3)
    path = tmp_path / "revocations.snapshot"
    whole = path.read_bytes()
    assert await SnapshotFile(tmp_path, HASH_KEY).load() is not None
    rng = random.Random(5)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ControlError):
            await SnapshotFile(tmp_path, HASH_KEY).load()
    for _ in range(1_000):
        raw = bytearray(whole)
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(raw)
        with pytest.raises(ControlError):
            await SnapshotFile(tmp_path, HASH_KEY).load()
    path.write_bytes(whole)
    with pytest.raises(ControlError, match="hash key"):
        await SnapshotFile(tmp_path, b"another").load()


async def test_node_reads_everything_when_its_snapshot_is_damaged(net, tmp_path):
    """An alarm, no entry of it, and a full replay."""
    _, journal = await saved(net, tmp_path)
    path = tmp_path / "revocations.snapshot"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    node = saving(net, tmp_path, journal)
    await net.start(node)
    assert node.feed.snapshots.loaded == 0
    assert ("snapshot", "state_dir") in node.alarms
    await until(node.fresh)
    assert node.has("s-0")
    assert not node.has("s-1")
    assert await node.feed.snapshots.save()
    assert ("snapshot", "state_dir") not in node.alarms


async def test_nothing_is_claimed_when_records_inside_cannot_be_used(
    net, tmp_path, monkeypatch
):
    """The file is as it was written, yet wrong: no position of it may stay behind."""
    _, journal = await saved(net, tmp_path)
    store = SnapshotFile(tmp_path, HASH_KEY)
    state = await store.load()
    words = list(parts(state))

    async def spoiled() -> AsyncIterator[bytes]:
        for word, content in words:
            hurt = word == b"EVNT" and len(content) > 4
            zeros = bytes(content[:4]) + bytes(len(content) - 4)
            yield part(word, zeros if hurt else bytes(content))

    await store.save(spoiled())
    claimed: list[object] = []
    monkeypatch.setattr(OriginTracker, "restore", lambda *_: claimed.append(_))
    node = await net.start(saving(net, tmp_path, journal))
    assert node.feed.snapshots.loaded == 0
    assert claimed == []
    assert ("snapshot", "state_dir") in node.alarms
    await until(node.fresh)
    assert node.has("s-0")
    assert not node.has("s-1")


async def test_older_snapshot_is_refused_when_it_is_put_in_the_place(net, tmp_path):
    """F14: the journal knows the serial number of the last one."""
    _, journal = await saved(net, tmp_path)
    path = tmp_path / "revocations.snapshot"
    old = path.read_bytes()
    node = await net.start(saving(net, tmp_path, journal))
    await until(node.fresh)
    assert await node.feed.snapshots.save()
    journal = node.journal.copy()
    node.feed.snapshots._store = None
    await net.stop(node)
    path.write_bytes(old)
    again = await net.start(saving(net, tmp_path, journal))
    assert again.feed.snapshots.loaded == 0
    assert ("snapshot", "state_dir") in again.alarms
    await until(again.fresh)


async def test_snapshot_of_another_node_is_refused(net, tmp_path):
    """A copied state directory is no shortcut."""
    await saved(net, tmp_path)
    other = net.make("us", "gw-us-9", snapshots=SnapshotFile(tmp_path, HASH_KEY))
    await net.start(other)
    assert other.feed.snapshots.loaded == 0
    assert ("snapshot", "state_dir") in other.alarms


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("write", OSError(28, "full")),
        ("fsync", OSError(5, "EIO")),
        ("open", OSError(30, "ro")),
    ],
    ids=["disk-full", "eio", "read-only"],
)
async def test_old_snapshot_is_intact_when_the_disk_refuses(
    net, tmp_path, monkeypatch, call, fault
):
    """F13: serve on, old file intact, alarm; the next one ends the alarm."""
    eu, journal = await saved(net, tmp_path)
    path = tmp_path / "revocations.snapshot"
    old = path.read_bytes()
    node = await net.start(saving(net, tmp_path, journal))
    await until(node.fresh)

    def refuse(*_: object, **__: object) -> int:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(snapshot_file.os, call, refuse)
        assert not await node.feed.snapshots.save()
    assert ("snapshot", "state_dir") in node.alarms
    assert path.read_bytes() == old
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    await eu.feed.enter(entry("on", home="eu"))
    await until(lambda: node.has("on"))
    assert await node.feed.snapshots.save()
    assert ("snapshot", "state_dir") not in node.alarms


async def test_nothing_is_saved_before_every_origin_was_read(net, tmp_path):
    """Lifts that wait would be lost with the process."""
    await world(net)
    node = saving(net, tmp_path)
    node.bus.cut.add("ap")
    await net.start(node)
    await until(lambda: node.fresh("eu", "us"))
    await net.stop(node)
    assert list(tmp_path.iterdir()) == []


async def test_state_is_saved_when_a_node_ends(net, tmp_path):
    """The next start has less to read."""
    await world(net)
    node = await net.start(saving(net, tmp_path))
    await until(node.fresh)
    await net.stop(node)
    assert (tmp_path / "revocations.snapshot").stat().st_mode & 0o777 == 0o600
    assert node.journal.saved == 1


async def test_file_is_refused_when_it_is_of_another_version(tmp_path):
    """What a later fastgate wrote is not guessed at."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"content"

    store = SnapshotFile(tmp_path, b"")
    await store.save(parts())
    path = tmp_path / "revocations.snapshot"
    raw = bytearray(path.read_bytes())
    raw[7] = 2
    path.write_bytes(raw)
    with pytest.raises(ControlError, match="version"):
        await store.load()
