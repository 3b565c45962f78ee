"""Print docs/metrics.md from the table: `python -m tests.domain.metrics_reference`."""

from fastgate.domain.metric_plan import AGENT_SERIES, MAX_SERIES
from fastgate.domain.metrics import (
    KNOWN_CODES,
    KNOWN_METHODS,
    METRICS,
    OTHER,
    REQUESTS_TOTAL,
    UNKNOWN,
    Metric,
    Names,
)

HEAD = f"""# Metrics

Generated from `fastgate.domain.metrics` by `python -m tests.domain.metrics_reference`.

Served at `/metrics` on the status listener, as Prometheus text or OpenMetrics by
`Accept`. Every label value is from a closed set; nothing that a client sends is one.
`{UNKNOWN}` means that nothing was known (no route matched, no region was decided).
A series whose value is 0 is printed, so that `increase()` sees the first event, except
for metrics marked *sparse* and for `{OTHER}` and `{UNKNOWN}`.

## At most {MAX_SERIES:,} series

- Where routes, issuers and regions are so many that their series would not fit, the
  last ones of the configuration share the label `{OTHER}`.
- `{REQUESTS_TOTAL}` has what the others leave. It knows the methods
  {", ".join(KNOWN_METHODS)} (else `{OTHER}`) and the codes
  {", ".join(map(str, KNOWN_CODES[:16]))},
  {", ".join(map(str, KNOWN_CODES[16:32]))},
  {", ".join(map(str, KNOWN_CODES[32:]))} (else the class, such as `4xx`).
  When the combinations that occurred are too many, all methods become `{OTHER}`, then
  codes become classes, then regions become `{OTHER}`. Counters only grow, so a fold
  lasts until the supervisor restarts or a reload changes the names.
- Samples of the agent have {AGENT_SERIES}; `fastgate_metrics_left_out` counts the rest.

A reload that changes routes, regions or issuers begins all counters at 0.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def label_text(name: str, values: Names | tuple[str, ...] | None) -> str:
    """Return a label and, where the code closes its set, the values."""
    if isinstance(values, tuple) and len(values) <= 8:
        return f"{name} ({', '.join(values)})"
    return name


def row(metric: Metric) -> str:
    """Return one line of the table."""
    labels = "; ".join(label_text(*label) for label in metric.labels) or "-"
    kind = metric.kind.value + (", sparse" if metric.sparse else "")
    return f"| `{metric.name}` | {kind} | {labels} | {metric.help} |\n"


def text() -> str:
    """Return the whole page."""
    rows = "".join(row(metric) for metric in METRICS)
    histograms = "".join(
        f"- `{m.name}`: {', '.join(f'{bound:g}' for bound in m.bounds_s)}\n"
        for m in METRICS
        if m.bounds_s
    )
    return f"{HEAD}{rows}\n## Buckets, in seconds\n\n{histograms}"


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201
