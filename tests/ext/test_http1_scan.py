"""The scanners of the compiled lane: heads, answers, chunks, names; in every split."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._ext import http1_build, http1_probe
from fastgate.domain.answer import read_answer_head
from fastgate.domain.request import is_reserved, normalised
from fastgate.hotpath.desk import Desk

HEAD = b"POST /a?b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 12\r\nX: y\r\n\r\n"
BAD_REQUEST, TOO_LONG, TOO_LARGE, METHOD, VERSION, CREDENTIALS = range(1, 7)


def ways(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and cut in two at every place."""
    halves = [[data[:at], data[at:]] for at in range(1, len(data))]
    return [[data], [data[at : at + 1] for at in range(len(data))], *halves]


def test_scan_reads_a_head_alike_in_every_split():
    """Size, lane and framing do not depend on segments; what follows is left alone."""
    for pieces in ways(HEAD):
        assert http1_probe.request(pieces) == (0, len(HEAD), True, 12, False)
    assert http1_probe.request([HEAD + b"GET"])[1] == len(HEAD)
    assert http1_probe.request([HEAD[:-1]])[:2] == (0, 0)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \rb\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: b\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00\r\n\r\n", BAD_REQUEST),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", BAD_REQUEST),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
        (b"G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", BAD_REQUEST),
        (b"GET /\r\n\r\n", VERSION),
        (b"GET / HTTP/2.0\r\n\r\n", VERSION),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", METHOD),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nDPoP: x\r\ndpop: y\r\n\r\n",
            CREDENTIALS,
        ),
    ],
)
def test_scan_refuses_a_malformed_head_in_every_split(data, fault):
    """The same fault wherever the segments end."""
    for pieces in ways(data):
        assert http1_probe.request(pieces)[0] == fault


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET /" + b"a" * 90 + b" HTTP/1.1\r\nHost: a\r\n\r\n", TOO_LONG),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 50 + b"\r\n\r\n", TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: aaa\r\n" * 9 + b"\r\n", TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"a" * 20 + b"\r\n", 0),
    ],
    ids=["line", "field", "head", "none"],
)
def test_scan_enforces_its_limits_in_every_split(data, fault):
    """However a head comes, it may hold so much and no more."""
    for pieces in ways(data):
        got = http1_probe.request(pieces, line=64, field=40, head=60, count=6)
        assert got[0] == fault


CHUNKED = b'4;a="x;\\"";b\r\nabcd\r\n1F\r\n' + b"z" * 31 + b"\r\n0\r\nT: x\r\n\r\n"


def test_chunks_give_the_same_body_in_every_split():
    """Data alone; extensions and trailers are dropped."""
    for pieces in ways(CHUNKED):
        assert http1_probe.chunks(pieces) == (b"abcd" + b"z" * 31, len(CHUNKED))


@pytest.mark.parametrize(
    "data",
    [
        b"+1\r\na\r\n0\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"1\na\r\n0\r\n\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"1;\r\na\r\n0\r\n\r\n",
        b"1;a\nb\r\na\r\n0\r\n\r\n",
        b"1;a=\r\na\r\n0\r\n\r\n",
        b"1;" + b"a" * 300 + b"\r\na\r\n0\r\n\r\n",
        b"1000000000000000\r\n",
        b";a\r\n\r\n",
        b"0\r\nHost: a\r\n\r\n",
        b"0\r\nContent-Length: 1\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 33 + b"\r\n",
        b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
        b"0\r\n\rX",
    ],
)
def test_chunks_refuse_what_two_readers_could_read_differently(data):
    """A fault in every split; never a body."""
    for pieces in ways(data)[: 2 if len(data) > 500 else None]:
        assert http1_probe.chunks(pieces) is False


LINES = st.sampled_from(
    [
        b"Content-Length: 5", b"Content-Length: 0", b"content-length:5", b"A: b",
        b"Content-Length: +5", b"Content-Length: ", b"Content-Length: 5, 5",
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"A_b: c", b": x",
        b"Connection: close", b"A : b", b" A: b", b"A: \x01", b"A: \xff", b"A", b"",
        b"Transfer-Encoding:  CHUNKED\t", b"Content-Length: 1111111111111111111",
    ]
)  # fmt: skip
STATUS = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 ", b"HTTP/1.1 304",
     b"HTTP/1.1 100 x", b"HTTP/1.1 099 x", b"HTTP/1.1 20", b"HTTP/2.0 200 OK",
     b"HTTP/1.1 200OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 200 \x01", b"HTTP/1.1 101 x"]
)  # fmt: skip


@given(
    status=STATUS, lines=st.lists(LINES, max_size=4), end=st.sampled_from(["\r", ""])
)
def test_answers_are_read_as_the_general_lane_reads_them(status, lines, end):
    """Taken by both with the same meaning, or by neither."""
    head = b"".join(line + b"\r\n" for line in [status, *lines])
    head += b"%b\n" % end.encode()
    first = re.search(rb"\r\n\r\n", head)
    head = head[: first.end()] if first else head
    got = http1_probe.answer(head)
    expected = read_answer_head(head, upgrade=False)
    assert (None if got is None else got[:2]) == expected


@given(st.text("abcdefghijklmnopqrstuvwxyz-_XRF", max_size=20))
def test_names_hold_what_is_reserved_however_it_is_spelt(text):
    """The compiled table and the domain's rule are one."""
    names = http1_build.Names(Desk.request_names, Desk.reserved_prefixes)
    for name in (text, f"x-fastgate-{text}", f"X_Forwarded_{text}", f"remote-{text}"):
        lower = normalised(name)
        expected = is_reserved(lower) or lower.encode() in Desk.request_names
        assert (name.encode() in names) == expected
    assert all(name.upper() in names for name in Desk.request_names)
