"""Decision cache and counters against the cost of calling at all and against a dict.

Run: python -m pytest bench/micro/bench_decisions.py -o python_files='bench_*.py'
     -o python_functions='bench_*'
"""

import functools
import hashlib
import itertools

import pytest

from fastgate._ext.counters import CounterRow, CounterTable, Histogram, size
from fastgate._ext.decisions import DecisionCache

ENTRIES = 50_000
KEYS = [hashlib.sha256(b"%d" % n).digest() for n in range(ENTRIES)]
BOUNDS_NS = tuple(10**exponent for exponent in range(3, 11))


@pytest.fixture(scope="module")
def cache():
    full = DecisionCache(2 * ENTRIES)
    for key in KEYS:
        full.put(key, key, 100)
    return full


@pytest.fixture(scope="module")
def row():
    memory = bytearray(size(4, 1_000))
    CounterTable(memory, 4, 1_000)
    return CounterRow(memory, 0, 1_000)


def bench_get__hit(benchmark, cache):
    """The subject: the same digest again, as a busy client's token."""
    assert benchmark(cache.get, KEYS[7]) == KEYS[7]


def bench_get__hit__floor(benchmark):
    """The cost of calling a compiled function at all."""
    assert benchmark(len, KEYS[7]) == 32


def bench_get__hit__dict(benchmark):
    """An unbounded dict: no eviction, no exact bound on memory."""
    table = {key: key for key in KEYS}
    assert benchmark(table.get, KEYS[7]) == KEYS[7]


def bench_get__hit__lru_cache(benchmark):
    """The standard library's bounded cache, which cannot drop an entry."""
    look_up = functools.lru_cache(ENTRIES)(lambda key: key)
    for key in KEYS:
        look_up(key)
    assert benchmark(look_up, KEYS[7]) == KEYS[7]


def bench_get__miss(benchmark, cache):
    """A token never seen."""
    assert benchmark(cache.get, hashlib.sha256(b"never").digest()) is None


def bench_get__50000_tokens_in_turn(benchmark, cache):
    """Every look-up reads cold memory; the figure is for 1,000 of them."""
    keys = itertools.cycle([KEYS[n : n + 1_000] for n in range(0, ENTRIES, 1_000)])

    def look_up_a_thousand():
        return [cache.get(key) for key in next(keys)]

    assert None not in benchmark(look_up_a_thousand)[:1]


def bench_get__50000_tokens_in_turn__dict(benchmark):
    """The same from a dict."""
    table = {key: key for key in KEYS}
    keys = itertools.cycle([KEYS[n : n + 1_000] for n in range(0, ENTRIES, 1_000)])

    def look_up_a_thousand():
        return [table.get(key) for key in next(keys)]

    assert None not in benchmark(look_up_a_thousand)[:1]


def bench_put__evicting(benchmark):
    """A full cache: each put finds a victim; 1,000 of them."""
    full = DecisionCache(1_024)
    keys = itertools.cycle([KEYS[n : n + 1_000] for n in range(0, ENTRIES, 1_000)])

    def put_a_thousand():
        for key in next(keys):
            full.put(key, key, 100)

    benchmark(put_a_thousand)
    assert len(full) == 1_024


def bench_counter_add(benchmark, row):
    """One count, as each request makes several."""
    benchmark(row.add, 5)
    assert row.get(5) > 0


def bench_histogram_observe(benchmark, row):
    """One time into nine buckets."""
    histogram = Histogram(row, 10, BOUNDS_NS)
    benchmark(histogram.observe, 412_000)
    assert row.get(10 + 3) > 0
