"""Chunked answers, as the general lane reads them, in every split (U1, T25)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.test_hostile_upstreams import BAD_BODIES, CHUNKED, CUT_BODIES

from fastgate._ext import http1_probe
from fastgate.domain.chunks import ChunkReader


def read(pieces: list[bytes]) -> tuple[bytes, bytes] | bool | None:
    """Body and rest; None: it has not ended, False: a fault. As http1_probe.chunks."""
    reader = ChunkReader()
    body = b""
    for at, piece in enumerate(pieces):
        found, sound = reader.feed(piece)
        body += found
        if not sound:
            return False
        if reader.ended:
            return body, reader.rest + b"".join(pieces[at + 1 :])
    return None


def ways(data: bytes) -> list[list[bytes]]:
    return [
        [data],
        [data[at : at + 1] for at in range(len(data))],
        re.findall(rb".*?\r\n|.+", data, re.DOTALL),
    ]


def same(pieces: list[bytes]) -> bool:
    """Both lanes' readers say the same; this one may wait for a line to end."""
    data = b"".join(pieces)
    expected = http1_probe.chunks(pieces)
    if isinstance(expected, tuple):
        body, size = expected
        return read(pieces) == (body, data[size:])
    if expected is False:
        return not isinstance(read(pieces), tuple)
    return read(pieces) is None


GOOD = (
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    b'003;a=b; c ;d="e\\"f"\r\nabc\r\nA\r\n0123456789\r\n0;x\r\nVary: *\r\n\r\n',
    b"1;" + b"a" * 255 + b"\r\nx\r\n0\r\n" + b"X: y\r\n" * 32 + b"\r\n",
    (b"1;" + b"a" * 255 + b"\r\nx\r\n") * 64 + b"0\r\n\r\n",
    b"0\r\nX: " + b"a" * 8_186 + b"\r\n\r\n",
)
BAD = (
    b"1;" + b"a" * 256 + b"\r\nx\r\n0\r\n\r\n",
    (b"1;" + b"a" * 255 + b"\r\nx\r\n") * 64 + b"0;a\r\n\r\n",
    b"0\r\nX: " + b"a" * 8_187 + b"\r\n\r\n",
    b"0\r\n" + b"X: y\r\n" * 33 + b"\r\n",
    b"0\r\nhost: a\r\n\r\n",
    b"0123456789abcdef\r\n",
    b"\r\n",
    b"3;a \r\nabc\r\n0\r\n\r\n",
    b"3 ;a\r\nabc\r\n0\r\n\r\n",
    b'3;a="b"c\r\nabc\r\n0\r\n\r\n',
    b'3;a="\x01"\r\nabc\r\n0\r\n\r\n',
)


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_chunks_give_the_same_body_in_every_split(at):
    """Data and what stands behind it, whatever the segments are."""
    for pieces in ways(GOOD[at]):
        assert isinstance(read(pieces), tuple)
        assert same(pieces)


@pytest.mark.parametrize("at", range(len(BAD)))
def test_chunks_are_refused_in_every_split(at):
    """Limits and syntax hold, however it comes."""
    for pieces in ways(BAD[at]):
        assert read(pieces) is False
        assert same(pieces)


@pytest.mark.parametrize("name", [*BAD_BODIES, *CUT_BODIES])
def test_u1_chunks_of_hostile_upstreams_are_told_apart_from_cut_ones(name):
    """A fault is found without waiting for more; what is cut has not ended."""
    data = (BAD_BODIES | CUT_BODIES)[name]
    if data.startswith(CHUNKED):
        for pieces in ways(data.removeprefix(CHUNKED)):
            assert read(pieces) is (False if name in BAD_BODIES else None)
            assert same(pieces)


PARTS = st.sampled_from(
    [
        *(
            b"0",
            b"3",
            b"a",
            b"\r\n",
            b"\r",
            b"\n",
            b";",
            b"=",
            b" ",
            b"\t",
            b'"',
            b"\\",
        ),
        *(b"abc", b"\r\nabc\r\n", b"0\r\n", b"X: y", b":", b"Host", b"x_y", b"\x00"),
        *(b"\xff", b"\x7f", b"3\r\nabc\r\n", b"0\r\n\r\n", b"1;e=f", b"TE: x\r\n"),
    ]
)


@given(st.lists(PARTS, max_size=12).map(b"".join), st.integers(0, 40))
def test_t25_chunks_mean_the_same_to_both_lanes(data, cut):
    """The rules are written twice, and this holds them together."""
    for pieces in (*ways(data), [data[:cut], data[cut:]]):
        assert same(pieces)
