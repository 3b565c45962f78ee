"""Shared memory: who may write what, in real forked processes."""

import contextlib
import ctypes
import errno
import mmap
import os
import pathlib
import resource
import traceback
from collections.abc import Callable, Iterator

import pytest

from fastgate.adapters.shared_memory import AGENT_CHILD, SharedMemory, worker_child
from fastgate.errors import BugError, StartError

NOBODY = 65534
PRIVATE = ("arena0", "arena1", "control", "keys", "config")
SHARED = ("slots", "counters")


def create(workers: int = 2) -> SharedMemory:
    return SharedMemory.create(
        arena_bytes=3 * mmap.PAGESIZE + 8,
        control_bytes=4096,
        slots_bytes=640,
        counters_bytes=9000,
        keys_bytes=65536,
        config_bytes=65536,
        workers=workers,
    )


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    made = create()
    yield made
    made.close()


def in_child(claim: Callable[[], None]) -> None:
    """Run `claim` in a forked child and fail with its traceback where it failed."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            claim()
            code = 0
        except BaseException:  # noqa: BLE001 - the last border of the child
            os.write(write_end, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(code)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        text = pipe.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text


def descriptors() -> dict[int, str]:
    """What this process has open, as /proc tells it."""
    found = {}
    for entry in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found[int(entry.name)] = str(entry.readlink())
    return found


def segment_descriptors(name: str = "") -> list[int]:
    """The open segments, or those whose name begins with `name`."""
    wanted = f"/memfd:fastgate-{name}"
    return [fd for fd, link in descriptors().items() if link.startswith(wanted)]


def test_segments_are_seen_by_all_children_when_the_agent_writes(memory):
    """What the agent writes, a worker that starts later reads."""
    marks = {name: name.encode() for name in PRIVATE + SHARED}

    def agent() -> None:
        views = memory.writer_view()
        for name, mark in marks.items():
            getattr(views, name)[: len(mark)] = mark

    def worker() -> None:
        views = memory.reader_view(1)
        for name, mark in marks.items():
            assert getattr(views, name)[: len(mark)] == mark

    in_child(agent)
    in_child(worker)


def test_maps_have_the_size_that_was_asked_for(memory):
    """Layouts are computed from the size, so it must not be rounded up."""

    def worker() -> None:
        views = memory.reader_view(0)
        assert len(views.arena0) == len(views.arena1) == 3 * mmap.PAGESIZE + 8
        assert (len(views.slots), len(views.counters)) == (640, 9000)

    in_child(worker)


def test_worker_cannot_write_what_is_the_agents(memory):
    """The maps refuse assignment, and mprotect cannot make them writable."""

    def worker() -> None:
        views = memory.reader_view(0)
        libc = ctypes.CDLL(None, use_errno=True)
        for name in PRIVATE:
            view = getattr(views, name)
            with pytest.raises(TypeError):
                view[0] = 1
            address = _address_of(name)
            length = ctypes.c_size_t(mmap.PAGESIZE)
            refused = libc.mprotect(
                ctypes.c_void_p(address), length, mmap.PROT_READ | mmap.PROT_WRITE
            )
            assert (refused, ctypes.get_errno()) == (-1, errno.EACCES)
        for name in SHARED:
            getattr(views, name)[0] = 1

    in_child(worker)


def _address_of(segment: str) -> int:
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        if f"memfd:fastgate-{segment} " in line:
            return int(line.partition("-")[0], 16)
    raise AssertionError(f"{segment} is not mapped")


@pytest.mark.parametrize("role", ["agent", "worker"])
def test_child_holds_no_descriptor_of_a_segment_after_its_view(memory, role):
    """Without a descriptor nothing can be mapped again or reopened through /proc."""

    def child() -> None:
        assert len(segment_descriptors()) == 9
        views = memory.writer_view() if role == "agent" else memory.reader_view(0)
        assert segment_descriptors() == []
        assert len(views.keys) == 65536

    in_child(child)


def test_descriptors_of_others_survive_when_the_maps_of_a_child_go(memory):
    """Collecting a map closes a number, which must not be a stranger's by then."""

    def child() -> None:
        views = memory.reader_view(0)
        mine = [os.open(os.devnull, os.O_RDONLY) for _ in range(40)]
        del views
        for fd in mine:
            os.fstat(fd)

    in_child(child)


def test_read_only_descriptor_refuses_a_writable_map(memory):
    """The kernel refuses to map for writing what was opened for reading."""
    (fd,) = segment_descriptors("keys")
    read_only = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(read_only, 4096, access=mmap.ACCESS_WRITE)
    finally:
        os.close(read_only)


