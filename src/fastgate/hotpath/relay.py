"""Relay: the life of a request - head, decide, ask, rewrite, forward, finish.

Owns:      the order of these steps, the one access line and the counts at the end.
Called by: both lanes, through ports.ExchangeHandler; one object per worker.

A request takes the snapshot once and ends on it, save that a key which had to be asked
for is read from the next one. Whatever happens, there is one answer and one line.
"""

import asyncio
import contextlib
import logging
from typing import Protocol

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.request import RequestHead
from fastgate.domain.route import Route
from fastgate.domain.snapshot import Snapshot, SnapshotCell
from fastgate.domain.verdict import OUTCOMES, Reason, Verdict
from fastgate.errors import BugError, CallerError, UpstreamError
from fastgate.hotpath.answers import problem
from fastgate.hotpath.faults import log_fault
from fastgate.hotpath.flow import CLIENT_GONE, Flow
from fastgate.hotpath.forms import read_form
from fastgate.hotpath.forward import Forwarder, debug_line
from fastgate.hotpath.headers import Inbound, read_head
from fastgate.hotpath.live import LiveExchanges, OpenFlow
from fastgate.hotpath.peers import TrustedPeers, new_request_id
from fastgate.hotpath.session_events import SessionEvents
from fastgate.hotpath.tally import Tally
from fastgate.hotpath.tap import Tap
from fastgate.hotpath.upstreams import UpstreamHealth
from fastgate.hotpath.way import Way, hops_behind
from fastgate.ports import (
    AccessLog,
    Clock,
    Exchange,
    Introspector,
    KeyAsker,
    UpstreamDialer,
)

__all__ = ["Decider", "Relay"]

_LOG = logging.getLogger("fastgate.relay")

# Reason: a form, a key, an opaque token and a stale answer are the questions there are;
# more rounds would be a gate that does not end.
_MAX_QUESTIONS = 6
# Reason: a client that does not take a refusal of some hundred bytes is gone.
_REFUSAL_STALL_S = 5.0
_BODY_NEEDS_LEAVE = frozenset({"GET", "HEAD", "DELETE"})


class Decider(Protocol):
    """The gate, as the relay sees it."""

    def decide(
        self,
        head: RequestHead,
        snapshot: Snapshot,
        wall_s: int,
        boot_ns: int,
        asked: Asked | None = None,
    ) -> Decision:
        """Judge a request at the given instant."""
        ...


