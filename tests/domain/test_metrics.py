"""The table of metrics keeps its own conventions."""

import itertools
from pathlib import Path

from tests.domain import metrics_reference

from fastgate.domain.metrics import METRICS, REQUESTS_TOTAL, MetricKind

CLIENT_WORDS = {"sub", "jti", "client", "client_id", "host", "peer", "kid"}


def test_metric_names_follow_the_conventions():
    """Counters end in _total, times in _seconds, and every name begins alike."""
    for metric in METRICS:
        assert metric.name.startswith("fastgate_"), metric.name
        is_counter = metric.kind is MetricKind.COUNTER
        assert metric.name.endswith("_total") is is_counter, metric.name
        is_info = metric.kind is MetricKind.INFO
        assert metric.name.endswith("_info") is is_info, metric.name
        if metric.kind is MetricKind.HISTOGRAM:
            assert metric.name.endswith("_seconds"), metric.name


def test_metric_names_are_unique():
    """Two rows of one name would be one broken family on the page."""
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)


def test_no_label_is_a_word_of_the_client():
    """Nothing that a client chooses becomes a label (B42)."""
    for metric in METRICS:
        assert CLIENT_WORDS.isdisjoint(metric.label_names), metric.name


def test_histograms_have_bounds_that_rise_and_nothing_else_has_any():
    """Bounds become integers of nanoseconds without two falling together."""
    for metric in METRICS:
        assert bool(metric.bounds_s) is (metric.kind is MetricKind.HISTOGRAM)
        for low, high in itertools.pairwise(metric.bounds_ns):
            assert 0 < low < high


def test_columns_of_the_table_have_closed_labels():
    """Only samples of the agent may have a label without a list."""
    for metric in METRICS:
        if metric.by_agent or metric.name == REQUESTS_TOTAL:
            continue
        assert all(values is not None for _, values in metric.labels), metric.name


def test_every_metric_says_what_it_counts():
    """The help text is a sentence."""
    assert all(metric.help.endswith(".") or ";" in metric.help for metric in METRICS)


def test_reference_page_is_in_step_with_the_table():
    """docs/metrics.md is generated, never edited."""
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text() == metrics_reference.text()
