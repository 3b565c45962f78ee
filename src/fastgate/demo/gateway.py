"""Gateway: the configuration of a demo gateway, and its process.

Owns:      the generated fastgate.yaml of each region and the `fastgate serve` child.
Called by: demo.regions.
"""

import asyncio
import pathlib
import signal
import sys
import time
from typing import Any, Final

import aiohttp
from ruamel.yaml import YAML

from fastgate.demo.children import Child
from fastgate.demo.world import (
    AUDIENCE,
    DEFAULT_REGION,
    GATEWAY_CLIENT,
    HOST,
    ISSUER,
    ISSUER_ALIAS,
    OAUTH,
    REGIONS,
    Ports,
)

__all__ = [
    "MAX_STALENESS_S",
    "SESSION_EVENTS",
    "WORKERS",
    "Gateway",
    "gateway_config",
]

# Reason: the least that `check` accepts; with the default of 10 s the tour's cut would
# take twice as long to show the same.
MAX_STALENESS_S: Final = 5
WORKERS: Final = 2
# Where a browser learns that its session has ended.
SESSION_EVENTS: Final = "/session-events"
_CAPACITY: Final = 100_000
_READY_S: Final = 30.0
_LOOK_S: Final = 0.05
_ASK_S: Final = 2.0


def gateway_config(
    region: str, ports: Ports, folder: pathlib.Path, *, nats: bool
) -> dict[str, Any]:
    """Return the configuration document of a region's gateway.

    folder: For state, secrets and the access log. nats: Whether there is a bus server.
    """
    token = {
        "issuer": ISSUER_ALIAS,
        "accept": ["jwt", "opaque"],
        "scope": ["orders"],
    }
    return {
        "region": region,
        "node": f"gw-{region}-1",
        "listen": f"{HOST}:{ports.of(region, 'gateway')}",
        "admin": f"{HOST}:{ports.of(region, 'admin')}",
        "status": f"{HOST}:{ports.of(region, 'status')}",
        "workers": WORKERS,
        "state_dir": str(folder / "state"),
        "regions": {
            "names": list(REGIONS),
            "default": DEFAULT_REGION,
            "claims": ["region"],
            "cookie": {"name": "region", "secure": False},
        },
        "issuers": {ISSUER_ALIAS: _issuer(region, ports)},
        "services": {
            "orders": _service(region, ports, "api"),
            "identity": _service(region, ports, "issuer"),
        },
        "routes": [
            {
                "path": "/orders/",
                "service": "orders",
                "token": token,
                "freshness": {
                    "max_staleness": f"{MAX_STALENESS_S}s",
                    "on_stale": "deny",
                },
                "websocket": True,
                "session_events": SESSION_EVENTS,
                "debug": True,
            },
            {"path": OAUTH, "service": "identity", "oauth": True, "debug": True},
            {"path": "/public/", "service": "orders", "token": "none", "debug": True},
        ],
        "revocation": _revocation(region, ports, nats=nats),
        "timeouts": {"drain_delay": "0s", "drain_timeout": "1s"},
        "log": {"access": True, "file": str(folder / "access.log")},
    }


def _issuer(region: str, ports: Ports) -> dict[str, Any]:
    introspect = {
        there: f"{ports.reach(region, there, 'issuer')}{OAUTH}oauth-introspect"
        for there in REGIONS
    }
    return {
        "issuer": ISSUER,
        "jwks_url": f"{ports.url(region, 'issuer')}{OAUTH}oauth-anonymous/jwks",
        "audience": [AUDIENCE],
        "algorithms": ["ES256"],
        "wrapped": True,
        "introspection": {
            "url": introspect,
            "client_id": GATEWAY_CLIENT,
            "client_secret": "${file:introspection.secret}",
        },
    }


def _service(region: str, ports: Ports, name: str) -> dict[str, list[str]]:
    return {there: [ports.reach(region, there, name)] for there in REGIONS}


def _revocation(region: str, ports: Ports, *, nats: bool) -> dict[str, Any]:
    rules: dict[str, Any] = {
        "bus": "local",
        "max_token_lifetime": "1h",
        "max_session_lifetime": "12h",
        "hash_key": "${file:hash.key}",
        "capacity": _CAPACITY,
    }
    if nats:
        rules["bus"] = f"nats://{HOST}:{ports.of(region, 'bus')}"
        # Its server has little room, and a demo few revocations.
        rules["snapshot_max_bytes"] = "16MiB"
    return rules


class Gateway:
    """The gateway of one region.

    region: Its region. ports: Where it listens. folder: For its files.
    ready_s: Seconds from start to ready.
    """

    def __init__(self, region: str, ports: Ports, folder: pathlib.Path) -> None:
        self.region = region
        self.ready_s = 0.0
        self.access_log = folder / "access.log"
        self.config = folder / "fastgate.yaml"
        self._status = ports.url(region, "status")
        self._child = Child(
            f"gateway {region}",
            (sys.executable, "-m", "fastgate", "serve", str(self.config)),
            folder / "gateway.log",
        )

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._child.pid

    def write(self, document: dict[str, Any], secrets: dict[str, str]) -> None:
        """Write the configuration, and beside it the files that it names."""
        for name, text in secrets.items():
            path = self.config.parent / name
            path.touch(mode=0o600)
            path.write_text(text, "utf-8")
        with self.config.open("w", encoding="utf-8") as out:
            YAML().dump(document, out)

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Start, and return when it is ready. Raises ChildError."""
        began = time.perf_counter()
        await self._child.start()
        why = "no answer"
        try:
            async with asyncio.timeout(_READY_S):
                while why:
                    if self._child.ended:
                        raise self._child.failure("ended at once")
                    await asyncio.sleep(_LOOK_S)
                    why = await self._unready(session)
        except TimeoutError:
            what = f"not ready after {_READY_S:g} s: {why}"
            raise self._child.failure(what) from None
        self.ready_s = time.perf_counter() - began

    async def stop(self) -> None:
        """End it at once; nothing of the demo needs to drain."""
        await self._child.stop(signal.SIGINT)

    async def _unready(self, session: aiohttp.ClientSession) -> str:
        """Return why it is not ready; empty where it is."""
        timeout = aiohttp.ClientTimeout(total=_ASK_S)
        try:
            async with session.get(
                f"{self._status}/readyz?verbose", timeout=timeout
            ) as answer:
                text = await answer.text()
                return "" if answer.status == aiohttp.web.HTTPOk.status_code else text
        except (aiohttp.ClientError, TimeoutError):
            return "no answer"
