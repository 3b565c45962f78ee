"""The revocation index when its writer, or its reader, stops at any instruction.

A traced child makes one call, one instruction at a time. Memory then is what it would
be if the child were killed there: the parent reads it, and lets a successor take over.
"""

import ctypes
import mmap
import os
import signal
import struct
import warnings
from contextlib import contextmanager

import pytest

from fastgate._ext import revocations
from fastgate._ext.revocations import ALWAYS, CLEAR, REVOKED, UNSTABLE

NOW_S = 1_700_000_000
LATER_S = NOW_S + 1000
TRACE_ME, CONTINUE, SINGLE_STEP = 0, 7, 9

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


def stopped_child(call):
    """Fork a child that is traced and stops before `call`, and again behind it."""
    with warnings.catch_warnings():
        # Python warns where there are threads. The child makes one call and no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _ptrace(TRACE_ME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        call()
        os.kill(os.getpid(), signal.SIGUSR1)
        os._exit(0)
    # Where tracing is forbidden it stops all the same, but cannot be stepped.
    os.waitpid(child, os.WUNTRACED)
    return child


def may_trace():
    """Some sandboxes forbid it; the kill tests go on there."""
    child = stopped_child(lambda: None)
    stepped = _ptrace(SINGLE_STEP, child, None, None) == 0
    if stepped:
        os.waitpid(child, 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return stepped


pytestmark = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", "") or not may_trace(),
    reason="ptrace is not permitted here",
)


def key_of(number, family=0):
    return struct.pack("=QQ", number, family)


def ask(reader, key):
    return reader.check(key, NOW_S, NOW_S, 10**9, 0, 10**9, 0, 10**9)


@contextmanager
def traced(call):
    """A child that is about to make `call`; it ends with the block."""
    child = stopped_child(call)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def resume(child, how):
    """Let the child run; False when it has made its call."""
    assert _ptrace(how, child, None, None) == 0
    status = os.waitpid(child, 0)[1]
    assert os.WIFSTOPPED(status)
    return os.WSTOPSIG(status) == signal.SIGTRAP


def shared_memory(capacity=100):
    arena_bytes, control_bytes = revocations.layout(capacity)
    sizes = (control_bytes, arena_bytes, arena_bytes, revocations.SLOTS_BYTES)
    return [mmap.mmap(-1, size) for size in sizes]


def wiped_by_system(buffers):
    return lambda which, *part: buffers[1 + which].madvise(mmap.MADV_REMOVE, *part)


def writer_of(buffers, **options):
    return revocations.RevocationWriter(*buffers, origins=1, now_s=NOW_S, **options)


def records(keys, expiry=LATER_S):
    return b"".join(key + struct.pack("=II", ALWAYS, expiry) for key in keys)


HELD = [key_of(number, 5) for number in range(20)]
OVER = key_of(1, 2)
GONE = key_of(2, 2)
NEW = [key_of(100 + number, 1) for number in range(3)]
LIFTED = HELD[4]
# Also the halves of the keys that are added, as a slot would have them for a moment.
NEVER = [
    *(key_of(number, 3) for number in range(3)),
    *(key_of(100), key_of(101), key_of(102), key_of(0, 1), key_of(0)),
]


def insert(writer, buffers):
    writer.insert(NEW[0], ALWAYS, LATER_S)


def insert_while_copying(writer, buffers):
    """Its slices of the copy come first: this begins in the middle and publishes."""
    writer.begin_rebuild()
    writer.maintain(NOW_S, 1024 - 100)
    writer.insert_many(records(NEW))


def merge(writer, buffers):
    writer.insert(HELD[3], ALWAYS, LATER_S + 5)


def remove_while_copying(writer, buffers):
    writer.begin_rebuild()
    writer.maintain(NOW_S, 1024 - 100)
    writer.remove(LIFTED)
    writer.maintain(NOW_S)


def clear_by_hand(writer, buffers):
    """The successor has no `free`: it wipes the idle arena word by word."""
    writer_of(buffers)


def succeed(writer, buffers):
    successor = writer_of(buffers, free=wiped_by_system(buffers))
    successor.maintain(NOW_S)


CALLS = [
    insert,
    insert_while_copying,
    merge,
    remove_while_copying,
    clear_by_hand,
    succeed,
]


