"""Revocation index: the buffers that it is given, held, freed and touched."""

import gc
import mmap
import os
import struct
import sys

import pytest
from tests.ext.index_memory import (
    LATER_S,
    NOW_S,
    ask,
    buffers_of,
    copy_of,
    filled,
    finish,
    key_of,
    writer_in_a_cycle,
    writer_of,
)

from fastgate._ext import revocations
from fastgate._ext.revocations import ALWAYS, CLEAR, REVOKED


def test_worker_announces_the_generation_it_reads():
    """The page of slots tells who still reads the idle arena."""
    buffers = buffers_of(100)
    writer = filled(buffers, 10)
    readers = [revocations.RevocationReader(*buffers, slot) for slot in (0, 255)]
    assert not writer.idle_in_use()
    for reader in readers:
        ask(reader, key_of(1))
    assert struct.unpack_from("=Q", buffers[3], 255 * 64)[0] == readers[0].generation()
    assert not writer.idle_in_use()
    writer.begin_rebuild()
    finish(writer)
    assert writer.idle_in_use()
    ask(readers[0], key_of(1))
    assert writer.idle_in_use()
    ask(readers[1], key_of(1))
    assert not writer.idle_in_use()


@pytest.mark.parametrize("announced", [0, 1, 2**64 - 1])
def test_idle_arena_is_freed_though_a_worker_never_moves_on(announced):
    """A dead worker, or one that lies, delays it by a bounded number of calls."""
    buffers = buffers_of(100)
    freed = []

    def free(which, start, length):
        freed.append((which, start, length))
        buffers[1 + which][start : start + length] = bytes(length)

    writer = filled(buffers, 10, free=free)
    struct.pack_into("=Q", buffers[3], 64 * 9, announced)
    writer.begin_rebuild()
    finish(writer)
    freed.clear()
    calls = 0
    while not freed:
        writer.maintain(NOW_S)
        calls += 1
    assert calls == (1 if announced == 0 else 64)
    idle = 1 - writer.stats()["generation"] % 2
    assert freed == [(idle, 0, len(buffers[1]))]
    assert not any(buffers[1 + idle])


def test_large_arena_is_freed_from_its_end_in_parts():
    """The header goes last, so that a part that is left is known to be dirty."""
    arena_bytes, control_bytes = revocations.layout(2_000_000)
    buffers = [
        mmap.mmap(-1, size)
        for size in (control_bytes, arena_bytes, arena_bytes, revocations.SLOTS_BYTES)
    ]
    parts = []
    writer = writer_of(buffers, free=lambda *part: parts.append(part))
    parts.clear()
    writer.begin_rebuild()
    finish(writer)
    while not parts or parts[-1][1]:
        writer.maintain(NOW_S)
    assert len(parts) > 3
    end = arena_bytes
    for _, start, length in parts:
        assert start + length == end
        assert 0 < length <= 16 << 20
        end = start
    assert end == 0


@pytest.mark.parametrize("fault", [OSError(28, "no space"), None])
def test_arena_is_wiped_by_hand_where_it_cannot_be_freed(fault):
    """A hole that was not punched costs memory, and leaves no old entry behind."""
    buffers = buffers_of(100)

    def free(which, start, length):
        if fault is not None:
            raise fault

    writer = filled(buffers, 60, free=free)
    reader = revocations.RevocationReader(*buffers[:3])
    writer.begin_rebuild()
    finish(writer)
    for number in range(60):  # the idle arena still has them
        writer.remove(key_of(number))
    writer.begin_rebuild()
    finish(writer)
    assert writer.stats()["used"] == 0
    assert all(ask(reader, key_of(number)) == CLEAR for number in range(60))


def test_fault_in_free_reaches_the_caller_and_the_index_serves_on():
    """An error that is not the system's is the caller's bug; nothing is lost by it."""
    buffers = buffers_of(100)
    broken = []

    def free(which, start, length):
        if broken:
            raise KeyError(which)
        buffers[1 + which][start : start + length] = bytes(length)

    writer = filled(buffers, 60, free=free)
    writer.begin_rebuild()
    finish(writer)
    broken.append(True)
    with pytest.raises(KeyError):
        writer.begin_rebuild()
    broken.clear()
    reader = revocations.RevocationReader(*buffers[:3])
    writer.begin_rebuild()
    finish(writer)
    assert all(ask(reader, key_of(number)) == REVOKED for number in range(60))


