"""The accounts of docker/nats: each gateway speaks for itself, and nothing else."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import nats.errors
import orjson
import pytest
from nats.aio.client import Client
from tests.contract.test_buses import Listener as _Listener
from tests.feed_fakes import until
from tests.nats_server import NatsServer, binary, running

from fastgate.adapters.nats_bus.bus import NatsBus
from fastgate.adapters.nats_bus.layout import inspect
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.domain.layout import Standing

FOLDER = Path(__file__).parents[2] / "docker" / "nats"
PASSWORDS = {"gw-eu-1": "first", "gw-eu-2": "second", "bus-init": "third"}
ORIGINS = ("eu", "us")
RESTORED = orjson.dumps({"config": {"name": "FG_REV_eu"}, "state": {"messages": 0}})


class Listener(_Listener):
    def reported(self, sender: str, payload: bytes) -> None:
        self.reports.append(sender.encode())


class Guarded(NatsServer):
    """A server of region eu with the accounts that we show."""

    def _config(self) -> str:
        shutil.copy(FOLDER / "accounts-eu.conf", self.folder)
        return f"""
            listen: "127.0.0.1:{self.port}"
            jetstream {{ store_dir: "{self.folder}/js", domain: eu, max_file: 8GB }}
            include "accounts-eu.conf"
        """


@pytest.fixture
async def server(tmp_path: Path, monkeypatch) -> AsyncGenerator[Guarded, None]:
    for user, password in PASSWORDS.items():
        name = user.upper().replace("-", "_") + "_PASSWORD"
        monkeypatch.setenv(name, password)
    made = Guarded(tmp_path / "nats")
    async with running(made):
        lines = await inspect(
            settings_of(made, "bus-init"), region="eu", origins=ORIGINS, make=True
        )
        assert all(line.standing is not Standing.MISSING for line in lines)
        yield made


def settings_of(server: NatsServer, user: str) -> NatsSettings:
    return NatsSettings(
        servers=(server.url,),
        user=user,
        password=PASSWORDS[user],
        max_bytes=1 << 20,
        snapshot_bytes=1 << 20,
    )


@contextlib.asynccontextmanager
async def gateway(
    server: NatsServer, node: str
) -> AsyncGenerator[tuple[NatsBus, Listener], None]:
    settings = settings_of(server, node)
    bus = NatsBus(settings, region="eu", node=node, origins=ORIGINS)
    listener = Listener()
    await bus.start(listener)
    try:
        await until(lambda: listener.up)
        yield bus, listener
    finally:
        await bus.stop()


@contextlib.asynccontextmanager
async def intruder(server: NatsServer) -> AsyncGenerator[Client, None]:
    """The first gateway's account, in the wrong hands."""
    client = Client()

    async def refused(_: Exception) -> None:
        """The server says so; what counts is what it did."""

    await client.connect(
        server.url,
        user="gw-eu-1",
        password=PASSWORDS["gw-eu-1"],
        inbox_prefix="_INBOX.eu.gw-eu-1",
        error_cb=refused,
    )
    try:
        yield client
    finally:
        await client.close()


def test_example_configuration_is_valid(monkeypatch):
    """What an operator copies is read by the server without a word."""
    for name in ("GW_EU_1_PASSWORD", "GW_EU_2_PASSWORD", "BUS_INIT_PASSWORD"):
        monkeypatch.setenv(name, "x")
    words = [binary(), "-t", "-c", str(FOLDER / "eu.conf")]
    ran = subprocess.run(words, check=False, capture_output=True, text=True, timeout=20)
    assert ran.returncode == 0, ran.stderr


async def test_gateways_do_their_work_with_the_least_rights(server):
    """Publishing, reading, reporting and handing over need nothing more."""
    async with (
        gateway(server, "gw-eu-1") as (first, heard),
        gateway(server, "gw-eu-2") as (second, other),
    ):
        assert heard.up == other.up == [True]
        assert await first.publish("gw-eu-1.p", "jti", "a", b"a", 60) == 1
        assert await second.publish("gw-eu-2.p", "jti", "b", b"b", 60) == 2
        await until(lambda: len(heard.stored) == len(other.stored) == 2)
        found = [stored.payload async for stored in second.replay("eu", 0, 2)]
        assert found == [b"a", b"b"]
        await first.report(b"{}")
        await until(lambda: other.reports == [b"eu/gw-eu-1"])
        await first.urge("gw-eu-1.p", b"now")
        await until(lambda: other.urgent == [("eu", "gw-eu-1.p", b"now")])
        assert await first.hand("eu", b"event") == b"taken:event"
        assert await first.shelf().room() > 0
        await first.shelf().put("a.0", b"state")
        assert await second.shelf().get("eu", "a.0") == b"state"


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("fg.rev.eu.gw-eu-2.p.jti", b"x"),
        ("fg.rev.us.gw-eu-1.p.jti", b"x"),
        ("fg.snap.us.a.0", b"x"),
        ("$JS.API.STREAM.DELETE.FG_REV_eu", b""),
        ("$JS.API.STREAM.PURGE.FG_REV_eu", b""),
        ("$JS.API.STREAM.MSG.DELETE.FG_REV_eu", b'{"seq": 1}'),
        ("$JS.API.STREAM.UPDATE.FG_REV_eu", b'{"name": "FG_REV_eu", "max_age": 1}'),
        ("$JS.API.STREAM.RESTORE.FG_REV_eu", RESTORED),
        ("$JS.API.STREAM.RESTORE.OTHER", RESTORED),
        ("$JS.eu.API.STREAM.RESTORE.FG_REV_eu", RESTORED),
        ("$JS.API.STREAM.SNAPSHOT.FG_REV_eu", b'{"deliver_subject": "_INBOX.x"}'),
    ],
    ids=[
        *(
            "another's name",
            "another region",
            "another state",
            "delete",
            "purge",
            "one",
            "update",
        ),
        *("cve_2026_33222_own", "cve_2026_33222_other", "cve_2026_33222_domain"),
        "snapshot",
    ],
)
async def test_account_of_one_gateway_cannot_speak_or_act_for_others(
    server, subject, body
):
    """Refused by the server, whatever the client sends."""
    async with gateway(server, "gw-eu-2") as (bus, _):
        await bus.publish("gw-eu-2.p", "jti", "a", b"a", 60)
        before = await bus.state("eu")
        async with intruder(server) as client:
            with pytest.raises((nats.errors.Error, asyncio.TimeoutError)):
                await client.request(subject, body, timeout=0.3)
        assert await bus.state("eu") == before
        assert [s.payload async for s in bus.replay("eu", 0, 9)] == [b"a"]


async def test_what_is_said_under_another_name_is_not_heard(server):
    """The subject is the bus's word on who speaks."""
    async with gateway(server, "gw-eu-2") as (_, heard), intruder(server) as client:
        await client.publish("fg.urgent.eu.gw-eu-2.p", b"forged")
        await client.publish("fg.urgent.us.gw-eu-1.p", b"forged")
        await client.publish("fg.urgent.eu.gw-eu-1.p", b"own")
        await client.publish("fg.ack.eu.gw-eu-2", b"{}")
        await client.publish("fg.ack.eu.gw-eu-1", b"{}")
        await until(lambda: heard.reports)
        assert heard.reports == [b"eu/gw-eu-1"]
        assert heard.urgent == [("eu", "gw-eu-1.p", b"own")]
