"""Processes: forking a role, what a child does before it is itself, and reaping.

Owns:      the signal mask of the supervisor and the set-up of a forked child.
Called by: control.supervisor, through the `Processes` protocol; tests give it a fake.
Source:    prctl(2), fork(2), signal(7), sd_notify(3); THREATS.md row H3.
"""

import ctypes
import gc
import os
import pathlib
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from fastgate.errors import BugError

__all__ = ["OsProcesses", "Processes", "Role", "sd_notify"]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_NO_NEW_PRIVS: Final = 38

_HANDLED: Final = frozenset(
    {
        signal.SIGCHLD,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
# Their default action would end a child that has not put its handlers up yet.
_IGNORED_AT_FIRST: Final = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})


@dataclass(frozen=True, slots=True)
class Role:
    """One process that the supervisor keeps alive.

    name: "agent" or "worker". slot: Worker slot from 0; 0 for the agent.
    run: Called in the forked child, once per start; returns the exit code. SIGTERM,
        SIGINT and SIGQUIT end the process unless `run` handles them; SIGHUP, SIGUSR1
        and SIGUSR2 do nothing until it does.
    """

    name: str
    slot: int
    run: Callable[[], int]

    @property
    def title(self) -> str:
        """Name for logs: `agent`, `worker0`."""
        return self.name if self.name == "agent" else f"{self.name}{self.slot}"


class Processes(Protocol):
    """What the supervisor needs of the operating system."""

    def open(self) -> None:
        """Prepare this process to be a supervisor; once, before anything else."""
        ...

    def start(self, role: Role) -> int:
        """Fork a child that runs `role`; returns its pid. Raises OSError."""
        ...

    def kill(self, pid: int, signum: int) -> None:
        """Send a signal to a child that was not reaped yet."""
        ...

    def reap(self) -> list[tuple[int, int]]:
        """Return (pid, exit code or minus signal) of all that ended; never waits."""
        ...

    def wait(self, timeout_s: float) -> int | None:
        """Wait for one signal; None after `timeout_s` seconds."""
        ...

    def now_s(self) -> float:
        """Seconds of a clock that stands still while the machine is suspended."""
        ...


class OsProcesses:
    """The real thing, on Linux."""

    def __init__(self) -> None:
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl

    def open(self) -> None:
        """Block the handled signals for good, refuse core dumps, freeze the heap.

        Signals stay blocked to the end: one more that arrives while the supervisor
        leaves must not change how it leaves.
        Raises BugError where a second thread is about: fork would copy its locks.
        """
        if sum(1 for _ in pathlib.Path("/proc/self/task").iterdir()) > 1:
            raise BugError("the supervisor has one thread, or forking is not safe")
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        # Inherited as ignored, it would reap children behind our back.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._harden()
        # What is there now is for ever: a collection in a child would copy its pages.
        gc.collect()
        gc.freeze()

    def start(self, role: Role) -> int:
        """Fork a child; see Processes."""
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._live(role, parent)
        return pid

    def kill(self, pid: int, signum: int) -> None:
        """Send a signal; a pid that was not reaped is still that child's."""
        os.kill(pid, signum)

    def reap(self) -> list[tuple[int, int]]:
        """Reap everything that ended, adopted orphans included (as process 1)."""
        ended: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            ended.append((pid, os.waitstatus_to_exitcode(status)))

    def wait(self, timeout_s: float) -> int | None:
        """Wait for a handled signal; see Processes."""
        found = signal.sigtimedwait(_HANDLED, timeout_s)
        return None if found is None else found.si_signo

    def now_s(self) -> float:
        """CLOCK_MONOTONIC, seconds: a suspended machine does not age it."""
        return time.monotonic()

    def _live(self, role: Role, parent: int) -> NoReturn:
        """Be the child, to its end; nothing of the supervisor's stack runs again."""
        code = 1
        try:
            self._settle_in(role, parent)
            code = role.run()
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 1
        except BaseException:  # noqa: BLE001
            # The last border of this process; the supervisor sees the exit code.
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                # Not sys.exit: atexit and buffers of the supervisor are not ours.
                os._exit(code & 0xFF)

    def _settle_in(self, role: Role, parent: int) -> None:
        self._set(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        for signum in _HANDLED:
            ignored = signum in _IGNORED_AT_FIRST
            signal.signal(signum, signal.SIG_IGN if ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        # The kernel keeps 15 bytes, so "worker" is cut to leave room for the slot.
        short = role.title.replace("worker", "w")
        name = ctypes.create_string_buffer(f"fastgate:{short}".encode()[:15])
        self._set(_PR_SET_NAME, ctypes.addressof(name))
        self._harden()
        # Only the supervisor speaks to the service manager.
        for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(variable, None)

    def _harden(self) -> None:
        """No core dump and no look from outside: tokens and keys are in memory."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._set(_PR_SET_DUMPABLE, 0)
        self._set(_PR_SET_NO_NEW_PRIVS, 1)

    def _set(self, option: int, value: int) -> None:
        arguments = (value, 0, 0, 0)
        if self._prctl(option, *map(ctypes.c_ulong, arguments)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def sd_notify(state: str) -> None:
    """Tell the service manager; does nothing without one, and never fails.

    state: Lines of `NAME=value`, as in sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(address)
            sock.send(state.encode())
    except OSError:
        # A service manager that does not listen must not stop the service.
        return
