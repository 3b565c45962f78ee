"""The supervisor's decisions, in a world whose time and processes are the test's."""

import itertools
from signal import SIGTERM, SIGUSR1

import pytest
from tests.control.supervisor_world import TITLES, World


@pytest.fixture
def world() -> World:
    return World()


def test_every_role_is_started_once_and_the_node_is_ready(world):
    """Roles start in their order; readiness comes when all gave a sign of life."""
    world.send(5, SIGTERM)
    assert world.run() == 0
    assert world.told()[:4] == ["open", *(f"start {title}" for title in TITLES)]
    assert world.notes == ["READY=1", "STOPPING=1"]
    assert world.kinds().count("ready") == 1
    assert world.kinds().index("ready") > max(
        index for index, kind in enumerate(world.kinds()) if kind == "up"
    )


@pytest.mark.parametrize("title", TITLES)
def test_successor_starts_at_once_when_a_process_dies(world, title):
    """One death costs one restart, without a pause, and touches nobody else."""
    world.die(2, title)
    world.send(5, SIGTERM)
    assert world.run() == 0
    assert world.times(f"start {title}") == [0.0, 2.0]
    assert sum(what.startswith("start") for what in world.told()) == 4
    (death,) = [event for event in world.events if event.kind == "died" and event.code]
    assert (death.role.title, death.code) == (title, -9)


def test_successor_starts_at_once_when_grown_processes_die_again_and_again(world):
    """Only early deaths are a crash loop: a process that worked is replaced at once."""
    for time_s in range(2, 60, 2):
        world.die(time_s, "worker0")
    world.send(61, SIGTERM)
    assert world.run() == 0
    assert world.times("start worker0") == [float(at) for at in range(0, 60, 2)]


def test_crash_loop_is_slowed_to_a_bound_and_never_given_up(world):
    """Pauses grow to a few seconds; when the cause is gone the worker is back."""
    world.at(2, lambda: world.dies_at_start.update(worker0=1))
    world.die(2, "worker0")
    world.at(600, world.dies_at_start.clear)
    world.send(700, SIGTERM)
    assert world.run() == 0
    starts = world.times("start worker0")
    pauses = [round(b - a, 2) for a, b in itertools.pairwise(starts[1:])]
    assert pauses[:6] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0]
    assert set(pauses[5:]) == {4.0}
    assert starts[-1] >= 600
    assert len(world.times("start agent")) == len(world.times("start worker1")) == 1
    assert {line["event"] for line in world.lines} >= {"died", "crash loop"}


def test_bad_configuration_ends_the_node_when_it_was_never_ready(world):
    """Exit 78 is passed through, and everybody else is stopped."""
    world.dies_at_start["agent"] = 78
    assert world.run() == 78
    assert len(world.times("start agent")) == 1


def test_bad_configuration_does_not_end_a_node_that_was_ready(world):
    """What a running node meets later is never a reason to stop serving."""
    world.at(2, lambda: world.dies_at_start.update(agent=78))
    world.die(2, "agent")
    world.at(60, world.dies_at_start.clear)
    world.send(70, SIGTERM)
    assert world.run() == 0
    assert len(world.times("start worker0")) == 1


def test_node_ends_with_1_when_a_role_cannot_start_at_all(world):
    """Five early deaths in a row before the node was ever ready are enough."""
    world.dies_at_start["worker1"] = 3
    assert world.run() == 1
    assert len(world.times("start worker1")) == 5
    assert "cannot start" in [line["event"] for line in world.lines]


def test_fork_is_tried_again_when_it_fails(world):
    """A moment without memory is a pause, not the end."""
    world.no_memory = 3
    world.send(10, SIGTERM)
    assert world.run() == 0
    assert all(len(world.times(f"start {title}")) == 1 for title in TITLES)


@pytest.mark.parametrize("title", TITLES)
def test_stuck_process_is_killed_and_replaced(world, title):
    """Silence past the limit is death, also where the process exists."""
    world.at(2, lambda: world.silent.add(title))
    world.at(8, lambda: world.silent.discard(title))
    world.send(12, SIGTERM)
    assert world.run(hang_limit_s=5.0) == 0
    (killed,) = world.times(f"SIGKILL {title}")
    assert 6.75 <= killed <= 7.5
    assert world.times(f"start {title}") == [0.0, killed]


def test_successor_has_longer_than_the_hang_limit_for_its_first_beat(world):
    """Starting may take a while; what a predecessor left does not count as a beat."""
    world.at(2, lambda: world.silent.add("worker0"))
    world.die(2, "worker0")
    world.at(20, lambda: world.silent.discard("worker0"))
    world.send(30, SIGTERM)
    assert world.run(hang_limit_s=5.0, start_limit_s=25.0) == 0
    assert world.times("SIGKILL worker0") == []


def test_process_that_never_beats_is_killed_at_the_start_limit(world):
    """A worker stuck before its first heartbeat does not keep its slot for ever."""
    world.at(2, lambda: world.silent.add("worker0"))
    world.die(2, "worker0")
    world.send(20, SIGTERM)
    assert world.run(start_limit_s=10.0) == 0
    (killed,) = world.times("SIGKILL worker0")
    assert 11.75 <= killed <= 12.5


def test_nobody_is_killed_when_the_machine_was_suspended(world):
    """After a long stop of the whole machine each child gets its full time to beat."""

    def suspend() -> None:
        world.frozen_s = 1000.0
        world.silent.update(TITLES)

    world.at(5, suspend)
    world.at(1007, world.silent.clear)
    world.send(1020, SIGTERM)
    assert world.run(hang_limit_s=5.0) == 0
    assert not any(what.startswith("SIGKILL") for what in world.told())


def test_silence_counts_when_signals_arrive_all_the_time(world):
    """A flood of signals must not hide a stuck worker."""
    world.at(1, lambda: world.silent.add("worker0"))
    for tick in range(100, 1200):
        world.send(tick / 100, SIGUSR1)
    world.send(13, SIGTERM)
    assert world.run(hang_limit_s=5.0) == 0
    assert 5.75 <= world.times("SIGKILL worker0")[0] <= 6.5


def test_process_without_heartbeat_counts_as_up_after_a_while(world):
    """Where no watchdog exists, age stands for it and nobody is killed."""
    world.beatless.update(TITLES)
    world.send(100, SIGTERM)
    assert world.run() == 0
    assert world.notes == ["READY=1", "STOPPING=1"]
    assert not any(what.startswith("SIGKILL") for what in world.told())


def test_strangers_children_are_reaped_and_ignored(world):
    """As process 1 the supervisor adopts orphans; their end is nothing to it."""
    world.at(3, lambda: world.ended.append((7, -11)))
    world.send(5, SIGTERM)
    assert world.run() == 0
    assert sum(what.startswith("start") for what in world.told()) == 3


def test_service_watchdog_is_fed_when_the_service_manager_asks(world, monkeypatch):
    """Three pings in each interval, as long as the supervisor itself runs."""
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")
    world.send(20, SIGTERM)
    assert world.run() == 0
    assert 9 <= world.notes.count("WATCHDOG=1") <= 11


def test_nobody_is_left_behind_when_the_supervisor_itself_fails(world, monkeypatch):
    """A fault of ours kills the children: they would have no supervisor."""

    def fail() -> None:
        raise RuntimeError("a fault of the test")

    world.at(3, fail)
    with pytest.raises(RuntimeError):
        world.run()
    assert world.alive == {}
