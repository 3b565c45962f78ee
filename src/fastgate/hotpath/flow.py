"""Flow: what is known of one request while it is served, and its access line.

Owns:      the state of a request between head and finish; one object per request.
Called by: hotpath.relay makes it, hotpath.forward and hotpath.tally read and fill it.
"""

from collections.abc import Mapping

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.verdict import Reason, Verdict
from fastgate.errors import BugError
from fastgate.hotpath.headers import Inbound
from fastgate.hotpath.way import Way
from fastgate.ports import Exchange

__all__ = ["CLIENT_GONE", "Flow", "kind_of_line"]

# Status in log and metrics of a client that left before its answer; never sent.
CLIENT_GONE = 499


class Flow:
    """One request on its way.

    exchange: The lane's side. snapshot: What the request began with.
    inbound, way: None until the head was read.
    decision: The gate's word so far. asked: What the gate's questions found out.
    body: A body that was read completely (a form), None where it is streamed.
    websocket: The upgrade is passed through.
    body_sent: A byte of the body left for the upstream. retried: The one retry is used.
    status, reason: Of the answer. started_ns, sent_ns, heard_ns, begun_ns: Request
        began, its head left for the upstream, the answer's head came, ours left; 0: not
        yet. waited_ns: Spent on others before sent_ns.
    ended: Why we end what goes on: its token was revoked meanwhile, or may be.
    """

    __slots__ = (
        "asked",
        "begun_ns",
        "body",
        "body_sent",
        "decision",
        "ended",
        "exchange",
        "heard_ns",
        "inbound",
        "proceeded",
        "reason",
        "request_id",
        "retried",
        "retry_after_s",
        "sent_ns",
        "snapshot",
        "started_ns",
        "status",
        "waited_ns",
        "way",
        "websocket",
    )

    def __init__(self, exchange: Exchange, snapshot: Snapshot, started_ns: int) -> None:
        self.exchange = exchange
        self.snapshot = snapshot
        self.inbound: Inbound | None = None
        self.way: Way | None = None
        self.request_id = ""
        self.asked = Asked()
        self.decision: Decision | None = None
        self.body: bytes | None = None
        self.websocket = False
        self.proceeded = False
        self.body_sent = False
        self.retried = False
        self.status = 0
        self.reason: Reason | None = None
        self.ended: Reason | None = None
        self.retry_after_s = 0
        self.started_ns = started_ns
        self.sent_ns = 0
        self.heard_ns = 0
        self.begun_ns = 0
        self.waited_ns = 0

    def admitted(self) -> tuple[Inbound, Way, Decision]:
        """Return head, way and decision of a request that passed the gate.

        Raises BugError where it did not: nothing may be forwarded before.
        """
        if self.inbound is None or self.way is None or self.decision is None:
            raise BugError("a request was forwarded before it was read")
        if self.decision.verdict is not Verdict.ALLOW:
            raise BugError("a request was forwarded that the gate did not allow")
        return self.inbound, self.way, self.decision

    @property
    def must_close(self) -> bool:
        """The connection cannot be used after this answer."""
        inbound = self.inbound
        if inbound is None or inbound.close or inbound.upgrade:
            return True
        return self.exchange.draining or (
            inbound.head.has_body and not self.exchange.body_ended
        )

    def proceed(self) -> None:
        """Let the body come, where the client waits to be told."""
        inbound = self.inbound
        if inbound is not None and inbound.expects and not self.proceeded:
            self.proceeded = True
            self.exchange.proceed()

    @property
    def region_name(self) -> str | None:
        """Name of the region that was decided."""
        decision = self.decision
        if decision is None or decision.region < 0:
            return None
        return self.snapshot.regions.names[decision.region]

    def overhead_ns(self) -> int:
        """Return the time that was neither the upstream's nor the client's."""
        if not self.sent_ns:
            return 0
        before = self.sent_ns - self.started_ns - self.waited_ns
        after = self.begun_ns - self.heard_ns if self.begun_ns else 0
        return max(0, before) + max(0, after)

    def line(self, finished_ns: int) -> Mapping[str, object]:
        """Return the fields of the access line; nothing of an unverified token.

        finished_ns: CLOCK_BOOTTIME.
        """
        decision, inbound, exchange = self.decision, self.inbound, self.exchange
        upstream_ns = self.heard_ns - self.sent_ns if self.heard_ns else 0
        return {
            "request_id": self.request_id,
            "trace_id": inbound.trace_id if inbound is not None else "",
            "peer": exchange.peer,
            "bytes_in": exchange.bytes_in,
            "bytes_out": exchange.bytes_out,
            "duration_ms": round((finished_ns - self.started_ns) / 1e6, 3),
            "upstream_ms": round(upstream_ns / 1e6, 3),
            "overhead_us": self.overhead_ns() // 1_000,
            "age_ms": decision.age_ms if decision is not None else -1,
            **kind_of_line(
                self.snapshot,
                decision,
                method=inbound.head.method if inbound is not None else "",
                version=exchange.version,
                lane=exchange.lane,
                status=self.status,
                reason=self.reason,
            ),
        }


def kind_of_line(
    snapshot: Snapshot,
    decision: Decision | None,
    *,
    method: str,
    version: tuple[int, int],
    lane: str,
    status: int,
    reason: Reason | None,
) -> dict[str, object]:
    """Return what the access lines of all requests of one kind share."""
    regions = snapshot.regions
    facts = decision.facts if decision is not None else None
    region = None
    if decision is not None and decision.region >= 0:
        region = regions.names[decision.region]
    allowed = decision is not None and decision.verdict is Verdict.ALLOW
    return {
        "method": method,
        "route": decision.route.name if decision and decision.route else "",
        "proto": f"{version[0]}.{version[1]}",
        "status": status,
        "lane": lane,
        "region": region,
        "region_source": decision.source.value if decision and region else None,
        "gateway_region": regions.names[regions.own],
        "token": decision.kind if decision is not None else "none",
        "verdict": "allow" if allowed else "deny",
        "reason": reason.value if reason is not None else None,
        # Named only when a signature by that very key was verified.
        "kid": facts.kid if facts is not None else None,
        "cache": decision.cache if decision is not None else "",
    }
