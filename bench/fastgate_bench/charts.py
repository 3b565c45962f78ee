"""Charts: the data of a plot, without a word on how it is drawn.

Owns:      the two forms of plot that the suite has.
Called by: the benches make them; report draws them through svg.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Bars", "Lines"]


@dataclass(frozen=True, slots=True)
class Lines:
    """Curves over common axes.

    series: Name to points (x, y). x_log, y_log: Logarithmic axes; points that are not
    positive are left out there.
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    x_log: bool = False
    y_log: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars, each a stack of parts.

    rows: Label to parts (name, value); parts of one name share a colour.
    """

    title: str
    unit: str
    rows: Mapping[str, Sequence[tuple[str, float]]]
