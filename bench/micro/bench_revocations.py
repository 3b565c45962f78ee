"""The revocation index against the cost of calling at all, a dict and a set.

Run: python -m pytest bench/micro/bench_revocations.py -o python_files='bench_*.py'
     -o python_functions='bench_*'     (FASTGATE_BENCH_FULL=1 adds 10 million entries)

A check asks for seven keys, the most a token names, and none is revoked: what nearly
every request does. A look-up is a seventh of what that costs above the floor. Every
round has other keys, so that the memory is as cold as its size makes it.
"""

import mmap
import os
import random
import struct
from collections.abc import Callable, Container, Iterator
from typing import TypeAlias

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastgate._ext import revocations

FULL = os.environ.get("FASTGATE_BENCH_FULL") == "1"
SIZES = [10**3, 10**5, 10**6, *([10**7] if FULL else [])]
KEYS_PER_TOKEN = 7
BATCH = 1_000
ROUNDS = 200
NOW_S = 1_700_000_000
BOOT_NS = 10**12
AGE_NS = 10**10
RECORD = struct.Struct("=16sII")
Ask: TypeAlias = Callable[[list[bytes]], list[int]]


class Index:
    """An index in memory files, as in the product, with `count` random entries."""

    def __init__(self, count: int) -> None:
        arena_bytes, control_bytes = revocations.layout(max(SIZES[-1], 1_000_000))
        sizes = (control_bytes, arena_bytes, arena_bytes, revocations.SLOTS_BYTES)
        self.files = [os.memfd_create("bench") for _ in sizes]
        for file, size in zip(self.files, sizes, strict=True):
            os.ftruncate(file, size)
        maps = [mmap.mmap(f, s) for f, s in zip(self.files, sizes, strict=True)]
        control, arena0, arena1, slots = maps
        self.writer = revocations.RevocationWriter(
            *(control, arena0, arena1, slots),
            origins=3,
            now_s=NOW_S,
            free=lambda which, *part: maps[1 + which].madvise(mmap.MADV_REMOVE, *part),
        )
        self.reader = revocations.RevocationReader(control, arena0, arena1, slots, 0)
        for origin in range(3):
            self.writer.set_evidence(origin, BOOT_NS)
        self.some = self.fill(count)
        self.settle()

    def fill(self, count: int) -> list[bytes]:
        """Insert random keys; return some of them."""
        some: list[bytes] = []
        for start in range(0, count, 100_000):
            records = packed(min(100_000, count - start))
            assert self.writer.insert_many(records) == len(records) // RECORD.size
            some += [records[at : at + 16] for at in range(0, len(records), 2400)]
        return some

    def settle(self) -> None:
        """End a rebuild, then let the idle arena be freed."""
        while self.writer.maintain(NOW_S):
            pass
        for _ in range(100):
            self.writer.maintain(NOW_S)

    def ask(self, batch: list[bytes]) -> list[int]:
        """Ask as the gate does: all but the keys is the same for every token."""
        check = self.reader.check
        return [
            check(keys, NOW_S, NOW_S, BOOT_NS, 0, AGE_NS, 1, AGE_NS) for keys in batch
        ]

    def touched(self) -> int:
        """Return the bytes of memory that the files really have."""
        return sum(os.fstat(file).st_blocks * 512 for file in self.files)

    def close(self) -> None:
        """Close the files; the maps go with their objects."""
        for file in self.files:
            os.close(file)


def packed(count: int) -> bytes:
    """Make records of random keys."""
    records = bytearray(RECORD.pack(b"", revocations.ALWAYS, NOW_S + 3600) * count)
    for at in range(16):
        records[at :: RECORD.size] = os.urandom(count)
    return bytes(records)


@pytest.fixture(scope="module", params=SIZES, ids=lambda count: f"{count}_entries")
def index(request: pytest.FixtureRequest) -> Iterator[Index]:
    made = Index(request.param)
    yield made
    made.close()


def others(key_count: int) -> list[bytes]:
    """Keys that were not seen before: new objects, as a request makes them."""
    return [os.urandom(16 * key_count) for _ in range(BATCH)]


