"""Agent: the only writer of shared state, and what admin and status listeners show.

Owns:      the notes of the workers, and the tasks that keep the index in shape.
Called by: wiring builds it from its parts; admin asks it; one object per node.

It may be slow or fail: workers go on from the last good state until the freshness
contract says otherwise (DESIGN.md section 3).
"""

import asyncio
import logging
import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import fastgate
from fastgate.config.model import Config
from fastgate.control.agent_metrics import ColumnFollower
from fastgate.control.alarms import Alarms
from fastgate.control.explain import Explainer
from fastgate.control.feed import Feed, Receipt
from fastgate.control.follower import Follower
from fastgate.control.key_policy import KeySource
from fastgate.control.keyring import Keyring
from fastgate.control.reload import Reloader
from fastgate.control.steady import SteadyWall
from fastgate.control.ways_in import WaysIn
from fastgate.control.worker_notes import WorkerNotes
from fastgate.domain.entry import Entry, EntryError
from fastgate.domain.revocation import Kind
from fastgate.domain.snapshot import Snapshot
from fastgate.ports import Clock

__all__ = ["Agent", "AgentParts", "IndexKeeper", "key_sources"]

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
# Reason: slices of the upkeep take well under a millisecond, so events are not kept
# waiting; between two of them the loop runs.
_SLICE_SLOTS = 16_384
_BEAT_S = 0.25
_AGAIN_S = 1.0
# Reason: a receipt is asked for right after it was given, if at all.
_MAX_RECEIPTS = 1_000
_START_GRACE_NS = 30 * _NS


class IndexKeeper(Protocol):
    """The writer's upkeep, as the agent calls it."""

    def maintain(self, now_s: int, max_slots: int = ...) -> bool:
        """Do one slice; True while there is more to do."""
        ...

    def stats(self) -> dict[str, int]:
        """Return counts for status."""
        ...


