"""Children: they start, say why they failed, and end with us."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from fastgate.demo.children import Child, ChildError, child_named

LIMIT_S = 10.0
PYTHON = sys.executable
PARENT = """
import asyncio, pathlib, sys
from fastgate.demo.children import Child

async def main():
    argv = (sys.executable, "-c", "import time; time.sleep(600)")
    child = Child("sleeper", argv, pathlib.Path(sys.argv[1]))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition):
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def program(text, tmp_path):
    return Child("program", (PYTHON, "-c", text), tmp_path / "log")


async def test_child_says_its_last_words_when_it_fails(tmp_path):
    """The error holds the exit code and the end of the log."""
    child = program("print('no such port'); raise SystemExit(3)", tmp_path)
    await child.start()
    await until(lambda: child.ended)
    text = str(child.failure("ended at once"))
    assert "exit 3" in text
    assert "no such port" in text
    await child.stop()


async def test_child_that_is_not_there_is_an_error(tmp_path):
    """The launcher ends at once, and its log says why."""
    child = Child("ghost", (str(tmp_path / "ghost"),), tmp_path / "log")
    await child.start()
    await until(lambda: child.ended)
    assert "No such file" in str(child.failure("ended at once"))


async def test_child_without_a_log_does_not_start(tmp_path):
    """A folder that is not there is an error, not a lost child."""
    child = Child("program", (PYTHON,), tmp_path / "missing" / "log")
    with pytest.raises(ChildError, match="did not start"):
        await child.start()
    await child.stop()
    assert child.pid == 0


async def test_child_is_killed_with_its_group_when_it_does_not_listen(
    tmp_path, monkeypatch
):
    """A child that ignores the signal, and its own child, are gone after stop."""
    monkeypatch.setattr("fastgate.demo.children._STOP_S", 0.2)
    text = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pid = os.fork()\n"
        "if pid: print(pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    child = program(text, tmp_path)
    await child.start()
    await until(child.tail)
    grandchild = int(child.tail()[0])
    await child.stop()
    assert child.ended
    await until(lambda: not is_alive(grandchild))


async def test_child_dies_when_its_parent_is_killed(tmp_path):
    """SIGKILL leaves nobody time to tidy up; the kernel does."""
    parent = await asyncio.create_subprocess_exec(
        PYTHON,
        "-c",
        PARENT,
        str(tmp_path / "log"),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    async with asyncio.timeout(LIMIT_S):
        pid = int(await parent.stdout.readline())
    assert is_alive(pid)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: not is_alive(pid))


async def test_child_does_not_inherit_settings_of_another_gateway(
    tmp_path, monkeypatch
):
    """FASTGATE_ADMIN of the operator's gateway must not move the demo's."""
    monkeypatch.setenv("FASTGATE_ADMIN", "0.0.0.0:8085")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("OTHER", "kept")
    names = "('FASTGATE_ADMIN', 'NOTIFY_SOCKET', 'OTHER')"
    child = program(f"import os; print([os.getenv(n) for n in {names}])", tmp_path)
    await child.start()
    await until(lambda: child.ended)
    assert child.tail() == ["[None, None, 'kept']"]


async def test_child_is_found_by_parent_and_name(tmp_path):
    """The tour finds the agent by the name that the kernel shows."""
    text = (
        "import ctypes, time\n"
        "ctypes.CDLL(None).prctl(15, b'demo:(x) y')\n"
        "print('named', flush=True)\n"
        "time.sleep(600)\n"
    )
    child = program(text, tmp_path)
    await child.start()
    await until(child.tail)
    assert child_named(os.getpid(), "demo:(x) y") == child.pid
    assert child_named(os.getpid(), "nobody") == 0
    await child.stop()
