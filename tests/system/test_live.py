"""A real gateway closes what belongs to a revoked session, on every worker, at once."""

import asyncio
import time

import pytest
from tests import tokens
from tests.recorder import Recorded, Talk
from tests.system.gateway import Gateway, request, running, world
from tests.wire.test_lane_upgrades import SWITCH, UPGRADE

pytestmark = pytest.mark.system

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"
CLOSE_1008 = b"\x88\x0f\x03\xf0invalid_token"
EACH = 8  # connections of a kind; that one worker has all of them has odds of 2 ** -14
LIMIT_S = 1.0


async def endless(request: Recorded, talk: Talk) -> bool:
    await talk.send(SWITCH + b"\x81\x05hello" if request.one("upgrade") else CHUNKED)
    return await talk.gone()


def document(here, folder):
    found = here.document(folder)
    found["routes"][0]["websocket"] = True
    return found


def upgrade(token):
    head = UPGRADE.replace(b"GET /ws", b"GET /orders/ws")
    return head.replace(b"Host: a\r\n", request("/", token).split(b"\r\n", 1)[1][:-2])


async def opened(gateway, data, mark):
    client = await gateway.connect()
    await client.send(data)
    await client.until(mark)
    return client


async def test_an_urgent_revocation_ends_all_streams_of_its_session_in_a_second(
    tmp_path,
):
    """WebSockets with 1008, answers by a cut; those of another session go on."""
    gone = tokens.token(sid="s-gone", jti="j1", region="eu")
    stays = tokens.token(sid="s-stays", jti="j2", region="eu")
    async with (
        world(scripts={"eu": endless}) as here,
        running(Gateway(tmp_path / "eu", document(here, tmp_path))) as gateway,
    ):
        sockets = [await opened(gateway, upgrade(gone), b"hello") for _ in range(EACH)]
        ask = request("/orders/1", gone)
        streams = [await opened(gateway, ask, b"begin") for _ in range(EACH)]
        other = await opened(gateway, request("/orders/1", stays), b"begin")
        socket = await opened(gateway, upgrade(stays), b"hello")
        began = time.monotonic()
        await gateway.revoke("sid", "s-gone", urgent=True)
        await asyncio.gather(*(it.ended_cleanly() for it in sockets + streams))
        assert time.monotonic() - began < LIMIT_S
        assert all(it.buffer.endswith(b"hello" + CLOSE_1008) for it in sockets)
        for client in (other, socket):
            assert not client.reader.at_eof()
        assert (await gateway.get("/orders/1", gone)).status == 401


async def test_an_ordinary_revocation_ends_streams_within_the_bound(tmp_path):
    """They are judged again every `max_staleness`, without anything urgent."""
    token = tokens.token(sid="s-1", jti="j3", region="eu")
    async with world(scripts={"eu": endless}) as here:
        found = document(here, tmp_path)
        found["routes"][0]["freshness"] = {"max_staleness": "5s"}
        async with running(Gateway(tmp_path / "eu", found)) as gateway:
            stream = await opened(gateway, request("/orders/1", token), b"begin")
            socket = await opened(gateway, upgrade(token), b"hello")
            began = time.monotonic()
            await gateway.revoke("sid", "s-1")
            async with asyncio.timeout(7.0):
                await asyncio.gather(stream.reader.read(), socket.reader.read())
            assert time.monotonic() - began < 6.5
