"""Node: what all processes of a gateway share, made before the first fork.

Owns:      nothing after the build.
Called by: wiring.supervisor makes it; agent and workers take their parts.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastgate.adapters.agent_link import LinkPairs
from fastgate.adapters.clock import SystemClock
from fastgate.adapters.shared_document import SharedDocument
from fastgate.adapters.shared_memory import SharedMemory, Views
from fastgate.adapters.status_board import StatusBoard
from fastgate.config.model import Config
from fastgate.domain.metric_plan import MetricPlan
from fastgate.domain.snapshot import Snapshot
from fastgate.wiring.compiled import revocations

__all__ = [
    "LISTS_BYTES",
    "Node",
    "metric_plan",
    "on_signals",
    "revocation_reader",
    "status_board",
]

# Reason: half a thousand million entries of one bit; an empty segment costs nothing.
LISTS_BYTES = 68 << 20
# Reason: thousands of lists with long URIs; both halves of the document.
_DIRECTORY_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """What the supervisor made before the first fork."""

    config: Config
    path: str
    memory: SharedMemory
    links: LinkPairs
    data: list[socket.socket]
    admin: socket.socket
    status: socket.socket
    intake: socket.socket | None
    peer_key: bytes
    clock: SystemClock

    @property
    def rows(self) -> int:
        """Rows of the counter table: one a worker, the agent's last."""
        return len(self.data) + 1


def metric_plan(snapshot: Snapshot) -> MetricPlan:
    """Return which counter column is which series, under a configuration."""
    regions = snapshot.regions
    return MetricPlan(
        routes=snapshot.route_names(),
        regions=regions.names,
        issuers=[profile.alias for profile in snapshot.issuers],
        own_region=regions.names[regions.own],
    )


def revocation_reader(views: Views, slot: int | None) -> revocations.RevocationReader:
    """Return a view on the index; a worker announces in its slot what it reads."""
    return revocations.RevocationReader(
        views.control, views.arena0, views.arena1, views.slots, slot
    )


def status_board(views: Views, *, writable: bool) -> StatusBoard:
    """Return a view on the status lists; the agent alone writes it."""
    whole = memoryview(views.lists)
    directory = SharedDocument(whole[:_DIRECTORY_BYTES], writable=writable)
    return StatusBoard(directory, whole[_DIRECTORY_BYTES:])


def on_signals(
    actions: dict[signal.Signals, Callable[[], Coroutine[Any, Any, object]]],
) -> "asyncio.Future[None]":
    """Answer signals on the running loop; the future is done with SIGTERM.

    SIGINT and SIGQUIT keep their default: they end the process at once.
    """
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[None] = loop.create_future()
    running: set[asyncio.Task[object]] = set()

    def end() -> None:
        if not ending.done():
            ending.set_result(None)

    def begin(action: Callable[[], Coroutine[Any, Any, object]]) -> None:
        task = loop.create_task(action())
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGTERM, end)
    for signum, action in actions.items():
        loop.add_signal_handler(signum, begin, action)
    return ending
