"""Events on the wire: what is written is read, and nothing else is."""

import contextlib
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.event import (
    Batch,
    Event,
    decode_batch,
    decode_event,
    encode_batch,
    encode_event,
    ids_digest,
    key_id,
)
from fastgate.domain.frame import MAX_FRAME_BYTES, FaultKind, FrameError, open_frame
from fastgate.domain.revocation import EVERYTHING, Kind

KEY_NAME = key_id(b"k" * 32)
PUBLISHER = "gw-eu-1.0123456789abcdef"


def event(seq: int = 1, **changes: object) -> Event:
    made = Event(
        id=f"id-{seq}",
        origin="eu",
        at=1_700_000_000.5,
        kind=Kind.SID,
        key=bytes(range(16)),
        expires=1_700_003_600,
        key_id=KEY_NAME,
        seq=seq,
    )
    return replace(made, **changes)


def read(payload: bytes, keys: tuple[str, ...] = (KEY_NAME,)) -> Batch:
    type_, fields = open_frame(payload)
    assert type_ == "events"
    return decode_batch(fields, keys)


def changed(**members: object) -> bytes:
    frame = orjson.loads(encode_batch(Batch("eu", PUBLISHER, (event(),))))
    return orjson.dumps(frame | members)


def changed_event(**members: object) -> bytes:
    frame = orjson.loads(encode_batch(Batch("eu", PUBLISHER, (event(),))))
    frame["events"][0] |= members
    return orjson.dumps(frame)


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
events = st.builds(
    Event,
    id=names,
    origin=names,
    at=st.floats(0, 9e10),
    kind=st.sampled_from(Kind),
    key=st.binary(min_size=16, max_size=16),
    expires=st.integers(1, 2**32 - 1),
    key_id=st.just(KEY_NAME),
    seq=st.integers(1, 2**53),
    cutoff=st.integers(0, EVERYTHING),
    urgent=st.booleans(),
    reason=st.text(st.characters(codec="utf-8"), max_size=128),
    hand=st.lists(names, max_size=4).map(tuple),
)


@given(events)
def test_event_comes_back_equal(one):
    """Whatever an event may hold survives both forms of the wire."""
    assert decode_event(encode_event(one), (KEY_NAME,)) == one
    for speaker in (one.origin, "elsewhere"):
        batch = Batch(speaker, PUBLISHER, (one,), ack=True)
        assert read(encode_batch(batch)) == batch


def test_batch_numbers_its_events_from_the_first():
    """The number is sent once, so the numbers of a batch cannot have a hole."""
    batch = read(encode_batch(Batch("eu", PUBLISHER, (event(7), event(8)))))
    assert [one.seq for one in batch.events] == [7, 8]


def test_batch_is_refused_by_its_writer_when_numbers_have_a_hole():
    """A hole cannot be written."""
    with pytest.raises(ValueError, match="follow each other"):
        encode_batch(Batch("eu", PUBLISHER, (event(7), event(9))))


def test_batch_is_refused_by_its_writer_when_hash_keys_differ():
    """One frame names one hash key."""
    mixed = (event(1), event(2, key_id="00000000"))
    with pytest.raises(ValueError, match="one hash key"):
        encode_batch(Batch("eu", PUBLISHER, mixed))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", FaultKind.MALFORMED),
        (b"[]", FaultKind.MALFORMED),
        (b"\xff\xfe", FaultKind.MALFORMED),
        (b"[" * 5_000, FaultKind.MALFORMED),
        (b" " * (MAX_FRAME_BYTES + 1), FaultKind.OVERSIZE),
        (changed(v=2), FaultKind.VERSION),
        (changed(v=True), FaultKind.MALFORMED),
        (changed(v="1"), FaultKind.MALFORMED),
        (changed(crit=["new"]), FaultKind.CRITICAL),
        (changed(key_id="ffffffff"), FaultKind.KEY),
        (changed(key_id="nonsense"), FaultKind.MALFORMED),
        (changed(seq=0), FaultKind.MALFORMED),
        (changed(seq=2**53 + 1), FaultKind.MALFORMED),
        (changed(seq=1.0), FaultKind.MALFORMED),
        (changed(publisher="no-dot"), FaultKind.MALFORMED),
        (changed(publisher="a.b.01234567"), FaultKind.MALFORMED),
        (changed(origin="../eu"), FaultKind.MALFORMED),
        (changed(events=[]), FaultKind.MALFORMED),
        (changed(events=[{}] * 257), FaultKind.MALFORMED),
        (changed(events=["x"]), FaultKind.MALFORMED),
        (changed_event(kind="lift"), FaultKind.CRITICAL),
        (changed_event(id="a b"), FaultKind.MALFORMED),
        (changed_event(id="x" * 65), FaultKind.MALFORMED),
        (changed_event(key="00" * 15), FaultKind.MALFORMED),
        (changed_event(key="0G" * 16), FaultKind.MALFORMED),
        (changed_event(key="AB" * 16), FaultKind.MALFORMED),
        (changed_event(at=-1), FaultKind.MALFORMED),
        (changed_event(at="now"), FaultKind.MALFORMED),
        (changed_event(expires=2**32), FaultKind.MALFORMED),
        (changed_event(cutoff=-1), FaultKind.MALFORMED),
        (changed_event(urgent=1), FaultKind.MALFORMED),
        (changed_event(reason="r" * 129), FaultKind.MALFORMED),
        (changed_event(hand="us"), FaultKind.MALFORMED),
        (changed_event(hand=["us"] * 65), FaultKind.MALFORMED),
    ],
)
def test_batch_is_refused_when_a_member_is_wrong(payload, kind):
    """B4: each fault has a name, and nothing of the frame is taken."""
    with pytest.raises(FrameError) as caught:
        read(payload)
    assert caught.value.kind is kind


def test_event_is_skipped_when_its_unknown_kind_is_optional():
    """B4: an unknown kind that says so is counted, and enforces nothing."""
    one = read(changed_event(kind="weather", optional=True)).events[0]
    assert one.kind is None
    assert (one.id, one.expires) == ("id-1", 1_700_003_600)


def test_members_are_ignored_when_a_later_version_added_them():
    """A member that is not critical may be added without breaking this reader."""
    assert read(changed_event(colour="blue")).events == (event(),)


@given(st.data())
def test_reader_raises_only_its_own_error_when_bytes_are_mutated(data):
    """F7: nothing in a frame can crash the agent."""
    payload = bytearray(encode_batch(Batch("eu", PUBLISHER, (event(1), event(2)))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FrameError):
        _, fields = open_frame(bytes(payload))
        assert decode_batch(fields, (KEY_NAME,)).events


def test_key_id_differs_between_keys_and_tells_neither():
    """Unequal hash keys must be seen, the key itself must not."""
    assert key_id(b"a" * 32) != key_id(b"b" * 32) != key_id(b"")
    assert len(key_id(b"")) == 8


def test_ids_digest_differs_when_ids_differ():
    """Two batches with the same numbers and other content must not look the same."""
    assert ids_digest([event(1)]) != ids_digest([event(1, id="other")])
