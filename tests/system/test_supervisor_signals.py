"""The supervisor with real processes and real signals."""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.system

ROOT = pathlib.Path(__file__).parents[2]
TITLES = {"agent", "worker0", "worker1"}
DEADLINE_S = 30.0  # far beyond what a healthy run takes; a hang fails here


class Node:
    """A running tiny node, read line by line."""

    def __init__(self, env: dict[str, str], **settings: Any) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path, **env}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.tiny_node", json.dumps(settings)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[dict[str, Any]] = []
        self.tail = b""
        self.ended = False

    def _read(self, deadline: float) -> None:
        pipe = self.process.stdout.fileno()
        left = deadline - time.monotonic()
        ready = select.select([pipe], [], [], max(left, 0))[0]
        assert ready, f"nothing happened in time; so far: {self.lines}"
        data = os.read(pipe, 65536)
        self.ended = not data
        *whole, self.tail = (self.tail + data).split(b"\n")
        self.lines += map(json.loads, whole)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Read until `condition` holds and return it; a deadline fails the test."""
        deadline = time.monotonic() + DEADLINE_S
        while not (found := condition()):
            assert not self.ended, f"the node ended: {self.lines}"
            self._read(deadline)
        return found

    def until_end(self) -> int:
        """Read until every process has gone; returns the supervisor's exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.ended:
            self._read(deadline)
        return self.process.wait(DEADLINE_S)

    def pids(self, role: str) -> list[int]:
        return [line["pid"] for line in self.named("up", role)]

    def named(self, what: str, role: str | None = None) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines
            if line["what"] == what and (role is None or line["role"] == role)
        ]

    def order(self, *wanted: str) -> list[tuple[str, str]]:
        found = [(line["what"], line["role"]) for line in self.lines]
        return [entry for entry in found if entry[0] in wanted]

    def ready(self) -> "Node":
        self.until(lambda: self.named("event ready"))
        return self

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # children follow: that is tested below
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait(DEADLINE_S)


@pytest.fixture
def start() -> Iterator[Callable[..., Node]]:
    """Start nodes; the fixture ends what the test left."""
    with contextlib.ExitStack() as stack:

        def begin(env: dict[str, str] | None = None, **settings: Any) -> Node:
            node = Node(env or {}, **settings)
            stack.callback(node.close)
            return node

        yield begin


@pytest.mark.parametrize("title", sorted(TITLES))
def test_successor_takes_over_when_a_child_is_killed(start, title):
    """SIGKILL costs one process; the others keep their pids."""
    node = start().ready()
    (victim,) = node.pids(title)
    os.kill(victim, signal.SIGKILL)
    node.until(lambda: len(node.pids(title)) == 2)
    for other in TITLES - {title}:
        assert len(node.pids(other)) == 1
    with pytest.raises(ProcessLookupError):  # reaped, so not even a zombie is left
        os.kill(victim, 0)
    (death,) = node.named("event died")
    assert (death["role"], death["code"]) == (title, -signal.SIGKILL)
    node.send(signal.SIGTERM)
    assert node.until_end() == 0


def test_successor_takes_over_when_a_child_is_stopped(start):
    """A process that exists and does nothing is killed by the watchdog."""
    node = start(hang_limit_s=0.6).ready()
    (stuck,) = node.pids("worker0")
    os.kill(stuck, signal.SIGSTOP)
    node.until(lambda: len(node.pids("worker0")) == 2)
    assert [line["role"] for line in node.named("event killed")] == ["worker0"]
    assert len(node.pids("agent")) == len(node.pids("worker1")) == 1


def test_connection_waits_for_the_successor_when_a_worker_is_dead(start):
    """Nobody closes the listening socket, so nothing is refused or reset."""
    node = start(workers=1, habits={"agent": ["stubborn"]}).ready()
    port = node.named("supervisor")[0]["port"]
    (victim,) = node.pids("worker0")
    os.kill(victim, signal.SIGSTOP)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    os.kill(victim, signal.SIGKILL)
    answers = set()
    for client in clients:
        client.settimeout(DEADLINE_S)
        answers.add(int(client.recv(16)))
        client.close()
    node.until(lambda: len(node.pids("worker0")) == 2)
    assert answers == {node.pids("worker0")[1]}


def test_children_die_when_the_supervisor_is_killed(start):
    """No worker serves on without somebody who watches it."""
    node = start().ready()
    pids = [pid for title in TITLES for pid in node.pids(title)]
    node.send(signal.SIGKILL)
    # The pipe ends when the last process that holds it is gone.
    assert node.until_end() == -signal.SIGKILL
    assert len(pids) == 3


def test_drain_ends_workers_first_and_the_agent_last(start):
    """SIGTERM: workers see that the node drains, and the exit code is 0."""
    node = start().ready()
    node.send(signal.SIGTERM)
    assert node.until_end() == 0
    asked = node.order("SIGTERM", "event died")
    assert asked[-2:] == [("SIGTERM", "agent"), ("event died", "agent")]
    assert {role for what, role in asked if what == "SIGTERM"} == TITLES
    assert all(line["draining"] for line in node.named("SIGTERM", "worker0"))


