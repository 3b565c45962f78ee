"""Frames of a WebSocket are followed however their bytes are cut (RFC 6455)."""

import struct

import pytest

from fastgate.hotpath.frames import POLICY_VIOLATION, FrameEdges, close_frame

MASK = b"mask"
FRAMES = {
    "empty": b"\x81\x00",
    "short": b"\x81\x03abc",
    "masked": b"\x82\x83" + MASK + b"abc",
    "two bytes of length": b"\x82\x7e" + struct.pack(">H", 300) + b"x" * 300,
    "eight bytes of length": b"\x02\x7f" + struct.pack(">Q", 70_000) + b"x" * 70_000,
    "masked, two bytes": b"\x82\xfe" + struct.pack(">H", 200) + MASK + b"x" * 200,
    "ping": b"\x89\x02hi",
}


@pytest.mark.parametrize("name", FRAMES)
def test_an_edge_is_found_at_the_end_of_a_frame_and_nowhere_else(name):
    """Every split of a frame leads to the same end."""
    frame = FRAMES[name]
    step = 1 if len(frame) < 1000 else 997
    for cut in range(1, len(frame), step):
        edges = FrameEdges()
        edges.feed(frame[:cut])
        assert not edges.between
        edges.feed(frame[cut:])
        assert edges.between


def test_edges_are_found_in_a_stream_of_many_frames():
    """All of them in one piece, and byte after byte."""
    stream = b"".join(FRAMES.values())
    whole, slow = FrameEdges(), FrameEdges()
    whole.feed(stream)
    edges = 0
    for at in range(len(stream)):
        slow.feed(stream[at : at + 1])
        edges += slow.between
    assert whole.between
    assert edges == len(FRAMES)


def test_the_rest_of_an_open_frame_is_told_from_what_comes_behind_it():
    """What belongs to the next frame is not counted."""
    edges = FrameEdges()
    edges.feed(FRAMES["short"] + b"\x81\x05he")
    assert edges.rest(b"llo" + FRAMES["short"]) == 3
    assert edges.between
    assert edges.rest(FRAMES["short"]) == 0


def test_a_close_frame_is_a_control_frame_however_long_its_reason():
    """RFC 6455 section 5.5: at most 125 bytes of payload, status code first."""
    assert close_frame(POLICY_VIOLATION, "no") == b"\x88\x04\x03\xf0no"
    long = close_frame(POLICY_VIOLATION, "x" * 500)
    assert len(long) == 2 + 125
    assert long[1] == 125
