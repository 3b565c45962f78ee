"""Answer heads: what is taken of an upstream, and what is not (U1, U2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.answer import is_hopeless, read_answer_head

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (OK + b"\r\n", (200, -1)),
        (OK + b"Content-Length: 5\r\n\r\n", (200, 5)),
        (OK + b"content-length:\t5 \r\n\r\n", (200, 5)),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n", (200, -1)),
        (b"HTTP/1.1 200\r\n\r\n", (200, -1)),
        (b"HTTP/1.0 404 \r\n\r\n", (404, -1)),
        (b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", (204, 0)),
        (b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", (304, 5)),
        (OK + b"X: \xe9\t!\r\nX:\r\n\r\n", (200, -1)),
    ],
)
def test_answer_head_is_taken_where_it_means_one_thing(head, expected):
    """Status and length, as every reader would see them."""
    assert read_answer_head(head, upgrade=False) == expected


@pytest.mark.parametrize("field", [b"Content-Length", b"TRANSFER-ENCODING"])
@pytest.mark.parametrize("other", [b"Content-Length", b"transfer-encoding"])
def test_answer_head_is_refused_with_two_framings(field, other):
    """Doubled or mixed, also where both say the same (RFC 9112 section 6.3)."""
    values = {b"content-length": b"5", b"transfer-encoding": b"chunked"}
    lines = b"".join(
        b"%b: %b\r\n" % (name, values[name.lower()]) for name in (field, other)
    )
    assert read_answer_head(OK + lines + b"\r\n", upgrade=False) is None


def test_answer_head_takes_a_switch_only_where_it_was_asked_for():
    """101 without our question, or to something else, is a fault."""
    switch = b"HTTP/1.1 101 x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
    assert read_answer_head(switch, upgrade=True) == (101, -1)
    assert read_answer_head(switch, upgrade=False) is None
    assert read_answer_head(switch.replace(b"WebSocket", b"h2c"), upgrade=True) is None
    assert read_answer_head(b"HTTP/1.1 101 x\r\n\r\n", upgrade=True) is None


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
def test_answer_head_is_refused_with_a_control_character(byte):
    """In a value, a name or the reason phrase."""
    for head in (
        OK + b"X: a%cb\r\n\r\n" % byte,
        OK + b"X%c: a\r\n\r\n" % byte,
        b"HTTP/1.1 200 O%cK\r\n\r\n" % byte,
    ):
        assert read_answer_head(head, upgrade=False) is None


def test_answer_head_of_many_blanks_is_read_at_once():
    """A length in 60,000 blanks costs one pass; the deadline is the limit."""
    blanks = b" " * 60_000
    head = OK + b"Content-Length:" + blanks + b"5" + blanks + b"x\r\n\r\n"
    assert read_answer_head(head, upgrade=False) is None


def test_head_with_a_bare_line_feed_is_hopeless_at_once():
    """Wherever it comes, also at the border of two pieces."""
    assert is_hopeless(b"HTTP/1.1 200 OK\nX", 0)
    assert is_hopeless(b"HTTP/1.1 200 OK\n", 15)
    assert not is_hopeless(b"HTTP/1.1 200 OK\r\nX", 0)
    assert not is_hopeless(b"HTTP/1.1 200 OK\r\n", 16)


@given(st.binary(max_size=200))
def test_answer_head_never_takes_bytes_without_an_end(noise):
    """What is taken is a whole head and nothing else."""
    taken = read_answer_head(noise, upgrade=True)
    assert taken is None or noise.endswith(b"\r\n\r\n")
