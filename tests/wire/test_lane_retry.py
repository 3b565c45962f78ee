"""The one safe retry, and the one limit of connections, in both lanes (THREATS F21)."""

import asyncio

from tests.lane_kit import eventually, gateway, limits, public, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording
from tests.wire.scripts import GET

# Forms have to be read for nothing here, but Expect is always the general lane's.
GENERAL = (
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
)


async def test_f21_lane_sends_a_request_twice_at_most():
    """A kept connection that broke is retried on a new one, which ends it."""

    async def closing(request: Recorded, talk: Talk) -> bool:
        if len(up.requests) > 1:
            talk.reset()
            return False
        await talk.send(answer())
        return True

    async with recording(closing) as up, gateway(snapshot_of(public(up.base))) as gw:
        assert (await gw.ask(GET)).status == 200
        got = await gw.ask(GET)
        assert (got.status, got.code) == (502, "bad_upstream_response")
        assert len(up.requests) == 3
        assert up.connections == 2


async def test_f21_lane_retries_again_for_the_next_request():
    """The retry is a request's own, not the connection's."""

    async def every_other(request: Recorded, talk: Talk) -> bool:
        if len(up.requests) % 2 == 0:
            talk.reset()
            return False
        await talk.send(answer())
        return True

    async with (
        recording(every_other) as up,
        gateway(snapshot_of(public(up.base))) as gw,
    ):
        client = await gw.connect()
        for _ in range(4):
            await client.send(GET)
            assert (await client.response()).status == 200
        assert len(up.requests) == 7


async def test_lanes_share_one_limit_of_connections_to_an_address():
    """A slow request of the one lane takes the place that the other one asks for."""
    release = asyncio.Event()

    async def slow(request: Recorded, talk: Talk) -> bool:
        await release.wait()
        await talk.send(answer())
        return True

    async with recording(slow) as up:
        snapshot = snapshot_of(public(up.base), limits=limits(upstream_connections=1))
        async with gateway(snapshot) as gw:
            waiting = await gw.connect()
            await waiting.send(GET)
            await eventually(lambda: len(up.requests) == 1)
            refused = await gw.ask(GENERAL + b"x")
            assert (refused.status, refused.code) == (503, "overloaded")
            release.set()
            assert (await waiting.response()).status == 200
            await eventually(lambda: gw.pool.connections.total() == 1)
        await eventually(lambda: not gw.pool.connections.total())


async def test_lane_answers_500_where_the_gate_fails_and_asks_it_once():
    """A fault of our own is nobody's credential; nothing reaches the upstream."""

    class Broken:
        asked = 0

        def decide(self, *_: object) -> None:
            self.asked += 1
            raise ZeroDivisionError

    gate = Broken()
    async with recording() as up:
        async with gateway(snapshot_of(public(up.base)), gate=gate) as gw:
            got = await gw.ask(GET)
            assert (got.status, got.code) == (500, "internal_error")
            assert gate.asked == 1
        assert not up.requests
