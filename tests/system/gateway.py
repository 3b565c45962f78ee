"""A real `fastgate serve` with stand-ins around it: an issuer, and one API a region.

The gateway is a process tree of its own; only the identity provider and the upstream
APIs are stand-ins, and they speak real HTTP on loopback. What a test does not say is
left at the product's defaults, save what would make it slow (drain delay) or big.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lane_kit import Client, Response
from tests.recorder import Recorder, Script, say_ok
from tests.system.issuer import Issuer

ROOT = Path(__file__).parents[2]
DEADLINE_S = 20.0  # far beyond what a healthy run takes; a hang fails here
REGIONS = ("eu", "us")
HOST = b"Host: gateway.test\r\n"
_LOW, _HIGH = 20_000, 32_000  # below the ports that outgoing connections get


async def until(
    condition: Callable[[], Any], what: str, *, every_s: float = 0.01
) -> Any:
    """Return what `condition` gives as soon as it is true; fail past the deadline.

    condition: May be a coroutine function.
    """
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(every_s)


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody has and no client socket gets by chance."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(_LOW, _HIGH)
        if port in found:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


@dataclass
class World:
    """The stand-ins: an issuer, and a recording API for each region."""

    issuer: Issuer
    apis: dict[str, Recorder]

    def document(self, folder: Path, **changes: Any) -> dict[str, Any]:
        """Return a configuration; `changes` replace its top-level members."""
        data, admin, status = free_ports(3)
        document: dict[str, Any] = {
            "region": REGIONS[0],
            "listen": f"127.0.0.1:{data}",
            "admin": f"127.0.0.1:{admin}",
            "status": f"127.0.0.1:{status}",
            "workers": 2,
            "state_dir": str(folder / "state"),
            "regions": {"names": list(self.apis), "default": REGIONS[0]},
            "issuers": {"login": self.issuer.document()},
            "services": {
                "orders": {name: [api.base] for name, api in self.apis.items()}
            },
            "routes": [
                {
                    "path": "/orders/",
                    "service": "orders",
                    "token": {"issuer": "login", "scope": ["orders"]},
                },
                {"path": "/public/", "service": "orders", "token": "none"},
            ],
            "timeouts": {"drain_delay": "0s", "drain_timeout": "5s"},
            "revocation": {"capacity": 10_000},
        }
        return document | changes

    def arrived(self) -> int:
        """Return how many requests reached an API."""
        return sum(len(api.requests) for api in self.apis.values())


@contextlib.asynccontextmanager
async def world(
    *regions: str, scripts: Mapping[str, Script] | None = None
) -> AsyncIterator[World]:
    """Start the stand-ins, and stop them whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        issuer = await Issuer().start()
        stack.push_async_callback(issuer.stop)
        apis = {}
        for region in regions or REGIONS:
            script = (scripts or {}).get(region, say_ok)
            apis[region] = await Recorder(script).start()
            stack.push_async_callback(apis[region].stop)
        yield World(issuer, apis)


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.out)


