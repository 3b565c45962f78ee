"""The memory of the revocation index: who holds it, who wipes it, what if it lies."""

import random
import struct

import pytest
from tests.ext.index_memory import (
    LATER_S,
    NOW_S,
    WORDS,
    ask,
    buffers_of,
    filled,
    finish,
    key_of,
    slot_of,
    writer_of,
)

from fastgate._ext import revocations
from fastgate._ext.revocations import ALWAYS, CLEAR, INSERTED, MERGED, REVOKED, UNSTABLE


def test_half_written_slot_is_no_entry_and_is_written_again():
    """A writer killed before the last word of a slot leaves an empty one (F11)."""
    buffers = buffers_of(100)
    filled(buffers, 50)
    reader = revocations.RevocationReader(*buffers[:3])
    arena = buffers[1 + reader.generation() % 2]
    meta_at = slot_of(arena, key_of(7)) + 16
    arena[meta_at : meta_at + 8] = bytes(8)
    assert ask(reader, key_of(7)) == CLEAR
    successor = writer_of(buffers)
    assert successor.insert(key_of(7), ALWAYS, LATER_S) == INSERTED
    for number in range(50):
        assert ask(reader, key_of(number)) == REVOKED
    finish(successor)
    for number in range(50):
        assert ask(reader, key_of(number)) == REVOKED


def test_slot_without_its_bits_is_found_after_its_event_is_replayed():
    """A writer killed between slot and bitmap acknowledged nothing; replay heals."""
    buffers = buffers_of(100)
    filled(buffers, 1)
    reader = revocations.RevocationReader(*buffers[:3])
    arena = buffers[1 + reader.generation() % 2]
    arena[128 : 128 + 2048] = bytes(2048)
    assert ask(reader, key_of(0)) == CLEAR
    successor = writer_of(buffers)
    assert successor.insert(key_of(0), ALWAYS, LATER_S) == MERGED
    assert ask(reader, key_of(0)) == REVOKED


@pytest.mark.parametrize("slots", range(0, 1400, 97))
def test_successor_goes_on_wherever_a_rebuild_was_cut(slots):
    """What is published serves on, changes are seen at once, the copy is begun anew."""
    buffers = buffers_of(3000)
    writer = filled(buffers, 600)
    reader = revocations.RevocationReader(*buffers[:3])
    writer.begin_rebuild()
    writer.maintain(NOW_S, slots)
    writer.insert(key_of(1, 1), ALWAYS, LATER_S)
    writer.remove(key_of(5))
    generation = reader.generation()
    successor = writer_of(buffers)
    assert reader.generation() == generation
    successor.insert(key_of(2, 2), ALWAYS, LATER_S)
    assert successor.stats()["rebuilding"]
    for published in range(2):
        assert reader.generation() == generation + published
        assert ask(reader, key_of(5)) == CLEAR
        for key in (key_of(1, 1), key_of(2, 2), key_of(0), key_of(599)):
            assert ask(reader, key) == REVOKED
        finish(successor)
    assert successor.stats()["entries"] == 601


def test_founder_that_was_killed_is_followed_by_another_founder():
    """Until the magic of the control segment is there, there is no index."""
    buffers = buffers_of(100)
    filled(buffers, 10)
    buffers[0][0:8] = bytes(8)
    reader = revocations.RevocationReader(*buffers[:3])
    assert ask(reader, key_of(1)) == UNSTABLE
    writer = writer_of(buffers)
    writer.set_evidence(0, 10**9)
    assert writer.stats()["entries"] == 0
    assert ask(reader, key_of(1)) == CLEAR


@pytest.mark.parametrize("word", [0, 1, 8])
def test_writer_refuses_memory_of_another_layout(word):
    """Magic, version and generation must fit; the supervisor then makes new memory."""
    buffers = buffers_of(100)
    filled(buffers, 10)
    struct.pack_into("=Q", buffers[0], 8 * word, 77)
    reader = revocations.RevocationReader(*buffers[:3])
    assert ask(reader, key_of(1)) == UNSTABLE
    with pytest.raises(ValueError, match="not a revocation index of this layout"):
        writer_of(buffers)


@pytest.mark.parametrize("word", range(6))
@pytest.mark.parametrize("value", WORDS)
def test_reader_is_unstable_with_a_bad_arena_header(word, value):
    """Nothing is derived from a header that does not fit its buffer."""
    buffers = buffers_of(100)
    filled(buffers, 10)
    reader = revocations.RevocationReader(*buffers[:3])
    which = 1 + reader.generation() % 2
    held = struct.unpack_from("=Q", buffers[which], 8 * word)[0]
    struct.pack_into("=Q", buffers[which], 8 * word, value)
    seeds = word in (3, 4)
    expected = (REVOKED, CLEAR) if seeds or value == held else (UNSTABLE,)
    assert ask(reader, key_of(1)) in expected


@pytest.mark.parametrize("more", range(192, 64 * 64, 192))
def test_reader_is_unstable_with_a_table_larger_than_its_buffer(more):
    """The run behind the last bucket must lie in the buffer, too."""
    buffers = buffers_of(100)
    filled(buffers, 10)
    reader = revocations.RevocationReader(*buffers[:3])
    arena = buffers[1 + reader.generation() % 2]
    buckets = struct.unpack_from("=Q", arena, 16)[0]
    struct.pack_into("=Q", arena, 16, buckets + more)
    assert ask(reader, key_of(1)) == UNSTABLE


def test_reader_stays_inside_memory_that_lies():
    """Whatever words are put anywhere, a check ends with an answer (H1)."""
    draw = random.Random(2)
    answers = set()
    for _ in range(300):
        buffers = buffers_of(100)
        filled(buffers, 300)
        reader = revocations.RevocationReader(*buffers[:3])
        for _ in range(draw.choice((1, 10, 5000))):
            buffer = draw.choice(buffers[:3])
            start = draw.choice((0, 0, 128))
            at = start + 8 * draw.randrange(
                min(draw.choice((9, 5000)), (len(buffer) - start) // 8)
            )
            value = draw.choice((*WORDS, draw.getrandbits(64)))
            struct.pack_into("=Q", buffer, at, value)
            answers.add(ask(reader, key_of(draw.randrange(400))) & 0xFF)
        reader.find(key_of(1))
    assert answers <= {1, 2, 3, 4, 5}
    assert answers >= {CLEAR, REVOKED, UNSTABLE}


def test_lookup_ends_in_a_table_without_an_empty_slot():
    """A run is followed for a bounded number of slots."""
    buffers = buffers_of(100)
    filled(buffers, 10)
    reader = revocations.RevocationReader(*buffers[:3])
    arena = buffers[1 + reader.generation() % 2]
    arena[128:] = b"\xff" * (len(arena) - 128)
    assert ask(reader, key_of(1)) == CLEAR
    assert ask(reader, b"\xff" * 16) == REVOKED
