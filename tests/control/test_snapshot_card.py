"""Cards of saved states: what somebody of the deployment may have written wrongly."""

from dataclasses import replace

import pytest
from tests.control.feed_net import HASH_KEY

from fastgate.control.frame_seal import FrameSeal
from fastgate.control.snapshot_card import MAX_CARD_BYTES, Card
from fastgate.errors import ControlError

SEAL = FrameSeal()
CARD = Card(
    region="eu",
    slot="a",
    publisher="gw-eu-1.journal-1",
    serial=7,
    wall_ms=1_763_690_000_400,
    save="ab" * 12,
    size=1_000,
    digest="cd" * 32,
    records="32/1024/little",
)


def test_card_comes_back_as_it_was_written():
    """And says whose it is."""
    card = Card.decode(CARD.encode(HASH_KEY, SEAL), (b"x" * 16, HASH_KEY), SEAL)
    assert card == CARD
    assert card.node == "gw-eu-1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", 5),
        ("publisher", "gw-eu-1"),
        ("publisher", "a.b"),
        ("publisher", ""),
        ("serial", -1),
        ("serial", 2**60),
        ("serial", True),
        ("wall_ms", 1.5),
        ("wall_ms", None),
        ("save", "ab" * 11),
        ("save", "zz" * 12),
        ("save", "AB" * 12),
        ("size", "1"),
        ("digest", "cd" * 33),
        ("records", []),
        ("region", "e" * MAX_CARD_BYTES),
    ],
)
def test_card_with_a_wrong_member_is_refused(name, value):
    """Its hash is right, as a node of another version may have made it."""
    wrong = replace(CARD, **{name: value})
    with pytest.raises(ControlError, match="card"):
        Card.decode(wrong.encode(HASH_KEY, SEAL), (HASH_KEY,), SEAL)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"fgcard",
        b"fgcard\x00\x02" + bytes(32) + b"{}",
        b"{}",
        b"x" + CARD.encode(HASH_KEY, SEAL),
        CARD.encode(HASH_KEY, SEAL) + b" ",
    ],
    ids=["nothing", "name", "version", "json", "before", "behind"],
)
def test_what_is_no_card_is_refused(payload):
    """Whatever lies there."""
    with pytest.raises(ControlError, match="card"):
        Card.decode(payload, (HASH_KEY,), SEAL)
