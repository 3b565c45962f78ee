"""Budgets: what a file may say, and when a figure keeps it."""

import pytest

from fastgate.errors import ConfigError
from fastgate_bench import NAMES
from fastgate_bench.budget import NO_BUDGETS, read_budgets
from fastgate_bench.figures import Measured, Stage, absent, refused
from fastgate_bench.suite import SUPPLIED

STAGES = [
    Stage("seen", "us", {"p50": 2.0, "p99": 9.0}, spread=(1.9, 2.2), note="warm"),
    Stage("sha256", "us", {"p50": 1.0}),
    Stage("slow", "us", {"p50": 5.0, "p99": 6.0}),
    Stage("maximum", "/s", {"rate": 8000.0}, "rate"),
    Stage("memory", "B", {"memory": 20_000.0}, "memory"),
    absent("haproxy-plain", "us", "haproxy is absent: apt-get install haproxy"),
    refused("late", "us", "the load generator was late itself"),
]


def judged(tmp_path, text):
    """The figures with a budget, by metric."""
    path = tmp_path / "budget.yaml"
    path.write_text(text, "utf-8")
    figures = read_budgets(path, "relay").judge(Measured(list(STAGES)))
    return {
        figure.metric: figure
        for figure in figures
        if figure.budget is not None or not figure.ok
    }


@pytest.mark.parametrize(
    ("text", "metric", "value", "budget", "ok"),
    [
        ("relay: {seen: {p50: 2us}}", "seen p50", 2.0, 2.0, True),
        ("relay: {seen: {p50: 1.9us}}", "seen p50", 2.0, 1.9, False),
        ("relay: {seen: {p99: 0.01ms}}", "seen p99", 9.0, 10.0, True),
        ("relay: {seen: {p99: 8000ns}}", "seen p99", 9.0, 8.0, False),
        ("relay: {se*: {p50: 3us}}", "seen p50", 2.0, 3.0, True),
        ("relay: {memory: {memory: 16KiB}}", "memory memory", 2e4, 16384.0, False),
        (
            "relay: {maximum: {rate: {at_least: 9000/s}}}",
            *("maximum rate", 8000.0, 9000.0, False),
        ),
        (
            "relay: {maximum: {rate: {at_least: 8000/s}}}",
            *("maximum rate", 8000.0, 8000.0, True),
        ),
        ("relay: {seen: {ratio: {sha256: 2}}}", "seen / sha256", 2.0, 2.0, True),
        ("relay: {seen: {ratio: {sha256: 1.5}}}", "seen / sha256", 2.0, 1.5, False),
        (
            "relay: {seen: {ratio: {sha256: 1, plus: 1.2us}}}",
            *("seen against 1 x sha256 + 1.2 us", 2.0, 2.2, True),
        ),
        (
            "relay: {seen: {ratio: {sha256: 1, seen: 0.1}}}",
            *("seen against 1 x sha256 + 0.1 x seen", 2.0, 1.2, False),
        ),
        (
            "relay: {seen: {ratio: {slow: 2, plus: 1us, of: p99}}}",
            *("seen p99 against 2 x slow + 1 us", 9.0, 13.0, True),
        ),
        (
            "relay: {seen: {ratio: {slow: 1.2, of: p99}}}",
            *("seen / slow", 1.5, 1.2, False),
        ),
    ],
)
def test_judge_holds_each_form_of_limit_against_its_stage(
    tmp_path, text, metric, value, budget, ok
):
    """Quantities are converted, ratios are made of the same run's floors."""
    found = judged(tmp_path, text)
    figure = found.pop(metric)
    assert (figure.value, figure.ok) == (pytest.approx(value), ok)
    assert figure.budget == pytest.approx(budget)
    assert not found


def test_judge_takes_a_list_of_ratios(tmp_path):
    """One stage may be held against several floors."""
    text = "relay: {seen: {ratio: [{sha256: 3}, {sha256: 1}]}}"
    path = tmp_path / "budget.yaml"
    path.write_text(text, "utf-8")
    figures = read_budgets(path, "relay").judge(Measured(list(STAGES)))
    oks = [figure.ok for figure in figures if figure.metric == "seen / sha256"]
    assert oks == [True, False]


@pytest.mark.parametrize(
    ("text", "metric", "why", "is_absent"),
    [
        ("relay: {nothing: {p50: 1us}}", "nothing", "no such stage", False),
        ("relay: {seen: {p75: 1us}}", "seen p75", "no such statistic", False),
        ("relay: {late: {p50: 1us}}", "late", "late itself", False),
        (
            "relay: {seen: {ratio: {sha256: 1, of: p99}}}",
            *("seen p99 against 1 x sha256", "sha256: has no p99", False),
        ),
        (
            "relay: {sha256: {ratio: {slow: 1, of: p99}}}",
            *("sha256 p99", "no such statistic", False),
        ),
        ("relay: {haproxy-plain: {cpu: 1us}}", "haproxy-plain", "apt-get", True),
        (
            "relay: {seen: {ratio: {haproxy-plain: 1.25}}}",
            *("seen against 1.25 x haproxy-plain", "haproxy is absent", True),
        ),
    ],
)
def test_judge_fails_closed_where_nothing_was_measured(
    tmp_path, text, metric, why, is_absent
):
    """A budget that cannot be held against anything is not kept."""
    figure = judged(tmp_path, text)[metric]
    assert (figure.value, figure.ok, figure.is_absent) == (None, False, is_absent)
    assert why in figure.why


def test_judge_without_budgets_accepts_whatever_was_measured():
    """Figures of a foreign URL are just figures."""
    figures = NO_BUDGETS.judge(Measured(list(STAGES)))
    assert all(figure.ok for figure in figures)
    assert {f.metric: f.why for f in figures}["seen p50"] == "warm; rounds 1.9 to 2.2"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("relay: [1]", "must be a mapping"),
        ("other: {}", "has no budgets for `relay`"),
        ("relay: {seen: {p50: 1 parsec}}", "write a number and one of"),
        ("relay: {seen: {p50: true}}", "write a number and one of"),
        ("relay: {seen: {p50: -1us}}", "write a number and one of"),
        ("relay: {seen: {p50: {at_most: 1us}}}", "write a quantity"),
        ("relay: {seen: {ratio: {}}}", "names no floor"),
        ("relay: {seen: {ratio: {plus: 1us}}}", "names no floor"),
        ("relay: {seen: {ratio: {sha256: 2us}}}", "a factor has no unit"),
        ("relay: {seen: {ratio: 2}}", "must be a mapping"),
        ("relay: {seen: {p50: 1us}, seen: {}}", "seen"),
        ("relay: {", "budget.yaml"),
        ("relay: {seen: {p50: 1KiB}}", "is measured in us"),
    ],
)
def test_read_budgets_refuses_what_it_does_not_understand(tmp_path, text, why):
    """A limit that is not understood must not look like one that is kept."""
    with pytest.raises(ConfigError, match=why):
        judged(tmp_path, text)


def test_read_budgets_refuses_absent_and_endless_files(tmp_path):
    """Exit 78 with one line, and no memory for a file of any size."""
    with pytest.raises(ConfigError, match="No such file"):
        read_budgets(tmp_path / "absent", "relay")
    big = tmp_path / "big"
    big.write_bytes(b"#" * 70_000)
    with pytest.raises(ConfigError, match="larger than"):
        read_budgets(big, "relay")


@pytest.mark.parametrize("name", NAMES)
def test_supplied_budgets_can_be_read(name):
    """Each bench comes with limits of its own."""
    assert read_budgets(SUPPLIED / f"{name}.yaml", name)
