"""The revocation index: what an entry means, how it is kept, how its age is judged."""

import struct

import pytest
from tests.ext.index_rig import BOOT_NS, LATER_S, NOW_S, Memory, key_of

from fastgate._ext import revocations
from fastgate._ext.revocations import (
    ALWAYS,
    CLEAR,
    FULL,
    INSERTED,
    MERGED,
    OVER,
    REVOKED,
    STALE_HOME,
)


@pytest.fixture
def memory():
    memory = Memory()
    memory.writer.set_evidence(0, BOOT_NS)
    return memory


def test_insert_is_seen_by_a_reader_when_it_returns(memory):
    """An acknowledged revocation is enforced, and nothing else is."""
    assert memory.check(key_of(1)) == CLEAR
    assert memory.writer.insert(key_of(1), ALWAYS, LATER_S) == INSERTED
    assert memory.check(key_of(1)) == REVOKED
    assert memory.check(key_of(2)) == CLEAR
    assert memory.reader.find(key_of(1)) == (ALWAYS, LATER_S)
    assert memory.reader.find(key_of(2)) is None


@pytest.mark.parametrize("place", range(revocations.MAX_KEYS))
def test_check_names_the_key_that_is_revoked(memory, place):
    """The answer carries the index of the first key that matched."""
    memory.writer.insert(key_of(place), ALWAYS, LATER_S)
    memory.writer.insert(key_of(place + 1), ALWAYS, LATER_S)
    keys = [key_of(number) for number in range(revocations.MAX_KEYS)]
    assert memory.check(*keys) == REVOKED | place << 8


def test_entry_is_live_before_its_expiry_and_not_at_it(memory):
    """The interval is half open."""
    memory.writer.insert(key_of(1), ALWAYS, LATER_S)
    assert memory.check(key_of(1), now_s=LATER_S - 1) == REVOKED
    assert memory.check(key_of(1), now_s=LATER_S) == CLEAR


def test_cutoff_revokes_tokens_issued_at_it_and_before(memory):
    """A user who signs in again after the cutoff is let in; no `iat` is before it."""
    memory.writer.insert(key_of(1), NOW_S, LATER_S)
    assert memory.check(key_of(1), iat=NOW_S) == REVOKED
    assert memory.check(key_of(1), iat=NOW_S + 1) == CLEAR
    assert memory.check(key_of(1), iat=0) == REVOKED


def test_identifier_is_revoked_whatever_the_iat_says(memory):
    """An issue time past 32 bits does not escape an entry without cutoff."""
    memory.writer.insert(key_of(1), ALWAYS, LATER_S)
    assert memory.check(key_of(1), iat=2**62) == REVOKED
    memory.writer.insert(key_of(2), ALWAYS - 1, LATER_S)
    assert memory.check(key_of(2), iat=ALWAYS) == CLEAR


def test_keys_that_share_half_are_told_apart(memory):
    """The comparison is over all 128 bits, and zero is a key like any other."""
    memory.writer.insert(bytes(16), ALWAYS, LATER_S)
    assert memory.check(bytes(16)) == REVOKED
    for other in (key_of(1), key_of(0, 1), key_of(2**63), key_of(0, 2**63)):
        assert memory.check(other) == CLEAR


@pytest.mark.parametrize("half", [0, 1])
def test_keys_of_one_slot_that_share_half_are_told_apart(memory, half):
    """Same bucket, same bits, one word equal: only the other word decides."""
    seeds = struct.unpack_from("=QQ", memory.buffers[2], 24)
    keys = []
    for mixed in (1, 64):  # with 1 in the other word, the mix is this number itself
        words = [seeds[0] ^ 1, seeds[1] ^ 1]
        words[half] = seeds[half] ^ mixed
        keys.append(struct.pack("=QQ", *words))
    memory.writer.insert(keys[0], ALWAYS, LATER_S)
    assert memory.check(keys[0]) == REVOKED
    assert memory.check(keys[1]) == CLEAR
    memory.writer.insert(keys[1], ALWAYS, LATER_S + 1)
    assert memory.reader.find(keys[0]) == (ALWAYS, LATER_S)
    assert memory.reader.find(keys[1]) == (ALWAYS, LATER_S + 1)


