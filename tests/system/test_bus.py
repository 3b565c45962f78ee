"""A gateway whose bus is away: at the start, later, and back again."""

import pytest
from tests import tokens
from tests.kafka_broker import KafkaBroker
from tests.nats_server import NatsServer
from tests.redis_server import RedisServer
from tests.system.gateway import Gateway, running, until, world

pytestmark = pytest.mark.system

PATH = "/orders/1"
SERVERS = {"nats": NatsServer, "redis": RedisServer, "kafka": KafkaBroker}


@pytest.mark.parametrize("kind", SERVERS)
async def test_gateway_waits_for_its_bus_and_outlives_it(tmp_path, kind):
    """503 before it was ever heard and past the limit, 200 in between (F1, F3)."""
    server = SERVERS[kind](tmp_path / "bus")
    token = tokens.token(region="eu")
    async with world("eu") as here:
        document = here.document(tmp_path)
        document["revocation"]["bus"] = server.url
        document["routes"][0]["freshness"] = {"max_staleness": "5s"}
        gateway = Gateway(tmp_path / "eu", document)
        seen = []

        async def answers(status):
            answer = await gateway.get(PATH, token)
            seen.append((answer.status, "" if answer.status == 200 else answer.code))
            return answer.status == status

        try:
            async with running(gateway, ready=False):
                # Nothing was saved and nothing heard: alive, not ready, and closed.
                assert (await gateway.probe("/livez")).status == 200
                assert (await gateway.probe("/readyz")).status == 503
                assert not await answers(200)
                assert (await gateway.get("/public/1")).status == 200

                server.start()
                await until(gateway.is_ready, "its own stream is heard")
                assert await answers(200)

                server.freeze()
                await until(lambda: answers(503), "the state is stale")
                assert (await gateway.get("/public/1")).status == 200
                assert (await gateway.probe("/livez")).status == 200
                # Entered here, it counts here, and is published when that is possible.
                receipt = await gateway.revoke("sid", "somebody else")
                assert receipt["published"] is False

                server.thaw()
                await until(lambda: answers(200), "the state is fresh")
                await gateway.revoke("sid", "s-1234567890")
                assert not await answers(200)
        finally:
            server.stop()
        # Never the token's fault but in the end, and never an error of ours.
        assert {*seen[:-1]} == {(200, ""), (503, "stale_revocation")}
        assert seen[-1] == (401, "invalid_token")
