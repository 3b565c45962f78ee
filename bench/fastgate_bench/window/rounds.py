"""Rounds: disturb the rig, heal it, compare what the nodes know; again and again.

Owns:      the bench `window`.
Called by: suite.
Source:    REVOCATION.md sections 1 (what counts as accepted, and from when) and 6.

Each round draws its faults from the seed and its own number, so that a round can be run
again by both. Nothing of one is under way when the next begins.
"""

import asyncio
import collections
import pathlib
import random
import secrets
import tempfile
from dataclasses import dataclass
from typing import Final

from fastgate_bench.charts import Bars
from fastgate_bench.figures import Measured, Stage, refused
from fastgate_bench.options import Options, Tell
from fastgate_bench.window.checker import Findings, Logs, judge
from fastgate_bench.window.faults import FAKETIME, FAULTS, Planned, plan
from fastgate_bench.window.load import Load
from fastgate_bench.window.rig import NODES, Rig

__all__ = ["run"]

_MAX_STALENESS: Final = "10s"
_ROUNDS: Final = 10
_QUICK_ROUNDS: Final = 1
_RATE: Final = 30.0
_TAIL_S: Final = 1.0
_HEAL_S: Final = 45.0
_BARRED_S: Final = 12.0
_OK, _REFUSED, _UNAVAILABLE = 200, 401, 503
_SETTLE_S: Final = 2.0
_SETTLE_TRIES: Final = 4
# Reason: a rig that is late by more cannot tell ten seconds from eleven.
_MOST_LATE_NS: Final = 1_000_000_000
_NAMED: Final = 8
_NOTED_NS: Final = 9_000_000_000
_BOUND_S: Final = 10.0
_LIFTED: Final = 2  # as Revoked.lifted has it
# What was entered at such a node, and nobody was told of, may be gone or be void.
_WIPES: Final = ("state-wiped", "state-restored", "state-cloned", "hash-key-unequal")
# Reason: REVOCATION.md section 3: an unknown key id is a gap while what has it lives;
# it takes an operator, and until then the region's users are denied.
_NO_HEALING: Final = frozenset({"hash-key-unequal"})


@dataclass(slots=True)
class _Heals:
    """Seconds from the end of the last fault until every node was complete again."""

    seconds: list[float]
    after_cut: list[float]


async def run(options: Options, tell: Tell) -> Measured:
    """Run the rounds. Raises StartError where the rig does not start."""
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    seed = options.seed or secrets.randbelow(10**9) + 1
    total, heals = Findings(), _Heals([], [])
    met: collections.Counter[str] = collections.Counter()
    worst: dict[str, float] = {}
    measured = Measured(
        conditions={
            "seed": seed,
            "rounds": rounds,
            "nodes": ", ".join(NODES),
            "max_staleness": _MAX_STALENESS,
            "revocations_per_s": options.rate or _RATE,
        }
    )
    with tempfile.TemporaryDirectory(prefix="fastgate-window-") as name:
        series = _Series(options, seed, pathlib.Path(options.keep or name))
        try:
            for number in range(options.first, options.first + rounds):
                faults = plan(number, _chance(seed, number))
                text = ", ".join(map(str, faults))
                tell(f"round {number}: {text}", (number - options.first) / rounds)
                found = await series.round(number, faults, heals)
                total.add(found)
                for fault in faults:
                    met[fault.name] += 1
                    window_s = max(found.window_ns / 1e9, worst.get(fault.name, 0.0))
                    worst[fault.name] = window_s
                measured.notes.append(_note(number, text, found))
                series.keep(measured.notes[-1])
        finally:
            await asyncio.shield(series.stop())
    _report(measured, total, heals)
    rows = {name: [("window", worst[name])] for name in sorted(worst)}
    title = "Worst window of the rounds that met each fault"
    measured.charts.append(Bars(title, "seconds", rows))
    measured.conditions["faults_met"] = dict(sorted(met.items()))
    if FAKETIME is None:
        measured.notes.append("no clock was changed: apt-get install faketime")
    never = sorted(set(FAULTS) - set(met))
    if never:
        measured.notes.append(f"faults that these rounds did not draw: {never}")
    return measured


def _chance(seed: int, number: int) -> random.Random:
    return random.Random(f"{seed}/{number}")