async def command(
    *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Said:
    """Run `fastgate ARGUMENTS`; the stand-ins go on meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastgate", *arguments),
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return Said(process.returncode or 0, out.decode(), err.decode())


@dataclass
class Gateway:
    """One gateway; `path` is its configuration, `log` what its processes wrote."""

    folder: Path
    document: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def __post_init__(self) -> None:
        """Write the configuration; `text` instead of the document where it is given."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "fastgate.yaml"
        self.out = self.folder / "stdout"
        self.err = self.folder / "stderr"
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []
        self._stopped: set[int] = set()
        self.write(self.document)
        if self.text:
            self.path.write_text(self.text, "utf-8")

    def write(self, document: Mapping[str, Any]) -> None:
        """Write another configuration; it counts after a reload."""
        self.path.write_text(json.dumps(document, indent=1), "utf-8")

    def port(self, listener: str) -> int:
        """Return the port of `listen`, `admin` or `status`."""
        return int(self.document[listener].rpartition(":")[2])

    # -- life ------------------------------------------------------------------------

    async def start(self, *, ready: bool = True) -> "Gateway":
        """Start; returns when it is ready, or when all its processes are up."""
        self.launch()
        await until(lambda: self.ended() or self.named("all processes are up"), "up")
        assert not self.ended(), self.tail()
        if ready:
            await until(self.is_ready, f"ready; {self.folder}")
        return self

    def launch(self) -> None:
        """Start the process, and wait for nothing."""
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fastgate", "serve", str(self.path)],
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    async def is_ready(self) -> bool:
        """Tell whether /readyz says so."""
        with contextlib.suppress(OSError):
            return (await self.probe("/readyz")).status == 200
        return False

    def ended(self) -> bool:
        """Tell whether the supervisor has gone."""
        assert self.process is not None
        return self.process.poll() is not None

    async def until_end(self) -> int:
        """Wait for the end; returns the exit code."""
        await until(self.ended, "the end of the gateway")
        assert self.process is not None
        return self.process.returncode

    async def stop(self) -> int:
        """End it at once; returns the exit code. Draining is for tests of draining."""
        for client in self._clients:
            client.close()
        if self.process is None:
            return 0
        for pid in list(self._stopped):
            self.send(signal.SIGCONT, pid)
        if not self.ended():
            self.process.send_signal(signal.SIGINT)
        try:
            return await self.until_end()
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise

    def send(self, signum: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to one of its processes, by default to the supervisor."""
        assert self.process is not None
        pid = pid or self.process.pid
        if signum is signal.SIGSTOP:
            self._stopped.add(pid)
        elif signum is signal.SIGCONT:
            self._stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)

    # -- what it wrote ---------------------------------------------------------------

    def lines(self) -> list[dict[str, Any]]:
        """Return the process log, line by line."""
        whole = self.err.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in whole if line.startswith(b"{")]

    def named(self, event: str, role: str | None = None) -> list[dict[str, Any]]:
        """Return the log lines of an event, of one role where it is named."""
        return [
            line
            for line in self.lines()
            if line["event"] == event and role in {None, line.get("role")}
        ]

    def pids(self, role: str) -> list[int]:
        """Return the processes that this role had so far, oldest first."""
        return [line["pid"] for line in self.named("started", role)]

    def access(self) -> list[dict[str, Any]]:
        """Return the access log; what is not one JSON object a line fails here."""
        return [json.loads(line) for line in self.out.read_bytes().split(b"\n")[:-1]]

    def tail(self) -> str:
        """Return the end of its process log."""
        return self.err.read_text("utf-8", "replace")[-4_000:]

    # -- talking to it ---------------------------------------------------------------

    async def connect(self, listener: str = "listen") -> Client:
        """Open a connection, which is closed with the gateway at the latest."""
        client = Client(
            *await asyncio.open_connection("127.0.0.1", self.port(listener))
        )
        self._clients.append(client)
        return client

    async def ask(self, data: bytes, *, listener: str = "listen") -> Response:
        """Send bytes on a connection of their own and read one answer."""
        client = Client(
            *await asyncio.open_connection("127.0.0.1", self.port(listener))
        )
        try:
            await client.send(data)
            return await client.response()
        finally:
            client.close()

    async def get(self, path: str, token: bytes | None = None) -> Response:
        """Get a path on a connection of its own."""
        return await self.ask(request(path, token))

    async def probe(self, path: str) -> Response:
        """Get a path of the status listener."""
        line = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        return await self.ask(line.encode(), listener="status")

    async def admin(self, method: str, path: str, body: Any = None) -> Response:
        """Ask the admin API."""
        data = b"" if method == "GET" else json.dumps(body or {}).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        if method != "GET":
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        return await self.ask(head.encode() + b"\r\n" + data, listener="admin")

    async def status(self) -> dict[str, Any]:
        """Return what `GET /v1/status` says."""
        document: dict[str, Any] = json.loads(
            (await self.admin("GET", "/v1/status")).body
        )
        return document

    async def revoke(self, kind: str, value: str, **more: Any) -> dict[str, Any]:
        """Enter a revocation of the issuer `login`; returns its receipt."""
        asked = {"kind": kind, "issuer": "login", "value": value, **more}
        answer = await self.admin("POST", "/v1/revocations", asked)
        assert answer.status in {201, 202}, answer.body
        receipt: dict[str, Any] = json.loads(answer.body)
        return receipt

    async def counts(self) -> dict[str, float]:
        """Return every counter of /metrics by its series."""
        page = await self.probe("/metrics")
        assert page.status == 200, page.body
        found = {}
        for line in page.body.decode().splitlines():
            if line.startswith("#"):
                continue
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0].endswith(("_total", "_bucket", "_sum")):
                found[series] = float(value)
        return found


def request(path: str, token: bytes | None = None, *lines: bytes) -> bytes:
    """Return a GET; `lines` are further headers without CRLF."""
    head = b"GET %b HTTP/1.1\r\n%b" % (path.encode(), HOST)
    if token is not None:
        head += b"Authorization: Bearer %b\r\n" % token
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@contextlib.asynccontextmanager
async def running(gateway: Gateway, *, ready: bool = True) -> AsyncIterator[Gateway]:
    """Run a gateway; its log is shown where the test fails."""
    try:
        yield await gateway.start(ready=ready)
    except BaseException:
        print(gateway.tail())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await gateway.stop()
