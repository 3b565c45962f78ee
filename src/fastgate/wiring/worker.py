"""Worker role: the parts of a worker process, put together.

Owns:      nothing after the build.
Called by: wiring.supervisor, in each forked worker.
"""

import asyncio
import pathlib
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastgate.adapters.agent_link import WorkerLink
from fastgate.adapters.aiohttp_client.pool import UpstreamPool
from fastgate.adapters.aiohttp_server.lane import GeneralLane
from fastgate.adapters.allocator import keep_freed_memory
from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.adapters.log_writer import AccessLog
from fastgate.adapters.shared_document import SharedDocument
from fastgate.adapters.shared_memory import (
    Views,
)
from fastgate.config.model import Config
from fastgate.control.canary_judge import CanaryJudge
from fastgate.control.follower import Follower
from fastgate.control.introspection import Introspections
from fastgate.control.worker import Worker
from fastgate.domain.snapshot import Snapshot, SnapshotCell
from fastgate.hotpath.desk import Desk
from fastgate.hotpath.failures import Failures
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys
from fastgate.hotpath.live import LiveExchanges
from fastgate.hotpath.relay import Relay
from fastgate.hotpath.tally import Tally
from fastgate.hotpath.tap import Tap
from fastgate.hotpath.upstreams import UpstreamHealth
from fastgate.wiring.compiled import counters, decisions, http1
from fastgate.wiring.listener_tls import ListenerTls
from fastgate.wiring.node import (
    Node,
    metric_plan,
    on_signals,
    revocation_reader,
    status_board,
)

__all__ = ["run_worker"]


async def run_worker(node: Node, slot: int) -> int:
    """Run the worker of a slot until SIGTERM and drained; returns the exit code."""
    keep_freed_memory()
    # Whoever takes a worker over must not be able to accept for the others.
    for other, sock in enumerate(node.data):
        if other != slot:
            sock.close()
    node.admin.close()
    node.status.close()
    clock = node.clock
    views = node.memory.reader_view(slot)
    link = WorkerLink(node.links.worker_end(slot))
    follower = Follower(
        config=SharedDocument(views.config, writable=False),
        keys=SharedDocument(views.keys, writable=False),
        inherited=node.config,
        build_keys=build_keys,
    )
    config = follower.config
    cache = decisions.DecisionCache(config.limits.cached_tokens)
    plan = metric_plan(follower.cell.current)
    row = counters.CounterRow(views.counters, slot, plan.columns, plan.layout)
    dropped = plan.column("fastgate_log_dropped_total", "access")
    access_log = AccessLog(
        lambda lines: row.add(dropped, lines),
        peer_key=node.peer_key,
        path=pathlib.Path(config.log.file) if config.log.file else None,
        sample=config.log.sample,
    )
    fetcher = HttpFetcher()
    pool = UpstreamPool()
    worker = Worker(
        slot=slot,
        follower=follower,
        link=link,
        clock=clock,
        beat=views.beat,
        draining_since_ns=views.draining_since_ns,
        cache_stats=cache.stats,
    )
    failures = Failures()
    revoked = revocation_reader(views, slot)
    gate = Gate(cache, revoked, failures, status_board(views, writable=False))
    health = UpstreamHealth()
    introspector = Introspections(
        fetcher=fetcher,
        clock=clock,
        alarms=worker.alarm,
        failures=failures,
        workers=len(node.data),
    )
    live = LiveExchanges(
        gate=gate,
        cell=follower.cell,
        clock=clock,
        introspector=introspector,
        urgent=revoked.urgent,
    )
    tap = Tap(
        notify=link.notify,
        revoked=revoked,
        introspector=introspector,
        clock=clock,
        alarm=worker.alarm,
    )
    relay = Relay(
        gate=gate,
        cell=follower.cell,
        key_asker=worker,
        introspector=introspector,
        dialer=pool,
        health=health,
        clock=clock,
        access_log=access_log,
        live=live,
        tap=tap,
    )

    canaries = _listening(link, introspector, CanaryJudge(revoked, clock, link))

    def adopt(snapshot: Snapshot, _: Config) -> None:
        relay.adopt(snapshot, _tally(views, slot, snapshot, canaries))
        failures.adopt(*snapshot.limits.failure_share(len(node.data)))

    adopt(follower.cell.current, config)
    follower.adopted = adopt
    desk = Desk(
        gate=gate,
        health=health,
        clock=clock,
        access_log=access_log,
        counting=relay,
        dialer=pool,
    )

    def front(
        loop: asyncio.AbstractEventLoop, general: Any, cell: SnapshotCell
    ) -> http1.Lane:
        live.lane = compiled = http1.Lane(loop, general, cell, desk)
        return compiled

    lane = GeneralLane(relay, follower.cell, front)
    ending = on_signals({signal.SIGUSR1: _reopening(access_log)})
    link.start()
    await worker.start()
    live.start()
    await _accept(lane, node.data[slot], config, ending)
    await worker.drain(lane)
    await live.stop()
    await worker.stop()
    link.stop()
    lane.close()
    pool.close()
    await fetcher.close()
    access_log.close(1.0)
    return 0


async def _accept(
    lane: GeneralLane, sock: socket.socket, config: Config, ending: Awaitable[object]
) -> None:
    tls = ListenerTls(config.tls)
    tls.start()
    await lane.start(sock, tls=tls.context)
    await ending
    tls.stop()


def _listening(
    link: WorkerLink, introspector: Introspections, canaries: CanaryJudge
) -> CanaryJudge:
    """Have each take what the agent tells all workers of its kind."""

    def told(kind: str, data: object) -> None:
        if kind == "claims_changed":
            introspector.told(data)
        else:
            canaries.told(kind, data)

    link.on_tell = told
    return canaries


def _tally(views: Views, slot: int, snapshot: Snapshot, canaries: CanaryJudge) -> Tally:
    plan = metric_plan(snapshot)
    row = counters.CounterRow(views.counters, slot, plan.columns, plan.layout)
    canaries.adopt(plan, row)
    for column in plan.gauge_columns:
        row.set(column, 0)
    return Tally.of(snapshot, row)


def _reopening(log: AccessLog) -> Callable[[], Coroutine[Any, Any, None]]:
    async def reopen() -> None:
        log.reopen()

    return reopen
