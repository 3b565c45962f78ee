"""Real redis-servers on loopback, for tests; each ends with its test."""

import contextlib
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

from tests.buses_wanted import missing
from tests.nats_server import free_port
from tests.server_process import ServerProcess

_STARTED_WITHIN_S = 10.0


def binary() -> str:
    """Return the server's path, or skip the test with a reason."""
    return shutil.which("redis-server") or missing("redis-server is not installed")


class RedisServer(ServerProcess):
    """One server that keeps what it acknowledged.

    more: Further lines of its configuration. replica_of: Port of its primary.
    """

    def __init__(self, folder: Path, *more: str, replica_of: int | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._more = [*more]
        if replica_of is not None:
            self._more.append(f"replicaof 127.0.0.1 {replica_of}")

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
        self.launch([binary(), str(config)], within_s=_STARTED_WITHIN_S)
        return self

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
