"""The compiled revocation index and its oracle agree on every check.

The machine moves time, rebuilds, frees, kills the writer (attaches another) and reads
at every step, through a reader as old as the memory and through a new one.
"""

import struct

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.oracle import revocations as oracle

from fastgate._ext import revocations as native

# Few keys, so that they meet; some share a word, and no word is special.
KEYS = [
    struct.pack("=QQ", lo, hi) for lo in (0, 1, 7, 2**64 - 1) for hi in (0, 1, 2**63)
]
START_S = 1_000_000
key = st.sampled_from(KEYS)
offset_s = st.integers(-5, 40)
cutoff = st.one_of(
    st.just(native.ALWAYS), st.integers(START_S - 50, START_S + 50), st.just(0)
)
origin = st.integers(-2, 5)
age_ns = st.integers(-3, 3 * 10**9)


class Revocations(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        arena_bytes, control_bytes = native.layout(2000)
        self.memory = [
            bytearray(control_bytes),
            bytearray(arena_bytes),
            bytearray(arena_bytes),
            bytearray(native.SLOTS_BYTES),
        ]
        self.origins = 2
        self.oracle = oracle.Revocations(self.origins)
        self.oracle.maintain(START_S)
        self.reader = native.RevocationReader(*self.memory, 3)
        self.now_s = START_S
        self.attach(frees=True)

    @rule(frees=st.booleans())
    def attach(self, frees):
        """A writer is never closed: the last one simply makes no more calls."""
        self.writer = native.RevocationWriter(
            *self.memory,
            origins=self.origins,
            now_s=self.now_s,
            free=self.free if frees else None,
        )

    def free(self, which, start, length):
        self.memory[1 + which][start : start + length] = bytes(length)

    @rule(key=key, cutoff=cutoff, lives_s=offset_s)
    def insert(self, key, cutoff, lives_s):
        arguments = (key, cutoff, self.now_s + lives_s)
        assert self.writer.insert(*arguments) == self.oracle.insert(*arguments)

    @rule(records=st.lists(st.tuples(key, cutoff, offset_s), max_size=20))
    def insert_many(self, records):
        packed = b"".join(
            key + struct.pack("=II", cutoff, self.now_s + lives_s)
            for key, cutoff, lives_s in records
        )
        assert self.writer.insert_many(packed) == len(records)
        for one, cutoff, lives_s in records:
            self.oracle.insert(one, cutoff, self.now_s + lives_s)

    @rule(first=st.integers(0, 3000), count=st.integers(0, 700))
    def insert_others(self, first, count):
        """Enough to grow, shrink and clean up tables."""
        room = 1500 - len(self.oracle.live(self.oracle.now_s))
        for number in range(first, first + min(count, room)):
            other = struct.pack("=QQ", number, 99)
            arguments = (other, native.ALWAYS, self.now_s + 1 + number % 30)
            assert self.writer.insert(*arguments) == self.oracle.insert(*arguments)

    @rule(key=key)
    def remove(self, key):
        assert self.writer.remove(key) == self.oracle.remove(key)

    @rule(key=key)
    def insert_over(self, key):
        assert self.writer.insert(key, 5, 0) == self.oracle.insert(key, 5, 0)

    @rule(moves_s=st.integers(0, 61), slots=st.integers(1, 8000))
    def maintain(self, moves_s, slots):
        self.now_s += moves_s
        self.oracle.maintain(self.now_s)
        self.writer.maintain(self.now_s, slots)

    @rule(entries=st.integers(0, 1500))
    def begin_rebuild(self, entries):
        rebuilding = bool(self.writer.stats()["rebuilding"])
        assert self.writer.begin_rebuild(entries) is not rebuilding

    @rule()
    def end_rebuild(self):
        while self.writer.maintain(self.oracle.now_s):
            pass

    @rule(count=st.integers(1, 4))
    def set_origins(self, count):
        self.origins = count
        self.oracle.set_origins(count)
        self.writer.set_origins(count)

    @precondition(lambda self: self.origins)
    @rule(row=st.integers(0, 3), at=st.integers(0, 10**10))
    def set_evidence(self, row, at):
        row %= self.origins
        self.oracle.set_evidence(row, at)
        self.writer.set_evidence(row, at)

    @rule(
        keys=st.lists(key, max_size=native.MAX_KEYS),
        iat=st.one_of(
            st.integers(START_S - 60, START_S + 60), st.sampled_from([0, -9, 2**40])
        ),
        later_s=st.integers(0, 100),
        boot_ns=st.integers(0, 10**10),
        homes=st.tuples(origin, origin),
        ages_ns=st.tuples(age_ns, age_ns),
    )
    def check(self, keys, iat, later_s, boot_ns, homes, ages_ns):
        question = (
            *(b"".join(keys), iat, self.now_s + later_s, boot_ns),
            *(homes[0], ages_ns[0], homes[1], ages_ns[1]),
        )
        assert self.reader.check(*question) == self.oracle.check(*question), question

    @invariant()
    def every_key_reads_alike(self):
        newcomer = native.RevocationReader(*self.memory[:3])
        live = self.oracle.live(self.now_s)
        for one in (*KEYS, *(struct.pack("=QQ", n, 99) for n in range(0, 3700, 37))):
            question = (one, START_S, self.now_s, 1, 0, 0, 0, 0)
            assert self.reader.check(*question) == self.oracle.check(*question)
            for reader in (self.reader, newcomer):
                if one in live:
                    assert reader.find(one) == live[one]

    @invariant()
    def count_of_entries_covers_the_live_ones(self):
        stats = self.writer.stats()
        assert stats["used"] >= len(self.oracle.live(self.now_s))
        assert stats["refused"] == 0


Revocations.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
TestRevocations = Revocations.TestCase
