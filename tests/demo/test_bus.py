"""Bus: three servers and a transit server carry streams and survive a cut."""

import asyncio

import nats
import pytest

from fastgate.demo.bus import BusServer, find_server, region_config, transit_config
from fastgate.demo.children import ChildError
from fastgate.demo.links import Cut, Link
from fastgate.demo.world import HOST, REGIONS, Ports, free_base

pytestmark = pytest.mark.system

LIMIT_S = 20.0
PROGRAM = find_server()
needs_server = pytest.mark.skipif(
    PROGRAM is None, reason="nats-server is not installed (extra demo)"
)


class Mesh:
    """The servers of the demo, and a client in each region."""

    def __init__(self, folder):
        self.ports = Ports(free_base())
        self.folder = folder
        self.servers = []
        self.links = {}
        self.clients = {}

    async def start(self):
        ports = self.ports
        transit = self._server("transit")
        config = transit_config(
            transit.store, port=ports.transit, leaf_port=ports.transit_leaf
        )
        await transit.start(config, ports.transit)
        for region in REGIONS:
            link = self.links[region] = Link(region, HOST, ports.transit_leaf)
            port = await link.start(HOST, ports.leaf_link(region))
            own = ports.of(region, "bus")
            server = self._server(region)
            await server.start(
                region_config(region, server.store, port=own, link=port), own
            )
            self.clients[region] = await nats.connect(f"nats://{HOST}:{own}")

    async def stop(self):
        for client in self.clients.values():
            await client.close()
        for server in self.servers:
            await server.stop()
        for link in self.links.values():
            await link.stop()

    def _server(self, name):
        (self.folder / name).mkdir()
        server = BusServer(name, PROGRAM, self.folder / name)
        self.servers.append(server)
        return server

    async def listen(self, region, subject):
        queue = asyncio.Queue()
        await self.clients[region].subscribe(subject, cb=queue.put)
        await self.clients[region].flush()
        return queue

    async def carry(self, source, queue, subject, text):
        """Publish until it arrives: a link takes its time to come up, or back."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                await self.clients[source].publish(subject, text)
                try:
                    message = await asyncio.wait_for(queue.get(), 0.2)
                except TimeoutError:
                    continue
                if message.data == text:
                    return


@pytest.fixture
async def mesh(tmp_path):
    servers = Mesh(tmp_path)
    try:
        await servers.start()
        yield servers
    finally:
        await servers.stop()


@needs_server
async def test_message_crosses_transit_in_every_direction(mesh):
    """What one region publishes, the other two receive."""
    for source in REGIONS:
        for target in REGIONS:
            if source != target:
                subject = f"fg.live.{source}.to-{target}"
                queue = await mesh.listen(target, subject)
                await mesh.carry(source, queue, subject, b"hello")


@needs_server
async def test_stream_of_a_region_is_read_from_another_by_its_domain(mesh):
    """JetStream domains make each region's streams reachable by name."""
    queue = await mesh.listen("us", "warm-up")
    await mesh.carry("eu", queue, "warm-up", b"up")
    home = mesh.clients["eu"].jetstream()
    await home.add_stream(name="FG_REV_eu", subjects=["fg.rev.eu.>"])
    await home.publish("fg.rev.eu.gw-1.sid", b"event")
    abroad = mesh.clients["us"].jetstream(domain="eu")
    stored = await abroad.get_msg("FG_REV_eu", 1)
    assert stored.data == b"event"


@needs_server
@pytest.mark.parametrize("how", list(Cut))
async def test_cut_region_hears_nothing_and_hears_again_when_healed(mesh, how):
    """A cut stops what crosses and nothing else; healing needs nobody's help."""
    queue = await mesh.listen("us", "news")
    near = await mesh.listen("ap", "news")
    await mesh.carry("eu", queue, "news", b"before")
    await mesh.carry("eu", near, "news", b"before")
    while not queue.empty():
        queue.get_nowait()
    await mesh.links["us"].cut(how)
    await mesh.carry("eu", near, "news", b"during")
    assert queue.empty()
    mesh.links["us"].heal()
    await mesh.carry("eu", queue, "news", b"after")


@needs_server
async def test_long_partition_is_noticed_and_heals(mesh, tmp_path):
    """Two pings without an answer end the link; it comes back when packets pass."""
    queue = await mesh.listen("us", "news")
    near = await mesh.listen("ap", "news")
    await mesh.carry("eu", queue, "news", b"before")
    log, link = tmp_path / "us" / "nats.log", mesh.links["us"]
    await link.cut()
    tried = link.attempts
    async with asyncio.timeout(LIMIT_S):
        # A server that learned another way to transit would not try this one again.
        while "Stale Connection" not in log.read_text() or link.attempts < tried + 2:
            await asyncio.sleep(0.05)
    while not queue.empty():
        queue.get_nowait()
    await mesh.carry("eu", near, "news", b"during")
    assert queue.empty()
    link.heal()
    await mesh.carry("eu", queue, "news", b"after")


@needs_server
async def test_server_says_why_when_it_does_not_start(tmp_path):
    """The last words of its log are in the error."""
    server = BusServer("eu", PROGRAM, tmp_path)
    with pytest.raises(ChildError, match=r"nats-server eu: ended at once[\s\S]*nats"):
        await server.start("listen: what?\n", 1)
    await server.stop()
