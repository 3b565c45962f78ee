"""The report is one file that shows everything and runs nothing."""

import json
import re
import shutil
import subprocess

import pytest

from fastgate_bench.charts import Bars, Lines
from fastgate_bench.report import page, verdict, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = "<script>alert(1)</script>"
CHARTS = [
    Lines("Curves", "x", "y", {"a": [(1.0, 2.0), (10.0, 30.0)], "b": []}),
    Lines("Logs", "x", "y", {EVIL: [(0.0, 0.0), (1.0, 5.0)]}, x_log=True, y_log=True),
    Lines("Flat", "x", "y", {"one": [(3.0, 0.0)]}),
    Lines("Nines", "x", "y", {"tail": [(0.0, 1.0), (2.6, 9.0)]}, x_nines=True),
    Lines("Empty", "x", "y", {}),
    Bars("Bars", "us", {"plain": [("all", 3.0)], EVIL: [("a", 1.0), ("b", 2.0)]}),
    Bars("Nothing", "us", {}),
]


@pytest.fixture
def document():
    """A result with each kind of figure."""

    def figure(metric, value, budget, ok, **more):
        made = {"metric": metric, "value": value, "unit": "us", "budget": budget}
        return made | {"ok": ok} | more

    return {
        "name": "relay",
        "ok": False,
        "figures": [
            figure("seen p50", 12345.0, 20000.0, True, why=EVIL),
            figure("seen p99", 0.0123, 0.01, False),
            figure("late", None, None, True, why="the generator was late"),
            figure("rate", 10.0, 5.0, True, at_least=True),
            figure("seen p90", 15000.0, None, True),
            figure("seen / direct", 2.0, 3.0, True, before=2.5),
            figure("held memory", 20480.0, 16384.0, False) | {"unit": "B"},
        ],
        "machine": {"cpu": EVIL, "packages": {"aiohttp": "3.14.5"}},
        "commit": "",
        "conditions": {"populations": [1, 2]},
        "notes": [EVIL],
    }


def test_page_shows_every_figure_and_no_markup_of_others(document):
    """Names and notes are text, whatever they contain."""
    text = page(document, CHARTS, "title")
    assert EVIL not in text
    assert "<script" not in text
    for shown in ("seen p50", "12,345 us", "20,000 us", "missed", "at least 5 us"):
        assert shown in text
    assert text.count("<svg") == 5
    assert text.count("Nothing was measured") == 2


def test_page_counts_the_budgets_and_shows_what_was_before(document):
    """The first line is the outcome; a column has the last kept run."""
    text = page(document, CHARTS, "title")
    assert "2 of 5 budgets missed" in text
    assert "before" in text
    assert "2.5 us" in text
    assert "20 KiB" in text
    for figure in document["figures"]:
        figure.pop("before", None)
    assert "before" not in page(document, CHARTS, "title")


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        ([], "no budget was held against it"),
        ([(1.0, None, True)], "no budget was held against it"),
        ([(1.0, 2.0, True), (3.0, None, True)], "all 1 budgets kept"),
        ([(1.0, 2.0, True), (None, None, False)], "1 of 2 budgets missed"),
    ],
    ids=["nothing", "no budget", "kept", "unmeasured"],
)
def test_verdict_counts_what_could_not_be_measured_as_missed(figures, line):
    """A budget that was held against nothing is not kept."""
    names = ("value", "budget", "ok")
    assert verdict([dict(zip(names, one, strict=True)) for one in figures]) == line


def test_page_has_every_statistic_in_a_table_of_its_own(document):
    """Details come second; ratios are not statistics of a stage."""
    first, _, second = page(document, CHARTS, "title").partition("Every statistic")
    assert "seen p90" not in first
    assert "15,000 us" in second
    assert "seen / direct" not in second


def test_axis_of_nines_is_labelled_with_shares(document):
    """Nobody reads a number of nines."""
    text = page(document, CHARTS, "title")
    for label in ("0 %", "90 %", "99 %", "99.9 %"):
        assert f">{label}</text>" in text


def test_page_fetches_nothing(document):
    """It opens without a network, and its own policy forbids one."""
    text = page(document, CHARTS, "title")
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|https?://""", text)


def test_write_report_leaves_both_files_whole(tmp_path, document):
    """The JSON is the result; the page stands beside it."""
    folder = tmp_path / "new" / "folder"
    paths = write_report(folder, document, CHARTS, "title")
    assert [path.name for path in paths] == ["relay.json", "relay.html"]
    assert json.loads(paths[0].read_bytes()) == document
    assert sorted(path.name for path in folder.iterdir()) == [
        "relay.html",
        "relay.json",
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_page_is_drawn_by_a_browser(tmp_path, document):
    """A real browser finds charts in it, and axes in the charts."""
    path = write_report(tmp_path, document, CHARTS, "title")[1]
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={tmp_path}/profile", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    assert done.stdout.count('<path class="grid"') > 10
    assert done.stdout.count("<figcaption>") == len(CHARTS)
