"""Metrics: the one table of every metric, its labels and its buckets.

Owns:      names, help texts and closed label sets; nothing else names a metric.
Called by: domain.metric_plan gives each series its columns, adapters.prometheus prints
           them, the agent names the gauges that it alone knows.
Source:    the Prometheus conventions: base units, `_total`, `_info`,
           `_timestamp_seconds`; a label value never comes from a client (B42).
"""

import enum
from dataclasses import dataclass

from fastgate.domain.frame import FaultKind
from fastgate.domain.region import RegionSource
from fastgate.domain.route import OnStale
from fastgate.domain.verdict import Reason

__all__ = [
    "ALLOW",
    "KNOWN_CODES",
    "KNOWN_METHODS",
    "METRICS",
    "OTHER",
    "REQUESTS_TOTAL",
    "TOKEN_KINDS",
    "UNKNOWN",
    "Metric",
    "MetricKind",
    "Names",
]

# A value outside the closed set, or a configured name past the series budget.
OTHER = "_OTHER"
# Nothing was known: no route matched, no region was decided, no issuer was named.
UNKNOWN = "_UNKNOWN"
ALLOW = "allow"

REQUESTS_TOTAL = "fastgate_requests_total"

KNOWN_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# The answers that gateways and APIs give every day; another status counts as its class.
# 499: the client left before the answer.
KNOWN_CODES = (
    *(101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404),
    *(405, 408, 409, 410, 412, 413, 414, 415, 417, 421, 422, 429, 431, 499, 500, 501),
    *(502, 503, 504, 505, 508),
)
TOKEN_KINDS = ("jwt", "opaque", "wrapped", "none")

_TO_HALF_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
_REQUEST_S = (0.0005, *_TO_HALF_S, 1.0, 2.5, 5.0, 10.0)
_OVERHEAD_S = (50e-6, 100e-6, 250e-6, 500e-6, 0.001, 0.0025, 0.005, 0.01, 0.05)
_VERIFY_S = (10e-6, 25e-6, 50e-6, 75e-6, 100e-6, 150e-6, 250e-6, 500e-6, 0.001, 0.005)
_PROPAGATION_S = (*_TO_HALF_S, 1.0, 2.5, 5.0, 10.0, 30.0)

_SOURCES = tuple(source.value for source in RegionSource)


class MetricKind(enum.Enum):
    """What Prometheus calls it, and what a cell of it means."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Names(enum.Enum):
    """Closed label sets that the configuration names."""

    ROUTE = "route"
    REGION = "region"
    ISSUER = "issuer"
    OWN = "own"  # the one region this gateway stands in


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    labels: Label name and its closed set, in the order that callers give values.
        None: the set is closed by the agent's code, and the value comes with a sample.
    bounds_s: Upper bounds of a histogram's buckets, seconds.
    by_agent: A sample of the agent, not a column of the shared table.
    sparse: A series appears with its first count. All others are printed from the
        start, so that `increase()` sees the first event.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[tuple[str, Names | tuple[str, ...] | None], ...] = ()
    bounds_s: tuple[float, ...] = ()
    by_agent: bool = False
    sparse: bool = False

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the order that callers give values."""
        return tuple(name for name, _ in self.labels)

    @property
    def cells(self) -> int:
        """Columns a series takes: 1, or a histogram's buckets, last one open, and sum.

        The count is the sum of the buckets, so that no page can contradict itself.
        """
        return len(self.bounds_s) + 2 if self.bounds_s else 1

    @property
    def printed(self) -> int:
        """Series that Prometheus counts for one set of label values."""
        return len(self.bounds_s) + 3 if self.bounds_s else 1

    @property
    def bounds_ns(self) -> tuple[int, ...]:
        """Bounds as the compiled histogram compares them, nanoseconds."""
        return tuple(round(bound * 1e9) for bound in self.bounds_s)


_ROUTE = ("route", Names.ROUTE)
_REGION = ("region", Names.REGION)
_ISSUER = ("issuer", Names.ISSUER)
# Origins are regions, or with the local bus the one that stands in for all of them.
_ORIGIN = ("origin", Names.REGION)


def _count(
    name: str,
    text: str,
    *labels: tuple[str, Names | tuple[str, ...] | None],
    sparse: bool = False,
) -> Metric:
    return Metric(f"fastgate_{name}", MetricKind.COUNTER, text, labels, sparse=sparse)