class _Series:
    """Rounds on one rig; on another one where it did not heal."""

    def __init__(self, options: Options, seed: int, folder: pathlib.Path) -> None:
        self._options = options
        self._seed = seed
        self._folder = folder
        self._rigs = 0
        self._rig: Rig | None = None
        self._logs: Logs | None = None

    async def stop(self) -> None:
        """End the rig."""
        rig, self._rig = self._rig, None
        if rig is not None:
            await rig.stop()

    def keep(self, note: str) -> None:
        """Write a line about a round."""
        with (self._folder / "rounds.log").open("a", encoding="utf-8") as out:
            out.write(f"{note}\n")

    async def _running(self) -> tuple[Rig, Logs]:
        if self._rig is None or self._logs is None:
            self._rigs += 1
            folder = self._folder / f"rig-{self._rigs}"
            await asyncio.to_thread(folder.mkdir, parents=True)
            self._rig = Rig(folder, _MAX_STALENESS)
            await self._rig.start()
            client = folder / "client.log"
            client.touch()
            self._logs = Logs(client, self._rig.upstream_log)
        return self._rig, self._logs

    async def round(
        self, number: int, faults: list[Planned], heals: _Heals
    ) -> Findings:
        """Disturb, heal, compare; the load goes on all the while."""
        rig, logs = await self._running()
        rate = self._options.rate or _RATE
        with (rig.folder / "client.log").open("a", encoding="utf-8") as out:
            chance = _chance(self._seed, -number - 1)
            load = Load(rig, f"r{number}", chance, rate, out)
            loading = asyncio.create_task(load.run())
            broken = await asyncio.gather(
                *(fault.happen(rig) for fault in faults), return_exceptions=True
            )
            healed_s = await rig.until_healed(_heal_limit_s(faults))
            await asyncio.sleep(_TAIL_S)
            load.end()
            await loading
            lost, wrong, silent = await _compare(load, faults)
            await load.ask_all_good()
        await asyncio.sleep(_TAIL_S)  # the upstream writes its log every 20 ms
        lines, first, count, late_ns = logs.read()
        lifted = frozenset(it.id for it in load.revoked if it.lifted)
        found = judge(lines, first, count, lifted)
        found.lost, found.unhealed = lost, silent
        if healed_s is not None:
            # A lift counts once all that may revoke its key has been read.
            found.refused += wrong
        found.late_ns = max(late_ns, load.late_ns)
        found.unhealed += [repr(error) for error in broken if error is not None]
        if healed_s is None:
            why = await rig.explain()
            found.unhealed.insert(0, f"not complete in time: {why}")
        else:
            heals.seconds.append(healed_s)
            if len(faults) == 1 and faults[0].name == "link-cut":
                heals.after_cut.append(healed_s)
        barred = {fault.name for fault in faults} & _NO_HEALING
        if barred:
            found.unhealed = []
        if barred or found.unhealed:
            await self.stop()  # what comes after it would be of no known state
        return found


def _heal_limit_s(faults: list[Planned]) -> float:
    barred = any(fault.name in _NO_HEALING for fault in faults)
    return _BARRED_S if barred else _HEAL_S


async def _compare(
    load: Load, faults: list[Planned]
) -> tuple[list[str], list[str], list[str]]:
    """Ask all nodes about all tokens of the round, until each has said yes or no.

    Returns revoked tokens that were accepted, lifted ones that were refused, and what
    was not answered at all.
    """
    wiped = {fault.target for fault in faults if fault.name in _WIPES}
    lost: list[str] = []
    wrong: list[str] = []
    silent: list[str] = []
    for attempt in range(_SETTLE_TRIES):
        lost, wrong, silent = [], [], []
        for node, it, status in await load.ask_all_revoked():
            kept = it.told_ns or (it.entered and it.node not in wiped)
            line = f"{it.id} {it.kind} home {it.home} entered at {it.node}: {node}"
            if status not in {_OK, _REFUSED}:
                silent.append(f"{line} answered {status}")
            elif it.lifted == 0 and kept and status == _OK:
                lost.append(line)
            elif it.lifted == _LIFTED and status == _REFUSED:
                wrong.append(f"{line} (lifted)")
        # What was asked of a node that was just started again may have had no answer;
        # a lift has the way of a revocation before it.
        if not silent and not wrong:
            break
        if attempt < _SETTLE_TRIES - 1:
            await asyncio.sleep(_SETTLE_S)
    return lost, wrong, silent


def _note(number: int, text: str, found: Findings) -> str:
    said = (
        f"round {number}: {text}: window {found.window_ns / 1e9:.2f} s, "
        f"{found.told} of {found.revocations} told, {found.checked} requests, "
        f"rig late {found.late_ns / 1e9:.2f} s"
    )
    for name in ("lost", "refused", "unseen", "unhealed"):
        all_of = getattr(found, name)
        if all_of:
            said += f"; {len(all_of)} {name}: {'; '.join(all_of[:_NAMED])}"
    if found.window_ns > _NOTED_NS:
        said += f"; worst: {found.worst}"
    return said


def _report(measured: Measured, total: Findings, heals: _Heals) -> None:
    late = total.late_ns > _MOST_LATE_NS
    window_s = total.window_ns / 1e9
    if late and window_s > _BOUND_S:
        why = f"the rig itself was late by {total.late_ns / 1e9:.1f} s"
        measured.stages.append(refused("window", "s", why))
    else:
        note = f"from the 201 to the last request that was accepted: {total.worst}"
        measured.stages.append(
            Stage("window", "s", {"max": window_s}, "max", note=note)
        )
    for name, value in (
        ("revocations", total.revocations),
        ("told", total.told),
        ("requests", total.checked),
        ("accepted-after", total.accepted_after),
        ("lost", len(total.lost)),
        ("good-refused", len(total.refused)),
        ("unseen", len(total.unseen)),
        ("unhealed", len(total.unhealed)),
    ):
        measured.stages.append(Stage(name, "", {"count": float(value)}, "count"))
    measured.stages.append(Stage("rig-late", "s", {"max": total.late_ns / 1e9}, "max"))
    for name, seconds in (("heal", heals.seconds), ("heal-cut", heals.after_cut)):
        if seconds:
            ordered = sorted(seconds)
            values = {"p50": ordered[len(ordered) // 2], "max": ordered[-1]}
            measured.stages.append(Stage(name, "s", values))
