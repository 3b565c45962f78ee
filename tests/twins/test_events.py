"""The compiled event store and plain sets come to the same index.

Source: REVOCATION.md section 3: the set of events minus lifted ones is the same
whatever the order of arrival.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ext.index_rig import NOW_S, Memory
from tests.feed_fakes import FakeIndex
from tests.oracle import digest as digest_oracle
from tests.oracle.events import EventSet

from fastgate._ext.event_frame import EventFrame
from fastgate._ext.event_sums import PublisherState, term
from fastgate._ext.events import SEGMENT_COUNT, EventStore
from fastgate.domain.event import Batch, Event, encode_batch
from fastgate.domain.revocation import Kind

KEY_ID = "00000000"
PUBLISHER = "gw-eu-1.aaaaaaaa"
KEYS = [bytes([n]) * 16 for n in range(3)]
IDS = ["a", "b", "0123456789abcdef01234567", "0123456789ABCDEF01234567"]
LATER = NOW_S + 3_600


def store(writer: object, **how: object) -> EventStore:
    how = {"origins": ("eu", "us"), "hash_keys": (KEY_ID,), "limit": 10**6} | how
    return EventStore(writer, **how)


def event(id_: str, key: bytes = KEYS[0], **members: object) -> Event:
    members = {"expires": LATER, "cutoff": 7, "origin": "eu", "seq": 1} | members
    return Event(id=id_, at=1.0, kind=Kind.SID, key=key, key_id=KEY_ID, **members)


def frame(*events: Event, stream: str = "eu") -> EventFrame:
    return EventFrame(encode_batch(Batch(stream, PUBLISHER, events)))


said = st.tuples(
    st.sampled_from(["event", "lift"]),
    st.sampled_from(IDS),
    st.sampled_from(["eu", "us"]),
    st.sampled_from(["eu", "us"]),
    st.sampled_from(KEYS),
)


def once(ops: list[tuple]) -> list[tuple]:
    """An id of an origin names one event, so it has one key, cutoff and expiry."""
    of: dict[tuple, bytes] = {}
    return [
        (what, id_, origin, stream, of.setdefault((id_, origin), key))
        for what, id_, origin, stream, key in ops
    ]


def members(id_: str, origin: str) -> tuple[int, int]:
    return 10 + len(id_) + (origin == "us"), LATER + IDS.index(id_) * 10


@settings(max_examples=300)
@given(st.lists(said, max_size=14).map(once), st.integers(0, 14), st.randoms())
def test_index_equals_the_set_when_events_and_lifts_come_in_any_order(ops, at, shuffle):
    """Lifts early, late and twice; copies in other streams; around `settle`."""
    model, index = EventSet(), FakeIndex()
    memory = Memory(2_000)
    stores = [store(index), store(memory.writer)]
    shuffle.shuffle(ops)
    for number, (what, id_, origin, stream, key) in enumerate(ops * 2):
        for each in stores if number == at else ():
            each.settle(NOW_S)
        cutoff, expires = members(id_, origin)
        one = event(id_, key, origin=origin, cutoff=cutoff, expires=expires)
        if what == "event":
            model.event(id_, origin, key, cutoff, expires)
        else:
            one = event(f"l-{id_[:9]}", key, origin=origin, lifts=id_, expires=expires)
            if origin == stream:
                model.lift(id_, origin, key, expires)
        for each in stores:
            assert each.apply(frame(one, stream=stream), number + 1, NOW_S)
    for each in stores:
        each.settle(NOW_S)
    assert index.entries == model.entries()
    assert {
        key: found for key in KEYS if (found := memory.reader.find(key))
    } == model.entries()


def test_lift_of_another_origin_counts_for_nothing():
    """Only the origin of an id takes its word back, wherever the lift is read."""
    index = FakeIndex()
    one = store(index)
    one.settle(NOW_S)
    one.apply(frame(event("a")), 1, NOW_S)
    one.apply(frame(event("l", origin="us", lifts="a"), stream="us"), 1, NOW_S)
    one.apply(frame(event("l", origin="eu", lifts="a"), stream="us"), 2, NOW_S)
    assert KEYS[0] in index.entries
    one.apply(frame(event("l", lifts="a")), 2, NOW_S)
    assert index.entries == {}


def test_lift_with_another_expiry_counts_for_nothing():
    """A lift has its event's expiry, whichever of the two comes first."""
    for order in (0, 1):
        index = FakeIndex()
        one = store(index)
        one.settle(NOW_S)
        both = [event("a"), event("l", lifts="a", expires=LATER + 1)]
        for each in both[::-1] if order else both:
            one.apply(frame(each), 1, NOW_S)
        assert KEYS[0] in index.entries
        assert one.strange == 1