def inherited(buffers):
    """What a successor makes of memory as it is now, in copies of it."""
    copies = [bytearray(buffer) for buffer in buffers]
    reader = revocations.RevocationReader(*copies[:3])
    successor = writer_of(copies)
    yield reader
    while successor.maintain(NOW_S):
        pass
    assert successor.stats()["rebuilds"] == 1
    yield reader


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_index_is_whole_wherever_its_writer_stops(call):
    """No instruction of a change leaves a false answer, to readers or to successors."""
    buffers = shared_memory()
    writer = writer_of(buffers, free=wiped_by_system(buffers))
    writer.insert_many(records([*HELD, GONE]) + records([OVER], NOW_S))
    writer.set_evidence(0, 10**9)
    writer.begin_rebuild()
    while writer.maintain(NOW_S):
        pass
    writer.remove(GONE)  # the idle arena still has it
    reader = revocations.RevocationReader(*buffers[:3])
    kept = [key for key in HELD if key != LIFTED]
    all_kept, none_held = b"".join(kept[:16]), b"".join([*NEVER, OVER, GONE])

    def judge(reader):
        assert ask(reader, all_kept) == REVOKED
        assert ask(reader, none_held) == CLEAR

    seen = []
    steps = states = 0
    with traced(lambda: call(writer, buffers)) as child:
        while resume(child, SINGLE_STEP):
            steps += 1
            judge(reader)
            now = [buffer[:] for buffer in buffers[:3]]
            if now == seen:
                continue
            states += 1
            seen = now
            assert all(ask(reader, key) == REVOKED for key in kept)
            # The copy repeats itself a thousand times: successors look at a part of it.
            if states < 60 or states % 16 == 0:
                for heir in inherited(buffers):
                    judge(heir)
                    assert all(ask(heir, key) == REVOKED for key in kept)
    assert steps > 1000
    assert states > 1
    assert ask(reader, LIFTED) == (CLEAR if "remove" in call.__name__ else REVOKED)
    for key in NEW[: {insert: 1, insert_while_copying: 3}.get(call, 0)]:
        assert ask(reader, key) == REVOKED


def test_memory_is_unstable_or_whole_wherever_its_founder_stops():
    """The first writer may die, too; the next one finds nothing, or an empty index."""
    buffers = shared_memory()
    reader = revocations.RevocationReader(*buffers[:3])
    answers = []
    with traced(lambda: writer_of(buffers)) as child:
        seen = []
        while resume(child, SINGLE_STEP):
            answer = ask(reader, NEVER[0])
            if answers[-1:] != [answer]:
                answers.append(answer)
            now = [bytes(buffer[:4096]) for buffer in buffers[:3]]
            if now != seen:
                seen = now
                copies = [bytearray(buffer) for buffer in buffers]
                heir = writer_of(copies)
                heir.insert(NEW[0], ALWAYS, LATER_S)
                again = revocations.RevocationReader(*copies[:3])
                assert ask(again, NEW[0]) == REVOKED
                assert again.entries() == 1
    assert answers == [UNSTABLE, revocations.STALE_HOME]


class Check:
    """A traced check, its answer, and a count of the instructions it takes."""

    def __init__(self, buffers, keys):
        self.answer = mmap.mmap(-1, 8)
        self.page = buffers[3]
        self.reader = revocations.RevocationReader(*buffers, 0)
        self.question = (b"".join(keys), NOW_S, NOW_S, 10**9, 0, 10**9, 0, 10**9)
        self.codes = {
            code: struct.pack("=Q", code)
            for code in (CLEAR, REVOKED | 3 << 8, UNSTABLE)
        }

    def __call__(self):
        # Little Python on either side: each instruction of it is a step, too.
        self.answer[0:8] = self.codes[self.reader.check(*self.question)]

    def instructions(self):
        """Count those before the reader announces its generation, and all of them."""
        before = after = 0
        with traced(self) as child:
            while resume(child, SINGLE_STEP):
                if self.page[0:8] == bytes(8):
                    before += 1
                after += 1
        self.page[0:8] = bytes(8)
        return before, after

    def said(self):
        said = struct.unpack("=Q", self.answer[0:8])[0]
        self.answer[0:8] = bytes(8)
        return said


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([*NEVER[:3], HELD[7], *NEVER[:3]], REVOKED | 3 << 8),
        ([*NEVER[:6], OVER], CLEAR),
    ],
    ids=["revoked", "clear"],
)
def test_reader_answers_right_wherever_it_is_overtaken(keys, expected):
    """Both arenas may be wiped and filled anew between any two of its instructions.

    What it asks for is held, or not, throughout; in other places of other tables.
    """
    buffers = shared_memory(3000)
    writer = writer_of(buffers, free=wiped_by_system(buffers))
    writer.set_evidence(0, 10**9)
    writer.insert_many(records(HELD))
    while writer.maintain(NOW_S):
        pass
    check = Check(buffers, keys)
    announced_at, end = check.instructions()
    assert check.said() == expected
    assert 100 < announced_at < end
    for stop_at in range(announced_at - 60, min(end, announced_at + 600), 13):
        with traced(check) as child:
            running = all(resume(child, SINGLE_STEP) for _ in range(stop_at))
            for entries in (900 if stop_at % 2 else 0, 1800):
                writer.begin_rebuild(entries)
                while writer.maintain(NOW_S):
                    pass
                writer.insert(key_of(stop_at, entries), ALWAYS, LATER_S)
            writer.begin_rebuild()  # wipes the arena that was published last but one
            if running:
                resume(child, CONTINUE)
        assert check.said() == expected
        while writer.maintain(NOW_S):
            pass
