"""Targets: what is fuzzed, from which seeds, and with which words.

Owns:      the list. Called by: tests.fuzz.run, tests.fuzz.child and the test beside.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.fuzz import (
    answers,
    documents,
    event_frames,
    lane,
    lane_seeds,
    lane_steps,
    requests,
    saved,
    seeds,
)

_HTTP = (
    *(b"\\x0d\\x0a", b"\\x0d\\x0a\\x0d\\x0a", b"Content-Length: ", b" HTTP/1.1"),
    *(b"Transfer-Encoding: chunked", b"Host: a", b"Connection: ", b"Expect: "),
    *(
        b"Upgrade: websocket",
        b"HTTP/1.1 200 ",
        b"0\\x0d\\x0a\\x0d\\x0a",
        b"%00",
        b";a=",
    ),
)
_JSON = (
    *(b'\\"exp\\":', b'\\"aud\\":[', b'\\"kid\\":\\"', b"\\\\ud83d", b"\\\\u0000"),
    *(
        b"null",
        b"true",
        b"1e400",
        b"9007199254740992",
        b"{}",
        b"[]",
        b"\\xed\\xa0\\x80",
    ),
    *(b'\\"active\\":true', b'\\"crit\\":', b'\\"region\\":', b'\\"scope\\":\\"'),
)
_BATCH = (
    *(b"\\xfa\\x5e\\x01", b"\\x02eu", b"\\x02us", b"\\x0bn1.abcdefgh", b"\\x03e-1"),
    *(
        b"\\x00\\x22",
        b"\\x69\\x20\\x7d\\x3c",
        b"\\xff\\xff\\xff\\xff",
        b"\\x00\\x04lost",
    ),
)
_YAML = (
    b"${REGION}",
    b"${file:/nowhere}",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!int ",
    b"- ",
    b"10s",
)


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    check: Raises for an input that shows a fault; every exception counts.
    seeds: Inputs to start from. max_bytes: Longest input. words: For the mutator, in
        libFuzzer's dictionary spelling. fuzz_build_only: Other builds cannot run it.
    mutate: Makes every other input, where bytes alone say too little.
    """

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    max_bytes: int = 4096
    words: Iterable[bytes] = _JSON
    fuzz_build_only: bool = False
    mutate: Callable[[bytes, random.Random], bytes] | None = None


_STEPS = (
    *(b"\\xffC", b"\\xffU", b"\\xffD", b"\\xffW", b"\\xffE", b"\\xffR", b"\\xffe"),
    *(b"\\xffr", b"\\xffp", b"\\xffP", b"\\xfft", b"\\xffH", b"\\xffS", b"\\xffF"),
    *(b"\\xff+C", b"\\xff+U", b"\\xff+E", b"\\xff+e", b"GET /a HTTP/1.1\\x0d\\x0a"),
    b"POST /b HTTP/1.1\\x0d\\x0aHost: a\\x0d\\x0aContent-Length: 1\\x0d\\x0a\\x0d\\x0a",
    b"HTTP/1.1 200 OK\\x0d\\x0aContent-Length: 1\\x0d\\x0a\\x0d\\x0a",
)

TARGETS = {
    "requests": Target(requests.check_requests, seeds.requests, words=_HTTP),
    "chunked": Target(requests.check_chunked, seeds.chunked, 2048, _HTTP),
    "answers": Target(answers.check_answer, seeds.answers, words=_HTTP),
    "compiled_answers": Target(
        answers.check_compiled_answer,
        seeds.answers,
        words=_HTTP,
        fuzz_build_only=True,
    ),
    "lane": Target(
        lane.check_lane,
        lane_seeds.lanes,
        words=(*_HTTP, *_STEPS),
        mutate=lane_steps.mutate,
    ),
    "tokens": Target(documents.check_token, seeds.tokens),
    "token_parts": Target(documents.check_token_parts, seeds.token_parts),
    "json": Target(documents.check_json, seeds.documents),
    "frames": Target(documents.check_frame, seeds.frames),
    "events": Target(event_frames.check_events, event_frames.batches, words=_BATCH),
    "sums": Target(saved.check_sums, saved.sums, words=()),
    "saved": Target(saved.check_saved, saved.documents),
    "keys": Target(documents.check_keys_document, seeds.key_sets),
    "introspection": Target(documents.check_introspection, seeds.introspections),
    "configuration": Target(
        documents.check_configuration, seeds.configurations, words=_YAML
    ),
}
