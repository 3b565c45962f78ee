"""An index in plain memory that tests may cut, copy and spoil."""

import struct

from fastgate._ext import revocations
from fastgate._ext.revocations import ALWAYS

NOW_S = 1_700_000_000


LATER_S = NOW_S + 1000


WORDS = (0, 1, 7, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def key_of(number, family=0):
    return struct.pack("=QQ", number, family)


def buffers_of(capacity):
    arena_bytes, control_bytes = revocations.layout(capacity)
    sizes = (control_bytes, arena_bytes, arena_bytes, revocations.SLOTS_BYTES)
    return [bytearray(size) for size in sizes]


def writer_of(buffers, **options):
    options = {"origins": 1, "now_s": NOW_S, **options}
    return revocations.RevocationWriter(*buffers, **options)


def ask(reader, key):
    return reader.check(key, NOW_S, NOW_S, 10**9, 0, 10**9, 0, 10**9)


def finish(writer):
    while writer.maintain(NOW_S):
        pass


def filled(buffers, count, **options):
    writer = writer_of(buffers, **options)
    for number in range(count):
        writer.insert(key_of(number), ALWAYS, LATER_S)
    writer.set_evidence(0, 10**9)
    finish(writer)
    return writer


def slot_of(arena, key):
    """The offset of a key's slot: its words are nowhere else in the arena."""
    at = arena.index(key, 128)
    while at % 8:
        at = arena.index(key, at + 1)
    return at


def copy_of(buffers):
    return [bytearray(buffer) for buffer in buffers]


def writer_in_a_cycle(buffers):
    cycle = []
    cycle.append(writer_of(buffers, free=lambda *_: cycle))
    return cycle[0]
