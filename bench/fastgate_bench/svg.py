"""Svg: draws charts as text, without a script and without anything to fetch.

Owns:      sizes, axes and the classes that the page's style sheet colours.
Called by: report.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from fastgate_bench.charts import Bars, Lines

__all__ = ["draw"]

_WIDTH: Final = 760
_HEIGHT: Final = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 28, 14, 46
_ROW: Final = 30
_LABEL: Final = 190
_COLOURS: Final = 8  # classes c0 to c7 of the style sheet
_TICKS: Final = 6
_DASHES: Final = ("", "6 3", "2 3", "8 3 2 3")  # readable without colour

Scale = Callable[[float], float]


def draw(chart: Lines | Bars) -> str:
    """Return a chart as one <figure> element."""
    body = _lines(chart) if isinstance(chart, Lines) else _bars(chart)
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{body}</figure>"


# -- curves ---------------------------------------------------------------------------


def _lines(chart: Lines) -> str:
    series = {
        name: [
            (x, y)
            for x, y in points
            if (x > 0 or not chart.x_log) and (y > 0 or not chart.y_log)
        ]
        for name, points in chart.series.items()
    }
    series = {name: points for name, points in series.items() if points}
    every = [point for points in series.values() for point in points]
    if not every:
        return "<p>Nothing was measured.</p>"
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    xs, ys = [x for x, _ in every], [y for _, y in every]
    x_ticks = _ticks(min(xs), max(xs), log=chart.x_log)
    if chart.x_nines:
        x_ticks = [float(n) for n in range(max(1, math.ceil(max(xs))) + 1)]
    y_ticks = _ticks(
        min(ys) if chart.y_log else min(0.0, *ys), max(ys), log=chart.y_log
    )
    x_of = _scale(x_ticks, _LEFT, right, log=chart.x_log)
    y_of = _scale(y_ticks, bottom, _TOP, log=chart.y_log)
    parts = []
    for tick in x_ticks:
        at = x_of(tick)
        parts.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>')
        label = _nines(tick) if chart.x_nines else _short(tick)
        parts.append(_text(at, bottom + 16, label, "middle"))
    for tick in y_ticks:
        at = y_of(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{right}"/>')
        parts.append(_text(_LEFT - 6, at + 4, _short(tick), "end"))
    for number, points in enumerate(series.values()):
        parts += _curve(points, number, x_of, y_of)
    middle = (_TOP + bottom) / 2
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 8, chart.x_label, "middle"))
    parts.append(
        f'<g transform="translate(14 {middle:.0f}) rotate(-90)">'
        f"{_text(0, 0, chart.y_label, 'middle')}</g>"
    )
    return _svg(_HEIGHT, parts, chart.title) + _legend(series)


def _curve(
    points: Sequence[tuple[float, float]], number: int, x_of: Scale, y_of: Scale
) -> Iterable[str]:
    places = [(x_of(x), y_of(y)) for x, y in points]
    colour = number % _COLOURS
    dash = _DASHES[number // 2 % len(_DASHES)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path class="line c{colour}" stroke-dasharray="{dash}" d="M{path}"/>'
    if len(places) <= 2 * _COLOURS:  # single measurements, not a distribution
        for x, y in places:
            yield f'<circle class="dot c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def _scale(ticks: Sequence[float], low: float, high: float, *, log: bool) -> Scale:
    """Return the map from values to places; the ticks enclose every value."""
    first, last = ticks[0], ticks[-1]
    if log:
        first, last = math.log10(first), math.log10(last)
    span = (last - first) or 1.0

    def place(value: float) -> float:
        at = math.log10(value) if log else value
        return low + (at - first) / span * (high - low)

    return place


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return [10.0**n for n in range(first, max(last, first + 1) + 1)]
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / _TICKS))
    step *= next(n for n in (1, 2, 5, 10, 20) if span / (step * n) <= _TICKS)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


# -- bars -----------------------------------------------------------------------------


def _bars(chart: Bars) -> str:
    names = list(dict.fromkeys(name for row in chart.rows.values() for name, _ in row))
    totals = [sum(value for _, value in row) for row in chart.rows.values()]
    if not totals or max(totals) <= 0:
        return "<p>Nothing was measured.</p>"
    room = _WIDTH - _LABEL - 110
    parts = []
    for number, (label, row) in enumerate(chart.rows.items()):
        top = 6 + number * _ROW
        parts.append(_text(_LABEL - 8, top + 15, label, "end"))
        at = float(_LABEL)
        for name, value in row:
            width = value / max(totals) * room
            colour = names.index(name) % _COLOURS
            parts.append(
                f'<rect class="bar c{colour}" x="{at:.1f}" y="{top}" '
                f'width="{width:.1f}" height="20">'
                f"<title>{escape(name)}: {_short(value)} {chart.unit}</title></rect>"
            )
            at += width
        parts.append(
            _text(at + 6, top + 15, f"{_short(totals[number])} {chart.unit}", "start")
        )
    height = 12 + len(chart.rows) * _ROW
    legend = _legend(names) if len(names) > 1 else ""
    return _svg(height, parts, chart.title) + legend


# -- pieces ---------------------------------------------------------------------------


def _svg(height: int, parts: Iterable[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(names: Iterable[str]) -> str:
    items = "".join(
        f'<li><i class="c{number % _COLOURS}"></i>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def _nines(count: float) -> str:
    """Return a share of so many nines: 0 %, 90 %, 99 %, 99.9 %."""
    digits = max(0, int(count) - 2)
    return f"{100 - 10 ** (2 - count):.{digits}f} %"


def _short(value: float) -> str:
    """Return a number as an axis shows it."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
