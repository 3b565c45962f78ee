"""Stand-ins: what is around a gateway under test: the upstream, and the key set.

Owns:      the upstream's process and the folder that it serves.
Called by: relay, revocation and peers.
"""

import asyncio
import contextlib
import pathlib
import random
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fastgate.demo.children import Child
from fastgate.errors import StartError
from fastgate_bench.machine import Pins
from fastgate_bench.tokens import Issuer

__all__ = ["SIZES", "TAG", "Upstream", "ask", "free_ports", "until_answers", "upstream"]

TAG: Final = "X-Bench-Tag"
# Target to octets of the body that the upstream answers with.
SIZES: Final = {
    "/orders/1": 2,
    "/orders/4k": 4096,
    "/orders/1m": 1 << 20,
    "/orders/16m": 1 << 24,
}
_READY_S: Final = 30.0
_LOOK_S: Final = 0.02
_ASK_S: Final = 2.0
_HOST: Final = "127.0.0.1"
_LOW, _HIGH = 20_000, 32_000  # below the ports that outgoing connections get

_NGINX: Final = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; server_tokens off; sendfile on; tcp_nodelay on; keepalive_timeout 1h;
  keepalive_requests 1000000000; client_max_body_size 0; open_file_cache max=64;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port} backlog=16384; root {folder}/files;
    add_header {tag} $http_{variable} always;
    location = /orders/1 {{ return 200 "ok"; }}
    location = /public/1 {{ return 200 "ok"; }}
    location /orders/ {{ error_page 405 =200 $uri; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running upstream: its port, and what it is."""

    port: int
    kind: str


@contextlib.asynccontextmanager
async def upstream(
    folder: pathlib.Path, issuer: Issuer, pins: Pins
) -> AsyncIterator[Upstream]:
    """Run an upstream that also serves the issuer's key set at /jwks.

    nginx where it is installed, else an asyncio server of our own.
    """
    files = folder / "files"
    (files / "orders").mkdir(parents=True)
    for target, size in SIZES.items():
        (files / target[1:]).write_bytes(b"x" * size)
    (files / "jwks").write_bytes(issuer.jwks())
    (port,) = free_ports(1)
    nginx = shutil.which("nginx")
    if nginx is None:
        kind = "asyncio server of the suite"
        module = "fastgate_bench.origin"
        argv = [sys.executable, "-m", module, str(port), str(files)]
    else:
        kind = "nginx"
        config = folder / "upstream.conf"
        variable = TAG.lower().replace("-", "_")
        config.write_text(
            _NGINX.format(folder=folder, port=port, tag=TAG, variable=variable), "utf-8"
        )
        argv = [nginx, "-e", str(folder / "nginx.early.log"), "-c", str(config)]
    child = Child("upstream", pins.command(pins.load, argv), folder / "upstream.log")
    await child.start()
    try:
        await until_answers(child, port)
        yield Upstream(port, kind)
    finally:
        await child.stop()


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody has."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(_LOW, _HIGH)  # nothing secret about a port
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((_HOST, port))
            found.add(port)
    return list(found)


async def until_answers(
    child: Child, port: int, token: str = "", target: str = "/orders/1"
) -> None:
    """Wait until a port answers a target with 200. Raises ChildError."""
    deadline = time.monotonic() + _READY_S
    status = 0
    while status != 200:
        if child.ended:
            raise child.failure("ended at once")
        if time.monotonic() > deadline:
            raise child.failure(f"not ready after {_READY_S:g} s: answers {status}")
        await asyncio.sleep(_LOOK_S)
        with contextlib.suppress(OSError, TimeoutError, StartError):
            status = await ask(port, target, token)


async def ask(port: int, target: str, token: str = "") -> int:
    """Return the status of one GET on a connection of its own.

    Raises OSError, TimeoutError or StartError where there is no answer.
    """
    async with asyncio.timeout(_ASK_S):
        reader, writer = await asyncio.open_connection(_HOST, port)
        try:
            line = f"Authorization: Bearer {token}\r\n" if token else ""
            writer.write(
                f"GET {target} HTTP/1.1\r\nHost: gateway.test\r\n{line}"
                "Connection: close\r\n\r\n".encode()
            )
            words = (await reader.readline()).split()
        finally:
            writer.close()
    if len(words) < 2 or not words[1].isdigit():
        raise StartError("no HTTP answer")
    return int(words[1])
