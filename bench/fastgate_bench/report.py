"""Report: a result as a file for machines and a page for people.

Owns:      the page: one file, no script, nothing fetched, dark and light, printable.
Called by: suite.
"""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

import orjson

from fastgate_bench.charts import Bars, Lines
from fastgate_bench.figures import DETAILS, quantity
from fastgate_bench.svg import draw

__all__ = ["page", "verdict", "write_report"]

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5d6778;--line:#d8dde6;--back:#fff;
--bad:#b3261e;--good:#1b6e3c;--c0:#2563b8;--c1:#c2570c;--c2:#2e7d4f;--c3:#8e3a9d;
--c4:#0b7f8c;--c5:#a8862a;--c6:#c02f5c;--c7:#64748b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b5;--line:#333c4a;
--back:#14181f;--bad:#ff8a80;--good:#7bd6a0;--c0:#6ea8fe;--c1:#ff9d5c;--c2:#73d197;
--c3:#d59be3;--c4:#5fd0dc;--c5:#e2c268;--c6:#ff87ab;--c7:#a3b1c4}}
body{margin:2rem auto;max-width:60rem;padding:0 1rem;background:var(--back);
color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p.verdict{font-size:1.1rem;font-weight:600}.bad{color:var(--bad)}.good{color:var(--good)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}th{color:var(--soft);font-weight:500}
td.number,th.number{text-align:right}td.number{white-space:nowrap}
td:first-child{white-space:nowrap}td.why{color:var(--soft);font-size:.85rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
figure{margin:1.5rem 0}figcaption{font-weight:600;margin-bottom:.4rem}
svg{width:100%;height:auto}svg text{fill:var(--ink);font:12px system-ui,sans-serif}
.grid{stroke:var(--line);fill:none}.line{fill:none;stroke-width:2}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;margin:.3rem 0;
padding:0 0 0 4rem;font-size:.85rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}
@media print{body{margin:0}}
"""
_POLICY: Final = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
_COLOUR_RULES: Final = "".join(
    f".line.c{n}{{stroke:var(--c{n})}}.dot.c{n},.bar.c{n}{{fill:var(--c{n})}}"
    f"i.c{n}{{background:var(--c{n})}}"
    for n in range(8)
)


def write_report(
    folder: pathlib.Path,
    document: Mapping[str, Any],
    charts: Sequence[Lines | Bars],
    title: str,
) -> list[pathlib.Path]:
    """Write NAME.json and NAME.html into a folder; returns both paths.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = document["name"]
    found = []
    for path, text in (
        (folder / f"{name}.json", orjson.dumps(document, option=orjson.OPT_INDENT_2)),
        (folder / f"{name}.html", page(document, charts, title).encode()),
    ):
        # Whoever reads it while it is written gets the old one or the new one.
        part = path.with_suffix(f"{path.suffix}.part")
        part.write_bytes(text)
        part.replace(path)
        found.append(path)
    return found


def page(
    document: Mapping[str, Any], charts: Sequence[Lines | Bars], title: str
) -> str:
    """Return the page of a result."""
    name = escape(str(document["name"]))
    good = bool(document["ok"])
    mood = "good" if good else "bad"
    where = {**document["machine"], "commit": document["commit"] or "installed wheel"}
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        # Nothing in this page may load or run anything, whatever a name contains.
        _POLICY,
        f"<title>fastgate bench {name}</title>",
        f"<style>{_STYLE}{_COLOUR_RULES}</style>",
        f"<h1>fastgate bench {name}</h1><p>{escape(title)}</p>",
        f'<p class="verdict {mood}">{verdict(document["figures"])}</p>',
        "<h2>Conditions</h2>",
        _terms({**where, **document["conditions"]}),
        *(f"<p>{escape(note)}</p>" for note in document["notes"]),
        "<h2>Figures</h2>",
        _table(f for f in document["figures"] if not _is_detail(f)),
        "<h2>Plots</h2>",
        *(draw(chart) for chart in charts),
        "<h2>Every statistic</h2>",
        _statistics(document["figures"]),
        "</html>",
    ]
    return "\n".join(parts)


def verdict(figures: Iterable[Mapping[str, Any]]) -> str:
    """Return in a line how many budgets were kept."""
    judged = [f for f in figures if f["budget"] is not None or not f["ok"]]
    missed = sum(not figure["ok"] for figure in judged)
    if not judged:
        return "no budget was held against it"
    if missed:
        return f"{missed} of {len(judged)} budgets missed"
    return f"all {len(judged)} budgets kept"


def _is_detail(figure: Mapping[str, Any]) -> bool:
    plain = figure["budget"] is None and figure["ok"]
    return plain and str(figure["metric"]).endswith(DETAILS)


def _statistics(figures: Iterable[Mapping[str, Any]]) -> str:
    """Return a table of stages against statistics, without ratios."""
    stages: dict[str, dict[str, str]] = {}
    names: dict[str, None] = {}
    for figure in figures:
        stage, _, name = str(figure["metric"]).rpartition(" ")
        if not stage or " " in stage or figure["value"] is None:
            continue  # a ratio has spaces in its name, and a figure refused no value
        names[name] = None
        text = quantity(figure["value"], str(figure["unit"]))
        stages.setdefault(stage, {})[name] = text
    rows = [
        f"<tr><td>{escape(stage)}</td>"
        + "".join(f'<td class="number">{escape(row.get(n, ""))}</td>' for n in names)
        + "</tr>"
        for stage, row in stages.items()
    ]
    head = "".join(f'<th class="number">{escape(name)}' for name in names)
    return f"<table><tr><th>stage{head}</tr>{''.join(rows)}</table>"


def _terms(terms: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_plain(value))}</dd>"
        for name, value in terms.items()
    )
    return f"<dl>{items}</dl>"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, float) and value == round(value):
        return f"{value:.0f}"
    if isinstance(value, list | tuple):
        return " ".join(map(_plain, value))
    return "-" if value is None else str(value)


def _table(figures: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    figures = list(figures)
    has_before = any("before" in figure for figure in figures)
    for figure in figures:
        unit = str(figure["unit"])
        budget = figure["budget"]
        limit = "at least " if figure.get("at_least") else ""
        outcome, mood = ("kept", "good") if figure["ok"] else ("missed", "bad")
        if figure["ok"] and budget is None:
            outcome, mood = "", ""
        cells = [
            f"<td>{escape(str(figure['metric']))}</td>",
            f'<td class="number">{escape(quantity(figure["value"], unit))}</td>',
            *([_before(figure)] if has_before else []),
            '<td class="number">'
            + ("" if budget is None else f"{limit}{escape(quantity(budget, unit))}")
            + "</td>",
            f'<td class="{mood}">{outcome}</td>',
            f'<td class="why">{escape(str(figure.get("why", "")))}</td>',
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    number = '<th class="number">'
    before = f"{number}before" if has_before else ""
    head = f"<tr><th>metric{number}value{before}{number}budget<th>outcome<th>note</tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _before(figure: Mapping[str, Any]) -> str:
    value = figure.get("before")
    text = "" if value is None else quantity(value, str(figure["unit"]))
    return f'<td class="number">{escape(text)}</td>'
