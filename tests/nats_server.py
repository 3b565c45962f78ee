"""Real nats-servers on loopback, for tests; each ends with the test that started it."""

import contextlib
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from tests.buses_wanted import missing
from tests.server_process import ServerProcess

_STARTED_WITHIN_S = 10.0


def binary() -> str:
    """Return the server's path, or skip the test with a reason."""
    beside = Path(sys.executable).with_name("nats-server")
    found = shutil.which("nats-server") or (str(beside) if beside.exists() else None)
    if found is None:
        missing("nats-server is not installed (extra `demo`)")
    return found


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NatsServer(ServerProcess):
    """One server.

    domain: JetStream domain; None for a server without one.
    leaves: Ports of transit servers that it links to.
    leaf_port: Where it takes leaf links itself; None for a server that takes none.
    """

    def __init__(
        self,
        folder: Path,
        *,
        domain: str | None = None,
        leaves: Iterable[int] = (),
        leaf_port: int | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._domain = domain
        self._leaves = tuple(leaves)
        self._leaf_port = leaf_port

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def _config(self) -> str:
        lines = [
            f"server_name: {self._domain or 'one'}-{self.port}",
            "host: 127.0.0.1",
            f"port: {self.port}",
            'ping_interval: "2s"',
            "ping_max: 2",
            f'jetstream {{ store_dir: "{self.folder}/js"',
            f"  domain: {self._domain}" if self._domain else "",
            "  max_file: 8GB }",
        ]
        if self._leaf_port:
            lines.append(
                f"leafnodes {{ host: 127.0.0.1, port: {self._leaf_port}, "
                'reconnect: "200ms" }'
            )
        elif self._leaves:
            urls = ", ".join(f'{{ url: "nats://127.0.0.1:{p}" }}' for p in self._leaves)
            lines.append(f'leafnodes {{ reconnect: "200ms", remotes: [ {urls} ] }}')
        return "\n".join(lines)

    def start(self) -> "NatsServer":
        """Start, and return when it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.conf"
        config.write_text(self._config())
        self.launch([binary(), "-c", str(config)], within_s=_STARTED_WITHIN_S)
        return self

    def wipe(self) -> None:
        """Forget every stream; only while it is stopped."""
        assert self._process is None
        shutil.rmtree(self.folder / "js")


@contextlib.asynccontextmanager
async def running(*servers: NatsServer) -> AsyncGenerator[None, None]:
    """Start servers, and stop them whatever happens."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.stop()