def test_drain_kills_what_does_not_end_in_time(start):
    """A worker with an endless request does not keep the node."""
    node = start(drain_s=0.1, habits={"worker0": ["stubborn"]}).ready()
    node.send(signal.SIGTERM)
    assert node.until_end() == 0
    assert [line["role"] for line in node.named("event killed")] == ["worker0"]


def test_second_term_stops_at_once(start):
    """An operator who asks again does not wait for the drain."""
    node = start(drain_s=600, habits={"worker0": ["stubborn"]}).ready()
    node.send(signal.SIGTERM)
    node.until(lambda: node.named("SIGTERM", "worker0"))
    node.send(signal.SIGTERM)
    assert node.until_end() == 0
    assert node.named("SIGINT", "worker0")
    assert [line["role"] for line in node.named("event killed")] == ["worker0"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
def test_fast_stop_asks_nobody_to_drain(start, signum):
    """Ctrl-C ends everything at once and leaves nothing."""
    node = start().ready()
    node.send(signum)
    assert node.until_end() == 0
    assert node.order("SIGTERM") == []
    assert len(node.named("SIGINT")) == 3


def test_rolling_restart_replaces_workers_one_by_one(start):
    """SIGUSR2: the second worker is asked when the successor of the first beats."""
    node = start().ready()
    node.send(signal.SIGUSR2)
    node.until(lambda: len(node.named("event rolled")) == 2)
    assert node.order("SIGTERM", "event rolled") == [
        ("SIGTERM", "worker0"),
        ("event rolled", "worker0"),
        ("SIGTERM", "worker1"),
        ("event rolled", "worker1"),
    ]
    assert not any(line["draining"] for line in node.named("SIGTERM"))
    assert [len(node.pids(title)) for title in sorted(TITLES)] == [1, 2, 2]


def test_reload_reaches_the_agent_and_reopening_reaches_all(start):
    """SIGHUP is the agent's alone; SIGUSR1 is everybody's."""
    node = start().ready()
    node.send(signal.SIGHUP)
    node.until(lambda: node.named("SIGHUP", "agent"))
    node.send(signal.SIGUSR1)
    node.until(lambda: len(node.named("SIGUSR1")) == 3)
    assert len(node.named("SIGHUP")) == 1
    assert {line["role"] for line in node.named("SIGUSR1")} == TITLES


@pytest.mark.parametrize("signum", [signal.SIGTTIN, signal.SIGTTOU])
def test_signal_for_another_number_of_workers_changes_nothing(start, signum):
    """Slots are fixed: the supervisor says so and goes on."""
    node = start().ready()
    node.send(signum)
    node.send(signal.SIGUSR1)
    node.until(lambda: len(node.named("SIGUSR1")) == 3)
    assert len(node.named("event started")) == 3


def test_bad_configuration_of_a_child_is_the_exit_code_of_the_node(start):
    """Exit 78 of the agent ends the node with 78 and everybody else with it."""
    node = start(habits={"agent": ["exit 78"]})
    assert node.until_end() == 78
    assert len(node.named("exits", "agent")) == 1


def test_node_ends_with_1_when_a_child_cannot_start(start):
    """A role that fails in Python shows a traceback and is tried a few times."""
    node = start(habits={"worker0": ["raise"]})
    assert node.until_end() == 1
    assert len(node.named("event died", "worker0")) == 5
    assert b"a fault of a role" in node.process.stderr.read()


def test_child_is_set_up_as_promised(start):
    """Signals, limits and name of a child are its own before its role runs."""
    node = start(env={"NOTIFY_SOCKET": "/nonexistent"}).ready()
    for title, comm in (("agent", "fastgate:agent"), ("worker1", "fastgate:w1")):
        (child,) = node.named("up", title)
        assert child["comm"] == comm
        assert child["core"] == [0, 0]
        assert child["death_signal"] == signal.SIGKILL
        assert (child["dumpable"], child["no_new_privs"]) == (0, 1)
        assert child["notify"] is None
        assert child["mask"] == []
        assert child["ignored"] == ["SIGHUP", "SIGUSR1", "SIGUSR2"]
        assert child["parent"] == node.process.pid


def test_service_manager_hears_when_the_node_is_ready_and_when_it_ends(start, tmp_path):
    """READY, RELOADING and STOPPING go to NOTIFY_SOCKET, as sd_notify(3) says."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(DEADLINE_S)
        node = start(env={"NOTIFY_SOCKET": path})
        assert manager.recv(256) == b"READY=1"
        node.send(signal.SIGHUP)
        reloading = manager.recv(256).decode().splitlines()
        assert reloading[0] == "RELOADING=1"
        assert int(reloading[1].removeprefix("MONOTONIC_USEC=")) > 0
        assert manager.recv(256) == b"READY=1"
        node.send(signal.SIGTERM)
        assert manager.recv(256) == b"STOPPING=1"
        assert node.until_end() == 0
