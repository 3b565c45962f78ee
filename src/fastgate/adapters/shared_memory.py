"""Shared memory: the segments of a node, and who may write which.

Owns:      the memfds of one node, from before the first fork to the supervisor's end.
Called by: wiring creates it in the supervisor; each forked child takes its view once.
           The supervisor reads heartbeats and says that the node drains.

Who may write what:
    arenas, control, keys, config, lists   the agent; workers hold read-only maps
    slots, counters                 every child, in cache lines of its own by agreement:
                                    a lying worker spoils numbers and delays the freeing
                                    of an arena, and no verdict depends on either
    board, page 0                   the supervisor: does the node drain?
    board, page 1 + child           that child alone: its heartbeat

A segment has no name in any file system. After it has taken its view, a child holds
maps and no descriptor of any segment, so it can neither map one again nor reopen one
for writing through /proc; and a map made from a read-only descriptor cannot be made
writable.
Source: memfd_create(2), mprotect(2); THREATS.md rows H1 and H2.
"""

import contextlib
import fcntl
import mmap
import os
import pathlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from fastgate.errors import BugError, StartError

__all__ = ["AGENT_CHILD", "SharedMemory", "Views", "worker_child"]

AGENT_CHILD = 0  # child number of the agent; workers follow

_PAGE = mmap.PAGESIZE
_WORD = struct.Struct("@Q")  # native: one aligned load or store, never torn
# memfd_create(2): no execution of the segment's content. Linux 6.3, refused before.
_MFD_NOEXEC_SEAL = 0x0008
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_PRIVATE = (
    "arena0",
    "arena1",
    "control",
    "keys",
    "config",
    "lists",
)  # written by the agent only
_SCATTERED = ("arena0", "arena1")


def worker_child(slot: int) -> int:
    """Return the child number of a worker slot."""
    return 1 + slot


@dataclass(frozen=True, slots=True)
class _Segment:
    fd: int
    size_bytes: int
    scattered: bool  # it is read at random

    def map(self, fd: int, *, writable: bool) -> mmap.mmap:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        view = mmap.mmap(fd, self.size_bytes, access=access)
        if self.scattered:
            # Each look-up is a page of its own. The kernel may not do it, or not for
            # shared memory: then a look-up among millions costs a walk of page tables.
            with contextlib.suppress(OSError):
                view.madvise(mmap.MADV_HUGEPAGE)
        return view


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """The maps of one process; they last as long as it does.

    arena0, arena1, control: For the revocation index. keys, config: For a
        SharedDocument each. lists: For a StatusBoard. All of these are read-only in a
        worker.
    slots, counters: Writable everywhere.
    """

    arena0: mmap.mmap
    arena1: mmap.mmap
    control: mmap.mmap
    slots: mmap.mmap
    counters: mmap.mmap
    keys: mmap.mmap
    config: mmap.mmap
    lists: mmap.mmap
    _own_page: mmap.mmap
    _supervisor_page: mmap.mmap

    def free_arena(self, index: int) -> None:
        """Give the pages of an arena back; it reads as zero afterwards, everywhere.

        index: 0 or 1. Raises OSError where this process may not write it.
        Source: madvise(2), MADV_REMOVE.
        """
        (self.arena0, self.arena1)[index].madvise(mmap.MADV_REMOVE)

    def beat(self, boot_ns: int) -> None:
        """State that this process is alive at `boot_ns`, for the supervisor.

        To be called by the task that would notice a stuck loop, several times within
        the limit of the watchdog.
        """
        _WORD.pack_into(self._own_page, 0, boot_ns)

    def draining_since_ns(self) -> int:
        """Return when the node began to drain, CLOCK_BOOTTIME ns; 0 where it does not.

        Tells a worker that was asked to stop whether the node goes away, or whether its
        own successor takes over the socket.
        """
        return int(_WORD.unpack_from(self._supervisor_page, 0)[0])


