"""Decision cache and counters against the cost of calling at all and against a dict.

Run: python -m pytest bench/micro/bench_decisions.py -o python_files='bench_*.py'
     -o python_functions='bench_*'
"""

import functools
import hashlib
import random
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastgate._ext.counters import CounterRow, CounterTable, Histogram, size
from fastgate._ext.decisions import DecisionCache

ENTRIES = 50_000
BATCH = 1_000
KEYS = [hashlib.sha256(b"%d" % n).digest() for n in range(ENTRIES)]
BOUNDS_NS = tuple(10**exponent for exponent in range(3, 11))


@pytest.fixture(scope="module")
def cache() -> DecisionCache:
    full = DecisionCache(4 * ENTRIES)
    for key in KEYS:
        full.put(key, key, 100)
    return full


@pytest.fixture(scope="module")
def row() -> CounterRow:
    memory = bytearray(size(4, 1_000))
    CounterTable(memory, 4, 1_000)
    return CounterRow(memory, 0, 1_000)


def fresh_batch() -> tuple[tuple[list[bytes]], dict[str, object]]:
    """Digests as a request makes them: new objects, whose hash nobody cached."""
    return ([bytes(bytearray(key)) for key in random.choices(KEYS, k=BATCH)],), {}


def look_up_fresh(
    benchmark: BenchmarkFixture, get: Callable[[bytes], object | None]
) -> None:
    """Time BATCH look-ups of other digests each round."""

    def look_up(batch: list[bytes]) -> list[object | None]:
        return [get(key) for key in batch]

    found = benchmark.pedantic(  # type: ignore[no-untyped-call]
        look_up, setup=fresh_batch, rounds=500
    )
    assert None not in found


def bench_get__hit(benchmark: BenchmarkFixture, cache: DecisionCache) -> None:
    """The subject: the same digest again, as a busy client's token."""
    assert benchmark(cache.get, KEYS[7]) == KEYS[7]


def bench_get__hit__floor(benchmark: BenchmarkFixture) -> None:
    """The cost of calling a compiled function at all."""
    assert benchmark(len, KEYS[7]) == 32


def bench_get__hit__dict(benchmark: BenchmarkFixture) -> None:
    """An unbounded dict, asked with the very key object it holds."""
    table = {key: key for key in KEYS}
    assert benchmark(table.get, KEYS[7]) == KEYS[7]


def bench_get__hit__lru_cache(benchmark: BenchmarkFixture) -> None:
    """The standard library's bounded cache, which cannot drop an entry."""
    look_up = functools.lru_cache(ENTRIES)(lambda key: key)
    for key in KEYS:
        look_up(key)
    assert benchmark(look_up, KEYS[7]) == KEYS[7]


def bench_get__miss(benchmark: BenchmarkFixture, cache: DecisionCache) -> None:
    """A token never seen."""
    assert benchmark(cache.get, hashlib.sha256(b"never").digest()) is None


def bench_get__1000_of_50000(benchmark: BenchmarkFixture, cache: DecisionCache) -> None:
    """Fresh digests, cold memory."""
    look_up_fresh(benchmark, cache.get)


def bench_get__1000_of_50000__dict(benchmark: BenchmarkFixture) -> None:
    """The same from a dict."""
    table = {key: key for key in KEYS}
    look_up_fresh(benchmark, table.get)


def bench_put__1000_evicting(benchmark: BenchmarkFixture) -> None:
    """A full cache: nearly each put finds a victim."""
    full = DecisionCache(BATCH)

    def put(batch: list[bytes]) -> None:
        for key in batch:
            full.put(key, key, 100)

    benchmark.pedantic(  # type: ignore[no-untyped-call]
        put, setup=fresh_batch, rounds=500
    )
    assert len(full) == full.capacity


def bench_counter_add(benchmark: BenchmarkFixture, row: CounterRow) -> None:
    """One count, as each request makes several."""
    benchmark(row.add, 5)
    assert row.get(5) > 0


def bench_histogram_observe(benchmark: BenchmarkFixture, row: CounterRow) -> None:
    """One time into nine buckets."""
    histogram = Histogram(row, 10, BOUNDS_NS)
    benchmark(histogram.observe, 412_000)
    assert row.get(10 + 3) > 0
