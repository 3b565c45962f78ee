"""Log lines: one line, printable ASCII, a closed set of fields, bounded."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.log_line import ACCESS_FIELDS, encode_access, encode_ascii

ROOM = 3_072
PRINTABLE = frozenset(range(0x20, 0x7F))

HOSTILE = [
    "\r\n{}",
    "\x00\x07\x08\x1b[31m\x1b]0;owned\x07",
    "\x7f",
    "\x80\x9b31m\x85",
    "\u202eevil\u2066\u200f\u061c",
    "\u2028\u2029\ufeff",
    "\ud800",
    "\udc80half",
    "😀",
    '"},{"status":200',
    "\\u000a",
]


def check(encoded):
    assert PRINTABLE.issuperset(encoded)
    return orjson.loads(encoded)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", sorted(ACCESS_FIELDS))
def test_access_line_spells_hostile_text_in_ascii_in_every_field(name, text):
    """Control, C1, bidi and half a pair are escaped; the line parses (THREATS T19)."""
    line = check(encode_access({"status": 200, name: text}, ROOM))
    assert line[name] == text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )


@given(st.dictionaries(st.sampled_from(sorted(ACCESS_FIELDS)), st.text()))
def test_access_line_parses_for_any_text(fields):
    """Any text at all gives one JSON object of the same names."""
    assert check(encode_access(fields, ROOM)).keys() == fields.keys()


@pytest.mark.parametrize("letter", ["a", "é", "😀", "\x00", "\ud800", '"'])
def test_access_line_is_cut_to_its_room(letter):
    """All fields full of the worst text still fit, so a ring of lines is bounded."""
    fields = dict.fromkeys(ACCESS_FIELDS, letter * 100_000)
    encoded = encode_access(fields, ROOM)
    assert len(encoded) <= ROOM
    assert check(encoded).keys() == ACCESS_FIELDS


def test_access_line_leaves_out_names_outside_the_closed_set():
    """A field that nobody agreed to log does not appear."""
    line = check(
        encode_access({"status": 200, "sub": "alice", "path": "/?token=x"}, ROOM)
    )
    assert line == {"status": 200}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2**80, None),
        (-(2**80), None),
        (float("nan"), None),
        (float("inf"), None),
        (b"bytes", None),
        (object(), None),
        (True, True),
        (None, None),
        (13.4, 13.4),
        (0, 0),
    ],
)
@pytest.mark.parametrize("beside", ["GET", "\x7f"], ids=["plain", "hostile"])
def test_access_line_writes_null_for_what_is_no_scalar(value, written, beside):
    """A wrong value never costs the line."""
    line = check(encode_access({"age_ms": value, "method": beside}, ROOM))
    assert line["age_ms"] == written


def test_ascii_spells_nested_text():
    """Audit fields may nest; half a pair is replaced wherever it is."""
    encoded = encode_ascii({"a": ["\ud800", {"b": "\x7fé"}], "c": ("\u202e",)})
    assert check(encoded) == {"a": ["\ufffd", {"b": "\x7fé"}], "c": ["\u202e"]}


@pytest.mark.parametrize(
    ("value", "error"), [(object(), TypeError), (float("nan"), ValueError)]
)
def test_ascii_refuses_what_json_cannot_say(value, error):
    """An audit line is exact or it is refused."""
    with pytest.raises(error):
        encode_ascii({"a": value})


def test_ascii_is_json():
    """The standard library reads the same back."""
    fields = {"a": 1, "b": None, "c": "é"}
    assert json.loads(encode_ascii(fields)) == fields
