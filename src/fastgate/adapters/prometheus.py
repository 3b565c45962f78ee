"""Prometheus: the text of `/metrics`, from the shared counter table and the agent.

Owns:      nothing; every scrape reads the table anew.
Called by: the agent's status listener; wiring makes a page from table and plan, and
           another one when a reload changes the plan.
Source:    Prometheus text format 0.0.4 and OpenMetrics 1.0, through prometheus-client.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fastgate.domain import metrics
from fastgate.domain.metric_plan import AGENT_SERIES, Family, MetricPlan
from fastgate.domain.metrics import METRICS, OTHER, UNKNOWN, MetricKind

__all__ = ["MetricsPage", "Sample", "Totals"]

# Metric name, label values in the order of the metric's table row, value.
Sample = tuple[str, Sequence[str], float]

_OPENMETRICS = "application/openmetrics-text"
_CATCH_ALL = frozenset((OTHER, UNKNOWN))
_LEFT_OUT = "fastgate_metrics_left_out"
_OVERFLOW = "fastgate_metrics_overflow_total"
# A gauge is a sum modulo 2 ** 64: one that a dead worker left below zero shows as 0.
_SIGN_BIT = 1 << 63


class Totals(Protocol):
    """The sums over all rows of the shared table."""

    def totals(self, first: int = 0, last: int = -1) -> list[int]:
        """Return the sums of the columns in [first, last)."""
        ...

    def nonzero(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return column and sum of those that are not 0."""
        ...

    def overflow(self) -> int:
        """Return how many counts named no column."""
        ...


class MetricsPage:
    """Renders one page per scrape; at most MAX_SERIES series, whatever clients did.

    table: Sums of the shared table, under the plan's layout.
    plan: Which column is which series.
    agent: Samples of what only the agent knows, asked once a scrape. A name that is
        not such a metric of the table raises KeyError; past AGENT_SERIES series the
        rest is left out, and `fastgate_metrics_left_out` says how many.
    """

    def __init__(
        self,
        table: Totals,
        plan: MetricPlan,
        agent: Callable[[], Iterable[Sample]],
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Reader(table, plan, agent))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page and its Content-Type.

        accept: The Accept header; OpenMetrics where it is named, else plain text.
        """
        # Only the choice is taken from the header: the encoder would repeat a version
        # that it found there.
        wanted = f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in accept else ""
        encode, content_type = choose_encoder(wanted)
        return encode(self._registry), content_type


class _Reader(Collector):
    def __init__(
        self,
        table: Totals,
        plan: MetricPlan,
        agent: Callable[[], Iterable[Sample]],
    ) -> None:
        self._table = table
        self._plan = plan
        self._agent = agent
        self._placed = {family.metric.name: family for family in plan.families}

    def collect(self) -> Iterator[Metric]:
        totals = self._table.totals(0, self._plan.request_first)
        by_agent = self._ask_agent()
        for metric in METRICS:
            if metric.by_agent:
                yield _agent_family(metric, by_agent[metric.name])
            elif metric.name == metrics.REQUESTS_TOTAL:
                yield self._requests(metric)
            else:
                yield _table_family(self._placed[metric.name], totals)

    def _requests(self, metric: metrics.Metric) -> Metric:
        plan = self._plan
        cells = self._table.nonzero(plan.request_first, plan.columns)
        family = CounterMetricFamily(
            metric.name, metric.help, labels=metric.label_names
        )
        for labels, total in plan.fold_requests(cells).items():
            family.add_metric(labels, total)
        return family

    def _ask_agent(self) -> dict[str, list[Sample]]:
        found: dict[str, list[Sample]] = {m.name: [] for m in METRICS if m.by_agent}
        # The two lines below are ours and always there.
        left = AGENT_SERIES - 2
        left_out = 0
        for sample in self._agent():
            if left > 0:
                found[sample[0]].append(sample)
                left -= 1
            else:
                left_out += 1
        found[_LEFT_OUT] = [(_LEFT_OUT, (), left_out)]
        found[_OVERFLOW] = [(_OVERFLOW, (), self._table.overflow())]
        return found


def _agent_family(metric: metrics.Metric, samples: Iterable[Sample]) -> Metric:
    names = metric.label_names
    if metric.kind is MetricKind.INFO:
        # The client adds the suffix again.
        info = InfoMetricFamily(metric.name.removesuffix("_info"), metric.help)
        for _, values, _ in samples:
            info.add_metric([], dict(zip(names, values, strict=True)))
        return info
    make = (
        CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    )
    family = make(metric.name, metric.help, labels=names)
    for _, values, value in samples:
        if len(values) != len(names):
            raise ValueError(f"{metric.name} has the labels {names}")
        family.add_metric(values, value)
    return family


def _table_family(family: Family, totals: Sequence[int]) -> Metric:
    metric = family.metric
    names = metric.label_names
    if metric.kind is MetricKind.HISTOGRAM:
        return _histogram_family(family, totals)
    make = (
        CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    )
    page = make(metric.name, metric.help, labels=names)
    for place, labels in enumerate(family.series):
        total = totals[family.first + place]
        if total or _shows_at_zero(metric, labels):
            is_below_zero = metric.kind is MetricKind.GAUGE and total >= _SIGN_BIT
            page.add_metric(labels, 0 if is_below_zero else total)
    return page


def _histogram_family(family: Family, totals: Sequence[int]) -> Metric:
    metric = family.metric
    page = HistogramMetricFamily(metric.name, metric.help, labels=metric.label_names)
    bounds = [*map(floatToGoString, metric.bounds_s), "+Inf"]
    for place, labels in enumerate(family.series):
        first = family.first + place * family.stride
        count = 0
        buckets: list[tuple[str, float]] = []
        for step, bound in enumerate(bounds):
            count += totals[first + step]
            buckets.append((bound, count))
        if count or _shows_at_zero(metric, labels):
            page.add_metric(labels, buckets, totals[first + len(bounds)] / 1e9)
    return page


def _shows_at_zero(metric: metrics.Metric, labels: Sequence[str]) -> bool:
    return not metric.sparse and _CATCH_ALL.isdisjoint(labels)
