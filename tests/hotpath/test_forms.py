"""Forms: what is decoded, and what is refused rather than guessed."""

from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.errors import CallerError
from fastgate.hotpath.forms import decode_form


def test_form_decodes_plus_and_percent_and_keeps_repeats():
    """A repeated name keeps both values, so that the gate can refuse it."""
    assert decode_form(b"a=1+2&b=%41%2B&a=&c&=d&&") == {
        "a": ["1 2", ""],
        "b": ["A+"],
        "c": [""],
        "": ["d"],
    }


@pytest.mark.parametrize("body", [b"a=%", b"a=%4", b"a=%4g", b"a=%%41", b"%=1"])
def test_form_refuses_a_broken_escape(body):
    """Two readers would decode it differently."""
    with pytest.raises(CallerError) as caught:
        decode_form(body)
    assert caught.value.reason == "invalid_request"


def test_form_refuses_more_fields_than_any_message_has():
    """Memory and time stay bounded whatever 64 KiB hold."""
    assert len(decode_form(b"&".join(b"%d=1" % n for n in range(256)))) == 256
    with pytest.raises(CallerError):
        decode_form(b"&".join(b"%d=1" % n for n in range(257)))
    with pytest.raises(CallerError):
        decode_form(b"a&" * 30_000)


def test_form_takes_bytes_of_any_encoding_without_failing():
    """A password in another encoding is the upstream's to read."""
    assert decode_form(b"password=\xe9&x=%E9") == {
        "password": ["\ufffd"],
        "x": ["\ufffd"],
    }


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=20))
def test_form_reads_what_the_standard_library_writes(pairs):
    """urlencode and parse_qs are the independent other side."""
    pairs = [(n, v) for n, v in pairs if (n + v).isprintable()]
    body = urlencode(pairs)
    expected = parse_qs(body, keep_blank_values=True)
    assert decode_form(body.encode()) == expected
