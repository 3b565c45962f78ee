"""Supervisor: keeps one agent and the workers alive, and ends them in order.

Owns:      the children: at most one process per role, and a successor only after its
           predecessor was reaped. No loop, no thread, no connection.
Called by: wiring, once, in the process that the operator started.

The life of a node, in order:
    1  running    every role has a process; what dies is started again at once, with a
                  growing pause only where it dies young again and again
    2  ready      all roles were up once. Before that, a child that exits 78 (bad
                  configuration) or cannot start ends the node; after it, nothing does
    3  draining   SIGTERM: workers were asked to finish; the agent goes on for them
    4  leaving    workers are gone; the agent was asked to finish
    5  stopping   a second SIGTERM, SIGINT or SIGQUIT: everybody has a second
Signals to children: SIGTERM finish and exit, SIGINT exit now, SIGUSR1 reopen log files,
SIGHUP (agent only) check and reload.
"""

import enum
import math
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from fastgate.control.child import Child
from fastgate.control.process import OsProcesses, Processes, Role, sd_notify

__all__ = ["Event", "Role", "Supervisor"]

EXIT_CONFIG: Final = 78
# Reason: the longest a death of a stuck child can go unseen beyond the hang limit; four
# wake-ups a second cost nothing.
_POLL_S: Final = 0.25
# Reason: a longer lap means that we did not run ourselves (suspended, frozen, starved),
# and then a child's silence is no fault of its own.
_LAP_MAX_S: Final = 2 * _POLL_S
_START_TRIES: Final = 5  # young deaths in a row before the node was ever ready
_DRAIN_MARGIN_S: Final = 0.5  # a worker cuts what is left by itself, before we do
_AGENT_LEAVES_S: Final = 2.0  # to publish what its journal still holds
_STOP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for counters and shared memory.

    kind: started, up, died, killed, ready, draining, stopping, rolled.
    role: Whose; None for the node. code: Exit code of a death, or minus the signal.
    """

    kind: str
    role: Role | None = None
    code: int = 0


class _Stage(enum.Enum):
    RUNNING = 1
    DRAINING = 2
    LEAVING = 3
    STOPPING = 4


class Supervisor:
    """One object per node; `run` is its whole life."""

    def __init__(
        self,
        *,
        roles: Sequence[Role],
        log: structlog.typing.FilteringBoundLogger,
        drain_s: float,
        watchdog: Callable[[Role], int | None],
        hang_limit_s: float = 5.0,
        start_limit_s: float = 30.0,
        on_event: Callable[[Event], None] = lambda _: None,
        processes: Processes | None = None,
        notify: Callable[[str], None] = sd_notify,
    ) -> None:
        """Take over the roles; nothing is started before `run`.

        roles: Started in this order. drain_s: What workers get to finish, the delay in
            which they still accept included.
        watchdog: Last heartbeat of a role in any growing unit; None where the role has
            none. Only its change counts, as seen by this process while it runs itself.
        hang_limit_s: Silence after which a child is killed.
        start_limit_s: The same before its first heartbeat.
        on_event: Called with each Event, before the signals that it leads to.
        notify: Tells the service manager.
        """
        self._children = [Child(role) for role in roles]
        self._log = log
        self._drain_s = drain_s
        self._watchdog = watchdog
        self._hang_limit_s = hang_limit_s
        self._start_limit_s = start_limit_s
        self._on_event = on_event
        self._os: Processes = processes if processes is not None else OsProcesses()
        self._notify = notify
        self._stage = _Stage.RUNNING
        self._exit_code = 0
        self._was_ready = False
        self._to_roll: list[Child] = []
        self._rolling: Child | None = None
        self._now_s = self._watched_s = 0.0
        self._ping_every_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 3e6
        self._pinged_s = 0.0

    def run(self) -> int:
        """Keep the node alive until it is told to end; returns the exit code.

        0 after an orderly end; 78 where a child says so before the node was ready; 1
        where one cannot start at all.
        """
        self._os.open()
        self._watched_s = self._os.now_s()
        try:
            while (code := self._step()) is None:
                signum = self._os.wait(self._pause_s())
                if signum is not None:
                    self._on_signal(signum)
        finally:
            self._abandon()
        return code

    # What happens between two waits.

    def _step(self) -> int | None:
        """Do what is due; returns the exit code when nobody is left to keep."""
        self._now_s = self._os.now_s()
        for pid, code in self._os.reap():
            for child in self._children:
                if child.pid == pid:
                    self._bury(child, code)
        lap_s = min(self._now_s - self._watched_s, _LAP_MAX_S)
        self._watched_s = self._now_s
        for child in self._children:
            if child.pid:
                self._watch(child, lap_s)
        self._roll()
        for child in self._children:
            if self._may_start(child):
                self._start(child)
        self._announce()
        return self._next_stage()

    def _pause_s(self) -> float:
        due = [
            child.kill_at_s if child.pid else child.due_s
            for child in self._children
            if child.pid or self._may_ever_start(child)
        ]
        until = min(due, default=math.inf) - self._now_s
        return max(0.0, min(_POLL_S, until))

    def _next_stage(self) -> int | None:
        alive = [child for child in self._children if child.pid]
        if self._stage is _Stage.DRAINING and all(child.is_agent for child in alive):
            self._stage = _Stage.LEAVING
            for child in alive:
                self._ask_to_leave(child, _AGENT_LEAVES_S)
        if self._stage in {_Stage.LEAVING, _Stage.STOPPING} and not alive:
            self._log.info("stopped", code=self._exit_code)
            return self._exit_code
        return None

    def _announce(self) -> None:
        if not self._was_ready and all(child.up for child in self._children):
            self._was_ready = True
            self._notify("READY=1")
            self._on_event(Event("ready"))
            self._log.info("all processes are up", processes=len(self._children))
        if self._ping_every_s and self._now_s - self._pinged_s >= self._ping_every_s:
            self._pinged_s = self._now_s
            self._notify("WATCHDOG=1")

    # One child.

    def _may_ever_start(self, child: Child) -> bool:
        if self._stage is _Stage.RUNNING:
            return True
        # Revocations must reach the workers that still finish their requests.
        return self._stage is _Stage.DRAINING and child.is_agent

    def _may_start(self, child: Child) -> bool:
        due = not child.pid and self._now_s >= child.due_s
        return due and self._may_ever_start(child)

    def _start(self, child: Child) -> None:
        child.begin(self._now_s, self._watchdog(child.role))
        try:
            child.pid = self._os.start(child.role)
        except OSError as exc:
            self._log.error(
                "cannot start a process", role=child.role.title, reason=exc.strerror
            )
            self._after_death(child, 1)
            return
        self._log.info("started", role=child.role.title, pid=child.pid)
        self._on_event(Event("started", child.role))

    def _watch(self, child: Child, lap_s: float) -> None:
        if child.hear(self._watchdog(child.role), self._now_s, lap_s):
            self._on_event(Event("up", child.role))
        limit_s = self._hang_limit_s if child.up else self._start_limit_s
        if child.silent_s >= limit_s:
            child.silent_s = 0.0
            self._kill(child, "it gave no sign of life")
        elif self._now_s >= child.kill_at_s:
            self._kill(child, "it did not end in time")

    def _kill(self, child: Child, reason: str) -> None:
        child.kill_at_s = math.inf
        self._log.warning("killed", role=child.role.title, pid=child.pid, reason=reason)
        self._on_event(Event("killed", child.role))
        self._os.kill(child.pid, signal.SIGKILL)

    def _bury(self, child: Child, code: int) -> None:
        """Note the end of a child that was reaped."""
        pid, child.pid = child.pid, 0
        child.kill_at_s = math.inf
        self._on_event(Event("died", child.role, code))
        if child.leaving:
            child.young_deaths = 0
            child.due_s = self._now_s
            self._log.info("ended", role=child.role.title, pid=pid, code=code)
            return
        self._log.warning(
            "died", role=child.role.title, pid=pid, code=code, cause=_cause(code)
        )
        self._after_death(child, code)

    def _after_death(self, child: Child, code: int) -> None:
        """Decide when the successor starts, or that there is none."""
        pause_s = child.end(self._now_s)
        if self._stage is _Stage.STOPPING:
            return
        if not self._was_ready and code == EXIT_CONFIG:
            self._stop_now(EXIT_CONFIG)
        elif not self._was_ready and child.young_deaths >= _START_TRIES:
            self._log.error("cannot start", role=child.role.title)
            self._stop_now(1)
        elif pause_s:
            self._log.warning(
                "crash loop",
                role=child.role.title,
                deaths=child.young_deaths,
                pause_s=pause_s,
            )

    def _ask_to_leave(self, child: Child, patience_s: float) -> None:
        child.leaving = True
        child.kill_at_s = self._now_s + patience_s
        self._os.kill(child.pid, signal.SIGTERM)

    # Signals.

    def _on_signal(self, signum: int) -> None:
        self._now_s = self._os.now_s()
        match signum:
            case signal.SIGCHLD:
                pass  # the next step reaps
            case signal.SIGTERM if self._stage is _Stage.RUNNING:
                self._drain()
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                self._stop_now(self._exit_code)
            case signal.SIGHUP:
                self._reload()
            case signal.SIGUSR1:
                self._forward(signum, self._children)
            case signal.SIGUSR2:
                self._begin_to_roll()
            case _:
                name = signal.Signals(signum).name
                self._log.warning(
                    "ignored: the number of workers is set by the configuration",
                    signal=name,
                )

    def _forward(self, signum: int, children: Sequence[Child]) -> None:
        for child in children:
            if child.pid:
                self._os.kill(child.pid, signum)

    def _reload(self) -> None:
        # Reloading is over for the service manager when the agent was told: it answers
        # in log, metrics and admin API, and a bad file changes nothing.
        now_us = int(self._now_s * 1e6)
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={now_us}")
        self._forward(signal.SIGHUP, [c for c in self._children if c.is_agent])
        if self._was_ready:
            self._notify("READY=1")

    def _drain(self) -> None:
        self._stage = _Stage.DRAINING
        self._stop_rolling()
        self._notify("STOPPING=1")
        self._log.info("draining", limit_s=self._drain_s)
        self._on_event(Event("draining"))
        for child in self._children:
            if child.pid and not child.is_agent and not child.leaving:
                self._ask_to_leave(child, self._drain_s + _DRAIN_MARGIN_S)

    def _stop_now(self, code: int) -> None:
        if self._stage is _Stage.STOPPING:  # asked again: patience is over
            for child in self._children:
                child.kill_at_s = self._now_s
            return
        if self._stage is _Stage.RUNNING:
            self._notify("STOPPING=1")
        self._stage = _Stage.STOPPING
        self._stop_rolling()
        self._exit_code = code
        self._log.info("stopping now", code=code)
        self._on_event(Event("stopping"))
        for child in self._children:
            if child.pid:
                child.leaving = True
                child.kill_at_s = self._now_s + _STOP_S
                self._os.kill(child.pid, signal.SIGINT)

    # Rolling restart: one worker at a time, each on the socket of its predecessor.

    def _begin_to_roll(self) -> None:
        if self._stage is not _Stage.RUNNING or self._rolling or self._to_roll:
            self._log.warning("no rolling restart now: one is under way, or the end is")
            return
        self._to_roll = [child for child in self._children if not child.is_agent]
        self._log.info("rolling restart", workers=len(self._to_roll))

    def _roll(self) -> None:
        current = self._rolling
        if current is not None:
            if current.leaving:
                return
            if current.young_deaths:
                # What cannot start must not take those that still work.
                self._log.error("rolling restart ended", role=current.role.title)
                self._stop_rolling()
                return
            if not current.up:
                return
            self._on_event(Event("rolled", current.role))
            self._rolling = None
        while self._to_roll and self._rolling is None:
            child = self._to_roll.pop(0)
            if child.pid:  # else its successor, which is due, is new anyway
                self._rolling = child
                self._ask_to_leave(child, self._drain_s + _DRAIN_MARGIN_S)

    def _stop_rolling(self) -> None:
        self._to_roll.clear()
        self._rolling = None

    def _abandon(self) -> None:
        """Leave nobody behind; there is somebody only where `run` failed."""
        for child in self._children:
            if child.pid:
                self._os.kill(child.pid, signal.SIGKILL)
        self._os.reap()


def _cause(code: int) -> str:
    if code >= 0:
        return "exit"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return "signal"