class Relay:
    """Serves requests; see the module for the order.

    gate: Decides. cell: Holds the current snapshot.
    key_asker, introspector: Answer the gate's questions.
    dialer, health: Connections to upstreams, and which addresses are left out.
    tally: Counts; None counts nothing. `adopt` brings another when routes change.
    live: Judges again what goes on for long. tap: Hears what ends a token.
    access_log: Takes one line a request, where the snapshot wants it.
    """

    def __init__(
        self,
        *,
        gate: Decider,
        cell: SnapshotCell,
        key_asker: KeyAsker,
        introspector: Introspector,
        dialer: UpstreamDialer,
        health: UpstreamHealth,
        clock: Clock,
        access_log: AccessLog,
        tally: Tally | None = None,
        live: LiveExchanges | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._gate = gate
        self._cell = cell
        self._key_asker = key_asker
        self._introspector = introspector
        self._clock = clock
        self._access_log = access_log
        self._health = health
        self._forwarder = Forwarder(
            dialer=dialer, health=health, clock=clock, redecide=self._decide, tap=tap
        )
        self._peers = TrustedPeers(cell.current.trusted_peers)
        self.tally = tally
        self._live = live
        self._events = None if live is None else SessionEvents(live, clock)

    def adopt(self, snapshot: Snapshot, tally: Tally | None) -> None:
        """Count under a new configuration, and forget addresses that it dropped."""
        self.tally = tally
        self._health.keep_only(
            {
                base
                for service in snapshot.services
                for bases in service.upstreams
                for base in bases
            }
        )

    async def handle(self, exchange: Exchange) -> None:
        """Serve one request; raises only CancelledError, when the client is gone."""
        flow = Flow(exchange, self._cell.current, self._clock.boot_ns())
        await self._finish_after(flow, None)

    async def refuse(self, exchange: Exchange, reason: str) -> None:
        """Answer for a message that the lane could not read."""
        flow = Flow(exchange, self._cell.current, self._clock.boot_ns())
        await self._finish_after(flow, Reason(reason))

    async def _finish_after(self, flow: Flow, reason: Reason | None) -> None:
        tally = self.tally
        try:
            if reason is None:
                reason = await self._attempt(flow)
            else:
                flow.request_id = new_request_id(self._clock.wall_s())
            if reason is not None:
                await self._refuse(flow, reason)
        except (ConnectionError, CallerError):
            # The client is gone, or does not take its answer.
            self._part(flow)
        except asyncio.CancelledError:
            self._part(flow)
            raise
        finally:
            self._finish(flow, tally)

    @staticmethod
    def _part(flow: Flow) -> None:
        if not flow.exchange.begun:
            flow.status = CLIENT_GONE
        flow.exchange.abort()

    async def _attempt(self, flow: Flow) -> Reason | None:
        """Serve, and turn every fault into the reason it is answered with."""
        try:
            return await self._serve(flow)
        except (CallerError, UpstreamError) as error:
            return Reason(error.reason)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the last border of a request's task
            log_fault(error)
            return Reason.INTERNAL

    async def _serve(self, flow: Flow) -> Reason | None:
        exchange, snapshot = flow.exchange, flow.snapshot
        inbound = read_head(
            exchange.method,
            exchange.target,
            exchange.version,
            exchange.headers,
            peer=exchange.peer,
            limits=snapshot.limits,
        )
        refusal = self._enter(flow, inbound)
        if refusal is not None:
            return refusal
        refusal = await self._decide(flow)
        if flow.decision is not None and self.tally is not None:
            self.tally.decided(flow.decision)
        if refusal is not None:
            return refusal
        route = self._admit(flow)
        if isinstance(route, Reason):
            return route
        if route.session_events and self._events is not None:
            return await self._events.serve(flow, route)
        return await self._forward(flow, route)

    def _enter(self, flow: Flow, inbound: Inbound | Reason) -> Reason | None:
        trusted = self._trusted(flow)
        name = b""
        if isinstance(inbound, Inbound):
            flow.inbound = inbound
            name = inbound.request_id if trusted else b""
        flow.request_id = (
            name.decode("ascii") if name else new_request_id(self._clock.wall_s())
        )
        if isinstance(inbound, Reason):
            return inbound
        hops = hops_behind(inbound.hops, trusted=trusted)
        if hops is None:
            return Reason.BAD_REQUEST
        if hops >= flow.snapshot.limits.hops:
            return Reason.LOOP
        if trusted and isinstance(inbound, Inbound):
            chain = inbound.forwarded.get(b"x-forwarded-for", b"")
            inbound.head.peer = self._peers.client(flow.exchange.peer, chain)
        flow.way = Way(
            peer=flow.exchange.peer,
            trusted=trusted,
            hops=hops + 1,
            request_id=flow.request_id,
            scheme="https" if flow.exchange.secure else "http",
        )
        return None

    def _trusted(self, flow: Flow) -> bool:
        networks = flow.snapshot.trusted_peers
        if networks is not self._peers.texts and networks != self._peers.texts:
            self._peers = TrustedPeers(networks)
        return self._peers.trusts(flow.exchange.peer)

    # -- decide ----------------------------------------------------------------------

    async def _decide(self, flow: Flow) -> Reason | None:
        """Ask the gate, and for it, until it has decided; the reason of a refusal.

        A message that the compiled lane lent is decided anew, from this lane's own
        reading of it. What that look has cost is not paid twice: `Asked` says which
        keys refused the signature, so that they verify nothing, and charge the client
        nothing, again, and a token that verified is in the decision cache.
        """
        inbound = flow.inbound
        if inbound is None:
            raise BugError("a request was judged before it was read")
        judged, flow.exchange.judged = flow.exchange.judged, None
        if judged is not None:
            flow.asked.learn(judged)
        for _ in range(_MAX_QUESTIONS):
            began_ns = self._clock.boot_ns()
            decision = self._gate.decide(
                inbound.head,
                flow.snapshot,
                int(self._clock.wall_s()),
                began_ns,
                flow.asked,
            )
            flow.decision = decision
            verdict = decision.verdict
            if verdict is Verdict.ALLOW or verdict is Verdict.DENY:
                self._time(decision, began_ns)
            if flow.asked.missed and decision.cache:
                decision.cache = "miss"
            if verdict is Verdict.ALLOW:
                return None
            if verdict is Verdict.DENY or verdict is Verdict.UNDECIDED:
                self._note_refusal(flow, decision)
                return decision.reason or Reason.INTERNAL
            flow.asked.learn(decision)
            before = self._clock.boot_ns()
            await self._answer_gate(flow, inbound, decision)
            flow.waited_ns += self._clock.boot_ns() - before
        _LOG.error("the gate did not come to a decision")
        return Reason.INTERNAL

    def _time(self, decision: Decision, began_ns: int) -> None:
        if decision.cache == "miss" and self.tally is not None:
            self.tally.verified(decision, self._clock.boot_ns() - began_ns)

    def _note_refusal(self, flow: Flow, decision: Decision) -> None:
        answer, route = flow.asked.introspection, decision.route
        if answer is None or route is None or route.issuer is None:
            return
        flow.retry_after_s = answer.retry_after_s
        if decision.reason is Reason.BAD_ISSUER_RESPONSE:
            # A phantom token that does not verify must not be answered with again.
            self._introspector.forget(route.issuer, decision.credential)

    async def _answer_gate(
        self, flow: Flow, inbound: Inbound, decision: Decision
    ) -> None:
        if decision.verdict is Verdict.ASK_FORM:
            flow.proceed()
            flow.body, inbound.head.form = await read_form(
                flow.exchange,
                content_type=inbound.head.content_type,
                length=inbound.length,
                limit_bytes=flow.snapshot.limits.form_bytes,
            )
            return
        route = decision.route
        if route is None or route.issuer is None:
            raise BugError("the gate asked about a token of no issuer")
        if decision.verdict is Verdict.ASK_KEY:
            await self._key_asker.ask(route.issuer, decision.ask_kid)
            flow.asked.key_answered(decision)
            current = self._cell.current
            if current.version == flow.snapshot.version:
                # The same configuration with whatever keys there are by now.
                flow.snapshot = current
            return
        await self._introspect(flow, route, decision)

    async def _introspect(self, flow: Flow, route: Route, decision: Decision) -> None:
        issuer = route.issuer
        if issuer is None:
            raise BugError("the gate asked about a token of no issuer")
        region = decision.region
        flow.asked.introspection = await self._introspector.ask(
            issuer,
            decision.credential,
            region if region >= 0 else flow.snapshot.regions.default,
            fresh_ns=route.max_staleness_ns if decision.stale_question else 0,
            peer=flow.inbound.head.peer if flow.inbound is not None else "",
        )

    def _admit(self, flow: Flow) -> Route | Reason:
        """Check what only the matched route can allow (THREATS T4, T17, T18)."""
        inbound, _, decision = flow.admitted()
        route = decision.route
        if route is None:
            raise BugError("a request was allowed without a route")
        if (
            inbound.head.has_body
            and inbound.head.method in _BODY_NEEDS_LEAVE
            and not route.get_body
        ):
            return Reason.BAD_REQUEST
        if 0 < route.body_limit_bytes < inbound.length:
            return Reason.BODY_TOO_LARGE
        flow.websocket = inbound.websocket and route.websocket
        return route

    # -- forward and finish ----------------------------------------------------------

    async def _forward(self, flow: Flow, route: Route) -> Reason | None:
        tally = self.tally
        if tally is not None:
            tally.begin(route.index)
        try:
            async with asyncio.timeout(route.total_timeout_s or None) as limit:
                with self._watched(flow, limit, route):
                    return await self._forwarder.forward(flow)
        except TimeoutError:
            return flow.ended or Reason.UPSTREAM_TIMEOUT
        finally:
            # A new layout begins with its gauges at zero.
            if tally is not None and tally is self.tally:
                tally.end(route.index)

    def _watched(
        self, flow: Flow, limit: asyncio.Timeout, route: Route
    ) -> contextlib.AbstractContextManager[None]:
        if self._live is None or flow.decision is None or flow.decision.facts is None:
            return contextlib.nullcontext()  # no token, so none that is revoked
        return self._live.watched(OpenFlow(flow, limit, route.max_staleness_ns))

    async def _refuse(self, flow: Flow, reason: Reason) -> None:
        flow.reason = reason
        exchange = flow.exchange
        if exchange.begun:
            if not exchange.finished:
                exchange.abort()
            return
        outcome = OUTCOMES[reason]
        flow.status = outcome.status
        flow.begun_ns = 0
        close = outcome.close or flow.must_close
        head, body = problem(
            reason,
            route=flow.decision.route if flow.decision is not None else None,
            request_id=flow.request_id,
            wall_s=self._clock.wall_s(),
            close=close,
            head_only=exchange.method == "HEAD",
            retry_after_s=flow.retry_after_s,
            debug=debug_line(flow),
        )
        exchange.begin(head, chunked=False, close=close)
        await exchange.write(body, _REFUSAL_STALL_S)
        await exchange.finish()

    def _finish(self, flow: Flow, tally: Tally | None) -> None:
        finished_ns = self._clock.boot_ns()
        if self.tally is not None:
            # The columns of an older configuration are another's by now.
            known = tally is self.tally
            self.tally.finished(flow, finished_ns, known_routes=known)
        if flow.snapshot.access_log:
            self._access_log.write(flow.line(finished_ns))
