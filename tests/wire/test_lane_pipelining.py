"""Requests sent before the answers to those before them (T17, T25, section 4).

No message is framed before the one ahead of it was answered, so what waits is bytes,
and bytes are bounded: reading stops at 64 KiB of them. A number of messages would bound
nothing more; there is no queue of them.
"""

import asyncio

from tests.lane_kit import gateway, public, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording

REQUEST = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
# One that is the general lane's.
ODD = b"GET /%d HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n"


async def test_cve_2026_54273_pipelined_requests_are_served_one_at_a_time():
    """Two thousand at once: each gets its answer, in order, and none is begun early."""
    count, most, now = 2_000, 0, 0

    async def echo(request: Recorded, talk: Talk) -> bool:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        await talk.send(answer(request.target))
        return True

    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        sent = b"".join((ODD if at % 7 == 3 else REQUEST) % at for at in range(count))
        client.writer.write(sent)
        for at in range(count):
            assert (await client.response()).body == b"/%d" % at
        assert (most, len(up.requests)) == (1, count)


async def test_cve_2026_54273_reading_stops_while_many_requests_wait():
    """A client that never waits is held up; what is kept for it stays small."""

    async def stuck(_: Recorded, talk: Talk) -> bool:
        await go_on.wait()
        await talk.send(answer())
        return True

    go_on = asyncio.Event()
    mebibytes = 32
    async with recording(stuck) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        transport = client.writer.transport
        await client.send(REQUEST % 0)
        await up.until(lambda it: len(it.requests) == 1)
        client.writer.write((REQUEST % 1) * (mebibytes * 1_048_576 // len(REQUEST)))
        # Whatever sockets take goes in these turns; the rest stays with the client.
        for _ in range(2_000):
            await asyncio.sleep(0)
        waiting = transport.get_write_buffer_size()
        assert waiting > (mebibytes - 16) * 1_048_576
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == waiting
        assert len(up.requests) == 1
        client.reset()
        go_on.set()


async def test_t17_nothing_behind_a_malformed_pipelined_request_is_read():
    """Those ahead of it are served; it is refused; those behind it do not exist."""

    async def echo(request: Recorded, talk: Talk) -> bool:
        await talk.send(answer(request.target))
        return True

    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        bad = b"GET /bad HTTP/1.1\r\nHost : a\r\n\r\n"
        await client.send(REQUEST % 1 + ODD % 2 + bad + REQUEST % 3)
        assert (await client.response()).body == b"/1"
        assert (await client.response()).body == b"/2"
        got = await client.response()
        assert (got.status, got.code) == (400, "bad_request")
        assert await client.read_to_end() == b""
        assert [request.target for request in up.requests] == [b"/1", b"/2"]
