"""The report is one file that shows everything and runs nothing."""

import json
import re
import shutil
import subprocess

import pytest

from fastgate_bench.charts import Bars, Lines
from fastgate_bench.report import page, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = "<script>alert(1)</script>"
CHARTS = [
    Lines("Curves", "x", "y", {"a": [(1.0, 2.0), (10.0, 30.0)], "b": []}),
    Lines("Logs", "x", "y", {EVIL: [(0.0, 0.0), (1.0, 5.0)]}, x_log=True, y_log=True),
    Lines("Flat", "x", "y", {"one": [(3.0, 0.0)]}),
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
    assert text.count("<svg") == 4
    assert text.count("Nothing was measured") == 2


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