def test_insert_merges_to_the_later_cutoff_and_the_later_expiry(memory):
    """Order and repeats of events do not matter."""
    memory.writer.insert(key_of(1), NOW_S, LATER_S + 1)
    assert memory.writer.insert(key_of(1), NOW_S + 5, LATER_S) == MERGED
    assert memory.reader.find(key_of(1)) == (NOW_S + 5, LATER_S + 1)
    assert memory.reader.entries() == 1


def test_insert_replaces_an_entry_that_is_over(memory):
    """What was over counts as absent, whether a rebuild has left it out or not."""
    memory.writer.insert(key_of(1), NOW_S, NOW_S + 5)
    memory.writer.maintain(NOW_S + 5)
    assert memory.writer.insert(key_of(1), NOW_S - 9, LATER_S) == INSERTED
    assert memory.reader.find(key_of(1)) == (NOW_S - 9, LATER_S)


def test_insert_stores_nothing_with_expiry_zero(memory):
    """Nothing lives before 0, so there is nothing to hold."""
    assert memory.writer.insert(key_of(1), ALWAYS, 0) == OVER
    assert memory.reader.applied() == 0


def test_remove_lifts_an_entry_and_lets_it_come_back(memory):
    """A lift ends the revocation at once; a new one starts from nothing."""
    memory.writer.insert(key_of(1), NOW_S + 9, LATER_S)
    assert memory.writer.remove(key_of(1)) is True
    assert memory.check(key_of(1)) == CLEAR
    assert memory.writer.remove(key_of(1)) is False
    assert memory.writer.remove(key_of(2)) is False
    assert memory.writer.insert(key_of(1), NOW_S, LATER_S) == INSERTED
    assert memory.reader.find(key_of(1)) == (NOW_S, LATER_S)


def test_insert_many_reads_records_in_order(memory):
    """A batch is the same as its inserts; anything with the buffer protocol will do."""
    records = [(key_of(n), NOW_S + n, LATER_S) for n in range(50)]
    packed = b"".join(key + struct.pack("=II", *times) for key, *times in records)
    assert memory.writer.insert_many(memoryview(bytearray(packed))) == 50
    for key, *times in records:
        assert memory.reader.find(key) == tuple(times)
    assert memory.writer.insert_many(b"") == 0


def test_growth_keeps_every_entry_and_invents_none():
    """A table that grows twenty times answers exactly, in at most 48 bytes an entry."""
    memory = Memory(capacity=60_000)
    memory.writer.set_evidence(0, BOOT_NS)
    for number in range(60_000):
        memory.writer.insert(key_of(number), ALWAYS, LATER_S)
    memory.finish()
    assert memory.writer.stats()["rebuilds"] > 10
    assert memory.reader.entries() == 60_000
    assert memory.writer.stats()["bytes"] <= 48 * 60_000
    for number in range(60_000):
        assert memory.check(key_of(number)) == REVOKED
        assert memory.check(key_of(number, 1)) == CLEAR


def test_full_index_refuses_new_keys_and_drops_none():
    """At least the capacity fits; what is live stays, and merges go on."""
    memory = Memory(capacity=1)
    memory.writer.set_evidence(0, BOOT_NS)
    count = 0
    while memory.writer.insert(key_of(count), ALWAYS, LATER_S + count) != FULL:
        count += 1
    assert count >= memory.writer.stats()["capacity"] >= 1
    assert memory.writer.stats()["refused"] == 1
    assert memory.writer.insert(key_of(0), ALWAYS, LATER_S + 9) == MERGED
    record = struct.pack("=QQII", 1, 0, 5, LATER_S)
    more = struct.pack("=QQII", count, 0, 5, LATER_S)
    assert memory.writer.insert_many(record + more + record) == 1
    assert all(memory.check(key_of(n)) == REVOKED for n in range(count))
    assert memory.check(key_of(count)) == CLEAR


def test_full_index_takes_keys_again_when_entries_end():
    """An entry that was lifted, and later one that has expired, makes room."""
    memory = Memory(capacity=1)
    memory.writer.set_evidence(0, BOOT_NS)
    count = 0
    while memory.writer.insert(key_of(count), ALWAYS, LATER_S) != FULL:
        count += 1
    for number in range(200):
        memory.writer.remove(key_of(number))
    assert memory.writer.insert(key_of(9, 9), ALWAYS, LATER_S + 50) == INSERTED
    assert memory.check(key_of(9, 9)) == REVOKED
    for _ in range(1000):  # slices of upkeep, not time
        memory.writer.maintain(LATER_S, 1000)
    assert memory.reader.entries() == 1
    assert memory.writer.stats()["used"] == 1
    assert memory.check(key_of(9, 9), now_s=LATER_S) == REVOKED


