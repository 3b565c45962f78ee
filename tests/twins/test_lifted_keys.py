"""Keys that lifts have, after their entries have gone: kept, saved, bounded."""

import pytest
from tests.ext.index_rig import NOW_S
from tests.feed_fakes import FakeIndex
from tests.twins.test_events import KEYS, LATER, event, frame, store

from fastgate._ext.events import SEGMENT_COUNT, EventStore

ID = "0123456789abcdef01234567"
KEPT_S = 7_200
MOST = 65_536


def lifted() -> tuple[EventStore, FakeIndex, int]:
    """Return a store whose one event is lifted, and the mixed key."""
    index = FakeIndex()
    one = store(index)
    one.settle(NOW_S)
    one.apply(frame(event(ID)), 1, NOW_S)
    (record,) = one.about(KEYS[0])
    one.apply(frame(event("l", lifts=ID)), 2, NOW_S)
    assert index.entries == {}
    return one, index, record[7]


def test_key_of_a_lift_is_known_when_its_entry_is_gone():
    """So that the lift can be said again."""
    one, _, mixed = lifted()
    assert one.key_of(mixed) == KEYS[0]
    assert one.kept_keys == 1
    one.apply(frame(event("l", lifts=ID)), 3, NOW_S)
    assert one.kept_keys == 1, "the same again"


def test_key_of_a_lift_is_saved_with_the_records():
    """A restart, or a node that takes the state, can say it too."""
    one, _, mixed = lifted()
    two = store(FakeIndex(), seeds=one.seeds)
    numbers = bytes(range(64)), bytes(range(16))
    for segment in range(SEGMENT_COUNT):
        two.load(segment, one.dump(segment), *numbers)
    assert two.key_of(mixed) is None
    two.load_keys(one.dump_keys())
    assert two.key_of(mixed) == KEYS[0]
    with pytest.raises(ValueError, match="16"):
        two.load_keys(b"short")


def test_key_of_a_lift_is_forgotten_with_its_record():
    """What has long ended is lifted by nobody."""
    one, _, mixed = lifted()
    for segment in range(SEGMENT_COUNT):
        one.sweep(segment, NOW_S)
    assert one.kept_keys == 1
    for segment in range(SEGMENT_COUNT):
        one.sweep(segment, LATER + KEPT_S + 1)
    assert one.kept_keys == 0
    assert one.key_of(mixed) is None


def test_keys_of_lifts_are_bounded():
    """Past the bound lifts have effect as before, and no more are kept."""
    index = FakeIndex()
    one = store(index)
    one.settle(NOW_S)
    keys = [number.to_bytes(16) for number in range(1, MOST + 300)]
    for start in range(0, len(keys), 256):
        some = keys[start : start + 256]
        lifts = [
            event(f"l-{start + at}", key, seq=at + 1, lifts=f"{start + at:024x}")
            for at, key in enumerate(some)
        ]
        one.apply(frame(*lifts), start + 1, NOW_S)
    assert one.kept_keys == MOST
    assert len(one.dump_keys()) == 16 * MOST
    one.apply(frame(event("e", keys[-1])), 10**6, NOW_S)
    assert keys[-1] in index.entries