def test_lift_waits_until_every_origin_was_read():
    """After a restart the index may hold what no stream has told this process yet."""
    index = FakeIndex()
    one = store(index)
    one.apply(frame(event("a"), event("l", lifts="a", seq=2)), 1, NOW_S)
    assert KEYS[0] in index.entries
    assert one.stats()["waiting_lifts"] == 1
    one.apply(frame(event("b", origin="us", expires=LATER + 5), stream="us"), 1, NOW_S)
    one.settle(NOW_S)
    assert index.entries == {KEYS[0]: (7, LATER + 5)}


def test_key_is_not_lifted_when_it_has_more_events_than_are_kept():
    """A crowd stays revoked: nobody can say what else names that key."""
    index = FakeIndex()
    one = store(index)
    one.settle(NOW_S)
    for i in range(1_030):
        one.apply(frame(event(f"e{i}")), i + 1, NOW_S)
    for i in range(1_030):
        one.apply(frame(event(f"l{i}", lifts=f"e{i}")), i + 1, NOW_S)
    assert KEYS[0] in index.entries
    assert one.events <= 1_025


def test_nothing_is_lifted_when_an_event_did_not_fit_into_the_table():
    """What is enforced and not known by id might be what still revokes the key."""
    index = FakeIndex()
    one = store(index, limit=1)
    one.settle(NOW_S)
    one.apply(frame(event("a")), 1, NOW_S)
    one.apply(frame(event("b")), 2, NOW_S)
    one.apply(frame(event("l", lifts="a")), 3, NOW_S)
    assert one.lost
    assert KEYS[0] in index.entries


def test_urgent_event_wakes_readers_once():
    """A replay of the same event must not end every open stream again."""
    index = FakeIndex()
    one = store(index)
    for position in (1, 2):
        one.apply(frame(event("a", urgent=True)), position, NOW_S)
    assert index.urgent == 1


def test_event_is_found_by_id_and_its_key_by_the_index():
    """Whoever lifts has the id; the lift needs the key."""
    memory = Memory(5_000)
    one = store(memory.writer)
    rng = random.Random(7)
    keys = [rng.randbytes(16) for _ in range(3_000)]
    for i, key in enumerate(keys):
        one.apply(frame(event(f"{i:024x}", key)), i + 1, NOW_S)
    found = [r for s in range(SEGMENT_COUNT) for r in one.find(f"{1234:024x}", s)]
    assert [(r[0], r[3], r[4]) for r in found] == [(f"{1234:024x}", LATER, 7)]
    assert one.key_of(found[0][7]) == keys[1234]
    assert memory.writer.recover(found[0][7], 1, 2) is None
    assert one.published(f"{2_999:024x}", "eu") == (1, 3_000)
    assert one.published(f"{2_999:024x}", "us") is None


def test_expired_records_leave_and_the_others_stay():
    """Memory follows the live events."""
    index = FakeIndex()
    one = store(index)
    rng = random.Random(3)
    for i in range(4_000):
        expires = NOW_S + (10 if i % 2 else 100_000)
        one.apply(
            frame(event(f"{i:024x}", rng.randbytes(16), expires=expires)), 1, NOW_S
        )
    assert one.events == 4_000
    swept = sum(one.sweep(s, NOW_S + 8_000) for s in range(SEGMENT_COUNT))
    assert (swept, one.events) == (2_000, 2_000)
    found = [r for s in range(SEGMENT_COUNT) for r in one.find(f"{2:024x}", s)]
    assert len(found) == 1
    assert not [r for s in range(SEGMENT_COUNT) for r in one.find(f"{1:024x}", s)]


def test_events_that_a_full_reading_did_not_bring_are_told():
    """What a stream lost is known to whoever read it before."""
    one = store(FakeIndex())
    ids = [f"{i:024x}" for i in range(4)]
    for id_ in ids:
        one.apply(frame(event(id_, id_[:16].encode())), 1, NOW_S)
    one.apply(frame(event("f" * 24, origin="us")), 1, NOW_S)
    one.begin_reading("eu")
    for id_ in ids[:2]:
        one.apply(frame(event(id_, id_[:16].encode())), 1, NOW_S)
    lost = [r[0] for s in range(SEGMENT_COUNT) for r in one.unread("eu", s, NOW_S)]
    assert sorted(lost) == ids[2:]