class SharedMemory:
    """Everything the supervisor creates once and keeps for its life."""

    def __init__(self, segments: dict[str, _Segment], children: int) -> None:
        self._segments = segments
        self._children = children
        self._taken = False

    @classmethod
    def create(
        cls,
        *,
        arena_bytes: int,
        control_bytes: int,
        slots_bytes: int,
        counters_bytes: int,
        keys_bytes: int,
        config_bytes: int,
        workers: int,
        lists_bytes: int = _PAGE,
    ) -> Self:
        """Create all segments: zeroed, sparse, of fixed size.

        arena_bytes: Of each of the two arenas. workers: Worker slots.
        lists_bytes: For status lists; a page where there are none.
        Raises StartError where the kernel gives no shared memory.
        """
        children = 1 + workers
        sizes = {
            "arena0": arena_bytes,
            "arena1": arena_bytes,
            "control": control_bytes,
            "slots": slots_bytes,
            "counters": counters_bytes,
            "keys": keys_bytes,
            "config": config_bytes,
            "lists": lists_bytes,
            "board": (1 + children) * _PAGE,
        }
        made: dict[str, _Segment] = {}
        try:
            for name, size_bytes in sizes.items():
                made[name] = _create_segment(name, size_bytes)
        except OSError as exc:
            for segment in made.values():
                os.close(segment.fd)
            raise StartError(
                f"no shared memory for {name} ({sizes[name]} bytes): {exc.strerror};"
                " see the memory limit of the container or service"
            ) from exc
        return cls(made, children)

    def begin(self, name: str, make: Callable[[mmap.mmap], object]) -> None:
        """Lay out a segment before the first fork, for modules that know its format.

        name: Of the segment. make: Called with a writable map, which is closed after.
        """
        segment = self._segments[name]
        view = segment.map(segment.fd, writable=True)
        try:
            make(view)
        finally:
            view.close()

    def writer_view(self, *, keep: bool = False) -> Views:
        """Map everything for the agent. Once, in the forked agent.

        keep: Leave the descriptors open, so that this process can take more views;
            only for a process that plays several roles.
        Raises StartError where /proc is not there.
        """
        return self._view(AGENT_CHILD, private=True, keep=keep)

    def reader_view(self, slot: int, *, keep: bool = False) -> Views:
        """Map everything for the worker of `slot`. Once, in the forked worker.

        keep: As for writer_view.
        Raises StartError where /proc is not there.
        """
        return self._view(worker_child(slot), private=False, keep=keep)

    def last_beat_ns(self, child: int) -> int:
        """Return what `child` last gave to `Views.beat`, 0 for never; supervisor only.

        child: AGENT_CHILD or worker_child(slot).
        """
        board = self._segments["board"].fd
        return int(_WORD.unpack(os.pread(board, _WORD.size, _beat_at(child)))[0])

    def set_draining(self, boot_ns: int) -> None:
        """Tell all children, present and future, that the node drains; supervisor only.

        boot_ns: Since when, CLOCK_BOOTTIME nanoseconds.
        """
        os.pwrite(self._segments["board"].fd, _WORD.pack(boot_ns), 0)

    def close(self) -> None:
        """Close the descriptors; maps stay. The memory goes with its last map."""
        if not self._taken:
            self._let_go()

    def _view(self, child: int, *, private: bool, keep: bool) -> Views:
        if self._taken:
            raise BugError("this process has taken its view already")
        if not 0 <= child < self._children:
            raise BugError(f"no child {child} of {self._children}")
        try:
            maps = {
                name: self._map(name, writable=private or name not in _PRIVATE)
                for name in self._segments
                if name != "board"
            }
            board = self._segments["board"].fd
            own = mmap.mmap(board, _PAGE, offset=_beat_at(child))
            supervisor = mmap.mmap(board, _PAGE, access=mmap.ACCESS_READ)
            if not keep:
                self._let_go()
        except OSError as exc:
            raise StartError(
                f"shared memory cannot be mapped: {exc.strerror}; /proc must be mounted"
            ) from exc
        return Views(**maps, _own_page=own, _supervisor_page=supervisor)

    def _map(self, name: str, *, writable: bool) -> mmap.mmap:
        segment = self._segments[name]
        if writable:
            return segment.map(segment.fd, writable=True)
        # A read-only map of a writable descriptor could be made writable by mprotect.
        fd = os.open(f"/proc/self/fd/{segment.fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return segment.map(fd, writable=False)
        finally:
            os.close(fd)

    def _let_go(self) -> None:
        """Put /dev/null in the place of every descriptor of a segment.

        The mmap module keeps a duplicate of its own for each map and closes it by
        number later: closing that here would let it close a stranger's descriptor.
        """
        self._taken = True
        ours = {_identity(segment.fd) for segment in self._segments.values()}
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            for entry in pathlib.Path("/proc/self/fd").iterdir():
                try:
                    found = _identity(int(entry.name)) in ours
                except OSError:  # the descriptor of this listing itself
                    continue
                if found:
                    os.dup2(null, int(entry.name), inheritable=False)
        finally:
            os.close(null)
        for segment in self._segments.values():
            os.close(segment.fd)


def _create_segment(name: str, size_bytes: int) -> _Segment:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create(f"fastgate-{name}", flags | _MFD_NOEXEC_SEAL)
    except OSError:  # a kernel that does not know the flag
        fd = os.memfd_create(f"fastgate-{name}", flags)
    try:
        # Only the owner, and without CAP_DAC_OVERRIDE not even he, reopens it to write.
        os.fchmod(fd, 0o400)
        os.ftruncate(fd, -(-size_bytes // _PAGE) * _PAGE)
        # Nobody can cut a file under a map: reading there would be SIGBUS.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return _Segment(fd, size_bytes, name in _SCATTERED)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _beat_at(child: int) -> int:
    return (1 + child) * _PAGE
