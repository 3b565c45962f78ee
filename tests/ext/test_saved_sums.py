"""Sums of a publisher from a snapshot: what was dumped is loaded, and nothing else."""

import struct

import pytest

from fastgate._ext.event_sums import PublisherState

HEAD = struct.Struct("<QQQQQ")  # last, dropped, holes, recent events, buckets
PAIR = struct.Struct("<QQ")
RECENT = struct.Struct("<QQQI")
BUCKET = struct.Struct("<IQQ")


def packed(last, dropped, holes=(), recents=(), buckets=()):
    return b"".join(
        [
            HEAD.pack(last, dropped, len(holes), len(recents), len(buckets)),
            *(PAIR.pack(*hole) for hole in holes),
            *(RECENT.pack(seq, 1, 2, expires) for seq, expires in recents),
            *(BUCKET.pack(expires, 1, 2) for expires in buckets),
        ]
    )


def test_sums_are_loaded_as_they_were_dumped():
    """Holes, recent events and buckets; and the dump of what was loaded is the same."""
    state = PublisherState()
    for seq in (1, 4, 5, 9):
        state.add(seq, f"e{seq}", 1_900_000_000 + seq)
    again = PublisherState.load(state.dump())
    assert (again.last, again.holes) == (9, [(2, 4), (6, 9)])
    assert again.dump() == state.dump()
    assert again.digest(9, 1_900_000_004) == state.digest(9, 1_900_000_004)
    made = packed(9, 3, [(2, 4), (6, 9)], [(5, 7)], [7])
    assert PublisherState.load(made).dump() == made


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        packed(9, 3, [(2, 4)])[:-1],
        packed(9, 3, [(2, 4)]) + b"x",
        packed(9, 3, [(4, 2)]),
        packed(9, 3, [(4, 4)]),
        packed(9, 3, [(0, 4)]),
        packed(9, 3, [(2, 10)]),
        packed(9, 3, [(6, 9), (2, 4)]),
        packed(9, 3, [(2, 4), (4, 6)]),
        packed(9, 10),
        packed(2**53 + 1, 0),
        packed(2**64 - 1, 0),
        packed(9, 3, recents=[(10, 7)]),
        packed(9, 3, buckets=[7, 7]),
        packed(9, 3, buckets=[0]),
    ],
    ids=[
        *("nothing", "short", "long", "backwards", "empty_hole", "number_0", "beyond"),
        *("disordered", "adjacent", "dropped_beyond"),
        *("no_number", "last_of_64_bits", "event_beyond"),
        *("bucket_twice", "no_expiry"),
    ],
)
def test_sums_that_no_dump_made_are_refused(raw):
    """Taken, they would tell of numbers that were seen and are not there."""
    with pytest.raises(ValueError, match="not the sums"):
        PublisherState.load(raw)
