"""Children: processes that live no longer than the demo, and what they said last.

Owns:      the child processes: each in a group of its own, its output in a file.
Called by: demo.bus and demo.gateway start them; demo.regions stops them all.
Source:    prctl(2) PR_SET_PDEATHSIG: a child dies with us, even when we are killed.
"""

import asyncio
import contextlib
import os
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Final

from fastgate.errors import StartError

__all__ = ["Child", "ChildError", "child_named"]

_STOP_S: Final = 6.0
_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 8_192
_STAT_NAME_END: Final = ")"
# Settings of the operator's own gateway win over a file, so over the demo's files too;
# the others belong to the service manager.
_NOT_INHERITED: Final = ("FASTGATE_", "NOTIFY_", "WATCHDOG_", "LISTEN_")

# Becomes the program itself, so no process is left between it and us. It is told who
# its parent is, because a parent that died before prctl sends no signal any more.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ChildError(StartError):
    """A child process did not do what it is for; the text holds its last words."""


class Child:
    """One child process.

    name: For messages. argv: Program (absolute path) and arguments.
    log: File that its output is added to.
    """

    def __init__(self, name: str, argv: Sequence[str], log: pathlib.Path) -> None:
        self.name = name
        self._argv = argv
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return 0 if self._process is None else self._process.pid

    @property
    def ended(self) -> bool:
        """True where it ran and has ended."""
        return self._process is not None and self._process.returncode is not None

    async def start(self) -> None:
        """Start it; returns before it is ready. Raises ChildError."""
        launcher = (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()))
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *launcher,
                    *self._argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C on the terminal is ours alone
                )
        except OSError as error:
            raise ChildError(f"{self.name} did not start: {error.strerror}") from error

    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End it: asked first, killed with its whole group when it takes too long."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signum)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
        # The group outlives its leader where a child of its own is still there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def failure(self, what: str) -> ChildError:
        """Return an error that says what went wrong and shows the end of the log."""
        code = self._process.returncode if self._process is not None else None
        how = f"{self.name}: {what}" + ("" if code is None else f" (exit {code})")
        return ChildError("\n  ".join([how, *self.tail()]))

    def tail(self) -> list[str]:
        """Return the last lines of its output."""
        try:
            with self._log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return text.splitlines()[-_TAIL_LINES:]


def _environment() -> dict[str, str]:
    """Return our environment without what would make a child somebody else's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_INHERITED)
    }


def child_named(parent: int, name: str) -> int:
    """Return the pid of a process's child by its short name, 0 where it has none.

    Source: proc(5), /proc/PID/stat, fields 2 and 4.
    """
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            stat = (folder / "stat").read_text("utf-8", "replace")
        except OSError:
            continue  # it ended meanwhile
        head, _, rest = stat.rpartition(_STAT_NAME_END)
        state, ppid, *_ = rest.split()
        if int(ppid) == parent and head.partition("(")[2] == name and state != "Z":
            return int(folder.name)
    return 0
