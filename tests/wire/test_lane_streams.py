"""Bodies in both directions: streaming, back-pressure, clients that leave (T16, U3)."""

import asyncio

from tests.lane_kit import Gateway, gateway, public, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording
from tests.wire.scripts import GET

MIB = 1 << 20


async def test_lane_streams_a_large_body_up_and_down():
    """Ten mebibytes arrive whole in both directions."""
    body = bytes(range(256)) * (10 * MIB // 256)

    async def echo(request: Recorded, talk: Talk) -> bool:
        await talk.send(answer(request.body))
        return True

    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        sending = asyncio.create_task(client.send(head + body))
        got = await client.response()
        await sending
        assert got.body == body


async def test_lane_passes_bytes_on_before_the_body_ends():
    """The upstream sees a first piece while the client still waits to send more."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        await up.until(lambda it: it.received and it.received[0].endswith(b"abc"))
        await client.send(b"def")
        assert (await client.response()).status == 200
        assert up.requests[0].body == b"abcdef"


async def test_lane_passes_an_event_stream_on_as_it_comes():
    """Head and each event reach the client while the answer goes on."""
    said = asyncio.Event()

    async def events(_: Recorded, talk: Talk) -> bool:
        await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await said.wait()
        await talk.send(b"9\r\ndata: 1\n\n\r\n")
        return await talk.gone()

    async with recording(events) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        said.set()
        await client.until(b"data: 1\n\n")
        client.close()
        await up.until(lambda it: it.closed == 1)


async def test_t16_a_client_that_does_not_read_pauses_the_upstream():
    """Far less than the upstream would say is taken from it meanwhile (U3)."""
    sent = 0

    async def flood(_: Recorded, talk: Talk) -> bool:
        nonlocal sent
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not talk.writer.is_closing():
            await talk.send(b"x" * MIB)
            sent += MIB
        return False

    async with recording(flood) as up:
        route = public(up.base, idle_timeout_s=0.3)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            client.writer.transport.pause_reading()
            await client.send(GET)
            (line,) = await gw.logged(1)
            # The client was given up on; socket buffers were all that filled.
            assert line["reason"] == "request_timeout"
            assert sent < 64 * MIB
            await up.until(lambda it: it.closed == 1)


async def test_t16_an_upstream_that_does_not_read_pauses_the_client():
    """The body waits at the client, and past the idle limit the answer is 504."""

    async def deaf(talk: Talk) -> None:
        talk.writer.transport.pause_reading()
        await closing.wait()

    closing = asyncio.Event()
    async with recording(on_connect=deaf) as up:
        route = public(up.base, idle_timeout_s=0.3)
        async with gateway(snapshot_of(route)) as gw:
            client = await gw.connect()
            size = 256 * MIB
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            )
            client.writer.write(b"x" * (64 * MIB))
            got = await client.response()
            assert (got.status, got.code) == (504, "upstream_timeout")
            (line,) = await gw.logged(1)
            assert line["bytes_in"] < 32 * MIB
            client.reset()
            closing.set()


async def test_lane_stops_the_upstream_when_the_client_is_gone():
    """A client that leaves ends the exchange on the other side too; 499 in the log."""

    async def silent(_: Recorded, talk: Talk) -> bool:
        return await talk.gone()

    async with recording(silent) as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(GET)
        await up.until(lambda it: len(it.requests) == 1)
        client.reset()
        await up.until(lambda it: it.closed == 1)
        (line,) = await gw.logged(1)
        assert (line["status"], line["verdict"]) == (499, "allow")


async def test_lane_completes_no_request_whose_client_left_in_its_middle():
    """Half a body is never made a whole one (T1)."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n"
        )
        await up.until(lambda it: it.received and b"abc" in it.received[0])
        client.close()
        await up.until(lambda it: it.closed == 1)
        assert not up.requests


async def test_lane_serves_a_hundred_clients_at_once_each_its_own():
    """Tagged requests never get each other's answers (T24)."""

    async def echo(request: Recorded, talk: Talk) -> bool:
        await talk.send(answer(request.target))
        return True

    async def client_of(gw: Gateway, number: int) -> None:
        client = await gw.connect()
        for turn in range(5):
            target = b"/%d/%d" % (number, turn)
            await client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert (await client.response()).body == target

    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        await asyncio.gather(*(client_of(gw, number) for number in range(100)))
