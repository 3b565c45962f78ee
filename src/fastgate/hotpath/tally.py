"""Tally: what one finished request adds to the counters.

Owns:      the columns of one metric plan, looked up once per configuration.
Called by: hotpath.relay begins and finishes each request; wiring makes a new one when
           the configuration changes, with the counter row of the new layout.
"""

from typing import Any

from fastgate.domain.decision import Decision
from fastgate.domain.metric_plan import MetricPlan
from fastgate.domain.metrics import ALLOW
from fastgate.domain.region import RegionSource
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.verdict import Reason, Verdict
from fastgate.errors import BugError
from fastgate.hotpath.flow import Flow
from fastgate.ports import Meter, Served

__all__ = ["Tally"]

_UPSTREAM_KINDS = {
    Reason.UPSTREAM_REFUSED: "refused",
    Reason.UPSTREAM_TIMEOUT: "timeout",
    Reason.BAD_UPSTREAM_RESPONSE: "bad_response",
}
_NO_ROUTE = ""
# Reason: far more than one deployment sees of routes, methods and statuses together.
_MOST_SERVED = 4_096


class Tally:
    """Counts requests under one plan.

    plan: Of the current configuration. meter: This worker's row, laid out by that plan.
    routes, regions, issuers: Names in configured order, as the plan was made from.

    in_flight: The gauge of each route's requests; `begin` and `end` move it too.
    """

    def __init__(
        self,
        plan: MetricPlan,
        meter: Meter,
        *,
        routes: tuple[str, ...],
        regions: tuple[str, ...],
        issuers: tuple[str, ...],
        own: str,
    ) -> None:
        self._plan = plan
        self._meter = meter
        self._own = own
        self._regions = regions
        # The last element serves index -1: no route matched, no region was decided.
        by_route = (*routes, _NO_ROUTE)
        self._duration = [self._time("request_duration_seconds", n) for n in by_route]
        self._overhead = [self._time("overhead_duration_seconds", n) for n in by_route]
        self._in_flight = [self._find("requests_in_flight", n) for n in by_route]
        self.in_flight = [meter.column(place) for place in self._in_flight]
        by_region = (*regions, _NO_ROUTE)
        self._upstream = [self._time("upstream_duration_seconds", n) for n in by_region]
        self._verified = [
            self._time("token_verify_duration_seconds", n) for n in issuers
        ]
        self._failed = {
            (index, kind): self._find("upstream_errors_total", name, kind)
            for index, name in enumerate(by_region)
            for kind in (*_UPSTREAM_KINDS.values(), "cut")
        }
        self._lanes = {
            lane: self._find("lane_requests_total", lane)
            for lane in ("compiled", "general")
        }
        self._cache = {
            result: self._find("decision_cache_total", result)
            for result in ("hit", "miss")
        }
        self._lazy: dict[tuple[str, ...], int] = {}
        self._served: dict[tuple[object, ...], Served] = {}

    @classmethod
    def of(cls, snapshot: Snapshot, meter: Meter) -> "Tally":
        """Make the tally of a configuration; every process makes the same plan."""
        regions = snapshot.regions
        routes = snapshot.route_names()
        issuers = tuple(profile.alias for profile in snapshot.issuers)
        own = regions.names[regions.own]
        plan = MetricPlan(
            routes=routes, regions=regions.names, issuers=issuers, own_region=own
        )
        return cls(
            plan, meter, routes=routes, regions=regions.names, issuers=issuers, own=own
        )

    def _find(self, name: str, *labels: str) -> int:
        return self._plan.column(f"fastgate_{name}", *labels)

    def _time(self, name: str, label: str) -> Any:
        place = self._plan.histogram(f"fastgate_{name}", label)
        return self._meter.histogram(*place)

    def begin(self, route: int) -> None:
        """Count a request as being forwarded."""
        self._meter.add(self._in_flight[route])

    def end(self, route: int) -> None:
        """Take back `begin`."""
        self._meter.add(self._in_flight[route], -1)

    def decided(self, decision: Decision) -> None:
        """Count the outcome of the gate for one request."""
        result = (
            ALLOW
            if decision.verdict is Verdict.ALLOW
            else (decision.reason or Reason.INTERNAL).value
        )
        kind = decision.kind if decision.kind != "phantom" else "opaque"
        self._add_lazily("token_checks_total", kind, result)
        column = self._cache.get(decision.cache)
        if column is not None:
            self._meter.add(column)
        if decision.verdict is Verdict.ALLOW:
            self._add_lazily(
                "region_routed_total",
                self._own,
                self._regions[decision.region],
                decision.source.value,
            )
        if decision.conflict is not None:
            self._disagreed(decision.source, decision.conflict)
        route = decision.route
        if decision.reason is Reason.STALE_REVOCATION and route is not None:
            self._add_lazily("stale_answers_total", route.name, route.on_stale.value)

    def _disagreed(self, winner: RegionSource, loser: RegionSource) -> None:
        self._add_lazily("region_disagreement_total", winner.value, loser.value)

    def _add_lazily(self, name: str, *labels: str) -> None:
        # Products of closed sets: most of them never occur, so they are looked up once.
        key = (name, *labels)
        column = self._lazy.get(key)
        if column is None:
            column = self._lazy[key] = self._find(name, *labels)
        self._meter.add(column)

    def served(self, decision: Decision, method: str, status: int) -> Served:
        """Return what counts plain requests of one kind that went well.

        It adds the same as `decided`, `end` and `finished`, at once and without a look
        at names; for the compiled lane.
        """
        route = decision.route
        if route is None:
            raise BugError("a request was served without a route")
        index, region = route.index, decision.region
        key = (
            index,
            region,
            decision.source,
            method,
            status,
            decision.kind,
            decision.cache,
        )
        served = self._served.get(key)
        if served is None:
            if len(self._served) >= _MOST_SERVED:
                self._served.clear()
            served = self._served[key] = self._meter.served(
                self._columns_of(decision, method, status),
                self._in_flight[index],
                self._duration[index],
                self._overhead[index],
                self._upstream[region],
            )
        return served

    def verified(self, decision: Decision, duration_ns: int) -> None:
        """Note how long the gate took over a token that it had not seen before."""
        route = decision.route
        if route is not None and route.issuer is not None:
            self._verified[route.issuer.index].observe(duration_ns)

    def _columns_of(
        self, decision: Decision, method: str, status: int
    ) -> tuple[int, ...]:
        route = decision.route.index if decision.route is not None else -1
        kind = decision.kind if decision.kind != "phantom" else "opaque"
        columns = [
            self._plan.request_column(route, method, status, decision.region),
            self._lanes["compiled"],
            self._find("token_checks_total", kind, ALLOW),
            self._find(
                "region_routed_total",
                self._own,
                self._regions[decision.region],
                decision.source.value,
            ),
        ]
        if decision.cache in self._cache:
            columns.append(self._cache[decision.cache])
        return tuple(columns)

    def finished(self, flow: Flow, finished_ns: int, *, known_routes: bool) -> None:
        """Count a request that got its answer.

        known_routes: The request was routed under this tally's configuration.
        """
        decision = flow.decision
        route = region = -1
        if decision is not None and known_routes:
            region = max(decision.region, -1)
            route = decision.route.index if decision.route is not None else -1
        method = flow.inbound.head.method if flow.inbound is not None else ""
        self._meter.add(self._plan.request_column(route, method, flow.status, region))
        column = self._lanes.get(flow.exchange.lane)
        if column is not None:
            self._meter.add(column)
        self._duration[route].observe(finished_ns - flow.started_ns)
        if flow.sent_ns:
            self._overhead[route].observe(flow.overhead_ns())
        if flow.heard_ns:
            self._upstream[region].observe(flow.heard_ns - flow.sent_ns)
        kind = _UPSTREAM_KINDS.get(flow.reason) if flow.reason is not None else None
        if kind is not None:
            if flow.begun_ns:
                kind = "cut"
            self._meter.add(
                self._failed[region if region >= 0 else len(self._regions), kind]
            )
