"""A supervisor in a world of fake processes, signals and time."""

import heapq
import itertools
import signal
from collections.abc import Callable
from signal import SIGHUP, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2

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
