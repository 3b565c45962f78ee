"""The metrics page: parsed back by the client library, bounded, closed labels."""

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fastgate._ext.counters import CounterRow, CounterTable, Histogram, size
from fastgate.adapters.prometheus import MetricsPage
from fastgate.domain.metric_plan import AGENT_SERIES, MAX_SERIES, MetricPlan
from fastgate.domain.metrics import METRICS

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
REQUESTS = "fastgate_requests_total"


class Node:
    """A table of two rows under one plan, and the agent's samples."""

    def __init__(self, routes=("orders", "public")):
        self.plan = MetricPlan(
            routes=routes, regions=("eu", "us"), issuers=("login",), own_region="eu"
        )
        columns = self.plan.columns
        memory = bytearray(size(2, columns))
        self.table = CounterTable(memory, 2, columns, self.plan.layout)
        self.rows = [
            CounterRow(memory, slot, columns, self.plan.layout) for slot in range(2)
        ]
        self.samples = []
        self.page = MetricsPage(self.table, self.plan, lambda: self.samples)

    def scrape(self, accept=""):
        text = self.page.render(accept)[0].decode()
        parse = parse_openmetrics if accept else parse_text
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parse(text)
            for sample in family.samples
        }


@pytest.fixture
def node():
    return Node()


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["text", "openmetrics"])
def test_page_sums_the_rows_of_all_workers(node, accept):
    """One series a label set, whoever counted."""
    column = node.plan.request_column(0, "GET", 200, 1)
    node.rows[0].add(column, 2)
    node.rows[1].add(column, 3)
    key = (REQUESTS, ("code", "200"), ("method", "GET"), ("region", "us"),
           ("route", "orders"))  # fmt: skip
    page = node.scrape(accept)
    assert page[key] == 5
    assert sum(name[0] == REQUESTS for name in page) == 1


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["text", "openmetrics"])
def test_page_prints_a_histogram_cumulatively(node, accept):
    """Buckets add up, the last one is the count, the sum is in seconds."""
    name = "fastgate_overhead_duration_seconds"
    histogram = Histogram(node.rows[0], *node.plan.histogram(name, "orders"))
    for ns in (40_000, 50_000, 50_001, 2_000_000_000):
        histogram.observe(ns)
    page = node.scrape(accept)
    route = ("route", "orders")
    assert page[f"{name}_bucket", ("le", "5e-05"), route] == 2
    assert page[f"{name}_bucket", ("le", "0.0001"), route] == 3
    assert page[f"{name}_bucket", ("le", "0.05"), route] == 3
    assert page[f"{name}_bucket", ("le", "+Inf"), route] == 4
    assert page[f"{name}_count", route] == 4
    assert page[f"{name}_sum", route] == pytest.approx(2.000140001)


def test_page_chooses_the_format_by_accept_alone(node):
    """A version or word in the header never comes back in the answer."""
    text, plain = node.page.render("text/html, */*")
    assert plain.startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in text
    for accept in (OPENMETRICS, "application/openmetrics-text; version=9\r\nX: y"):
        body, content_type = node.page.render(accept)
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        assert "\n" not in content_type
        assert body.endswith(b"# EOF\n")


def test_page_prints_known_series_before_their_first_event(node):
    """`increase()` then sees the first gap; catch-all labels wait for theirs."""
    page = node.scrape()
    gaps = "fastgate_revocation_feed_gaps_total"
    assert page[gaps, ("origin", "eu")] == 0
    assert page[gaps, ("origin", "us")] == 0
    assert not any("_UNKNOWN" in str(key) or "_OTHER" in str(key) for key in page)
    assert not any(key[0] == "fastgate_token_checks_total" for key in page)
    node.rows[0].add(node.plan.column(gaps, "elsewhere"))
    assert node.scrape()[gaps, ("origin", "_UNKNOWN")] == 1


def test_page_prints_what_the_agent_says(node):
    """Gauges and the build come with their labels in the table's order."""
    node.samples = [
        ("fastgate_build_info", ("1.0", "3.11", "abc"), 1),
        ("fastgate_alarm_active", ("jwks", "login"), 1),
        ("fastgate_revocation_feed_staleness_seconds", ("us",), 0.25),
    ]
    page = node.scrape()
    build = (("commit", "abc"), ("python", "3.11"), ("version", "1.0"))
    assert page["fastgate_build_info", *build] == 1
    alarm = (("alarm", "jwks"), ("dependency", "login"))
    assert page["fastgate_alarm_active", *alarm] == 1
    assert page["fastgate_revocation_feed_staleness_seconds", ("origin", "us")] == 0.25


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        (("fastgate_nothing", (), 1), KeyError),
        ((REQUESTS, (), 1), KeyError),
        (("fastgate_jwks_keys", (), 1), ValueError),
        (("fastgate_jwks_keys", ("a", "b"), 1), ValueError),
        (("fastgate_build_info", ("1",), 1), ValueError),
    ],
)
def test_page_refuses_a_sample_that_the_table_does_not_have(node, sample, error):
    """The one table of names cannot be passed by."""
    node.samples = [sample]
    with pytest.raises(error):
        node.page.render()


def test_page_shows_a_gauge_below_zero_as_zero(node):
    """A row left by a killed worker cannot show 2 ** 64 requests in flight."""
    name = "fastgate_requests_in_flight"
    node.rows[0].add(node.plan.column(name, "orders"), -1)
    assert node.scrape()[name, ("route", "orders")] == 0


def test_page_shows_counts_that_named_no_column(node):
    """A fault of our own is on the page."""
    node.rows[0].add(10**9)
    assert node.scrape()["fastgate_metrics_overflow_total",] == 1


def test_page_escapes_a_route_name_of_the_operator():
    """A quote or line end in the configuration breaks no line."""
    name = 'a"b\nc\\d'
    node = Node(routes=(name,))
    node.rows[0].add(node.plan.column("fastgate_requests_in_flight", name))
    assert node.scrape()["fastgate_requests_in_flight", ("route", name)] == 1


def test_page_stays_within_its_budget_when_everything_was_counted():
    """Every column used and an agent without measure: MAX_SERIES, and it says so."""
    node = Node(routes=tuple(f"route-{n}" for n in range(200)))
    for column in range(node.plan.columns):
        node.rows[column % 2].add(column)
    node.samples = [
        ("fastgate_alarm_active", ("jwks", f"issuer-{n}"), 1) for n in range(5_000)
    ]
    page = node.scrape()
    assert len(page) <= MAX_SERIES
    assert page["fastgate_metrics_left_out",] == 5_000 - (AGENT_SERIES - 2)


def test_page_names_every_metric_of_the_table(node):
    """What the table declares is on the page, with its help."""
    text = node.page.render()[0].decode()
    for metric in METRICS:
        assert f"# TYPE {metric.name} " in text, metric.name
        assert metric.help in text, metric.name
