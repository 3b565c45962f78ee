"""Wiring: the only place that builds objects, one function per process role.

Owns:      nothing after the build; no logic lives here.
Called by: cli.serve. Everything below `serve` runs in a forked child.
"""

import asyncio
import logging
import mmap
import os
import pathlib
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
import uvloop

from fastgate._ext import counters, revocations
from fastgate._ext.decisions import DecisionCache
from fastgate.adapters.agent_link import AgentLinks, LinkPairs, WorkerLink
from fastgate.adapters.aiohttp_client.pool import UpstreamPool
from fastgate.adapters.aiohttp_server.lane import GeneralLane
from fastgate.adapters.clock import SystemClock
from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.adapters.key_files import KeyFiles
from fastgate.adapters.local_bus import LocalBus
from fastgate.adapters.local_journal import LocalJournal
from fastgate.adapters.log_writer import AccessLog, AuditLog
from fastgate.adapters.prometheus import MetricsPage
from fastgate.adapters.shared_document import SharedDocument
from fastgate.adapters.shared_memory import (
    AGENT_CHILD,
    SharedMemory,
    Views,
    worker_child,
)
from fastgate.admin.api import AdminListener
from fastgate.admin.status_page import StatusListener
from fastgate.config.model import Config
from fastgate.control.agent import Agent, AgentParts, key_sources
from fastgate.control.agent_metrics import ColumnFollower, samples
from fastgate.control.alarms import Alarms
from fastgate.control.explain import Explainer
from fastgate.control.feed import Feed
from fastgate.control.feed_settings import FeedSettings
from fastgate.control.follower import Follower
from fastgate.control.introspection import Introspections
from fastgate.control.keyring import Keyring
from fastgate.control.listeners import bind_listener, bind_listeners, close_listeners
from fastgate.control.process import Role
from fastgate.control.reload import Reloader
from fastgate.control.supervisor import Event, Supervisor
from fastgate.control.worker import Worker
from fastgate.domain.entry import Lifetimes
from fastgate.domain.metric_plan import TABLE_COLUMNS, MetricPlan
from fastgate.domain.snapshot import Snapshot
from fastgate.errors import StartError
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys
from fastgate.hotpath.relay import Relay
from fastgate.hotpath.tally import Tally
from fastgate.hotpath.upstreams import UpstreamHealth
from fastgate.ports import Bus

__all__ = ["serve"]

# Reason: 64 issuers with their largest usual key sets; half of a segment is usable.
_KEYS_BYTES = 8 << 20
# Reason: a configuration file is at most 1 MiB; its document is not much larger.
_CONFIG_BYTES = 8 << 20
_EXPLAIN_FACTS = 64


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
    peer_key: bytes
    clock: SystemClock

    @property
    def rows(self) -> int:
        """Rows of the counter table: one a worker, the agent's last."""
        return len(self.data) + 1


def serve(config: Config, path: str) -> int:
    """Run the gateway until it is told to end; returns the exit code.

    config: As `config.load` accepted it. path: Its file, for reloads.
    Raises StartError where a socket, the memory or the state directory is refused.
    """
    _log_to_stderr(config)
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
        close_listeners([*node.data, node.admin, node.status])


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
    build = _run_agent(node) if slot is None else _run_worker(node, slot)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(build)


# -- agent -----------------------------------------------------------------------------


async def _run_agent(node: Node) -> int:
    for sock in node.data:
        sock.close()
    config, clock = node.config, node.clock
    views = node.memory.writer_view()
    agent, lasting = _build_agent(node, views)
    admin = AdminListener(agent, token=agent.admin_token, names=[config.admin.host])
    status = StatusListener(agent)
    links = AgentLinks(
        node.links.agent_ends(),
        on_ask=agent.asked,
        on_note=agent.noted,
        log=structlog.get_logger("fastgate.agent"),
    )
    ending = _signals(
        {
            signal.SIGHUP: agent.reload,
            signal.SIGUSR1: lasting.audit_reopened,
        }
    )
    views.beat(clock.boot_ns())
    links.start()
    await status.start(node.status)
    await agent.start()
    await admin.start(node.admin)
    await ending
    await admin.stop()
    await agent.stop()
    await links.stop()
    await status.stop()
    await lasting.fetcher.close()
    return 0


