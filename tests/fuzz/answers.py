"""Heads of upstream answers: what the strict reading takes has one meaning.

Owns:      a second, slow reading, and aiohttp's reading as the third.
Called by: tests.fuzz.targets.
Source:    RFC 9112 sections 4 to 6; THREATS U1.
"""

import random
import zlib
from typing import Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParser
from tests.fuzz.requests import Loop

from fastgate.domain.answer import is_hopeless, read_answer_head

_SWITCHING = 101
_MOST_FIELDS = 256
_LOOKS = 5


def check_compiled_answer(data: bytes) -> None:
    """The compiled lane takes what the strict reading takes, however it comes."""
    # Made by the fuzzing build alone: the gateway needs no such door.
    from fastgate_answer_probe import read  # noqa: PLC0415

    if not data:
        return
    chosen = random.Random(zlib.crc32(data))
    looks = sorted(chosen.randrange(len(data)) for _ in range(_LOOKS))
    compiled = read(data, [len(data)])
    assert read(data, [*looks, len(data)]) == compiled, "the split matters"
    assert read(data, list(range(len(data) + 1))) == compiled, "the split matters"
    taken = read_answer_head(data, upgrade=False)
    if data.count(b"\n") - 2 > _MOST_FIELDS:
        assert compiled is None, "more fields than fit"
        return
    assert (compiled is None) == (taken is None), "the lanes differ about a head"
    if compiled is None:
        return
    status, length, chunked, fields = compiled
    assert (status, length) == taken, "the lanes differ about framing"
    lines = [line.partition(b":") for line in data[:-4].split(b"\r\n")[1:]]
    assert fields == [(name, value.strip(b" \t")) for name, _, value in lines]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    assert chunked == bool(codings)


def check_answer(data: bytes) -> None:
    """Whatever is taken is read the same by a plain reader and by aiohttp's."""
    for upgrade in (False, True):
        taken = read_answer_head(data, upgrade=upgrade)
        if taken is not None:
            _check_taken(data, *taken)
    for at in range(0, len(data), 7):
        assert is_hopeless(data, 0) or not is_hopeless(data, at)


def _check_taken(head: bytes, status: int, length: int) -> None:
    assert not is_hopeless(head, 0), "a head that is taken was given up"
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")
    assert head.find(b"\r\n\r\n") == len(head) - 4, "more than a head was taken"
    line, *fields = head[:-4].split(b"\r\n")
    assert int(line.split(b" ")[1]) == status
    named: dict[bytes, list[bytes]] = {}
    for name, _, value in (field.partition(b":") for field in fields):
        assert name
        assert b" " not in name
        named.setdefault(name.lower(), []).append(value.strip(b" \t"))
    lengths = named.get(b"content-length", [])
    codings = named.get(b"transfer-encoding", [])
    assert [int(value) for value in lengths] == ([length] if length >= 0 else [])
    assert len(lengths) + len(codings) <= 1
    assert [value.lower() for value in codings] in ([], [b"chunked"])
    if status != _SWITCHING:
        _compare(head, status, chunked=bool(codings))


def _compare(head: bytes, status: int, *, chunked: bool) -> None:
    loop: Any = Loop()
    parser = HttpResponseParser(
        *(BaseProtocol(loop), loop, 2**16),
        max_line_size=65_536,
        max_field_size=65_536,
        response_with_body=False,
        read_until_eof=True,
        auto_decompress=False,
    )
    try:
        found, upgraded, rest = parser.feed_data(head)
    except HttpProcessingError:
        return  # refused behind the strict reading: a 502
    assert not upgraded
    assert not rest
    assert len(found) == 1, "another reader sees another number of answers"
    assert found[0][0].code == status
    assert bool(found[0][0].chunked) == chunked
