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
    positive are left out there. x_nines: x is a share as `histogram.curve` has it: 1 is
    90 %, 2 is 99 %.
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    x_log: bool = False
    y_log: bool = False
    x_nines: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars, each a stack of parts.

    rows: Label to parts (name, value); parts of one name share a colour.
    """

    title: str
    unit: str
    rows: Mapping[str, Sequence[tuple[str, float]]]
