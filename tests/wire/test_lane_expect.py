"""Expect: 100 only after the gate has allowed, and bodies that are not read (T3)."""

from tests.fakes import FakeGate, decided
from tests.lane_kit import gateway, public, snapshot_of
from tests.recorder import recording

from fastgate.domain.verdict import Reason, Verdict


async def test_t3_lane_sends_100_once_the_gate_has_allowed():
    """The client is told to go on, and the expectation is met here, not upstream."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
            b"Content-Length: 3\r\n\r\n"
        )
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.response()).status == 200
        assert up.requests[0].body == b"abc"
        assert up.requests[0].all("expect") == []


async def test_t3_lane_refuses_before_the_body_of_a_client_that_expects():
    """No 100, the final answer and the end; the body is never read."""
    async with recording() as up:
        gate = FakeGate(
            lambda h, s, _: decided(Verdict.DENY, s, h, reason=Reason.EXPIRED)
        )
        async with gateway(snapshot_of(public(up.base)), gate=gate) as gw:
            client = await gw.connect()
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                b"Content-Length: 3\r\n\r\n"
            )
            raw = await client.read_to_end()
            assert raw.startswith(b"HTTP/1.1 401 ")
            assert b"100 Continue" not in raw
            assert b"Connection: close" in raw


async def test_t3_lane_ignores_expect_in_http_1_0():
    """RFC 9110 section 10.1.1; the body comes without being asked for."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(
            b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
        )
        raw = await client.read_to_end()
        assert raw.startswith(b"HTTP/1.1 200 ")
        assert up.requests[0].body == b"abc"


async def test_lane_closes_after_refusing_a_body_it_did_not_read():
    """What the client still sends is not taken for its next request (T1)."""
    async with recording() as up:
        gate = FakeGate(
            lambda h, s, _: decided(Verdict.DENY, s, h, reason=Reason.EXPIRED)
        )
        async with gateway(snapshot_of(public(up.base)), gate=gate) as gw:
            client = await gw.connect()
            inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + inner
            )
            got = await client.response()
            assert (got.status, got.one("connection")) == (401, "close")
            await client.send(inner)
            assert await client.ended_cleanly()
            assert client.buffer == b""
            assert len(gw.log.lines) == 1