def _time(
    name: str,
    text: str,
    bounds_s: tuple[float, ...],
    *labels: tuple[str, Names | tuple[str, ...] | None],
) -> Metric:
    return Metric(f"fastgate_{name}", MetricKind.HISTOGRAM, text, labels, bounds_s)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    open_labels = tuple((label, None) for label in labels)
    return Metric(
        f"fastgate_{name}", MetricKind.GAUGE, text, open_labels, by_agent=True
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        "fastgate_build_info",
        MetricKind.INFO,
        "What runs here.",
        (("version", None), ("python", None), ("commit", None)),
        by_agent=True,
    ),
    _gauge("process_up", "1 while the process of this slot lives.", "role", "slot"),
    _count(
        "log_dropped_total",
        "Log lines dropped because the sink blocked or failed.",
        ("sink", ("access",)),
    ),
    _count(
        "config_reloads_total",
        "Attempts to load a new configuration.",
        ("result", ("success", "failure")),
    ),
    _gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the running configuration was loaded.",
    ),
    Metric(
        REQUESTS_TOTAL,
        MetricKind.COUNTER,
        "Requests answered. Past the series budget first every method becomes "
        f"{OTHER}, then codes become classes such as 4xx, then regions {OTHER}.",
        (_ROUTE, ("method", (*KNOWN_METHODS, OTHER)), ("code", None), _REGION),
        sparse=True,
    ),
    Metric(
        "fastgate_requests_in_flight",
        MetricKind.GAUGE,
        "Requests begun and not yet finished.",
        (_ROUTE,),
    ),
    _time(
        "request_duration_seconds",
        "First byte of the request to last byte of the answer.",
        _REQUEST_S,
        _ROUTE,
    ),
    _count(
        "lane_requests_total",
        "Requests by the HTTP path that served them.",
        ("lane", ("compiled", "general", "handed_over")),
    ),
    _time(
        "overhead_duration_seconds",
        "Request time that was neither the upstream's nor the client's.",
        _OVERHEAD_S,
        _ROUTE,
    ),
    _time(
        "upstream_duration_seconds",
        "Head sent to the upstream to first byte of its answer.",
        _REQUEST_S,
        _REGION,
    ),
    _count(
        "upstream_errors_total",
        "Exchanges that the upstream failed.",
        _REGION,
        ("kind", ("refused", "timeout", "bad_response", "cut")),
    ),
    _count(
        "token_checks_total",
        "Decisions of the gate by kind of credential: allow, or the reason code.",
        ("kind", TOKEN_KINDS),
        ("result", (ALLOW, *(reason.value for reason in Reason))),
        sparse=True,
    ),
    _time(
        "token_verify_duration_seconds",
        "Checks of a token never seen before, signature included.",
        _VERIFY_S,
        _ISSUER,
    ),
    _count(
        "decision_cache_total",
        "Look-ups of verified facts, and entries that left.",
        ("result", ("hit", "miss", "purged", "evicted")),
    ),
    _gauge("jwks_keys", "Usable keys of the issuer.", "issuer"),
    _count(
        "jwks_fetch_total",
        "Fetches of the issuer's key set.",
        _ISSUER,
        ("result", ("success", "not_modified", "failure")),
    ),
    _count(
        "jwks_unknown_kid_total",
        "Questions about a kid that is not in the set: one fetch a cool-down.",
        _ISSUER,
        ("action", ("fetched", "joined", "cooldown")),
    ),
    _gauge(
        "jwks_last_success_timestamp_seconds",
        "When the issuer's key set was last fetched.",
        "issuer",
    ),
    _time(
        "introspection_duration_seconds",
        "Calls of the issuer's introspection endpoint.",
        _REQUEST_S,
        _ISSUER,
    ),
    _count(
        "introspection_total",
        "Questions about opaque tokens by how they were answered.",
        _ISSUER,
        ("result", ("hit", "negative_hit", "miss", "coalesced", "error")),
    ),
    _gauge("revocation_entries", "Revocations in force in the index.", "kind"),
    _count(
        "revocation_applied_total",
        "Revocation events applied, by the way they came.",
        _ORIGIN,
        ("path", ("live", "backfill", "mirror", "saved", "local")),
    ),
    _time(
        "revocation_propagation_seconds",
        "Canary revocations: entered in the origin to refused by a worker here.",
        _PROPAGATION_S,
        _ORIGIN,
    ),
    _gauge(
        "revocation_feed_staleness_seconds",
        "How old this node's knowledge of the origin is; alarms at 5 and 10.",
        "origin",
    ),
    _count(
        "stale_answers_total",
        "Requests judged while their origin was staler than the route allows.",
        _ROUTE,
        ("on_stale", tuple(policy.value for policy in OnStale)),
    ),
    _count(
        "revocation_feed_gaps_total",
        "Times that events of the origin were found missing.",
        _ORIGIN,
    ),
    _gauge(
        "revocation_feed_connected",
        "1 while the bus connection to the origin stands.",
        "origin",
    ),
    _count(
        "revocation_feed_rejected_total",
        "Frames of the origin that were not applied.",
        _ORIGIN,
        ("cause", tuple(fault.value for fault in FaultKind)),
    ),
    _count(
        "revocation_urgent_total",
        "Events of the urgent path by what came of them; frames where none was read.",
        ("result", ("first", "known", "late", "flood", "rejected", "full")),
    ),
    _count(
        "intake_total",
        "Logouts, security events and requests of issuers, by what came of them.",
        ("way", ("logout", "push", "poll", "global", "tap")),
        ("result", ("revoked", "repeated", "ignored", "refused", "unavailable")),
    ),
    _gauge("region_up", "1 while an upstream of the region answers.", "region"),
    _count(
        "region_routed_total",
        "Requests by where they went and what decided it.",
        ("from", Names.OWN),
        ("to", Names.REGION),
        ("source", _SOURCES),
        sparse=True,
    ),
    _gauge("alarm_active", "1 while the alarm stands.", "alarm", "dependency"),
    _count(
        "region_disagreement_total",
        "Requests in which two sources named different regions.",
        ("winner", _SOURCES),
        ("loser", _SOURCES),
        sparse=True,
    ),
    Metric(
        "fastgate_metrics_overflow_total",
        MetricKind.COUNTER,
        "Counts that named no column: a fault of fastgate.",
        by_agent=True,
    ),
    _gauge(
        "metrics_left_out",
        "Samples of the agent past the series budget, missing from this page.",
    ),
)
