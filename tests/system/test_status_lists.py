"""Status lists over a real gateway: a set bit ends a token on every worker."""

import asyncio

from aiohttp import web
from tests import tokens
from tests.control.test_status_lists import ListIssuer
from tests.system.gateway import Gateway, running, until, world


async def test_set_bit_ends_a_token_within_the_lists_time_b11(tmp_path):
    """Lists are pulled in the background: the request itself fetches nothing."""
    issuer = ListIssuer()
    runner = web.ServerRunner(web.Server(issuer.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    issuer.publish("/1", b"\x08", bits=2, ttl=10)
    try:
        async with world() as around:
            lists = {
                "hosts": [issuer.base.partition("://")[2]],
                "lists": [issuer.uri("/1")],
            }
            login = around.issuer.document(status_list=lists)
            made = around.document(tmp_path, issuers={"login": login})
            async with running(Gateway(tmp_path, made)) as gateway:
                await _check(gateway, issuer)
    finally:
        await runner.cleanup()


async def _check(gateway, issuer):
    async def fresh():
        [line] = (await gateway.status())["status_lists"]
        return line["fresh_s"] > 0

    async def code(index, path="/1"):
        entry = {"idx": index, "uri": issuer.uri(path)}
        token = tokens.token(status={"status_list": entry}, jti=f"{path}{index}")
        return (await gateway.get("/orders/1", token)).status

    await until(fresh, "the list is there")
    assert [await code(i) for i in range(5)] == [200, 401, 200, 200, 401]
    before = len(issuer.fetches)
    assert await code(0, "/elsewhere") == 503
    assert issuer.fetches[before:].count("/elsewhere") == 0
    issuer.publish("/1", b"\x01", bits=2, ttl=10)

    async def refused():
        return [await code(0) for _ in range(4)] == [401] * 4

    async with asyncio.timeout(10):
        await until(refused, "the bit is known on all workers", every_s=0.1)
    assert await code(1) == 200
