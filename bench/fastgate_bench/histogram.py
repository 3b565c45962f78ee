"""Histogram: HdrHistogram of times, made once at the end of a run.

Owns:      its range and precision.
Called by: loader writes, generator and the benches read.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hdrh.histogram import HdrHistogram

__all__ = ["PERCENTILES", "curve", "decoded", "encoded", "statistics"]

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
# Any unit: 1 to 10 minutes of microseconds, or half a second of nanoseconds.
_GREATEST: Final = 600_000_000
_DIGITS: Final = 3


def encoded(values: Iterable[int]) -> str:
    """Return values as a histogram in its own base64 form."""
    return str(_filled(values).encode().decode("ascii"))


def decoded(*texts: str) -> Any:
    """Return one histogram with everything that the encoded ones hold."""
    whole = HdrHistogram(1, _GREATEST, _DIGITS)
    for text in texts:
        whole.decode_and_add(text)
    return whole


def statistics(histogram: Any, scale: float = 1.0) -> dict[str, float]:
    """Return percentiles, mean and maximum, each multiplied by `scale`."""
    found = {
        name: histogram.get_value_at_percentile(at) * scale
        for name, at in PERCENTILES.items()
    }
    found["max"] = histogram.get_max_value() * scale
    return found


def curve(histogram: Any, scale: float = 1.0) -> Sequence[tuple[float, float]]:
    """Return (nines, value): 1 is 90 %, 2 is 99 %, for a plot of the whole tail."""
    points = []
    nines = 0.0
    count = histogram.get_total_count()
    while count and 10**nines <= count:
        at = 100.0 * (1.0 - 10.0**-nines)
        points.append((nines, histogram.get_value_at_percentile(at) * scale))
        nines += 0.1
    return points


def _filled(values: Iterable[int]) -> Any:
    histogram = HdrHistogram(1, _GREATEST, _DIGITS)
    # Equal values at once: the library takes a microsecond for each call.
    for value, count in Counter(values).items():
        histogram.record_value(min(max(value, 1), _GREATEST), count)
    return histogram
