"""Bodies that find no room: who waits, and that all goes on (THREATS section 4)."""

import asyncio

from tests.lane_kit import eventually, gateway, public, snapshot_of
from tests.recorder import answer, recording

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
MIB = 1 << 20


async def test_lane_reads_on_after_it_waited_for_a_connection():
    """The body comes once the upstream is there, long after the head."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(HEAD % 5)
        await eventually(lambda: up.connections == 1)
        await client.send(b"hello")
        assert (await client.response()).status == 200
        assert up.requests[0].body == b"hello"
        await client.send(HEAD % 2 + b"hi")
        assert (await client.response()).status == 200


async def test_lane_leaves_a_body_to_the_client_until_the_upstream_takes_it():
    """Meanwhile it stays in the client's socket; all of it arrives in the end."""
    go_on = asyncio.Event()
    body = bytes(range(256)) * (16 * MIB // 256)

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await reader.readuntil(b"\r\n\r\n")
        taken = await reader.readexactly(len(body))
        writer.write(answer(b"same" if taken == body else b"other"))
        writer.close()

    server = await asyncio.start_server(late, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, gateway(snapshot_of(public(f"http://{host}:{port}"))) as gw:
        client = await gw.connect()
        sending = asyncio.ensure_future(client.send(HEAD % len(body) + body))
        await eventually(lambda: gw.pool.connections.total() == 1)
        done, _ = await asyncio.wait([sending], timeout=0.3)
        assert not done
        go_on.set()
        got = await client.response()
        assert (got.status, got.body) == (200, b"same")
        await sending
