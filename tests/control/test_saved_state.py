"""Heads of snapshots: what was written is read, anything else is refused."""

from dataclasses import replace

import orjson
import pytest

from fastgate.control.saved_state import Head, SavedStream, part, parts, read_head
from fastgate.errors import ControlError

HEAD = Head(
    node="n1",
    serial=3,
    publisher="n1.abcdefgh",
    row=7,
    wall_s=1_800_000_000,
    origins=("eu", "us"),
    key_ids=("00000000",),
    seeds=(2**64 - 1, 0),
    entries=5,
    streams={"eu": SavedStream("i1", 9, {"n1.abcdefgh": b"one", "n2.abcdefgh": b""})},
)


def read(content, *sums):
    state = part(b"HEAD", content) + b"".join(part(b"SUMS", each) for each in sums)
    return read_head(parts(memoryview(state)))


def test_head_is_read_as_it_was_written():
    """Names, numbers and the sums behind it."""
    assert read(HEAD.encode(), b"one", b"") == HEAD
    assert read(replace(HEAD, streams={}).encode()).streams == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("node", 1),
        ("serial", "3"),
        ("serial", -1),
        ("row", True),
        ("wall_s", 1.5),
        ("origins", "eu"),
        ("origins", [1]),
        ("key_ids", None),
        ("seeds", [1]),
        ("seeds", [1, -2]),
        ("seeds", ["1", 2]),
        ("entries", None),
        ("streams", 1),
        ("streams", []),
        ("streams", {"eu": 1}),
        ("streams", {"eu": ["i1", "9", []]}),
        ("streams", {"eu": ["i1", 9, [1]]}),
        ("streams", {"eu": ["i1", 9, ["a", "b", "c"]]}),
    ],
)
def test_head_of_another_shape_is_refused(name, value):
    """Whatever member is of another kind; the state is then read from the streams."""
    said = orjson.loads(HEAD.encode()) | {name: value}
    with pytest.raises(ControlError):
        read(orjson.dumps(said), b"one", b"")


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b'{"a":1,"a":2}', b"{}"])
def test_head_that_is_no_object_is_refused(content):
    """Nor is a text that two readers read in two ways taken."""
    with pytest.raises(ControlError):
        read(content)


def test_snapshot_without_a_head_is_refused():
    """Nothing, another part, and a part that is cut."""
    for state in (b"", part(b"ENTR", HEAD.encode()), part(b"HEAD", b"{}")[:-1]):
        with pytest.raises(ControlError):
            read_head(parts(memoryview(state)))