def time_batches(
    benchmark: BenchmarkFixture,
    ask: Ask,
    make: Callable[[], list[bytes]],
    expected: int,
) -> None:
    """Time BATCH calls a round, and judge every answer of the last one."""
    answers = benchmark.pedantic(  # type: ignore[no-untyped-call]
        ask, setup=lambda: ((make(),), {}), rounds=ROUNDS, warmup_rounds=3
    )
    assert set(answers) == {expected}
    if benchmark.stats is not None:
        each = benchmark.stats.stats.min / BATCH * 1e9
        benchmark.extra_info["ns_each_min"] = round(each, 1)
        print(f"\n{benchmark.name}: {each:.0f} ns each", end="")


def bench_check__7_keys_none_revoked(benchmark: BenchmarkFixture, index: Index) -> None:
    """The subject."""
    time_batches(
        *(benchmark, index.ask, lambda: others(KEYS_PER_TOKEN), revocations.CLEAR)
    )


def bench_check__1_key_not_revoked(benchmark: BenchmarkFixture, index: Index) -> None:
    """One look-up, and the whole cost of calling."""
    time_batches(benchmark, index.ask, lambda: others(1), revocations.CLEAR)


def bench_check__1_key_revoked(benchmark: BenchmarkFixture, index: Index) -> None:
    """The rare case: bitmap, then table."""
    time_batches(
        benchmark,
        index.ask,
        lambda: random.choices(index.some, k=BATCH),
        revocations.REVOKED,
    )


def bench_check__floor(benchmark: BenchmarkFixture) -> None:
    """The cost of calling at all."""

    def ask(batch: list[bytes]) -> list[int]:
        return [len(keys) for keys in batch]

    time_batches(benchmark, ask, lambda: others(KEYS_PER_TOKEN), 16 * KEYS_PER_TOKEN)


@pytest.mark.parametrize("kind", ["dict", "set"])
@pytest.mark.parametrize("count", SIZES[:3])
def bench_check__7_keys_python(
    benchmark: BenchmarkFixture, kind: str, count: int
) -> None:
    """The naive way, in each process for itself; it knows no age and no expiry."""
    draw = random.Random(3)
    keys_held = (draw.randbytes(16) for _ in range(count))
    held: Container[bytes] = (
        dict.fromkeys(keys_held, NOW_S) if kind == "dict" else set(keys_held)
    )

    def check(keys: bytes) -> int:
        for at in range(0, len(keys), 16):
            if keys[at : at + 16] in held:
                return revocations.REVOKED
        return revocations.CLEAR

    def ask(batch: list[bytes]) -> list[int]:
        return [check(keys) for keys in batch]

    time_batches(benchmark, ask, lambda: others(KEYS_PER_TOKEN), revocations.CLEAR)


def bench_insert_many__new_keys(benchmark: BenchmarkFixture, index: Index) -> None:
    """Keys nobody has; growth included. Lifts them again outside the clock."""
    count = 2_000
    writer = index.writer
    last: list[bytes] = []

    def setup() -> tuple[tuple[bytes], dict[str, object]]:
        for at in range(0, len(last[0]) if last else 0, RECORD.size):
            writer.remove(last[0][at : at + 16])
        while writer.maintain(NOW_S):
            pass
        last[:] = [packed(count)]
        return (last[0],), {}

    done = benchmark.pedantic(  # type: ignore[no-untyped-call]
        writer.insert_many, setup=setup, rounds=50
    )
    assert done == count
    if benchmark.stats is not None:
        rate = count / benchmark.stats.stats.min
        print(f"\n{benchmark.name}: {rate:,.0f} inserts/s", end="")


def bench_insert_many__from_empty(benchmark: BenchmarkFixture) -> None:
    """A cold start: every growth, and then what an entry costs in memory."""
    count = SIZES[-1]
    records = packed(count)
    made: list[Index] = []

    def setup() -> tuple[tuple[bytes], dict[str, object]]:
        for old in made:
            old.close()
        made[:] = [Index(0)]
        return (records,), {}

    def fill(records: bytes) -> int:
        return made[0].writer.insert_many(records)

    done = benchmark.pedantic(fill, setup=setup, rounds=3)  # type: ignore[no-untyped-call]
    assert done == count
    made[0].settle()
    per_entry = made[0].touched() / count
    benchmark.extra_info["bytes_an_entry"] = round(per_entry, 1)
    if benchmark.stats is not None:
        rate = count / benchmark.stats.stats.min
        print(f"\n{benchmark.name}: {count} entries, {rate:,.0f} inserts/s", end="")
    print(f", {per_entry:.1f} bytes an entry", end="")
    assert per_entry <= 48
    made[0].close()
