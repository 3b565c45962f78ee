"""A real server of a test: started on loopback, killed, frozen and let go on."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

__all__ = ["ServerProcess"]


class ServerProcess:
    """A child that listens on `port` and keeps its files and its log in `folder`."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    def launch(self, argv: list[str], *, within_s: float) -> None:
        """Start it; returns when it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        deadline = time.monotonic() + within_s
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, f"{argv[0]} did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it, as a power cut would; its files stay."""
        if self._process is not None:
            self.thaw()
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it without closing a socket; returns once all its threads stand.

        The signal alone is on its way for a moment, in which a server may still answer.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
