"""Namespaces: a network for each region, whose packets to the others can be dropped.

Owns:      network namespaces and the pairs of virtual devices into them; both end with
           the process that holds the namespace, which ends with this one.
Called by: window.rig, where the machine permits it.
Source:    network_namespaces(7), veth(4), ip-neighbour(8); addresses: RFC 2544 C.2.2.

A direction is cut by a neighbour entry with an address of nobody: its packets leave and
arrive nowhere. No module of the kernel is needed for that, and nobody is told.
"""

import asyncio
import contextlib
import ipaddress
import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastgate.demo.children import Child
from fastgate.errors import StartError
from fastgate_bench.window.links import FaultLink

__all__ = ["Line", "Namespace", "NamespaceLink", "obstacle"]

_PROGRAMS: Final = ("ip", "nsenter", "sleep", "unshare")
_NETWORK: Final = ipaddress.ip_network("198.18.0.0/15")
_BLOCK: Final = 4  # addresses of a line: two, the network and broadcast
_LINES: Final = 16  # of one process
_NOBODY: Final = "02:00:00:00:00:01"
_READY_S: Final = 5.0
_LOOK_S: Final = 0.01
_COMMAND_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Line:
    """A pair of devices. near: The rig's end. far: The region's."""

    device: str
    near: str
    far: str

    @classmethod
    def numbered(cls, number: int) -> "Line":
        """Return one of this process; lines of two processes seldom meet."""
        blocks = _NETWORK.num_addresses // _BLOCK
        block = (os.getpid() * _LINES + number) % blocks
        near, far = (str(_NETWORK[block * _BLOCK + at]) for at in (1, 2))
        return cls(f"fg{os.getpid()}-{number}", near, far)


class Namespace:
    """A network of its own, with two lines to the rig: for its nodes, and to the rest.

    number: From 0, of this process; no other one has it.
    """

    def __init__(self, number: int, folder: pathlib.Path) -> None:
        self.nodes, self.rest = (Line.numbered(2 * number + at) for at in (0, 1))
        argv = (_program("unshare"), "--net", _program("sleep"), "infinity")
        self._holder = Child(f"namespace {number}", argv, folder / "namespaces.log")

    async def start(self) -> None:
        """Make it and its lines. Raises StartError."""
        await self._holder.start()
        ours, until = _network_of(os.getpid()), time.monotonic() + _READY_S
        while _network_of(self._holder.pid) in {"", ours}:
            if self._holder.ended or time.monotonic() > until:
                raise self._holder.failure("made no network")
            await asyncio.sleep(_LOOK_S)
        await asyncio.to_thread(self._connect)

    def _connect(self) -> None:
        self.ip("link", "set", "lo", "up")
        for line in (self.nodes, self.rest):
            far = f"{line.device}f"
            names = ("link", "add", "name", line.device, "type", "veth")
            _ip(*names, "peer", "name", far)
            _ip("link", "set", far, "netns", str(self._holder.pid))
            _ip("addr", "add", f"{line.near}/30", "dev", line.device)
            _ip("link", "set", line.device, "up")
            self.ip("addr", "add", f"{line.far}/30", "dev", far)
            self.ip("link", "set", far, "up")

    async def stop(self) -> None:
        """End it, and with it its lines."""
        await self._holder.stop()

    def within(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return a command that runs another one in this network, as that process."""
        return (*(_program("nsenter"), "--net", "-t", str(self._holder.pid)), *argv)

    def ip(self, *words: str) -> None:
        """Run `ip` in this network. Raises StartError."""
        _run(self.within((_program("ip"), *words)))


class NamespaceLink(FaultLink):
    """A link whose directions are cut below TCP; the rest is as on any link.

    What is held here is packets, so a side that sends finds out by its own timers, and
    what was sent comes when it is sent again.
    """

    def __init__(self, target: int, namespace: Namespace) -> None:
        super().__init__(target, host=namespace.rest.near)
        self._namespace = namespace
        self._line = namespace.rest

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        """Drop every packet from the region's side (up), or to it (down)."""
        if up:
            self._namespace.ip(*_lost(self._line.near, f"{self._line.device}f"))
        if down:
            _ip(*_lost(self._line.far, self._line.device))

    def heal(self) -> None:
        """Pass everything again."""
        super().heal()
        with contextlib.suppress(StartError):  # it was not cut
            self._namespace.ip(*_found(self._line.near, f"{self._line.device}f"))
        with contextlib.suppress(StartError):
            _ip(*_found(self._line.far, self._line.device))


def _lost(address: str, device: str) -> tuple[str, ...]:
    place = ("lladdr", _NOBODY, "dev", device, "nud", "permanent")
    return ("neigh", "replace", address, *place)


def _found(address: str, device: str) -> tuple[str, ...]:
    return ("neigh", "del", address, "dev", device)


async def obstacle(folder: pathlib.Path) -> str:
    """Return why no namespace can be made here; empty where it can."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)}: not installed"
    if os.geteuid() != 0:
        return "only root may connect network namespaces"
    trial = Namespace(_LINES // 2 - 1, folder)
    try:
        await trial.start()
    except StartError as error:
        return " ".join(str(error).split())
    finally:
        await trial.stop()
    return ""


def _network_of(pid: int) -> str:
    try:
        return str(pathlib.Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def _program(name: str) -> str:
    return shutil.which(name) or name


def _ip(*words: str) -> None:
    _run((_program("ip"), *words))


def _run(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=_COMMAND_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"{argv[0]}: {error}") from error
    if done.returncode:
        text = done.stderr.decode("utf-8", "replace").strip()
        raise StartError(f"{' '.join(argv)}: {text}")