@dataclass(frozen=True, slots=True)
class _Lasting:
    """What the agent's process closes itself."""

    fetcher: HttpFetcher
    audit: AuditLog

    async def audit_reopened(self) -> None:
        self.audit.reopen()


def _build_agent(node: Node, views: Views) -> tuple[Agent, _Lasting]:
    config, clock = node.config, node.clock
    alarms = Alarms()
    keys = SharedDocument(views.keys, writable=True)
    published = SharedDocument(views.config, writable=True)
    if published.version() == 0:
        published.publish(config.to_document())
    writer = revocations.RevocationWriter(
        views.control,
        views.arena0,
        views.arena1,
        views.slots,
        origins=len(config.origins),
        now_s=int(clock.wall_s()),
        free=_freeing(views),
    )
    pages = _Pages(node, views)
    follower = Follower(
        config=published,
        keys=keys,
        inherited=config,
        build_keys=build_keys,
        adopted=pages.adopt,
    )
    pages.adopt(follower.cell.current, follower.config)
    fetcher = HttpFetcher()
    keyring = Keyring(
        issuers=key_sources(follower.config),
        fetcher=fetcher,
        clock=clock,
        store=KeyFiles(config.state_dir),
        publish=keys.publish,
        alarms=alarms.set,
    )
    feed = _build_feed(config, clock, writer, alarms)
    explain_gate = Gate(DecisionCache(_EXPLAIN_FACTS), _reader(views, None))
    introspection = Introspections(fetcher=fetcher, clock=clock, alarms=alarms.set)

    async def apply(newer: Config) -> None:
        follower.refresh()
        await keyring.reconfigure(key_sources(newer))

    audit = AuditLog(pathlib.Path(config.state_dir) / "audit.jsonl")
    agent = Agent(
        AgentParts(
            feed=feed,
            keyring=keyring,
            index=writer,
            follower=follower,
            explainer=Explainer(explain_gate, clock, introspection),
            reloader=Reloader(
                config=follower.config,
                path=node.path,
                publish=lambda newer: _publish(published, newer),
                apply=apply,
            ),
            audit=audit,
            alarms=alarms,
            clock=clock,
            columns=lambda: pages.columns,
            page=pages.render,
            draining_since_ns=views.draining_since_ns,
            beat=views.beat,
            commit=os.environ.get("FASTGATE_COMMIT", "unknown"),
        ),
        workers=len(node.data),
    )
    pages.status = agent.status
    return agent, _Lasting(fetcher, audit)


def _publish(document: SharedDocument, config: Config) -> None:
    document.publish(config.to_document())


def _freeing(views: Views) -> Callable[[int, int, int], object]:
    arenas = (views.arena0, views.arena1)

    def free(index: int, offset: int, size_bytes: int) -> None:
        arenas[index].madvise(mmap.MADV_REMOVE, offset, size_bytes)

    return free


def _reader(views: Views, slot: int | None) -> revocations.RevocationReader:
    return revocations.RevocationReader(
        views.control, views.arena0, views.arena1, views.slots, slot
    )


def _build_feed(
    config: Config,
    clock: SystemClock,
    writer: revocations.RevocationWriter,
    alarms: Alarms,
) -> Feed:
    rules = config.revocation
    journal = LocalJournal(pathlib.Path(config.state_dir), config.node_name)
    leeways = [issuer.leeway.total_seconds() for issuer in config.issuers.values()]
    lifetimes = Lifetimes(
        max_token_s=int(rules.max_token_lifetime.total_seconds()),
        max_session_s=int(rules.max_session_lifetime.total_seconds()),
        leeway_s=int(max(leeways, default=5)),
    )
    bus: Bus = (
        LocalBus(journal, config.region)
        if rules.is_local
        else _nats_bus(config, lifetimes.longest_s)
    )
    return Feed(
        region=config.region,
        node=config.node_name,
        origins=config.origins,
        standalone=rules.is_local,
        journal=journal,
        bus=bus,
        writer=writer,
        clock=clock,
        settings=FeedSettings(
            lifetimes=lifetimes,
            hash_key=rules.hash_key.reveal().encode() if rules.hash_key else b"",
            default_origin=config.regions.default,
            issuer_homes={
                issuer.issuer: issuer.home
                for issuer in config.issuers.values()
                if issuer.home
            },
        ),
        alarms=alarms.set,
    )


