"""Listeners on real sockets, and requests to them as they go over the wire."""

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastgate.admin.api import AdminListener
from fastgate.admin.status_page import StatusListener


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    all: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.all = {name.lower(): value for name, value in self.headers}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def bound(path: Path | None = None, host: str = "127.0.0.1") -> socket.socket:
    """Return a listening socket as the supervisor makes it."""
    if path is not None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
    else:
        sock = socket.socket()
        sock.bind((host, 0))
    sock.listen(128)
    sock.setblocking(False)
    return sock


class Wire:
    """A client that sends exactly what a test says."""

    def __init__(self, sock: socket.socket) -> None:
        self.address = sock.getsockname()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.address[1]}" if self.is_tcp else "localhost"

    @property
    def is_tcp(self) -> bool:
        return isinstance(self.address, tuple)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.is_tcp:
            return await asyncio.open_connection(*self.address)
        return await asyncio.open_unix_connection(self.address)

    async def raw(self, data: bytes, *, end: bool = False) -> Answer:
        """Send bytes and read one answer."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            await writer.drain()
            if end:
                writer.write_eof()
            async with asyncio.timeout(20):
                return await _answer(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Send a request; a header of None is left out."""
        content = b""
        given: dict[str, str | None] = {"Host": self.host, "Connection": "close"}
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            given["Content-Type"] = "application/json"
            given["Content-Length"] = str(len(content))
        given |= headers or {}
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in given.items() if value]
        return await self.raw("\r\n".join([*lines, "", ""]).encode() + content)


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines]
    answer = Answer(int(first.split(" ")[1]), headers, b"")  # type: ignore[arg-type]
    if answer.all.get("transfer-encoding") != "chunked":
        answer.body = await reader.readexactly(int(answer.all.get("content-length", 0)))
    return answer


@contextlib.asynccontextmanager
async def admin(
    agent: Any, *, token: str | None = None, names: tuple[str, ...] = (), **at: Any
) -> AsyncIterator[Wire]:
    """Run an admin listener."""
    sock = bound(**at)
    wire = Wire(sock)
    listener = AdminListener(agent, token=token, names=names)
    await listener.start(sock)
    try:
        yield wire
    finally:
        await listener.stop()


@contextlib.asynccontextmanager
async def status(agent: Any) -> AsyncIterator[Wire]:
    """Run a status listener."""
    sock = bound()
    wire = Wire(sock)
    listener = StatusListener(agent)
    await listener.start(sock)
    try:
        yield wire
    finally:
        await listener.stop()


@contextlib.contextmanager
def in_a_thread(
    agent: Any, *, token: str | None = None, path: Path | None = None
) -> Iterator[str]:
    """Run an admin listener beside a test that blocks; yields its address."""
    sock = bound(path)
    where = sock.getsockname()
    address = f"unix:{path}" if path else f"127.0.0.1:{where[1]}"
    stop_read, stop_write = os.pipe()
    ready = threading.Event()

    async def serve() -> None:
        listener = AdminListener(agent, token=token, names=())
        await listener.start(sock)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_reader(stop_read, stopped.set)
        ready.set()
        await stopped.wait()
        asyncio.get_running_loop().remove_reader(stop_read)
        await listener.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield address
    finally:
        os.write(stop_write, b"x")
        thread.join(10)
        os.close(stop_read)
        os.close(stop_write)
        assert not thread.is_alive()
