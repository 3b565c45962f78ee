"""Desk: what the compiled lane needs of the relay's rules, one object per worker.

Owns:      nothing that changes; gate, health, tally and log are the relay's own.
Called by: _ext.http1 for each plain request; wiring makes one beside the relay.

The lane moves bytes, and everything that is decided or worded is decided and worded
here or where the general lane has it, so that both lanes follow one set of rules.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from fastgate.domain.decision import Decision
from fastgate.domain.request import (
    RESERVED_NAMES,
    RESERVED_PREFIXES,
    RequestHead,
    plain_head,
)
from fastgate.domain.route import Route
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.verdict import OUTCOMES, Reason, Verdict
from fastgate.hotpath.answers import ANSWER_DROPPED, STATUS_LINES, http_date, problem
from fastgate.hotpath.faults import log_fault
from fastgate.hotpath.flow import CLIENT_GONE, Flow, kind_of_line
from fastgate.hotpath.headers import REQUEST_DROPPED, trace_id
from fastgate.hotpath.peers import TrustedPeers
from fastgate.hotpath.relay import Decider
from fastgate.hotpath.tally import Tally
from fastgate.hotpath.upstreams import UpstreamHealth
from fastgate.hotpath.way import Way
from fastgate.ports import AccessLog, Clock

__all__ = ["Desk", "Dialer"]


class Dialer(Protocol):
    """Makes connections; see adapters.aiohttp_client.pool.UpstreamPool."""

    connections: Counter[str]

    def dial(
        self, base: str, factory: Callable[[], Any], timeout_s: float, limit: int
    ) -> Awaitable[Any]:
        """Return the protocol of a new connection. Raises UpstreamError."""
        ...


class Counting(Protocol):
    """Who holds the tally of this moment; hotpath.relay.Relay."""

    tally: Tally | None


class _PlainExchange:
    """What log and counters read of an exchange, for one that is over."""

    __slots__ = ("bytes_in", "bytes_out", "peer")

    lane = "compiled"
    version = (1, 1)

    def __init__(self, peer: str, bytes_in: int, bytes_out: int) -> None:
        self.peer = peer
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out


class _PlainInbound:
    """What log and counters read of a head."""

    __slots__ = ("head", "trace_id")

    def __init__(self, head: RequestHead, trace: str) -> None:
        self.head = head
        self.trace_id = trace


class Desk:
    """Judges, words, counts and logs for the compiled lane.

    gate, health, clock, access_log: The relay's. dialer: Makes connections.
    counting: Holds the tally of this moment, None where nothing is counted.
    """

    allow = Verdict.ALLOW
    deny = Verdict.DENY
    plain_head = staticmethod(plain_head)
    request_names = tuple(
        sorted(REQUEST_DROPPED | {name.encode() for name in RESERVED_NAMES})
    )
    answer_names = tuple(
        sorted(name.encode() for name in ANSWER_DROPPED | RESERVED_NAMES)
    )
    reserved_prefixes = tuple(prefix.encode() for prefix in RESERVED_PREFIXES)
    status_lines = STATUS_LINES
    client_gone = CLIENT_GONE

    def __init__(
        self,
        *,
        gate: Decider,
        health: UpstreamHealth,
        clock: Clock,
        access_log: AccessLog,
        counting: Counting,
        dialer: Dialer,
    ) -> None:
        self.decide = gate.decide
        self.wall_s = clock.wall_s
        self.boot_ns = clock.boot_ns
        self.choose = health.choose
        self.succeeded = health.succeeded
        self.failed = health.failed
        self.date = http_date
        self.dial = dialer.dial
        self.connections = dialer.connections
        self.counting = counting
        self._access_log = access_log
        self._peers = TrustedPeers(())

    def broke(self, fault: Exception) -> Decision:
        """Return the denial for a request over which the gate failed, and log why."""
        log_fault(fault)
        decision = Decision()
        decision.verdict = Verdict.DENY
        decision.reason = Reason.INTERNAL
        return decision

    def trusts(self, peer: str, snapshot: Snapshot) -> bool:
        """Tell whether a client is a configured proxy; asked once per configuration."""
        if self._peers.texts != snapshot.trusted_peers:
            self._peers = TrustedPeers(snapshot.trusted_peers)
        return self._peers.trusts(peer)

    def way(self, peer: str, host: bytes, secure: bool) -> bytes:
        """Return the forwarding lines of a connection, up to the value of the last.

        That one is X-Request-Id, which the lane writes per request.
        secure: The client speaks TLS.
        """
        scheme = "https" if secure else "http"
        way = Way(peer=peer, trusted=False, hops=1, request_id="", scheme=scheme)
        return b"\r\n".join(way.lines(host, 1, {}))

    def end(self, began: Tally | None, route: Route) -> None:
        """Count a request as no longer forwarded; a new layout begins at zero."""
        if began is not None and began is self.counting.tally:
            began.end(route.index)

    def refusal(
        self,
        reason: str,
        decision: Decision,
        request_id: str,
        head_only: bool,
        close: bool,
    ) -> tuple[int, bool, bytes]:
        """Return status, whether the connection ends, and the bytes of a refusal."""
        named = Reason(reason)
        outcome = OUTCOMES[named]
        close = close or outcome.close
        head, body = problem(
            named,
            route=decision.route,
            request_id=request_id,
            wall_s=self.wall_s(),
            close=close,
            head_only=head_only,
        )
        return outcome.status, close, head + body

    def form(
        self, snapshot: Snapshot, decision: Decision, method: str, status: int
    ) -> bytes:
        """Return what the lines of plain requests of one kind share."""
        fields = kind_of_line(
            snapshot,
            decision,
            method=method,
            version=_PlainExchange.version,
            lane=_PlainExchange.lane,
            status=status,
            reason=None,
        )
        return self._access_log.form(fields)

    def log(
        self,
        form: bytes,
        peer: str,
        status: int,
        request_id: bytes,
        trace: bytes | None,
        bytes_in: int,
        bytes_out: int,
        duration_ns: int,
        upstream_ns: int,
        overhead_ns: int,
        age_ms: int,
    ) -> None:
        """Log a plain request that went well; `finished` writes the same of it."""
        own = (
            b'"request_id":"%b","trace_id":"%b","bytes_in":%d,"bytes_out":%d,'
            b'"duration_ms":%.3f,"upstream_ms":%.3f,"overhead_us":%d,"age_ms":%d,'
            % (
                request_id,
                trace_id(trace).encode() if trace is not None else b"",
                bytes_in,
                bytes_out,
                duration_ns / 1e6,
                upstream_ns / 1e6,
                overhead_ns // 1_000,
                age_ms,
            )
        )
        self._access_log.write_formed(form, peer, status, own)

    def finished(
        self,
        snapshot: Snapshot,
        decision: Decision,
        head: RequestHead,
        request_id: str,
        trace: bytes | None,
        status: int,
        reason: str | None,
        bytes_in: int,
        bytes_out: int,
        times_ns: Sequence[int],
        began: Tally | None,
        forwarded: bool,
    ) -> None:
        """Count and log a request that is over.

        trace: Value of traceparent. times_ns: Started, sent, heard, begun; 0: never.
        began: Counted it as being forwarded. forwarded: It was.
        """
        tally = self.counting.tally
        if tally is None and not snapshot.access_log:
            return
        started_ns, sent_ns, heard_ns, begun_ns = times_ns
        exchange = _PlainExchange(head.peer, bytes_in, bytes_out)
        flow = Flow(exchange, snapshot, started_ns)  # type: ignore[arg-type]
        flow.inbound = _PlainInbound(  # type: ignore[assignment]
            head, trace_id(trace) if trace is not None else ""
        )
        flow.request_id = request_id
        flow.decision = decision
        flow.status = status
        flow.reason = None if reason is None else Reason(reason)
        flow.sent_ns, flow.heard_ns, flow.begun_ns = sent_ns, heard_ns, begun_ns
        finished_ns = self.boot_ns()
        if tally is not None:
            # The columns of an older configuration are another's by now.
            known = tally is began or not forwarded
            tally.decided(decision)
            if forwarded and known and decision.route is not None:
                tally.end(decision.route.index)
            tally.finished(flow, finished_ns, known_routes=known)
        if snapshot.access_log:
            self._access_log.write(flow.line(finished_ns))
