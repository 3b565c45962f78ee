"""Suite: runs one bench by name and holds its budgets against it.

Owns:      the order of a run: budgets are read before anything is measured.
Called by: fastgate.cli.bench.
"""

import asyncio
import dataclasses
import pathlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from fastgate_bench import NAMES, decision, peers, relay, revocation
from fastgate_bench.budget import NO_BUDGETS, read_budgets
from fastgate_bench.figures import Figure, Measured
from fastgate_bench.machine import commit, conditions
from fastgate_bench.options import Options, Tell
from fastgate_bench.report import write_report
from fastgate_bench.results import earlier, folder_of
from fastgate_bench.window import rounds

__all__ = ["NAMES", "SUPPLIED", "Result", "run"]

_BENCHES: Mapping[str, Callable[[Options, Tell], Coroutine[Any, Any, Measured]]] = {
    "decision": decision.run,
    "relay": relay.run,
    "revocation": revocation.run,
    "peers": peers.run,
    "window": rounds.run,
}
SUPPLIED = pathlib.Path(__file__).parent / "budgets"


@dataclass(frozen=True, slots=True)
class Result:
    """One run, judged.

    commit: Of the source; empty where it ran from an installed wheel.
    """

    name: str
    figures: list[Figure]
    measured: Measured
    machine: dict[str, Any]
    commit: str
    budget: str

    @property
    def ok(self) -> bool:
        """True where every budget is kept."""
        return all(figure.ok for figure in self.figures)

    @property
    def only_absent(self) -> bool:
        """True where what fails, fails for want of a program alone."""
        failed = [figure for figure in self.figures if not figure.ok]
        return bool(failed) and all(figure.is_absent for figure in failed)

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints (DESIGN.md section 10)."""
        return {
            "name": self.name,
            "ok": self.ok,
            "figures": [figure.document() for figure in self.figures],
            "machine": self.machine,
            "commit": self.commit,
            "budget": self.budget,
            "conditions": self.measured.conditions,
            "notes": self.measured.notes,
        }

    def write(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Write the result as JSON and as a page; returns both paths."""
        title = NAMES[self.name]
        return write_report(folder, self.document(), self.measured.charts, title)

    def keep(self, results: pathlib.Path) -> list[pathlib.Path]:
        """Write it where the next run on a machine like this one looks for it."""
        return self.write(folder_of(results, self.machine))


def run(
    name: str,
    options: Options,
    budget: pathlib.Path | None,
    tell: Tell,
    results: pathlib.Path | None = None,
) -> Result:
    """Run a bench.

    budget: Limits to hold against it; None: those that come with the suite, except
        for a foreign URL, which has none.
    results: Folder of kept runs; the last one of a machine like this is set beside it.
    Raises ConfigError for a budget file or a kept run that cannot be read, StartError
    where something does not start.
    """
    limits = NO_BUDGETS
    if budget is not None or not options.target:
        limits = read_budgets(budget or SUPPLIED / f"{name}.yaml", name)
    # Conditions come before numbers: the load average is the one from before us.
    machine = conditions()
    before = earlier(results, machine, name) if results is not None else {}
    source = commit()
    measured = asyncio.run(_BENCHES[name](options, tell))
    figures = [
        dataclasses.replace(figure, before=before.get(figure.metric))
        for figure in limits.judge(measured)
    ]
    # Where the suite is installed says nothing about its own limits.
    held = limits.source if budget is not None else f"budgets/{name}.yaml"
    if limits is NO_BUDGETS:
        held = limits.source
    return Result(name, figures, measured, machine, source, held)
