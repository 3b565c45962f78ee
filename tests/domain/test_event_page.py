"""docs/revocation-frame.md shows what is really sent, octet for octet."""

import pathlib
import re

from tests.oracle import event_frame as oracle

from fastgate.control.event_batch import decode_batch
from fastgate.domain.event import Batch, Event, encode_batch, key_id, lift_id
from fastgate.domain.revocation import KeyHasher, Kind

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "revocation-frame.md"
HASH_KEY = b"example-hash-key-0123456789abcdef"
ID = "8d1c0f5e9ab2c4d6e7f80912"


def example() -> bytes:
    lines = re.findall(r"^[0-9a-f]{4}  ([0-9a-f ]+)$", PAGE.read_text(), re.MULTILINE)
    return bytes.fromhex(" ".join(lines))


def batch() -> Batch:
    common = {
        "origin": "eu",
        "kind": Kind.SID,
        "key": KeyHasher(HASH_KEY, "https://id.example").key(Kind.SID, "s-123"),
        "expires": 1_763_736_892,
        "key_id": key_id(HASH_KEY),
    }
    revoked = {"urgent": True, "reason": "stolen laptop"}
    events = (
        Event(id=ID, at=1_763_690_000.123, seq=41, **revoked, **common),
        Event(id=lift_id("eu", ID), at=1_763_690_010.5, seq=42, lifts=ID, **common),
    )
    return Batch("eu", "gw-eu-1.5f0c2a9be1d47c33", events, ack=True)


def test_example_is_what_is_written():
    """Whoever writes another reader has these octets to begin with."""
    assert encode_batch(batch()) == example()


def test_example_is_read_as_what_the_page_says():
    """By the compiled reader, and by one that was written after the page."""
    known = {key_id(HASH_KEY)}
    assert decode_batch(example(), known) == batch()
    assert oracle.decode_batch(example(), known) == batch()
