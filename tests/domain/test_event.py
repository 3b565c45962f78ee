"""Events on the wire: what is written is read, and nothing else is."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracle import event_frame as oracle

from fastgate.control.event_batch import decode_batch
from fastgate.domain.event import (
    Batch,
    Event,
    decode_event,
    encode_batch,
    encode_event,
    ids_digest,
    key_id,
    lift_id,
)
from fastgate.domain.frame import MAX_FRAME_BYTES, FaultKind, FrameError
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
    return decode_batch(payload, keys)


ONE = encode_batch(Batch("eu", PUBLISHER, (event(),)))
# Where things stand in ONE: docs/revocation-frame.md.
VERSION, FLAGS, KEY, SEQ, COUNT, ORIGIN = 2, 3, 4, 8, 16, 18
PUBLISHER_AT = ORIGIN + 1 + len("eu")
SIZE = PUBLISHER_AT + 1 + len(PUBLISHER)
KIND, EVENT_FLAGS, AT, EXPIRES, ID = SIZE + 2, SIZE + 3, SIZE + 20, SIZE + 28, SIZE + 32


def put(at: int, raw: bytes, payload: bytes = ONE) -> bytes:
    return payload[:at] + raw + payload[at + len(raw) :]


def grown(flag: int, tail: bytes) -> bytes:
    """Return ONE with a flag and octets behind its event."""
    size = len(ONE) - SIZE - 2 + len(tail)
    return put(SIZE, size.to_bytes(2), put(EVENT_FLAGS, bytes([flag]))) + tail


def sized(name: bytes) -> bytes:
    return bytes([len(name)]) + name


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
events = st.builds(
    Event,
    id=names,
    origin=names,
    at=st.integers(0, 10**14 - 1).map(lambda ms: ms / 1000),
    kind=st.sampled_from(Kind),
    key=st.binary(min_size=16, max_size=16),
    expires=st.integers(1, 2**32 - 1),
    key_id=st.just(KEY_NAME),
    seq=st.integers(1, 2**53),
    cutoff=st.integers(0, EVERYTHING),
    urgent=st.booleans(),
    reason=st.text(st.characters(codec="utf-8"), max_size=128),
    hand=st.lists(names, max_size=4).map(tuple),
    lifts=st.one_of(st.just(""), names),
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
        pytest.param(payload, kind, id=name)
        for name, payload, kind in [
            ("empty", b"", FaultKind.MALFORMED),
            ("json", b'{"v":1,"t":"events"}', FaultKind.MALFORMED),
            ("oversize", ONE + bytes(MAX_FRAME_BYTES), FaultKind.OVERSIZE),
            ("version", put(VERSION, b"\x02"), FaultKind.VERSION),
            ("flags", put(FLAGS, b"\x02"), FaultKind.CRITICAL),
            ("key", put(KEY, b"\xff\xff\xff\xff"), FaultKind.KEY),
            ("seq-0", put(SEQ, bytes(8)), FaultKind.MALFORMED),
            ("seq-high", put(SEQ, (2**53 + 1).to_bytes(8)), FaultKind.MALFORMED),
            ("no-events", put(COUNT, bytes(2)), FaultKind.MALFORMED),
            ("257-events", put(COUNT, b"\x01\x01"), FaultKind.MALFORMED),
            ("two-of-one", put(COUNT, b"\x00\x02"), FaultKind.MALFORMED),
            ("origin", put(ORIGIN + 1, b".."), FaultKind.MALFORMED),
            ("no-origin", put(ORIGIN, b"\x00"), FaultKind.MALFORMED),
            ("no-dot", ONE.replace(b".", b"_", 1), FaultKind.MALFORMED),
            ("two-dots", put(PUBLISHER_AT + 2, b"."), FaultKind.MALFORMED),
            ("kind-0", put(KIND, b"\x00"), FaultKind.CRITICAL),
            ("kind-8", put(KIND, b"\x08"), FaultKind.CRITICAL),
            ("event-flag", put(EVENT_FLAGS, b"\x80"), FaultKind.CRITICAL),
            ("at", put(AT, b"\xff"), FaultKind.MALFORMED),
            ("expires-0", put(EXPIRES, bytes(4)), FaultKind.MALFORMED),
            ("id", put(ID + 1, b" "), FaultKind.MALFORMED),
            ("id-dash", put(ID + 1, b"-"), FaultKind.MALFORMED),
            ("id-long", put(ID, b"\x41"), FaultKind.MALFORMED),
            ("shorter", ONE[:-1], FaultKind.MALFORMED),
            ("longer", ONE + b"\x00", FaultKind.MALFORMED),
            ("event-longer", grown(0, b"\x00"), FaultKind.MALFORMED),
            ("cutoff-cut", grown(4, b"\x00" * 3), FaultKind.MALFORMED),
            ("reason-empty", grown(16, b"\x00\x00"), FaultKind.MALFORMED),
            ("reason-long", grown(16, b"\x00\x81" + b"r" * 129), FaultKind.MALFORMED),
            ("reason-latin", grown(16, b"\x00\x01\xe4"), FaultKind.MALFORMED),
            ("hand-0", grown(32, b"\x00"), FaultKind.MALFORMED),
            ("hand-65", grown(32, b"\x41" + sized(b"us") * 65), FaultKind.MALFORMED),
            ("lifts", grown(64, sized(b"a b")), FaultKind.MALFORMED),
        ]
    ],
)
def test_batch_is_refused_when_a_member_is_wrong(payload, kind):
    """B4: each fault has a name, and nothing of the frame is taken."""
    for decode in (decode_batch, oracle.decode_batch):
        with pytest.raises(FrameError) as caught:
            decode(payload, {KEY_NAME})
        assert caught.value.kind is kind


def test_event_is_skipped_when_its_unknown_kind_is_optional():
    """B4: an unknown kind that says so is counted, and enforces nothing."""
    one = read(put(KIND, b"\x09", put(EVENT_FLAGS, b"\x02"))).events[0]
    assert one.kind is None
    assert (one.id, one.expires) == ("id-1", 1_700_003_600)


def outcome(decode: object, payload: bytes) -> object:
    """Return a batch, or the kind of fault."""
    try:
        return decode(payload, {KEY_NAME})
    except FrameError as fault:
        return fault.kind


FULL = encode_batch(
    Batch(
        "eu",
        PUBLISHER,
        (
            event(
                1, urgent=True, cutoff=7, origin="us", reason="r\u00e9", hand=("ap",)
            ),
            event(2, lifts="id-1"),
        ),
    )
)


@settings(max_examples=500)
@given(st.data())
def test_reader_says_what_its_page_says_when_bytes_are_mutated(data):
    """F7: nothing in a frame can crash the agent, or be read in two ways."""
    payload = bytearray(FULL)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload))) if data.draw(st.booleans()) else None
    raw = bytes(payload[:cut])
    assert outcome(decode_batch, raw) == outcome(oracle.decode_batch, raw)


def test_batch_is_refused_when_it_is_cut_anywhere():
    """A frame is taken whole or not at all."""
    for size in range(len(FULL)):
        assert isinstance(outcome(decode_batch, FULL[:size]), FaultKind)


def test_lift_has_one_name_whoever_makes_it():
    """Lifted twice, in two gateways, it is one event; of two origins, two."""
    assert lift_id("eu", "a") == lift_id("eu", "a")
    assert len({lift_id("eu", "a"), lift_id("us", "a"), lift_id("eu", "b")}) == 3


def test_key_id_differs_between_keys_and_tells_neither():
    """Unequal hash keys must be seen, the key itself must not."""
    assert key_id(b"a" * 32) != key_id(b"b" * 32) != key_id(b"")
    assert len(key_id(b"")) == 8


def test_ids_digest_differs_when_ids_differ():
    """Two batches with the same numbers and other content must not look the same."""
    assert ids_digest([event(1)]) != ids_digest([event(1, id="other")])
