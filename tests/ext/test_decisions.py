"""`_ext/decisions` alone: exactness, bounds, references and hostile arguments."""

import gc
import hashlib
import sys
import weakref

import pytest

from fastgate._ext.decisions import DecisionCache


class Facts:
    """Something that can be watched."""


def digest(n):
    return hashlib.sha256(b"%d" % n).digest()


def test_decision_cache_is_the_compiled_one():
    """No Python module stands in for it."""
    assert sys.modules["fastgate._ext.decisions"].__file__.endswith(".so")


def test_get_returns_the_very_object_that_was_put():
    """Facts are kept by reference, not copied."""
    cache, facts = DecisionCache(8), Facts()
    assert cache.put(digest(1), facts, 100) is True
    assert cache.get(digest(1)) is facts


@pytest.mark.parametrize("bit", range(256))
def test_get_misses_when_any_one_bit_of_the_digest_differs(bit):
    """All 256 bits count, so no token is ever taken for another (THREATS T14)."""
    cache = DecisionCache(1)  # one set: the digests meet whatever the seed
    cache.put(digest(1), "facts", 1)
    other = (int.from_bytes(digest(1)) ^ 1 << bit).to_bytes(32)
    assert cache.get(other) is None
    assert cache.drop(other) is False
    assert cache.get(digest(1)) == "facts"


def test_get_does_not_find_the_zero_digest_in_an_empty_cache():
    """Untouched memory is no entry."""
    assert DecisionCache(8).get(bytes(32)) is None


def test_put_replaces_facts_of_the_same_digest():
    """The last facts win and the entry is not doubled."""
    cache = DecisionCache(8)
    cache.put(digest(1), "old", 1)
    cache.put(digest(1), "new", 1)
    assert (cache.get(digest(1)), len(cache)) == ("new", 1)


def test_put_refuses_facts_that_are_too_heavy():
    """Weight bounds the memory; a refusal keeps what was there."""
    cache = DecisionCache(8, 1024)
    assert cache.put(digest(1), "fits", 1024) is True
    assert cache.put(digest(1), "heavy", 1025) is False
    assert cache.get(digest(1)) == "fits"


def test_put_never_holds_more_than_capacity():
    """Entries stay within the table however many tokens come."""
    cache = DecisionCache(64)
    for n in range(2_000):
        cache.put(digest(n), n, 1)
        assert len(cache) <= cache.capacity == 64
    entries, _, _, evictions = cache.stats()
    assert entries + evictions == 2_000


def test_put_evicts_an_unused_entry_before_one_that_was_hit():
    """A token that comes back outlives a stream of tokens seen once."""
    cache = DecisionCache(8)
    cache.put(digest(0), "kept", 1)
    for n in range(1, 200):
        assert cache.get(digest(0)) == "kept"
        cache.put(digest(n), n, 1)


def test_drop_forgets_one_digest_only():
    """A hit that turned out revoked is gone; its neighbours stay."""
    cache = DecisionCache(8)
    cache.put(digest(1), "a", 1)
    cache.put(digest(2), "b", 1)
    assert (cache.drop(digest(1)), cache.drop(digest(1))) == (True, False)
    assert (cache.get(digest(1)), cache.get(digest(2))) == (None, "b")


def test_stats_count_hits_misses_and_evictions():
    """Each look-up is either; an eviction is a victim, not a replacement."""
    cache = DecisionCache(8)
    for n in range(9):
        cache.put(digest(n), n, 1)
    cache.put(digest(8), 8, 1)
    cache.get(digest(8))
    cache.get(digest(99))
    assert cache.stats() == (8, 1, 1, 1)


@pytest.mark.parametrize("way_out", ["drop", "replace", "evict", "clear", "del"])
def test_references_are_given_up_on_every_way_out(way_out):
    """Facts die with their entry: nothing leaks and nothing is freed twice."""
    cache, facts = DecisionCache(8), Facts()
    watched, before = weakref.ref(facts), sys.getrefcount(facts)
    cache.put(digest(0), facts, 1)
    assert sys.getrefcount(facts) == before + 1
    for _ in range(5):
        assert cache.get(digest(0)) is facts
    assert sys.getrefcount(facts) == before + 1
    del facts
    assert watched() is not None
    if way_out == "drop":
        cache.drop(digest(0))
    elif way_out == "replace":
        cache.put(digest(0), "other", 1)
    elif way_out == "evict":
        for n in range(1, 17):
            cache.put(digest(n), n, 1)
    elif way_out == "clear":
        cache.clear()
    else:
        del cache
    assert watched() is None


