"""Links through network namespaces drop packets, and leave nothing behind."""

import asyncio
import contextlib
import os
import pathlib
import sys

import pytest

from fastgate.demo.children import Child
from fastgate_bench.stand_ins import free_ports
from fastgate_bench.window.namespaces import Namespace, NamespaceLink, obstacle

pytestmark = pytest.mark.system

# Says what it hears, and `hello` first.
ECHO = """
import socket, sys
link = socket.create_connection((sys.argv[1], int(sys.argv[2])))
link.sendall(b"hello")
while data := link.recv(100):
    link.sendall(data.upper())
"""


def devices():
    mine = f"fg{os.getpid()}-"
    return [
        path.name
        for path in pathlib.Path("/sys/class/net").iterdir()
        if path.name.startswith(mine)
    ]


@contextlib.asynccontextmanager
async def linked(folder):
    """A process in a namespace that is linked to a server of the test, outside."""
    why = await obstacle(folder)
    if why:
        pytest.skip(f"no network namespaces here: {why}")
    met = asyncio.Queue()

    async def accept(reader, writer):
        met.put_nowait((reader, writer))
        await writer.wait_closed()

    port, far = free_ports(2)
    server = await asyncio.start_server(accept, "127.0.0.1", far)
    space = Namespace(0, folder)
    await space.start()
    link = NamespaceLink(far, space)
    await link.start(port)
    argv = space.within((sys.executable, "-c", ECHO, space.rest.near, str(port)))
    child = Child("echo", argv, folder / "echo.log")
    await child.start()
    async with asyncio.timeout(20):
        reader, writer = await met.get()
        assert await reader.readexactly(5) == b"hello"
        try:
            yield link, reader, writer
        finally:
            writer.transport.abort()
            await child.stop()
            await link.stop()
            await space.stop()
            server.close()


@pytest.mark.parametrize("way", ["up", "down", "both"])
async def test_a_direction_is_cut_below_tcp_and_heals(tmp_path, way):
    """Nobody is told; what was sent arrives when TCP has sent it again."""
    async with linked(tmp_path) as (link, reader, writer):
        link.hold(up=way != "down", down=way != "up")
        writer.write(b"more")
        answer = asyncio.create_task(reader.readexactly(4))
        done, _ = await asyncio.wait({answer}, timeout=0.3)
        assert not done
        link.heal()
        assert await answer == b"MORE"


async def test_nothing_is_left_of_a_namespace(tmp_path):
    """Its devices end with it."""
    async with linked(tmp_path):
        assert len(devices()) == 2
    async with asyncio.timeout(5):
        while devices():
            await asyncio.sleep(0.01)


async def test_a_heal_without_a_cut_changes_nothing(tmp_path):
    """Rounds heal whatever they drew."""
    async with linked(tmp_path) as (link, reader, writer):
        link.heal()
        writer.write(b"more")
        assert await reader.readexactly(4) == b"MORE"
