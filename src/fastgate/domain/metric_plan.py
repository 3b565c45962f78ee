"""Metric plan: which column of the shared counter table each series has.

Owns:      the mapping from closed label sets to columns, and the series budget.
Called by: every process builds the same plan from the same configuration; workers ask
           it for columns, adapters.prometheus walks it. Immutable after construction.

The budget. At most MAX_SERIES series are ever printed, whatever clients send. All but
`fastgate_requests_total` are counted in full when the plan is made: where routes,
issuers and regions are too many, the last ones named share the label `_OTHER`. What is
left belongs to `fastgate_requests_total`, whose columns keep full detail and which is
folded when it is printed: method first, then code to its class, then region. Counters
only grow, so a fold once begun stays.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from fastgate.domain.metrics import (
    KNOWN_CODES,
    KNOWN_METHODS,
    METRICS,
    OTHER,
    REQUESTS_TOTAL,
    UNKNOWN,
    Metric,
    MetricKind,
    Names,
)

__all__ = [
    "AGENT_SERIES",
    "MAX_REQUEST_COLUMNS",
    "MAX_SERIES",
    "TABLE_COLUMNS",
    "Family",
    "MetricPlan",
]

MAX_SERIES = 2_000
# Reason: gauges of 20 regions and issuers, 64 processes and a page of alarms.
AGENT_SERIES = 200
# Reason: every route label that fits beside it, in five code classes, still has room.
_MIN_REQUEST_SERIES = 400
_MAX_FIXED_SERIES = MAX_SERIES - AGENT_SERIES - _MIN_REQUEST_SERIES
# Reason: half a mebibyte a row, of which untouched pages cost nothing.
MAX_REQUEST_COLUMNS = 65_536
# What a table must offer so that any configuration fits; rows outlive a reload.
TABLE_COLUMNS = MAX_REQUEST_COLUMNS + MAX_SERIES

_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_CODE_LABELS = (*(str(code) for code in KNOWN_CODES), *_CLASSES, OTHER)
_METHOD_LABELS = (*KNOWN_METHODS, OTHER)
_STATUS_LIMIT = 1_000

RequestLabels = tuple[str, str, str, str]  # route, method, code, region


def _class_of(status: int) -> str:
    return f"{status // 100}xx" if 100 <= status < 600 else OTHER  # noqa: PLR2004


class _Dimension:
    """One label: the values it may show, and which of them a name shows as.

    room: How many names keep a value of their own, where the configuration names them:
        the rest show as `_OTHER`, anything else as `_UNKNOWN`. 0: a set closed by code.
    """

    __slots__ = ("labels", "places", "unknown")

    def __init__(self, names: Sequence[str], *, room: int = 0) -> None:
        distinct = tuple(n for n in dict.fromkeys(names) if n not in (OTHER, UNKNOWN))
        if room:
            folded = (OTHER,) if len(distinct) > room else ()
            self.labels = (*distinct[:room], *folded, UNKNOWN)
            self.places = {name: min(i, room) for i, name in enumerate(distinct)}
            self.unknown = len(self.labels) - 1
        else:
            self.labels = tuple(names)
            self.places = {name: i for i, name in enumerate(names)}
            self.unknown = -1

    def find(self, value: str) -> int:
        place = self.places.get(value, self.unknown)
        if place < 0:
            raise KeyError(value)
        return place


@dataclass(frozen=True, slots=True)
class Family:
    """The columns of one metric.

    first: Column of the first series. stride: columns a series.
    series: Label values of each series, in column order.
    """

    metric: Metric
    first: int
    stride: int
    series: tuple[tuple[str, ...], ...]

    @property
    def end(self) -> int:
        """Column behind the last one."""
        return self.first + self.stride * len(self.series)


@dataclass(frozen=True, slots=True)
class _Requests:
    """The columns of `fastgate_requests_total`; route outermost, code innermost."""

    first: int
    routes: tuple[str, ...]
    regions: tuple[str, ...]
    methods: tuple[str, ...]
    codes: tuple[str, ...]

    @property
    def count(self) -> int:
        per_route = len(self.regions) * len(self.methods) * len(self.codes)
        return len(self.routes) * per_route


class MetricPlan:
    """Columns for one configuration.

    routes, regions, issuers: Names in configured order; a route's or region's index is
        its position here. Names that come twice share their series.
    own_region: The region this gateway stands in.

    families: All metrics of the table but `fastgate_requests_total`, which has the
        columns from request_first to columns and may show request_series series.
    columns: How many columns a row uses. gauge_columns: those a worker sets to zero
        when it starts, since its predecessor may have died with requests in flight.
    layout: Names what the columns mean; rows of another layout are not added up.
    """

    __slots__ = (
        "_code_offset",
        "_dimensions",
        "_method_offset",
        "_named",
        "_region_base",
        "_requests",
        "_route_base",
        "columns",
        "families",
        "gauge_columns",
        "layout",
        "request_first",
        "request_series",
    )

    def __init__(
        self,
        *,
        routes: Sequence[str],
        regions: Sequence[str],
        issuers: Sequence[str],
        own_region: str,
    ) -> None:
        names = {Names.ROUTE: routes, Names.REGION: regions, Names.ISSUER: issuers}
        rooms = _rooms({kind: len(set(given)) for kind, given in names.items()})
        self._dimensions = {
            kind: _Dimension(given, room=rooms[kind]) for kind, given in names.items()
        }
        self._dimensions[Names.OWN] = _Dimension((own_region,))
        self.families = self._place_families()
        self._named = {f.metric.name: f for f in self.families}
        self.gauge_columns = tuple(
            column
            for f in self.families
            if f.metric.kind is MetricKind.GAUGE
            for column in range(f.first, f.end)
        )
        fixed = sum(len(f.series) * f.metric.printed for f in self.families)
        self.request_series = MAX_SERIES - AGENT_SERIES - fixed
        self.request_first = self.families[-1].end
        self._requests = self._place_requests()
        self.columns = self.request_first + self._requests.count
        self._offset_requests(routes, regions)
        self.layout = self._digest()

    def column(self, name: str, *labels: str) -> int:
        """Return the column of one series of a counter or gauge.

        labels: Values in the table's order. A route, region or issuer that the
            configuration does not name counts as `_UNKNOWN`.
        Raises KeyError for a metric or another label value that the table does not
        have, ValueError for too many or too few labels: faults of the calling code, so
        columns are resolved before requests come.
        """
        family = self._named[name]
        place = 0
        dimensions = self._dimensions_of(family.metric)
        for dimension, value in zip(dimensions, labels, strict=True):
            place = place * len(dimension.labels) + dimension.find(value)
        return family.first + place * family.stride

    def columns_of(self, name: str) -> dict[tuple[str, ...], int]:
        """Return every column of a metric by its label values as they show."""
        family = self._named[name]
        return {
            labels: family.first + place * family.stride
            for place, labels in enumerate(family.series)
        }

    def histogram(self, name: str, *labels: str) -> tuple[int, tuple[int, ...]]:
        """Return first column and bounds (ns) of one histogram; raises as `column`."""
        return self.column(name, *labels), self._named[name].metric.bounds_ns

    def request_column(
        self, route_index: int, method: str, status: int, region_index: int
    ) -> int:
        """Return the column of `fastgate_requests_total`; raises for no request.

        route_index: Position in `routes`; negative: no route matched.
        method: As it came; one outside the known set counts as `_OTHER`.
        status: Of the answer; a code outside the known set counts as its class.
        region_index: Position in `regions`; negative: none was decided.
        """
        return (
            self._route_base[route_index if route_index >= 0 else -1]
            + self._region_base[region_index if region_index >= 0 else -1]
            + self._method_offset.get(method, self._method_offset[OTHER])
            + self._code_offset[status if 0 <= status < _STATUS_LIMIT else 0]
        )

    def fold_requests(
        self, cells: Sequence[tuple[int, int]]
    ) -> dict[RequestLabels, int]:
        """Return label values and counts, folded until they fit into request_series.

        cells: Column and total of each request column that is not zero.
        """
        shape = self._requests
        methods = shape.methods
        if len(cells) > self.request_series:
            cells = self._without_method(cells)
            methods = (OTHER,) * len(methods)
        labels: dict[RequestLabels, int] = {}
        for column, total in cells:
            rest, code = divmod(column - shape.first, len(shape.codes))
            rest, method = divmod(rest, len(methods))
            route, region = divmod(rest, len(shape.regions))
            labels[
                shape.routes[route],
                methods[method],
                shape.codes[code],
                shape.regions[region],
            ] = total
        for fold in (_fold_code, _fold_region):
            if len(labels) <= self.request_series:
                break
            labels = _folded(labels, fold)
        return labels

    def _without_method(
        self, cells: Iterable[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        # In arithmetic, since there may be tens of thousands: the first method's column
        # stands for all of them.
        codes = len(self._requests.codes)
        block = codes * len(self._requests.methods)
        merged: dict[int, int] = {}
        for column, total in cells:
            inside = (column - self.request_first) % block
            key = column - inside + inside % codes
            merged[key] = merged.get(key, 0) + total
        return list(merged.items())

    def _dimensions_of(self, metric: Metric) -> list[_Dimension]:
        return [
            self._dimensions[values]
            if isinstance(values, Names)
            else _Dimension(values or ())
            for _, values in metric.labels
        ]

    def _place_families(self) -> tuple[Family, ...]:
        placed: list[Family] = []
        first = 0
        for metric in _PLANNED:
            values = [d.labels for d in self._dimensions_of(metric)]
            series = tuple(itertools.product(*values))
            placed.append(Family(metric, first, metric.cells, series))
            first = placed[-1].end
        return tuple(placed)

    def _place_requests(self) -> _Requests:
        # The detail that fits the table; how much of it shows is decided when printing.
        routes = self._dimensions[Names.ROUTE].labels
        regions = self._dimensions[Names.REGION].labels
        shape = _Requests(
            self.request_first, routes, regions, _METHOD_LABELS, _CODE_LABELS
        )
        if shape.count > MAX_REQUEST_COLUMNS:
            shape = replace(shape, methods=(OTHER,))
        return shape

    def _offset_requests(self, routes: Sequence[str], regions: Sequence[str]) -> None:
        shape = self._requests
        per_method = len(shape.codes)
        per_region = per_method * len(shape.methods)
        per_route = per_region * len(shape.regions)
        route, region = self._dimensions[Names.ROUTE], self._dimensions[Names.REGION]
        # The last element serves every negative index: nothing was known.
        self._route_base = tuple(
            shape.first + route.find(name) * per_route for name in (*routes, UNKNOWN)
        )
        self._region_base = tuple(
            region.find(name) * per_region for name in (*regions, UNKNOWN)
        )
        places = {name: place for place, name in enumerate(shape.methods)}
        self._method_offset = {
            name: places.get(name, places[OTHER]) * per_method
            for name in _METHOD_LABELS
        }
        codes = {label: place for place, label in enumerate(shape.codes)}
        self._code_offset = tuple(
            codes.get(str(status), codes[_class_of(status)])
            for status in range(_STATUS_LIMIT)
        )

    def _digest(self) -> int:
        meaning = [(f.metric.name, f.metric.bounds_s, f.series) for f in self.families]
        text = repr((meaning, self._requests)).encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        # Neither 0 (a row never used) nor all ones (a row being cleared).
        return (int.from_bytes(digest, "big") >> 1) | 1


_PLANNED = tuple(m for m in METRICS if not m.by_agent and m.name != REQUESTS_TOTAL)


def _rooms(given: dict[Names, int]) -> dict[Names, int]:
    """Return how many names of each kind keep series of their own."""
    cost = dict.fromkeys(Names, 0)
    alone = 0
    for metric in _PLANNED:
        series = metric.printed
        named: Names | None = None
        for _, values in metric.labels:
            if isinstance(values, tuple):
                series *= len(values)
            elif values is not None and values is not Names.OWN:
                named = values
        if named is None:
            alone += series
        else:
            cost[named] += series

    rooms = {kind: max(count, 1) for kind, count in given.items()}

    def total() -> int:
        # Each kind also shows `_UNKNOWN`, and `_OTHER` where names were folded.
        return alone + sum(
            (room + 1 + (room < given[kind])) * cost[kind]
            for kind, room in rooms.items()
        )

    while total() > _MAX_FIXED_SERIES:
        dearest = max(
            (kind for kind in rooms if rooms[kind] > 1),
            key=lambda kind: rooms[kind] * cost[kind],
        )
        rooms[dearest] -= 1
    return rooms


def _fold_code(labels: RequestLabels) -> RequestLabels:
    route, method, code, region = labels
    return route, method, _class_of(int(code)) if code.isdigit() else code, region


def _fold_region(labels: RequestLabels) -> RequestLabels:
    route, method, code, _ = labels
    return route, method, code, OTHER


def _folded(
    labels: dict[RequestLabels, int], fold: Callable[[RequestLabels], RequestLabels]
) -> dict[RequestLabels, int]:
    merged: dict[RequestLabels, int] = {}
    for key, total in labels.items():
        folded = fold(key)
        merged[folded] = merged.get(folded, 0) + total
    return merged
