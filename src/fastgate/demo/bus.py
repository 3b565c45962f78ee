"""Bus: one nats-server a region and one transit server that links them.

Owns:      the servers' configuration files and processes.
Called by: demo.regions.
Source:    ECOSYSTEM.md section 9 (layout; only the core account is needed here).
"""

import asyncio
import contextlib
import os
import pathlib
import shutil
import sys
from typing import Final

from fastgate.demo.children import Child
from fastgate.demo.world import HOST

__all__ = ["BusServer", "find_server", "region_config", "transit_config"]

_READY_S: Final = 10.0
_LOOK_S: Final = 0.02
# Reason: a silent partition is noticed after two missed pings.
_COMMON: Final = """\
server_name: {name}
listen: "{host}:{port}"
ping_interval: "2s"
ping_max: 2
jetstream {{ store_dir: "{store}", domain: {domain}, max_mem: 64MB, max_file: 512MB }}
"""
# Reason: what a leaf node waits between two tries adds to the time of healing.
_RECONNECT: Final = "250ms"


def find_server() -> str | None:
    """Return the path of nats-server: from PATH, else that of the extra `demo`."""
    found = shutil.which("nats-server")
    if found is not None:
        return str(pathlib.Path(found).absolute())
    beside = pathlib.Path(sys.executable).with_name("nats-server")
    return str(beside) if os.access(beside, os.X_OK) else None


def region_config(region: str, store: pathlib.Path, *, port: int, link: int) -> str:
    """Return the configuration of a region's server.

    store: Folder of its streams. link: Port of the link to the transit server.
    """
    common = _COMMON.format(
        name=f"{region}-1", host=HOST, port=port, store=store, domain=region
    )
    return (
        f'{common}leafnodes {{ reconnect: "{_RECONNECT}", '
        f'remotes: [ {{ url: "nats-leaf://{HOST}:{link}" }} ] }}\n'
    )


def transit_config(store: pathlib.Path, *, port: int, leaf_port: int) -> str:
    """Return the configuration of the server that the regions' servers link to."""
    common = _COMMON.format(
        name="transit-1", host=HOST, port=port, store=store, domain="transit"
    )
    # Not advertised: a server that loses its link would come back past it, straight
    # to the address that it has learned.
    listen = f'listen: "{HOST}:{leaf_port}", no_advertise: true'
    return f"{common}leafnodes {{ {listen} }}\n"


class BusServer:
    """One nats-server.

    name: Region, or `transit`. program: Path of nats-server.
    folder: Where its configuration, streams and log go.
    """

    def __init__(self, name: str, program: str, folder: pathlib.Path) -> None:
        self.name = name
        self.store = folder / "jetstream"
        self._config = folder / "nats.conf"
        argv = (program, "-c", str(self._config))
        self._child = Child(f"nats-server {name}", argv, folder / "nats.log")

    async def start(self, config: str, port: int) -> None:
        """Start, and return when it takes connections. Raises ChildError."""
        self._config.write_text(config, "utf-8")
        await self._child.start()
        try:
            async with asyncio.timeout(_READY_S):
                while not await _greets(port):
                    if self._child.ended:
                        raise self._child.failure("ended at once")
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise self._child.failure(f"not ready after {_READY_S:g} s") from None

    async def stop(self) -> None:
        """End it."""
        await self._child.stop()


async def _greets(port: int) -> bool:
    """Tell whether a server says hello on a port."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            return (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.transport.abort()
    return False
