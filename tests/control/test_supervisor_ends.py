"""Supervisor: drains, fast stops, reloads and rolling restarts, by signal."""

from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGUSR1, SIGUSR2

import pytest
from tests.control.supervisor_world import DRAIN_S, TITLES, World


@pytest.fixture
def world() -> World:
    return World()


def test_drain_asks_workers_first_and_the_agent_last(world):
    """The agent goes on until the last worker has finished its requests."""
    world.stubborn.update(TITLES)
    world.send(5, SIGTERM)
    world.at(9, lambda: world.end("worker0", 0))
    world.at(20, lambda: world.end("worker1", 0))
    world.at(21, lambda: world.end("agent", 0))
    assert world.run() == 0
    assert world.times("SIGTERM worker0") == world.times("SIGTERM worker1") == [5.0]
    assert world.times("SIGTERM agent") == [20.0]
    assert not any(what.startswith("SIGKILL") for what in world.told())
    assert world.kinds().index("draining") < world.kinds().index("died")


def test_drain_has_a_limit_for_workers_and_for_the_agent(world):
    """What does not end in time is killed, and the exit code is still 0."""
    world.stubborn.update(TITLES)
    world.send(5, SIGTERM)
    assert world.run() == 0
    assert world.times("SIGKILL worker0") == [5 + DRAIN_S + 0.5]
    assert world.times("SIGKILL agent") == [5 + DRAIN_S + 2.5]


def test_drain_replaces_a_dead_agent_but_no_worker(world):
    """Revocations must reach the worker that still finishes its requests."""
    world.stubborn.add("worker1")
    world.send(5, SIGTERM)
    world.die(7, "agent")
    world.at(20, lambda: world.end("worker1", 0))
    assert world.run() == 0
    assert world.times("start agent") == [0.0, 7.0]
    assert len(world.times("start worker0")) == 1


@pytest.mark.parametrize("second", [SIGTERM, SIGINT, SIGQUIT])
def test_second_signal_ends_a_drain_at_once(world, second):
    """Everybody gets a second, then SIGKILL, and the exit code is 0."""
    world.stubborn.update(TITLES)
    world.send(5, SIGTERM)
    world.send(8, second)
    assert world.run() == 0
    for title in TITLES:
        assert world.times(f"SIGINT {title}") == [8.0]
        assert world.times(f"SIGKILL {title}") == [9.0]
    assert world.notes.count("STOPPING=1") == 1


@pytest.mark.parametrize("signum", [SIGINT, SIGQUIT])
def test_fast_stop_asks_everybody_at_once(world, signum):
    """Nobody drains and nobody is started again."""
    world.send(5, signum)
    assert world.run() == 0
    assert [at for at, what in world.journal if "SIGINT" in what] == [5.0] * 3
    assert sum(what.startswith("start") for what in world.told()) == 3


def test_third_signal_kills_without_waiting(world):
    """An operator who asks three times does not wait for anything."""
    world.stubborn.update(TITLES)
    world.send(5, SIGTERM, SIGTERM, SIGTERM)
    assert world.run() == 0
    assert [at for at, what in world.journal if "SIGKILL" in what] == [5.0] * 3


def test_reload_goes_to_the_agent_alone(world):
    """The agent checks and reloads; the service manager hears both ends of it."""
    world.send(5, SIGHUP)
    world.send(6, SIGTERM)
    assert world.run() == 0
    assert [what for what in world.told() if "SIGHUP" in what] == ["SIGHUP agent"]
    assert world.notes[1:3] == ["RELOADING=1\nMONOTONIC_USEC=105000000", "READY=1"]


def test_reload_does_not_claim_readiness_before_the_node_was_ready(world):
    """A reload while starting must not end the start for the service manager."""
    world.silent.add("worker0")
    world.send(1, SIGHUP)
    world.send(2, SIGTERM)
    assert world.run() == 0
    assert "READY=1" not in world.notes


def test_log_files_are_reopened_by_everybody(world):
    """SIGUSR1 is handed on to every process."""
    world.send(5, SIGUSR1)
    world.send(6, SIGTERM)
    assert world.run() == 0
    reopened = [what for what in world.told() if "SIGUSR1" in what]
    assert reopened == [f"SIGUSR1 {title}" for title in TITLES]


def test_rolling_restart_replaces_one_worker_at_a_time(world):
    """The next worker is asked when the successor of the last gave a sign of life."""
    world.send(5, SIGUSR2)
    world.at(5, lambda: world.silent.add("worker0"))
    world.at(9, lambda: world.silent.discard("worker0"))
    world.send(20, SIGTERM)
    assert world.run() == 0
    told = [what for what in world.told() if "worker" in what]
    assert told[2:6] == [
        "SIGTERM worker0",
        "start worker0",
        "SIGTERM worker1",
        "start worker1",
    ]
    assert world.times("SIGTERM worker1")[0] >= 9
    assert world.times("start agent") == [0.0]
    assert world.kinds().count("rolled") == 2


def test_rolling_restart_kills_a_worker_that_does_not_end(world):
    """A worker has the time of a drain, then its successor takes over."""
    world.at(4, lambda: world.stubborn.add("worker0"))
    world.send(5, SIGUSR2)
    world.at(37, world.stubborn.clear)
    world.send(60, SIGTERM)
    assert world.run() == 0
    assert world.times("SIGKILL worker0") == [5 + DRAIN_S + 0.5]
    assert world.times("start worker1")[1] > world.times("start worker0")[1]


def test_rolling_restart_ends_when_a_successor_cannot_start(world):
    """What cannot start must not take the workers that still work."""
    world.at(4, lambda: world.dies_at_start.update(worker0=1))
    world.send(5, SIGUSR2)
    world.at(30, world.dies_at_start.clear)
    world.send(60, SIGTERM)
    assert world.run() == 0
    assert world.times("start worker1") == [0.0]
    assert "rolling restart ended" in [line["event"] for line in world.lines]


def test_rolling_restart_is_refused_while_one_is_under_way(world):
    """Two orders in a row are one restart of each worker."""
    world.send(5, SIGUSR2, SIGUSR2)
    world.send(20, SIGTERM)
    assert world.run() == 0
    assert len(world.times("start worker0")) == len(world.times("start worker1")) == 2


def test_drain_ends_a_rolling_restart(world):
    """After SIGTERM nobody is started again, and no worker is asked twice."""
    world.at(4, lambda: world.stubborn.add("worker0"))
    world.send(5, SIGUSR2)
    world.send(6, SIGTERM)
    assert world.run() == 0
    assert world.times("SIGTERM worker0") == [5.0]
    assert world.times("start worker0") == [0.0]


def test_number_of_workers_does_not_change_by_signal(world):
    """TTIN is answered by a log line and by nothing else."""
    world.send(5, SIGTTIN)
    world.send(6, SIGTERM)
    assert world.run() == 0
    assert [line.get("signal") for line in world.lines].count("SIGTTIN") == 1
    assert sum(what.startswith("start") for what in world.told()) == 3
