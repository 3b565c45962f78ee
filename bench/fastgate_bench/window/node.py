"""Node: one gateway of the rig as its operator has it - configuration, life and death.

Owns:      its files and its processes.
Called by: window.rig makes them; window.faults and window.rounds disturb and ask them.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import sys
from typing import Any, Final

import orjson

from fastgate.demo.children import Child, child_named
from fastgate_bench.tokens import AUDIENCE, ISSUER
from fastgate_bench.window.links import FaultLink

__all__ = ["CAPACITY", "HASH_KEY", "MAX_TOKEN_LIFETIME", "NODES", "REGIONS", "Node"]

REGIONS: Final = ("eu", "us", "ap")
NODES: Final = {"eu-1": "eu", "eu-2": "eu", "us-1": "us", "ap-1": "ap"}
HASH_KEY: Final = "k" * 32
MAX_TOKEN_LIFETIME: Final = "1h"
CAPACITY: Final = 1_000_000
_HOST: Final = "127.0.0.1"
_AGENT: Final = "fastgate:agent"
_WORKER: Final = "fastgate:worker"


class Node:
    """One gateway: a supervisor, an agent and one worker.

    bus: The link to its region's server.
    """

    def __init__(
        self, name: str, folder: pathlib.Path, ports: list[int], bus: FaultLink
    ) -> None:
        self.name = name
        self.region = NODES[name]
        self.bus = bus
        self.folder = folder
        self.state = folder / "state"
        self.port, self.admin, self.status, self.bus_port = ports
        self._config = folder / "fastgate.yaml"
        self._document: dict[str, Any] = {}
        self._child: Child | None = None
        self._stopped: set[int] = set()
        self.lives = 0

    def write(self, upstream: int, max_staleness: str) -> None:
        """Write its configuration."""
        self.folder.mkdir(parents=True)
        place = f"http://{_HOST}:{upstream}"
        self._document = {
            "region": self.region,
            "node": self.name,
            "listen": f"{_HOST}:{self.port}",
            "admin": f"{_HOST}:{self.admin}",
            "status": f"{_HOST}:{self.status}",
            "workers": 1,
            "state_dir": str(self.state),
            "regions": {
                "names": list(REGIONS),
                "default": REGIONS[0],
                "claims": ["region"],
            },
            "issuers": {
                "login": {
                    "issuer": ISSUER,
                    "jwks_url": f"{place}/jwks",
                    "audience": [AUDIENCE],
                    "algorithms": ["ES256"],
                }
            },
            "services": {"orders": {region: [place] for region in REGIONS}},
            "routes": [
                {
                    "path": "/orders/",
                    "service": "orders",
                    "token": {"issuer": "login"},
                    "freshness": {"max_staleness": max_staleness, "on_stale": "deny"},
                }
            ],
            "revocation": {
                "bus": f"nats://{_HOST}:{self.bus_port}",
                "max_token_lifetime": MAX_TOKEN_LIFETIME,
                "hash_key": HASH_KEY,
                "capacity": CAPACITY,
            },
            "timeouts": {"drain_delay": "0s", "drain_timeout": "1s"},
            "log": {"access": False},
        }
        self._save()

    def configure(self, **revocation: object) -> None:
        """Change its file's settings of `revocation`; it reads them at the next start.

        revocation: By name; None takes one out.
        """
        rules = self._document["revocation"] | revocation
        kept = {name: value for name, value in rules.items() if value is not None}
        self._document["revocation"] = kept
        self._save()

    def _save(self) -> None:
        part = self._config.with_suffix(".part")
        part.write_bytes(orjson.dumps(self._document))
        part.replace(self._config)

    async def start(self, env: dict[str, str] | None = None) -> None:
        """Start its processes; returns before they are ready.

        env: Of this life alone.
        """
        self.lives += 1
        words = [sys.executable, "-m", "fastgate", "serve", str(self._config)]
        if env:
            words = ["/usr/bin/env", *(f"{k}={v}" for k, v in env.items()), *words]
        self._child = Child(self.name, words, self.folder / "gateway.log")
        await self._child.start()

    async def stop(self) -> None:
        """End it at once."""
        self.go_on()
        if self._child is not None:
            await self._child.stop(signal.SIGINT)

    def send(self, role: str, signum: signal.Signals) -> bool:
        """Send a signal to its `agent` or `worker`; False where there is none."""
        name = _AGENT if role == "agent" else _WORKER
        pid = self._pid(name)
        if not pid:
            return False
        if signum is signal.SIGSTOP:
            self._stopped.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        return True

    def go_on(self) -> None:
        """Let go on what was stopped."""
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._stopped.clear()

    def _pid(self, name: str) -> int:
        if self._child is None or self._child.ended:
            return 0
        # Names are cut to 15 bytes by the kernel (prctl(2)).
        return child_named(self._child.pid, name[:15])

    @property
    def ended(self) -> bool:
        """It has ended by itself."""
        return self._child is not None and self._child.ended

    def wipe_state(self) -> None:
        """Forget everything that it kept; only while it does not run."""
        shutil.rmtree(self.state, ignore_errors=True)

    def copy_state(self, to: pathlib.Path) -> None:
        """Copy what it keeps, as it is on disk at this moment."""
        shutil.rmtree(to, ignore_errors=True)
        if self.state.exists():
            shutil.copytree(self.state, to)

    def tail(self) -> list[str]:
        """Return its last words."""
        return [] if self._child is None else self._child.tail()
