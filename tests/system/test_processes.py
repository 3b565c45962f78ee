"""Processes of a running gateway end, are killed, stopped and replaced."""

import asyncio
import signal
import socket

import pytest
from tests import tokens
from tests.recorder import answer
from tests.system.gateway import Gateway, request, running, until, world
from tests.system.load import under_load

pytestmark = pytest.mark.system

PATH = "/orders/1"


async def test_death_of_the_agent_costs_no_request(tmp_path):
    """Workers read shared memory; nobody asks the agent (F11)."""
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        async with under_load(gateway, tokens.token(region="eu")) as load:
            (agent,) = gateway.pids("agent")
            gateway.send(signal.SIGKILL, agent)
            await until(lambda: len(gateway.pids("agent")) == 2, "a new agent")
            await gateway.revoke("sid", "somebody else")
            await load.more(10)
        assert load.lost == 0
        assert set(load.statuses) == {200}
        assert [a.opened for a in load.askers] == [1] * len(load.askers)


async def test_death_of_a_worker_costs_what_was_in_flight_on_it(tmp_path):
    """Each of its clients loses one request at most, the others none (F9)."""
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        async with under_load(gateway, tokens.token(region="eu")) as load:
            (victim,) = gateway.pids("worker0")
            gateway.send(signal.SIGKILL, victim)
            await until(lambda: len(gateway.pids("worker0")) == 2, "a new worker")
            await load.more(10)
        assert set(load.statuses) == {200}
        assert all(asker.lost <= 1 for asker in load.askers)
        # Whoever lost nothing and met the other worker never had to connect again.
        assert any(asker.opened == 1 for asker in load.askers)
        assert len(gateway.pids("worker1")) == 1


async def test_new_worker_refuses_what_was_revoked_before_it_was_born(tmp_path):
    """It has the whole state before its first accept (F9)."""
    async with world() as here:
        document = here.document(tmp_path, workers=1)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            token = tokens.token(region="eu")
            assert (await gateway.get(PATH, token)).status == 200
            await gateway.revoke("sub", "user-bob-0001")
            (victim,) = gateway.pids("worker0")
            gateway.send(signal.SIGKILL, victim)
            # It waits in the socket that the supervisor keeps open.
            assert (await gateway.get(PATH, token)).status == 401
            assert len(gateway.pids("worker0")) == 2


async def test_stuck_agent_is_replaced(tmp_path):
    """A process that is there and does nothing is killed by the watchdog (F12)."""
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        (agent,) = gateway.pids("agent")
        gateway.send(signal.SIGSTOP, agent)
        await until(lambda: len(gateway.pids("agent")) == 2, "a new agent")
        assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 200
        assert (await gateway.revoke("sid", "s-1234567890"))["published"]
        assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 401


async def test_counters_go_on_when_their_processes_are_replaced(tmp_path):
    """A scrape never sees a counter fall: the rows outlive the processes."""
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        for _ in range(20):
            await gateway.get(PATH, tokens.token(region="eu"))
        reloads = 'fastgate_config_reloads_total{result="success"}'

        async def counts_of(least):
            counts = await gateway.counts()
            assert counts[reloads] <= least
            return counts if counts[reloads] == least else None

        async def reload_and_count(least):
            await gateway.admin("POST", "/v1/reload")
            # The agent writes its own counts down once a second.
            return await until(lambda: counts_of(least), "counted", every_s=0.2)

        await reload_and_count(1)
        before = await reload_and_count(2)
        for role in ("agent", "worker0", "worker1"):
            gateway.send(signal.SIGKILL, gateway.pids(role)[-1])
        await until(lambda: len(gateway.pids("agent")) == 2, "a new agent")
        await reload_and_count(3)
        after = await reload_and_count(4)
        assert sum(before.values()) > 20
        assert all(after[series] >= count for series, count in before.items())


async def test_drain_finishes_what_is_in_flight(tmp_path):
    """SIGTERM: not ready, idle connections end, a request ends as begun (F25)."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(recorded, talk):
        if recorded.target.endswith(b"/slow"):
            arrived.set()
            await go.wait()
        await talk.send(answer())
        return True

    async with world(scripts={"eu": slow}) as here:
        document = here.document(tmp_path)
        document["timeouts"] = {"drain_delay": "1s", "drain_timeout": "20s"}
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            token = tokens.token(region="eu")
            busy, idle = await gateway.connect(), await gateway.connect()
            await idle.send(request(PATH, token))
            assert (await idle.response()).status == 200
            await busy.send(request("/orders/slow", token))
            await arrived.wait()
            gateway.send(signal.SIGTERM)
            # In the delay it still serves, and says that it will not for long.
            await until(lambda: draining(gateway), "/readyz tells balancers")
            late = await gateway.get(PATH, token)
            assert late.status == 200
            await idle.read_to_end()
            assert not gateway.ended()
            go.set()
            assert (await busy.response()).status == 200
            assert await gateway.until_end() == 0
            assert gateway.named("killed") == []


async def draining(gateway):
    """Whether /readyz refuses while /livez does not."""
    ready = await gateway.probe("/readyz?verbose")
    return ready.status == 503 and b"[-]not draining" in ready.body


async def test_drain_cuts_what_does_not_end(tmp_path):
    """Past its time the node ends all the same, and says so to nobody as success."""
    never = asyncio.Event()

    async def hang(recorded, talk):
        del recorded, talk
        await never.wait()

    async with world(scripts={"eu": hang}) as here:
        document = here.document(tmp_path)
        document["timeouts"] = {"drain_delay": "0s", "drain_timeout": "1s"}
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            client = await gateway.connect()
            await client.send(request(PATH, tokens.token(region="eu")))
            await until(lambda: here.arrived() == 1, "the request is in flight")
            gateway.send(signal.SIGTERM)
            assert await gateway.until_end() == 0
            assert await client.read_to_end() == b""


async def test_rolling_restart_loses_nothing(tmp_path):
    """SIGUSR2: each worker is replaced, one after the other, under load."""
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            async with under_load(gateway, tokens.token(region="eu")) as load:
                gateway.send(signal.SIGUSR2)
                for role in ("worker0", "worker1"):
                    await until(lambda r=role: len(gateway.pids(r)) == 2, "replaced")
                await load.more(10)
            assert set(load.statuses) == {200}
            assert load.lost == 0


async def test_supervisor_leaves_nobody_behind_when_it_is_killed(tmp_path):
    """The port is free again, so a service manager can start the node anew."""
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            gateway.send(signal.SIGKILL)
            await gateway.until_end()

            def is_free():
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", gateway.port("listen"))) != 0

            await until(is_free, "nobody listens")
