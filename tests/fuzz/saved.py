"""Saved documents: sums, keys and heads that another version may have left.

Owns:      what must hold of each reader; a hash guards the files, and is left out here.
Called by: tests.fuzz.targets.
Source:    REVOCATION.md section 4; THREATS I1 and B6.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress

import orjson

from fastgate._ext.event_sums import PublisherState
from fastgate.control.keys_document import (
    PublishedKeys,
    read_published,
    read_saved,
    write_published,
    write_saved,
)
from fastgate.control.saved_state import Head, SavedStream, part, parts, read_head
from fastgate.errors import ControlError

_WALL_S = 1_850_000_000
_HEAD = Head(
    node="n1",
    serial=3,
    publisher="n1.abcdefgh",
    row=7,
    wall_s=_WALL_S,
    origins=("eu", "us"),
    key_ids=("00000000",),
    seeds=(1, 2),
    entries=5,
    streams={"eu": SavedStream("i1", 9, {"n1.abcdefgh": b"sums"})},
)


def check_sums(data: bytes) -> None:
    """What is taken is kept as it was, and answers every question."""
    try:
        state = PublisherState.load(data)
    except ValueError:
        return
    again = PublisherState.load(state.dump())
    for mark in (0, 1, state.last, state.last + 1):
        assert again.missing(mark) == state.missing(mark)
        if mark <= state.last:
            assert again.digest(mark, _WALL_S) == state.digest(mark, _WALL_S)
    assert again.dump() == state.dump()
    assert (again.last, again.holes) == (state.last, state.holes)
    assert all(start < end for start, end in state.holes)


def check_saved(data: bytes) -> None:
    """A document is refused with ControlError, or survives being written and read."""
    with suppress(ControlError):
        read_head(parts(memoryview(data)))
    with suppress(ControlError):
        published = read_published(data)
        assert read_published(write_published(published)) == published
    with suppress(ControlError):
        read_saved(data)
    try:
        content = orjson.loads(data)
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return
    digest = hashlib.sha256(text).hexdigest()
    with suppress(ControlError):
        saved = read_saved(orjson.dumps({"sha256": digest, "content": content}))
        assert read_saved(write_saved(saved)) == saved
    with suppress(ControlError):
        read_head(parts(memoryview(part(b"HEAD", data) + part(b"SUMS", b"s"))))


def sums() -> Iterator[bytes]:
    """States with holes, with recent events, confirmed, and with nothing."""
    state = PublisherState()
    yield state.dump()
    for seq in (1, 2, 5, 9, 10):
        state.add(seq, f"e{seq}", _WALL_S + 60 * seq)
        yield state.dump()
    state.confirm(9)
    yield state.dump()


def documents() -> Iterator[bytes]:
    """Heads, published and saved keys."""
    yield part(b"HEAD", _HEAD.encode()) + part(b"SUMS", b"sums")
    yield _HEAD.encode()
    okp = {
        "kty": "OKP",
        "crv": "Ed25519",
        # RFC 8037 appendix A.2.
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    yield write_published({"login": PublishedKeys((okp,), True, _WALL_S, "https://i")})
    yield write_published({})
    yield orjson.dumps(
        {
            "v": 1,
            "origin": "https://i/jwks",
            "fetched_wall_s": _WALL_S,
            "fetched_boot_ns": 10**15,
            "boot_id": "b",
            "jwks": [okp],
        }
    )
