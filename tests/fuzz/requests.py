"""Requests through the front: same verdict however split, and one reading of each.

Owns:      a loop, a transport and a lane that record; a second, slow reading of what
           the front lends, and aiohttp's reading as the third.
Called by: tests.fuzz.targets.
Source:    RFC 9112 sections 2 to 7; DESIGN section 6, THREATS T1.
"""

import random
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from fastgate._ext.http1_front import Acceptor
from fastgate.domain.snapshot import Limits, Timers

CHUNKED = -1
_TCHAR = rb"!#$%&'*+\-.^`|~0-9A-Za-z"
_HEAD = re.compile(
    rb"([A-Z][A-Z-]*) ([!-~]+) HTTP/1\.([01])\r\n"
    rb"((?:[" + _TCHAR + rb"]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"([" + _TCHAR + rb"]+):[\t\x20-\x7e\x80-\xff]*")
# Source: RFC 9110 section 6.5.1.
_NEVER_LATE = frozenset(
    {b"content-length", b"transfer-encoding", b"host", b"authorization"}
)
_EVERY_BYTE = 400
_CUTS = 6


class Loop:
    """An event loop as far as the front uses one; time stands still."""

    def __init__(self) -> None:
        self.soon: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def call_soon(self, call: Callable[..., Any], *args: Any) -> None:
        self.soon.append((call, args))

    def call_later(self, _s: float, _call: Callable[..., Any], *_args: Any) -> Any:
        return SimpleNamespace(cancel=lambda: None)

    def create_future(self) -> Any:
        raise AssertionError("nothing waits here")

    def get_debug(self) -> bool:
        return False


class Transport:
    """A socket that takes everything and says nothing."""

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def write(self, _data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def set_write_buffer_limits(self, *, high: int) -> None: ...


@dataclass
class Message:
    """One message that was lent: its head, the raw bytes behind it, what came of it."""

    head: bytes
    length: int
    raw: bytes = b""
    state: str = "open"

    def body(self) -> bytes:
        """The content so far."""
        return unchunked(self.raw)[0] if self.length == CHUNKED else self.raw

    def is_whole(self) -> bool:
        """Whether no byte is missing; raises where there is one too many."""
        if self.length != CHUNKED:
            assert len(self.raw) <= self.length, "bytes of the next message were lent"
            return len(self.raw) == self.length
        end = unchunked(self.raw)[1]
        assert end in {-1, len(self.raw)}, "bytes of the next message were lent"
        return end != -1


class Recorder:
    """The lane and its back: keeps what the front hands over."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refusal = ""

    def admit(self, _front: object, _limit: int) -> bool:
        return True

    def lost(self, _front: object) -> None: ...

    def open_back(self, _front: object, _snapshot: object) -> "Recorder":
        return self

    def data_received(self, data: bytes) -> None:
        assert not self.refusal, "bytes after a refusal"
        if self.lent:
            self.messages[-1].raw += data
            return
        self.messages.append(Message(data, framing(data)))

    @property
    def lent(self) -> bool:
        """Whether a message is being received."""
        return bool(self.messages) and self.messages[-1].state == "open"

    def spoil(self) -> None:
        assert self.lent, "nothing was lent"
        self.messages[-1].state = "spoiled"

    def refuse(self, reason: str) -> None:
        assert not self.refusal, "refused twice"
        self.refusal = reason

    def connection_lost(self, _exc: object) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def verdict(self) -> tuple[object, ...]:
        """What may not depend on how the bytes came."""
        return (
            *((m.head, m.state, m.body()) for m in self.messages),
            # Of two faults the one that is seen first is named, and early bytes may
            # show one already; that it is refused must not hang on it.
            bool(self.refusal),
        )


def framing(head: bytes) -> int:
    """Length of the body behind a head, or CHUNKED; asserts that nothing is unclear."""
    match = _HEAD.fullmatch(head)
    assert match is not None, "the head is not of the strict subset"
    fields = [line.partition(b":") for line in match[4].split(b"\r\n")[:-1]]
    named: dict[bytes, list[bytes]] = {}
    for name, _, value in fields:
        named.setdefault(name.lower(), []).append(value.strip(b" \t"))
    hosts = len(named.get(b"host", ()))
    assert hosts == 1 or (hosts == 0 and match[3] == b"0"), "not one Host"
    lengths = named.get(b"content-length", [])
    codings = named.get(b"transfer-encoding", [])
    assert len(lengths) + len(codings) <= 1, "two framings"
    if codings:
        assert codings[0].lower() == b"chunked", "another coding"
        assert match[3] == b"1", "a coding in HTTP/1.0"
        return CHUNKED
    assert all(re.fullmatch(rb"[0-9]+", length) for length in lengths), "no length"
    return int(lengths[0]) if lengths else 0


class MalformedError(AssertionError):
    """A body that nothing may follow; `content` came before the fault."""

    def __init__(self, text: str, content: bytes) -> None:
        super().__init__(text)
        self.content = content


def unchunked(raw: bytes) -> tuple[bytes, int]:
    """Content of a chunked body as far as it goes, and its end; -1: not there yet."""
    at, content = 0, b""
    while (end := raw.find(b"\r\n", at)) >= 0:
        match = _SIZE.fullmatch(raw[at:end])
        if match is None:
            raise MalformedError("no chunk size", content)
        size, at = int(match[1], 16), end + 2
        if size == 0:
            return content, _trailers_end(raw, at, content)
        content += raw[at : at + size]
        at += size
        if not b"\r\n".startswith(raw[at : at + 2]):
            raise MalformedError("no CRLF behind a chunk", content)
        at += 2
    return content, -1


def _trailers_end(raw: bytes, at: int, content: bytes) -> int:
    while (end := raw.find(b"\r\n", at)) >= 0:
        if end == at:
            return end + 2
        match = _TRAILER.fullmatch(raw[at:end])
        if match is None:
            raise MalformedError("no trailer", content)
        if match[1].lower() in _NEVER_LATE:
            raise MalformedError("a trailer that comes too late", content)
        at = end + 2
    return -1


def play(segments: Iterable[bytes]) -> Recorder:
    """Send segments over one connection and answer each message when it is whole."""
    loop, lane = Loop(), Recorder()
    snapshot = SimpleNamespace(limits=Limits(), timers=Timers())
    front = Acceptor(loop, lane, SimpleNamespace(current=snapshot))()  # type: ignore[arg-type]
    front.connection_made(Transport())  # type: ignore[arg-type]
    for segment in segments:
        front.data_received(segment)
        _settle(loop, lane, front)
    front.connection_lost(None)
    return lane


def _settle(loop: Loop, lane: Recorder, front: Any) -> None:
    while True:
        if lane.lent and lane.messages[-1].is_whole():
            lane.messages[-1].state = "whole"
            front.exchange_ended()
        elif loop.soon:
            call, args = loop.soon.popleft()
            call(*args)
        else:
            return


def splits(data: bytes) -> Iterable[list[bytes]]:
    """Ways to split data; which ones hangs on the data alone, so that runs repeat."""
    if len(data) <= _EVERY_BYTE:
        yield [data[at : at + 1] for at in range(len(data))]
    yield re.findall(rb".*?\r\n|.+", data, re.DOTALL)
    chosen = random.Random(zlib.crc32(data))
    cuts = sorted(chosen.randrange(len(data) + 1) for _ in range(_CUTS))
    yield [
        data[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
        if start < end
    ]


def check_requests(data: bytes) -> None:
    """Same verdict whole and split; and no other server reads another message."""
    if not data:
        return
    lane = play([data])
    for segments in splits(data):
        assert play(segments).verdict() == lane.verdict(), "the split matters"
    for message in lane.messages:
        if message.state == "whole":
            _compare(message)


def check_chunked(data: bytes) -> None:
    """The same for a chunked body behind a good head."""
    check_requests(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data
    )


def _compare(message: Message) -> None:
    loop: Any = Loop()
    parser = HttpRequestParser(
        *(BaseProtocol(loop), loop, 2**16),
        max_line_size=8190,
        max_field_size=8190,
        auto_decompress=False,
    )
    try:
        found, upgraded, rest = parser.feed_data(message.head + message.raw)
    except HttpProcessingError:
        return  # refused behind the front: nothing is forwarded
    if upgraded:
        assert message.body() == b"" or rest == message.raw
        return
    assert len(found) == 1, "another server sees another number of messages"
    assert not rest, "another server sees bytes behind the message"
    head, payload = found[0]
    assert head.method.encode() == message.head.partition(b" ")[0]
    assert payload.is_eof() or message.head.startswith(b"CONNECT ")
    content = b"".join(getattr(payload, "_buffer", ()))
    assert content == message.body(), "another server sees another body"