def test_keys_chosen_for_one_bucket_are_all_kept():
    """Who knows the seeds can make a run too long; then the table gets other seeds."""
    memory = Memory(capacity=20_000)
    memory.writer.set_evidence(0, BOOT_NS)
    seed0, seed1 = struct.unpack_from("=QQ", memory.buffers[2], 24)
    keys = [key_of(seed0 ^ n, seed1 ^ 1) for n in range(4_500)]
    for key in keys:
        assert memory.writer.insert(key, ALWAYS, LATER_S) == INSERTED
    memory.finish()
    assert struct.unpack_from(
        "=QQ", memory.buffers[1 + memory.reader.generation() % 2], 24
    ) != (seed0, seed1)
    assert all(memory.check(key) == REVOKED for key in keys)
    assert memory.reader.entries() == len(keys)


def test_rebuild_moves_the_generation_and_loses_nothing(memory):
    """Changes during a rebuild reach the reader at once and the next arena too."""
    for number in range(1500):
        memory.writer.insert(key_of(number), ALWAYS, LATER_S)
    memory.finish()
    generation = memory.reader.generation()
    assert memory.writer.begin_rebuild() is True
    assert memory.writer.begin_rebuild() is False
    memory.writer.maintain(NOW_S, 700)
    memory.writer.insert(key_of(1, 5), ALWAYS, LATER_S)
    for number in range(0, 1500, 2):
        assert memory.writer.remove(key_of(number))
    assert memory.check(key_of(1, 5)) == REVOKED
    assert memory.reader.generation() == generation
    memory.finish()
    assert memory.reader.generation() == generation + 1
    assert memory.check(key_of(1, 5)) == REVOKED
    for number in range(1500):
        assert memory.check(key_of(number)) == (REVOKED if number % 2 else CLEAR)


def test_maintain_leaves_expired_entries_out(memory):
    """A count finds the dead; the rebuild that follows gives their memory back."""
    for number in range(5000):
        memory.writer.insert(key_of(number), ALWAYS, NOW_S + 10 + number % 2 * 1000)
    memory.finish()
    buckets = memory.writer.stats()["buckets"]
    for _ in range(200):
        memory.writer.maintain(NOW_S + 500, 1000)
    assert memory.reader.entries() == 2500
    assert memory.writer.stats()["used"] == 2500
    assert memory.writer.stats()["buckets"] < buckets
    for number in range(5000):
        expected = REVOKED if number % 2 else CLEAR
        assert memory.check(key_of(number), now_s=NOW_S + 500) == expected


@pytest.mark.parametrize("keys", [b"x", bytes(15), bytes(17), bytes(17 * 16)])
def test_check_refuses_keys_of_another_size(memory, keys):
    """Half a key would be read past its end."""
    with pytest.raises(ValueError, match="keys are at most 16 times 16 bytes"):
        memory.check(keys)


def test_check_without_keys_judges_the_age_alone(memory):
    """A caller that wants to know the age asks with no key."""
    assert memory.check() == CLEAR
    memory.writer.set_evidence(0, 0)
    assert memory.check() == STALE_HOME


def test_calls_refuse_arguments_out_of_range(memory):
    """A wrong call changes nothing."""
    writer, reader = memory.writer, memory.reader
    for call in (
        lambda: writer.insert(b"short", 0, 1),
        lambda: writer.remove(bytes(17)),
        lambda: reader.find(b""),
        lambda: writer.insert_many(bytes(25)),
        lambda: writer.set_evidence(1, 5),
        lambda: writer.set_evidence(-1, 5),
        lambda: writer.set_evidence(0, -5),
        lambda: writer.set_origins(0),
        lambda: writer.set_origins(65),
        lambda: reader.evidence(64),
        lambda: revocations.layout(0),
        lambda: revocations.layout(revocations.MAX_CAPACITY + 1),
    ):
        with pytest.raises(ValueError, match=r"."):
            call()
    for call in (
        lambda: writer.insert(key_of(1), -1, 1),
        lambda: writer.insert(key_of(1), 0, 2**32),
        lambda: memory.check(iat=2**64),
    ):
        with pytest.raises(OverflowError):
            call()
    assert reader.applied() == 0
    assert reader.evidence(0) == BOOT_NS
