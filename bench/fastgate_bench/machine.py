"""Machine: where a run takes place, and what the system says that processes have used.

Owns:      the conditions of every report, the choice of cores, CPU and memory counts.
Called by: suite and every bench.
Source:    proc(5): /proc/stat, /proc/PID/stat fields 4 and 14 to 17, smaps_rollup.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

import fastgate

__all__ = [
    "Account",
    "Pins",
    "account",
    "choose_pins",
    "commit",
    "conditions",
    "core_share",
    "core_ticks",
    "cpu_seconds",
    "fingerprint",
    "holder",
    "memory_bytes",
    "tree",
]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PACKAGES: Final = ("aiohttp", "uvloop", "cryptography", "cython", "hdrhistogram")
_PROC: Final = pathlib.Path("/proc")
_MIN_CORES: Final = 2
_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Pins:
    """Which cores are whose: the gateway has its own, load and upstream share one.

    -1: any; then the figures of two gateways still compare, those of two runs less.
    """

    gateway: int = -1
    load: int = -1

    def command(self, cpu: int, argv: list[str]) -> list[str]:
        """Return the command line that keeps a program on a core."""
        taskset = shutil.which("taskset")
        if cpu < 0 or taskset is None:
            return argv
        return [taskset, "-c", str(cpu), *argv]


def choose_pins() -> Pins:
    """Return the cores to use, of those that we may."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < _MIN_CORES or shutil.which("taskset") is None:
        return Pins()
    return Pins(cores[0], cores[1])


def conditions() -> dict[str, Any]:
    """Return what a figure is worth nothing without."""
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = "absent"
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "fastgate": fastgate.__version__,
        "packages": installed,
        "load_average": [round(part, 2) for part in os.getloadavg()],
    }


def fingerprint(machine: Mapping[str, Any]) -> str:
    """Return the name under which results of like machines are kept together.

    machine: What `conditions` returned. Two machines of one name have the same
    processor, cores, memory (in GiB), kernel series and Python.
    """
    kernel = ".".join(str(machine["kernel"]).split(".")[:2])
    python = ".".join(str(machine["python"]).split(".")[:2])
    parts = [
        *(machine["cpu"], machine["architecture"], machine["cores"]),
        *(round(machine["memory_bytes"] / _GIB), kernel, python),
    ]
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{machine['architecture']}-{machine['cores']}c-{digest[:8]}"


def commit() -> str:
    """Return the commit of the source this runs from; empty in an installed wheel."""
    git = shutil.which("git")
    place = pathlib.Path(fastgate.__file__).parent
    if git is None or "site-packages" in place.parts:
        return ""
    found = subprocess.run(
        [git, "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return found.stdout.strip()


@dataclass(frozen=True, slots=True)
class Account:
    """What a process and all below it have used until now.

    cpu_s: CPU by the names of processes, user and system. Children that ended and were
        waited for count as their parent.
    wanted_s: For how long they ran or waited for a core; two at a time count twice. 0
        where the kernel does not say.
    at_s: When, by the monotonic clock.
    """

    cpu_s: Mapping[str, float]
    wanted_s: float
    at_s: float


def account(root: int) -> Account:
    """Return what a process and all below it have used until now.

    Source: proc(5), /proc/PID/comm (fastgate names its own, `fastgate:w0` and so on);
    the kernel's sched-stats.rst, /proc/PID/task/TID/schedstat, fields 1 and 2.
    """
    found: dict[str, float] = {}
    wanted_ns = 0
    for pid in tree(root):
        fields = _stat(pid)
        if not fields:
            continue
        ticks = int(fields[11]) + int(fields[12])
        if pid == root:
            ticks += int(fields[13]) + int(fields[14])
        place = _PROC / str(pid)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            name = (place / "comm").read_text("utf-8", "replace").strip()
            found[name] = found.get(name, 0.0) + ticks / _TICKS
            for schedstat in place.glob("task/*/schedstat"):
                ran, waited, *_ = schedstat.read_text("ascii").split()
                wanted_ns += int(ran) + int(waited)
    return Account(found, wanted_ns / 1e9, time.monotonic())


def cpu_seconds(root: int) -> float:
    """Return the CPU that a process and all below it have used; 0 where it is gone."""
    return sum(account(root).cpu_s.values())


def core_ticks(core: int) -> tuple[int, int]:
    """Return the ticks that a core has been busy, and all ticks; (0, 0) for core -1.

    Time that a hypervisor took counts as busy: nobody here could use it.
    """
    for line in (_PROC / "stat").read_text("ascii").splitlines():
        name, *fields = line.split()
        if core >= 0 and name == f"cpu{core}":
            # user nice system idle iowait irq softirq steal; guests are in user.
            ticks = [int(field) for field in fields[:8]]
            return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    return 0, 0


def core_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Return how busy a core was between two counts, 0 to 1."""
    whole = after[1] - before[1]
    return (after[0] - before[0]) / whole if whole else 0.0


def memory_bytes(root: int) -> int:
    """Return the memory of a process and all below it, shared pages counted once."""
    total = 0
    for pid in tree(root):
        try:
            text = (_PROC / str(pid) / "smaps_rollup").read_text("ascii")
        except OSError:
            continue  # ended, or another user's
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def tree(root: int) -> list[int]:
    """Return a process and all below it."""
    parents = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            fields = _stat(int(folder.name))
            if fields:
                parents[int(folder.name)] = int(fields[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def holder(root: int, local_port: int, remote_port: int) -> int:
    """Return which process of a tree has accepted a loopback connection; 0 for none.

    local_port: The server's. remote_port: The client's.
    Source: proc(5), /proc/net/tcp: addresses in hexadecimal, the inode is field 10.
    """
    wanted = (f":{local_port:04X}", f":{remote_port:04X}")
    inode = ""
    for line in (_PROC / "net" / "tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(wanted[0]) and fields[2].endswith(wanted[1]):
            inode = f"socket:[{fields[9]}]"
    for pid in tree(root) if inode else ():
        for link in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if str(link.readlink()) == inode:
                    return pid
    return 0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; [] where it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _cpu_model() -> str:
    try:
        text = (_PROC / "cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return platform.processor()
    for line in text.splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
