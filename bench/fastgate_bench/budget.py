"""Budget: a YAML file of limits, and the verdict of a run against them.

Owns:      the form of that file, and the comparison.
Called by: suite, once before a bench (so that a typing error costs no run) and once
           after it.

    relay:                       # the bench
      fastgate:                  # a stage, or a pattern such as `lookup *`
        p50: 900us               # at most
        rate: {at_least: 5000/s}
        ratio: {direct: 6}       # main statistic at most 6 times that of `direct`
      seen:
        ratio:                   # or a list of such
        - {sha256: 1, plus: 1.2us}         # a sum of floors, and a constant
        - {direct: 1, plus: 1ms, of: p99}  # of another statistic than the main one

What a budget names but the run did not measure is not in budget: it fails closed.
"""

import fnmatch
import pathlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fastgate.errors import ConfigError
from fastgate_bench.figures import Figure, Measured, Stage

__all__ = ["NO_BUDGETS", "Budgets", "read_budgets"]

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([a-zA-Z/]*)", re.ASCII)
# Unit to (dimension, size in the dimension's base unit).
_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "ns": ("time", 1e-9),
    "us": ("time", 1e-6),
    "ms": ("time", 1e-3),
    "s": ("time", 1.0),
    "B": ("size", 1.0),
    "KiB": ("size", 1024.0),
    "MiB": ("size", 1048576.0),
    "/s": ("rate", 1.0),
    "": ("number", 1.0),
}
# Reason: a page of limits at most; the largest supplied file has 2 KiB.
_MAX_FILE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A number with a unit."""

    number: float
    unit: str

    def into(self, unit: str, where: str) -> float:
        """Return the number in another unit. Raises ConfigError: not convertible."""
        dimension, size = _UNITS[self.unit]
        wanted, base = _UNITS[unit]
        if dimension != wanted:
            raise ConfigError(f"{where}: is measured in {unit or 'no unit'}")
        return self.number * size / base


@dataclass(frozen=True, slots=True)
class _Limit:
    """One line of a budget.

    floors: Of a ratio: stage to factor; `fixed` is what may come on top, `statistic`
        what is compared, where that is not the main one.
    """

    statistic: str
    fixed: _Quantity | None
    at_least: bool = False
    floors: Mapping[str, float] | None = None


class Budgets:
    """The limits of one bench: stage or pattern to lines."""

    def __init__(self, limits: Mapping[str, list[_Limit]], source: str) -> None:
        self._limits = limits
        self.source = source

    def judge(self, measured: Measured) -> list[Figure]:
        """Return every figure of a run; those with a budget say whether it is kept.

        Raises ConfigError where a limit has a unit that its stage is not measured in.
        """
        figures: list[Figure] = []
        met: set[str] = set()
        for stage in measured.stages:
            limits = []
            for pattern, lines in self._limits.items():
                if fnmatch.fnmatchcase(stage.name, pattern):
                    met.add(pattern)
                    limits += lines
            figures += self._figures(stage, limits, measured)
        for pattern in self._limits:
            if pattern not in met:
                why = "this run measured no such stage"
                figures.append(Figure(pattern, None, "", ok=False, why=why))
        return figures

    def _figures(
        self, stage: Stage, limits: list[_Limit], measured: Measured
    ) -> Iterator[Figure]:
        if stage.missing:
            yield Figure(
                stage.name,
                None,
                stage.unit,
                ok=not limits,
                why=stage.missing,
                is_absent=stage.is_absent,
            )
            return
        plain = {line.statistic: line for line in limits if line.floors is None}
        for statistic, value in stage.values.items():
            line = plain.pop(statistic, None)
            name = f"{stage.name} {statistic}"
            why = _why(stage) if statistic == stage.main else ""
            if line is None or line.fixed is None:
                yield Figure(name, value, stage.unit, why=why)
                continue
            budget = line.fixed.into(stage.unit, name)
            ok = value >= budget if line.at_least else value <= budget
            yield Figure(name, value, stage.unit, budget, ok, line.at_least, why)
        for statistic in plain:
            why = "this stage has no such statistic"
            name = f"{stage.name} {statistic}"
            yield Figure(name, None, stage.unit, ok=False, why=why)
        for line in limits:
            if line.floors is not None:
                yield _ratio(stage, line, line.floors, measured)


def _why(stage: Stage) -> str:
    spread = ""
    if stage.spread is not None and stage.spread[0] < stage.spread[1]:
        low, high = stage.spread
        spread = f"rounds {low:.4g} to {high:.4g}"
    return "; ".join(part for part in (stage.note, spread) if part)


def _ratio(
    stage: Stage, line: _Limit, floors: Mapping[str, float], measured: Measured
) -> Figure:
    """Return the figure of a stage against floors of the same run."""
    of = line.statistic or stage.main
    shown = f"{stage.name} {of}" if line.statistic else stage.name
    text = " + ".join(f"{factor:g} x {name}" for name, factor in floors.items())
    budget = 0.0
    for name, factor in floors.items():
        floor = measured.stage(name)
        why = floor.missing if floor else "not measured"
        if floor is None or why or (line.statistic and of not in floor.values):
            return Figure(
                f"{shown} against {text}",
                None,
                stage.unit,
                ok=False,
                why=f"{name}: {why or f'has no {of}'}",
                is_absent=floor is not None and floor.is_absent,
            )
        amount = _Quantity(floor.values[line.statistic or floor.main], floor.unit)
        budget += factor * amount.into(stage.unit, f"{stage.name}: ratio: {name}")
    if of not in stage.values:
        why = "this stage has no such statistic"
        return Figure(shown, None, stage.unit, ok=False, why=why)
    value = stage.values[of]
    if line.fixed is None and len(floors) == 1:
        ((name, factor),) = floors.items()
        ratio = value * factor / budget if budget else float("inf")
        why = f"of {of}"
        return Figure(
            f"{stage.name} / {name}", ratio, "x", factor, ratio <= factor, why=why
        )
    if line.fixed is not None:
        budget += line.fixed.into(stage.unit, f"{stage.name}: ratio: plus")
        text += f" + {line.fixed.number:g} {line.fixed.unit}"
    return Figure(f"{shown} against {text}", value, stage.unit, budget, value <= budget)


NO_BUDGETS: Final = Budgets({}, "")

# -- the file -------------------------------------------------------------------------


def read_budgets(path: pathlib.Path, bench: str) -> Budgets:
    """Return the limits that a file has for a bench.

    Raises ConfigError: unreadable, not YAML, or not of the form above.
    """
    try:
        text = path.read_bytes()
        if len(text) > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_FILE_BYTES} bytes")
        document = YAML(typ="safe", pure=True).load(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    whole = _mapping(document, str(path))
    if bench not in whole:
        raise ConfigError(f"{path}: has no budgets for `{bench}`")
    where = f"{path}: {bench}"
    stages = _mapping(whole[bench], where)
    return Budgets(
        {
            name: list(_lines(_mapping(lines, f"{where}.{name}"), f"{where}.{name}"))
            for name, lines in stages.items()
        },
        str(path),
    )


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: must be a mapping")
    return value


def _lines(lines: Mapping[str, Any], where: str) -> Iterator[_Limit]:
    for statistic, value in lines.items():
        here = f"{where}.{statistic}"
        if statistic == "ratio":
            for floors in value if isinstance(value, list) else [value]:
                yield _ratio_line(_mapping(floors, here), here)
        elif isinstance(value, dict):
            if set(value) != {"at_least"}:
                raise ConfigError(f"{here}: write a quantity, or {{at_least: 5000/s}}")
            least = _quantity(value["at_least"], here)
            yield _Limit(statistic, least, at_least=True)
        else:
            yield _Limit(statistic, _quantity(value, here))


def _ratio_line(parts: dict[str, Any], where: str) -> _Limit:
    plus, of = parts.pop("plus", None), parts.pop("of", "")
    if not isinstance(of, str):
        raise ConfigError(f"{where}: of: write a statistic, e.g. p99")
    if not parts:
        raise ConfigError(f"{where}: names no floor")
    floors = {name: _quantity(part, where) for name, part in parts.items()}
    if any(part.unit for part in floors.values()):
        raise ConfigError(f"{where}: a factor has no unit")
    fixed = None if plus is None else _quantity(plus, where)
    factors = {name: part.number for name, part in floors.items()}
    return _Limit(of, fixed, floors=factors)


def _quantity(value: Any, where: str) -> _Quantity:
    text = str(value)
    found = _QUANTITY.fullmatch(text)
    if isinstance(value, bool) or found is None or found[2] not in _UNITS:
        known = " ".join(unit for unit in _UNITS if unit)
        raise ConfigError(f"{where}: {text!r}: write a number and one of {known}")
    return _Quantity(float(found[1]), found[2])
