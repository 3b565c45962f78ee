"""`fastgate bus init` on real servers: makes what is missing, says what differs."""

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from tests.config.documents import BASE
from tests.contract.places import REMOTE, KafkaPlace, NatsPlace, RedisPlace, place_of
from tests.contract.test_buses import Listener
from tests.feed_fakes import until
from tests.nats_server import NatsServer, free_port, running
from typer.testing import CliRunner

from fastgate.cli.bus import command


@dataclass
class Ran:
    code: int
    lines: list[str]

    def has(self, *words: str) -> bool:
        """Tell whether one line has all the words."""
        return any(all(word in line for word in words) for line in self.lines)


async def init(
    folder: Path, bus: str, *options: str, region: str = "eu", more: str = ""
) -> Ran:
    """Run the verb with a configuration of its own."""
    config = folder / f"{region}.yaml"
    text = BASE.replace("region: eu\n", f"region: {region}\n", 1)
    # Reason: few entries, so that the streams fit any machine.
    rules = f"bus: '{bus}', hash_key: 0123456789abcdef, capacity: 1000{more}"
    config.write_text(f"{text}revocation: {{{rules}}}\n")
    words = ["init", "--config", str(config), *options]
    ran = await asyncio.to_thread(CliRunner().invoke, command, words)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return Ran(ran.exit_code, ran.output.splitlines())


@pytest.fixture(params=REMOTE)
async def bus(request, tmp_path: Path) -> AsyncGenerator[tuple, None]:
    """A place, its URL, and what else its configuration says."""
    async with place_of(request.param, tmp_path, request) as place:
        url = f"{request.param}://127.0.0.1:{place.port}"
        more = ""
        if isinstance(place, KafkaPlace):
            more = f", kafka: {{prefix: {place.prefix}}}"
        yield place, url, more


async def test_missing_streams_are_told_then_made_then_well(bus, tmp_path):
    """Looked at, made, looked at again; a gateway is content with what was made."""
    place, url, more = bus
    looked = await init(tmp_path, url, "--check", more=more)
    assert looked.code == 1
    assert looked.has("missing", "eu")
    assert looked.has("missing", "us")
    made = await init(tmp_path, url, more=more)
    assert made.code == 0, made.lines
    assert made.has("made", "eu")
    assert made.has("made", "us")
    well = await init(tmp_path, url, "--check", "--json", more=more)
    document = json.loads(well.lines[0])
    assert (well.code, document["ok"], document["bus"]) == (0, True, url)
    assert {line["standing"] for line in document["lines"]} == {"ok"}
    gateway, listener = place.bus(), Listener()
    await gateway.start(listener)
    try:
        await until(lambda: listener.up == [True])
        await gateway.publish("gw.p", "jti", "a", b"a", 60)
    finally:
        await gateway.stop()


async def test_server_that_does_not_answer_is_unavailable(bus, tmp_path):
    """69, as sysexits.h has it: nothing was learned about the layout."""
    place, url, more = bus
    await place.cut("refused")
    ran = await init(tmp_path, url, "--check", more=more)
    await place.heal()
    assert ran.code == 69
    assert ran.has(url)


@pytest.mark.parametrize("technology", REMOTE)
async def test_absent_client_is_no_layout_that_differs(
    tmp_path, monkeypatch, technology
):
    """78, with what to install: nobody was asked, and nothing is missing there."""

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {technology!r}", name=technology)

    monkeypatch.setattr(importlib, "import_module", absent)
    ran = await init(tmp_path, f"{technology}://127.0.0.1:1", "--check")
    assert ran.code == 78
    assert ran.has(f'pip install "fastgate[{technology}]"')


async def test_local_bus_needs_no_server(tmp_path):
    """There is nothing to make, and that is said."""
    config = tmp_path / "local.yaml"
    config.write_text(BASE)
    words = ["-m", "fastgate", "bus", "init", "--config", str(config)]
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, *words], capture_output=True, check=False
    )
    assert ran.returncode == 0
    assert b"bus local" in ran.stdout


async def test_nats_stream_that_differs_is_told_setting_by_setting(tmp_path, request):
    """Found and wanted stand side by side; nothing is changed."""
    async with place_of("nats", tmp_path, request) as place:
        assert isinstance(place, NatsPlace)
        await place._ask(
            "$JS.API.STREAM.CREATE.FG_REV_eu",
            {"name": "FG_REV_eu", "subjects": ["fg.rev.eu.>"], "storage": "memory"}
            | {"max_age": 3_600 * 10**9, "max_msgs": 5},
        )
        ran = await init(tmp_path, f"nats://127.0.0.1:{place.port}")
        assert ran.code == 1
        for words in (
            ("storage", "memory, needs file"),
            ("discard", "old, needs new"),
            ("republish", "none, needs fg.live.>"),
            ("allow_msg_ttl", "false, needs true"),
            ("max_age", "3600s, needs 46"),
            ("max_msgs", "5, needs -1"),
        ):
            assert ran.has("differs  stream FG_REV_eu", *words), ran.lines


