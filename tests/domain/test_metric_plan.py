"""The metric plan: columns that are the same everywhere, and a budget that holds."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate.domain.metric_plan import (
    AGENT_SERIES,
    MAX_SERIES,
    TABLE_COLUMNS,
    MetricPlan,
)
from fastgate.domain.metrics import KNOWN_CODES, KNOWN_METHODS, OTHER, UNKNOWN
from fastgate.domain.verdict import Reason

REQUESTS = "fastgate_requests_total"


def plan_of(routes=("orders", "oauth", "public"), regions=("eu", "us", "ap"), **more):
    return MetricPlan(
        routes=routes, regions=regions, issuers=more.get("issuers", ("login",)),
        own_region=regions[0] if regions else "eu",
    )  # fmt: skip


def names(prefix, count):
    return tuple(f"{prefix}{n}" for n in range(count))


def shown(plan, *request):
    """The labels under which one request is printed."""
    (labels,) = plan.fold_requests([(plan.request_column(*request), 1)])
    return labels


def worst(plan):
    """Every column of requests counted once."""
    return [(column, 1) for column in range(plan.request_first, plan.columns)]


def fixed_series(plan):
    return sum(len(f.series) * f.metric.printed for f in plan.families)


def test_plan_is_the_same_in_every_process():
    """Columns follow from the configuration alone."""
    first, second = plan_of(), plan_of()
    assert first.layout == second.layout
    assert first.families == second.families
    assert first.columns == second.columns


@pytest.mark.parametrize(
    "other",
    [
        {"routes": ("orders", "oauth")},
        {"routes": ("oauth", "orders", "public")},
        {"regions": ("eu", "us")},
        {"issuers": ("login", "partner")},
    ],
)
def test_layout_differs_when_a_column_means_something_else(other):
    """Rows of two configurations are never added up."""
    assert plan_of(**other).layout != plan_of().layout


def test_layout_is_neither_of_the_reserved_values():
    """0 is a row never used, all ones a row being cleared."""
    assert 0 < plan_of().layout < 2**64 - 1


def test_columns_do_not_overlap():
    """Each series has columns of its own, without holes, up to the requests."""
    plan = plan_of()
    ends = [0, *(family.end for family in plan.families)]
    assert [family.first for family in plan.families] == ends[:-1]
    assert ends[-1] == plan.request_first < plan.columns <= TABLE_COLUMNS


def test_column_finds_the_series_it_names():
    """A column is the one its family prints under those labels."""
    plan = plan_of()
    for family in plan.families:
        for labels, column in plan.columns_of(family.metric.name).items():
            if {OTHER, UNKNOWN}.isdisjoint(labels):
                assert plan.column(family.metric.name, *labels) == column


def test_column_counts_an_unconfigured_name_as_unknown():
    """A route, region or issuer that is not configured has one place."""
    plan = plan_of()
    name = "fastgate_jwks_fetch_total"
    unknown = plan.columns_of(name)[UNKNOWN, "failure"]
    assert plan.column(name, "nobody", "failure") == unknown


@pytest.mark.parametrize(
    ("name", "labels", "error"),
    [
        ("fastgate_nothing_total", (), KeyError),
        ("fastgate_lane_requests_total", ("other",), KeyError),
        ("fastgate_lane_requests_total", (), ValueError),
        ("fastgate_lane_requests_total", ("general", "x"), ValueError),
        ("fastgate_jwks_keys", ("login",), KeyError),
    ],
)
def test_column_refuses_what_the_table_does_not_have(name, labels, error):
    """A misspelt label is found when columns are resolved, not in production."""
    with pytest.raises(error):
        plan_of().column(name, *labels)


def test_every_reason_has_a_column_for_every_kind_of_credential():
    """A new reason needs no change here."""
    plan = plan_of()
    columns = {
        plan.column("fastgate_token_checks_total", kind, result)
        for kind in ("jwt", "opaque", "wrapped", "none")
        for result in ("allow", *Reason)
    }
    assert len(columns) == 4 * (1 + len(Reason))


def test_histogram_gives_column_and_bounds():
    """The compiled histogram gets integers and a place that fits it."""
    plan = plan_of()
    first, bounds = plan.histogram("fastgate_request_duration_seconds", "oauth")
    following, _ = plan.histogram("fastgate_request_duration_seconds", "public")
    assert bounds[0] == 500_000
    assert bounds[-1] == 10_000_000_000
    assert following - first == len(bounds) + 2


def test_gauge_columns_are_the_in_flight_ones():
    """A new worker clears these and nothing else."""
    plan = plan_of()
    assert plan.gauge_columns == tuple(
        plan.columns_of("fastgate_requests_in_flight").values()
    )


def test_request_column_keeps_route_method_code_and_region_apart():
    """Known values show as they are."""
    plan = plan_of()
    seen = {}
    values = itertools.product(range(3), KNOWN_METHODS, KNOWN_CODES, range(3))
    for route, method, code, region in values:
        column = plan.request_column(route, method, code, region)
        assert plan.request_first <= column < plan.columns
        assert seen.setdefault(column, (route, method, code, region)) == (
            route, method, code, region,
        )  # fmt: skip
    assert shown(plan, 1, "PATCH", 404, 2) == ("oauth", "PATCH", "404", "ap")


@pytest.mark.parametrize(
    ("request_", "labels"),
    [
        ((-1, "GET", 404, 0), (UNKNOWN, "GET", "404", "eu")),
        ((0, "GET", 200, -1), ("orders", "GET", "200", UNKNOWN)),
        ((0, "GET", 200, -2), ("orders", "GET", "200", UNKNOWN)),
        ((0, "get", 200, 0), ("orders", OTHER, "200", "eu")),
        ((0, "\r\nX", 200, 0), ("orders", OTHER, "200", "eu")),
        ((0, "", 200, 0), ("orders", OTHER, "200", "eu")),
        ((0, "GET", 418, 0), ("orders", "GET", "4xx", "eu")),
        ((0, "GET", 599, 0), ("orders", "GET", "5xx", "eu")),
        ((0, "GET", 600, 0), ("orders", "GET", OTHER, "eu")),
        ((0, "GET", 99, 0), ("orders", "GET", OTHER, "eu")),
        ((0, "GET", 0, 0), ("orders", "GET", OTHER, "eu")),
        ((0, "GET", -7, 0), ("orders", "GET", OTHER, "eu")),
        ((0, "GET", 10**9, 0), ("orders", "GET", OTHER, "eu")),
    ],
)
def test_request_column_counts_foreign_values_under_a_closed_label(request_, labels):
    """Whatever a client or an upstream sends, the label is from the closed set."""
    assert shown(plan_of(), *request_) == labels


def test_routes_of_one_name_share_their_series():
    """Two routes named alike are one line on the page."""
    plan = plan_of(routes=("a", "b", "a"))
    assert plan.request_column(0, "GET", 200, 0) == plan.request_column(
        2, "GET", 200, 0
    )
    assert plan.request_column(0, "GET", 200, 0) != plan.request_column(
        1, "GET", 200, 0
    )


@pytest.mark.parametrize("name", [OTHER, UNKNOWN])
def test_route_named_like_a_catch_all_counts_as_unknown(name):
    """No page carries the same series twice."""
    plan = plan_of(routes=("a", name))
    assert shown(plan, 1, "GET", 200, 0)[0] == UNKNOWN
    for family in plan.families:
        assert len(set(family.series)) == len(family.series)


def test_fold_keeps_full_detail_within_the_budget():
    """Nothing is folded that fits."""
    plan = plan_of()
    cells = worst(plan)[: plan.request_series]
    labels = plan.fold_requests(cells)
    assert len(labels) == len(cells)
    assert {method for _, method, _, _ in labels} > {"GET", "POST"}


def test_fold_gives_up_the_method_first():
    """One series too many, and methods go while codes and regions stay."""
    plan = plan_of()
    cells = worst(plan)[: plan.request_series + 1]
    labels = plan.fold_requests(cells)
    assert {method for _, method, _, _ in labels} == {OTHER}
    assert "404" in {code for _, _, code, _ in labels}
    assert {region for _, _, _, region in labels} > {"eu", "us"}


def test_fold_gives_up_codes_next_and_regions_last():
    """With many routes only classes are left, then no regions."""
    plan = plan_of(routes=names("r", 20))
    by_class = plan.fold_requests(
        [cell for cell in worst(plan) if (cell[0] - plan.request_first) % 2 == 0]
    )
    assert {code for _, _, code, _ in by_class} >= {"2xx", "4xx", OTHER}
    assert all(not code.isdigit() for _, _, code, _ in by_class)
    many = plan_of(routes=names("r", 30), regions=names("g", 6))
    assert {region for *_, region in many.fold_requests(worst(many))} == {OTHER}


@settings(max_examples=60, deadline=None)
@given(
    routes=st.integers(0, 500), regions=st.integers(1, 64), issuers=st.integers(0, 60)
)
def test_budget_holds_for_any_configuration(routes, regions, issuers):
    """However much is configured and whatever is counted: MAX_SERIES, and no loss."""
    plan = plan_of(names("r", routes), names("g", regions), issuers=names("i", issuers))
    cells = worst(plan)
    labels = plan.fold_requests(cells)
    assert fixed_series(plan) + len(labels) + AGENT_SERIES <= MAX_SERIES
    assert sum(labels.values()) == len(cells)
    assert plan.columns <= TABLE_COLUMNS
    for index in range(routes):
        plan.request_column(index, "GET", 200, regions - 1)
