"""Command: `fastgate demo` from the outside, as a person or a CI job runs it."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from fastgate.demo.world import HOST, Ports, free_base

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

ROOT = pathlib.Path(__file__).parents[2]
LIMIT_S = 60.0


class Demo:
    """A running `fastgate demo`, with a temporary folder of its own."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastgate", "demo", *arguments],
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, text):
        """Read lines until one holds `text`; the test's own limit bounds it."""
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(self.process.stderr.read())

    def ended(self):
        self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode

    def processes(self):
        """Pids of everything started with a file of this demo."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.folder).encode() in entry.read_bytes():
                    found.append(int(entry.parent.name))
            except OSError:
                continue
        return found

    def until_nothing_runs(self):
        deadline = time.monotonic() + LIMIT_S
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def environment(folder):
    # What is tested here is what is tested there: the wheel, or the source folder.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)}


@pytest.fixture
def start(tmp_path):
    running = []

    def begin(*arguments):
        running.append(Demo(tmp_path, *arguments))
        return running[-1]

    yield begin
    for demo in running:
        demo.process.kill()  # its children die with it: that is tested below
        demo.process.communicate()


def token(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "fastgate", "demo", "token", *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_tour_holds_from_first_to_last_step(start, tmp_path):
    """The whole product at work; nothing is left behind."""
    demo = start("--headless", "--json")
    out, err = demo.process.communicate(timeout=150)
    document = json.loads(out)
    failed = [step for step in document["steps"] if not step["ok"]]
    assert failed == [], err
    assert demo.process.returncode == 0
    assert document["ok"] is True
    assert document["regions"] == ["eu", "us", "ap"]
    names = [step["name"] for step in document["steps"]]
    assert {"traveller", "refusals", "logout-everywhere"} <= set(names)
    assert ("bus-cut" in names) == (document["bus"] == "nats")
    assert list(tmp_path.iterdir()) == []
    demo.until_nothing_runs()


def test_logout_reaches_every_gateway_without_a_bus_server(start):
    """With the local bus nothing is claimed that it cannot do, and the rest holds."""
    steps = ("--step", "logout-everywhere", "--step", "agent-down")
    demo = start("--headless", "--json", "--bus", "local", "--delay", "0", *steps)
    out, err = demo.process.communicate(timeout=LIMIT_S)
    document = json.loads(out)
    assert (document["ok"], document["bus"]) == (True, "local"), (document, err)
    assert demo.process.returncode == 0


def test_step_that_needs_nats_is_refused_without_it(start):
    """A cut cannot be shown where no link is; the error names the fix."""
    demo = start("--headless", "--bus", "local", "--step", "bus-cut")
    _, err = demo.process.communicate(timeout=LIMIT_S)
    assert demo.process.returncode == 1
    assert "pip install" in err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_demo_leaves_nothing_behind_when_it_is_stopped(start, tmp_path, signum):
    """It stays up after the tour, gives tokens, and ends at a signal."""
    demo = start("--step", "first-visit", "--delay", "0")
    demo.until("Ctrl-C stops everything")
    assert demo.processes()
    given = token(tmp_path, "bob", "--kind", "wrapped")
    assert given.returncode == 0
    assert given.stdout.count(".") == 2
    demo.process.send_signal(signum)
    assert demo.ended() == 0
    assert list(tmp_path.iterdir()) == []
    demo.until_nothing_runs()


def test_demo_leaves_nothing_behind_when_stopped_while_it_starts(start, tmp_path):
    """A second signal, too, waits for the end of what the first began."""
    demo = start()
    deadline = time.monotonic() + LIMIT_S
    while not demo.processes():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    demo.process.send_signal(signal.SIGINT)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.ended() == 1
    assert list(tmp_path.iterdir()) == []
    demo.until_nothing_runs()


def test_everything_dies_with_the_demo_when_it_is_killed(start):
    """SIGKILL leaves files, but no process."""
    demo = start("--step", "first-visit", "--delay", "0")
    demo.until("Ctrl-C stops everything")
    demo.process.kill()
    demo.process.wait()
    demo.until_nothing_runs()


def test_demo_says_which_port_is_taken(start, tmp_path):
    """Nothing starts where something else listens."""
    base = free_base()
    port = Ports(base).of("ap", "status")
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        demo = start("--base-port", str(base))
        _, err = demo.process.communicate(timeout=LIMIT_S)
    assert demo.process.returncode == 1
    assert f"in use: {port}" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nobody",), 2, "no user nobody; known: alice, bob, chie"),
        (("bob", "--kind", "paper"), 2, "no kind paper; known: jwt, opaque, wrapped"),
        (("bob",), 69, "no demo is running"),
        (("bob", "--base-port", "1"), 69, "no demo answers"),
    ],
    ids=["user", "kind", "none running", "none there"],
)
def test_token_says_what_is_wrong(tmp_path, arguments, code, says):
    """The error names the fix; exit codes are those of the design."""
    result = token(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert says in result.stderr


def test_unknown_step_is_a_usage_error(start):
    """The known ones are named."""
    demo = start("--step", "tea-break")
    _, err = demo.process.communicate(timeout=LIMIT_S)
    assert demo.process.returncode == 2
    assert "no step tea-break; known: first-visit" in err