def test_buffers_that_do_not_fit_are_refused():
    """Too small, read-only, not aligned, no buffer, no such slot."""
    buffers = buffers_of(100)
    for index in range(4):
        small = [*buffers]
        small[index] = bytearray(8)
        with pytest.raises(ValueError, match="smaller than its layout"):
            writer_of(small)
    for index in range(3):
        frozen = [*buffers]
        frozen[index] = bytes(buffers[index])
        with pytest.raises(BufferError):
            writer_of(frozen)
        odd = [*buffers]
        odd[index] = memoryview(bytearray(len(buffers[index]) + 8))[1:]
        with pytest.raises(ValueError, match="not aligned"):
            writer_of(odd)
    with pytest.raises(TypeError):
        revocations.RevocationReader(buffers[0], buffers[1], None)
    with pytest.raises(BufferError):
        revocations.RevocationReader(*buffers[:3], bytes(buffers[3]), 0)
    for slot in (-1, 256):
        with pytest.raises(ValueError, match="slot out of range"):
            revocations.RevocationReader(*buffers, slot)
    for origins in (0, 65):
        with pytest.raises(ValueError, match="origins out of range"):
            writer_of(buffers_of(1), origins=origins)


def test_buffers_are_held_while_in_use_and_released_after():
    """No buffer can be resized under a look-up, and none is kept for ever."""
    buffers = buffers_of(100)
    counts = [sys.getrefcount(buffer) for buffer in buffers]
    writer = writer_in_a_cycle(buffers)
    reader = revocations.RevocationReader(*buffers, 0)
    for index in range(4):
        with pytest.raises(BufferError):
            buffers[index].append(0)
    assert ask(reader, key_of(1)) != CLEAR
    del writer, reader
    gc.collect()
    assert [sys.getrefcount(buffer) for buffer in buffers] == counts
    for index in range(4):
        buffers[index].append(0)


def test_checks_leave_reference_counts_alone():
    """A check makes no object that stays."""
    buffers = buffers_of(100)
    writer = filled(buffers, 10)
    reader = revocations.RevocationReader(*buffers, 0)
    keys = b"".join(key_of(100 + n) for n in range(7))
    before = sys.getrefcount(keys), sys.getrefcount(reader), sys.getrefcount(buffers[1])
    for _ in range(100):
        ask(reader, keys)
        writer.insert(keys[:16], ALWAYS, LATER_S)
        reader.find(keys[:16])
    after = sys.getrefcount(keys), sys.getrefcount(reader), sys.getrefcount(buffers[1])
    assert after == before


def test_reader_works_on_memory_mapped_for_reading_only():
    """A worker gets descriptors that cannot be mapped for writing (H1, H2)."""
    sizes = [len(buffer) for buffer in buffers_of(100)]
    memory = [os.memfd_create("index") for _ in sizes]
    try:
        for descriptor, size in zip(memory, sizes, strict=True):
            os.ftruncate(descriptor, size)
        maps = [mmap.mmap(d, s) for d, s in zip(memory, sizes, strict=True)]
        writer = filled(maps, 9)
        views = []
        for descriptor, size in zip(memory[:3], sizes, strict=False):
            readable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
            views.append(mmap.mmap(readable, size, prot=mmap.PROT_READ))
            os.close(readable)
        reader = revocations.RevocationReader(*views)
        assert ask(reader, key_of(1)) == REVOKED
        assert ask(reader, key_of(9)) == CLEAR
        writer.insert(key_of(9), ALWAYS, LATER_S)
        assert ask(reader, key_of(9)) == REVOKED
        with pytest.raises(BufferError):
            writer_of([*views, bytes(sizes[3])])
    finally:
        for descriptor in memory:
            os.close(descriptor)


@pytest.mark.parametrize(("count", "limit"), [(0, 48 << 10), (1000, 80 << 10)])
def test_large_index_touches_only_what_it_uses(count, limit):
    """Room for 16 million costs nothing until it is used, also after a rebuild."""
    arena_bytes, control_bytes = revocations.layout(16_000_000)
    sizes = (control_bytes, arena_bytes, arena_bytes, revocations.SLOTS_BYTES)
    memory = [os.memfd_create("index") for _ in sizes]
    try:
        for descriptor, size in zip(memory, sizes, strict=True):
            os.ftruncate(descriptor, size)
        maps = [mmap.mmap(d, s) for d, s in zip(memory, sizes, strict=True)]
        writer = filled(
            maps,
            count,
            free=lambda which, *part: maps[1 + which].madvise(mmap.MADV_REMOVE, *part),
        )
        for rebuild in (False, True):
            if rebuild:
                writer.begin_rebuild()
                finish(writer)
            for _ in range(200):
                writer.maintain(NOW_S)
            touched = sum(os.fstat(descriptor).st_blocks * 512 for descriptor in memory)
            assert touched <= limit
    finally:
        for descriptor in memory:
            os.close(descriptor)


def test_copies_of_the_memory_are_independent():
    """Nothing in the segments is an address: a copy elsewhere answers the same."""
    buffers = buffers_of(100)
    writer = filled(buffers, 20)
    twin = revocations.RevocationReader(*copy_of(buffers)[:3])
    writer.insert(key_of(99), ALWAYS, LATER_S)
    assert ask(twin, key_of(19)) == REVOKED
    assert ask(twin, key_of(99)) == CLEAR
