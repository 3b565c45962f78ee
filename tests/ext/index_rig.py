"""A revocation index with one writer and one reader, for tests."""

import struct

from fastgate._ext import revocations

NOW_S = 1_700_000_000


BOOT_NS = 50 * 10**9


LATER_S = NOW_S + 1000


def key_of(number, family=0):
    return struct.pack("=QQ", number, family)


class Memory:
    """Plain buffers, their writer and their reader."""

    def __init__(self, capacity=20_000, **options):
        arena_bytes, control_bytes = revocations.layout(capacity)
        self.buffers = [
            bytearray(control_bytes),
            bytearray(arena_bytes),
            bytearray(arena_bytes),
            bytearray(revocations.SLOTS_BYTES),
        ]
        self.reader = revocations.RevocationReader(*self.buffers, 0)
        self.succeed(**options)

    def succeed(self, **options):
        """Another writer, as after the death of the last one."""
        options = {"origins": 1, "now_s": NOW_S, **options}
        self.writer = revocations.RevocationWriter(*self.buffers, **options)

    def check(self, *keys, iat=NOW_S, now_s=NOW_S, now_ns=BOOT_NS, **ages):
        return self.reader.check(
            *(b"".join(keys), iat, now_s, now_ns),
            *(ages.get("home", 0), ages.get("max_age_ns", BOOT_NS)),
            *(ages.get("issuer_home", 0), ages.get("issuer_max_age_ns", BOOT_NS)),
        )

    def finish(self, now_s=NOW_S):
        """End the rebuild that is under way."""
        while self.writer.maintain(now_s):
            pass
