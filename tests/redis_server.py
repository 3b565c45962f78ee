"""Real redis-servers on loopback, for tests; each ends with its test."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from tests.buses_wanted import missing
from tests.frozen import freeze
from tests.nats_server import free_port

_STARTED_WITHIN_S = 10.0


def binary() -> str:
    """Return the server's path, or skip the test with a reason."""
    return shutil.which("redis-server") or missing("redis-server is not installed")


class RedisServer:
    """One server that keeps what it acknowledged.

    more: Further lines of its configuration. replica_of: Port of its primary.
    """

    def __init__(self, folder: Path, *more: str, replica_of: int | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._more = [*more]
        if replica_of is not None:
            self._more.append(f"replicaof 127.0.0.1 {replica_of}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _config(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.folder}",
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "repl-diskless-sync-delay 0",
            *self._more,
        ]
        return "\n".join(lines)

    def start(self) -> "RedisServer":
        """Start, and return when it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "redis.conf"
        config.write_text(self._config())
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), str(config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _STARTED_WITHIN_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return self
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it, as a power cut would; its files stay."""
        if self._process is not None:
            self.thaw()
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it without closing a socket."""
        assert self._process is not None
        freeze(self._process)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Forget everything; only while it is stopped."""
        assert self._process is None
        shutil.rmtree(self.folder)


@contextlib.asynccontextmanager
async def running(*servers: RedisServer) -> AsyncGenerator[None, None]:
    """Start servers, and stop them whatever happens."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.stop()
