"""One payload through one lane, and everything that anybody can see of it."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lane_kit import Gateway, gateway, public, snapshot_of, timers
from tests.recorder import Recorder, Script, recording, say_ok

# Every connection ends by itself: what is incomplete is late, what is idle lapses.
SHORT_S = 0.3
TIMERS = timers(
    first_byte_s=SHORT_S, head_s=SHORT_S, body_idle_s=SHORT_S, keep_alive_s=SHORT_S
)
LANES = ("compiled", "general")
# Drawn anew for each request, in whichever lane.
_NEW = (
    re.compile(rb"(?i)(x-request-id: )[0-9a-f-]{36}"),
    re.compile(rb'("request_id":")[0-9a-f-]{36}'),
)
_CLEAN = re.compile(rb"[0-9a-f]+\r\n")


@dataclass
class Seen:
    """What client and upstream saw of one payload."""

    answers: bytes
    upstream: list[bytes]

    @property
    def statuses(self) -> list[int]:
        found = re.findall(rb"HTTP/1\.1 ([1-5][0-9]{2}) ", self.answers)
        return [int(status) for status in found]


def same_names(data: bytes) -> bytes:
    """The bytes with everything that is drawn anew made the same."""
    for pattern in _NEW:
        data = pattern.sub(rb"\1-", data)
    return data


def request_as_sent(recorder: Recorder) -> list[bytes]:
    """Each request as the upstream got it, chunk borders aside."""
    return [
        same_names(request.raw[: request.raw.index(b"\r\n\r\n") + 4]) + request.body
        for request in recorder.requests
    ]


async def talk(gw: Gateway, pieces: Sequence[bytes]) -> bytes:
    """Send pieces on a connection of their own; everything that came back."""
    client = await gw.connect()
    for piece in pieces:
        if client.writer.is_closing():
            break
        await client.send(piece)
    return same_names(await client.read_to_end())


async def through(
    lane: str, pieces: Sequence[bytes], *, script: Script = say_ok, **route: object
) -> Seen:
    """Send a payload through a lane to a recorder of its own."""
    async with recording(script) as up:
        snapshot = snapshot_of(public(up.base, **route), timers=TIMERS)
        async with gateway(snapshot, lane=lane) as gw:
            answers = await talk(gw, pieces)
        return Seen(
            answers.replace(up.base[7:].encode(), b"-"),
            [raw.replace(up.base[7:].encode(), b"-") for raw in request_as_sent(up)],
        )


async def through_both(pieces: Sequence[bytes], **options: object) -> list[Seen]:
    """Send a payload through both lanes."""
    return list(
        await asyncio.gather(
            *(through(lane, pieces, **options) for lane in LANES)  # type: ignore[arg-type]
        )
    )


def whole(payload: bytes) -> list[bytes]:
    """One segment."""
    return [payload]


def bytewise(payload: bytes) -> list[bytes]:
    """A segment a byte."""
    return [payload[at : at + 1] for at in range(len(payload))]


def by_line(payload: bytes) -> list[bytes]:
    """A segment a line."""
    return payload.replace(b"\r\n", b"\r\n\x1f\x1f").split(b"\x1f\x1f")
