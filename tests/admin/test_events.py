"""`GET /v1/events`: the status again and again, to a bounded number of listeners."""

import asyncio
import json

import pytest
from tests.admin.serving import Wire, admin, bound

from fastgate.admin.events import StatusEvents
from fastgate.admin.listener import Listener


@pytest.fixture
async def stream(agent):
    """Return a function that starts a stream of events with limits of its own."""
    listeners = []

    async def started(**limits):
        events = StatusEvents(agent.status, period_s=0.01, **limits)
        sock = bound()
        wire = Wire(sock)
        listener = Listener(events.serve, max_connections=64)
        await listener.start(sock)
        listeners.append(listener)
        return events, wire

    yield started
    for listener in listeners:
        await listener.stop()


async def opened(wire, path="/v1/events"):
    reader, writer = await wire.connect()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {wire.host}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return head, reader, writer


async def frame(reader):
    """Return the next status, whatever the chunks it came in."""
    async with asyncio.timeout(10):
        while True:
            line = await reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                return json.loads(line[6:])


async def test_events_carry_the_status_again_and_again(agent):
    """Through the real listener: its type, its first frame, and the next ones."""
    async with admin(agent) as wire:
        head, reader, writer = await opened(wire)
        assert b"Content-Type: text/event-stream" in head
        assert b"Cache-Control: no-store" in head
        assert await frame(reader) == agent.status()
        agent.is_ready = False
        while (await frame(reader))["ready"]:
            pass
        writer.close()


async def test_events_are_sent_to_a_bounded_number_of_listeners(stream):
    """One too many is told to come again; who leaves makes room."""
    events, wire = await stream(max_listeners=2)
    first = await opened(wire)
    second = await opened(wire)
    answer = await wire.send("GET", "/v1/events")
    assert (answer.status, answer.json["code"]) == (503, "overloaded")
    assert answer.all["retry-after"] == "5"
    first[2].close()
    async with asyncio.timeout(10):
        while events.listeners > 1:
            await frame(second[1])
    third = await opened(wire)
    await frame(third[1])
    second[2].close()
    third[2].close()


async def test_events_end_so_that_the_token_is_asked_for_again(stream):
    """No stream outlives its limit."""
    events, wire = await stream(max_stream_s=0.05)
    _, reader, writer = await opened(wire)
    async with asyncio.timeout(10):
        body = await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    assert body.count(b"event: status") >= 1
    assert events.listeners == 0


async def test_events_end_when_the_listener_stops(agent):
    """A drain does not wait for dashboards."""
    async with admin(agent) as wire:
        _, reader, writer = await opened(wire)
        await frame(reader)
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()


async def test_events_end_where_the_status_cannot_be_read(agent, stream):
    """A fault ends the stream; nothing is written into the middle of it."""
    events, wire = await stream()
    _, reader, writer = await opened(wire)
    await frame(reader)
    agent.fault = ZeroDivisionError()
    async with asyncio.timeout(10):
        rest = await reader.read()
    writer.close()
    assert b"problem" not in rest
    assert b"HTTP/1.1" not in rest
    assert events.listeners == 0
