"""Faults of the bench `window` that need more than a signal, and whom it revokes."""

import asyncio
import base64
import json
import random

import pytest
from tests.nats_server import NatsServer, running

from fastgate.adapters.nats_bus.bus import NatsBus
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.control.event_batch import read_batch
from fastgate.domain.event import key_id
from fastgate.domain.revocation import KeyHasher, Kind
from fastgate_bench.stand_ins import free_ports
from fastgate_bench.tokens import ISSUER, Issuer
from fastgate_bench.window import publisher
from fastgate_bench.window.links import FaultLink
from fastgate_bench.window.mixing import Mixer
from fastgate_bench.window.subjects import subject

KEY = "k" * 32


def message(number, subject="fg.live.eu.eu-1.sid", verb=b"MSG"):
    # The payload looks like the protocol, and must not be taken for it.
    payload = b"PING\r\nMSG fg.live.x 1 99\r\n%d" % number
    sizes = b"%d" % len(payload) if verb == b"MSG" else b"12 %d" % len(payload)
    return b"%b %b 7 %b\r\n%b\r\n" % (verb, subject.encode(), sizes, payload)


def parts_of(data):
    """Return the whole messages of a stream, by the test's own reading."""
    found = []
    while data:
        line, _, rest = data.partition(b"\r\n")
        size = int(line.split()[-1]) + 2 if line.split()[0] != b"PING" else 0
        found.append(line + b"\r\n" + rest[:size])
        data = rest[size:]
    return found


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_live_messages_are_doubled_and_reordered_and_none_is_lost(step):
    """However the stream is cut; what is no live message passes in its place."""
    mixer = Mixer(random.Random(3))
    sent = [message(n, verb=(b"MSG", b"HMSG")[n % 2]) for n in range(200)]
    data = b"PING\r\n".join(sent)
    out = b"".join(
        mixer.mix(data[at : at + step], at / 1e6) for at in range(0, len(data), step)
    )
    got = parts_of(out + mixer.rest())
    lives = [part for part in got if part != b"PING\r\n"]
    assert set(lives) == set(sent)
    assert len(lives) > len(sent) + 20
    assert lives != sorted(lives, key=sent.index)
    assert got.count(b"PING\r\n") == len(sent) - 1


def test_answers_to_requests_pass_at_once_and_in_order():
    """Somebody waits for them; only live subjects are mixed."""
    mixer = Mixer(random.Random(3))
    answers = [message(n, subject="_INBOX.1") for n in range(40)]
    held = message(99)
    assert mixer.mix(held + b"".join(answers), 0.0) == b"".join(answers)
    assert mixer.rest() == held


def test_a_live_message_waits_for_company_but_not_long():
    """0.4 s, told by whatever comes next."""
    mixer = Mixer(random.Random(3))
    assert mixer.mix(message(1), 10.0) == b""
    assert mixer.mix(b"PING\r\n", 10.3) == b"PING\r\n"
    assert message(1) in mixer.mix(b"PING\r\n", 10.5)


async def test_a_link_mixes_new_connections_until_it_heals():
    """What was held goes on with what comes after the heal."""

    async def serve(reader, writer):
        while await reader.readline():
            writer.write(message(1))
        writer.close()

    port, far = free_ports(2)
    server = await asyncio.start_server(serve, "127.0.0.1", far)
    link = FaultLink(far)
    await link.start(port)
    await link.mix(random.Random(3))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"\n")
        held = asyncio.create_task(reader.readexactly(2 * len(message(1))))
        done, _ = await asyncio.wait({held}, timeout=0.1)
        assert not done
        link.heal()
        writer.write(b"\n")
        assert await held == message(1) * 2
    finally:
        writer.transport.abort()
        await link.stop()
        server.close()


async def test_a_link_that_is_turned_leads_elsewhere():
    """The next connection meets the other server."""

    def saying(text):
        async def serve(reader, writer):
            writer.write(text)
            await reader.read()
            writer.close()

        return serve

    port, *fars = free_ports(3)
    servers = [
        await asyncio.start_server(saying(b"%d" % at), "127.0.0.1", far)
        for at, far in enumerate(fars)
    ]
    link = FaultLink(fars[0])
    await link.start(port)
    try:
        for at, far in enumerate(fars):
            await link.turn(far)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readexactly(1) == b"%d" % at
            writer.transport.abort()
    finally:
        await link.stop()
        for server in servers:
            server.close()


def claims_of(head):
    token = head.split(b"Bearer ")[1].split(b"\r\n")[0]
    body = token.split(b".")[1]
    return json.loads(base64.urlsafe_b64decode(body + b"=="))


def test_subjects_have_every_odd_case():
    """Moved users, tokens without a region, a cut-off in a token's own second."""
    issuer, chance = Issuer(), random.Random(5)
    drawn = [subject(issuer, f"r-{number}", chance) for number in range(300)]
    assert {it.kind for it in drawn} == {"jti", "sid", "sub"}
    for it in drawn:
        for head in it.heads:
            assert claims_of(head)[it.kind] == it.name
    moved = [it for it in drawn if len(it.heads) == 2]
    assert moved
    for it in moved:
        assert not it.known
        first, second = (claims_of(head).get("region") for head in it.heads)
        assert first != second
    assert any("region" not in claims_of(it.heads[0]) for it in drawn)
    spared = [it for it in drawn if it.spared]
    assert spared
    for it in spared:
        cutoff = it.asked["issued_before"]
        assert claims_of(it.heads[0])["iat"] == cutoff
        assert claims_of(it.spared) | {"iat": cutoff + 1} == claims_of(it.spared)
        assert claims_of(it.spared)["sub"] == it.name


class Listening:
    """Counts nothing, wants nothing; the test reads the stream itself."""

    def __init__(self):
        self.up = asyncio.Event()

    def live(self, stored):
        pass

    def reported(self, sender, payload):
        pass

    def urged(self, origin, publisher, payload):
        pass

    def connected(self, up):
        if up:
            self.up.set()

    async def handed(self, payload):
        return b""


@pytest.mark.system
async def test_a_burst_is_in_the_stream_with_every_number(tmp_path):
    """Gateways can read all of it; one in so many is told, by value and id."""
    told = tmp_path / "told"
    async with running(server := NatsServer(tmp_path / "eu", domain="eu")):
        job = {"region": "eu", "node": "eu-9", "origins": ["eu"], "port": server.port}
        job |= {"hash_key": KEY, "name": "b-", "rate": 10_000, "seconds": 0.1}
        with told.open("w") as out:
            await publisher._publish(job | {"one_in": 100}, out)
        settings = NatsSettings(servers=(server.url,))
        bus = NatsBus(settings, region="eu", node="eu-1", origins=("eu",))
        await bus.start(listening := Listening())
        await asyncio.wait_for(listening.up.wait(), 10)
        state = await bus.state("eu")
        frames = [
            read_batch(stored.payload, {key_id(KEY.encode())})
            async for stored in bus.replay("eu", 0, state.last)
        ]
        await bus.stop()
    ids = [id_ for frame in frames for id_ in frame.ids()]
    assert [frame.seq for frame in frames] == [1, 257, 513, 769]
    assert len(set(ids)) == 1000
    *lines, last = map(json.loads, told.read_text().splitlines())
    assert last["published"] == 1000
    assert [line["id"] for line in lines] == [f"b-{n * 100}" for n in range(1, 11)]
    assert [line["event"] for line in lines] == [ids[n * 100 - 1] for n in range(1, 11)]
    key = KeyHasher(KEY.encode(), ISSUER).key(Kind.SID, "b-100")
    assert frames[0].members(99)[4] == key
