"""Every raw HTTP vector through both lanes, in three ways (THREATS section 10, T25)."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conformance.http_sets import guardian
from tests.lanes.lanes import by_line, bytewise, through, through_both, whole
from tests.vectors import vectors_dir

_FILES = {
    "http11probe": "http11probe/payloads.json",
    "llhttp": "llhttp/cases.json",
    "gunicorn": "gunicorn/cases.json",
}
_COUNTS = {"http11probe": 120, "llhttp": 166, "gunicorn": 137, "guardian": 73}
# Reason: each pair is four sockets and two listeners.
_AT_ONCE = 24
# A body of ten thousand segments shows nothing that one of a thousand does not.
_LONGEST_BYTEWISE = 1_500


def payloads(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of one set; what has several steps goes as one."""
    if name == "guardian":
        # This set has fields, not bytes; they are put together as for the other run.
        for case in guardian(folder):
            yield case.case_id, b"".join(case.steps)
        return
    loaded = json.loads((folder / _FILES[name]).read_text())
    if isinstance(loaded, dict):
        loaded = loaded.get("tests") or loaded["cases"]
    for number, case in enumerate(loaded):
        texts = (
            [step["payload_b64"] for step in case["steps"]]
            if ("steps" in case)
            else [case["payload_b64"]]
        )
        payload = b"".join(base64.b64decode(text) for text in texts)
        if payload:
            yield f"{number}:{case.get('id') or case.get('name')}", payload


@pytest.mark.timeout(120)
@pytest.mark.parametrize("split", [whole, bytewise, by_line])
@pytest.mark.parametrize("name", _COUNTS)
async def test_lanes_agree_about_a_vector_however_it_is_split(name, split):
    """Same answers and same requests upstream, by either lane, in whatever pieces."""
    cases = list(payloads(vectors_dir(), name))
    assert len(cases) == _COUNTS[name]
    room = asyncio.Semaphore(_AT_ONCE)

    async def differs(label: str, payload: bytes) -> str | None:
        if split is bytewise and len(payload) > _LONGEST_BYTEWISE:
            return None
        async with room:
            compiled, general = await through_both(split(payload))
        return None if compiled == general else f"{label}: {compiled} != {general}"

    found = await asyncio.gather(*(differs(*case) for case in cases))
    assert not [one for one in found if one]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", _COUNTS)
async def test_lanes_read_a_vector_alike_whole_and_in_pieces(name):
    """No boundary between segments changes what a message means."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def differs(label: str, payload: bytes) -> str | None:
        ways: list[Callable[[bytes], list[bytes]]] = [whole, by_line]
        if len(payload) <= _LONGEST_BYTEWISE:
            ways.append(bytewise)
        async with room:
            seen = [await through("compiled", way(payload)) for way in ways]
        return None if all(one == seen[0] for one in seen) else f"{label}: {seen}"

    cases = payloads(vectors_dir(), name)
    found = await asyncio.gather(*(differs(*case) for case in cases))
    assert not [one for one in found if one]
