"""Freezing a server of a test, so that it is frozen when the next line runs."""

import os
import signal
import subprocess

__all__ = ["freeze"]


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop a child without closing a socket; returns once all its threads stand.

    The signal alone is on its way for a moment, in which a server may still answer.
    """
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
