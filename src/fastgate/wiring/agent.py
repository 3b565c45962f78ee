"""Agent role: the parts of the agent process, put together.

Owns:      nothing after the build.
Called by: wiring.supervisor, in the forked agent.
"""

import asyncio
import logging
import mmap
import os
import pathlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from fastgate.adapters.agent_link import AgentLinks
from fastgate.adapters.clock import SystemClock
from fastgate.adapters.http_fetch import HttpFetcher
from fastgate.adapters.key_files import KeyFiles
from fastgate.adapters.local_journal import LocalJournal
from fastgate.adapters.log_writer import AuditLog
from fastgate.adapters.prometheus import MetricsPage
from fastgate.adapters.shared_document import SharedDocument
from fastgate.adapters.shared_memory import (
    Views,
)
from fastgate.adapters.snapshot_file import SnapshotFile
from fastgate.admin.api import AdminListener
from fastgate.admin.intake import IntakeListener
from fastgate.admin.status_page import StatusListener
from fastgate.config.model import Config
from fastgate.control.agent import Agent, AgentParts, key_sources
from fastgate.control.agent_metrics import ColumnFollower, samples
from fastgate.control.alarms import Alarms
from fastgate.control.canaries import Canaries
from fastgate.control.compact_jws import JwsVerifier
from fastgate.control.explain import Explainer
from fastgate.control.feed import Feed
from fastgate.control.feed_settings import FeedSettings
from fastgate.control.follower import Follower
from fastgate.control.intake import Intake
from fastgate.control.intake_rules import intake_rules
from fastgate.control.introspection import Introspections
from fastgate.control.keyring import Keyring
from fastgate.control.reload import Reloader
from fastgate.control.set_poller import SetPollers
from fastgate.control.status_lists import StatusLists
from fastgate.control.stream_keeper import StreamKeepers
from fastgate.control.ways_in import WaysIn
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.metric_plan import TABLE_COLUMNS
from fastgate.domain.snapshot import Snapshot
from fastgate.errors import ControlError
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys
from fastgate.wiring.buses import build_bus, lifetimes_of
from fastgate.wiring.compiled import counters, decisions, revocations
from fastgate.wiring.listener_tls import intake_tls
from fastgate.wiring.node import (
    Node,
    metric_plan,
    on_signals,
    revocation_reader,
    status_board,
)
from fastgate.wiring.shared_snapshots import build_shared_snapshots
from fastgate.wiring.signing import build_seal

__all__ = ["run_agent"]

_log = logging.getLogger(__name__)

# Reason: explanations are asked one at a time, by people.
_EXPLAIN_FACTS = 64


async def run_agent(node: Node) -> int:
    """Run the agent on this loop until SIGTERM; returns the exit code."""
    for sock in node.data:
        sock.close()
    config, clock = node.config, node.clock
    views = node.memory.writer_view()
    agent, lasting = _build_agent(node, views)
    admin = AdminListener(agent, token=agent.admin_token, names=[config.admin.host])
    status = StatusListener(agent)
    intake = IntakeListener(lasting.intake)
    links = AgentLinks(
        node.links.agent_ends(),
        on_ask=agent.asked,
        on_note=lasting.noting(agent),
        log=structlog.get_logger("fastgate.agent"),
    )
    lasting.canaries.tell = lasting.intake.tell = links.tell
    ending = on_signals(
        {
            signal.SIGHUP: lambda: _reload_by_signal(agent),
            signal.SIGUSR1: lasting.audit_reopened,
        }
    )
    views.beat(clock.boot_ns())
    links.start()
    await status.start(node.status)
    await agent.start()
    await admin.start(node.admin)
    tls = intake_tls(config)
    if node.intake is not None:
        tls.start()
        await intake.start(node.intake, tls=tls.context)
    await ending
    tls.stop()
    await intake.stop()
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
    intake: Intake
    canaries: Canaries

    def noting(self, agent: Agent) -> Callable[[int, str, object], None]:
        """Return who takes the notes of workers."""

        def noted(slot: int, kind: str, data: object) -> None:
            if kind == "canary":
                self.canaries.judged(data)
            elif kind == "tap":
                self.intake.noted(data)
            else:
                agent.noted(slot, kind, data)

        return noted

    async def audit_reopened(self) -> None:
        try:
            await asyncio.to_thread(self.audit.reopen)
        except ControlError as error:
            _log.error("%s: lines go on to the old file", error)


