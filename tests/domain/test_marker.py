"""Markers, reports and hand-over answers on the wire."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.frame import FaultKind, FrameError, open_frame
from fastgate.domain.marker import (
    MAX_MARKER_BYTES,
    Mark,
    Marker,
    Report,
    Taken,
    decode_marker,
    decode_report,
    decode_taken,
    encode_marker,
    encode_report,
    encode_taken,
)

BOOT = "00112233445566aa"
P = "gw-eu-1.01234567"
NONCE = "8899aabbccddeeff"


def marker(**changes: object) -> Marker:
    members = {
        "origin": "eu",
        "writer": "gw-eu-1",
        "boot": BOOT,
        "as_of": 12_345,
        "wall": 1_700_000_000.25,
        "marks": {"gw-eu-1.01234567": Mark(5, 2**127 + 1)},
        "echo": {"us/gw-us-1": NONCE},
        "max_token_lifetime": 3_600,
        "roster": ("gw-eu-1", "gw-eu-2"),
    }
    return Marker(**(members | changes))


def read(payload: bytes) -> Marker:
    return decode_marker(open_frame(payload)[1])


def test_marker_comes_back_equal():
    """What the writer says is what the reader has."""
    assert read(encode_marker(marker())) == marker()


def test_marker_is_refused_by_its_writer_when_too_large():
    """REVOCATION section 5: a marker is at most 64 KiB."""
    echo = {f"eu/{'n' * 60}{i}": NONCE for i in range(1_000)}
    with pytest.raises(ValueError, match="too large"):
        encode_marker(marker(echo=echo))
    assert len(encode_marker(marker())) < MAX_MARKER_BYTES


@pytest.mark.parametrize(
    "members",
    [
        {"boot": "xyz"},
        {"as_of": -1},
        {"as_of": 2**63},
        {"as_of": True},
        {"wall": "1"},
        {"marks": []},
        {"marks": {"p": {"last": 1, "digest": "00" * 16}}},
        {"marks": {P: {"last": 1}}},
        {"marks": {P: {"last": -1, "digest": "00" * 16}}},
        {"marks": {P: {"last": 1, "digest": "00" * 15}}},
        {"marks": {f"{P}{i}": {"last": 1, "digest": "00" * 16} for i in range(201)}},
        {"echo": {str(i): NONCE for i in range(401)}},
        {"roster": ["a b"]},
        {"max_token_lifetime": None},
    ],
)
def test_marker_is_refused_when_a_member_is_wrong(members):
    """A marker is proof, so it is read whole or not at all."""
    payload = orjson.dumps(orjson.loads(encode_marker(marker())) | members)
    with pytest.raises(FrameError) as caught:
        read(payload)
    assert caught.value.kind is FaultKind.MALFORMED


def test_report_comes_back_equal():
    """Position and nonce arrive as they were sent."""
    report = Report("us", "gw-us-1", NONCE, {"eu": 7, "us": 0})
    assert decode_report(encode_report(report)) == report
    assert report.sender == "us/gw-us-1"


@given(st.binary(max_size=200))
def test_report_raises_only_its_own_error_when_bytes_are_foreign(payload):
    """F7: a report is as hostile as anything else."""
    with pytest.raises(FrameError):
        decode_report(payload)


def test_report_is_refused_when_an_origin_is_no_name():
    """An origin's name becomes a status member, so it is checked."""
    payload = encode_report(Report("us", "gw", NONCE, {"e u": 7}))
    with pytest.raises(FrameError):
        decode_report(payload)


def test_taken_comes_back_equal():
    """The home's answer names number and position."""
    taken = Taken("id-1", "us", 4, 9)
    assert decode_taken(encode_taken(taken)) == taken


def test_taken_is_refused_when_the_home_answers_something_else():
    """A refusal is no receipt."""
    with pytest.raises(FrameError):
        decode_taken(b'{"v":1,"t":"refused"}')
