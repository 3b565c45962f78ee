"""Tokens, JSON, frames, keys, introspection answers and configurations as targets.

Owns:      what must hold of each reader, whatever it is given.
Called by: tests.fuzz.targets.
"""

import math
import tempfile
from contextlib import suppress
from pathlib import Path

import orjson
from tests.compact import compact
from tests.oracle import token as oracle
from tests.twins.test_token import NATIVE, ORACLE, view

from fastgate._ext import token as native
from fastgate.config.compile import compile_snapshot
from fastgate.config.load import load
from fastgate.control.introspection_answer import MOST_ACTIVE_S, read_answer
from fastgate.control.jwks import KeySetError, check_keys, read_key_set
from fastgate.domain.event import (
    decode_event,
    encode_event,
)
from fastgate.domain.frame import Fields, FrameError, open_frame
from fastgate.domain.introspection import AnswerKind
from fastgate.domain.marker import (
    decode_marker,
    decode_report,
    decode_taken,
    encode_marker,
    encode_report,
    encode_taken,
)
from fastgate.domain.token import Introspection
from fastgate.hotpath.keys import build_keys
from fastgate.ports import Fetched

_KEYS = frozenset({"00000000"})
_ASK = Introspection(("https://id.example/i",), "c", "s")
_WALL_S = 1_850_000_000.0
_LINES = 4


def check_token(data: bytes) -> None:
    """The compiled scanner and its oracle say the same of a compact token."""
    expected = view(oracle.scan(data, ORACLE))
    for _ in range(2):  # the second time its header may be remembered
        assert view(native.scan(data, NATIVE)) == expected
    assert view(native.scan_unverified(data, NATIVE)) == expected


def check_token_parts(data: bytes) -> None:
    """The same, of parts that are encoded first, so that their content is reached."""
    header, _, rest = data.partition(b"\xff")
    claims, _, signature = rest.partition(b"\xff")
    check_token(compact(header, claims, signature))


def check_json(data: bytes) -> None:
    """The compiled scanner and its oracle say the same of a JSON document."""
    expected = view(oracle.scan_json(data, ORACLE))
    assert view(native.scan_json(data, NATIVE)) == expected


def check_frame(data: bytes) -> None:
    """A frame is refused with FrameError, or survives being written and read again."""
    for decode, encode in (
        (decode_report, encode_report),
        (decode_taken, encode_taken),
    ):
        with suppress(FrameError):
            read = decode(data)
            assert decode(encode(read)) == read
    with suppress(FrameError):
        event = decode_event(data, _KEYS)
        if event.kind is not None:
            assert decode_event(encode_event(event), _KEYS) == event
    with suppress(FrameError):
        type_, fields = open_frame(data)
        if type_ == "marker":
            _check_marker(fields)


def _check_marker(fields: Fields) -> None:
    marker = decode_marker(fields)
    assert math.isfinite(marker.wall)
    # Too large a one is refused where it is written.
    with suppress(ValueError):
        again = open_frame(encode_marker(marker))[1]
        assert decode_marker(again) == marker


def check_keys_document(data: bytes) -> None:
    """Keys that are taken are public, told apart, and can be built."""
    try:
        found = read_key_set(data)
    except KeySetError:
        return
    members = [key.members() for key in found.keys]
    kids = [key.kid for key in found.keys if key.kid is not None]
    assert len(set(kids)) == len(kids), "two keys under one name"
    assert found.disputed.isdisjoint(kids)
    assert not any({"d", "p", "q", "k"} & set(each) for each in members)
    assert check_keys(orjson.loads(orjson.dumps(members))).keys == found.keys
    assert len(build_keys(members, last_fetch_ok=True).every) == len(members)


def check_introspection(data: bytes) -> None:
    """An answer is judged without an exception, and the gate's scanner agrees."""
    head, _, body = data.partition(b"\n\n")
    lines = [line.decode("latin-1") for line in head.split(b"\n")]
    status, media, cache, age = (*lines, *[""] * _LINES)[:_LINES]
    code = int(status) if status.isascii() and status.isdigit() else 200
    headers = {"content-type": media, "cache-control": cache}
    headers |= {"age": age, "retry-after": age}
    reading = read_answer(Fetched(min(code, 999), headers, body), _ASK, wall_s=_WALL_S)
    assert 0 <= reading.life_s <= MOST_ACTIVE_S
    assert 0 <= reading.retry_after_s <= 3600
    if reading.kind is not AnswerKind.CLAIMS:
        return
    scan = native.scan_json(reading.payload, NATIVE)
    if scan.name == "ok":
        assert scan.active is True, "two readers differ about `active`"
        if scan.exp >= 0:
            assert reading.life_s <= max(0.0, scan.exp - _WALL_S)


def check_configuration(data: bytes) -> None:
    """Loading raises nothing and places each problem; what it takes compiles."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        Path(file.name).write_bytes(data)
        loaded = load(file.name, {"REGION": "eu"})
    lines = data.count(b"\n") + data.count(b"\r") + 2
    assert (loaded.config is None) == bool(loaded.errors), "refused without a reason"
    assert all(0 <= problem.line <= lines + 1 for problem in loaded.problems)
    if loaded.config is not None:
        compile_snapshot(loaded.config, version=1)
