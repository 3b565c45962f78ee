"""Supervisor role: sockets, shared memory and the roles; what `fastgate serve` runs.

Owns:      nothing after the build.
Called by: cli.serve.
"""

import asyncio
import os
import pathlib
import resource
from collections.abc import Callable

import structlog
import uvloop

from fastgate.adapters.agent_link import LinkPairs
from fastgate.adapters.clock import SystemClock
from fastgate.adapters.shared_memory import (
    AGENT_CHILD,
    SharedMemory,
    worker_child,
)
from fastgate.config.model import Config
from fastgate.control.listeners import bind_listener, bind_listeners, close_listeners
from fastgate.control.process import Role
from fastgate.control.supervisor import EXIT_CONFIG, Event, Supervisor
from fastgate.domain.metric_plan import TABLE_COLUMNS
from fastgate.errors import ConfigError, StartError
from fastgate.wiring.agent import run_agent
from fastgate.wiring.compiled import counters, revocations
from fastgate.wiring.installation import check_installation
from fastgate.wiring.listener_tls import ListenerTls, intake_tls
from fastgate.wiring.node import LISTS_BYTES, Node
from fastgate.wiring.process_log import log_to_stderr
from fastgate.wiring.worker import run_worker

__all__ = ["serve"]

# Reason: 64 issuers of 190 KB each, the largest set there is; half of it is usable.
_KEYS_BYTES = 32 << 20
# Reason: a configuration file is at most 1 MiB; its document is not much larger.
_CONFIG_BYTES = 8 << 20


def serve(config: Config, path: str) -> int:
    """Run the gateway until it is told to end; returns the exit code.

    config: As `config.load` accepted it. path: Its file, for reloads.
    Raises StartError where something is not installed, or a socket, the memory, the
    state directory or the certificate is refused.
    """
    check_installation(config)
    ListenerTls(config.tls)
    intake_tls(config)
    log_to_stderr(config)
    workers = config.workers or len(os.sched_getaffinity(0))
    node = _prepare(config, path, workers)
    roles = [Role("agent", 0, lambda: _run(node, None))]
    roles += [Role("worker", slot, _worker_of(node, slot)) for slot in range(workers)]
    drain_s = config.timeouts.drain_delay + config.timeouts.drain_timeout
    supervisor = Supervisor(
        roles=roles,
        log=structlog.get_logger("fastgate.supervisor"),
        drain_s=drain_s.total_seconds(),
        watchdog=lambda role: node.memory.last_beat_ns(_child(role)),
        on_event=lambda event: _on_event(node, event),
    )
    try:
        return supervisor.run()
    finally:
        intake = [] if node.intake is None else [node.intake]
        close_listeners([*node.data, node.admin, node.status, *intake])


def _prepare(config: Config, path: str, workers: int) -> Node:
    state = pathlib.Path(config.state_dir)
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"state_dir {state}: {error.strerror}") from error
    _raise_descriptor_limit()
    arena_bytes, control_bytes = revocations.layout(config.revocation.capacity)
    memory = SharedMemory.create(
        arena_bytes=arena_bytes,
        control_bytes=control_bytes,
        slots_bytes=revocations.SLOTS_BYTES,
        counters_bytes=counters.size(workers + 1, TABLE_COLUMNS),
        keys_bytes=_KEYS_BYTES,
        config_bytes=_CONFIG_BYTES,
        lists_bytes=LISTS_BYTES,
        workers=workers,
    )
    memory.begin(
        "counters",
        lambda view: counters.CounterTable(view, workers + 1, TABLE_COLUMNS),
    )
    return Node(
        config=config,
        path=path,
        memory=memory,
        links=LinkPairs.create(workers),
        data=bind_listeners(config.listen, workers),
        admin=bind_listener(config.admin),
        status=bind_listener(config.status),
        intake=bind_listener(config.intake.listen) if config.intake else None,
        peer_key=os.urandom(32),
        clock=SystemClock(),
    )


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _child(role: Role) -> int:
    return AGENT_CHILD if role.name == "agent" else worker_child(role.slot)


def _on_event(node: Node, event: Event) -> None:
    if event.kind == "draining":
        node.memory.set_draining(node.clock.boot_ns())


def _worker_of(node: Node, slot: int) -> Callable[[], int]:
    return lambda: _run(node, slot)


def _run(node: Node, slot: int | None) -> int:
    """Run a forked child: the agent, or the worker of a slot."""
    if slot is not None and node.intake is not None:
        node.intake.close()  # the agent's alone
    build = run_agent(node) if slot is None else run_worker(node, slot)
    log = structlog.get_logger("fastgate")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(build)
    except ConfigError as error:
        # The text says it all, so no traceback, here and below.
        log.error("bad configuration", reason=str(error))  # noqa: TRY400
        return EXIT_CONFIG
    except StartError as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400
        return 1