class Audit(Protocol):
    """The audit log."""

    def append(self, actor: str, action: str, fields: Mapping[str, object]) -> None:
        """Write a line durably. Raises ControlError."""
        ...


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What wiring built for the agent.

    page: Renders /metrics for an Accept header.
    draining_since_ns: When the node began to drain, 0 where it does not.
    beat: Tells the supervisor that this loop runs.
    """

    feed: Feed
    keyring: Keyring
    index: IndexKeeper
    follower: Follower
    explainer: Explainer
    reloader: Reloader
    audit: Audit
    alarms: Alarms
    clock: Clock
    columns: Callable[[], ColumnFollower]
    ways: WaysIn
    page: Callable[[str], tuple[bytes, str]]
    draining_since_ns: Callable[[], int]
    beat: Callable[[int], None]
    commit: str


def key_sources(config: Config) -> tuple[KeySource, ...]:
    """Return where the keys of each issuer come from."""
    return tuple(
        KeySource(
            alias=alias,
            issuer=issuer.issuer,
            jwks_url=issuer.jwks_url,
            metadata_url=issuer.discovery_url,
            lifetime_s=issuer.effective_jwks_lifetime.total_seconds(),
            max_stale_s=issuer.jwks_max_stale.total_seconds(),
        )
        for alias, issuer in config.issuers.items()
    )


class Agent:
    """The facade that admin, status and signals talk to."""

    def __init__(self, parts: AgentParts, *, workers: int) -> None:
        self._parts = parts
        self._workers = WorkerNotes(workers, parts.clock, parts.alarms.set)
        self._started_ns = parts.clock.boot_ns()
        self._steady = SteadyWall(parts.clock)
        self._was_ready = False
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life ------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to serve the node; waits for nobody outside of it."""
        self._spawn(self._beat)
        self._spawn(self._keep_index)
        await self._parts.keyring.start()
        await self._parts.feed.start()
        await self._parts.ways.follow(self._parts.reloader.config)

    async def stop(self) -> None:
        """End all tasks; what the journal holds stays in it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._parts.ways.stop()
        await self._parts.keyring.stop()
        await self._parts.feed.stop()

    def _spawn(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def again() -> None:
            while True:
                try:
                    await job()
                except Exception:  # noqa: BLE001
                    # The last border of a task: an index that nobody cleans up, or an
                    # agent without a heartbeat, is worse than one failed round.
                    _log.exception("%s failed", job.__name__)
                await asyncio.sleep(_AGAIN_S)

        self._tasks.add(asyncio.create_task(again()))

    async def _beat(self) -> None:
        while True:
            self._parts.beat(self._parts.clock.boot_ns())
            self._parts.follower.refresh()
            await asyncio.sleep(_BEAT_S)  # waits for nothing but time

    async def _keep_index(self) -> None:
        parts = self._parts
        while True:
            # What is over leaves the index for good, so a wall clock that jumped ahead
            # must not end a revocation before its tokens (THREATS.md F31).
            while parts.index.maintain(int(self._steady.wall_s()), _SLICE_SLOTS):
                await asyncio.sleep(0)
            columns = parts.columns()
            columns.follow_feed(parts.feed.status())
            columns.follow_reloads(parts.reloader.counts)
            columns.follow_intake(parts.ways.intake.counts)
            parts.ways.watch()
            await asyncio.sleep(1.0)

    # -- workers ---------------------------------------------------------------------

    async def asked(self, alias: str, kid: str | None) -> None:
        """Answer a worker that met a kid nobody has seen."""
        await self._parts.keyring.asked(alias, kid)

    def noted(self, slot: int, kind: str, data: object) -> None:
        """Take a worker's note of itself; anything else is ignored."""
        self._workers.take(
            slot, kind, data, {profile.alias for profile in self.snapshot.issuers}
        )

    def _worker_lines(self) -> list[dict[str, Any]]:
        # What was just published counts at once: workers have yet to follow it.
        self._parts.follower.refresh()
        return self._workers.shown(*self._parts.follower.versions)

    # -- what admin asks -------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The configuration in force, compiled."""
        return self._parts.follower.cell.current

    @property
    def admin_token(self) -> str | None:
        """The bearer token of the admin API."""
        token = self._parts.reloader.config.admin_token
        return None if token is None else token.reveal()

    @property
    def admin_address(self) -> str:
        """Where the admin API listens."""
        return str(self._parts.reloader.config.admin)

    async def enter(self, request: Mapping[str, Any], *, wait: str) -> Receipt:
        """Revoke. Raises EntryError for what cannot be asked, ControlError else."""
        return self._kept(await self._parts.feed.enter(self._entry(request), wait=wait))

    async def lift(self, id_: str, *, wait: str, reason: str) -> Receipt | None:
        """Undo an event of this region's. Raises as `enter` does."""
        receipt = await self._parts.feed.lift(id_, wait=wait, reason=reason)
        return receipt if receipt is None else self._kept(receipt)

    def _kept(self, receipt: Receipt) -> Receipt:
        self._receipts[receipt.id] = receipt
        if len(self._receipts) > _MAX_RECEIPTS:
            self._receipts.popitem(last=False)
        return receipt

    def _entry(self, request: Mapping[str, Any]) -> Entry:
        alias = request.get("issuer")
        profile = next((p for p in self.snapshot.issuers if p.alias == alias), None)
        if profile is None:
            known = ", ".join(p.alias for p in self.snapshot.issuers)
            raise EntryError("issuer", f"unknown; known: {known}")
        try:
            kind = Kind(str(request.get("kind")))
        except ValueError:
            known = ", ".join(kind.value for kind in Kind)
            raise EntryError("kind", f"unknown; known: {known}") from None
        home = request.get("home")
        if home is not None and home not in self.snapshot.regions.names:
            known = ", ".join(self.snapshot.regions.names)
            raise EntryError("home", f"unknown region; known: {known}")
        if self._parts.feed.standalone:
            # The node stands in as origin for every region (DESIGN.md section 8).
            home = self._parts.feed.region
        return Entry(
            kind=kind,
            issuer=profile.issuer,
            issuer_alias=profile.alias,
            value=request.get("value") or "",
            home=home,
            issued_before=request.get("issued_before"),
            expires_in=request.get("expires_in"),
            urgent=bool(request.get("urgent", False)),
            reason=request.get("reason") or "",
            id=request.get("id") or "",
        )

    @property
    def feed(self) -> Feed:
        """The revocation feed of this node."""
        return self._parts.feed

    async def revocation(self, id_: str) -> Receipt | None:
        """Return the receipt of an event so far, None where it was not given here."""
        receipt = self._receipts.get(id_)
        return None if receipt is None else self._parts.feed.so_far(receipt)

    def status(self) -> dict[str, Any]:
        """Return everything that `fastgate status` shows."""
        parts, snapshot = self._parts, self.snapshot
        ready, _ = self.ready()
        return {
            "node": snapshot.node,
            "region": snapshot.regions.names[snapshot.regions.own],
            "version": fastgate.__version__,
            "commit": parts.commit,
            "uptime_s": round((parts.clock.boot_ns() - self._started_ns) / _NS, 1),
            "ready": ready,
            "draining": parts.draining_since_ns() > 0,
            "config": {
                "version": snapshot.version,
                "hash": snapshot.source_hash,
                "since": parts.reloader.last_success_s,
                "reloads": dict(parts.reloader.counts),
            },
            "regions": {
                "names": list(snapshot.regions.names),
                "default": snapshot.regions.names[snapshot.regions.default],
            },
            "feed": parts.feed.status(),
            "revocations": parts.index.stats(),
            "keys": parts.keyring.status(),
            **parts.ways.status(),
            "workers": self._worker_lines(),
            "bounds": self._bounds(),
            "alarms": parts.alarms.active(),
        }

    def _bounds(self) -> list[dict[str, Any]]:
        # What each protected route promises, as configured (DESIGN.md section 8).
        return [
            {
                "route": route.name,
                "on_stale": route.on_stale.value,
                "max_staleness_s": route.max_staleness_ns / _NS,
                "bound_s": (route.max_staleness_ns + route.allow_for_ns) / _NS,
            }
            for route in self.snapshot.routes.routes
            if route.issuer is not None
        ]

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the page of /metrics and its content type."""
        return self._parts.page(accept)

    def alive(self) -> tuple[bool, list[dict[str, Any]]]:
        """Tell whether loops run: this one does, and some worker's; never staleness."""
        age_ns = self._parts.clock.boot_ns() - self._started_ns
        workers = self._worker_lines()
        ok = any(worker["up"] for worker in workers) or age_ns < _START_GRACE_NS
        checks = [{"name": f"worker {w['slot']}", "ok": w["up"]} for w in workers]
        return ok, checks

    def ready(self) -> tuple[bool, list[dict[str, Any]]]:
        """Tell whether to send traffic here, with every check.

        Later staleness does not take readiness back: routes answer for it themselves.
        """
        parts = self._parts
        draining = parts.draining_since_ns() > 0
        caught_up, origins = parts.feed.ready()
        checks: list[dict[str, Any]] = [
            {
                "name": f"worker {worker['slot']}",
                "ok": worker["up"] and (worker["current"] or self._was_ready),
            }
            for worker in self._worker_lines()
        ]
        checks += [
            {"name": f"keys {issuer['alias']}", "ok": issuer["ready"]}
            for issuer in parts.keyring.status()
        ]
        checks += [
            {
                "name": f"origin {line['origin']}",
                "ok": line["ready"],
                "reason": line["state"],
            }
            for line in origins
        ]
        del caught_up  # each origin has its own line
        self._was_ready = self._was_ready or all(check["ok"] for check in checks)
        # A reload reaches workers within a tick, their word of it within a second: once
        # ready, only a slot without a living worker counts.
        up = all(worker["up"] for worker in self._worker_lines())
        checks.append({"name": "not draining", "ok": not draining})
        return self._was_ready and up and not draining, checks

    async def explain(
        self,
        *,
        token: str | None,
        method: str,
        path: str,
        cookies: str | None,
        form: Mapping[str, Sequence[str]] | None,
    ) -> dict[str, Any]:
        """Return what the gate decides, step by step."""
        return await self._parts.explainer.explain(
            self.snapshot,
            token=token,
            method=method,
            path=path,
            cookies=cookies,
            form=form,
        )

    async def reload(self) -> dict[str, object]:
        """Read the configuration file again; a bad one changes nothing."""
        return await self._parts.reloader.reload()

    async def drain(self) -> None:
        """Ask the supervisor to drain and end the node."""
        os.kill(os.getppid(), signal.SIGTERM)

    async def refresh_keys(
        self, issuer: str | None, *, wait: bool
    ) -> dict[str, object]:
        """Fetch an issuer's keys (or all) now. Raises ValueError for an unknown one."""
        return dict(await self._parts.keyring.refresh(issuer, wait=wait))

    def audit(self, actor: str, action: str, fields: Mapping[str, object]) -> None:
        """Write an audit line, durable when this returns. Raises ControlError."""
        self._parts.audit.append(actor, action, fields)