def _nats_bus(config: Config, longest_s: int) -> Bus:
    try:
        # An extra: a gateway with the local bus needs no NATS client.
        from fastgate.adapters.nats_bus.bus import NatsBus  # noqa: PLC0415
        from fastgate.adapters.nats_bus.link import NatsSettings  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise StartError(
            "revocation.bus is NATS, but its client is not installed: "
            'pip install "fastgate[nats]"'
        ) from missing
    nats = config.revocation.nats
    settings = NatsSettings(
        servers=(config.revocation.bus,),
        credentials=pathlib.Path(nats.credentials) if nats.credentials else None,
        user=nats.user,
        password=nats.password.reveal() if nats.password else None,
        replicas=nats.replicas,
        max_bytes=config.revocation.stream_bytes,
        max_age_s=max(int(nats.retention.total_seconds()), longest_s),
    )
    return NatsBus(
        settings,
        region=config.region,
        node=config.node_name,
        origins=config.origins,
    )


class _Pages:
    """The metrics page and columns of the configuration in force."""

    def __init__(self, node: Node, views: Views) -> None:
        self._node = node
        self._view = views.counters
        self.status: Callable[[], dict[str, Any]] = dict
        self.columns: ColumnFollower
        self._page: MetricsPage

    def adopt(self, snapshot: Snapshot, _: Config) -> None:
        """Lay out page and columns for a snapshot."""
        plan = _plan(snapshot)
        rows = self._node.rows
        row = counters.CounterRow(self._view, rows - 1, plan.columns, plan.layout)
        table = counters.CounterTable(self._view, rows, TABLE_COLUMNS, plan.layout)
        self.columns = ColumnFollower(plan, row)
        self._page = MetricsPage(table, plan, lambda: samples(self.status()))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type."""
        return self._page.render(accept)


def _plan(snapshot: Snapshot) -> MetricPlan:
    regions = snapshot.regions
    return MetricPlan(
        routes=snapshot.route_names(),
        regions=regions.names,
        issuers=[profile.alias for profile in snapshot.issuers],
        own_region=regions.names[regions.own],
    )


# -- worker ----------------------------------------------------------------------------


async def _run_worker(node: Node, slot: int) -> int:
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
    decisions = DecisionCache(config.limits.cached_tokens)
    plan = _plan(follower.cell.current)
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
        cache_stats=decisions.stats,
    )
    relay = Relay(
        gate=Gate(decisions, _reader(views, slot)),
        cell=follower.cell,
        key_asker=worker,
        introspector=Introspections(fetcher=fetcher, clock=clock, alarms=worker.alarm),
        dialer=pool,
        health=UpstreamHealth(),
        clock=clock,
        access_log=access_log,
    )

    def adopt(snapshot: Snapshot, _: Config) -> None:
        relay.adopt(snapshot, _tally(views, slot, snapshot))

    adopt(follower.cell.current, config)
    follower.adopted = adopt
    lane = GeneralLane(relay, follower.cell)
    ending = _signals({signal.SIGUSR1: _reopening(access_log)})
    link.start()
    await worker.start()
    await lane.start(node.data[slot])
    await ending
    await worker.drain(lane)
    await worker.stop()
    link.stop()
    pool.close()
    await fetcher.close()
    access_log.close(1.0)
    return 0


def _tally(views: Views, slot: int, snapshot: Snapshot) -> Tally:
    plan = _plan(snapshot)
    row = counters.CounterRow(views.counters, slot, plan.columns, plan.layout)
    for column in plan.gauge_columns:
        row.set(column, 0)
    regions = snapshot.regions
    return Tally(
        plan,
        row,
        routes=snapshot.route_names(),
        regions=regions.names,
        own=regions.names[regions.own],
    )


def _reopening(log: AccessLog) -> Callable[[], Coroutine[Any, Any, None]]:
    async def reopen() -> None:
        log.reopen()

    return reopen


# -- both ------------------------------------------------------------------------------


def _signals(
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


def _log_to_stderr(config: Config) -> None:
    """Write the log of control plane and libraries to stderr, one line an event."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if terminal
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log.level.value.upper())
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
