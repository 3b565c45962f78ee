"""A node whose roles do next to nothing, for tests of the real supervisor.

Started by tests/system/test_supervisor_signals.py with its settings as JSON in the
first argument. Every process writes one JSON line per thing that happens to it on
stdout, which is the pipe that the test reads; a line is written by one call, so lines
never mix.
"""

import ctypes
import json
import os
import pathlib
import resource
import signal
import socket
import sys
import time

import structlog

from fastgate.adapters.shared_memory import (
    AGENT_CHILD,
    SharedMemory,
    Views,
    worker_child,
)
from fastgate.config.addresses import Address
from fastgate.control.listeners import bind_listeners, close_listeners
from fastgate.control.supervisor import Event, Role, Supervisor

BEAT_S = 0.02
WATCHED = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
}


def say(what: str, role: str = "", **more: object) -> None:
    """Write one line to the test."""
    line = {"what": what, "role": role, "pid": os.getpid(), **more}
    os.write(1, json.dumps(line).encode() + b"\n")


def describe() -> dict[str, object]:
    """Return what the supervisor promised every child about itself."""
    prctl = ctypes.CDLL(None).prctl
    death = ctypes.c_int()
    prctl(2, ctypes.byref(death))  # PR_GET_PDEATHSIG
    return {
        "comm": pathlib.Path("/proc/self/comm").read_text().strip(),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "death_signal": death.value,
        "dumpable": prctl(3, 0, 0, 0, 0),  # PR_GET_DUMPABLE
        "no_new_privs": prctl(39, 0, 0, 0, 0),  # PR_GET_NO_NEW_PRIVS
        "notify": os.environ.get("NOTIFY_SOCKET"),
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "ignored": sorted(
            name.name for name in WATCHED if signal.getsignal(name) == signal.SIG_IGN
        ),
        "parent": os.getppid(),
    }


def live(
    role: str, views: Views, listener: socket.socket | None, habits: list[str]
) -> int:
    """Beat, answer connections, and tell the test about signals."""
    facts = describe()
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    say("up", role, **facts)
    while True:
        views.beat(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        if listener is not None:
            try:
                with listener.accept()[0] as connection:
                    connection.sendall(str(os.getpid()).encode())
            except BlockingIOError:
                pass
        found = signal.sigtimedwait(WATCHED, BEAT_S)
        if found is None:
            continue
        name = signal.Signals(found.si_signo).name
        say(name, role, draining=views.draining_since_ns() > 0)
        if name in {"SIGTERM", "SIGINT"} and "stubborn" not in habits:
            return 0


def main() -> int:
    """Be the supervisor of one agent and some workers."""
    settings = json.loads(sys.argv[1])
    workers = settings.get("workers", 2)
    habits = settings.get("habits", {})
    page = 4096
    memory = SharedMemory.create(
        arena_bytes=page,
        control_bytes=page,
        slots_bytes=page,
        counters_bytes=page,
        keys_bytes=page,
        config_bytes=page,
        workers=workers,
    )
    listeners = bind_listeners(Address("127.0.0.1", 0), workers)

    def role_of(name: str, slot: int) -> Role:
        title = "agent" if name == "agent" else f"worker{slot}"
        mine = habits.get(title, [])

        def run() -> int:
            for habit in mine:
                if habit.startswith("exit "):
                    say("exits", title)
                    return int(habit.split()[1])
                if habit == "raise":
                    raise ValueError("a fault of a role")
            views = (
                memory.writer_view() if name == "agent" else memory.reader_view(slot)
            )
            return live(
                title, views, listeners[slot] if name != "agent" else None, mine
            )

        return Role(name, slot, run)

    def on_event(event: Event) -> None:
        if event.kind == "draining":
            memory.set_draining(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        say(
            f"event {event.kind}",
            event.role.title if event.role else "",
            code=event.code,
        )

    say("supervisor", port=listeners[0].getsockname()[1])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    supervisor = Supervisor(
        roles=[role_of("agent", 0), *(role_of("worker", n) for n in range(workers))],
        log=structlog.get_logger(),
        drain_s=settings.get("drain_s", 20.0),
        watchdog=lambda role: memory.last_beat_ns(
            AGENT_CHILD if role.name == "agent" else worker_child(role.slot)
        ),
        hang_limit_s=settings.get("hang_limit_s", 15.0),
        on_event=on_event,
    )
    code = supervisor.run()
    close_listeners(listeners)
    return code


if __name__ == "__main__":
    sys.exit(main())