async def test_nats_mesh_has_a_stream_at_home_and_mirrors_elsewhere(tmp_path):
    """Each server has its own region's stream and the others' copies."""
    port = free_port()
    hub = NatsServer(tmp_path / "hub", domain="hub", leaf_port=port)
    servers = {
        region: NatsServer(tmp_path / region, domain=region, leaves=[port])
        for region in ("eu", "us")
    }
    async with running(hub, *servers.values()):
        for turn in range(2):
            for region, server in servers.items():
                other = "us" if region == "eu" else "eu"
                ran = await init(tmp_path, server.url, region=region)
                assert ran.code == 0, ran.lines
                word = "ok" if turn else "made"
                assert ran.has(word, f"stream FG_REV_{region}")
                assert ran.has(word, f"mirror FG_REV_{other}")


async def test_redis_server_that_forgets_is_told(tmp_path, request):
    """Eviction and a lazy disk lose what was acknowledged."""
    async with place_of("redis", tmp_path, request) as place:
        assert isinstance(place, RedisPlace)
        async with place.client() as client:
            await client.config_set("maxmemory-policy", "allkeys-lru")
            await client.config_set("appendfsync", "everysec")
            await client.set("fg.rev.us", "somebody's")
        ran = await init(tmp_path, f"redis://127.0.0.1:{place.port}")
        assert ran.code == 1
        assert ran.has("differs", "maxmemory-policy", "allkeys-lru, needs noeviction")
        assert ran.has("differs", "appendfsync", "everysec, needs always")
        assert ran.has("differs", "fg.rev.us", "a string that is not a gateway's alone")
        assert ran.has("made", "fg.rev.eu")


async def test_kafka_topic_that_differs_is_told(tmp_path, request):
    """Compaction, size limits and more partitions each break the promise."""
    async with place_of("kafka", tmp_path, request) as place:
        assert isinstance(place, KafkaPlace)
        topic = f"{place.prefix}.rev.eu"
        lossy = {"cleanup.policy": "compact", "retention.bytes": "1000000"}
        admin = AdminClient({"bootstrap.servers": place.server.server})
        asked = admin.create_topics([NewTopic(topic, 2, 1, config=lossy)])[topic]
        await asyncio.wrap_future(asked)
        more = f", kafka: {{prefix: {place.prefix}}}"
        ran = await init(tmp_path, f"kafka://127.0.0.1:{place.port}", more=more)
        assert ran.code == 1
        for words in (
            ("partitions", "2, needs 1"),
            ("cleanup.policy", "compact, needs delete"),
            ("retention.bytes", "1000000, needs -1"),
        ):
            assert ran.has("differs", topic, *words), ran.lines


async def test_nats_stream_of_saved_states_is_made_and_only_advised(tmp_path, request):
    """Nothing rests on it: a server without it, or with another one, is well."""
    async with place_of("nats", tmp_path, request) as place:
        assert isinstance(place, NatsPlace)
        url = f"nats://127.0.0.1:{place.port}"
        made = await init(tmp_path, url)
        assert made.has("made", "stream FG_SNAP_eu")
        await place._ask("$JS.API.STREAM.DELETE.FG_SNAP_eu")
        await place._ask(
            "$JS.API.STREAM.UPDATE.FG_SNAP_us",
            {"name": "FG_SNAP_us", "subjects": ["fg.snap.us.*.*"]}
            | {"max_msgs_per_subject": 2, "allow_direct": True},
        )
        looked = await init(tmp_path, url, "--check")
        assert looked.code == 0, looked.lines
        assert looked.has("advice", "stream FG_SNAP_eu", "none, needs a stream")
        assert looked.has("advice", "max_msgs_per_subject", "2, needs 1")
        wider = await init(tmp_path, url, "--check", more=", snapshot_max_bytes: 1GiB")
        assert not wider.has("advice", "max_bytes"), "none is a bound of its own"
        await place._ask("$JS.API.STREAM.DELETE.FG_SNAP_us")
        assert (await init(tmp_path, url)).has("made", "stream FG_SNAP_us")
        wider = await init(tmp_path, url, "--check", more=", snapshot_max_bytes: 1GiB")
        assert wider.has("advice", "FG_SNAP_us", "max_bytes", "or more, or -1")
        off = await init(tmp_path, url, "--check", more=", snapshots_on_bus: false")
        assert not off.has("FG_SNAP")