def test_ordinary_user_gets_maps_but_reopens_nothing_for_writing():
    """As in production: one ordinary user who is not dumpable, and reopening fails."""

    def node() -> None:
        if os.geteuid() == 0:  # else we are an ordinary user already
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE, as in our children
        memory = create()
        (fd,) = segment_descriptors("keys")
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        in_child(lambda: memory.writer_view().keys.__setitem__(0, 7))
        views = memory.reader_view(0)
        assert views.keys[0] == 7
        assert segment_descriptors() == []

    in_child(node)


def test_segment_refuses_to_shrink_or_grow(memory):
    """A file cut under a map would kill its readers with SIGBUS."""
    fds = segment_descriptors()
    assert len(fds) == 9
    for fd in fds:
        for size in (0, 1 << 30):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)


def test_arena_reads_as_zero_and_costs_nothing_when_freed(memory):
    """Freeing gives the pages back and leaves no old entry to be found."""
    before = memory_in_use(memory)

    def agent() -> None:
        views = memory.writer_view(keep=True)
        views.arena0[:] = b"\xff" * len(views.arena0)
        views.arena1[:4] = b"kept"
        assert memory_in_use(memory) == before + 5 * mmap.PAGESIZE
        views.free_arena(0)
        assert memory_in_use(memory) == before + mmap.PAGESIZE
        assert not any(views.arena0[:])
        assert views.arena1[:4] == b"kept"

    in_child(agent)


@pytest.mark.skipif(
    not pathlib.Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="this kernel has no transparent huge pages",
)
def test_huge_pages_are_asked_for_what_is_read_at_random_and_nothing_else(memory):
    """Where the kernel gives them, a look-up needs no walk of page tables."""

    def worker() -> None:
        views = memory.reader_view(0)
        flags = map_flags()
        assert "hg" in flags["arena0"]
        assert "hg" in flags["arena1"]
        assert not any("hg" in flags[name] for name in ("control", "keys", "counters"))
        assert len(views.arena0)

    in_child(worker)


def map_flags() -> dict[str, list[str]]:
    """Segment to the kernel's flags of its map in this process."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("VmFlags:"):
            found[name] = line.split()[1:]
        elif "-" in line.split(" ")[0]:
            name = line.rpartition("/memfd:fastgate-")[2].removesuffix(" (deleted)")
    return found


def memory_in_use(memory: SharedMemory) -> int:
    """Bytes of memory that the segments really occupy."""
    return sum(
        os.fstat(segment.fd).st_blocks * 512 for segment in memory._segments.values()
    )


def test_memory_costs_nothing_before_it_is_used():
    """An index for many entries is sparse: only what is written takes memory."""
    memory = SharedMemory.create(
        arena_bytes=1 << 34,
        control_bytes=4096,
        slots_bytes=4096,
        counters_bytes=4096,
        keys_bytes=1 << 20,
        config_bytes=1 << 20,
        workers=64,
    )
    try:
        assert memory_in_use(memory) == 0
    finally:
        memory.close()


def test_supervisor_sees_the_last_beat_of_each_child(memory):
    """A heartbeat lands on the page of its child and nowhere else."""
    assert [memory.last_beat_ns(child) for child in range(3)] == [0, 0, 0]
    in_child(lambda: memory.writer_view().beat(11))
    in_child(lambda: memory.reader_view(1).beat(33))
    assert memory.last_beat_ns(AGENT_CHILD) == 11
    assert memory.last_beat_ns(worker_child(0)) == 0
    assert memory.last_beat_ns(worker_child(1)) == 33


def test_children_learn_that_the_node_drains_whenever_they_started(memory):
    """The mark of the supervisor reaches running children and later ones."""

    def child() -> None:
        views = memory.reader_view(0, keep=True)
        assert views.draining_since_ns() == 0
        memory.set_draining(77)
        assert views.draining_since_ns() == 77

    in_child(child)

    def successor() -> None:
        assert memory.reader_view(0).draining_since_ns() == 77

    in_child(successor)


@pytest.mark.parametrize("slot", [2, -2])
def test_view_is_refused_for_a_slot_that_does_not_exist(memory, slot):
    """A heartbeat must never land on a page that is another's."""
    with pytest.raises(BugError):
        memory.reader_view(slot)


def test_second_view_is_refused_when_descriptors_are_gone(memory):
    """A process takes one view: after that it has nothing left to map."""

    def child() -> None:
        memory.reader_view(0)
        with pytest.raises(BugError):
            memory.writer_view()

    in_child(child)


def test_memory_that_cannot_be_had_is_a_start_error():
    """The operator reads which segment failed, and nothing stays open."""

    def node() -> None:
        before = len(descriptors())
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, hard))  # room for three at most
        with pytest.raises(StartError, match="no shared memory for"):
            create()
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        assert len(descriptors()) == before

    in_child(node)