async def _reload_by_signal(agent: Agent) -> None:
    """Reload, and leave the audit line that one through the admin API leaves."""
    outcome = await agent.reload()
    line = {"outcome": "done" if outcome["result"] == "success" else "refused"}
    try:
        await asyncio.to_thread(agent.audit, "signal", "reload", line)
    except ControlError as error:
        # Whoever sends signals is not asked to wait: the log is the second witness.
        _log.error("%s: a reload by signal", error)


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
    # Not what the supervisor began with: a reload may have come since.
    feed = _build_feed(follower.config, clock, writer, alarms, keyring)
    reader = revocation_reader(views, None)
    board = status_board(views, writable=True)
    explain_gate = Gate(decisions.DecisionCache(_EXPLAIN_FACTS), reader, statuses=board)
    introspection = Introspections(fetcher=fetcher, clock=clock, alarms=alarms.set)

    async def apply(newer: Config) -> None:
        follower.refresh()
        feed.reconfigure(_feed_settings(newer))
        await keyring.reconfigure(key_sources(newer))
        await ways.follow(newer)

    audit = AuditLog(pathlib.Path(config.state_dir) / "audit.jsonl")
    verifier = _verifier(follower, keyring)
    intake = Intake(
        intake_rules(follower.config),
        verifier=verifier,
        enter=lambda asked: agent.enter(asked, wait="local"),
        audit=audit.append,
        lifetimes=lambda: feed.settings.lifetimes,
        clock=clock,
        alarms=alarms.set,
    )
    ways = WaysIn(
        intake=intake,
        pollers=SetPollers(
            fetcher=fetcher, take=intake.polled, clock=clock, alarms=alarms.set
        ),
        keepers=StreamKeepers(
            fetcher=fetcher, streams=intake.streams, alarms=alarms.set
        ),
        lists=StatusLists(
            board=board,
            fetcher=fetcher,
            verifier=verifier,
            clock=clock,
            alarms=alarms.set,
        ),
    )
    agent = Agent(
        AgentParts(
            feed=feed,
            keyring=keyring,
            index=writer,
            follower=follower,
            explainer=Explainer(explain_gate, clock, introspection, reader.evidence),
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
            ways=ways,
            page=pages.render,
            draining_since_ns=views.draining_since_ns,
            beat=views.beat,
            commit=os.environ.get("FASTGATE_COMMIT", "unknown"),
        ),
        workers=len(node.data),
    )
    pages.status = agent.status
    return agent, _Lasting(fetcher, audit, intake, feed.canaries)


def _verifier(follower: Follower, keyring: Keyring) -> JwsVerifier:
    def keys_of(alias: str) -> IssuerKeys | None:
        # What was just fetched counts at once, not with the next tick.
        follower.refresh()
        snapshot = follower.cell.current
        for profile, keys in zip(snapshot.issuers, snapshot.keys, strict=True):
            if profile.alias == alias:
                return keys
        return None

    return JwsVerifier(keys=keys_of, asked=keyring.asked)


def _publish(document: SharedDocument, config: Config) -> None:
    document.publish(config.to_document())


def _freeing(views: Views) -> Callable[[int, int, int], object]:
    arenas = (views.arena0, views.arena1)

    def free(index: int, offset: int, size_bytes: int) -> None:
        arenas[index].madvise(mmap.MADV_REMOVE, offset, size_bytes)

    return free


def _build_feed(
    config: Config,
    clock: SystemClock,
    writer: revocations.RevocationWriter,
    alarms: Alarms,
    keyring: Keyring,
) -> Feed:
    rules = config.revocation
    journal = LocalJournal(
        pathlib.Path(config.state_dir), config.node_name, only_copy=rules.is_local
    )
    settings = _feed_settings(config)
    bus = build_bus(config, journal, settings.lifetimes.longest_s)
    seal = build_seal(rules.signing, config.node_name)
    return Feed(
        region=config.region,
        node=config.node_name,
        origins=config.origins,
        standalone=rules.is_local,
        journal=journal,
        bus=bus,
        writer=writer,
        clock=clock,
        settings=settings,
        alarms=alarms.set,
        held_keys=keyring.named,
        snapshots=SnapshotFile(pathlib.Path(config.state_dir), settings.hash_key),
        shared=build_shared_snapshots(
            config, bus, journal=journal, settings=settings, seal=seal, clock=clock
        ),
        seal=seal,
    )


def _feed_settings(config: Config) -> FeedSettings:
    rules = config.revocation
    return FeedSettings(
        lifetimes=lifetimes_of(config),
        hash_key=rules.hash_key.reveal().encode() if rules.hash_key else b"",
        old_hash_keys=tuple(old.reveal().encode() for old in rules.old_hash_keys),
        capacity=rules.capacity,
        canary_s=rules.canary_interval.total_seconds(),
        default_origin=config.regions.default,
        issuer_homes={
            issuer.issuer: issuer.home
            for issuer in config.issuers.values()
            if issuer.home
        },
    )


class _Pages:
    """The metrics page and columns of the configuration in force."""

    def __init__(self, node: Node, views: Views) -> None:
        self._node = node
        self._view = views.counters
        self.status: Callable[[], dict[str, Any]] = dict
        self.columns: ColumnFollower
        self._page: MetricsPage
        self._layout: int | None = None

    def adopt(self, snapshot: Snapshot, _: Config) -> None:
        """Lay out page and columns for a snapshot.

        Where every column means what it meant, counts go on from where they are: begun
        anew, this agent's own would be added to themselves.
        """
        plan = metric_plan(snapshot)
        if plan.layout == self._layout:
            return
        self._layout = plan.layout
        rows = self._node.rows
        row = counters.CounterRow(self._view, rows - 1, plan.columns, plan.layout)
        table = counters.CounterTable(self._view, rows, TABLE_COLUMNS, plan.layout)
        self.columns = ColumnFollower(plan, row)
        self._page = MetricsPage(table, plan, lambda: samples(self.status()))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type."""
        return self._page.render(accept)
