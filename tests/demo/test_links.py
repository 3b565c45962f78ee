"""Links: delay without reordering, bounded buffers, and both ways to be cut."""

import asyncio
import contextlib

import pytest

from fastgate.demo.links import Cut, Link

HOST = "127.0.0.1"
LIMIT_S = 10.0  # far beyond what a healthy run takes; a hang fails here


class Far:
    """A TCP server that keeps what it got and echoes it."""

    def __init__(self):
        self.got = bytearray()
        self.changed = asyncio.Condition()
        self.writers = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def serve(self, reader, writer):
        self.writers.append(writer)
        await self._tell()
        with contextlib.suppress(ConnectionError):
            while True:
                await self.reading.wait()
                data = await reader.read(65536)
                if not data:
                    break
                self.got += data
                writer.write(data)
                await self._tell()
        writer.close()
        await self._tell()

    async def _tell(self):
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition):
        async with asyncio.timeout(LIMIT_S), self.changed:
            await self.changed.wait_for(condition)


@pytest.fixture
async def far():
    place = Far()
    server = await asyncio.start_server(place.serve, HOST, 0)
    place.port = server.sockets[0].getsockname()[1]
    yield place
    server.close()
    for writer in place.writers:
        writer.transport.abort()


@pytest.fixture
async def link(far):
    road = Link("test", HOST, far.port)
    road.port = await road.start(HOST, 0)
    yield road
    await road.stop()


async def open_through(road):
    reader, writer = await asyncio.open_connection(HOST, road.port)
    return reader, writer


async def read(reader, size):
    async with asyncio.timeout(LIMIT_S):
        return await reader.readexactly(size)


async def ended(reader):
    try:
        async with asyncio.timeout(LIMIT_S):
            return await reader.read(1) == b""
    except ConnectionError:
        return True


async def quiet(reader):
    try:
        async with asyncio.timeout(0.1):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def pour(writer, size):
    chunk = bytes(65536)
    for _ in range(size // len(chunk)):
        writer.write(chunk)
        await writer.drain()


async def test_link_keeps_the_order_of_bytes_in_both_directions(link):
    """Whatever the parts were, the bytes come back as they went."""
    reader, writer = await open_through(link)
    sent = bytes(range(256)) * 2000
    for start in range(0, len(sent), 7001):
        writer.write(sent[start : start + 7001])
    assert await read(reader, len(sent)) == sent
    writer.transport.abort()


async def test_link_delays_each_way_by_the_configured_time(far):
    """Every part waits its delay: once for the connection, once in each direction."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(min(seconds, 0.05))

    road = Link("slow", HOST, far.port, delay_s=0.05, sleep=sleep)
    road.port = await road.start(HOST, 0)
    reader, writer = await open_through(road)
    writer.write(b"ping")
    assert await read(reader, 4) == b"ping"
    assert len(waits) >= 3
    assert sum(waits) > 0.1
    assert max(waits) <= 0.05
    writer.transport.abort()
    await road.stop()


async def test_blackhole_delivers_nothing_until_the_link_heals(link, far):
    """A partition: nobody is told, and what was sent arrives afterwards."""
    reader, writer = await open_through(link)
    writer.write(b"before")
    assert await read(reader, 6) == b"before"
    await link.cut()
    writer.write(b"during")
    assert await quiet(reader)
    assert bytes(far.got) == b"before"
    link.heal()
    assert await read(reader, 6) == b"during"
    writer.transport.abort()


async def test_blackhole_hides_that_the_other_end_went_away(link, far):
    """The end of a connection is a packet too: it vanishes with the others."""
    reader, writer = await open_through(link)
    writer.write(b"x")
    await read(reader, 1)
    await link.cut()
    far.writers[0].transport.abort()
    assert await quiet(reader)
    link.heal()
    assert await ended(reader)
    writer.transport.abort()


async def test_blackhole_holds_new_connections_until_the_link_heals(link, far):
    """A connection begun during the cut reaches the far end after it."""
    await link.cut()
    reader, writer = await open_through(link)
    writer.write(b"late")
    assert await quiet(reader)
    assert far.writers == []
    link.heal()
    assert await read(reader, 4) == b"late"
    writer.transport.abort()


async def test_reset_breaks_open_connections_and_refuses_new_ones(link):
    """The friendlier failure: everybody is told at once."""
    reader, writer = await open_through(link)
    writer.write(b"x")
    await read(reader, 1)
    await link.cut(Cut.RESET)
    refused_reader, refused = await open_through(link)
    assert await ended(reader)
    assert await ended(refused_reader)
    link.heal()
    reader, again = await open_through(link)
    again.write(b"y")
    assert await read(reader, 1) == b"y"
    for each in (writer, refused, again):
        each.transport.abort()


async def test_link_stops_reading_when_the_far_end_stops(link, far):
    """A reader that stands still fills a window and no more; its sender waits."""
    far.reading.clear()
    _, writer = await open_through(link)
    far_above_every_buffer = 64 << 20
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pour(writer, far_above_every_buffer), 1)
    writer.transport.abort()


async def test_link_passes_the_end_of_a_stream_after_its_last_byte(link, far):
    """A half-closed connection still carries the answer back."""
    reader, writer = await open_through(link)
    writer.write(b"last words")
    writer.write_eof()
    async with asyncio.timeout(LIMIT_S):
        assert await reader.read() == b"last words"
    await far.until(lambda: bytes(far.got) == b"last words")
    writer.close()


async def test_link_says_so_when_nobody_listens_at_the_far_end(far, unused_tcp_port):
    """The connection ends; the link itself goes on."""
    road = Link("nowhere", HOST, unused_tcp_port)
    road.port = await road.start(HOST, 0)
    reader, writer = await open_through(road)
    assert await ended(reader)
    writer.transport.abort()
    await road.stop()
    assert road.connections == 0