def test_references_balance_over_a_long_mixed_run():
    """Thousands of puts, hits, drops and evictions leave one count per entry."""
    cache, facts = DecisionCache(32), Facts()
    before = sys.getrefcount(facts)
    for n in range(20_000):
        cache.put(digest(n % 97), facts, 1)
        cache.get(digest(n * 7 % 97))
        if n % 5 == 0:
            cache.drop(digest(n % 89))
    assert sys.getrefcount(facts) == before + len(cache)
    cache.clear()
    assert sys.getrefcount(facts) == before


@pytest.mark.parametrize("way_out", ["replace", "evict", "clear", "drop"])
def test_cache_stays_whole_when_a_finaliser_calls_it(way_out):
    """Giving up facts may run foreign code, which may use the cache at that moment."""
    cache = DecisionCache(8)

    class Meddler:
        def __del__(self):
            for n in range(50, 70):
                cache.put(digest(n), n, 1)
                assert cache.get(digest(n)) == n
            cache.drop(digest(50))

    cache.put(digest(0), Meddler(), 1)
    if way_out == "replace":
        cache.put(digest(0), "new", 1)
    elif way_out == "evict":
        for n in range(1, 17):
            cache.put(digest(n), n, 1)
    elif way_out == "clear":
        cache.clear()
    else:
        cache.drop(digest(0))
    gc.collect()
    held = sum(cache.get(digest(n)) is not None for n in range(100))
    assert held == len(cache) <= 8


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_digest_of_another_size_is_refused(size):
    """A truncated digest must not become a key (THREATS T14)."""
    cache = DecisionCache(8)
    for call in (cache.get, cache.drop, lambda d: cache.put(d, 1, 1)):
        with pytest.raises(ValueError, match="32 bytes"):
            call(bytes(size))


@pytest.mark.parametrize("wrong", [None, "x" * 32, bytearray(32), 32])
def test_digest_of_another_type_is_refused(wrong):
    """Only immutable bytes can be a key."""
    cache = DecisionCache(8)
    for call in (cache.get, cache.drop, lambda d: cache.put(d, 1, 1)):
        with pytest.raises(TypeError):
            call(wrong)


def test_put_refuses_none_and_negative_weight():
    """None would read as a miss; a negative weight is a fault of the caller."""
    cache = DecisionCache(8)
    with pytest.raises(TypeError):
        cache.put(digest(1), None, 1)
    with pytest.raises(ValueError, match="negative"):
        cache.put(digest(1), "facts", -1)
    assert len(cache) == 0


@pytest.mark.parametrize(
    "arguments",
    [(0,), (-1,), (2**24 + 1,), (8, 0), (8, -1)],
)
def test_constructor_refuses_bounds_outside_their_range(arguments):
    """A size that cannot be meant is an error at start, not a huge table."""
    with pytest.raises(ValueError, match=r"capacity|max_weight"):
        DecisionCache(*arguments)


@pytest.mark.parametrize("seed", [b"", bytes(15), bytes(17)])
def test_constructor_refuses_a_short_seed(seed):
    """Half a seed would make half of the choice predictable."""
    with pytest.raises(ValueError, match="16 bytes"):
        DecisionCache(8, seed=seed)


def test_capacity_is_rounded_up_to_whole_sets():
    """The table never holds less than was asked for."""
    assert [DecisionCache(n).capacity for n in (1, 8, 9, 1000)] == [8, 8, 16, 1000]


def test_table_takes_at_most_forty_two_bytes_an_entry():
    """The stated memory is the real one, facts aside."""
    cache = DecisionCache(100_000)
    assert sys.getsizeof(cache) / cache.capacity < 42


def test_sets_differ_between_caches():
    """The seed is random: digests that collide in one process part in the next."""

    def survivors():
        cache = DecisionCache(64)
        for n in range(128):
            cache.put(digest(n), n, 1)
        return frozenset(n for n in range(128) if cache.get(digest(n)) is not None)

    assert len({survivors() for _ in range(8)}) > 1
