"""Tagged requests over churning connections: every answer must be its own request's.

Run as `python -m tests.lanes.tagged --requests 1000000`; the tests run a sample. Some
connections are cut half-way by the client, some by the upstream, some pipeline, and
bodies come in every framing; a tag in an answer that nobody asked for is a mismatch,
and so is a request that gets neither an answer nor an end.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import zlib
from dataclasses import dataclass

import uvloop
from tests import lane_kit
from tests.fakes import FakeGate
from tests.lane_kit import Client, Gateway, public, snapshot_of
from tests.recorder import Recorded, Recorder, Talk

from fastgate.adapters.clock import SystemClock

CLIENTS = 16
# Reason: only a lost answer takes this long, however busy the machine is.
LOST_S = 60.0
SAY_EVERY = 50_000
FORGET_S = 0.5


@dataclass
class Count:
    """What a run came to."""

    asked: int = 0
    answered: int = 0
    refused: int = 0
    cut: int = 0
    mismatched: int = 0
    lost: int = 0


async def _echo(request: Recorded, talk: Talk) -> bool:
    """Answer with the request's own tag, in one of several framings."""
    tag = request.target.rpartition(b"/")[2]
    body = tag + b":" + request.body
    how = zlib.crc32(tag) % 16
    if how == 0:
        return False  # closed without a word
    if how == 1:  # cut in the middle of a body
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + tag)
        return False
    if how == 2:  # more than was announced: belongs to nobody
        await talk.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%bHTTP/1.1 200 OK\r\n"
            b"Content-Length: 5\r\n\r\nwrong" % (len(body), body)
        )
        return True
    if how == 3:
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        return False
    if how < 8:
        await talk.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        )
        return True
    await talk.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    return True


def _request(tag: bytes, dice: random.Random) -> tuple[bytes, bytes]:
    kind = dice.randrange(4)
    head = b" /t/" + tag + b" HTTP/1.1\r\nHost: a\r\n"
    if kind == 0:
        return b"POST" + head + b"Content-Length: 4\r\n\r\nbody", b"body"
    if kind == 1:
        chunks = b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
        return b"POST" + head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, b"body"
    if kind == 2:  # one for the general lane
        return b"GET" + head + b"TE: trailers\r\nConnection: TE\r\n\r\n", b""
    return b"GET" + head + b"\r\n", b""


async def _converse(
    gw: Gateway, count: Count, number: int, share: int, dice: random.Random
) -> None:
    client: Client | None = None
    turn = asked = 0
    while asked < share:
        turn += 1
        if client is None:
            client = await gw.connect()
        wanted = []
        sent = b""
        for part in range(dice.choice((1, 1, 1, 3))):
            tag = b"%d-%d-%d" % (number, turn, part)
            request, body = _request(tag, dice)
            wanted.append(tag + b":" + body)
            sent += request
        asked += len(wanted)
        count.asked += len(wanted)
        if dice.randrange(32) == 0:  # leave without the answer
            await client.send(sent[: dice.randrange(1, len(sent) + 1)])
            client.reset()
            client = None
            continue
        await client.send(sent)
        for expected in wanted:
            try:
                got = await client.response()
            except TimeoutError:
                count.lost += 1
                client.reset()
                client = None
                break
            except (EOFError, ConnectionError):
                count.cut += 1
                client = None
                break
            if got.status == 200 and got.body != expected:
                count.mismatched += 1
            count.answered += got.status == 200
            count.refused += got.status != 200
            if got.one("connection") == "close":
                client.close()
                client = None
                break


async def run(requests: int, seed: int) -> Count:
    """Ask so many times, from some clients at once; returns what it came to."""
    count = Count()
    up = await Recorder(_echo).start()
    gate = FakeGate()
    snapshot = snapshot_of(public(up.base))
    gw = await Gateway(snapshot, gate=gate, clock=SystemClock()).start()
    forgetting = asyncio.create_task(_forget(up, gw, gate, count))
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                dice = random.Random(f"{seed}-{number}")
                group.create_task(
                    _converse(gw, count, number, requests // CLIENTS, dice)
                )
    finally:
        forgetting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await forgetting
        await gw.stop()
        await up.stop()
    return count


async def _forget(up: Recorder, gw: Gateway, gate: FakeGate, count: Count) -> None:
    # A run of a million must not keep what a million said.
    said = 0
    while True:
        await asyncio.sleep(FORGET_S)
        up.requests.clear()
        up.received[:-CLIENTS] = [bytearray()] * max(0, len(up.received) - CLIENTS)
        gw.log.lines.clear()
        gate.heads.clear()
        gate.instants.clear()
        gw.forget_closed()
        if count.asked >= said + SAY_EVERY:
            said = count.asked
            print(count, file=sys.stderr, flush=True)  # noqa: T201 - it takes a while


def main() -> int:
    """Print what a run came to; 1 where an answer was another's, or none came."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    lane_kit.DEADLINE_S = LOST_S
    count = uvloop.run(run(given.requests, given.seed))
    print(count)  # noqa: T201 - the figure is what this is for
    return 1 if count.mismatched or count.lost else 0


if __name__ == "__main__":
    sys.exit(main())
