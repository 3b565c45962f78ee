"""What is entered at the admin API is refused by every worker from then on."""

import asyncio
import signal
import time

import pytest
from tests import tokens
from tests.system.gateway import Gateway, request, running, until, world

pytestmark = pytest.mark.system

PATH = "/orders/1"
KINDS = ("jti", "sid", "sub", "client", "grant")
CONNECTIONS = 24  # new ones; that all of them meet the same worker has odds of 2 ** -23


def holder(kind, **claims):
    """A token that nothing but its own identifier of a kind can revoke."""
    own = {
        "jti": f"jti-of-{kind}",
        "sid": f"sid-of-{kind}",
        "sub": f"sub-of-{kind}",
        "client_id": f"client-of-{kind}",
        "grant_id": f"grant-of-{kind}",
        "region": "eu",
    }
    return tokens.token(**(own | claims))


async def lookups(gateway):
    """How many tokens each worker has looked up."""
    status = await gateway.status()
    return [w["cache"]["hits"] + w["cache"]["misses"] for w in status["workers"]]


async def answers_of_all_workers(gateway, *held):
    """Ask on new connections until every worker has been asked; returns the answers."""
    # Notes come once a second, so what was looked up before is noted first.
    before = await lookups(gateway)
    found = {token: set() for token in held}

    async def ask():
        for token in held:
            answer = await gateway.get(PATH, token)
            code = "" if answer.status == 200 else answer.code
            found[token].add((answer.status, code))

    async def all_asked():
        now = await lookups(gateway)
        return all(a > b for a, b in zip(now, before, strict=True))

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    await until(all_asked, "every worker was asked")
    return [found[token] for token in held]


async def test_every_kind_is_refused_by_all_workers_once_it_is_acknowledged(tmp_path):
    """201 means: whoever asks from now on, at whatever worker, gets 401."""
    held = {kind: holder(kind) for kind in KINDS}
    other = holder("nobody")
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        seen = await answers_of_all_workers(gateway, *held.values(), other)
        assert seen == [{(200, "")}] * 6
        arrived = here.arrived()
        for kind, token in held.items():
            receipt = await gateway.revoke(kind, f"{kind}-of-{kind}")
            assert (receipt["origin"], receipt["published"]) == ("eu", True)
            assert (await gateway.get(PATH, token)).status == 401
        assert here.arrived() == arrived
        seen = await answers_of_all_workers(gateway, *held.values(), other)
        assert seen == [{(401, "invalid_token")}] * 5 + [{(200, "")}]


async def test_keys_and_issuers_are_revoked_for_everybody(tmp_path):
    """A key for good; an issuer up to a time, so that it can go on afterwards."""
    now = int(time.time())
    key = tokens.signing_key("ES256", "withdrawn")
    async with world() as here:
        here.issuer.keys.append(key)
        async with running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gw:
            under_key = tokens.token(key)
            old, new = holder("old", iat=now - 100), holder("new", iat=now)
            seen = await answers_of_all_workers(gw, under_key, old, new)
            assert seen == [{(200, "")}] * 3
            await gw.revoke("kid", "withdrawn")
            await gw.revoke("issuer", tokens.ISSUER, issued_before=now - 50)
            seen = await answers_of_all_workers(gw, under_key, old, new)
            assert seen == [{(401, "invalid_token")}] * 2 + [{(200, "")}]


async def test_open_connections_are_refused_as_well(tmp_path):
    """A token that a worker has in its cache is judged anew with each request."""
    token = holder("sid")
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        clients = [await gateway.connect() for _ in range(12)]
        for client in clients:
            await client.send(request(PATH, token))
            assert (await client.response()).status == 200
        await gateway.revoke("sid", "sid-of-sid")
        for client in clients:
            await client.send(request(PATH, token))
            assert (await client.response()).status == 401


async def test_revoked_stays_revoked_over_a_restart(tmp_path):
    """The journal has it before the answer, the successor before its first accept."""
    token, other = holder("sub"), holder("nobody")
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            await gateway.revoke("sub", "sub-of-sub")
            assert gateway.process is not None
            gateway.process.kill()
            await gateway.until_end()
        async with running(Gateway(tmp_path / "again", document)) as gateway:
            assert (await gateway.get(PATH, token)).status == 401
            assert (await gateway.get(PATH, other)).status == 200


async def test_stale_state_is_503_until_the_agent_goes_on(tmp_path):
    """Past the route's limit nothing is let through, since nobody vouches for it."""
    token = holder("nobody")
    async with world() as here:
        document = here.document(tmp_path)
        document["routes"][0]["freshness"] = {"max_staleness": "5s"}
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            assert (await gateway.get(PATH, token)).status == 200
            (agent,) = gateway.pids("agent")
            # The supervisor would start another one in its place.
            gateway.send(signal.SIGSTOP)
            gateway.send(signal.SIGSTOP, agent)
            answers = []

            async def refused():
                answers.append(await gateway.get(PATH, token))
                return answers[-1].status != 200

            await until(refused, "the state is stale")
            assert answers[-1].status == 503
            assert answers[-1].code == "stale_revocation"
            assert int(answers[-1].one("retry-after")) > 0
            assert (await gateway.get("/public/1")).status == 200
            arrived = here.arrived()
            assert (await gateway.get(PATH, token)).status == 503
            assert here.arrived() == arrived
            gateway.send(signal.SIGCONT, agent)

            async def serves_again():
                return (await gateway.get(PATH, token)).status == 200

            await until(serves_again, "the state is fresh")
            gateway.send(signal.SIGCONT)
            assert gateway.pids("agent") == [agent]


async def test_lifted_session_is_accepted_by_all_workers_also_after_a_restart(tmp_path):
    """201 for the lift means: whoever asks from now on is let through again."""
    held, other = holder("sid"), holder("jti")
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        lifted = await gateway.revoke("sid", "sid-of-sid")
        await gateway.revoke("jti", "jti-of-jti")
        assert (await gateway.get(PATH, held)).status == 401
        path = f"/v1/revocations/{lifted['id']}/lift"
        assert (await gateway.admin("POST", path, {"reason": "mistake"})).status == 201
        seen = await answers_of_all_workers(gateway, held, other)
        assert seen == [{(200, "")}, {(401, "invalid_token")}]
        gateway.send(signal.SIGTERM)
        await gateway.until_end()
        saved = list(tmp_path.rglob("revocations.snapshot"))
        assert len(saved) == 1, "the state was saved at the end"
        await gateway.start()
        feed = (await gateway.status())["feed"]
        assert feed["snapshot"]["loaded"] == 2
        seen = await answers_of_all_workers(gateway, held, other)
        assert seen == [{(200, "")}, {(401, "invalid_token")}]