def test_records_survive_being_saved_with_other_numbers_of_origins_and_keys():
    """A snapshot outlives a restart in which the configuration has changed."""
    first = store(FakeIndex(), hash_keys=("11111111", KEY_ID))
    first.apply(
        frame(event("a" * 24), event("b", seq=2), event("l", lifts="b", seq=3)),
        1,
        NOW_S,
    )
    index = FakeIndex()
    second = store(index, origins=("us", "eu"), seeds=first.seeds)
    for segment in range(SEGMENT_COUNT):
        origins, hash_keys = bytearray([63] * 64), bytearray([15] * 16)
        origins[0], origins[1], hash_keys[1] = 1, 0, 0
        second.load(segment, first.dump(segment), bytes(origins), bytes(hash_keys))
    assert second.events == first.events == 2
    found = [r for s in range(SEGMENT_COUNT) for r in second.find("a" * 24, s)]
    assert [(r[1], r[6], r[8]) for r in found] == [(1, False, 0)]
    second.apply(frame(event("b")), 2, NOW_S)
    assert index.entries == {}, "the lift was saved too"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw, size: bytes(size) + raw[size:],
        lambda raw, size: raw[-size:] + raw[:-size],
        lambda raw, _: raw[:7] + bytes([raw[7] ^ 0x80]) + raw[8:],
        lambda raw, _: raw[:-1],
    ],
    ids=["record_of_zeros", "disordered", "of_another_segment", "cut"],
)
def test_records_that_no_dump_gave_are_refused_whole(spoil):
    """Taken, they would count as events and be found by nobody."""
    first = store(FakeIndex(), seeds=(1, 2))
    rng = random.Random(3)
    for i in range(20_000):
        first.apply(frame(event(f"{i:024x}", rng.randbytes(16))), 1, NOW_S)
    segment = next(s for s in range(SEGMENT_COUNT) if len(first.dump(s)) >= 96)
    raw = first.dump(segment)
    second = store(FakeIndex(), seeds=(1, 2))
    same = bytes(range(64)), bytes(range(16))
    with pytest.raises(ValueError, match="segment"):
        second.load(segment, spoil(raw, 32), *same)
    assert second.events == 0
    second.load(segment, raw, *same)
    assert second.events == len(raw) // 32
    assert second.dump(segment) == raw


@pytest.mark.parametrize("seed", range(6))
def test_sums_equal_their_oracle(seed):
    """Native buckets, holes and recent events, against Python objects."""
    rng, wall = random.Random(seed), 10_000
    native, oracle = PublisherState(), digest_oracle.PublisherState()
    for step in range(1_500):
        what = rng.random()
        if what < 0.8:
            seq = rng.randint(1, 900)
            expires = rng.choice(
                [wall + rng.randint(-10, 200), rng.randint(1, 2**32 - 1)]
            )
            assert native.add(seq, f"i{seq}", max(1, expires)) == oracle.add(
                seq, f"i{seq}", max(1, expires)
            )
        elif what < 0.97:
            wall += rng.choice([1, 1, 2, -5, 100, 9_000])
            mark = rng.randint(max(0, oracle.last - 60), oracle.last + 2)
            assert native.digest(mark, wall) == oracle.digest(mark, wall)
        else:
            mark = rng.randint(0, oracle.last + 1)
            native.confirm(mark)
            oracle.confirm(mark)
        assert (native.last, native.holes) == (oracle.last, oracle.holes)
        if step % 311 == 0:
            native = PublisherState.load(native.dump())


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True),
    st.integers(1, 2**32 - 1),
)
def test_term_is_blake2b(id_, expires):
    """RFC 7693, against hashlib."""
    assert term(id_, expires) == digest_oracle.term(id_, expires)


def test_sums_are_refused_when_they_are_cut():
    """A saved state is what `dump` gave, or nothing."""
    state = PublisherState()
    state.add(2, "a", 5)
    raw = state.dump()
    for size in range(len(raw)):
        with pytest.raises(ValueError, match="sums"):
            PublisherState.load(raw[:size])
