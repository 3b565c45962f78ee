"""The supervisor's decisions, in a world whose time and processes are the test's."""

import heapq
import itertools
import signal
from collections.abc import Callable
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTTIN, SIGUSR1, SIGUSR2

import pytest
import structlog
from structlog.testing import capture_logs

from fastgate.control.supervisor import Event, Role, Supervisor

TITLES = ("agent", "worker0", "worker1")
DRAIN_S = 30.0


class World:
    """Processes that beat, die and obey as the test says; time moves in `wait`."""

    def __init__(self) -> None:
        self.time_s = 100.0
        self.order = itertools.count()
        self.plan: list[tuple[float, int, Callable[[], None]]] = []
        self.signals: list[int] = []
        self.alive: dict[int, str] = {}
        self.ended: list[tuple[int, int]] = []
        self.journal: list[tuple[float, str]] = []
        self.events: list[Event] = []
        self.notes: list[str] = []
        self.beats: dict[str, int] = dict.fromkeys(TITLES, 0)
        self.stubborn: set[str] = set()  # do not end when asked
        self.silent: set[str] = set()  # do not beat
        self.beatless: set[str] = set()  # have no heartbeat at all
        self.dies_at_start: dict[str, int] = {}  # title: exit code
        self.no_memory = 0  # forks to fail
        self.frozen_s = 0.0  # the next wait takes that much longer
        self.pids = itertools.count(1000)

    # What the supervisor sees.

    def open(self) -> None:
        self.note("open")

    def start(self, role: Role) -> int:
        if self.no_memory:
            self.no_memory -= 1
            raise OSError(12, "Cannot allocate memory")
        assert role.title not in self.alive.values(), "two processes for one role"
        pid = next(self.pids)
        self.alive[pid] = role.title
        self.note(f"start {role.title}")
        if role.title in self.dies_at_start:
            self.end(role.title, self.dies_at_start[role.title])
        return pid

    def kill(self, pid: int, signum: int) -> None:
        assert pid in self.alive or pid in dict(self.ended), "not a child of ours"
        title = self.alive.get(pid)
        name = signal.Signals(signum).name
        self.note(f"{name} {title}")
        if title is None or signum in {SIGHUP, SIGUSR1, SIGUSR2}:
            return
        if signum == SIGKILL or title not in self.stubborn:
            self.end(title, -signum if signum != SIGTERM else 0)

    def reap(self) -> list[tuple[int, int]]:
        ended, self.ended = self.ended, []
        return ended

    def wait(self, timeout_s: float) -> int | None:
        assert timeout_s >= 0
        if self.signals:
            return self.signals.pop(0)
        until = self.time_s + timeout_s
        if self.plan and self.plan[0][0] <= until:
            at, _, act = heapq.heappop(self.plan)
            self.time_s = max(self.time_s, at)
            act()
        else:
            self.time_s = until + self.frozen_s
            self.frozen_s = 0.0
        assert self.time_s < 100.0 + 3600, "the supervisor does not end"
        return self.signals.pop(0) if self.signals else None

    def now_s(self) -> float:
        return self.time_s

    def watchdog(self, role: Role) -> int | None:
        if role.title in self.beatless:
            return None
        if role.title in self.alive.values() and role.title not in self.silent:
            self.beats[role.title] += 1
        return self.beats[role.title]

    # What the test does.

    def note(self, what: str) -> None:
        self.journal.append((round(self.time_s - 100.0, 3), what))

    def at(self, time_s: float, act: Callable[[], object]) -> None:
        heapq.heappush(self.plan, (100.0 + time_s, next(self.order), act))

    def send(self, time_s: float, *signals: int) -> None:
        self.at(time_s, lambda: self.signals.extend(signals))

    def die(self, time_s: float, title: str, code: int = -9) -> None:
        self.at(time_s, lambda: self.end(title, code))

    def end(self, title: str, code: int) -> None:
        pid = next(pid for pid, name in self.alive.items() if name == title)
        del self.alive[pid]
        self.ended.append((pid, code))
        self.signals.append(signal.SIGCHLD)

    def run(self, workers: int = 2, **settings: float) -> int:
        roles = [
            Role("agent", 0, int),
            *(Role("worker", n, int) for n in range(workers)),
        ]
        supervisor = Supervisor(
            roles=roles,
            log=structlog.get_logger(),
            drain_s=DRAIN_S,
            watchdog=self.watchdog,
            on_event=self.events.append,
            processes=self,
            notify=self.notes.append,
            **settings,
        )
        with capture_logs() as self.lines:
            code = supervisor.run()
        assert self.alive == {}, "somebody was left behind"
        return code

    def times(self, what: str) -> list[float]:
        return [at for at, found in self.journal if found == what]

    def told(self) -> list[str]:
        return [what for _, what in self.journal]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


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
